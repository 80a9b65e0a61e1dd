"""Hand-over: an agent's conversation ends with a brief, and a fresh one begins with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.workspace import round_name
from backends.models.base import Message
from backends.models.tasks import CampaignView, Role, Task
from experiments.logtext import shorten
from experiments.text import gain_text, score_text

FULL = 0.7
"""Share of its context at which an agent hands over."""
SHARE = 0.2
"""Of the context that what is carried over may take."""
CHARS_PER_TOKEN = 3.5
MOST_CHARS = 120_000
NOTES = (
    "Your conversation ends here; a fresh one takes over. Leave a brief for it: what was tried and what came of it, "
    "what you believe and why, what is open, what you would do next. It knows nothing else."
)


def handover_task(role: Role, round: int, view: CampaignView) -> Task:
    """The phase in which a role writes its brief."""
    outputs = (f"{round_name(round)}_{role}_handover.md",)
    return Task("handover", role, round, outputs, (), ("DONE",), view, {"notes": NOTES})


def opening(role: Role, name: str, text: str, context: int | None) -> list[Message]:
    """The first messages of a fresh conversation.

    Args:
        name: The file with the text, where all of it can be read.
        text: What is carried over.
        context: Tokens that the model can hold.
    """
    room = room_for(context)
    if len(text) > room:
        text = f"{shorten(text, room)}\n(cut; the rest is in rounds/{name})"
    said = f"You take over as {role}. Your predecessor leaves this:\n\n{text}"
    return [Message("user", said), Message("assistant", "DONE")]


def strategic_memory(campaign: Campaign, view: CampaignView) -> str:
    """What was tried, why it failed, and what was never tried: all of the campaign, from the registry."""
    rows = campaign.registry.rows(
        "SELECT id, kind, family, idea, status, reason, score, gain, t FROM experiments ORDER BY started_at, id"
    )
    if not rows:
        return ""
    blocked = campaign.registry.rows(
        "SELECT rule, count(*) AS times FROM verdicts WHERE verdict = 'block' AND rule IS NOT NULL GROUP BY rule "
        "ORDER BY times DESC"
    )
    # The catalogue brings the recipes with it.
    from backends.models.playbook.researcher import untried

    lines = ["## All that was tried", *(_line(row) for row in rows)]
    lines += ["", f"Never tried: {', '.join(untried(view)) or 'no family that is known'}."]
    if blocked:
        lines.append("Rules that blocked: " + ", ".join(f"{row['rule']} ×{row['times']}" for row in blocked) + ".")
    return "\n".join(lines)


def recent(messages: Sequence[Message], context: int | None) -> list[Message]:
    """The end of a conversation that is too long: whole turns, a quarter of what the model can hold.

    The prompt and the tools take their part of a small context too, and figures take more tokens than words.
    """
    size = [len(message.content) + sum(len(call.arguments) for call in message.tool_calls) for message in messages]
    most = context * CHARS_PER_TOKEN / 4 if context else sum(size) / 2
    start, taken = len(messages), 0
    for place in range(len(messages) - 1, -1, -1):
        taken += size[place]
        if taken > most:
            break
        if messages[place].role == "user":
            start = place
    return list(messages[start:])


def room_for(context: int | None) -> int:
    """Characters that carried-over text may take."""
    return MOST_CHARS if context is None else max(1_000, min(MOST_CHARS, int(context * SHARE * CHARS_PER_TOKEN)))


def _line(row: dict[str, Any]) -> str:
    score = f"{score_text(row['score'])} {gain_text(row['gain'])}".strip()
    why = f" ({row['reason']})" if row["reason"] else ""
    return f"- {row['id']} {row['kind']} {row['family']}, {row['idea'] or 'no words'}: {row['status']} {score}{why}"
