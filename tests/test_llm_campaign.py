"""A campaign that models play through the real LiteLLM: tools, objections, a bug, a veto, a restart, what it cost."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from autokaggle_tui.status import load_status
from autokaggle_tui.workspace import Workspace
from backends.models.lite.keys import HOSTED
from backends.models.lite.line import forget_manners
from backends.models.opening import Opener
from experiments.registry import Registry
from experiments.schema import Row
from tests.emulators.answers import Answer, Say, Tokens, tool
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.player import Player, Seen, experiment, plan, write
from tests.emulators.server import hosted

from .conftest import change_config, kinds, play

KEY = "sk-canary-0f1e2d3c4b5a"
CLAUDE = "anthropic/claude-opus-4-5"
SPENT = Tokens(1000, 50, cached=400)


def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_manners()
    for names in HOSTED.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def rows(workspace: Workspace, sql: str) -> list[Row]:
    registry = Registry(workspace.facts)
    try:
        return registry.rows(sql)
    finally:
        registry.close()


LOOK = 'import pandas as pd\nprint("rows", len(pd.read_csv("train.csv")))'
BUG = experiment(1.0).replace("ctx.columns.numeric", "ctx.columns.numbers")


def eda(seen: Seen) -> Answer:
    """Write down what the script printed."""
    return write(f"# EDA\nThe script says: {seen.told}\n")(seen)


def brief(seen: Seen) -> Answer:
    """Build on the EDA that was read."""
    return write(f"Read: {seen.told}\n", "1. A linear model on scaled columns.\n")(seen)


def mended(seen: Seen) -> Answer:
    """Mend what the traceback names."""
    assert "numbers" in seen.trigger and "AttributeError" in seen.trigger, seen.trigger
    return write(experiment(1.0))(seen)


def other_plan(seen: Seen) -> Answer:
    """Plan something else once a rule has said no."""
    assert "block no-repeats" in seen.trigger, seen.trigger
    return write(plan("kernel", "weaker regularisation", strength=20))(seen)


RESEARCHER = {
    "R01 research": [
        tool("read_file", path="rounds/R00_eda.md"),
        tool("query_registry", sql="SELECT count(*) AS n FROM experiments"),
        tool("read_file", path="rounds/R00_eda.md"),
        brief,
        Say("DONE", reasoning="nothing is tried yet"),
    ],
}
REVIEWER = {
    "R01 review": [
        tool("read_file", path="rounds/R01_plan.md"),
        write("REVISE: say what would disprove it\n1. Diversity: pass.\n"),
        Say("REVISE: say what would disprove it"),
    ],
    "R02 verify": [
        tool("read_file", path="rounds/R02_experiment.py"),
        write("REJECT: the gain is not what was promised\n"),
        Say("REJECT: the gain is not what was promised"),
    ],
}
BUILDER = {
    "R00 eda": [tool("run_python", code=LOOK), eda, Say("DONE")],
    "R01 plan": [
        tool("read_file", path="rounds/R01_research_brief.md"),
        write(plan("linear", "scaled columns", strength=1)),
        Say("DONE"),
    ],
    "R01 revise": [
        tool("read_file", path="rounds/R01_review.md"),
        write(plan("linear", "scaled columns", strength=1) + "Disproved if it loses to a constant.\n"),
        Say("REVISED"),
    ],
    "R01 code": [write(experiment(0.0001)), Say("CODED")],
    "R02 plan": [write(plan("linear", "the same again", strength=1)), Say("DONE")],
    "R02 revise": [other_plan, Say("REVISED")],
    "R02 code": [write(BUG), Say("CODED")],
    "R02 fix": [tool("read_file", path="rounds/R02_run.log"), mended, Say("CODED")],
}


@dataclass
class Campaign:
    """Two rounds by models, and a third in a new engine, in which the playbook reviews."""

    workspace: Workspace
    claude: Player
    builder: Player
    codes: list[int]
    events: list[Row]

    def rows(self, sql: str) -> list[Row]:
        return rows(self.workspace, sql)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    from autokaggle_tui.setup import demo_workspace

    place = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        keys(patch)
        patch.setenv("AUTOKAGGLE_DATA_HOME", str(place / "home"))
        workspace = Workspace(demo_workspace(place / "demo"))
        claude, builder = Player(RESEARCHER | REVIEWER, SPENT), Player(BUILDER, SPENT)
        anthropic = stack.enter_context(hosted(AnthropicServer(claude)))
        openai = stack.enter_context(hosted(OpenAIServer(builder)))
        thinking = {"model": CLAUDE, "api_base": anthropic.url, "timeout": 20}
        building = {"model": "openai/emulated", "api_base": openai.url, "timeout": 20, "context": 100_000}
        building |= {"input_price": 2.0, "output_price": 10.0}
        models = {"researcher": thinking, "builder": building, "reviewer": thinking}
        change_config(workspace, models=models, compute={"slots": 1}, cv_folds=3)
        played = Campaign(workspace, claude, builder, [], [])
        for rounds in (2, 1):
            code, events = play(workspace, rounds, prepare=as_configured)
            played.codes.append(code)
            played.events += events
            change_config(workspace, models={**models, "reviewer": "playbook"})
        yield played


def as_configured(bench) -> None:
    """Models as the engine opens them."""
    bench.desk.staff.open = Opener()


def test_it_plays_to_its_end_without_anybody_standing_in(campaign: Campaign):
    assert campaign.codes == [0, 0]
    assert campaign.rows("SELECT * FROM verdicts WHERE verdict = 'fallback'") == []
    assert [data["text"] for data in kinds(campaign.events, "warning")] == []
    assert kinds(campaign.events, "unfit") == []
    done = campaign.rows("SELECT round, status FROM rounds ORDER BY round")
    assert [(row["round"], row["status"]) for row in done] == [(number, "done") for number in range(4)]
    experiments = campaign.rows("SELECT id, family, status FROM experiments WHERE source = 'round' ORDER BY id")
    assert [row["id"] for row in experiments] == ["R01", "R02", "R03"]
    assert [row["status"] for row in experiments[:2]] == ["keep", "keep"]


def test_the_files_are_what_the_models_wrote_and_read(campaign: Campaign):
    workspace = campaign.workspace
    assert workspace.file(0, "eda.md").read_text() == "# EDA\nThe script says: rows 427\n"
    assert "rows 427" in workspace.file(1, "research_raw.md").read_text()
    assert workspace.file(1, "plan.md").read_text().endswith("Disproved if it loses to a constant.\n")
    assert workspace.file(1, "experiment.py").read_text() == experiment(0.0001)
    assert workspace.file(2, "plan.md").read_text() == plan("kernel", "weaker regularisation", strength=20)
    for number in (1, 2, 3):
        for suffix in ("research_brief.md", "review.md", "findings.md", "verify.md"):
            assert workspace.file(number, suffix).is_file(), (number, suffix)


def test_objections_are_followed_whoever_makes_them(campaign: Campaign):
    said = campaign.rows("SELECT * FROM verdicts WHERE author != 'rules' ORDER BY id")
    verdicts = [(row["round"], row["phase"], row["author"], row["verdict"]) for row in said]
    assert verdicts[:-1] == [
        (1, "review", "reviewer", "REVISE"),
        (1, "verify", "reviewer", "APPROVED"),
        (2, "review", "reviewer", "APPROVED"),
        (2, "review", "engine", "REVISE"),
        (2, "verify", "reviewer", "REJECT"),
        (3, "review", "reviewer", "APPROVED"),
    ]
    assert said[3]["rule"] == "no-repeats"
    [revise] = campaign.builder.of("R01 revise")[:1]
    assert "The Reviewer said: REVISE: say what would disprove it" in revise.trigger


def test_a_rejection_holds_the_submission_back_and_nothing_else(campaign: Campaign):
    submits = campaign.rows("SELECT outcome, detail FROM phases WHERE phase = 'submit' ORDER BY round")
    assert [row["outcome"] for row in submits[:2]] == ["accepted", "skipped"]
    assert "veto: REJECT: the gain is not what was promised" in submits[1]["detail"]["line"]
    assert campaign.rows("SELECT * FROM predictions WHERE experiment = 'R02'"), "it stays in the pool"


def test_a_bug_is_mended_after_its_traceback(campaign: Campaign):
    runs = campaign.rows("SELECT attempt, outcome FROM phases WHERE round = 2 AND phase = 'run' ORDER BY attempt")
    assert [(row["attempt"], row["outcome"]) for row in runs] == [(1, "crash"), (2, "keep")]
    log = campaign.builder.of("R02 fix")[1].told
    assert "AttributeError" in log, "what read_file gave it"


def test_every_call_has_its_model_tokens_price_and_context(campaign: Campaign):
    calls = campaign.rows("SELECT * FROM calls WHERE model != 'playbook' ORDER BY id")
    asked = len(campaign.claude.seen) + len(campaign.builder.seen)
    assert len(calls) == asked > 40
    assert {row["context"] for row in calls} == {1050}
    for row in calls:
        assert (row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == (1000, 50, 400)
        assert (row["outcome"], row["estimated"], row["retries"], row["asked"]) == ("ok", 0, 0, "")
    by_role = {row["role"]: (row["model"], row["window"]) for row in calls}
    assert by_role == {
        "researcher": (CLAUDE, 200_000),
        "builder": ("openai/emulated", 100_000),
        "reviewer": (CLAUDE, 200_000),
    }
    # Opus 4.5: 5 and 25 dollars per million, a tenth of the former for what was in the cache.
    prices = {"builder": 1000 * 2 + 50 * 10, "researcher": 600 * 5 + 400 * 0.5 + 50 * 25}
    for row in calls:
        assert row["cost"] == pytest.approx(prices[row["role"].replace("reviewer", "researcher")] / 1e6)


def test_conversations_survive_the_engine(campaign: Campaign):
    for player, phase, earlier in (
        (campaign.claude, "R03 research", ["R01 research", "R02 research"]),
        (campaign.builder, "R03 plan", ["R00 eda", "R01 plan", "R02 fix", "R02 findings"]),
    ):
        request = player.of(phase)[0]
        began = [turn.text.split(".")[0] for turn in request.turns if turn.who == "user"]
        assert set(earlier) <= set(began)
        assert request.system == player.seen[0].system, "the prompt is the same"
    told = [turn.text for turn in campaign.claude.of("R03 research")[0].turns if turn.who == "tool"]
    assert any('"n"' in text for text in told) and any("rows 427" in text for text in told)
    assert [seen.phase for seen in campaign.claude.seen if seen.round == 3 and "research" not in seen.phase] == []


def test_status_adds_it_up(campaign: Campaign):
    found = load_status(campaign.workspace)
    calls = campaign.rows("SELECT * FROM calls")
    assert found["spent"]["calls"] == len(calls)
    assert found["spent"]["tokens"] == sum(row["input_tokens"] + row["output_tokens"] for row in calls)
    assert found["spent"]["usd"] == pytest.approx(sum(row["cost"] for row in calls))
    assert (found["spent"]["retries"], found["spent"]["fallbacks"], found["spent"]["estimated"]) == (0, 0, False)
    builder = found["models"]["builder"]
    assert builder["model"] == "openai/emulated" and builder["calls"] == len(campaign.builder.seen)
    assert (builder["last"]["context"], builder["last"]["window"], builder["last"]["outcome"]) == (1050, 100_000, "ok")
    assert found["models"]["reviewer"]["model"] == "playbook"
