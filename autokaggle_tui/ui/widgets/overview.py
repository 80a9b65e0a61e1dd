"""A round at a glance: cards in two columns, in one on a narrow screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.dossier import Dossier, ModelUse, PhaseRecord, Use, Word
from autokaggle_tui.state import PhaseNow, Result
from autokaggle_tui.ui.reading import READING
from autokaggle_tui.ui.widgets.card import MUTED, Row, TableCard
from autokaggle_tui.ui.widgets.closeness_card import ClosenessCard
from autokaggle_tui.ui.widgets.fold_chart import FoldChart, FoldScores
from autokaggle_tui.ui.widgets.gain_card import GainCard
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES, stopwatch
from autokaggle_tui.ui.widgets.members_card import MembersCard
from autokaggle_tui.ui.widgets.verdict_log import SIGNS as VERDICT_SIGNS
from autokaggle_tui.ui.widgets.ways_card import WaysCard
from autokaggle_tui.wording import (
    MARKS,
    clock_text,
    context_text,
    cost_text,
    count_text,
    gain_text,
    model_text,
    pace_text,
    score_text,
)
from experiments.text import one_line

SHOWN_USES = 6
AFTER_RUN = frozenset({"verify", "findings", "submit"})
LEFT = frozenset({"skipped", "queued"})
INSTANT = 0.05
"""Seconds below which a phase took no time worth telling."""

SIGNS: Mapping[str, tuple[str, str]] = {
    **{status: (mark, STATUS_STYLES[status]) for status, mark in MARKS.items()},
    **VERDICT_SIGNS,
    **dict.fromkeys(("DONE", "REVISED", "CODED", "accepted"), ("✓", "$text-success")),
    **dict.fromkeys(("intent", "unknown"), ("!", "$text-warning")),
    **dict.fromkeys(("scoring", "queued"), ("●", "$text-accent")),
    **dict.fromkeys(("refused", "error"), ("✗", "$text-error")),
    "skipped": ("–", MUTED),
}
"""Sign and colour of an outcome, a verdict or a submission's state, always beside its word."""


@dataclass(frozen=True)
class Surroundings:
    """What else the overview needs to know.

    Attributes:
        expected: Folds of the campaign.
        better: +1 when higher scores are better, else -1.
        min_t: Of rule noise-floor.
        limit: Of rule stacking-correlation, None when it is off.
        now: The time.
        since: When each fold of this experiment that runs now was started.
        phase: The phase an agent works on in this round.
        known: Results by name, for the members of a blend.
    """

    expected: int = 0
    better: int = 1
    min_t: float = 0.0
    limit: float | None = None
    now: float = 0.0
    since: Mapping[int, float] = field(default_factory=dict)
    phase: PhaseNow | None = None
    known: Mapping[str, Result] = field(default_factory=dict)


