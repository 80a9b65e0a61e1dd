"""LEARNINGS.md as rules: for people and agents a heading and its evidence, for the program a toml block."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from experiments.errors import RuleError
from experiments.jail import read_text

Enforce = Literal["block", "warn", "off"]

FILE_NAME = "LEARNINGS.md"
ENFORCE = ("block", "warn", "off")


@dataclass(frozen=True)
class Threshold:
    """A number a rule may set: its built-in value and what it may be."""

    default: float
    low: float
    high: float
    whole: bool = False

    @property
    def allowed(self) -> str:
        """E.g. ``a number from 0 to 1``."""
        kind = "a whole number" if self.whole else "a number"
        if math.isinf(self.high):
            return f"{kind} of at least {self.low:g}"
        return f"{kind} from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class BuiltIn:
    """What the program can enforce under one id.

    Attributes:
        evidence: Whether ``override = "evidence"`` means anything: cross-fitted evidence can be measured.
    """

    thresholds: Mapping[str, Threshold]
    evidence: bool = False


INF = float("inf")

BUILT_IN: Mapping[str, BuiltIn] = {
    "stacking-correlation": BuiltIn({"max_correlation": Threshold(0.995, 0, 1)}, evidence=True),
    "diversity-threshold": BuiltIn(
        {"max_gap": Threshold(0.003, 0, INF), "max_gap_share": Threshold(0.003, 0, INF)}, evidence=True
    ),
    "research-over-tuning": BuiltIn(
        {"max_tuning": Threshold(1, 0, INF, whole=True), "window": Threshold(3, 1, INF, whole=True)}
    ),
    "fold1-gate": BuiltIn({"noise_factor": Threshold(1.0, 0, INF)}, evidence=True),
    "small-blends": BuiltIn(
        {"min_members": Threshold(2, 2, INF, whole=True), "max_members": Threshold(4, 2, INF, whole=True)},
        evidence=True,
    ),
    "research-before-building": BuiltIn({}),
    "false-negatives": BuiltIn({"min_configurations": Threshold(2, 1, INF, whole=True)}),
    "tunnel-vision": BuiltIn({"max_running": Threshold(2, 1, INF, whole=True)}),
    "noise-floor": BuiltIn({"min_t": Threshold(1.5, 0, INF), "min_evidence_t": Threshold(1.0, 0, INF)}),
    "no-repeats": BuiltIn({}),
}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: E.g. ``noise-floor``.
        enforce: ``block``, ``warn`` or ``off``.
        thresholds: All of the rule's numbers, built-in values filled in; of an unknown id what the file says.
        override: ``evidence`` when cross-fitted evidence may lift the rule.
        heading: Text of the heading above the block, without the marks.
        evidence: The prose between heading and block (and after it, to the next heading).
        line: Line of the block's opening fence, from 1; 0 when the rule is not in the file.
    """

    id: str
    enforce: Enforce
    thresholds: Mapping[str, Any]
    override: Literal["evidence"] | None = None
    heading: str = ""
    evidence: str = ""
    line: int = 0

    @property
    def active(self) -> bool:
        """Whether it is enforced at all."""
        return self.enforce != "off"

    def number(self, name: str) -> float:
        """A threshold as a number."""
        return float(self.thresholds[name])


