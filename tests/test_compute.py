"""Worker slots: real processes, real experiments, well-behaved and not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import pytest_asyncio
from sklearn.datasets import load_wine

from backends.compute.base import Compute, FoldJob, FoldOutcome, LogLine, Record, Report
from backends.compute.limits import Limits
from backends.compute.local import LocalCompute
from backends.compute.sandbox import Sandbox
from experiments.context import context_values
from experiments.errors import ComputeError, DataError
from experiments.foldcache import FoldCache
from experiments.folds import Folds, make_folds
from experiments.processes import MARKER
from experiments.spec import Columns, Spec

pytestmark = pytest.mark.asyncio(loop_scope="module")
CANARY = "AUTOKAGGLE_TEST_CANARY"
OPEN = Sandbox("off", Limits.share(2))
"""The mechanics of a slot, seen from outside; see test_sandbox.py for what shuts it in."""


@dataclass(frozen=True)
class Data:
    """What a competition hands to the fold cache."""

    spec: Spec
    train: pd.DataFrame
    test: pd.DataFrame
    columns: Columns
    classes: tuple[Any, ...] | None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    data_hash: str = "data"


@dataclass
class Lab:
    """Runs experiments on one fold and collects what comes."""

    compute: LocalCompute
    scratch: Path
    root: Path
    caches: dict[str, tuple[Data, Folds, FoldCache]] = field(default_factory=dict)

    def job(self, code: str, data: str = "binary", **changes: Any) -> FoldJob:
        competition, folds, cache = self.caches[data]
        fold = changes.pop("fold", 0)
        train, valid, test = cache.files(fold)
        context = context_values(
            competition.spec, competition.columns, competition.classes, fold=fold, n_folds=3, threads=2
        )
        outputs = len(competition.classes) if competition.classes and len(competition.classes) > 2 else 1
        expected = (len(folds.splits[fold][1]), len(competition.test), outputs)
        source = textwrap.dedent(code)
        job = FoldJob("key", "R01", fold, source, train, valid, test, context, expected, time_limit=60)
        return replace(job, **changes)

    async def run(self, code: str, data: str = "binary", **changes: Any) -> Result:
        return await self.collect(self.job(code, data, **changes))

    async def collect(self, job: FoldJob) -> Result:
        return Result([record async for record in self.compute.run(job)])


@dataclass
class Result:
    records: list[Record]

    @property
    def outcome(self) -> FoldOutcome:
        last = self.records[-1]
        assert isinstance(last, FoldOutcome)
        assert not any(isinstance(record, FoldOutcome) for record in self.records[:-1])
        return last

    @property
    def log(self) -> str:
        return "\n".join(record.text for record in self.records if isinstance(record, LogLine))

    @property
    def report(self) -> dict[str, Any]:
        return {k: v for record in self.records if isinstance(record, Report) for k, v in record.values.items()}


def competition(kind: str) -> Data:
    rng = np.random.default_rng(7)
    bunch = load_wine(as_frame=True)
    features = bunch.data.set_axis([name.replace("/", "_") for name in bunch.data.columns], axis=1)
    features["grape"] = np.where(rng.random(len(features)) < 0.5, "red", "white")
    features.loc[3, "grape"] = None
    names = tuple(features.columns)
    columns = Columns(names, names[:-1], ("grape",), (), (), "y")
    if kind == "regression":
        spec = Spec("c", "regression", "rmse", "minimize", "y", cv_folds=3)
        y, classes = rng.normal(1000, 300, len(features)), None
    elif kind == "multiclass":
        spec = Spec("c", "multiclass", "logloss", "minimize", "y", cv_strategy="stratified", cv_folds=3)
        y, classes = bunch.target.to_numpy().astype(np.int32), ("ant", "bee", "cat")
    else:
        spec = Spec("c", "binary", "auc_roc", "maximize", "y", cv_strategy="group", cv_folds=3)
        y, classes = (bunch.target.to_numpy() == 1).astype(np.int32), ("no", "yes")
    groups = np.arange(len(features)) % 20 if kind == "binary" else None
    test = features.iloc[:20].reset_index(drop=True)
    return Data(spec, features.assign(y=y), test, columns, classes, groups, data_hash=kind)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    root = tmp_path_factory.mktemp("lab")
    compute = LocalCompute(2, 2, root / "scratch", OPEN)
    os.environ[CANARY] = "secret"
    try:
        await compute.start()
    finally:
        del os.environ[CANARY]
    found = Lab(compute, root / "scratch", root)
    for kind in ("binary", "multiclass", "regression"):
        data = competition(kind)
        folds = make_folds(data.spec, data.train["y"].to_numpy(), groups=data.groups)
        found.caches[kind] = (data, folds, FoldCache(root / "cache", data, folds))
    yield found
    await compute.close()
    assert list((root / "scratch").iterdir()) == []


GOOD = """
import numpy as np
def fit_predict(train, valid, test, ctx):
    {body}
    return np.full(len(valid), 0.25), np.full(len(test), 0.75)
