"""Planning a round: plan, review, one revision, and the rules that no verdict can lift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.desk import Desk
from autokaggle_tui.loop.verdicts import record_rulings, record_verdict
from backends.models.playbook.builder import alternative
from backends.models.tasks import CampaignView
from experiments.jail import read_text
from experiments.plan import PlanHeader, parse_plan
from experiments.rules import PastExperiment, PlanFacts, Ruling, blocking, check_plan
from experiments.text import one_line

FINDINGS = 12


@dataclass
class Planner:
    """Comes to a plan that the Reviewer approves and no blocking rule forbids."""

    campaign: Campaign
    desk: Desk

    async def plan(self, number: int, view: CampaignView) -> PlanHeader | None:
        """The accepted plan of a round; None when every plan stays blocked.

        An accepted plan is a fact of the round, so rules edited later do not open it again.
        """
        row = self.campaign.registry.row("SELECT plan FROM rounds WHERE round = ?", [number])
        if row is not None and row["plan"]:
            return PlanHeader.model_validate(row["plan"])
        planned = await self.desk.perform(number, "plan", view)
        header = parse_plan(planned.text).header
        if header.kind == "stop":
            return self._accept(number, header)
        rulings = await self._rulings(number, header)
        facts = {
            "plan": header.model_dump(mode="json"),
            "rulings": as_facts(rulings),
            "findings": self._findings(number),
        }
        review = await self.desk.perform(number, "review", view, facts=facts)
        record_rulings(self.campaign.registry, number, "review", rulings)
        if review.word == "APPROVED" and not blocking(rulings):
            return self._accept(number, header)
        if review.word == "APPROVED":
            self._overrule(number, blocking(rulings)[0])
        revised = await self.desk.perform(number, "revise", view, facts=facts | {"reason": review.line})
        header = parse_plan(revised.text).header
        if header.kind != "stop" and (blocked := blocking(await self._rulings(number, header))):
            record_rulings(self.campaign.registry, number, "revise", blocked)
            text = alternative(view, header)
            replaced = self.desk.replace_plan(number, view, text, f"{blocked[0].rule}: {blocked[0].reason}")
            header = parse_plan(replaced.text).header
            if header.kind != "stop" and (blocked := blocking(await self._rulings(number, header))):
                record_rulings(self.campaign.registry, number, "revise", blocked)
                return None
        return self._accept(number, header)

    async def _rulings(self, number: int, header: PlanHeader) -> tuple[Ruling, ...]:
        """What the rules say as they are now: LEARNINGS.md may have been edited since the plan, in a pause perhaps."""
        await self.desk.control.checkpoint()
        self.campaign.refresh_rules()
        return plan_rulings(self.campaign, number, header)

    def _findings(self, number: int) -> list[str]:
        """The findings of the round's brief, a line each; none when there is no brief."""
        try:
            text = read_text(self.campaign.workspace.file(number, "research_brief.md"), links=True)
        except (OSError, UnicodeDecodeError):
            return []
        return findings_of(text)

    def _accept(self, number: int, header: PlanHeader) -> PlanHeader:
        registry = self.campaign.registry
        with registry.transaction():
            registry.update(
                "rounds",
                number,
                kind=header.kind,
                family=header.family,
                idea=header.idea or header.hypothesis,
                plan=header.model_dump(mode="json"),
            )
            registry.event(
                "plan_accepted",
                round=number,
                plan_kind=header.kind,
                family=header.family,
                idea=header.idea or header.hypothesis,
                parent=header.parent,
            )
        return header

    def _overrule(self, number: int, ruling: Ruling) -> None:
        registry = self.campaign.registry
        if registry.row(
            "SELECT 1 FROM verdicts WHERE round = ? AND verdict = 'REVISE' AND author = 'engine'", [number]
        ):
            return
        reason = f"an approval cannot lift {ruling.rule}: {ruling.reason}"
        record_verdict(registry, number, "review", "engine", "REVISE", reason, rule=ruling.rule)


def findings_of(brief: str) -> list[str]:
    """The findings of a research brief: its headings below the first level, or where it has none its list items."""
    lines = [line.strip() for line in brief.splitlines()]
    headings = [line.lstrip("# ") for line in lines if line.startswith("##")]
    items = [line[2:] for line in lines if line.startswith(("- ", "* "))]
    return [one_line(line, 200) for line in headings or items if line][:FINDINGS]


def plan_rulings(campaign: Campaign, number: int, header: PlanHeader) -> tuple[Ruling, ...]:
    """What the rules say of a plan, given all that other rounds did."""
    workspace = campaign.workspace
    plan = PlanFacts(
        round=number,
        kind=header.kind,
        family=header.family,
        params=header.params,
        parent=header.parent,
        members=header.members,
        exhausted=header.exhausted,
        has_eda=workspace.file(0, "eda.md").is_file(),
        has_brief=workspace.file(number, "research_brief.md").is_file(),
    )
    return check_plan(campaign.rules, plan, past_experiments(campaign))


def past_experiments(campaign: Campaign) -> list[PastExperiment]:
    """Every experiment so far as the rules see it, oldest first."""
    return [
        PastExperiment(
            id=row["id"],
            round=row["round"],
            kind=row["kind"],
            family=row["family"],
            status=row["status"],
            score=row["score"],
            params=row["params"],
            parent=row["parent"],
            members=tuple(name for name, _ in row["members"]),
            code_sha=row["normal_sha"],
        )
        for row in campaign.registry.rows("SELECT * FROM experiments ORDER BY rowid")
    ]


def as_facts(rulings: Sequence[Ruling]) -> list[dict[str, Any]]:
    """Rulings that fired, as plain values for a task."""
    return [
        {"rule": r.rule, "verdict": r.verdict, "reason": r.reason, "figures": dict(r.figures)}
        for r in rulings
        if r.verdict != "pass"
    ]
