"""What a viewer knows of a campaign: plain records, the same for the screen, ``status --json`` and the tests.

``loading.load_state`` makes the state of any registry in one read; ``reducing.reduce`` brings it forward.
Standard library only. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from autokaggle_tui.fitting import Count, Moment, fit
from autokaggle_tui.standing import Board
from experiments.figures import figures_text

Row = Mapping[str, Any]
EngineState = Literal[
    "reading", "starting", "running", "pausing", "paused", "stopping", "finished", "stopped", "failed", "died"
]
"""What the engine does; ``reading`` as long as a viewer does not know yet."""


@dataclass(frozen=True)
class Result:
    """One row of the rounds table: a round with its experiment, or an experiment that has no round.

    Attributes:
        name: ``R07``, ``T03``, ``B01`` or an imported name.
        kind: ``model``, ``tune``, ``blend``; empty before the plan is accepted.
        status: That of the experiment (``running``, ``keep``, ...), before it begins that of the round (``open``,
            ``done``, ``blocked``).
        gain: Against the best of its time, positive is better; t: how sure that is (paired over the folds).
        rho: Highest Pearson correlation with an earlier prediction of the pool, which ``closest`` names.
        cost: Dollars of the round's model calls; None when a price is unknown.
        lb: Public score of its last accepted submission.
    """

    name: str
    round: Count | None = None
    source: str = "round"
    kind: str = ""
    family: str = ""
    idea: str = ""
    status: str = "open"
    reason: str = ""
    score: float | None = None
    gain: float | None = None
    t: float | None = None
    rho: float | None = None
    closest: str | None = None
    seconds: float = 0.0
    cost: float | None = 0.0
    lb: float | None = None
    in_pool: bool = False
    members: Sequence[tuple[str, float]] = ()
    started_at: Moment = 0.0
    ended_at: Moment | None = None


@dataclass(frozen=True)
class Verdict:
    """What the Reviewer, the rules or the engine said of a plan or a result.

    Attributes:
        author: ``reviewer``, ``rules`` or ``engine``.
        verdict: ``APPROVED``, ``REVISE``, ``REJECT``, ``RETRO``, ``block``, ``warn``, ``fallback``.
        rule: The rule it names, e.g. ``noise-floor``.
        figures: Of that rule, as far as they matter: ``gain +0.00040 ± 0.00060 · t 0.67 < 1.50``.
    """

    id: int
    at: Moment
    round: Count | None
    phase: str
    author: str
    verdict: str
    rule: str | None
    reason: str
    figures: str = ""


@dataclass(frozen=True)
class Submission:
    """A file that was, is being or may have been submitted: ``intent``, ``accepted``, ``refused``, ``unknown``.

    Attributes:
        scoring: Of an accepted one: ``pending``, ``complete`` or ``error`` (``note`` says why).
        ref: The platform's own number of it.
        private_score: Once the platform shows it.
    """

    id: int
    at: Moment
    experiment: str
    file: str
    state: str
    public_score: float | None
    note: str
    scoring: str = "complete"
    ref: str = ""
    private_score: float | None = None

    @property
    def pending(self) -> bool:
        """Whether the platform still scores it."""
        return self.state == "accepted" and self.scoring == "pending"


@dataclass(frozen=True)
class Waiting:
    """An experiment's place in the queue.

    Attributes:
        state: ``waiting`` for a free submission, ``asking`` for a person's word, ``sent``, or ``left`` it unsent.
        by: ``loop`` or ``person``.
        reason: Why it is in that state; ``at``: since when.
    """

    experiment: str
    state: str
    by: str
    reason: str
    at: Moment

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.state in ("waiting", "asking")


@dataclass(frozen=True)
class Spent:
    """What model calls used.

    Attributes:
        cost: Dollars; None when a price is unknown.
        retries: How often a call was made again.
        fallbacks: Calls that another model answered than the one that was asked.
        cached_tokens: Of the input: read from the provider's cache.
        estimated: Whether some of the counts are guesses, and the cost with them.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    retries: int = 0
    fallbacks: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.input_tokens + self.output_tokens

    def joined(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            self.retries + other.retries,
            self.fallbacks + other.fallbacks,
            self.cached_tokens + other.cached_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True)
class Call:
    """The last call of a role.

    Attributes:
        model: The one that answered.
        asked: The one that was to, where another did; else empty.
        context: Tokens that its conversation has, of ``window`` at most; None where nobody knows.
        outcome: ``ok``, or why there was no answer.
    """

    model: str
    asked: str = ""
    output_tokens: int = 0
    seconds: float = 0.0
    context: int | None = None
    window: int | None = None
    outcome: str = "ok"

    @property
    def pace(self) -> float | None:
        """Tokens a second, its tools' time included; None where none were counted."""
        return self.output_tokens / self.seconds if self.output_tokens and self.seconds > 0 else None

    @property
    def filled(self) -> float | None:
        """Share of the context that is used."""
        return self.context / self.window if self.context is not None and self.window else None


@dataclass(frozen=True)
class Notice:
    """A warning or a note of the engine."""

    at: Moment
    kind: str
    text: str


@dataclass(frozen=True)
class PhaseNow:
    """The phase an agent works on."""

    name: str
    role: str
    model: str
    attempt: Count
    since: Moment


@dataclass(frozen=True)
class PhaseDone:
    """A phase of the current round that is over, with the word of its answer."""

    name: str
    role: str
    outcome: str
    line: str


