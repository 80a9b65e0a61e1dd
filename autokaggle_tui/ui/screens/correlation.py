"""How alike the predictions of the pool are: a heat map, the rule on stacking, and groups of near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.poolmap import (
    MEASURES,
    Cluster,
    Likeness,
    Measure,
    Member,
    PoolMap,
    best_first,
    clusters,
    likeness,
    load_maps,
)
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
WORDS: Mapping[Measure, str] = {"pearson": "predictions", "spearman": "ranks", "error": "errors"}
SHOWN_GROUPS, SHOWN_NAMES = 100, 12


@dataclass(frozen=True)
class Loaded:
    """What a thread read and worked out. Rule, order and clusters go by Pearson, whatever the map shows."""

    maps: Mapping[Measure, PoolMap]
    likeness: Likeness
    clusters: tuple[Cluster, ...]
    rule: Rule
    above: int
    scales: Mapping[Measure, Scale]

    @property
    def pool(self) -> PoolMap:
        """The pool by Pearson."""
        return self.maps["pearson"]

    @property
    def marks(self) -> dict[int, str]:
        """The letter of each place's cluster."""
        return {place: _letter(number) for number, found in enumerate(self.clusters) for place in found.members}


class CorrelationScreen(PaneScreen[None]):
    """The heat map with its groups beside it; below it what the cursor stands on."""

    CSS_PATH = "correlation.tcss"
    AUTO_FOCUS = "#heat"
    BINDINGS: ClassVar[list[Any]] = [
        *bindings("open", "sort", "measure", show=True),
        *bindings("sort-reverse", "copy"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._loaded: Loaded | None = None
        self._stamp: tuple[Any, ...] | None = None
        self._loading = self._stale = False
        self._by, self._reversed = ORDERS[0], False
        self._measure = MEASURES[0]

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
            maps = load_maps(workspace)
        except AutokaggleError as error:
            self.app.call_from_thread(self._failed, error)
            return
        rule = read_rules(workspace)[RULE]
        limit = _limit(rule)
        values = {measure: list(pool.pairs()) for measure, pool in maps.items()}
        above = 0 if limit is None else sum(value > limit for value in values["pearson"])
        found = likeness(maps["pearson"], limit)
        groups = () if limit is None else clusters(maps["pearson"], found, limit, self.cockpit.state.now.better)
        scales = {measure: Scale.over(values[measure]) for measure in MEASURES}
        loaded = Loaded(maps, found, groups, rule, above, scales)
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
        groups.show(_groups(loaded), _no_groups(loaded.rule))
        number = len(loaded.clusters)
        self.query_one("#groups", Pane).subtitle(f"{number:,} group{'s' if number != 1 else ''}" if number else "")
        self._show_map()

    def _show_map(self) -> None:
        loaded = self._loaded
        if loaded is None or len(loaded.pool) < 2:
            return
        scale = loaded.scales[self._measure]
        self.query_one(HeatMap).show(
            loaded.maps[self._measure],
            scale,
            self._order(loaded),
            _limit(loaded.rule),
            marks=loaded.marks,
            ruled=loaded.pool,
        )
        turned = ", turned round" if self._reversed else ""
        unknown = next(loaded.maps[self._measure].pairs(), None) is None
        example = "not measured: `autokaggle-tui correlate` does it" if unknown else scale.example
        self.query_one("#map", Pane).subtitle(WORDS[self._measure], f"by {self._by}{turned}", example)

    def _order(self, loaded: Loaded) -> Sequence[int]:
        places = list(loaded.likeness.order)
        if self._by == "time":
            places = list(range(len(loaded.pool)))
        elif self._by == "score":
            places = best_first(loaded.pool.members, self.cockpit.state.now.better)
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
        if self._loaded is not None:
            self.query_one("#pair", Static).update(_pair(event.row, event.column, self._loaded), layout=False)

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

    def action_measure(self) -> None:
        """Alike in predictions, in ranks, in errors."""
        self._measure = MEASURES[(MEASURES.index(self._measure) + 1) % len(MEASURES)]
        self._show_map()

    def action_copy(self) -> None:
        """Copy the pair under the cursor, with all its figures."""
        heat = self.query_one(HeatMap)
        if heat.pair is not None and self._loaded is not None:
            row, column = heat.pair
            figures = _figures(self._loaded, row, column)
            said = " ".join("unknown" if value is None else f"{value:.6f}" for value in figures.values())
            self.app.copy_to_clipboard(f"{row.name} {column.name} {said}")
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


def _groups(loaded: Loaded) -> list[Row]:
    """A row for each cluster: its letter; the best of it, to keep, and those like it."""
    rows: list[Row] = []
    members = loaded.pool.members
    for number, found in enumerate(loaded.clusters[:SHOWN_GROUPS]):
        keep, *others = (members[place] for place in found.members)
        rest = [other.name for other in others[: SHOWN_NAMES - 1]]
        more = len(others) - len(rest)
        span = "–".join(dict.fromkeys((f"{found.low:.4f}", f"{found.high:.4f}")))
        said = Content.assemble(
            (keep.name, "bold"),
            (f" {keep.family} {score_text(keep.score)}", MUTED),
            f" and {len(others):,} like it: {' '.join(rest)}",
            (f" and {more:,} more" if more else "", MUTED),
            (f"  {span}", "$text-warning"),
        )
        rows.append([Content.styled(_letter(number), "bold $text-warning"), said])
    return rows


def _letter(number: int) -> str:
    return ascii_letters[number] if number < len(ascii_letters) else "•"


def _no_groups(rule: Rule) -> str:
    limit = _limit(rule)
    return f"{RULE} is off." if limit is None else f"No two predictions are correlated above {limit:g}."


def _figures(loaded: Loaded, row: Member, column: Member) -> dict[Measure, float | None]:
    a, b = (loaded.pool.members.index(member) for member in (row, column))
    return {measure: pool.value(a, b) for measure, pool in loaded.maps.items()}


def _pair(row: Member, column: Member, loaded: Loaded) -> Content:
    """Two lines: who and how alike, what the rule says."""
    rule, figures = loaded.rule, _figures(loaded, row, column)
    value = figures["pearson"]
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
    for measure in ("spearman", "error"):
        other = figures[measure]
        if other is not None:
            head = Content.assemble(head, (f"  {WORDS[measure]} ", MUTED), f"{other:.4f}")
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
