"""What a survey of blends says to a person and to other programs: every candidate, and what the rules say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.blends import Blend, Candidate, Survey
from experiments.metrics import Metric
from experiments.pairwise import Pairwise
from experiments.rules import BlendMember, Rules, Ruling, blocking, check_blend
from experiments.rulings import finite, gain_figures
from experiments.text import gain_text, score_text

PAIR_RULES = frozenset({"stacking-correlation", "diversity-threshold"})
MANY = 12
"""Candidates shown in text."""


class BlendJudge:
    """A survey, and what the rules say of its members and of every way of blending them.

    Attributes:
        rulings: Of each candidate, in the survey's order.
    """

    def __init__(self, survey: Survey, rules: Rules, metric: Metric, scores: Mapping[str, float] | None = None) -> None:
        """Judge a survey.

        Args:
            scores: Of the members over all covered rows, where they are known better than from the survey.
        """
        self.survey, self.rules, self.metric = survey, rules, metric
        pairs = zip(survey.names, survey.scores, strict=True)
        self.scores = {name: (scores or {}).get(name, score) for name, score in pairs}
        self.best = self.scores[survey.best]
        self.pairs = _pairs(survey)
        self.rulings = [self._blend(one) for one in survey.candidates]

    @property
    def taken(self) -> tuple[Ruling, ...]:
        """What the rules say of the blend that was taken; empty without one."""
        return self.rulings[0] if self.survey.blend is not None else ()

    def report(self) -> dict[str, Any]:
        """The survey as JSON-able figures.

        Returns:
            ``metric``, ``direction``, ``best`` (the best single model), ``members`` (each with what the rules say of
            it beside the better ones), ``candidates`` (each with the rules' word; one may be ``chosen``), ``chosen``
            (None, or the blend as it would stand), ``reason`` (why there is none) and ``left_out``.
        """
        survey = self.survey
        return {
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "best": {"name": survey.best, "score": finite(self.best)},
            "members": self._members(),
            "candidates": [
                {
                    **_candidate(one, self.metric),
                    "rulings": [_ruling(ruling) for ruling in rulings],
                    "allowed": not blocking(rulings),
                    "chosen": survey.blend is not None and place == 0,
                }
                for place, (one, rulings) in enumerate(zip(survey.candidates, self.rulings, strict=True))
            ],
            "chosen": None if survey.blend is None else self._chosen(survey.blend),
            "reason": survey.reason,
            "left_out": list(survey.left_out),
        }

    def _chosen(self, blend: Blend) -> dict[str, Any]:
        return {
            **_candidate(self.survey.candidates[0], self.metric),
            "score": finite(blend.score),
            "cross_fitted": finite(blend.cross_fitted),
            "optimism": {
                "fit": finite(self.metric.gain(blend.in_sample, blend.cross_fitted)),
                "choice": finite(self.metric.gain(blend.cross_fitted, blend.score)),
            },
            "gain": gain_figures(blend.gain),
            "fold_scores": [finite(score) for score in blend.fold_scores],
            "lifted": list(blend.lifted),
            "rulings": [_ruling(one) for one in self.taken],
            "notes": list(blend.notes),
        }

    def _blend(self, one: Candidate) -> tuple[Ruling, ...]:
        return check_blend(
            self.rules,
            [BlendMember(name, self.scores[name]) for name in one.members],
            correlations=self.pairs,
            best_score=self.best,
            direction=self.metric.direction,
            bounded=self.metric.bounded,
            fitted=one.way.method != "equal",
            evidence=one.evidence,
        )

    def _members(self) -> list[dict[str, Any]]:
        """Of each prediction, best first: beside the one of the better ones that is most like it."""
        order = sorted(self.scores, key=lambda name: self._behind(name))
        found: list[dict[str, Any]] = []
        kept: list[str] = []
        for name in order:
            near = max(kept, key=lambda other: self.pairs[other, name], default=None)
            rulings = self._member(name, near)
            bad = [ruling for ruling in rulings if ruling.verdict != "pass"]
            if not any(ruling.rule == "stacking-correlation" for ruling in bad):
                kept.append(name)
            found.append(
                {
                    "name": name,
                    "score": finite(self.scores[name]),
                    "behind": finite(self._behind(name)),
                    "nearest": None
                    if near is None
                    else {"name": near, "correlation": round(self.pairs[near, name], 6)},
                    "verdict": "blocked" if blocking(bad) else "warned" if bad else "allowed",
                    "rulings": [_ruling(ruling) for ruling in bad],
                }
            )
        return found

    def _member(self, name: str, near: str | None) -> Sequence[Ruling]:
        both = [name] if near is None else [near, name]
        said = check_blend(
            self.rules,
            [BlendMember(other, self.best if other != name else self.scores[name]) for other in both],
            correlations=self.pairs,
            best_score=self.best,
            direction=self.metric.direction,
            bounded=self.metric.bounded,
        )
        return [ruling for ruling in said if ruling.rule in PAIR_RULES]

    def _behind(self, name: str) -> float:
        return self.metric.gain(self.best, self.scores[name])


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report in lines of text, the members that matter first."""
    best = report["best"]
    lines = [f"best single  {best['name']} {score_text(best['score'])} ({report['metric']})"]
    chosen = report["chosen"]
    if chosen is None:
        lines.append(f"no blend     {report['reason']}")
    else:
        gain = chosen["gain"]
        lines += [
            f"blend        {chosen['label']}: {_weights(chosen['members'])}",
            f"score        {score_text(chosen['score'])}, {_gain(gain)} over {best['name']}",
            *(f"             {note}" for note in chosen["notes"]),
        ]
    lines.append("candidates   score, gain over the best single model, and what the rules say")
    for one in report["candidates"][:MANY]:
        mark = "*" if one["chosen"] else " " if one["allowed"] else "x"
        said = "; ".join(
            f"{ruling['rule']} ({ruling['verdict']})" for ruling in one["rulings"] if ruling["verdict"] != "pass"
        )
        made = f"{one['label']} of {len(one['members'])}"
        lines.append(f" {mark} {score_text(one['score'])}  {_gain(one['gain'])}  {made}  {said}".rstrip())
    out = [member for member in report["members"] if member["verdict"] != "allowed"]
    lines += [
        f"{member['verdict']:<12} {member['name']}: " + " ".join(ruling["reason"] for ruling in member["rulings"])
        for member in out[:MANY]
    ]
    if len(out) > MANY:
        lines.append(f"             and {len(out) - MANY} more (--json has all)")
    return [*lines, *report["left_out"]]


def _candidate(one: Candidate, metric: Metric) -> dict[str, Any]:
    return {
        "label": _label(one),
        "method": one.way.method,
        "mean": one.way.mean,
        "treatment": None if one.post is None else one.post.to_json(),
        "lifts": list(one.way.lifted),
        "members": [[name, round(weight, 6)] for name, weight in zip(one.members, one.weights, strict=True)],
        "score": finite(one.score),
        "in_sample": finite(one.in_sample),
        "optimism": finite(metric.gain(one.in_sample, one.score)),
        "gain": gain_figures(one.gain),
    }


def _ruling(ruling: Ruling) -> dict[str, Any]:
    return {
        "rule": ruling.rule,
        "verdict": ruling.verdict,
        "reason": ruling.reason,
        "figures": dict(ruling.figures),
    }


def _pairs(survey: Survey) -> Pairwise:
    pairs = Pairwise()
    for place, row in enumerate(survey.correlations):
        for other, value in enumerate(row[:place]):
            pairs.add(survey.names[other], survey.names[place], float(value))
    return pairs


def _label(one: Candidate) -> str:
    words = {"equal": "plain average", "climb": "hill climbing", "optimised": "optimum of the metric"}
    said = words.get(one.way.method, f"{one.way.method} stack") + (" of ranks" if one.way.mean == "rank" else "")
    return said + ("" if one.post is None else f" + {one.post.kind.replace('_', ' ')}")


def _weights(members: Sequence[Sequence[Any]]) -> str:
    shown = ", ".join(f"{name} {weight:.3f}" for name, weight in members[:MANY])
    return shown + (f" and {len(members) - MANY} more" if len(members) > MANY else "")


def _gain(figures: Mapping[str, Any]) -> str:
    gain, error, t = figures["gain"], figures["se"], figures["t"]
    said = gain_text(gain) or "gain ?"
    return said + ("" if error is None else f" ± {score_text(error)}") + ("" if t is None else f" (t {t:.2f})")
