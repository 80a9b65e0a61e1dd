"""How alike the predictions of the pool are: a heat map, the rule on stacking, and groups of near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.poolmap import Likeness, Member, PoolMap, likeness, load_pool
from autokaggle_tui.state import EngineState, State
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.panescreen import PaneScreen
from autokaggle_tui.ui.reading import READING, read_rules
from autokaggle_tui.ui.widgets.card import MUTED, Row, TableCard
from autokaggle_tui.ui.widgets.closeness_card import TWIN
from autokaggle_tui.ui.widgets.heat_map import HeatMap, Scale
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.wording import score_text
from experiments.errors import AutokaggleError
from experiments.learnings import Rule

RULE = "stacking-correlation"
ORDERS = ("likeness", "score", "time")
SHOWN_GROUPS, SHOWN_NAMES = 100, 12


@dataclass(frozen=True)
class Loaded:
    """What a thread read and worked out."""

    pool: PoolMap
    likeness: Likeness
    rule: Rule
    above: int
    scale: Scale


class CorrelationScreen(PaneScreen[None]):
    """The heat map with its groups beside it; below it what the cursor stands on."""

    CSS_PATH = "correlation.tcss"
    AUTO_FOCUS = "#heat"
    BINDINGS: ClassVar[list[Any]] = [*bindings("open", "sort", show=True), *bindings("sort-reverse", "copy")]

    def __init__(self) -> None:
        super().__init__()
        self._loaded: Loaded | None = None
        self._stamp: tuple[Any, ...] | None = None
        self._loading = self._stale = False
        self._by, self._reversed = ORDERS[0], False

    def compose(self) -> ComposeResult:
        """A summary, map and groups, the pair under the cursor, and the keys."""
        yield Static(Content.styled(READING, MUTED), id="summary", markup=False)
        with Container(id="halves"):
            with Pane("Pool, blends left out", number=1, id="map"):
                yield HeatMap(id="heat")
            with Pane("Near-duplicates", number=2, id="groups"), VerticalScroll(can_focus=True):
                yield TableCard("", id="group-lines")
        yield Static(id="missing", markup=False)
        yield Static(id="pair", markup=False)
        yield KeyBar()

    # Following.

    def follow(self, state: State, engine: EngineState) -> None:  # noqa: ARG002
        """Read the pool anew when something joined or left it."""
        if not self.is_mounted or (self._stamp is not None and self._stamp[0] is state.results):
            return
        pooled = tuple(result.name for result in state.results.values() if result.in_pool)
        known = self._stamp[1] if self._stamp is not None else None
        self._stamp = (state.results, pooled)
        if pooled != known:
            self._reload()

    def _reload(self) -> None:
        if self._loading:
            self._stale = True
        else:
            self._loading = True
            self._load()

    @work(thread=True, group="pool", exit_on_error=False)
    def _load(self) -> None:
        workspace = self.cockpit.workspace
        try:
            pool = load_pool(workspace)
        except AutokaggleError as error:
            self.app.call_from_thread(self._failed, error)
            return
        rule = read_rules(workspace)[RULE]
        limit = _limit(rule)
        values = list(pool.pairs())
        above = 0 if limit is None else sum(value > limit for value in values)
        loaded = Loaded(pool, likeness(pool, limit), rule, above, Scale.over(values))
        self.app.call_from_thread(self._show, loaded)

    def _failed(self, error: AutokaggleError) -> None:
        self._loading = False
        self._explain(str(error))

    def _show(self, loaded: Loaded) -> None:
        self._loading = False
        if self._stale:
            self._stale = False
            self._reload()
        if not self.is_attached:
            return
        self._loaded = loaded
        count = len(loaded.pool)
        if count < 2:
            one = f"Only {loaded.pool.members[0].name} is in the pool" if count else "The pool is empty"
            self._explain(f"{one}.\nEvery experiment that scores on all folds joins it; two are needed to compare.")
            return
        self._explain("")
        self.query_one("#summary", Static).update(_summary(loaded))
        groups = self.query_one("#group-lines", TableCard)
        groups.show(_groups(loaded, self.cockpit.state.now.better), _no_groups(loaded.rule))
        number = len(loaded.likeness.groups)
        self.query_one("#groups", Pane).subtitle(f"{number:,} group{'s' if number != 1 else ''}" if number else "")
        self._show_map()

    def _show_map(self) -> None:
        loaded = self._loaded
        if loaded is None or len(loaded.pool) < 2:
            return
        self.query_one(HeatMap).show(loaded.pool, loaded.scale, self._order(loaded), _limit(loaded.rule))
        turned = ", turned round" if self._reversed else ""
        self.query_one("#map", Pane).subtitle(f"by {self._by}{turned}", loaded.scale.example)

    def _order(self, loaded: Loaded) -> Sequence[int]:
        places = list(loaded.likeness.order)
        if self._by == "time":
            places = list(range(len(loaded.pool)))
        elif self._by == "score":
            better = self.cockpit.state.now.better
            members = loaded.pool.members
            places.sort(key=lambda place: -better * (members[place].score or 0.0))
        return places[::-1] if self._reversed else places

    def _explain(self, text: str) -> None:
        """Say why there is no map; an empty text when there is one."""
        self.query_one("#missing", Static).update(Content(text))
        self.query_one("#missing").display = bool(text)
        for selector in ("#halves", "#summary", "#pair"):
            self.query_one(selector).display = not text

    # The pair under the cursor.

    @on(HeatMap.Moved)
    def _moved(self, event: HeatMap.Moved) -> None:
        if self._loaded is None:
            return
        value = self.query_one(HeatMap).value
        self.query_one("#pair", Static).update(_pair(event.row, event.column, value, self._loaded.rule), layout=False)

    @on(HeatMap.Opened)
    def _opened(self, event: HeatMap.Opened) -> None:
        self.cockpit.open_round(event.name)

    def action_open(self) -> None:
        """Open the round of the cursor's row."""
        self.query_one(HeatMap).action_open()

    def action_sort(self) -> None:
        """By likeness, by score, by time."""
        self._by = ORDERS[(ORDERS.index(self._by) + 1) % len(ORDERS)]
        self._show_map()

    def action_sort_reverse(self) -> None:
        """Turn the order round."""
        self._reversed = not self._reversed
        self._show_map()

    def action_copy(self) -> None:
        """Copy the pair under the cursor."""
        heat = self.query_one(HeatMap)
        if heat.pair is not None:
            value = "unknown" if heat.value is None else f"{heat.value:.6f}"
            self.app.copy_to_clipboard(f"{heat.pair[0].name} {heat.pair[1].name} {value}")
            self.notify("Copied the pair.")