"""


def good(body: str = "pass") -> str:
    lines = textwrap.dedent(body).strip().splitlines()
    return GOOD.replace("{body}", "\n    ".join(lines))


async def test_the_slots_have_loaded_what_experiments_use(lab: Lab) -> None:
    compute: Compute = lab.compute
    assert (compute.slots, compute.threads) == (2, 2)
    assert {"numpy", "pandas", "sklearn", "lightgbm", "xgboost", "catboost"} <= set(lab.compute.libraries)


async def test_predictions_come_back(lab: Lab) -> None:
    result = await lab.run(good("print('hello'); ctx.report(rows=len(train), left=ctx.time_left())"))
    outcome = result.outcome
    assert (outcome.status, outcome.error, outcome.traceback, outcome.fold) == ("ok", "", "", 0)
    assert outcome.valid is not None and outcome.test is not None
    assert outcome.valid.dtype == outcome.test.dtype == np.float32
    assert (outcome.valid == 0.25).all() and (outcome.test == 0.75).all()
    assert result.log == "hello"
    assert result.report["rows"] == len(lab.caches["binary"][1].splits[0][0])
    assert 0 < result.report["left"] <= 60
    assert outcome.extra["cpu_seconds"] > 0


async def test_the_frames_are_what_the_fold_may_see(lab: Lab) -> None:
    data, folds, _ = lab.caches["binary"]
    code = """
        assert list(train.columns) == [*valid.columns, "y"] and list(valid.columns) == list(test.columns)
        assert list(valid.columns) == list(ctx.columns.features)
        ctx.report(train=train.index.tolist()[:90], valid=valid.index.tolist(), test=test.index.tolist())
        ctx.report(kinds=[str(kind) for kind in train.dtypes], missing=int(train.isna().sum().sum()))
        ctx.report(classes=ctx.classes, seed=ctx.seed, threads=ctx.threads)
    """
    report = (await lab.run(good(code))).report
    assert report["train"] == folds.splits[0][0][:90].tolist()
    assert report["valid"] == folds.splits[0][1].tolist()
    assert report["test"] == list(range(20))
    assert report["kinds"] == [str(kind) for kind in data.train.dtypes]
    assert report["missing"] == int(data.train.iloc[folds.splits[0][0]].isna().sum().sum())
    assert (report["classes"], report["seed"], report["threads"]) == (["no", "yes"], 42, 2)


async def test_writing_into_the_frames_harms_nobody(lab: Lab) -> None:
    code = """
        for frame in (train, valid, test):
            frame.iloc[:, 0] = -1.0
            frame["extra"] = 1
            frame.drop(columns="grape", inplace=True)
        train["y"] = 0
    """
    assert (await lab.run(good(code))).outcome.status == "ok"
    check = "assert (train.iloc[:, 0] > 0).all() and 'grape' in test and train['y'].nunique() == 2"
    assert (await lab.run(good(check))).outcome.status == "ok"


async def test_inner_split_respects_groups_in_the_worker(lab: Lab) -> None:
    code = """
        fit, ev = ctx.inner_split()
        groups = train.index.to_numpy() % 20
        assert not set(groups[fit]) & set(groups[ev]) and len(ev)
        assert not [name for name in train.columns if name not in ctx.columns.features and name != "y"]
    """
    result = await lab.run(good(code))
    assert result.outcome.status == "ok", result.outcome


async def test_validation_labels_are_nowhere_in_the_process(lab: Lab) -> None:
    """Searches all writable memory and every open descriptor; masked, so that the search plants nothing."""
    data, folds, _ = lab.caches["regression"]
    mask = 0x5A5A5A5A5A5A5A5A
    y = data.train["y"].to_numpy()
    train_rows, valid_rows = folds.splits[0]
    hidden = [int(bits) ^ mask for bits in y[valid_rows].view(np.uint64)]
    known = [int(bits) ^ mask for bits in y[train_rows[:5]].view(np.uint64)]
    code = f"""
        import os, stat, gc
        def count(raw, masked):
            words = np.frombuffer(raw[: len(raw) // 8 * 8], dtype=np.uint64) ^ np.uint64({mask})
            return int(np.isin(words, np.array(masked, dtype=np.uint64)).sum())
        hidden, known = {hidden}, {known}
        descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        seen = {{}}
        for fd in descriptors:
            try:
                target = os.readlink(f"/proc/self/fd/{{fd}}")
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    seen[target] = count(os.pread(fd, 1 << 24, 0), hidden + known)
                else:
                    seen[target] = -1
            except OSError:
                pass
        found = [0, 0]
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            spans = [line.split() for line in maps]
            for span in spans:
                start, end = (int(part, 16) for part in span[0].split("-"))
                if "w" in span[1]:
                    memory.seek(start)
                    while start < end:
                        raw = memory.read(min(end - start, 1 << 24))
                        if not raw:
                            break
                        found[0] += count(raw, hidden)
                        found[1] += count(raw, known)
                        start += len(raw)
        ctx.report(found=found, seen=seen, mapped=[span[-1] for span in spans if span[-1].endswith(".arrow")])
        ctx.report(modules=[name for name in vars(ctx)], cwd=os.getcwd())
    """
    result = await lab.run(good(code), "regression")
    assert result.outcome.status == "ok", result.outcome
    hits, control = result.report["found"]
    assert control >= 5, "the search does not even find training labels"
    assert hits == 0
    assert result.report["mapped"] == []
    kinds = sorted(name.split(":")[0] for name in result.report["seen"])
    assert kinds == ["/dev/null", "/memfd", "pipe", "pipe"]
    assert all(hits <= 0 for hits in result.report["seen"].values())


async def test_the_environment_is_clean(lab: Lab) -> None:
    code = """
        import os, sys
        ctx.report(names=sorted(os.environ), home=os.environ["HOME"], argv=sys.argv, stdin=sys.stdin.read())
        ctx.report(cwd=os.getcwd(), scratch=str(ctx.scratch), session=os.getsid(0), group=os.getpgrp(), pid=os.getpid())
    """
    report = (await lab.run(good(code))).report
    assert CANARY not in report["names"]
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "JOBLIB_TEMP_FOLDER", "LC_CTYPE", MARKER}
    allowed |= {"LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONUTF8", "PYTHONHASHSEED"}
    allowed |= {"OMP_WAIT_POLICY", "KMP_BLOCKTIME"}
    unknown = [name for name in report["names"] if name not in allowed and "THREADS" not in name]
    assert set(unknown) <= {"LOKY_MAX_CPU_COUNT", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
    assert report["cwd"] == report["scratch"] == report["home"]
    assert report["argv"] == ["experiment.py"] and report["stdin"] == ""
    assert report["session"] != os.getsid(0) and report["group"] == report["pid"]


async def test_random_numbers_repeat(lab: Lab) -> None:
    code = """
        import random
        ctx.report(a=random.random(), b=np.random.rand(), c=hash("text"))
    """
    both = await asyncio.gather(lab.run(good(code)), lab.run(good(code)))
    assert both[0].report == both[1].report


async def test_scratch_is_wiped_for_the_next(lab: Lab) -> None:
    write = """
        import os, tempfile
        from pathlib import Path
        Path("here.txt").write_text("a")
        Path.home().parent.joinpath("beside.txt").write_text("b")
        Path(tempfile.mkdtemp(), "there.txt").write_text("c")
        os.makedirs("locked/in"); os.chmod("locked/in", 0); os.chmod("locked", 0)
        os.symlink("/", "root")
        os.environ["LEFT"] = "x"
        import sys; sys.left = 1; np.left = 1
    """
    look = """
        import os, sys
        from pathlib import Path
        assert [p.name for p in Path().iterdir()] == ["experiment.py"], list(Path().iterdir())
        assert [p.name for p in Path.home().parent.iterdir()] == ["work"]
        assert "LEFT" not in os.environ and not hasattr(sys, "left") and not hasattr(np, "left")
    """
    for code in (write, look):
        for result in await asyncio.gather(lab.run(good(code)), lab.run(good(code))):
            assert result.outcome.status == "ok", result.outcome


INVALID = {
    "NaN": ("return np.full(len(valid), np.nan), np.zeros(len(test))", "valid_pred is NaN in"),
    "infinite": ("return np.zeros(len(valid)), np.full(len(test), np.inf)", "test_pred is infinite"),
    "one row short": ("return np.zeros(len(valid) - 1), np.zeros(len(test))", "valid_pred has shape"),
    "out of range": ("return np.full(len(valid), 7.0), np.zeros(len(test))", "outside 0 to 1"),
    "one array only": ("return np.zeros(len(valid))", "must return (valid_pred, test_pred)"),
    "nothing": ("return None", "must return (valid_pred, test_pred)"),
    "labels": ("return np.array(['a'] * len(valid)), np.zeros(len(test))", "expected numbers"),
    "foreign index": (
        "import pandas as pd; return pd.Series(np.zeros(len(valid)), index=valid.index + 1), np.zeros(len(test))",
        "index is not that of the rows",
    ),
}


@pytest.mark.parametrize("case", INVALID)
async def test_unusable_predictions_are_invalid(lab: Lab, case: str) -> None:
    code, reason = INVALID[case]
    result = await lab.run(f"import numpy as np\ndef fit_predict(train, valid, test, ctx):\n    {code}\n")
    assert result.outcome.status == "invalid"
    assert reason in result.outcome.error
    assert result.outcome.valid is None and result.outcome.traceback == ""


async def test_rows_and_classes_in_another_order_are_matched(lab: Lab) -> None:
    code = """
        import pandas as pd, numpy as np
        def fit_predict(train, valid, test, ctx):
            out = []
            for frame in (valid, test):
                key = frame.index.to_numpy() % 7 / 10
                proba = pd.DataFrame({"cat": key, "ant": 0.9 - key, "bee": 0.1}, index=frame.index)
                out.append(proba.sample(frac=1, random_state=1))
            return tuple(out)
    """
    result = await lab.run(code, "multiclass")
    assert result.outcome.status == "ok", result.outcome
    valid = result.outcome.valid
    assert valid is not None
    key = lab.caches["multiclass"][1].splits[0][1] % 7 / 10
    np.testing.assert_allclose(valid, np.column_stack([0.9 - key, np.full(len(key), 0.1), key]), atol=1e-6)


CRASHES = {
    "raises": ("raise ValueError('no such thing')", "ValueError: no such thing (experiment.py, line 4)"),
    "exits": ("import sys; sys.exit(3)", "called sys.exit(3)"),
    "exits hard": ("import os; os._exit(0)", "its process exited with code 0 before it returned predictions"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
    "killed": (
        "import os; os.kill(os.getpid(), 9)",
        "was killed by SIGKILL (most likely it ran out of memory)",
    ),
    "interrupted": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "recursion": ("f = lambda g: g(g); f(f)", "RecursionError"),
    "cannot import": ("import not_installed_here", "No module named 'not_installed_here'"),
}


@pytest.mark.parametrize("case", CRASHES)
async def test_a_crash_has_a_readable_reason(lab: Lab, case: str) -> None:
    code, reason = CRASHES[case]
    outcome = (await lab.run(good(code))).outcome
    assert outcome.status == "crash"
    assert reason in outcome.error
    assert "\n" not in outcome.error


async def test_a_traceback_shows_the_experiment_and_not_the_worker(lab: Lab) -> None:
    code = """
        import pandas as pd
        def features(frame):
            return frame["missing \\x1b[31mcolumn"]
        def fit_predict(train, valid, test, ctx):
            return features(train)
    """
    outcome = (await lab.run(code)).outcome
    text = outcome.traceback
    assert 'File "experiment.py", line 6, in fit_predict' in text
    assert 'return frame["missing' in text and "KeyError" in text
    assert "child.py" not in text and str(lab.scratch) not in text and "\x1b" not in text
    broken = (await lab.run("def fit_predict(:\n    pass\n")).outcome
    assert broken.status == "crash" and "SyntaxError" in broken.error and "line 1" in broken.error
    empty = (await lab.run("x = 1\n")).outcome
    assert empty.status == "crash" and "defines no function fit_predict" in empty.error


async def test_a_hanging_experiment_meets_its_time_limit(lab: Lab) -> None:
    code = """
        import signal, threading
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        threading.Event().wait()
    """
    result = await lab.run(good(code), time_limit=0.5)
    assert result.outcome.status == "timeout"
    assert "time limit of 0.5 s" in result.outcome.error
    assert (await lab.run(good())).outcome.status == "ok"


async def test_a_flood_of_output_is_cut_and_stalls_nothing(lab: Lab) -> None:
    code = """
        import os
        print("first")
        for _ in range(100):
            os.write(1, b"x" * 999_999 + b"\\n")
        print("last")
    """
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    heart = asyncio.create_task(beat())
    result = await lab.run(good(code))
    heart.cancel()
    assert result.outcome.status == "ok"
    assert result.log.startswith("first\nxxxx")
    assert len(result.log) < 1_100_000 and max(map(len, result.log.splitlines())) <= 2_000
    assert beats > 100
    lines = await lab.run(good("for number in range(200_000): print(number)"))
    assert lines.outcome.status == "ok"
    assert len(lines.log.splitlines()) == 10_001
    assert "more were dropped" in lines.log.splitlines()[-1]


async def test_log_lines_are_clean(lab: Lab) -> None:
    code = r"""
        import os, sys
        print("\x1b[2Jcolour\x1b[0m \x9b31m\x07[/red]", file=sys.stderr)
        os.write(1, b"\xff\xfe bytes\n")
        os.system("echo from a shell")
        ctx.report(text="a\x1b[31mb", lone="\ud800", nan=float("nan"))
    """
    result = await lab.run(good(code))
    assert result.outcome.status == "ok"
    assert result.log.splitlines() == ["colour 31m[/red]", "\ufffd\ufffd bytes", "from a shell"]
    assert result.report["text"] == "ab" and result.report["nan"] is None
    json.dumps(result.report).encode()
    result.report["lone"].encode()


DAEMON = """
import os, signal
ready, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 2, 15):
            signal.signal(number, signal.SIG_IGN)
        os.write(tell, str(os.getpid()).encode())
        while True:
            signal.pause()
    os._exit(0)
ctx.report(daemon=int(os.read(ready, 20)), child=os.getpid())
"""


async def test_a_daemon_does_not_outlive_its_fold(lab: Lab) -> None:
    result = await lab.run(good(DAEMON))
    assert result.outcome.status == "ok"
    assert not psutil.pid_exists(result.report["daemon"])


async def test_processes_that_fork_without_pause_are_caught(lab: Lab) -> None:
    code = """
        import os
        for _ in range(3):
            if os.fork() == 0:
                while True:
                    if os.fork():
                        os._exit(0)
    """
    assert (await lab.run(good(code))).outcome.status == "ok"
    # The group dies at once, so the slot is clean and the same warm process goes on.
    assert "started again" not in (await lab.run(good())).log


async def test_processes_of_an_experiment_can_import_it(lab: Lab) -> None:
    code = """
        import numpy as np
        from joblib import Parallel, delayed
        from concurrent.futures import ProcessPoolExecutor
        def double(x):
            return 2 * x
        def fit_predict(train, valid, test, ctx):
            assert Parallel(n_jobs=2)(delayed(double)(i) for i in range(4)) == [0, 2, 4, 6]
            with ProcessPoolExecutor(2) as pool:
                assert list(pool.map(double, range(3))) == [0, 2, 4]
            return np.zeros(len(valid)), np.zeros(len(test))
    """
    result = await lab.run(code)
    assert result.outcome.status == "ok", (result.outcome, result.log)


MODELS = {
    "lightgbm": "from lightgbm import LGBMClassifier as M; m = M(n_estimators=20, n_jobs=2, verbose=-1)",
    "xgboost": "from xgboost import XGBClassifier as M; m = M(n_estimators=20, n_jobs=2)",
    "catboost": "from catboost import CatBoostClassifier as M; m = M(iterations=20, thread_count=2, verbose=10)",
    "forest": "from sklearn.ensemble import RandomForestClassifier as M; m = M(n_estimators=20, n_jobs=2)",
    "histogram": "from sklearn.ensemble import HistGradientBoostingClassifier as M; m = M(max_iter=10)",
    "linear": "from sklearn.linear_model import LogisticRegression as M; m = M(max_iter=50)",
}


@pytest.mark.parametrize("name", MODELS)
async def test_models_train_with_threads(lab: Lab, name: str) -> None:
    if name in ("lightgbm", "xgboost", "catboost"):
        pytest.importorskip(name)
    code = f"""
        def fit_predict(train, valid, test, ctx):
            {MODELS[name]}
            numeric = list(ctx.columns.numeric)
            m.fit(train[numeric], train["y"])
            return tuple(ctx.align(m.predict_proba(f[numeric]), m.classes_) for f in (valid, test))
    """
    result = await lab.run(code, "multiclass")
    assert result.outcome.status == "ok", (result.outcome, result.log)
    assert result.outcome.valid is not None
    truth = lab.caches["multiclass"][0].train["y"].to_numpy()[lab.caches["multiclass"][1].splits[0][1]]
    assert (result.outcome.valid.argmax(axis=1) == truth).mean() > 0.6


async def test_kill_ends_the_folds_of_one_experiment_only(lab: Lab) -> None:
    waiting = good("import signal; print('up', flush=True); signal.pause()")
    started = asyncio.Event()

    async def follow(job: FoldJob) -> Result:
        records = []
        async for record in lab.compute.run(job):
            records.append(record)
            started.set()
        return Result(records)

    running = asyncio.create_task(follow(lab.job(waiting)))
    await started.wait()
    other = lab.job(good("ctx.report(done=1)"), experiment="R02")
    assert (await lab.collect(other)).outcome.status == "ok"
    second = asyncio.create_task(follow(lab.job(waiting, fold=1)))
    queued = asyncio.create_task(follow(lab.job(waiting, fold=2)))
    await asyncio.sleep(0)
    await lab.compute.kill("R01")
    results = await asyncio.gather(running, second, queued)
    assert [result.outcome.status for result in results] == ["killed"] * 3
    assert (await lab.run(good())).outcome.status == "ok"


@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_who_stops_listening_kills_the_fold(lab: Lab, how: str) -> None:
    job = lab.job(good(DAEMON + "signal.pause()"))
    pids: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async with aclosing(lab.compute.run(job)) as records:
            async for record in records:
                if isinstance(record, Report):
                    pids.set_result(list(record.values.values()))
                    if how == "aclose":
                        return

    listening = asyncio.create_task(listen())
    found = await pids
    if how == "cancel":
        listening.cancel()
    await asyncio.wait({listening})
    assert not any(psutil.pid_exists(pid) for pid in found)
    assert (await lab.run(good())).outcome.status == "ok"


async def test_a_lost_warm_process_is_started_again(lab: Lab) -> None:
    owner = "import os; ctx.report(owner=os.getppid())"
    first = (await lab.run(good(owner))).report["owner"]
    os.kill(first, signal.SIGKILL)
    results = await asyncio.gather(*(lab.run(good(owner), fold=fold) for fold in range(2)))
    assert [result.outcome.status for result in results] == ["ok", "ok"]
    assert first not in {result.report["owner"] for result in results}
    assert any("worker slot started again: its process was killed by SIGKILL" in result.log for result in results)


async def test_a_fold_whose_warm_process_dies_is_a_crash_and_leaves_nothing(lab: Lab) -> None:
    result = await lab.run(good(DAEMON + "os.kill(os.getppid(), 9); signal.pause()"))
    assert result.outcome.status == "crash"
    assert "worker slot was lost" in result.outcome.error and result.outcome.extra["worker_lost"]
    survivors = [psutil.Process(pid) for pid in result.report.values() if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(survivors, timeout=30)[1]
    assert (await lab.run(good())).outcome.status == "ok"


async def test_predictions_written_past_the_end_are_stopped_by_the_kernel(lab: Lab) -> None:
    if sys.platform != "linux":
        pytest.skip("sealed files are Linux's")
    code = """
        import os
        links = {}
        for fd in range(3, 64):
            try:
                links[os.readlink(f"/proc/self/fd/{fd}")[:7]] = fd
            except OSError:
                pass
        fd = links["/memfd:"]
        for act in (lambda: os.pwrite(fd, b"x", os.fstat(fd).st_size), lambda: os.ftruncate(fd, 0)):
            try:
                act()
            except PermissionError:
                continue
            raise AssertionError("the file can change its size")
    """
    result = await lab.run(good(code))
    assert result.outcome.status == "ok", result.outcome


async def test_a_forged_end_is_checked_all_the_same(lab: Lab) -> None:
    code = """
        import json, os
        for fd in range(3, 64):
            try:
                if "memfd" in os.readlink(f"/proc/self/fd/{fd}"):
                    os.pwrite(fd, b"\\xff" * 8, 0)
                elif "pipe" in os.readlink(f"/proc/self/fd/{fd}"):
                    os.write(fd, json.dumps({"end": {"status": "ok"}}).encode() + b"\\n" + b"[" * 5000 + b"\\n")
            except OSError:
                pass
        os._exit(0)
    """
    outcome = (await lab.run(good(code))).outcome
    assert outcome.status == "invalid" and "valid_pred is NaN" in outcome.error


async def test_a_missing_data_file_is_the_engines_error(lab: Lab) -> None:
    job = replace(lab.job(good()), valid=lab.root / "gone.arrow")
    with pytest.raises(DataError, match=r"gone\.arrow of fold 0 cannot be opened: No such file"):
        await lab.collect(job)
    assert (await lab.run(good())).outcome.status == "ok"


async def test_cache_files_are_written_once_and_keyed(lab: Lab) -> None:
    data, folds, cache = lab.caches["binary"]
    train, valid, test = cache.files(0)
    stamps = [path.stat().st_mtime_ns for path in (train, valid, test)]
    again = FoldCache(lab.root / "cache", data, folds)
    assert again.files(0) == (train, valid, test)
    assert [path.stat().st_mtime_ns for path in (train, valid, test)] == stamps
    assert FoldCache(lab.root / "cache", replace(data, data_hash="other"), folds).folder != cache.folder
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".arrow"] * len(list(cache.folder.iterdir()))
    mixed = replace(data, test=data.test.assign(odd=[1, "a"] * 10), data_hash="mixed")
    with pytest.raises(DataError, match="cannot be stored"):
        FoldCache(lab.root / "cache", mixed, folds).files(0)


async def test_folds_leave_no_descriptor_open_in_the_engine(lab: Lab) -> None:
    if sys.platform != "linux":
        pytest.skip("counted in /proc")
    await lab.run(good())
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for code in (good(), good("raise ValueError"), good("import os; os._exit(1)"), "x = 1"):
        await asyncio.gather(lab.run(code), lab.run(code))
    await lab.run(good("import signal; signal.pause()"), time_limit=0.2)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_start_sweeps_what_a_killed_engine_left(tmp_path: Path) -> None:
    left = tmp_path / "slot-01234567"
    (left / "work").mkdir(parents=True)
    (left / "work" / "big.bin").write_bytes(b"x")
    stray = subprocess.Popen(
        [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"],
        env={**os.environ, MARKER: left.name},
        stdout=subprocess.PIPE,
    )
    assert stray.stdout is not None
    stray.stdout.readline()
    compute = LocalCompute(0, 1, tmp_path, OPEN)
    await compute.start()
    assert stray.wait(timeout=30) == -signal.SIGKILL
    assert not left.exists()
    await compute.close()
    stray.stdout.close()


async def test_a_slot_that_cannot_start_says_why(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(ComputeError, match="could not be started"):
        await LocalCompute(1, 1, blocked, OPEN).start()


async def test_closing_ends_a_running_fold(lab: Lab, tmp_path: Path) -> None:
    compute = LocalCompute(1, 1, tmp_path, OPEN)
    await compute.start()
    records: list[Record] = []
    closing: asyncio.Task[None] | None = None
    async for record in compute.run(lab.job(good(DAEMON + "signal.pause()"))):
        records.append(record)
        closing = closing or asyncio.create_task(compute.close())
    assert closing is not None
    await closing
    result = Result(records)
    assert result.outcome.status == "killed"
    assert not any(psutil.pid_exists(pid) for pid in result.report.values())
    assert list(tmp_path.iterdir()) == []


async def test_a_closed_compute_runs_nothing(lab: Lab, tmp_path: Path) -> None:
    compute = LocalCompute(0, 1, tmp_path, OPEN)
    await compute.start()
    await compute.close()
    with pytest.raises(ComputeError, match="closed"):
        async for _ in compute.run(lab.job(good())):
            pass
