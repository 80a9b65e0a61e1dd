"""The sandbox around worker slots, attacked by experiments; one slot in each tier that works here."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import pytest_asyncio

from backends.compute.base import FoldJob, FoldOutcome, LogLine, Report
from backends.compute.limits import Limits
from backends.compute.local import LocalCompute
from backends.compute.memory import sealed_copy
from backends.compute.sandbox import Sandbox
from backends.compute.tiers import find_sandbox
from backends.compute.watchdog import Watchdog
from experiments.confine import Confinement, ConfinementError, confine
from experiments.context import context_values
from experiments.errors import ComputeError
from experiments.files import remove_tree
from experiments.foldcache import FoldCache
from experiments.folds import make_folds
from experiments.seccomp import build_filter
from experiments.spec import Columns, Spec
from tests.attacks import ATTACKS, KNOWN_OPEN, LEAVE, LOOK, PRELUDE, RESOURCES

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox on this system yet"),
]
CANARY = "AUTOKAGGLE_TEST_CANARY"
LIMITS = Limits(memory=800 << 20, processes=64, scratch=64 << 20, shm=32 << 20, open_files=256)
MB = 1 << 20


@dataclass(frozen=True)
class Data:
    spec: Spec
    train: pd.DataFrame
    test: pd.DataFrame
    columns: Columns
    groups: None = None
    times: None = None
    data_hash: str = "data"


@dataclass(frozen=True)
class World:
    """What an attacker would like to have: all of it readable by everybody, as far as modes say."""

    home: str
    workspace: str
    public: str
    cache: str
    other_fold: str
    canary: str
    engine: int
    bystander: int
    port: int
    abstract: str
    socket: str
    datagrams: str
    job: FoldJob


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="autokaggle-world-"))
    root.chmod(0o755)
    token = root / "home" / ".kaggle" / "kaggle.json"
    for file in (token, root / "workspace" / "hidden.csv"):
        file.parent.mkdir(parents=True)
        file.write_text(CANARY)
    (root / "public").mkdir()
    (root / "public").chmod(0o777)
    job = make_job(root / "cache")
    tcp, abstract, path, datagrams = socket.socket(), *(socket.socket(socket.AF_UNIX, kind) for kind in (1, 1, 2))
    tcp.bind(("127.0.0.1", 0))
    abstract.bind(f"\0{root.name}")
    path.bind(str(root / "socket"))
    datagrams.bind(str(root / "datagrams"))
    for listener in (tcp, abstract, path):
        listener.listen()
    for name in ("socket", "datagrams"):
        (root / name).chmod(0o777)
    bystander = subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE, env={CANARY: "secret"})
    yield World(
        home=str(root / "home"),
        workspace=str(root / "workspace"),
        public=str(root / "public"),
        cache=str(job.train.parent),
        other_fold=str(job.train.parent / "fold1_train.arrow"),
        canary=CANARY,
        engine=os.getpid(),
        bystander=bystander.pid,
        port=tcp.getsockname()[1],
        abstract=root.name,
        socket=str(root / "socket"),
        datagrams=str(root / "datagrams"),
        job=job,
    )
    assert (root / "workspace" / "hidden.csv").read_text() == token.read_text() == CANARY
    for listener in (tcp, abstract, path, datagrams):
        listener.close()
    bystander.communicate(b"\n")
    shutil.rmtree(root)


def make_job(cache_folder: Path) -> FoldJob:
    rng = np.random.default_rng(0)
    names = ("a", "b", "c")
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list(names))
    y = (frame["a"] + rng.normal(size=300) > 0).astype("int32")
    spec = Spec("c", "binary", "auc_roc", "maximize", "y", cv_folds=3)
    data = Data(spec, frame.assign(y=y), frame.iloc[:50], Columns(names, names, (), (), (), "y"))
    folds = make_folds(spec, y.to_numpy())
    cache = FoldCache(cache_folder, data, folds)
    train, valid, test = [cache.files(fold) for fold in (1, 0)][1]
    context = context_values(spec, data.columns, ("no", "yes"), fold=0, n_folds=3, threads=2)
    expected = (len(folds.splits[0][1]), 50, 1)
    return FoldJob("key", "R01", 0, "", train, valid, test, context, expected, time_limit=60)


@dataclass
class Cell:
    """One slot in a sandbox, and what came out of it."""

    sandbox: Sandbox
    compute: LocalCompute
    world: World
    verdicts: dict[str, str]

    @property
    def kind(self) -> str:
        ordinary = self.sandbox.tier == "landlock" and os.geteuid() != 0
        return "landlock as an ordinary user" if ordinary else self.sandbox.tier

    async def run(self, body: str, time_limit: float = 60.0) -> tuple[FoldOutcome, dict[str, Any], str]:
        """An experiment with this body of ``fit_predict``: its outcome, reports and log."""
        values = {name: value for name, value in vars(self.world).items() if name != "job"}
        lines = textwrap.indent(textwrap.dedent(body), "    ")
        code = (
            f"import numpy as np\nW = {values!r}\n{textwrap.dedent(PRELUDE)}\n"
            f"def fit_predict(train, valid, test, ctx):\n{lines}\n"
            "    return np.full(len(valid), 0.25), np.full(len(test), 0.75)\n"
        )
        job = replace(self.world.job, code=code, time_limit=time_limit)
        reports: dict[str, Any] = {}
        log = []
        async for record in self.compute.run(job):
            if isinstance(record, Report):
                reports |= record.values
            elif isinstance(record, LogLine):
                log.append(record.text)
        assert isinstance(record, FoldOutcome)
        return record, reports, "\n".join(log)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["bubblewrap", "landlock"])
async def cell(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Cell]:
    try:
        sandbox = find_sandbox(request.param, LIMITS)
    except ComputeError as error:
        pytest.skip(error.message)
    root = Path(tempfile.mkdtemp(prefix="autokaggle-cell-"))
    root.chmod(0o711)
    os.environ[CANARY] = "secret"
    try:
        compute = LocalCompute(1, 2, root, sandbox)
        await compute.start()
    finally:
        del os.environ[CANARY]
    yield Cell(sandbox, compute, world, {})
    await compute.close()
    assert list(root.iterdir()) == []
    root.rmdir()


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_stopped(cell: Cell, name: str) -> None:
    if not cell.verdicts:
        cell.verdicts.update(await _attack(cell))
    verdict = cell.verdicts[name]
    expected = "open" if name in KNOWN_OPEN[cell.kind] else "stopped"
    assert verdict.split(":")[0] == expected, verdict
    # An attack that fails by a mistake in it shows nothing.
    assert not verdict.startswith(("stopped: NameError", "stopped: SyntaxError", "stopped: TypeError"))


async def _attack(cell: Cell) -> dict[str, str]:
    """All attacks, each in a process of its own, in one fold."""
    lines = ["global WARM", "WARM = os.getppid()"]
    for number, (name, code) in enumerate(ATTACKS.items()):
        lines += [f"def attack{number}():", textwrap.indent(textwrap.dedent(code).strip(), "    ")]
        lines += [f"ctx.report(**{{{name!r}: verdict(attack{number})}})"]
    outcome, reports, log = await cell.run("\n".join(lines))
    assert outcome.status == "ok", (outcome, log)
    return reports


async def test_nothing_is_left_for_the_next_fold(cell: Cell) -> None:
    for code in (LOOK, LEAVE, LOOK):
        outcome, reports, log = await cell.run(code)
        assert outcome.status == "ok", (outcome, log)
        assert not outcome.extra.get("worker_lost") and "started again" not in log
    if cell.kind == "landlock as an ordinary user":
        # Nobody can tell whose a file in the machine's /dev/shm is.
        left = [name for name in reports["found"] if name.startswith("/dev/shm/left")]
        assert len(left) == 2
        for name in left:
            remove_tree(Path(name))
        reports["found"] = [name for name in reports["found"] if name not in left]
    assert reports["found"] == []
    assert reports["here"] == ["experiment.py"]
    assert (reports["left"], reports["module"]) == (False, False)
    assert reports["mode"] in ("0o40700", "0o41777") and reports["processors"] == len(os.sched_getaffinity(0))


def descendants() -> list[str]:
    found = psutil.Process().children(recursive=True)
    return sorted(process.name() for process in found if process.status() != psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("name", RESOURCES)
async def test_no_experiment_takes_more_than_its_share(cell: Cell, name: str) -> None:
    code, status, said = RESOURCES[name]
    before = descendants()
    outcome, _, _ = await cell.run(code, time_limit=2 if status == "timeout" else 60)
    assert outcome.status in ((status,) if isinstance(status, str) else status), outcome
    assert any(text in outcome.error for text in ((said,) if isinstance(said, str) else said)), outcome
    for file in Path("/dev/shm").glob("left-*"):
        assert cell.kind == "landlock as an ordinary user"
        file.unlink()
    outcome, _, log = await cell.run("pass")
    assert outcome.status == "ok" and "started again" not in log, (outcome, log)
    assert descendants() == before


LIBRARIES = {
    "boosters": """
        from lightgbm import LGBMClassifier
        from xgboost import XGBClassifier
        from catboost import CatBoostClassifier
        X, y = train[["a", "b", "c"]], train["y"]
        for model in (
            LGBMClassifier(n_estimators=20, n_jobs=2, verbose=-1),
            XGBClassifier(n_estimators=20, n_jobs=2),
            CatBoostClassifier(iterations=20, thread_count=2, verbose=0),
        ):
            assert model.fit(X, y).score(X, y) > 0.8
    """,
    "scikit-learn with processes": """
        from joblib import Parallel, delayed
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_score
        X, y = train[["a", "b", "c"]], train["y"]
        assert RandomForestClassifier(n_estimators=20, n_jobs=2).fit(X, y).score(X, y) > 0.9
        assert len(cross_val_score(LogisticRegression(), X, y, cv=3, n_jobs=2)) == 3
        pids = Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))
        assert os.getpid() not in pids
        big = np.zeros(1_000_000)
        assert Parallel(n_jobs=2, max_nbytes=1000)(delayed(np.sum)(big) for _ in range(2)) == [0.0, 0.0]
    """,
    "pools of processes": """
        import multiprocessing, threading
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing.shared_memory import SharedMemory
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
        with ProcessPoolExecutor(2) as pool:
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
        memory = SharedMemory(create=True, size=1000); memory.close(); memory.unlink()
        import asyncio, shutil, sqlite3, tempfile
        asyncio.run(asyncio.sleep(0))
        assert subprocess.run(["/bin/sh", "-c", "echo $((1+1))"], capture_output=True).stdout.strip() == b"2"
        with tempfile.NamedTemporaryFile() as file:
            shutil.copy2(file.name, "copy")
        sqlite3.connect("base.db").execute("create table t (x)").connection.commit()
    """,
}


@pytest.mark.parametrize("name", LIBRARIES)
async def test_libraries_work_inside(cell: Cell, name: str) -> None:
    outcome, _, log = await cell.run(LIBRARIES[name])
    assert outcome.status == "ok", (outcome.error, outcome.traceback, log)


async def test_forkservers_work_where_sockets_of_others_are_out_of_sight(cell: Cell) -> None:
    code = """
        import multiprocessing
        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
        with multiprocessing.Manager() as manager:
            assert list(manager.list([1])) == [1]
    """
    outcome, _, log = await cell.run(code)
    assert outcome.status == ("ok" if cell.sandbox.tier == "bubblewrap" else "crash"), (outcome, log)


async def test_sealed_copies_cannot_be_changed_by_their_owner(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"rows" * 1000)
    descriptor = sealed_copy(file)
    os.fchmod(descriptor, 0o666)
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    for act in (lambda: os.pwrite(again, b"x", 0), lambda: os.ftruncate(again, 1), lambda: os.ftruncate(again, 9999)):
        with pytest.raises(PermissionError):
            act()
    assert os.pread(descriptor, 8000, 0) == file.read_bytes()
    for number in (descriptor, again):
        os.close(number)


async def test_a_confinement_that_cannot_be_applied_ends_the_process() -> None:
    cases = {
        "root must become another user": Confinement("/tmp"),
        "could not be applied": Confinement("/tmp", user=12345, readable=("/not/there",)),
    }
    for said, confinement in cases.items():
        if os.geteuid() != 0 and confinement.user is None:
            continue
        command = [sys.executable, "-m", "experiments.confine", confinement.to_json()]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 1 and said in ended.stderr and "Traceback" not in ended.stderr
    with pytest.raises(ConfinementError, match="not a confinement"):
        Confinement.from_json('{"folder": "/tmp", "unknown": 1}')
    confine(Confinement("/tmp", enforced=False))


async def test_a_confinement_survives_its_command_line() -> None:
    confinement = Confinement("/x y", user=3, readable=("/usr",), writable=("/x y",), wiped=("/dev/shm",), network=True)
    assert Confinement.from_json(confinement.to_json()) == confinement


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
async def test_filters_jump_forward_and_end(machine: str) -> None:
    import struct

    for flags in range(8):
        program = build_filter(machine, network=bool(flags & 1), connect=bool(flags & 2), attributes=bool(flags & 4))
        steps = list(struct.iter_unpack("=HBBI", program))
        assert len(steps) < 4096 and steps[-1] == (0x06, 0, 0, 0x7FFF0000)
        for position, (opcode, yes, no, _) in enumerate(steps):
            if opcode & 0x07 == 0x05:
                assert position + 1 + max(yes, no) < len(steps)


async def test_what_is_asked_for_is_what_one_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_sandbox("off", LIMITS).tier == "off"
    package = Path(np.__file__).parent
    with pytest.raises(ComputeError, match="experiments can read") as refused:
        find_sandbox("auto", LIMITS, protected=[package / "workspace"])
    assert '"sandbox": "off"' in refused.value.hint
    false = shutil.which("false")
    monkeypatch.setattr("backends.compute.tiers.bwrap_program", lambda: false)
    with pytest.raises(ComputeError, match="bubblewrap does not work here: a process in it ended with code 1"):
        find_sandbox("bubblewrap", LIMITS)
    monkeypatch.setattr("backends.compute.tiers.landlock_abi", lambda: 0)
    with pytest.raises(ComputeError, match="this kernel has no Landlock") as failed:
        find_sandbox("auto", LIMITS)
    assert '"sandbox": "off"' in failed.value.hint


async def test_a_slot_may_be_given_more_to_read_and_the_network(world: World, tmp_path: Path) -> None:
    sandbox = _any()
    folder = Path(tempfile.mkdtemp(prefix="autokaggle-extra-"))
    folder.chmod(0o711)
    public = Path(world.public)
    for network in (False, True):
        launch = sandbox.launch("experiments.confine", folder / "slot", network=network, read_only=[public])
        code = f"""
