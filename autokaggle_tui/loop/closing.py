"""The clean end of a run: the best cross-fitted blend is fitted and submitted if it was not yet."""

from __future__ import annotations

from dataclasses import dataclass

from autokaggle_tui.agreement import agreement, picks
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control, RunClock
from autokaggle_tui.loop.choosing import best_allowed, veto
from autokaggle_tui.loop.clerk import Clerk
from autokaggle_tui.loop.experimenter import Experimenter
from autokaggle_tui.loop.runner import Runner
from autokaggle_tui.loop.settling import unsettled
from autokaggle_tui.loop.submitting import submitted
from autokaggle_tui.scored import READ_SHOTS, shots_of
from experiments.errors import DataError, PlatformError, PredictionError
from experiments.jail import read_text
from experiments.predictions import array_sha, save_array
from experiments.schema import Row

SCORE_SECONDS = 300.0
"""That the end of a run waits for its last scores at most."""
SUBMIT_ATTEMPTS = 3
"""Of a platform that fails."""


@dataclass
class Closing:
    """What happens once no further round is played."""

    campaign: Campaign
    experimenter: Experimenter
    runner: Runner
    clerk: Clerk
    control: Control
    clock: RunClock

    async def close(self) -> None:
        """Blend what is new, choose the best there is, submit it unless that was done, wait for its score."""
        await self._blend()
        await self._settle()
        best = best_allowed(self.campaign) or self._partial()
        registry = self.campaign.registry
        if best is None:
            registry.event("warning", text="No experiment came to a prediction, so there is nothing to submit.")
            return
        for _ in range(SUBMIT_ATTEMPTS):
            if submitted(registry, best["id"]) or await self._submit(best):
                break
            # What is known to have never arrived may be sent again; of nothing else is a second one made.
            await self._settle()
        # The end of the run may take what was kept for it.
        async with self.control.unless_stopped():
            await self.clerk.finish(self._patience())
        self._advise()

    async def _settle(self) -> None:
        if unsettled(self.campaign.registry):
            await self.clerk.look()

    def _patience(self) -> float:
        """Seconds to wait for scores: what the run has left, and no more than some minutes."""
        left = None if self.clock.limit is None else self.clock.limit - self.clock.elapsed()
        return SCORE_SECONDS if left is None else min(max(left, 0.0), SCORE_SECONDS)

    async def _submit(self, best: Row) -> bool:
        """Submit it, if it may be; False when the platform failed."""
        registry = self.campaign.registry
        try:
            outcome = await self.clerk.offer(best, "end", vetoed=veto(self.campaign, best))
            if outcome.word == "skipped":
                registry.event("submission_skipped", experiment=best["id"], reason=outcome.reason)
        except (PlatformError, DataError, PredictionError) as error:
            registry.event("warning", text=f"submission of {best['id']}: {error}")
            return not isinstance(error, PlatformError)
        return True

    def _advise(self) -> None:
        """What to select for the final score: the platform has no call for that, a person has to."""
        if self.clerk.platform.name == "local":
            return
        better = 1 if self.campaign.metric.direction == "maximize" else -1
        registry = self.campaign.registry
        chosen = picks(agreement(shots_of(registry.rows(READ_SHOTS)), better), better)
        if chosen:
            said = " and ".join(f"{pick.experiment} ({pick.why})" for pick in chosen)
            registry.event("note", text=f"For the final score select {said}, on the competition's submissions page.")

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