class Overview(VerticalScroll):
    """The cards of one round."""

    DEFAULT_CSS = """
    Overview {
        scrollbar-size-vertical: 1;
        & > Horizontal { height: auto; }
        & > Horizontal > Vertical { height: auto; width: 1fr; }
        &.-single > Horizontal { layout: vertical; }
        &.-single > Horizontal > Vertical { width: 100%; }
        &.-waiting > Horizontal { display: none; }
        & > .overview--waiting { display: none; padding: 1 2; color: $text-muted; }
        &.-waiting > .overview--waiting { display: block; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=True, classes="-waiting")
        self._dossier = Dossier("")
        self._around = Surroundings()
        self._now_champion = False

    def compose(self) -> ComposeResult:
        """Both columns; what matters most comes first in the left one."""
        yield Static(READING, classes="overview--waiting", markup=False)
        with Horizontal():
            with Vertical():
                yield FoldChart(id="folds")
                yield GainCard(id="gain")
                yield MembersCard(id="members")
                yield WaysCard(id="ways")
                yield TableCard("In a blend", align="lrrrl", id="uses")
                yield TableCard("Submission", id="submission")
                yield TableCard("Files", align="lrlr", missing="Nothing is published in rounds/ yet.", id="files")
            with Vertical():
                yield ClosenessCard(id="closeness")
                yield TableCard("Verdicts", missing="Nothing was said of it yet.", id="verdicts")
                yield TableCard("Phases", align="llr", least=16, id="phases")
                yield TableCard("Models", align="lrrr", least=12, id="models")

    def show(self, dossier: Dossier, around: Surroundings) -> None:
        """Show a round."""
        self._dossier, self._around = dossier, around
        self.remove_class("-waiting")
        self._show_folds()
        for card in ("#folds", "#gain", "#closeness", "#submission"):
            self.query_one(card).display = dossier.round != 0
        self.query_one(GainCard).show(dossier, around.min_t)
        self.query_one(ClosenessCard).show(dossier, around.limit)
        members = self.query_one(MembersCard)
        members.display = dossier.is_blend
        members.show_members(dossier, around.known)
        ways = self.query_one(WaysCard)
        ways.display = dossier.is_blend
        ways.show_ways(dossier)
        uses = self.query_one("#uses", TableCard)
        uses.display = not dossier.is_blend and dossier.status not in ("running", "open", "done", "blocked", "")
        uses.show(_uses(dossier.uses), _no_use(dossier))
        self.query_one("#submission", TableCard).show(_sent(dossier), _not_sent(dossier))
        self.query_one("#verdicts", TableCard).show([_word(word) for word in dossier.words])
        phases = self.query_one("#phases", TableCard)
        phases.display = dossier.round is not None
        phases.show(_phases(dossier, around), "It has not begun.")
        models = self.query_one("#models", TableCard)
        # The playbook counts no tokens, and has nothing to say here.
        called = [use for use in dossier.models if use.input_tokens + use.output_tokens or use.retries or use.asked]
        models.display = bool(called)
        models.show([_model(use) for use in called])
        self.query_one("#files", TableCard).show(_files(dossier))

    def explain(self, problem: str) -> None:
        """Say why nothing can be shown; what was shown before stays."""
        self.query_one(".overview--waiting", Static).update(Content(problem))

    def tick(self, now: float) -> None:
        """Let the clocks of what runs go on."""
        around = self._around = replace(self._around, now=now)
        if around.since:
            self._show_folds()
        if around.phase is not None:
            self.query_one("#phases", TableCard).show(_phases(self._dossier, around))

    def compare(self) -> str:
        """Compare the folds with the other champion: of its time, or of now. Says with which."""
        if self._dossier.champion is None:
            return ""
        self._now_champion = not self._now_champion
        self._show_folds()
        if self._now_champion:
            return f"{self._dossier.champion.name}, the champion of now"
        rival = self._dossier.rival
        return f"{rival.name}, the champion of its time" if rival else "nobody: it was the first"

    def on_resize(self) -> None:
        """Two columns need room."""
        self.set_class(self.size.width < 96, "-single")

    def _show_folds(self) -> None:
        dossier, around = self._dossier, self._around
        played = bool(dossier.folds or around.since or dossier.status == "running")
        self.query_one(FoldChart).show(
            FoldScores(
                dossier.name,
                dossier.folds,
                around.expected if played else 0,
                around.better,
                dossier.champion if self._now_champion and dossier.champion else dossier.rival,
                around.since,
                around.now,
                dossier.status == "running",
            )
        )


def status_content(status: str, word: str = "") -> Content:
    """A status with its sign."""
    mark, style = SIGNS.get(status, ("·", ""))
    return Content.styled(f"{mark} {word or status}", style)


def _muted(text: str) -> Content:
    return Content.styled(text, MUTED)


def _uses(uses: Sequence[Use]) -> list[Row]:
    rows: list[Row] = []
    for use in uses[:SHOWN_USES]:
        weight = _muted("left out") if use.weight is None else Content(f"weight {use.weight:.3f}")
        gain = Content.styled(
            f"Δ {gain_text(use.gain)}" if use.gain is not None else "first", "" if use.gain else MUTED
        )
        rows.append(
            [Content.styled(use.blend, "bold"), weight, _muted(score_text(use.score)), gain, status_content(use.status)]
        )
    if len(uses) > SHOWN_USES:
        rows.append([_muted(f"and {len(uses) - SHOWN_USES} earlier ones")])
    return rows


def _no_use(dossier: Dossier) -> str:
    if not dossier.in_pool:
        return "It is not in the pool, so no blend can take it."
    return "No blend was tried since it joined the pool."


def _sent(dossier: Dossier) -> list[Row]:
    rows: list[Row] = []
    for sent in dossier.sent:
        board = Content.styled(f"LB {score_text(sent.public_score)}", "bold") if sent.public_score is not None else None
        rows.append([status_content(sent.state), board or _muted("no score yet"), Content(sent.note or sent.file)])
    if rows and (reason := _skipped(dossier)) is not None:
        why = f" ({reason})" if reason else ""
        said = f"Its round did not send it{why}: it was sent by hand or when the run ended."
        rows.append([_muted(said)])
    return rows


def _not_sent(dossier: Dossier) -> str:
    if dossier.status in ("running", "open"):
        return "Decided when the round is over."
    reason = _skipped(dossier)
    return f"Not submitted: {reason}." if reason else "It was not submitted."


def _skipped(dossier: Dossier) -> str | None:
    """Why its round did not submit it; None when that was not decided."""
    reasons = [phase.line for phase in dossier.phases if phase.phase == "submit" and phase.outcome in LEFT]
    return reasons[-1] if reasons else None


def _word(word: Word) -> Row:
    rule = f"{word.rule}: " if word.rule else ""
    reason = word.reason if word.reason != word.verdict else ""
    if reason.startswith(f"{word.verdict}: "):
        reason = reason.removeprefix(f"{word.verdict}: ")
    said = Content.assemble((rule, "bold"), reason, (f" [{word.figures}]" if word.figures else "", MUTED))
    return [status_content(word.verdict), _muted(f"{word.phase} · {word.author}"), said]


def _phases(dossier: Dossier, around: Surroundings) -> list[Row]:
    rows: list[Row] = []
    for done in _with_run(dossier):
        line = "" if done.line == done.outcome or done.phase == "run" else done.line.removeprefix(f"{done.outcome}: ")
        took = clock_text(done.seconds) if done.seconds >= INSTANT else ""
        by = Content.assemble((_by(done.role, done.model), MUTED), f"  {line}" if line else "")
        rows.append([_phase(done.phase, done.attempt), status_content(done.outcome), _muted(took), by])
    now = around.phase
    if now is not None:
        ran = Content(stopwatch(around.now - now.since))
        doing = status_content("running", "works")
        rows.append([_phase(now.name, now.attempt), doing, ran, _muted(_by(now.role, now.model))])
    return rows


def _model(use: ModelUse) -> Row:
    """Who answered, what it took, and how well that went."""
    pace = pace_text(use.output_tokens / use.seconds if use.output_tokens and use.seconds > 0 else None)
    context = context_text(use.context, use.window)
    told = [
        model_text(use.model, use.asked),
        f"{use.calls} call{'' if use.calls == 1 else 's'}",
        f"context {context}" if context else "",
        f"{use.retries} {'retry' if use.retries == 1 else 'retries'}" if use.retries else "",
    ]
    return [
        Content(use.role),
        Content(cost_text(use.cost, estimated=use.estimated)),
        _muted(f"{count_text(use.input_tokens)} in, {count_text(use.output_tokens)} out"),
        _muted(pace),
        _muted(" · ".join(part for part in told if part)),
    ]


def _with_run(dossier: Dossier) -> Sequence[PhaseRecord]:
    """The phases that agents played, and between them the experiment when it is over."""
    phases = dossier.phases
    over = dossier.seconds > 0 and dossier.status not in ("running", "open")
    if not over or any(done.phase == "run" for done in phases):
        return phases
    before = [done for done in phases if done.phase not in AFTER_RUN]
    after = [done for done in phases if done.phase in AFTER_RUN]
    return [*before, PhaseRecord("run", 1, "engine", "", dossier.status, dossier.seconds, ""), *after]


def _phase(name: str, attempt: int) -> Content:
    return Content(name if attempt == 1 else f"{name} {attempt}")


def _by(role: str, model: str) -> str:
    """Who did it; a model without its provider."""
    return f"{role} · {one_line(model).rpartition('/')[2]}" if model else role


def _files(dossier: Dossier) -> list[Row]:
    """Two files to a line."""
    cells = [[Content(file.suffix), _muted(f"{count_text(file.size)}B")] for file in dossier.files]
    half = -(-len(cells) // 2)
    blank = [Content(), Content()]
    return [[*left, *right] for left, right in zip_longest(cells[:half], cells[half:], fillvalue=blank)]