import os, socket, sys
from experiments.confine import Confinement, confine
confine(Confinement.from_json(sys.argv[1]))
os.listdir({world.public!r})
try:
    socket.create_connection(("127.0.0.1", {world.port}))
    print("connected")
except OSError as error:
    print("refused")
"""
        argv = list(launch.argv)
        at = argv.index("-m")
        argv[at : at + 2] = ["-c", code]
        ended = await asyncio.to_thread(
            subprocess.run, argv, env=launch.environment, capture_output=True, text=True, cwd="/", check=False
        )
        assert ended.stdout == ("connected\n" if network else "refused\n"), ended.stderr
    assert remove_tree(folder)


def _any() -> Sandbox:
    try:
        return find_sandbox("auto", LIMITS)
    except ComputeError as error:
        pytest.skip(error.message)


async def test_limits_share_the_machine() -> None:
    one, four = Limits.share(1), Limits.share(4)
    assert one.memory > four.memory and four.memory * 4 < psutil.virtual_memory().total
    assert Limits.share(4, memory=123 * MB, processes=7).memory == 123 * MB


async def test_the_watchdog_counts_shared_memory_once(tmp_path: Path) -> None:
    code = """
import mmap, os, sys
shared = mmap.mmap(-1, 60 << 20)
shared.write(b"x" * (60 << 20))
children = [os.fork() for _ in range(2)]
for position in range(0, 60 << 20, 4096):
    shared[position]
print(flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    assert Watchdog(process.pid, replace(LIMITS, memory=130 * MB), tmp_path).check() is None
    said = Watchdog(process.pid, replace(LIMITS, memory=50 * MB), tmp_path).check()
    assert said is not None and "more than its 52 MB" in said
    watchdog = Watchdog(process.pid, LIMITS, tmp_path)
    (tmp_path / "big").write_bytes(b"x" * (65 * MB))
    assert "on disk, more than its 67 MB" in str(watchdog.check())
    process.stdin.close()
    process.wait()
    process.stdout.close()
    assert watchdog.check() is None


async def test_folders_of_any_depth_and_mode_are_removed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.write_text("stays")
    code = """
import os, sys
os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])
os.symlink(sys.argv[2], "link")
for number in range(1200):
    open("file", "w").close(); os.mkdir("d" * 60); os.chdir("d" * 60)
os.mkdir("closed"); open("closed/x", "w").close(); os.chmod("closed", 0); os.chmod(sys.argv[1], 0)
"""
    subprocess.run([sys.executable, "-c", code, str(folder), str(outside)], check=True)
    assert remove_tree(folder) and not folder.exists()
    assert outside.read_text() == "stays"
    assert remove_tree(folder)