def _limit(rule: Rule) -> float | None:
    return rule.number("max_correlation") if rule.active else None


def _summary(loaded: Loaded) -> Content:
    count, limit = len(loaded.pool), _limit(loaded.rule)
    pairs = count * (count - 1) // 2
    parts = [
        ("Correlations  ", "bold $text-accent"),
        (f"{count:,} predictions", "bold"),
        (f" · {pairs:,} pair{'s' if pairs != 1 else ''}", MUTED),
    ]
    if limit is None:
        parts.append((f" · {RULE} is off: nothing is too alike", MUTED))
    elif loaded.above:
        parts += [
            (" · ", MUTED),
            (f"{TWIN} {loaded.above:,} above {limit:g}", "bold $text-warning"),
            (f" ({RULE})", MUTED),
        ]
    else:
        parts.append((f" · none above {limit:g} ({RULE})", MUTED))
    return Content.assemble(*parts)


def _groups(loaded: Loaded, better: int) -> list[Row]:
    rows: list[Row] = []
    members = loaded.pool.members
    limit = _limit(loaded.rule) or 0.0
    for group in loaded.likeness.groups[:SHOWN_GROUPS]:
        best_first = sorted(group, key=lambda place: -better * (members[place].score or 0.0))
        links = (loaded.pool.value(a, b) for a, b in pairwise(group))
        # Two that lie side by side may be linked through a third only.
        values = [value for value in links if value is not None and value > limit]
        best = members[best_first[0]]
        rest = [members[place].name for place in best_first[1:SHOWN_NAMES]]
        more = len(group) - 1 - len(rest)
        span = "–".join(dict.fromkeys((f"{min(values):.4f}", f"{max(values):.4f}"))) if values else ""
        said = Content.assemble(
            (best.name, "bold"),
            (f" {best.family} {score_text(best.score)}", MUTED),
            f" {TWIN} {' '.join(rest)}",
            (f" and {more:,} more" if more else "", MUTED),
            (f"  {span}", "$text-warning"),
        )
        rows.append([Content.styled(f"{len(group):,}", "bold $text-warning"), said])
    return rows


def _no_groups(rule: Rule) -> str:
    limit = _limit(rule)
    return f"{RULE} is off." if limit is None else f"No two predictions are correlated above {limit:g}."


def _pair(row: Member, column: Member, value: float | None, rule: Rule) -> Content:
    """Two lines: who and how alike, what the rule says."""
    first = Content.assemble(*_who(row))
    if row.name == column.name:
        return Content("\n").join([first, Content.styled(f"{row.status}; enter opens it", MUTED)])
    limit = _limit(rule)
    twin = value is not None and limit is not None and value > limit
    figure = "not measured" if value is None else f"{value:.4f}"
    tone = "bold underline $text-warning" if twin else "bold"
    head = Content.assemble(
        first, ("  ×  ", MUTED), *_who(column), ("   ρ ", MUTED), (figure, tone), f" {TWIN}" if twin else ""
    )
    return Content("\n").join([head, _ruled(value, rule, twin)])


def _who(member: Member) -> list[tuple[str, str]]:
    return [(member.name, "bold $text-accent"), (f" {member.family} {score_text(member.score)}", MUTED)]


def _ruled(value: float | None, rule: Rule, twin: bool) -> Content:
    limit = _limit(rule)
    if limit is None:
        return Content.styled(f"{RULE} is off: a fitted blend may take both.", MUTED)
    if value is None:
        return Content.styled("The pair was never measured.", MUTED)
    if not twin:
        return Content.styled(f"{limit - value:.4f} below {limit:g}: a fitted blend may take both.", MUTED)
    if rule.enforce == "warn":
        return Content.styled(f"{TWIN} above {limit:g}: {RULE} warns, and forbids nothing.", "$text-warning")
    lift = "; cross-fitted evidence may lift the rule" if rule.override == "evidence" else ""
    said = f"{TWIN} above {limit:g} ({RULE}): a fitted blend keeps one of them, a plain average may take both{lift}."
    return Content.styled(said, "$text-warning")
