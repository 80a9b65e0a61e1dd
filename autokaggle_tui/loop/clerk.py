"""The clerk: what is submitted goes over one desk, one thing at a time; what takes its time goes on beside the loop.

Every call of the platform is made from a worker thread, every fact is written from the loop's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.failures import record_bug
from autokaggle_tui.loop import queueing
from autokaggle_tui.loop.clearance import clear
from autokaggle_tui.loop.placing import place
from autokaggle_tui.loop.policy import Case, Decision, Occasion, allowance, decide, wanted
from autokaggle_tui.loop.settling import lose_all, settle, unsettled
from autokaggle_tui.loop.submitting import Told, nobody, submit, submitted
from backends.platforms.base import Platform, Quota, Receipt
from experiments.errors import DataError, PlatformError, PredictionError
from experiments.rules import Ruling, blocking
from experiments.schema import Row

TICK = 1.0
HOPELESS = frozenset({"closed", "notebooks-only", "no-competition"})
"""Faults that no waiting mends."""


@dataclass
class Pace:
    """When to do something next: soon after news, then ever more seldom. Seconds of a clock that the sleep stops."""

    first: float
    most: float
    _step: float = 0.0
    _due: float = 0.0

    def due(self) -> bool:
        """Whether it is time; if so, the next time is twice as far off as the last."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._step = min(max(2 * self._step, self.first), self.most)
        self._due = now + self._step
        return True

    def hurry(self) -> None:
        """There is news: begin again with the shortest wait."""
        self._step = 0.0
        self._due = time.monotonic() + self.first

    def at_once(self) -> None:
        """It is time now."""
        self._step = self._due = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment on the desk: ``accepted``, ``refused``, ``queued`` or ``skipped``, and why."""

    word: str
    reason: str
    receipt: Receipt | None = None


@dataclass
class Clerk:
    """Decides, submits, settles, keeps the queue and looks at the leaderboard.

    Attributes:
        looking: How often the platform's list is asked while something is unsettled.
        boarding: How often the leaderboard is asked.
        trying: How often the queue is tried, beside midnight UTC.
    """

    campaign: Campaign
    platform: Platform
    looking: Pace = field(default_factory=lambda: Pace(10.0, 300.0))
    boarding: Pace = field(default_factory=lambda: Pace(900.0, 900.0))
    trying: Pace = field(default_factory=lambda: Pace(900.0, 900.0))
    _desk: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _day: str = ""
    _team: str = ""
    _said: str = ""

    # Deciding.

    async def offer(
        self,
        experiment: Row,
        occasion: Occasion,
        *,
        cleared: Sequence[Ruling] = (),
        vetoed: str = "",
        approved: bool = False,
        round: int | None = None,
        told: Told = nobody,
    ) -> Outcome:
        """Submit an experiment, put it into the queue, or leave it, as the policy says.

        Args:
            cleared: What the rules say of it (``clearance.clear``).
            vetoed: The Reviewer's reason against it, or an empty string.
            approved: A person said yes.
            round: The round that is over.
            told: Called with the receipt in the transaction that makes it a fact.

        Raises:
            DataError: It makes no valid submission file.
            PlatformError: The platform failed; unless that is hopeless the experiment waits in the queue.
        """
        blocked = blocking(cleared)
        barred = f"rule {blocked[0].rule} forbids it" if blocked else ""
        if not barred and vetoed:
            barred = f"the Reviewer's veto: {vetoed}"
        async with self._desk:
            case = self._case(experiment, occasion, approved=approved, barred=barred, round=round)
            return await self._offer(experiment, case, told)

    def _case(self, experiment: Row, occasion: Occasion, *, approved: bool, barred: str, round: int | None) -> Case:
        config = self.campaign.config
        return Case(
            occasion,
            experiment["status"],
            round,
            config.submit,
            self.campaign.registry.now(),
            config.deadline,
            approved,
            barred,
        )

    async def _offer(self, experiment: Row, case: Case, told: Told = nobody) -> Outcome:
        registry, name = self.campaign.registry, experiment["id"]
        if submitted(registry, name):
            return Outcome("skipped", "it was submitted before, or may have been")
        by: queueing.By | None = queueing.PERSON if case.occasion == "person" else None
        try:
            decision = wanted(case) or decide(case, await self._today())
            if decision.action != "send":
                return self._set_aside(name, decision, by)
            receipt = await submit(self.campaign, self.platform, experiment, told=told)
        except PlatformError as error:
            if error.fault not in HOPELESS and not submitted(registry, name):
                queueing.put(registry, name, "waiting", f"the platform failed: {error.message}", by=by)
            self.looking.hurry()
            raise
        self.looking.hurry()
        if receipt.scoring == "complete":
            self.boarding.at_once()
        if receipt.fault == "limit":
            queueing.put(registry, name, "waiting", receipt.message, by=by)
            return Outcome("queued", receipt.message, receipt)
        return Outcome(receipt.state, receipt.message or decision.reason, receipt)

    def _set_aside(self, name: str, decision: Decision, by: queueing.By | None) -> Outcome:
        registry = self.campaign.registry
        if decision.action == "skip":
            queueing.leave(registry, name, "left", decision.reason)
            return Outcome("skipped", decision.reason)
        state: queueing.State = "asking" if decision.action == "ask" else "waiting"
        with registry.transaction():
            queueing.put(registry, name, state, decision.reason, by=by)
            queueing.tidy(registry, self.campaign.metric)
        return Outcome("queued", decision.reason)

    async def _today(self) -> Quota:
        """What is left of the day, by the stricter of two counts."""
        registry = self.campaign.registry
        now = registry.now()
        server = await asyncio.to_thread(self.platform.quota, now)
        begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        used = registry.value(
            "SELECT count(*) FROM submissions WHERE state != 'refused' AND at >= ? AND at < ?",
            [begin.timestamp(), (begin + timedelta(days=1)).timestamp()],
        )
        return allowance(server, int(used), self.campaign.config.max_submissions_per_day)

    # What waits.

    async def drain(self) -> None:
        """Submit what waits, best first, as far as today allows."""
        registry = self.campaign.registry
        async with self._desk:
            queueing.tidy(registry, self.campaign.metric)
            for experiment in queueing.line(registry, self.campaign.metric):
                barred = self._barred(experiment)
                approved = experiment["wanted_by"] == queueing.PERSON
                case = self._case(experiment, "queue", approved=approved, barred=barred, round=None)
                try:
                    outcome = await self._offer(experiment, case)
                except (DataError, PredictionError) as error:
                    queueing.leave(registry, experiment["id"], "left", error.message)
                    registry.event("warning", text=f"submission of {experiment['id']}: {error}")
                    continue
                if outcome.word == "queued":
                    return
                queueing.tidy(registry, self.campaign.metric)

    def _barred(self, experiment: Row) -> str:
        """What stands against an experiment now; rules may have changed while it waited."""
        registry, name = self.campaign.registry, experiment["id"]
        if not queueing.waits(registry, name):
            return "it left the queue"
        if registry.value("SELECT pruned_at FROM predictions WHERE experiment = ?", [name]) is not None:
            return f"the predictions of {name} were pruned"
        if experiment["score"] is None:
            return ""
        blocked = blocking(clear(self.campaign, experiment))
        return f"rule {blocked[0].rule} forbids it" if blocked else ""

    # Beside the loop.

    def begin(self) -> None:
        """A process takes over: what the last one had on its way is to be looked for."""
        lose_all(self.campaign.registry)

    async def look(self) -> None:
        """Settle what is open, as far as the platform's list says; failures are told, not raised."""
        async with self._desk:
            try:
                found = await settle(self.campaign, self.platform)
            except PlatformError as error:
                self._warn(f"what was submitted before cannot be looked up: {error}")
                return
        self._said = ""
        self._team = found.team or self._team
        if found.scored:
            self.looking.hurry()
            self.boarding.at_once()

    async def look_at_board(self) -> None:
        """Keep what the leaderboard says as a fact; failures are told, not raised."""
        async with self._desk:
            try:
                await place(self.campaign, self.platform, self._team)
            except PlatformError as error:
                self._warn(f"the leaderboard cannot be looked at: {error}")

    def _warn(self, text: str) -> None:
        """Tell of a failure once, as long as it stays the same."""
        if text != self._said:
            self._said = text
            self.campaign.registry.event("warning", text=text)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """While it lasts, open submissions are settled, the queue is worked off and the leaderboard is looked at."""
        working = asyncio.create_task(self._work())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})

    async def _work(self) -> None:
        # First of all what an earlier process left open, or a restored registry forgot: offers wait for it.
        await self._carefully(self.look)
        while True:
            await asyncio.sleep(TICK)
            await self._carefully(self.tick)

    async def _carefully(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the loop does not end because the platform's news are odd
            self._warn(record_bug(error, self.campaign.workspace.root))

    async def tick(self) -> None:
        """Do what is due."""
        registry = self.campaign.registry
        if unsettled(registry) and self.looking.due():
            await self.look()
        if registry.value("SELECT count(*) FROM queue WHERE state = 'waiting'") and (
            self._day_turned() or self.trying.due()
        ):
            with contextlib.suppress(PlatformError):
                await self.drain()
        if registry.value("SELECT count(*) FROM rounds") and self.boarding.due():
            await self.look_at_board()

    def _day_turned(self) -> bool:
        """Whether it is another UTC day than at the last look, or the end of one."""
        now = datetime.fromtimestamp(self.campaign.registry.clock(), UTC)
        part = f"{now:%Y-%m-%d} {now.hour == 23}"
        turned, self._day = self._day not in ("", part), part
        return turned

    async def finish(self, seconds: float) -> None:
        """At the end of a run: wait at most so long for scores and for what is open."""
        registry = self.campaign.registry
        until = time.monotonic() + seconds
        open_ones = (
            "SELECT experiment FROM submissions WHERE (state = 'intent' AND lost_at IS NOT NULL) "
            "OR (state = 'accepted' AND scoring = 'pending')"
        )
        while registry.rows(open_ones):
            await self.look()
            left = registry.rows(open_ones)
            rest = until - time.monotonic()
            if left and rest <= 0:
                names = ", ".join(row["experiment"] for row in left)
                text = f"{names}: not scored or not settled yet; `autokaggle-tui submissions --refresh` looks again."
                registry.event("note", text=text)
                return
            if left:
                await asyncio.sleep(min(self.looking.first, rest))
        if time.monotonic() < until and self.boarding.due():
            await self.look_at_board()
