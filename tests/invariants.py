"""What must hold of a campaign however often its processes were killed and its disk failed.

Everything is read cold, from a copy of the database: reading the original would roll back the journal of a killed
engine before the next engine has to.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autokaggle_tui.config import load_config
from autokaggle_tui.exports import export_all
from autokaggle_tui.workspace import Workspace
from backends.platforms.local_platform import LEDGER
from experiments.errors import PredictionError, RegistryError
from experiments.files import TEMPORARY, sha256_file
from experiments.predictions import array_sha, load_array
from experiments.registry import Registry

Damage = Literal["lost", "doubled", "corrupt", "left"]
Event = dict[str, Any]
EXPORTS = ("state.json", "results.tsv", "experiments.json")
ALWAYS = ("research", "plan", "review", "findings", "verify", "submit")


@dataclass(frozen=True)
class Finding:
    """One thing that should not be.

    Attributes:
        damage: ``lost``, ``doubled``, ``corrupt``, or ``left`` (a file or process that nobody needs any more).
    """

    damage: Damage
    text: str

    def __str__(self) -> str:
        return f"{self.damage}: {self.text}"


def acknowledged(output: bytes) -> list[Event]:
    """The events that an engine printed with ``--log-format json``; each was committed before."""
    whole, _, _ = output.rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]


def check_standing(root: Path, told: Iterable[Event], platform: Path | None = None) -> list[Finding]:
    """What must hold at every instant, of a campaign that is not over, too.

    Args:
        root: The workspace; no engine runs in it.
        told: Events that engines printed.
        platform: Folder of the local competition, to look into its ledger.
    """
    if not (root / "autokaggle.db").exists():
        return [Finding("lost", "autokaggle.db is gone")] if list(told) else []
    try:
        with _copied(root) as facts:
            if not facts.execute("PRAGMA user_version").fetchone()[0]:
                # The first engine did not come to the end of the first migration.
                return [Finding("lost", "autokaggle.db is empty")] if list(told) else []
            found = [*_integrity(facts), *_told(facts, told), *_doubled(facts), *_published(root, facts)]
            found += _predictions(root, facts)
            if platform is not None:
                found += _ledger(platform, facts, settled=False)
            return found
    except sqlite3.DatabaseError as error:
        return [Finding("corrupt", f"autokaggle.db: {error}")]


def check_finished(
    root: Path,
    rounds: int,
    told: Iterable[Event] = (),
    platform: Path | None = None,
    *,
    whole: bool = True,
    closed: bool = True,
) -> list[Finding]:
    """What must hold of a campaign that one run of so many rounds has ended.

    Args:
        whole: No fold was killed by itself: every round has all its phases.
        closed: The engine came to its end; one killed right after the last fact leaves its exports behind.
    """
    found = check_standing(root, told, platform)
    try:
        with _copied(root) as facts:
            found += _ended(facts, rounds, whole)
            if closed:
                found += [*_exported(root), *_left(root, facts)]
            if platform is not None:
                found += _ledger(platform, facts, settled=True)
                found += [Finding("left", f"{path}") for path in platform.rglob(f"{TEMPORARY}*")]
    except sqlite3.DatabaseError as error:
        found.append(Finding("corrupt", f"autokaggle.db: {error}"))
    return list(dict.fromkeys(found))


def run_status(root: Path) -> str:
    """The status of the last run; empty before the first, or when the registry cannot be read."""
    try:
        with _copied(root) as facts:
            row = facts.execute("SELECT status FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
            return "" if row is None else str(row["status"])
    except sqlite3.DatabaseError:
        return ""


@contextmanager
def _copied(root: Path) -> Iterator[sqlite3.Connection]:
    """The facts, read from a copy with its journal."""
    with tempfile.TemporaryDirectory(prefix="invariants-") as folder:
        copy_facts(root, Path(folder))
        with closing(sqlite3.connect(Path(folder) / "autokaggle.db")) as connection:
            connection.row_factory = sqlite3.Row
            yield connection


def copy_facts(root: Path, folder: Path) -> None:
    """Copy the registry with the journal that a killed engine left."""
    for name in ("autokaggle.db-journal", "autokaggle.db-wal", "autokaggle.db"):
        if (root / name).exists():
            shutil.copy2(root / name, folder / name)


def _integrity(facts: sqlite3.Connection) -> Iterator[Finding]:
    for row in facts.execute("PRAGMA integrity_check"):
        if row[0] != "ok":
            yield Finding("corrupt", f"integrity_check: {row[0]}")
    for row in facts.execute("PRAGMA foreign_key_check"):
        yield Finding("corrupt", f"foreign_key_check: {tuple(row)}")


def _told(facts: sqlite3.Connection, told: Iterable[Event]) -> Iterator[Finding]:
    """Every event that was printed is there, and says what it said."""
    kept = {row["id"]: row for row in facts.execute("SELECT * FROM events")}
    for event in told:
        row = kept.get(event["id"])
        if row is None:
            yield Finding("lost", f"event {event['id']} ({event['kind']}) was told and is gone")
        elif (row["kind"], row["round"], json.loads(row["data"])) != (event["kind"], event["round"], event["data"]):
            yield Finding("lost", f"event {event['id']} was told as {event['kind']} and is {row['kind']}")


def _doubled(facts: sqlite3.Connection) -> Iterator[Finding]:
    """Nothing that was finished was done again, and nothing has two results."""
    events = facts.execute(
        "SELECT id, kind, round, data FROM events WHERE kind IN ('phase_done', 'fold_done', 'round_done') ORDER BY id"
    )
    phases: Counter[tuple[Any, ...]] = Counter()
    folds: Counter[tuple[Any, ...]] = Counter()
    rounds: Counter[int] = Counter()
    runs: Counter[int] = Counter()
    for row in events:
        data, number = json.loads(row["data"]), row["round"]
        if row["kind"] == "phase_done":
            phases[(number, data["phase"])] += 1
            runs[number] += data["phase"] == "run" and data["outcome"] == "crash"
        elif row["kind"] == "round_done":
            rounds[number] += 1
        elif data["status"] == "ok":
            # A run that crashed is repeated with other code; what its folds gave counts anew.
            folds[(data["experiment"], data["fold"], runs[number])] += 1
    kept = {
        (row["round"], row["phase"]): row["n"]
        for row in facts.execute("SELECT round, phase, count(*) AS n FROM phases GROUP BY round, phase")
    }
    for key in phases.keys() | kept.keys():
        if phases[key] != kept.get(key, 0):
            damage: Damage = "doubled" if phases[key] > kept.get(key, 0) else "lost"
            yield Finding(damage, f"phase {key}: {kept.get(key, 0)} rows, {phases[key]} events")
    yield from (Finding("doubled", f"fold {key} came to a result {n} times") for key, n in folds.items() if n > 1)
    yield from (Finding("doubled", f"round {key} ended {n} times") for key, n in rounds.items() if n > 1)
    for what, sql in _UNIQUE.items():
        for row in facts.execute(sql):
            yield Finding("doubled", f"{what}: {tuple(row)}")
    ok = facts.execute("SELECT experiment, fold FROM folds WHERE status = 'ok' AND key != ''")
    done = {key[:2] for key in folds}
    yield from (Finding("lost", f"fold {tuple(row)} has no event") for row in ok if tuple(row) not in done)


_UNIQUE = {
    "fold key with two results": "SELECT key, count(*) FROM folds WHERE key != '' GROUP BY key HAVING count(*) > 1",
    "verdict given twice": (
        "SELECT round, phase, author, rule, reason, count(*) FROM verdicts WHERE round IS NOT NULL AND NOT (author = "
        "'engine') GROUP BY round, phase, author, rule, reason HAVING count(*) > 1"
    ),
    "file submitted twice": (
        "SELECT sha256, count(*) FROM submissions WHERE state != 'refused' GROUP BY sha256 HAVING count(*) > 1"
    ),
    "experiment submitted twice": (
        "SELECT experiment, count(*) FROM submissions WHERE state != 'refused' GROUP BY experiment HAVING count(*) > 1"
    ),
    "champion crowned twice": "SELECT experiment, count(*) FROM champions GROUP BY experiment HAVING count(*) > 1",
}


def _published(root: Path, facts: sqlite3.Connection) -> Iterator[Finding]:
    """The last phase that published a file vouches for its content."""
    wanted: dict[str, tuple[str, int, str]] = {}
    for row in facts.execute("SELECT round, phase, files, sha256 FROM phases WHERE sha256 != '' ORDER BY at, rowid"):
        for name, sha in zip(row["files"].split(), row["sha256"].split(), strict=True):
            wanted[name] = (sha, row["round"], row["phase"])
    for name, (sha, number, phase) in wanted.items():
        path = root / "rounds" / name
        if not path.is_file():
            yield Finding("lost", f"{name} of round {number}, {phase}, is gone")
        elif sha256_file(path) != sha and not _rewritten(facts, number, phase):
            yield Finding("corrupt", f"{name} is not what {phase} of round {number} published")


def _rewritten(facts: sqlite3.Connection, number: int, phase: str) -> bool:
    """Whether a later phase may have published the file anew, and not have come to its row yet."""
    later = {"plan": "revise", "revise": "revise", "code": "fix", "fix": "fix"}.get(phase)
    row = facts.execute("SELECT status FROM rounds WHERE round = ?", [number]).fetchone()
    return later is not None and row is not None and row["status"] == "open"


def _predictions(root: Path, facts: sqlite3.Connection) -> Iterator[Finding]:
    for row in facts.execute("SELECT * FROM predictions"):
        for name, sha in ((row["oof"], row["oof_sha"]), (row["test"], row["test_sha"])):
            if not name:
                continue
            path = root / "rounds" / name
            try:
                if array_sha(load_array(path, mmap=False)) != sha:
                    yield Finding("corrupt", f"{name} is not the prediction of {row['experiment']}")
            except PredictionError as error:
                yield Finding("corrupt" if path.exists() else "lost", str(error))


def _ledger(platform: Path, facts: sqlite3.Connection, *, settled: bool) -> Iterator[Finding]:
    """The platform and the registry tell the same of every submission; of an open one nothing is known yet."""
    ours = {row["token"]: row for row in facts.execute("SELECT token, sha256, state, experiment FROM submissions")}
    theirs: dict[str, str] = {}
    if (platform / LEDGER).exists():
        with tempfile.TemporaryDirectory(prefix="invariants-") as folder:
            for name in (f"{LEDGER}-journal", LEDGER):
                if (platform / name).exists():
                    shutil.copy2(platform / name, Path(folder) / name)
            with closing(sqlite3.connect(Path(folder) / LEDGER)) as ledger:
                for row in ledger.execute("PRAGMA integrity_check"):
                    if row[0] != "ok":
                        yield Finding("corrupt", f"ledger: integrity_check: {row[0]}")
                if ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'submissions'").fetchone():
                    theirs = dict(ledger.execute("SELECT token, sha256 FROM submissions").fetchall())
    for token, row in ours.items():
        if row["state"] == "accepted" and theirs.get(token) != row["sha256"]:
            yield Finding("lost", f"the submission of {row['experiment']} is accepted here and unknown to the platform")
        if settled and row["state"] in ("intent", "unknown"):
            yield Finding("lost", f"the submission of {row['experiment']} stays {row['state']}")
    counts = Counter(theirs.values())
    yield from (Finding("doubled", f"the platform has file {sha[:12]} {n} times") for sha, n in counts.items() if n > 1)
    for token in theirs:
        state = ours[token]["state"] if token in ours else None
        if state is None or state == "refused" or (settled and state != "accepted"):
            yield Finding("lost", f"the platform has a submission that is {state or 'unknown'} here")


def _ended(facts: sqlite3.Connection, rounds: int, whole: bool) -> Iterator[Finding]:
    """One run, all its rounds, all their phases, nothing open."""
    runs = [row["status"] for row in facts.execute("SELECT status FROM runs")]
    if runs != ["finished"]:
        yield Finding("doubled" if len(runs) > 1 else "lost", f"the runs are {runs}: the same command goes on with one")
    played = {row["round"]: row for row in facts.execute("SELECT round, status, kind FROM rounds ORDER BY round")}
    reason = facts.execute("SELECT reason FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    if list(played) != list(range(rounds + 1)) and "played" in (reason["reason"] if reason else ""):
        yield Finding("lost", f"rounds {list(played)} of {rounds}")
    yield from (
        Finding("lost", f"round {n} is {row['status']}") for n, row in played.items() if row["status"] == "open"
    )
    for row in facts.execute("SELECT id FROM experiments WHERE status = 'running'"):
        yield Finding("lost", f"{row['id']} still runs, says its row")
    done = {(row["round"], row["phase"]) for row in facts.execute("SELECT round, phase FROM phases")}
    for number, row in played.items():
        if number == 0 or row["status"] != "done" or row["kind"] in ("stop", ""):
            continue
        wanted = {*ALWAYS, *(() if row["kind"] == "blend" or not whole else ("code", "run"))}
        for phase in sorted(wanted):
            if (number, phase) not in done:
                yield Finding("lost", f"round {number} ended without {phase}")
    said = Counter(
        (row["round"], row["phase"])
        for row in facts.execute(
            "SELECT round, phase FROM verdicts WHERE author = 'reviewer' AND phase IN ('review', 'verify')"
        )
    )
    for row in facts.execute("SELECT round, phase, count(*) AS n FROM phases GROUP BY round, phase"):
        if row["phase"] in ("review", "verify") and said[(row["round"], row["phase"])] < 1:
            yield Finding("lost", f"round {row['round']}: no verdict of its {row['phase']}")


def _exported(root: Path) -> Iterator[Finding]:
    """The exports are what the registry says, byte for byte."""
    with tempfile.TemporaryDirectory(prefix="invariants-") as folder:
        copy_facts(root, Path(folder))
        try:
            with closing(Registry(Path(folder) / "autokaggle.db")) as registry:
                export_all(Workspace(Path(folder)), registry)
        except RegistryError as error:
            yield Finding("corrupt", str(error))
            return
        for name in EXPORTS:
            if not (root / name).is_file():
                yield Finding("lost", f"{name} is missing")
            elif (root / name).read_bytes() != (Path(folder) / name).read_bytes():
                yield Finding("lost", f"{name} is behind the registry")


def _left(root: Path, facts: sqlite3.Connection) -> Iterator[Finding]:
    """Nothing lies about; the folds of a run that timed out may still be wanted."""
    yield from (Finding("left", str(path)) for path in root.rglob(f"{TEMPORARY}*"))
    sql = "SELECT key FROM folds JOIN experiments e ON e.id = experiment WHERE e.status = 'timeout'"
    wanted = {row["key"] for row in facts.execute(sql)}
    folds = (root / "cache" / "folds").glob("*.npz")
    yield from (Finding("left", str(path)) for path in folds if path.stem not in wanted)
    if (root / "engine.pid").exists():
        yield Finding("left", "engine.pid")


def platform_folder(root: Path, home: Path) -> Path:
    """Where the local competition of a workspace keeps its ledger."""
    return home / "competitions" / load_config(root).competition
