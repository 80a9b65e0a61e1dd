"""Learnings that a retrospective appends to LEARNINGS.md: prose with its evidence, and never a rule.

A retrospective writes them in a section ``## Learnings``, each below a ``### heading``. What is appended cannot set,
loosen or break a rule, whatever it holds: fences and comments lose their meaning, and the file is parsed before and
after; a text that changed any rule would not be appended. A person turns a learning into a rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.errors import RuleError
from experiments.learnings import Rules
from experiments.text import clean, one_line

MOST_LEARNINGS = 3
MOST_CHARACTERS = 1_200
HEADING_CHARACTERS = 120

_SECTION = re.compile(r" {0,3}##[ \t]+learnings?[ \t]*#*[ \t]*$", re.IGNORECASE)
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?[ \t]*#*[ \t]*$")
_RUNS = re.compile(r"`{3,}|~{3,}")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_SOURCE = re.compile(r"## From the retrospective of (R\d{2,})$")


@dataclass(frozen=True)
class Learning:
    """One learning.

    Attributes:
        heading: One line without Markdown's marks.
        evidence: Prose, defused.
        source: The retrospective that it came from, e.g. ``R10``; empty before it is appended.
    """

    heading: str
    evidence: str
    source: str = ""


def learnings_of(retro: str) -> tuple[Learning, ...]:
    """The learnings that a retrospective's text holds, in order: at most three, of at most 1,200 characters each.

    One without evidence is no learning.
    """
    sections = _sections(_lines(retro), _SECTION)
    found = []
    for heading, lines in sections:
        evidence = _shortened(_defused(lines), MOST_CHARACTERS)
        title = one_line(_defused([heading]), HEADING_CHARACTERS).strip("# ")
        if title and evidence:
            found.append(Learning(title, evidence))
    return tuple(found[:MOST_LEARNINGS])


def appended_learnings(text: str) -> tuple[Learning, ...]:
    """The learnings that retrospectives have appended to a LEARNINGS.md, oldest first."""
    found: list[Learning] = []
    lines = _lines(text)
    for place, line in enumerate(lines):
        source = _SOURCE.match(line)
        if source is not None:
            sections = _sections(lines[place:], _SOURCE)
            found += [Learning(heading, "\n".join(said).strip(), source[1]) for heading, said in sections]
    return tuple(found)


def append(text: str, learnings: Sequence[Learning], source: str) -> str:
    """What has to be added to a LEARNINGS.md so that it holds these learnings; empty when it holds them already.

    A learning whose heading an earlier retrospective appended is not told again, with whatever figures.

    Args:
        text: The file as it is.
        source: The retrospective, e.g. ``R10``.

    Raises:
        RuleError: The file is broken, ends in an open block or comment, or its rules would not be the same afterwards.
    """
    rules = Rules.parse(text)
    known = {learning.heading.casefold() for learning in appended_learnings(text)}
    new = []
    for learning in learnings:
        if learning.heading.casefold() not in known:
            known.add(learning.heading.casefold())
            new.append(learning)
    if not new:
        return ""
    if not _open_to_more(text):
        raise RuleError("it ends within a fenced block or a comment.", hint="Close it.")
    parts = [f"## From the retrospective of {source}", *(f"### {one.heading}\n\n{one.evidence}" for one in new)]
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    more = gap + "\n\n".join(parts) + "\n"
    if Rules.parse(text + more) != rules:
        raise RuleError("the text would have changed a rule.")
    return more


def _lines(text: str) -> list[str]:
    # As the rules are parsed: there, too, some rare characters end a line.
    return clean(text).removeprefix("\ufeff").splitlines()


def _sections(lines: Sequence[str], begins: re.Pattern[str]) -> list[tuple[str, list[str]]]:
    """(heading, lines) of each level-three section below the first line that ``begins`` matches."""
    found: list[tuple[str, list[str]]] = []
    inside, fence = False, ""
    for line in lines:
        opened = _FENCE.match(line)
        if opened and (not fence or line.strip().startswith(fence)):
            fence = "" if fence else opened[1]
        title = None if fence else _HEADING.match(line)
        if title and len(title[1]) < 3:
            if inside:
                break
            inside = begins.match(line) is not None
        elif inside and title and len(title[1]) == 3:
            found.append((title[2] or "", []))
        elif inside and found:
            found[-1][1].append(line)
    return found


def _defused(lines: Sequence[str]) -> str:
    """Lines without fences, comments and headings of their own."""
    plain = []
    for line in lines:
        said = _RUNS.sub(lambda run: "'" * len(run[0]), line).replace("<!", "< !").replace("-->", "-- >")
        while title := _HEADING.match(said):
            said = title[2] or ""
        plain.append(said)
    return "\n".join(plain).strip()


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _open_to_more(text: str) -> bool:
    """Whether a rule written below the text would be one."""
    probe = "a-rule-that-nobody-has"
    try:
        rules = Rules.parse(f'{text}\n\n## {probe}\n\n```toml\nid = "{probe}"\n```\n')
    except RuleError:
        return False
    return any(rule.id == probe and rule.heading == probe for rule in rules.prose)
