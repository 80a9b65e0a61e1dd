"""The rules on what to do next: research and tuning, breadth, patience, repeats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.learnings import Rules
from experiments.rulings import Ruling, broken

SCORED = frozenset({"keep", "discard", "imported"})
# A killed experiment was beaten at the gate or stopped by its owner: it has been tried.
TRIED = SCORED | {"killed"}
# Code that crashed or returned something unusable will do so again; one that ran out of time may not.
FAILED = frozenset({"crash", "invalid"})


@dataclass(frozen=True)
class PastExperiment:
    """An experiment as far as the rules care.

    Attributes:
        kind: ``model``, ``tune`` or ``blend``.
        status: As in the registry (``keep``, ``discard``, ``killed``, ``crash``, ``timeout``, ``invalid``,
            ``imported``, ``running``).
        code_sha: ``experiments.code.normalised_code_sha`` of its code, or empty.
        round: Its round; None outside the loop (``try``, imported).
    """

    id: str
    kind: str
    family: str
    status: str
    score: float | None = None
    code_sha: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    members: tuple[str, ...] = ()
    round: int | None = None


@dataclass(frozen=True)
class PlanFacts:
    """A plan as far as the rules care.

    Attributes:
        kind: ``model``, ``tune``, ``blend`` or ``stop``.
        exhausted: Families that the plan gives up.
        has_eda: The EDA report (R00_eda.md) exists.
        has_brief: A research brief exists (of this round, or of an earlier one when the round has none).
    """

    round: int
    kind: str
    family: str
    params: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    members: tuple[str, ...] = ()
    exhausted: tuple[str, ...] = ()
    has_eda: bool = True
    has_brief: bool = True


def check_plan(rules: Rules, plan: PlanFacts, past: Sequence[PastExperiment]) -> tuple[Ruling, ...]:
    """The rules on what to do next: research and tuning, breadth, patience, repeats.

    Args:
        past: Every experiment so far, oldest first; those of the plan's own round do not count.
    """
    earlier = [other for other in past if other.round is None or other.round != plan.round]
    checks = (_research_first, _research_over_tuning, _tunnel_vision, _false_negatives, _plan_repeats)
    found = (check(rules, plan, earlier) for check in checks)
    return tuple(ruling for ruling in found if ruling is not None)


def check_code(
    rules: Rules, code_sha: str, params: Mapping[str, Any] | None, past: Iterable[PastExperiment], *, experiment: str
) -> tuple[Ruling, ...]:
    """Rule no-repeats for written code: the same normalised code with the same parameters ran before.

    Args:
        params: What its plan says; None for a fix, which no plan describes: then the code alone decides.
        experiment: Id of the experiment itself, so that a resumed one is no repeat of its own.
    """
    rule = rules["no-repeats"]
    if not rule.active:
        return ()
    for other in past:
        if other.id == experiment or other.status not in TRIED | FAILED or not code_sha:
            continue
        same = params is None or _canonical(other.params) == _canonical(params)
        if other.code_sha == code_sha and same:
            what = "code is that" if params is None else "code and its parameters are those"
            reason = f"The {what} of {other.id}, which ended as {other.status}."
            return (broken(rules, rule, reason, {"repeats": other.id, "status": other.status}),)
    return (Ruling(rule.id, "pass", "No earlier experiment has this code and these parameters.", {}),)


def _research_first(rules: Rules, plan: PlanFacts, _: Sequence[PastExperiment]) -> Ruling | None:
    rule = rules["research-before-building"]
    if not rule.active:
        return None
    missing = [
        name for name, there in (("the EDA report", plan.has_eda), ("a research brief", plan.has_brief)) if not there
    ]
    figures = {"has_eda": plan.has_eda, "has_brief": plan.has_brief, "round": plan.round}
    if plan.round > 1 or not missing or plan.kind == "stop":
        return Ruling(rule.id, "pass", "Building starts from the EDA and a research brief.", figures)
    return broken(rules, rule, f"Round {plan.round} builds without {' and '.join(missing)}.", figures)


def _research_over_tuning(rules: Rules, plan: PlanFacts, past: Sequence[PastExperiment]) -> Ruling | None:
    rule = rules["research-over-tuning"]
    if not rule.active:
        return None
    window, allowed = int(rule.number("window")), int(rule.number("max_tuning"))
    rounds = _rounds(past)
    recent = rounds[len(rounds) - (window - 1) :] if window > 1 else []
    tuned = [other.id for other in recent if other.kind == "tune"]
    figures = {"recent_tuning": tuned, "window": window, "max_tuning": allowed}
    if plan.kind != "tune":
        return Ruling(rule.id, "pass", "The round is not spent on tuning.", figures)
    if len(tuned) + 1 > allowed:
        before = f", after {', '.join(tuned)}" if tuned else ""
        reason = (
            f"This would be tuning round {len(tuned) + 1} of the last {window}{before}; {allowed} may be: "
            "bring a new idea first."
        )
        return broken(rules, rule, reason, figures)
    if not any(other.kind == "model" and other.status in SCORED for other in past):
        reason = "There is no scored model to tune yet: research and build one first."
        return broken(rules, rule, reason, figures)
    return Ruling(
        rule.id, "pass", f"{len(tuned) + 1} of the last {window} rounds would be tuning ({allowed} may).", figures
    )


def _tunnel_vision(rules: Rules, plan: PlanFacts, past: Sequence[PastExperiment]) -> Ruling | None:
    rule = rules["tunnel-vision"]
    if not rule.active:
        return None
    limit = int(rule.number("max_running"))
    streak: list[str] = []
    for other in reversed(_rounds(past)):
        if other.kind == "blend" or other.family != plan.family:
            break
        streak.append(other.id)
    figures = {"family": plan.family, "rounds_running": streak[::-1], "max_running": limit}
    if plan.kind in ("blend", "stop") or len(streak) < limit:
        return Ruling(rule.id, "pass", f"{plan.family} has not run {limit} rounds in a row.", figures)
    reason = (
        f"{plan.family} was the family of the last {len(streak)} rounds "
        f"({', '.join(streak[::-1][-4:])}); after {limit} it is another's turn."
    )
    return broken(rules, rule, reason, figures)


def _false_negatives(rules: Rules, plan: PlanFacts, past: Sequence[PastExperiment]) -> Ruling | None:
    rule = rules["false-negatives"]
    if not rule.active:
        return None
    needed = int(rule.number("min_configurations"))
    tried = {
        family: len(
            {
                (other.code_sha, _canonical(other.params))
                for other in past
                if other.family == family and other.status in TRIED
            }
        )
        for family in plan.exhausted
    }
    early = {family: count for family, count in tried.items() if count < needed}
    figures = {"configurations": tried, "min_configurations": needed}
    if not early:
        return Ruling(rule.id, "pass", "No family is given up too early.", figures)
    listed = ", ".join(f"{family} after {count}" for family, count in early.items())
    reason = f"The plan gives up {listed} of {needed} distinct configurations."
    return broken(rules, rule, reason, figures)


def _plan_repeats(rules: Rules, plan: PlanFacts, past: Sequence[PastExperiment]) -> Ruling | None:
    rule = rules["no-repeats"]
    if not rule.active:
        return None
    repeated = _repeated_blend(plan, past) if plan.kind == "blend" else _repeated_model(plan, past)
    if repeated is None:
        return Ruling(rule.id, "pass", "Nothing of the kind ran before.", {})
    reason = f"{repeated.id} was the same experiment ({repeated.family}, {repeated.status})."
    return broken(rules, rule, reason, {"repeats": repeated.id, "status": repeated.status})


def _repeated_model(plan: PlanFacts, past: Sequence[PastExperiment]) -> PastExperiment | None:
    # Without parameters only the code can tell two plans apart; check_code looks at it.
    if plan.kind == "stop" or not plan.params:
        return None
    wanted = (plan.family, plan.parent, _canonical(plan.params))
    return next(
        (
            other
            for other in past
            if other.status in TRIED and (other.family, other.parent, _canonical(other.params)) == wanted
        ),
        None,
    )


def _repeated_blend(plan: PlanFacts, past: Sequence[PastExperiment]) -> PastExperiment | None:
    """A blend of named members repeats one of the same; an open one repeats when no model came since."""
    for other in reversed(past):
        if other.kind == "blend":
            if other.status not in TRIED or _canonical(other.params) != _canonical(plan.params):
                continue
            if not plan.members or set(other.members) == set(plan.members):
                return other
        elif not plan.members and other.status in SCORED:
            return None
    return None


def _rounds(past: Sequence[PastExperiment]) -> list[PastExperiment]:
    """The experiments of the loop, one per round, in order."""
    by_round = {other.round: other for other in past if other.round is not None}
    return [by_round[number] for number in sorted(by_round)]


def _canonical(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)
