"""A stage for one widget of the cockpit, and a campaign for it to show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.widget import Widget

from autokaggle_tui.state import (
    Notice,
    Now,
    PhaseDone,
    Result,
    Spent,
    State,
    Submission,
    Verdict,
)
from autokaggle_tui.ui.themes import THEMES, register
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.verdict_log import VerdictLog

AT = 100_000.0
SIZES = [(80, 24), (120, 40), (200, 60)]
RUN = Now(
    competition="playground-s5e8",
    metric="roc_auc",
    direction="maximize",
    folds=5,
    budget={"usd": 5.0, "tokens": None},
    run="a1",
    rounds=40,
    time_limit=28_800.0,
    first_round=1,
    mode="running",
    since=AT - 4_323,
    round=17,
)
RESULTS = (
    Result("R14", 14, family="lightgbm", idea="pdays × previous", status="keep", score=0.97291, gain=0.00044, t=3.1),
    Result("R15", 15, family="lightgbm", idea="target encoding job×month", status="keep", score=0.97312, gain=0.00021,
           t=2.2, rho=0.91, closest="R14", lb=0.97251, seconds=187.0, cost=0.21),
    Result("R16", 16, family="xgboost", idea="standardised ratios", status="discard", score=0.97316, gain=0.00004,
           t=0.6),
    Result("R17", 17, family="catboost", idea="fold-safe text hashing", status="running"),
)  # fmt: skip
STATE = State(
    now=replace(RUN, experiment="R17", folds_done=2, running={2: AT - 27.5}, fold_seconds=(45.0, 55.0)),
    results={result.name: result for result in RESULTS},
    champion="R15",
    submissions={1: Submission(1, AT, "R15", "R15_submission.csv", "accepted", 0.97251, "")},
    spent=Spent(120, 2_000_000, 300_000, 1.84),
    verdicts=(
        Verdict(1, AT, 15, "review", "reviewer", "APPROVED", None, "APPROVED"),
        Verdict(2, AT, 16, "review", "reviewer", "REVISE", None, "REVISE: one seed is not enough"),
        Verdict(3, AT, 16, "run", "rules", "block", "noise-floor", "+0.00004, t = 0.6"),
    ),
    bound={"noise-floor": {"block": 3, "warn": 1}},
    notices=(Notice(AT, "warning", "the server answered 529"), Notice(AT, "note", "max_submissions_per_day is 5.")),
)
ODD = "\x1b[31mred\x1b[0m [/bold] [b]x\nnext 日本語"


class Stage(App[None]):
    """One widget, and what it posts."""

    def __init__(self, widget: Widget, theme: str = THEMES[0].name) -> None:
        super().__init__()
        self.widget = widget
        self.shown_theme = theme
        self.opened: list[str] = []
        self.sorted: list[tuple[str, bool]] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        register(self)
        self.theme = self.shown_theme
        if self.widget.focusable:
            self.widget.focus()

    def on_rounds_table_opened(self, event: RoundsTable.Opened) -> None:
        self.opened.append(event.name)

    def on_rounds_table_sorted(self, event: RoundsTable.Sorted) -> None:
        self.sorted.append((event.column, event.reverse))

    def on_verdict_log_opened(self, event: VerdictLog.Opened) -> None:
        self.opened.append(event.name)


def lines(widget: Widget) -> list[str]:
    """What the screen shows of a widget, border included."""
    size = widget.outer_size
    return [strip.text for strip in widget.render_lines(Region(0, 0, size.width, size.height))]


def seen(widget: Widget) -> str:
    return "\n".join(lines(widget))


def with_now(state: State = STATE, **changes: Any) -> State:
    return replace(state, now=replace(state.now, **changes))


def idle(**changes: Any) -> State:
    """No experiment runs."""
    return with_now(experiment=None, folds_done=0, running={}, fold_seconds=(), **changes)


def ended(outcome: str, reason: str = "") -> State:
    return idle(mode="ended", outcome=outcome, reason=reason)


def done(*phases: str) -> tuple[PhaseDone, ...]:
    """Phases that are over: ``review:REVISE``, or ``plan`` for a plain ``DONE``."""
    pairs = (phase.partition(":") for phase in phases)
    return tuple(PhaseDone(name, "builder", outcome or "DONE", "") for name, _, outcome in pairs)


def with_result(state: State, result: Result) -> State:
    return replace(state, results={**state.results, result.name: result})


def many(count: int) -> Mapping[str, Result]:
    return {
        f"R{n:02d}": Result(f"R{n:02d}", n, family="xgboost", idea=f"idea {n}", status="discard", score=0.9 + n * 1e-5)
        for n in range(1, count + 1)
    }


async def shown_table(pilot: Any, state: State = STATE) -> RoundsTable:
    table = pilot.app.query_one(RoundsTable)
    table.show(state, "running", AT)
    await pilot.pause()
    return table
