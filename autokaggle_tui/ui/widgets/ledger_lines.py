"""Blends, the pool and submissions as rows of a sheet, and what is said about them in full."""

from __future__ import annotations

from datetime import UTC, datetime

from textual.content import Content

from autokaggle_tui.ledger import Blend, Candidate, Place, Quota, Room
from autokaggle_tui.state import Submission
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES
from autokaggle_tui.ui.widgets.sheet import Line
from autokaggle_tui.wording import MARKS, gain_text, score_text, sending_word
from experiments.text import one_line

SENT = {
    "intent": ("●", "$text-accent", "on its way"),
    "accepted": ("✓", "$text-success", "accepted"),
    "refused": ("✗", MUTED, "refused"),
    "unknown": ("?", "$text-warning", "unknown"),
    "scoring": ("●", "$text-accent", "scoring"),
    "error": ("!", "$text-error", "error"),
}
"""Sign, colour and word of a submission's state."""
SAID = {"pass": ("✓", "$text-success"), "warn": ("!", "$text-warning"), "block": ("✗", "$text-error")}
"""Sign and colour of what a rule says."""


def blend_line(blend: Blend) -> Line:
    """Blend, members, cv, Δ best, t, status, judged by."""
    members = " · ".join(f"{name} {weight:.2f}" for name, weight in blend.members)
    first = blend.judged[0] if blend.judged else None
    mark, style = SAID.get(first.verdict, ("·", "")) if first else ("", "")
    judged = Content.assemble((mark, style), f" {first.rule}") if first else Content.styled("no rule minded", MUTED)
    return Line(
        blend.name,
        (
            Content.styled(blend.name, "bold"),
            Content(one_line(members)) if members else Content.styled("none fitted", MUTED),
            Content(score_text(blend.score)),
            Content(gain_text(blend.gain)),
            Content("" if blend.t is None else f"{blend.t:.1f}"),
            _status(blend.status),
            judged if blend.status != "running" else Content(""),
        ),
    )


def blend_verdict(blend: Blend) -> Content:
    """What became of a blend, in full."""
    parts = [f"{one_line(name)} × {weight:.3f}" for name, weight in blend.members]
    lines = [Content(" + ".join(parts))] if parts else []
    for told in blend.judged:
        mark, style = SAID.get(told.verdict, ("·", ""))
        lines.append(Content.assemble((f"{mark} {told.rule}", style), f"  {one_line(told.reason)}"))
    if blend.reason and blend.reason not in {told.reason for told in blend.judged}:
        lines.append(Content(one_line(blend.reason)))
    if blend.status == "keep" and not blend.judged:
        lines.append(Content.styled(f"Became champion; measured on {blend.folds} folds, cross-fitted.", MUTED))
    return Content("\n").join(lines)


def place_line(place: Place, open_room: Room) -> Line:
    """Model, family, cv, behind, standing."""
    item = place.prediction
    mark, style = SAID[place.standing]
    word = {"pass": "may join", "warn": "weak", "block": "too weak"}[place.standing]
    if place.twin and place.standing != "block":
        instead = f"instead of {one_line(place.twin)} ({place.pearson or 0:.4f})"
        word = instead if place.standing == "pass" else f"{word}, {instead}"
    if item.name == open_room.best:
        mark, style, word = "◆", "$text-accent", "best single"
    behind = "" if place.behind is None else f"{place.behind:.5f}" if place.behind > 0 else "–"
    return Line(
        item.name,
        (
            Content.styled(one_line(item.name), "bold"),
            Content(one_line(item.family)),
            Content(score_text(item.score)),
            Content(behind),
            Content.assemble((mark, style), f" {word}"),
        ),
    )


def sent_line(item: Submission) -> Line:
    """When, what, state, public score, note."""
    mark, style, word = SENT.get(word := sending_word(item.state, item.scoring), ("·", "", word))
    return Line(
        str(item.id),
        (
            Content.styled(f"{datetime.fromtimestamp(item.at, UTC):%m-%d %H:%M}", MUTED),
            Content.styled(one_line(item.experiment), "bold"),
            Content.assemble((mark, style), f" {word}"),
            Content(score_text(item.public_score)),
            Content.styled(one_line(item.note), MUTED),
        ),
    )


def candidate_line(item: Candidate) -> Line:
    """What, kind, cv, why."""
    why = ", ".join(item.titles)
    if item.waits:
        waits = "waits for your word" if item.asks else f"waits: {one_line(item.waits)}"
        why = f"{waits} ({why})" if why else waits
    return Line(
        item.name,
        (
            Content.styled(one_line(item.name), "bold"),
            Content(item.kind),
            Content(score_text(item.score)),
            Content(why),
        ),
    )


def _status(status: str) -> Content:
    return Content.assemble((MARKS.get(status, "·"), STATUS_STYLES.get(status, "")), f" {status}")


def plan_text(waiting: tuple[Candidate, ...], champion: str | None, hindered: str, key: str) -> Content:
    """In one or two sentences: what is sent next, and why."""
    if champion is None and not waiting:
        return Content("")
    due = next((item for item in waiting if item.due), None)
    asked = [item.name for item in waiting if item.asks]
    queued = [item.name for item in waiting if item.waits and not item.asks]
    if asked:
        said = f"{', '.join(asked)} wait{'s' if len(asked) == 1 else ''} for your word: {key} sends what is selected."
    elif queued:
        said = f"{len(queued)} in the queue, {queued[0]} goes first. {key} sends what is selected."
    elif due is not None:
        what = f"{due.name}, the {due.titles[0]}," if due.titles else due.name
        said = f"{what} was not sent yet: the end of the run sends it. {key} sends what is selected."
    else:
        said = "The best there is was sent. What follows goes out only if you say so."
    if hindered:
        return Content.assemble(("! ", "$text-warning"), f"Nothing goes out now: {hindered}. ", (said, MUTED))
    return Content(said)


def before_sending(chosen: Candidate, today: Quota) -> str:
    """What a person should know before a yes."""
    titles = f", {', '.join(chosen.titles)}" if chosen.titles else ""
    left = (
        "There is no daily limit."
        if today.left is None
        else f"{today.left} of {today.limit} submissions are left today."
    )
    return (
        f"{chosen.kind or 'model'}, cv {score_text(chosen.score)}{titles}\n{left}\nA submission cannot be taken back."
    )


def doubt_text(name: str) -> str:
    """What a person should know before a submission of unknown fate goes again."""
    return (
        f"Nobody knows whether {name} arrived. Look at your submissions on the platform's page first.\n"
        f"If it is there: `autokaggle-tui approve {name} --arrived`.\n"
        "If it is not, it goes again; should it have arrived after all, it counts twice."
    )