@dataclass(frozen=True)
class Now:
    """Where the run stands.

    Attributes:
        mode: ``idle`` before the first run; ``running``, ``paused`` (asked for), ``stopping``, ``ended``.
        outcome: Of an ended run: ``finished``, ``stopped`` or ``failed``; ``reason`` says why.
        held: What the machine is short of, e.g. ``disk 0.4 GB free``: the loop waits whatever was asked for.
        before: Seconds the run had used when this process took it up; ``since``: when it did.
        running: When each fold that runs now was started.
        fold_seconds: Duration of each finished fold of the current experiment.
        sandbox: The tier that holds the experiments, e.g. ``off``.
    """

    competition: str | None = None
    metric: str | None = None
    direction: str | None = None
    folds: Count = 0
    rows: int = 0
    slots: Count = 1
    threads: int = 1
    sandbox: str = "off"
    models: Mapping[str, str] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None
    rounds: int | None = None
    time_limit: float | None = None
    first_round: int = 1
    pid: int | None = None
    mode: str = "idle"
    outcome: str = ""
    reason: str = ""
    held: str = ""
    since: Moment = 0.0
    before: float = 0.0
    paused_since: Moment | None = None
    paused_seconds: float = 0.0
    ended_at: Moment | None = None
    round: Count | None = None
    phase: PhaseNow | None = None
    phases: tuple[PhaseDone, ...] = ()
    experiment: str | None = None
    folds_done: Count = 0
    running: Mapping[int, Moment] = field(default_factory=dict)
    fold_seconds: tuple[float, ...] = ()

    @property
    def better(self) -> int:
        """+1 when higher scores are better, else -1."""
        return -1 if self.direction == "minimize" else 1

    def elapsed(self, now: float) -> float:
        """Seconds the run has used; pauses and the machine's sleep do not count."""
        if self.run is None:
            return 0.0
        end = self.paused_since or self.ended_at or now
        return max(self.before + end - self.since - self.paused_seconds, 0.0)

    def eta(self, now: float) -> float | None:
        """Seconds until the running experiment's last fold, or None when that cannot be told."""
        left = self.folds - self.folds_done
        if self.experiment is None or not self.fold_seconds or left <= 0:
            return None
        each = sum(self.fold_seconds) / len(self.fold_seconds)
        # Each slot is free when its fold is done; the folds that wait take the slots in turn.
        free = sorted(max(each - (now - since), 0.0) for since in self.running.values())
        free = [0.0] * (max(self.slots, 1) - len(free)) + free
        for _ in range(left - len(self.running)):
            free = sorted([free[0] + each, *free[1:]])
        return free[-1]


@dataclass(frozen=True)
class State:
    """Everything a viewer shows of facts.

    Attributes:
        last_id: The event up to which this is true.
        results: By name, oldest first.
        champion: Name of the result that leads.
        bound: How often each rule blocked or warned: {rule: {verdict: times}}.
        submissions: By id.
        queue: By experiment, in the order they came.
        board: The last look at the leaderboard.
        by_role: What each role spent.
        calls: The last call of each role.
    """

    last_id: int = 0
    now: Now = Now()
    results: Mapping[str, Result] = field(default_factory=dict)
    champion: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    bound: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    submissions: Mapping[int, Submission] = field(default_factory=dict)
    queue: Mapping[str, Waiting] = field(default_factory=dict)
    board: Board | None = None
    spent: Spent = Spent()
    by_role: Mapping[str, Spent] = field(default_factory=dict)
    calls: Mapping[str, Call] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @property
    def best(self) -> Result | None:
        """The champion's row."""
        return self.results.get(self.champion) if self.champion is not None else None

    def engine(self, pid: int | None) -> EngineState:
        """What the engine does, given the pid that holds the lock now (None: nobody)."""
        now = self.now
        if pid is None:
            if now.mode == "ended":
                return now.outcome if now.outcome in ("finished", "stopped", "failed") else "stopped"  # type: ignore[return-value]
            return "stopped" if now.mode == "idle" else "died"
        if now.mode == "idle" or (pid and pid != now.pid):
            # Whoever holds the lock has not said yet what it does.
            return "starting"
        if now.mode == "ended":
            return "stopping"
        if now.mode == "paused" or (now.mode == "running" and now.held):
            return "pausing" if now.running or now.phase is not None else "paused"
        return "stopping" if now.mode == "stopping" else "running"


def result_of(row: Row) -> Result:
    """A result from a row of the ``results`` view, or from an event that tells of one.

    Raises:
        MalformedError: It holds what a result cannot be.
    """
    known = {name: row[name] for name in _RESULT_FIELDS if name in row}
    known["in_pool"] = bool(known.get("in_pool", False))
    known["members"] = tuple((name, weight) for name, weight in known.get("members") or ())
    return fit(Result(**known))


def verdict_of(row: Row) -> Verdict:
    """A verdict from its row, which has its figures as they are, or from its event, which has them in words."""
    known = {item.name: row[item.name] for item in fields(Verdict) if item.name != "figures"}
    told = row.get("figures", "")
    words = told if isinstance(told, str) else figures_text(row["rule"], told)
    return fit(Verdict(**known, figures=words))


def submission_of(row: Row) -> Submission:
    """A submission from its row, or from its event; those of older versions say less."""
    return fit(Submission(**{item.name: row[item.name] for item in fields(Submission) if item.name in row}))


def waiting_of(row: Row) -> Waiting:
    """A place in the queue from its row."""
    return fit(Waiting(**{item.name: row[item.name] for item in fields(Waiting)}))


def call_of(row: Row) -> Call:
    """A call from its row, or from its event; those of older versions say less.

    Raises:
        MalformedError: It holds what a call cannot be.
    """
    return fit(Call(**{item.name: row[item.name] for item in fields(Call) if item.name in row}))


_RESULT_FIELDS = frozenset(item.name for item in fields(Result))
