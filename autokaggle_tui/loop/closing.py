"""The clean end of a run: the best cross-fitted blend is fitted and submitted if it was not yet."""

from __future__ import annotations

from dataclasses import dataclass

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import RunClock
from autokaggle_tui.loop.clearance import clear
from autokaggle_tui.loop.experimenter import Experimenter
from autokaggle_tui.loop.runner import Runner
from autokaggle_tui.loop.submitting import decide, reconcile, submit, submitted
from backends.platforms.base import Platform
from experiments.errors import DataError, PlatformError, PredictionError
from experiments.jail import read_text
from experiments.predictions import array_sha, save_array
from experiments.rules import blocking
from experiments.schema import Row

SUBMIT_ATTEMPTS = 3
"""Of a platform that fails."""


@dataclass
class Closing:
    """What happens once no further round is played."""

    campaign: Campaign
    experimenter: Experimenter
    runner: Runner
    platform: Platform
    clock: RunClock

    async def close(self) -> None:
        """Blend what is new, choose the best there is, submit it unless that was done."""
        await self._blend()
        reconcile(self.campaign, self.platform, noted=True)
        best = self._allowed() or self._partial()
        registry = self.campaign.registry
        if best is None:
            registry.event("warning", text="No experiment came to a prediction, so there is nothing to submit.")
            return
        for _ in range(SUBMIT_ATTEMPTS):
            if submitted(self.campaign, best["id"]) or await self._submit(best):
                return
            # What is known to have never arrived may be sent again; of nothing else is a second one made.
            reconcile(self.campaign, self.platform, noted=True)

    async def _submit(self, best: Row) -> bool:
        """Submit it, if it may be; False when the platform failed."""
        registry = self.campaign.registry
        try:
            decision = decide(self.campaign, self.platform, best, cleared=(), vetoed=self._veto(best), last=True)
            if decision.submit:
                await submit(self.campaign, self.platform, best)
            else:
                registry.event("submission_skipped", experiment=best["id"], reason=decision.reason)
        except (PlatformError, DataError, PredictionError) as error:
            registry.event("warning", text=f"submission of {best['id']}: {error}")
            return not isinstance(error, PlatformError)
        return True

    async def _blend(self) -> None:
        """A blend of the pool, if the pool has something that no blend has seen."""
        registry = self.campaign.registry
        unfinished = registry.row("SELECT * FROM experiments WHERE source = 'closing' AND status = 'running'")
        pool = registry.pool()
        # By the order of the events and not by times: a clock may be set back.
        seen = registry.value(
            "SELECT coalesce(max(id), 0) FROM events "
            "WHERE kind = 'experiment_started' AND json_extract(data, '$.kind') = 'blend'"
        )
        fresh = registry.value(
            "SELECT count(*) FROM events WHERE id > ? AND kind IN ('experiment_done', 'imported') "
            "AND json_extract(data, '$.in_pool') AND json_extract(data, '$.family') != 'blend'",
            [seen],
        )
        if len(pool) < 2 or (not fresh and unfinished is None):
            return
        count = registry.value("SELECT count(*) FROM experiments WHERE source = 'closing' AND status != 'running'")
        name = unfinished["id"] if unfinished else f"B{int(count) + 1:02d}"
        await self.experimenter.blend(name, None, (), "closing blend of the pool", source="closing")

    def _allowed(self) -> Row | None:
        """The best there is that no rule in force forbids."""
        for best in self._ranked():
            blocked = blocking(clear(self.campaign, best))
            if not blocked:
                return best
            reason = f"{blocked[0].rule}: {blocked[0].reason}"
            self.campaign.registry.event("submission_skipped", experiment=best["id"], reason=reason)
        return None

    def _ranked(self) -> list[Row]:
        """The champion, cross-fitted blends and the best single model, best first: the run is over, each counts."""
        registry, metric = self.campaign.registry, self.campaign.metric
        champion, single = registry.champion(), registry.best_single(metric.direction)
        blends = registry.rows("SELECT * FROM experiments WHERE kind = 'blend' AND in_pool ORDER BY rowid")
        found = {row["id"]: row for row in (champion, *blends, single) if row is not None}
        return sorted(found.values(), key=lambda row: -metric.gain(row["score"], 0.0))

    def _veto(self, best: Row) -> str:
        """The Reviewer's standing word against an experiment, or an empty string."""
        row = self.campaign.registry.row(
            "SELECT detail FROM phases WHERE round = ? AND phase = 'verify' AND outcome = 'REJECT'", [best["round"]]
        )
        return str(row["detail"].get("line", "")) if row and best["status"] == "keep" else ""

    def _partial(self) -> Row | None:
        """When time ran out before any experiment was complete: the one with the most finished folds."""
        registry = self.campaign.registry
        row = registry.row(
            "SELECT e.id, e.code_sha, count(*) AS done FROM experiments e JOIN folds f ON f.experiment = e.id "
            "WHERE e.status = 'timeout' AND f.status = 'ok' GROUP BY e.id ORDER BY done DESC, e.rowid LIMIT 1"
        )
        if row is None:
            return None
        try:
            code = read_text(self.campaign.workspace.rounds / f"{row['id']}_experiment.py", links=True)
        except (OSError, UnicodeDecodeError):
            return None
        found = self.runner.partial_test(row["id"], code)
        if found is None:
            return None
        test, folds = found
        name = f"{row['id']}_test.npy"
        save_array(self.campaign.workspace.rounds / name, test)
        registry.upsert(
            "predictions",
            experiment=row["id"],
            oof="",
            test=name,
            oof_sha="",
            test_sha=array_sha(test),
            at=registry.clock(),
            pruned_at=None,
        )
        registry.event(
            "warning",
            text=f"No experiment was complete: submitting {row['id']} as the mean of {folds} finished folds, unscored.",
        )
        return registry.experiment(row["id"])
