"""Campaigns that were never played: a workspace as the engine would have left it, made in a moment.

``make_campaign`` writes one. ``Player`` plays rounds step by step, for tests and measurements that need a registry
that grows. Every figure follows from the seed.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from autokaggle_tui.workspace import Workspace, round_name
from experiments.learnings import master_copy
from experiments.schema import open_facts

from .campaign_book import BEGAN, CONFIG, FOLDS, MODELS, PID, RUN, Book, Values
from .campaign_texts import IDEAS, write_live, write_round

MODEL_FAMILIES = ("lightgbm", "catboost", "xgboost", "mlp", "extra_trees", "linear", "kernel")
IMPORTED = "tilii-lgbm"
CRASH = "fold 1: KeyError: 'balance_log'"


def make_campaign(
    folder: Path, rounds: int = 30, *, engine_events: bool = True, playing: bool = False, seed: int = 7
) -> Workspace:
    """A workspace in which ``rounds`` rounds were played; its data are missing, so no engine can go on with it.

    Round 4 is killed, 6 is a blend, 8 crashed, 11 timed out, 17 is invalid, 19 was blocked (unless they are among
    the last three, which are models with a parent and have their files).

    Args:
        engine_events: False leaves the event log empty, as if it had been cut.
        playing: Another round is open, three of its five folds are done, and the run goes on; else the run has ended.
    """
    workspace = empty_workspace(folder)
    player = Player(seed)
    player.begin(rounds + playing)
    for number in range(1, rounds + 1):
        for _ in player.round(number, plain=number > rounds - 3):
            pass
    if playing:
        for step in player.round(rounds + 1, plain=True):
            if step == "fold 3":
                break
    else:
        player.end()
    if not engine_events:
        player.book.rows["events"].clear()
    connection = open_facts(workspace.facts)
    player.book.write(connection)
    for number in (0, *range(max(rounds - 2, 1), rounds + playing + 1)):
        write_round(workspace, connection, number)
    connection.close()
    write_live(workspace, range(max(rounds - 2, 1), rounds + playing + 1), player.book.now)
    return workspace


def empty_workspace(folder: Path) -> Workspace:
    """A workspace with its settings and rules, in which nothing has run."""
    workspace = Workspace(folder)
    workspace.rounds.mkdir(parents=True)
    workspace.config.write_text(json.dumps(CONFIG, indent=2) + "\n")
    workspace.learnings.write_text(master_copy(), encoding="utf-8")
    return workspace


class Player:
    """Plays rounds into a book."""

    def __init__(self, seed: int = 7) -> None:
        self.book = Book(seed)
        self.levels = [self.book.random.gauss(0, 0.003) for _ in range(FOLDS)]
        self.pool: dict[str, list[float]] = {}
        self.latest: dict[str, str] = {}
        self.champion: Values | None = None
        self.best_single: list[float] | None = None
        self.day, self.sent = 0, 0
        self.run: Values = {}

    def begin(self, rounds: int | None) -> None:
        """The run begins: a prediction is imported, a person's own file was tried, the Builder looks at the data."""
        book = self.book
        self.run = {"id": RUN, "status": "running", "reason": "", "rounds": rounds, "time_limit": None}
        self.run |= {"first_round": 1, "elapsed": 0.0, "pid": PID, "started_at": book.now, "ended_at": None}
        book.add("runs", **self.run)
        book.run_started(self.run, continued=False)
        self._import()
        self._try()
        row = self._open_round(0)
        for _ in self._phase(0, "eda", "builder", "DONE"):
            pass
        self._close_round(row, "done")

    def end(self) -> None:
        """The run ends with a closing blend."""
        row = self._open("B01", None, "closing", kind="blend", family="blend", idea="closing blend of the pool")
        if self._settle(row, self._scores(0.9765), "complete")["status"] == "keep":
            self.book.submission("B01", row["score"], None)
        self.run |= {"status": "finished", "reason": f"{self.run['rounds']} rounds played"}
        self.run |= {"elapsed": self.book.now - BEGAN, "ended_at": self.book.now}
        self.book.add("runs", **self.run)
        self.book.run_ended(self.run, self.champion)

    def round(self, number: int, *, plain: bool = False) -> Iterator[str]:
        """Play a round; yields the name of each step once its rows are in the book.

        Args:
            plain: No blend, nothing blocked, nothing that fails.
        """
        if number == 12:
            self._interlude()
        row = self._open_round(number)
        yield "round"
        if number % 10 == 0:
            yield from self._phase(number, "retro", "reviewer", "DONE")
        yield from self._phase(number, "research", "researcher", "DONE")
        plan = yield from self._plan(number, plain)
        if plan is None:
            self._close_round(row, "blocked", "the rules block every plan")
            yield "done"
            return
        row |= {key: plan[key] for key in ("kind", "family", "idea")}
        row["plan"] = plan | {"hypothesis": f"{plan['idea']}: more signal", "expected_gain": 0.0004, "members": []}
        self.book.add("rounds", **row)
        told = {key: plan[key] for key in ("family", "idea", "parent")}
        self.book.event("plan_accepted", number, plan_kind=plan["kind"], **told)
        settled = yield from self._experiment(number, plan, plain)
        yield from self._phase(number, "findings", "builder", "DONE")
        veto = _veto(number, settled["status"])
        line = f"REJECT: {veto}" if veto else "APPROVED"
        yield from self._phase(number, "verify", "reviewer", line.split(":")[0], line)
        outcome, said = self._submit(number, settled, veto)
        self.book.phase(number, "submit", "engine", outcome, said)
        self._close_round(row, "done")
        yield "done"

    def _plan(self, number: int, plain: bool) -> Generator[str, None, Values | None]:
        """Plan, review, and a revision when a rule asks for it; returns the plan, None when it stays blocked."""
        yield from self._phase(number, "plan", "builder", "DONE")
        family = MODEL_FAMILIES[(number // 2) % len(MODEL_FAMILIES)]
        parent = self.latest.get(family) or next(iter(self.latest.values()))
        kind = "tune" if number % 6 == 2 and family in self.latest else "model"
        if number % 7 == 6 and not plain:
            kind = family = "blend"
        blocked = number % 23 == 19 and not plain
        if number % 5 != 3 and not blocked:
            yield from self._phase(number, "review", "reviewer", "APPROVED")
        else:
            reason = f"{family} was played in the last 2 rounds already."
            yield from self._phase(number, "review", "reviewer", "REVISE", f"REVISE: tunnel-vision: {reason}")
            self.book.verdict(number, "review", "rules", "block", reason, "tunnel-vision")
            yield from self._phase(number, "revise", "builder", "REVISED")
        if blocked:
            self.book.verdict(number, "revise", "rules", "block", reason, "tunnel-vision")
            self.book.event("plan_replaced", number, reason=f"tunnel-vision: {reason}")
            return None
        ideas = IDEAS[kind if kind in IDEAS else family]
        return {"kind": kind, "family": family, "parent": parent, "idea": ideas[number % len(ideas)]}

    def _experiment(self, number: int, plan: Values, plain: bool) -> Generator[str, None, Values]:
        """Code, folds, fixes on a crash; returns the settled experiment."""
        blend = plan["kind"] == "blend"
        if not blend:
            yield from self._phase(number, "code", "builder", "CODED")
        row = self._open(round_name(number), number, "round", **plan)
        scores = self._scores(self._quality(number, blend, plain))
        fails = {8: "crash", 11: "timeout", 17: "invalid"}
        outcome = "complete" if plain or blend else fails.get(number % 29, "complete")
        crashes = 3 if outcome == "crash" else int(number % 11 == 5 and not plain and not blend)
        for attempt in range(1, crashes + 1):
            yield from self._folds(row, [0], scores, error="KeyError: 'balance_log'")
            if attempt == 3:
                return self._settle(row, {}, "crash", CRASH, attempt)
            self.book.phase(number, "run", "engine", "crash", CRASH, attempt=attempt)
            yield from self._phase(number, "fix", "builder", "CODED", attempt=attempt)
        if blend:
            return self._settle(row, scores, "complete")
        yield from self._folds(row, [0, 1], scores)
        behind = 0.0 if self.best_single is None else self.best_single[0] - scores[0]
        if behind > 0.003 and self.best_single is not None:
            best = self.best_single[0]
            reason = f"Fold 1 scores {scores[0]:.5g}, {behind:.5g} behind the best single model's {best:.5g}"
            self.book.verdict(number, "run", "rules", "block", f"{reason}; the margin is 0.003.", "fold1-gate")
            return self._settle(row, {}, "killed", f"{reason}; the margin is 0.003.", crashes + 1)
        yield from self._folds(row, [2], scores, then=(3, 4))
        if outcome == "timeout":
            return self._settle(row, {}, "timeout", "the time of this run is used up", crashes + 1)
        yield from self._folds(row, [3, 4], scores, begun=True)
        reason = "fold 3: 12 predictions are not finite" if outcome == "invalid" else ""
        return self._settle(row, scores, outcome, reason, crashes + 1)

    def _folds(
        self,
        row: Values,
        folds: Sequence[int],
        scores: Values,
        *,
        error: str = "",
        begun: bool = False,
        then: Sequence[int] = (),
    ) -> Iterator[str]:
        """Folds that run side by side.

        Args:
            begun: They were started already; ``then``: those to start as soon as these are done.
        """
        book, name, number = self.book, row["id"], row["round"]
        for fold in () if begun else folds:
            book.event("fold_started", number, experiment=name, fold=fold, limit=600.0)
        yield "folds"
        for fold in folds:
            seconds = round(book.random.uniform(15, 40), 2)
            book.now += seconds / 2
            told = {"status": "crash" if error else "ok", "score": None if error else scores[fold]}
            told |= {"seconds": seconds, "error": error}
            book.add("folds", experiment=name, fold=fold, key=f"{name}-{fold}", **told, at=book.now)
            done = 0 if error else fold + 1
            book.event("fold_done", number, experiment=name, fold=fold, folds=FOLDS, done=done, **told)
            for later in then:
                book.event("fold_started", number, experiment=name, fold=later, limit=600.0)
            yield f"fold {fold + 1}"

    def _phase(self, number: int, phase: str, role: str, word: str, line: str = "", attempt: int = 1) -> Iterator[str]:
        """An agent's phase, with what it cost."""
        book = self.book
        book.event("phase_started", number, phase=phase, role=role, model=MODELS[role], attempt=attempt)
        yield f"{phase} begins"
        seconds = round(book.random.uniform(5, 45), 3)
        book.now += seconds
        book.call(number, phase, role, seconds)
        book.phase(number, phase, role, word, line or word, attempt=attempt, seconds=seconds)
        if phase in ("review", "verify"):
            book.verdict(number, phase, "reviewer", word, line or word)
        yield phase

    def _open(self, name: str, number: int | None, source: str, **plan: str | None) -> Values:
        row = self.book.experiment(name, number, source, **plan)
        self.book.add("experiments", **row)
        told = {key: row[key] for key in ("source", "kind", "family", "idea", "status")}
        self.book.event("experiment_started", number, experiment=name, **told, resumed=False, folds=FOLDS, done=0)
        return row

    def _settle(self, row: Values, scores: Values, status: str, reason: str = "", attempt: int = 1) -> Values:
        """What became of a run, and all that follows from it."""
        book, name, number = self.book, row["id"], row["round"]
        book.now += 1.0
        row |= {"status": status, "reason": reason, "ended_at": book.now, "seconds": book.now - row["started_at"]}
        against = self.champion and self.champion["id"]
        if status == "complete":
            self._stand(row, scores)
            self._correlate(row)
        if number is not None:
            book.phase(number, "run", "engine", row["status"], row["reason"], attempt=attempt, seconds=row["seconds"])
        book.add("experiments", **row)
        told = ("family", "status", "score", "gain", "t", "reason", "rho", "closest", "members", "seconds")
        figures = {key: row[key] for key in told} | {"against": against, "in_pool": bool(row["in_pool"])}
        ruled = row["status"] == "killed" or (row["status"] == "discard" and against is not None)
        book.event("experiment_done", number, experiment=name, **figures, ruled=ruled)
        if row["status"] == "keep":
            self.champion = row | {"folds": scores}
            figures = {key: row[key] for key in ("score", "gain", "t")}
            book.add("champions", id=book.number("champions"), experiment=name, **figures, at=book.now)
            book.event("champion", number, experiment=name, score=row["score"], gain=row["gain"])
        if row["kind"] != "blend":
            self.latest[row["family"]] = name
        if row["in_pool"] and row["kind"] != "blend":
            self.pool[name] = list(scores.values())
            if self.best_single is None or statistics.fmean(self.best_single) < row["score"]:
                self.best_single = self.pool[name]
        return row

    def _stand(self, row: Values, scores: Values) -> None:
        """Score and status against the champion, by the noise floor."""
        book = self.book
        if row["kind"] == "blend":
            members = sorted(self.pool, key=lambda other: -statistics.fmean(self.pool[other]))[:3]
            row["members"] = [[name, weight] for name, weight in zip(members, (0.5, 0.3, 0.2), strict=False)]
            for fold, score in scores.items():
                told = {"key": "", "status": "ok", "score": score, "seconds": 0.0, "error": "", "at": book.now}
                book.add("folds", experiment=row["id"], fold=fold, **told)
        row |= {"status": "keep", "score": statistics.fmean(scores.values()), "in_pool": 1}
        if self.champion is None:
            return
        differences = [scores[fold] - self.champion["folds"][fold] for fold in sorted(scores)]
        gain, spread = statistics.fmean(differences), statistics.stdev(differences)
        row |= {"gain": gain, "t": gain / (spread * math.sqrt(1 / FOLDS + 1 / (FOLDS - 1)))}
        if row["t"] < 1.5:
            said = f"The gain over the champion is {gain:+.5g} over {FOLDS} folds, t = {row['t']:.2f}"
            reason = f"{said}; a change of champion needs a gain with t of at least 1.50."
            row |= {"status": "discard", "reason": reason}
            book.verdict(row["round"], "run", "rules", "block", reason, "noise-floor")

    def _correlate(self, row: Values) -> None:
        """Keep a prediction, and how alike it is to every other in the pool."""
        name, book = row["id"], self.book
        close = {other: 1 - 0.06 * book.random.random() ** 1.5 for other in self.pool}
        for other, value in close.items():
            figures = {"pearson": value, "spearman": value - 0.002, "error": 1 - 8 * (1 - value)}
            book.add("correlations", a=min(name, other), b=max(name, other), **figures)
        row["closest"] = max(close, key=lambda other: close[other], default=None)
        row["rho"] = close.get(row["closest"])
        files = {"oof": f"{name}_oof.npy", "test": f"{name}_test.npy", "oof_sha": name, "test_sha": name}
        book.add("predictions", experiment=name, **files, at=book.now)

    def _submit(self, number: int, row: Values, veto: str) -> tuple[str, str]:
        """Hand in a champion's file while the day's quota lasts; returns outcome and line of the phase."""
        if row["status"] != "keep":
            return "skipped", f"no gain ({row['status']})"
        if veto:
            return "skipped", f"the Reviewer's veto: REJECT: {veto}"
        today = int(self.book.now // 86_400)
        self.day, self.sent = today, self.sent if self.day == today else 0
        if self.sent == 4:
            return "skipped", "the last submission of the day is kept for the end of the run"
        self.sent += 1
        return self.book.submission(row["id"], row["score"], number)

    def _interlude(self) -> None:
        """What a person did in between, and a restart."""
        book = self.book
        book.command("hint", {"text": "try target encoding of job × month"}, "the agents read it at the next phase")
        book.command("pause", {}, "pausing after the folds that run now")
        book.now += 600
        book.command("resume", {}, "going on")
        book.command("kill", {}, "no experiment is running", "refused")
        book.event("warning", None, text="researcher: the model's server answered 529; asked again")
        book.event("note", None, text="max_submissions_per_day is 5.")
        book.command("stop", {}, "stopping after the current step")
        self.run["elapsed"] = book.now - BEGAN - 600
        book.run_ended(self.run | {"status": "stopped", "reason": "stopped by command"}, self.champion)
        book.now += 3_600
        book.run_started(self.run, continued=True)

    def _import(self) -> None:
        scores = self._scores(0.9605)
        idea = f"imported from {IMPORTED}_oof.npy"
        self.book.now += 1.0
        row = self.book.experiment(
            IMPORTED, None, "imported", "imported", kind="model", family="imported", idea=idea
        ) | {"score": statistics.fmean(scores.values()), "in_pool": 1, "ended_at": self.book.now}
        self._correlate(row)
        self.book.add("experiments", **row)
        self.pool[IMPORTED] = list(scores.values())
        told = ("source", "kind", "family", "idea", "status", "score", "rho", "closest")
        self.book.event("imported", None, experiment=IMPORTED, **{key: row[key] for key in told}, in_pool=True)

    def _try(self) -> None:
        self.book.now += 1.0
        row = self._open("T01", None, "try", kind="model", family="own", idea="tried baseline.py")
        scores = self._scores(0.951)
        for pair in ([0, 1], [2, 3], [4]):
            for _ in self._folds(row, pair, scores):
                pass
        self._settle(row, scores, "complete")

    def _open_round(self, number: int) -> Values:
        row: Values = {"round": number, "run": RUN, "status": "open", "kind": "", "family": "", "idea": ""}
        row |= {"plan": {}, "started_at": self.book.now, "ended_at": None}
        self.book.add("rounds", **row)
        self.book.event("round_started", number)
        return row

    def _close_round(self, row: Values, status: str, reason: str = "") -> None:
        self.book.now += 1.0
        self.book.add("rounds", **row | {"status": status, "ended_at": self.book.now})
        self.book.event("round_done", row["round"], status=status, reason=reason)
        self.book.now += 1.0

    def _quality(self, number: int, blend: bool, plain: bool) -> float:
        learned = 0.018 * (1 - math.exp(-number / 15)) + 0.0004 * math.log1p(number / 30)
        quality = 0.955 + learned + self.book.random.gauss(0, 0.0006)
        hopeless = number % 9 == 4 and not plain and not blend
        return quality + (0.0012 if blend else 0.0) - (0.02 if hopeless else 0.0)

    def _scores(self, quality: float) -> Values:
        return {fold: quality + level + self.book.random.gauss(0, 0.0004) for fold, level in enumerate(self.levels)}


def _veto(number: int, status: str) -> str:
    if status == "keep":
        return "the gain hangs on one fold" if number % 8 == 7 else ""
    return "no gain over the noise" if status == "discard" else f"it ended as {status}"
