"""The header: what is played, how well, how far, at what price, and whether it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from autokaggle_tui.durations import format_duration
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.lines import Line, width_of
from autokaggle_tui.ui.widgets.marks import ENGINE_MARKS, stopwatch
from autokaggle_tui.wording import arrow, cost_text, count_text, gain_text, score_text
from autokaggle_tui.workspace import round_name
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Now, State

TWO_LINES_BELOW = 100
LEAST_ROWS_FOR_TWO = 20
GAPS = (3, 2)

GAME = ("mark", "brand", "competition", "metric", "folds")
SCORES = ("best", "gain", "board")
FAR = ("round", "cost")
HOW = ("elapsed", "sandbox", "engine")
FORMS = {"unsafe": "sandbox", "limit": "elapsed", "held": "engine"}
"""Parts that take the place of another: a sandbox that is off, the time with its limit, an engine and why it waits."""

PRIORITY = (
    "mark",
    "engine",
    "best",
    "held",
    "competition",
    "round",
    "cost",
    "board",
    "gain",
    "unsafe",
    "elapsed",
    "metric",
    "brand",
    "sandbox",
    "limit",
    "folds",
)
"""The most important first: as the width shrinks, the last ones leave."""

METRICS: Mapping[str, str] = {
    "roc_auc": "AUC",
    "auc": "AUC",
    "rmse": "RMSE",
    "rmsle": "RMSLE",
    "mae": "MAE",
    "mse": "MSE",
    "r2": "R²",
    "log_loss": "log loss",
    "logloss": "log loss",
    "f1": "F1",
}
"""Metrics as people write them; others are shown as the config has them."""

Parts = Mapping[str, Line]
BRAND: Parts = {"mark": (("◆", "bold $text-accent"),), "brand": ((" autokaggle ", "bold"),)}


def parts(state: State, engine: EngineState, now: float) -> Parts:
    """The pieces of the header by name; those that have nothing to say are missing."""
    run, best = state.now, state.best
    found: dict[str, Line] = dict(BRAND)
    if run.competition:
        found["competition"] = ((f" {one_line(run.competition, 60)}", "bold"),)
    if run.metric:
        name = METRICS.get(run.metric, one_line(run.metric.replace("_", " "), 24))
        found["metric"] = ((" · ", MUTED), (f"{name} {arrow(run.direction)}".rstrip(), ""))
    if run.folds:
        found["folds"] = ((f" · {run.folds}-fold", MUTED),)
    if best is not None:
        found["best"] = (("champion ", MUTED), (score_text(best.score), "bold $text-accent"))
        if best.gain is not None:
            found["gain"] = (("Δ ", MUTED), (gain_text(best.gain), "$text-success"))
    board = _board(state)
    if board is not None:
        found["board"] = (("last LB ", MUTED), (score_text(board), ""))
    if run.run is not None:
        found["round"] = _round(run)
    # How long an engine that died had been running nobody wrote down.
    if run.run is not None and engine != "died":
        found["elapsed"] = ((stopwatch(run.elapsed(now)), ""),)
        if run.time_limit is not None:
            found["limit"] = (*found["elapsed"], (f" of {format_duration(float(round(run.time_limit)))}", MUTED))
    cost = _cost(state)
    if cost:
        found["cost"] = cost
    if run.run is not None:
        off = run.sandbox in ("", "off")
        tier = "off" if off else one_line(run.sandbox, 20)
        found["unsafe" if off else "sandbox"] = ((f"sandbox {tier}", "$text-warning" if off else MUTED),)
    found["engine"] = _engine(engine)
    if run.held and engine in ("pausing", "paused"):
        found["held"] = (*found["engine"], (f": {one_line(run.held, 60)}", ENGINE_MARKS[engine][1]))
    return found


def _engine(engine: EngineState) -> Line:
    sign, style = ENGINE_MARKS[engine]
    return ((f"{sign} {engine}", f"bold {style}"),)


def _board(state: State) -> float | None:
    """The last public score."""
    scores = (sent.public_score for sent in reversed(list(state.submissions.values())) if sent.state == "accepted")
    return next((score for score in scores if score is not None), None)


def _round(run: Now) -> Line:
    played = 0 if run.round is None else max(run.round - run.first_round + 1, 0)
    name = "R–" if run.round is None else round_name(run.round)
    return (f"{name} ", "bold"), (f"{played}/{'∞' if run.rounds is None else run.rounds}", MUTED)


def _cost(state: State) -> Line:
    """Dollars against their budget, or tokens where nothing has a price."""
    spent, budget = state.spent, state.now.budget
    tokens = spent.tokens
    dollars = _number(budget.get("usd"))
    most = _number(budget.get("tokens"))
    if dollars is not None or (most is None and spent.cost != 0):
        limit = () if dollars is None else ((f" of {_plain(dollars)}", MUTED),)
        price = (cost_text(spent.cost, estimated=spent.estimated), _alarm(spent.cost, dollars))
        # Of two caps the one that is nearer.
        if most is not None and dollars is not None and tokens * dollars > (spent.cost or 0.0) * most:
            return _tokens(tokens, most)
        return (price, *limit)
    if most is not None:
        return _tokens(tokens, most)
    return ((count_text(tokens), ""), (" tokens", MUTED)) if tokens else ()


def _tokens(used: int, most: float) -> Line:
    return (count_text(used), _alarm(used, most)), (f" of {count_text(int(most))} tokens", MUTED)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _plain(dollars: float) -> str:
    return f"${dollars:,.0f}" if dollars == int(dollars) else cost_text(dollars)


def _alarm(used: float | None, most: float | None) -> str:
    """Colour of what is used up of a budget."""
    if used is None or most is None or used < 0.8 * most:
        return ""
    return "bold $text-warning" if used < most else "bold $text-error"


class HeaderBar(Widget):
    """One line; two on a narrow screen that is high enough."""

    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    HeaderBar {
        height: auto;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._parts: Parts = {**BRAND, "engine": _engine("reading")}

    def show(self, state: State, engine: EngineState, now: float) -> None:
        """Show how things stand."""
        found = parts(state, engine, now)
        if found != self._parts:
            higher = self._scored(found) != self._scored(self._parts)
            self._parts = found
            self.refresh(layout=higher)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """Two lines where one has no room for the scores and their price."""
        room = viewport.height >= LEAST_ROWS_FOR_TWO
        return 2 if room and width < TWO_LINES_BELOW and self._scored(self._parts) else 1

    def render(self) -> Content:
        """What fits."""
        width, height = self.content_size
        if height > 1:
            first = fitted(self._parts, GAME, HOW, width)
            return Content("\n").join((first, fitted(self._parts, SCORES, FAR, width, gapped=True)))
        return fitted(self._parts, GAME, (*SCORES, *FAR, *HOW), width)

    @staticmethod
    def _scored(found: Parts) -> bool:
        return any(name in found for name in (*SCORES, *FAR))


def fitted(found: Parts, left: Sequence[str], right: Sequence[str], width: int, *, gapped: bool = False) -> Content:
    """Parts at both ends of a line of ``width`` cells, the least important left out until they fit.

    Args:
        gapped: The left ones stand apart as the right ones always do; else they bring their spaces along.
    """
    wanted = [name for name in PRIORITY if name in found and FORMS.get(name, name) in {*left, *right}]
    while wanted:
        # Of two forms of one part the longer comes later and wins.
        shown = {FORMS.get(name, name): found[name] for name in wanted}
        for gap in GAPS:
            head = _joined([shown[name] for name in left if name in shown], gap if gapped else 0)
            tail = _joined([shown[name] for name in right if name in shown], gap)
            room = width - width_of(head) - width_of(tail)
            if room >= (gap if head and tail else 0):
                return Content.assemble(*head, " " * room, *tail)
        wanted.pop()
    return Content()


def _joined(lines: Sequence[Line], gap: int) -> Line:
    """Parts with a gap between them."""
    pieces: list[tuple[str, str]] = []
    for line in lines:
        if pieces:
            pieces.append((" " * gap, ""))
        pieces += line
    return tuple(pieces)