@dataclass(frozen=True)
class Rules:
    """The rules in force.

    Attributes:
        by_id: The ten built-in ids, each once; those the file does not name keep their built-in values.
        prose: Rules of ids the program does not know: read by agents, enforced by nobody.
        remarks: Sentences for the log: unknown ids, rules the file leaves out.
    """

    by_id: Mapping[str, Rule]
    prose: tuple[Rule, ...] = ()
    remarks: tuple[str, ...] = ()

    def __getitem__(self, rule_id: str) -> Rule:
        return self.by_id[rule_id]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.by_id.values())

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Thresholds by id with ``enforce`` and ``override``: what a strategist is shown."""
        return {rule.id: {"enforce": rule.enforce, "override": rule.override, **rule.thresholds} for rule in self}

    @classmethod
    def built_in(cls) -> Rules:
        """The rules as shipped."""
        return cls.parse(master_copy(), FILE_NAME)

    @classmethod
    def load(cls, path: Path) -> Rules:
        """Read a LEARNINGS.md; a missing file means the shipped rules, and a remark.

        Raises:
            RuleError: The file cannot be read, or ``parse`` refuses it.
        """
        try:
            text = read_text(path, links=True)
        except FileNotFoundError:
            shipped = cls.built_in()
            return cls(shipped.by_id, shipped.prose, (f"{path} is missing: the built-in rules apply.",))
        except UnicodeDecodeError as error:
            raise RuleError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save it as UTF-8.") from None
        except OSError as error:
            raise RuleError(f"{path} cannot be read: {error.strerror or error}.") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, file: str = FILE_NAME) -> Rules:
        """Read the rules from Markdown.

        A rule is a heading, prose, and a fenced block marked ``toml`` with ``id``. Blocks in HTML comments
        do not count.

        Raises:
            RuleError: Names file, line and cure: a block that is not TOML, has no id, repeats an id, or
                sets an unknown or impossible value of a built-in rule.
        """
        found: dict[str, Rule] = {}
        for block in _blocks(text, file):
            rule = _rule(block, file)
            if rule.id in found:
                raise RuleError(
                    f"{file}, line {rule.line}: rule {rule.id!r} is already set in line {found[rule.id].line}.",
                    hint="Keep one of the two blocks.",
                )
            found[rule.id] = rule
        remarks = [
            f"{file}, line {rule.line}: {rule.id!r} is no rule the program enforces{_nearest(rule.id, BUILT_IN)}; "
            "it stays prose for the agents."
            for rule in found.values()
            if rule.id not in BUILT_IN
        ]
        for rule_id in BUILT_IN.keys() - found.keys():
            remarks.append(
                f'{file} has no block for {rule_id!r}: its built-in values apply (enforce = "off" switches it off).'
            )
        by_id = {rule_id: found.get(rule_id) or _default(rule_id) for rule_id in BUILT_IN}
        prose = tuple(rule for rule in found.values() if rule.id not in BUILT_IN)
        return cls(by_id, prose, tuple(sorted(remarks)))


def master_copy() -> str:
    """The LEARNINGS.md that new workspaces start with."""
    return resources.files("experiments").joinpath(FILE_NAME).read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Block:
    heading: str
    evidence: str
    line: int
    toml: str


_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$")


def _blocks(text: str, file: str) -> list[_Block]:
    """The toml blocks of a Markdown text, each with its heading and the prose of its section."""
    found: list[_Block] = []
    heading, prose, pending = "", [], []  # type: str, list[str], list[tuple[int, str]]

    def close_section() -> None:
        evidence = "\n".join(prose).strip()
        found.extend(_Block(heading, evidence, line, toml) for line, toml in pending)

    lines = text.removeprefix("\ufeff").splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if "<!--" in line:
            before, _, rest = line.partition("<!--")
            while "-->" not in rest and number < len(lines):
                rest = lines[number]
                number += 1
            line = before + rest.partition("-->")[2]
        if title := _HEADING.match(line):
            close_section()
            heading, prose, pending = title[1], [], []
            continue
        fence = _FENCE.match(line)
        if fence is None:
            prose.append(line)
            continue
        opened, body = number, []
        closing = re.compile(rf" {{0,3}}{re.escape(fence[2][0])}{{{len(fence[2])},}}[ \t]*$")
        while number < len(lines) and not closing.match(lines[number]):
            body.append(lines[number].removeprefix(fence[1]))
            number += 1
        is_toml = fence[3].strip().lower().split()[:1] == ["toml"]
        if number == len(lines) and is_toml:
            raise RuleError(f"{file}, line {opened}: the toml block is never closed.", hint=f"End it with {fence[2]}.")
        number += 1
        if is_toml:
            pending.append((opened, "\n".join(body)))
    close_section()
    return found


def _rule(block: _Block, file: str) -> Rule:
    where = f"{file}, line {block.line}"
    try:
        values = tomllib.loads(block.toml)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        inside = re.search(r"\(at line (\d+), column \d+\)", message)
        line = block.line + (int(inside[1]) if inside else 1)
        raise RuleError(
            f"{file}, line {line}: the toml block of {block.heading!r} cannot be read: {message.split(' (at ')[0]}.",
            hint='Write one `name = value` per line, texts in quotes, e.g. enforce = "block".',
        ) from None
    rule_id = values.pop("id", None)
    if not isinstance(rule_id, str) or not rule_id:
        raise RuleError(
            f"{where}: the toml block of {block.heading!r} has no id.",
            hint='Add id = "the-rule", or mark the block as ```text when it is no rule.',
        )
    enforce = values.pop("enforce", "block")
    if enforce not in ENFORCE:
        raise RuleError(
            f"{where}: enforce of rule {rule_id!r} is {enforce!r}.", hint="Use block, warn or off (in quotes)."
        )
    override = values.pop("override", None)
    if override not in (None, "evidence"):
        raise RuleError(
            f"{where}: override of rule {rule_id!r} is {override!r}.",
            hint='The only override is "evidence"; leave the line out for none.',
        )
    built_in = BUILT_IN.get(rule_id)
    if built_in is not None:
        if override and not built_in.evidence:
            able = ", ".join(name for name, rule in BUILT_IN.items() if rule.evidence)
            raise RuleError(
                f"{where}: rule {rule_id!r} cannot be lifted by evidence.",
                hint=f"Remove override, or use warn or off. Evidence is measured for {able}.",
            )
        values = _thresholds(rule_id, built_in, values, where)
    return Rule(
        id=rule_id,
        enforce=cast(Enforce, enforce),
        thresholds=values,
        override="evidence" if override else None,
        heading=block.heading,
        evidence=block.evidence,
        line=block.line,
    )


def _thresholds(rule_id: str, built_in: BuiltIn, values: dict[str, Any], where: str) -> dict[str, float]:
    result = {name: _plain(limit, limit.default) for name, limit in built_in.thresholds.items()}
    for name, value in values.items():
        limit = built_in.thresholds.get(name)
        if limit is None:
            known = ", ".join(["enforce", *(["override"] if built_in.evidence else []), *built_in.thresholds])
            raise RuleError(
                f"{where}: rule {rule_id!r} has no setting {name!r}{_nearest(name, built_in.thresholds)}.",
                hint=f"It knows {known}.",
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not is_number
            or not math.isfinite(value)
            or not limit.low <= value <= limit.high
            or (limit.whole and value != int(value))
        ):
            raise RuleError(f"{where}: {name} of rule {rule_id!r} is {value!r}.", hint=f"Use {limit.allowed}.")
        result[name] = _plain(limit, value)
    if result.get("min_members", 0) > result.get("max_members", INF):
        raise RuleError(
            f"{where}: rule {rule_id!r} asks for at least {result['min_members']} and at most "
            f"{result['max_members']} members.",
            hint="Make max_members the larger of the two.",
        )
    return result


def _default(rule_id: str) -> Rule:
    shipped = next(block for block in _blocks(master_copy(), FILE_NAME) if f'"{rule_id}"' in block.toml)
    rule = _rule(shipped, FILE_NAME)
    return Rule(rule_id, rule.enforce, rule.thresholds, rule.override, rule.heading, rule.evidence, line=0)


def _plain(limit: Threshold, value: float) -> float:
    return int(value) if limit.whole else float(value)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (nearest: {close[0]!r})" if close else ""
