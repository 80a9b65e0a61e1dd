"""Secrets of the environment and of Kaggle's file reach nothing that the program writes or shows."""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autokaggle_tui.live import Live
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.standin import obey_now
from autokaggle_tui.workspace import Workspace
from experiments import redaction
from experiments.errors import DataError
from experiments.redaction import Redactor, known_secrets, looks_like_key, without_credentials
from experiments.registry import Registry
from experiments.schema import open_viewer

KEYS = {
    "KAGGLE_KEY": "canary0kaggle1key2f3a9",
    "KAGGLE_API_TOKEN": "KGAT_canary4token5c6b7e8d",
    "ANTHROPIC_API_KEY": "sk-ant-canary-7Zq/8+x9=w0",
    "OPENAI_API_KEY": "sk-proj-canary-a1b2c3d4e5f6a7b8",
    "MY_SECRET": "canary 'quoted' \"ü\" 0b1c",
}
FILE_KEY = "canary9file8key7d6e5"
USER = "canary-user-5150"
ENGINE = """
import sys
from pathlib import Path
from autokaggle_tui.launching import Start, start_engine
from autokaggle_tui.workspace import Workspace
sys.exit(start_engine(Workspace(Path(sys.argv[1])), Start(rounds=1)).wait())
"""
THIEF = """
import hashlib, os, re
from pathlib import Path

WANTED = {wanted!r}


def loot():
    yield repr(dict(os.environ))
    warm = os.getppid()
    status = Path(f"/proc/{{warm}}/status")
    engine = re.search(r"PPid:\\s*(\\d+)", status.read_text())[1] if status.exists() else warm
    files = [Path({home!r}) / ".kaggle" / "kaggle.json", *(Path(f"/proc/{{pid}}/environ") for pid in (warm, engine))]
    for file in files:
        try:
            yield file.read_text(errors="replace")
        except OSError:
            pass


def fit_predict(train, valid, test, ctx):
    found = " ".join(loot())
    print(found)
    for word in set(re.split(r'[\\0\\s=,{{}}"]+', found)):
        if hashlib.sha256(word.encode()).hexdigest() in WANTED:
            print("STOLEN", hashlib.sha256(word.encode()).hexdigest())
    ctx.report(env=found[:400])
    raise RuntimeError(found)
"""


@dataclass
class Campaign:
    """A workspace whose owner keeps secrets, and what every command printed."""

    workspace: Workspace
    home: Path
    environment: dict[str, str]
    said: list[bytes] = field(default_factory=list)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program with the secrets in its environment."""
        done = subprocess.run([sys.executable, *arguments], env=self.environment, capture_output=True)
        self.said += [done.stdout, done.stderr]
        return done

    def command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the command line."""
        return self.run("-m", "autokaggle_tui", *arguments, "-w", str(self.workspace.root))

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """All that was written or shown."""
        for path in self.home.parent.rglob("*"):
            if path.is_file() and not path.is_relative_to(self.home) and path.name != "thief.py":
                yield str(path), path.read_bytes()
        for said in self.said:
            yield "printed", said


def forms(secret: str) -> dict[str, bytes]:
    """A secret as it may be found in bytes."""
    plain = secret.encode()
    found = {
        "plain": plain,
        "reversed": plain[::-1],
        "hex": plain.hex().encode(),
        "json": json.dumps(secret)[1:-1].encode(),
    }
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        # Without the characters that share bits with the neighbours.
        found[f"base64 at {shift}"] = whole[4 if shift else 0 : -2]
    return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A round played, a thief tried, a hint given, a bug met and a wrong config read."""
    place = tmp_path_factory.mktemp("canaries")
    home = place / "home"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": USER, "key": FILE_KEY}))
    (place / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    environment |= {**KEYS, "KAGGLE_USERNAME": USER, "HOME": str(home), "TMPDIR": str(place / "tmp")}
    environment |= {"AUTOKAGGLE_DATA_HOME": str(place / "data"), "AUTOKAGGLE_STATE_HOME": str(place / "state")}
    before = os.environ.get("AUTOKAGGLE_DATA_HOME")
    os.environ["AUTOKAGGLE_DATA_HOME"] = environment["AUTOKAGGLE_DATA_HOME"]
    try:
        made = Campaign(Workspace(demo_workspace(place / "demo")), home, environment)
    finally:
        os.environ.pop("AUTOKAGGLE_DATA_HOME") if before is None else os.environ.update(AUTOKAGGLE_DATA_HOME=before)
    wanted = {hashlib.sha256(secret.encode()).hexdigest() for secret in (*KEYS.values(), FILE_KEY, USER)}
    (place / "thief.py").write_text(THIEF.format(wanted=wanted, home=str(home)))
    assert made.run("-c", ENGINE, str(made.workspace.root)).returncode == 0
    assert made.command("try", str(place / "thief.py")).returncode == 1
    assert made.command("hint", f"submit with {KEYS['KAGGLE_KEY']}").returncode == 0
    assert made.command("hint", f"ask {KEYS['OPENAI_API_KEY']}").returncode == 2, "it looks like a key"
    for arguments in (
        ["status"],
        ["status", "--json"],
        ["rounds"],
        ["rounds", "--json"],
        ["show", "T01"],
        ["show", "R01"],
    ):
        assert made.command(*arguments).returncode == 0
    assert made.command("show", "T01", "--json").returncode == 0
    assert made.command("show", KEYS["KAGGLE_KEY"]).returncode == 2
    connection = sqlite3.connect(made.workspace.facts, isolation_level=None)
    connection.execute(
        "CREATE TRIGGER bug BEFORE UPDATE ON commands BEGIN "
        f"SELECT RAISE(ABORT, 'GET https://{USER}:{KEYS['KAGGLE_KEY']}@kaggle.com?key={FILE_KEY}'); END"
    )
    connection.execute("INSERT INTO commands (uuid, verb, at) VALUES ('u', 'retro', 0)")
    assert made.command("--no-ui").returncode == 1
    connection.execute("DROP TRIGGER bug")
    connection.close()
    # The engine's own copy of the registry holds the trigger, which no engine would write.
    max(made.workspace.backups.glob("autokaggle-*.db"), key=lambda path: path.stat().st_mtime_ns).unlink()
    settings = made.workspace.config.read_text()
    for wrong in (
        settings.replace("roc_auc", KEYS["MY_SECRET"].replace('"', "")),
        settings.replace("roc_auc", FILE_KEY),
    ):
        made.workspace.config.write_text(wrong)
        assert made.command("--no-ui").returncode == 1
    made.workspace.config.write_text(settings)
    return made


def test_the_thief_found_something_and_it_was_taken_out(campaign: Campaign):
    """Else the other tests would show nothing."""
    log = (campaign.workspace.rounds / "T01_run.log").read_text()
    assert "OMP_WAIT_POLICY" in log, "it printed its environment"
    assert "Bug: " in b"".join(campaign.said).decode(errors="replace")
    assert "[KAGGLE_KEY hidden]" in (campaign.workspace.root / "engine.log").read_text()


def test_no_secret_is_in_anything_that_was_written_or_shown(campaign: Campaign):
    count = 0
    for where, content in campaign.everything():
        count += 1
        for name, secret in {**KEYS, "kaggle.json": FILE_KEY}.items():
            for form, needle in forms(secret).items():
                assert needle not in content, f"{name} ({form}) is in {where}"
    assert count > 30


def test_the_thief_itself_saw_no_secret(campaign: Campaign):
    assert "STOLEN" not in (campaign.workspace.rounds / "T01_run.log").read_text()


def test_a_workers_own_environment_has_no_secret(campaign: Campaign):
    log = (campaign.workspace.rounds / "T01_run.log").read_text()
    own = log[log.index("{") : log.index("}")]
    assert "AUTOKAGGLE_SLOT" in own
    assert not [name for name in (*KEYS, "KAGGLE_USERNAME") if name in own]


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[None]:
    redaction.arm(KEYS, tmp_path)
    yield
    redaction.disarm()


def test_facts_never_hold_a_secret(tmp_path: Path, armed: None):
    told = []
    registry = Registry(tmp_path / "autokaggle.db")
    registry.on_event = told.append
    registry.event("warning", text=f"HTTP 401: {KEYS['KAGGLE_KEY']}", nested={"a": [KEYS["MY_SECRET"]]})
    registry.set_fact("x", KEYS["KAGGLE_API_TOKEN"])
    registry.insert(
        "conversations", role="builder", generation=1, round=1, message={"content": KEYS["MY_SECRET"]}, at=0.0
    )
    registry.close()
    assert told[0]["data"] == {"text": "HTTP 401: [KAGGLE_KEY hidden]", "nested": {"a": ["[MY_SECRET hidden]"]}}
    assert b"canary" not in (tmp_path / "autokaggle.db").read_bytes()


def test_a_secret_that_a_model_says_in_two_pieces_stays_out_of_live(tmp_path: Path, armed: None):
    live = Live(tmp_path / "live.db")
    key = KEYS["KAGGLE_KEY"]
    live.say("builder", "text", f"it is {key[:7]}")
    live.say("builder", "text", f"{key[7:]}.")
    live.log("R01", 0, key)
    live.close()
    assert b"canary" not in (tmp_path / "live.db").read_bytes()


def test_the_engine_takes_a_secret_out_of_a_command_that_another_process_wrote(tmp_path: Path, armed: None):
    workspace = Workspace(tmp_path)
    Registry(workspace.facts).close()
    connection = sqlite3.connect(workspace.facts, isolation_level=None)
    args = json.dumps({"text": f"try {KEYS['KAGGLE_KEY']}"})
    connection.execute("INSERT INTO commands (uuid, verb, args, at) VALUES ('u', 'hint', ?, 0)", [args])
    obey_now(workspace)
    assert connection.execute("SELECT args FROM commands").fetchone()[0] == '{"text": "try [KAGGLE_KEY hidden]"}'
    connection.close()
    viewer = open_viewer(workspace.facts)
    assert "canary" not in viewer.execute("SELECT group_concat(data) FROM events").fetchone()[0]
    viewer.close()


def test_messages_for_a_person_hold_no_secret(armed: None):
    error = DataError(f"GET https://x?key={KEYS['ANTHROPIC_API_KEY']} failed", hint=KEYS["KAGGLE_KEY"])
    assert "canary" not in f"{error}{error.args}{error!r}"


def test_every_spelling_of_a_secret_is_hidden():
    key = KEYS["ANTHROPIC_API_KEY"]
    hider = Redactor({"K": key})
    for text in (
        key,
        "sk-ant-canary-7Zq%2F8%2Bx9%3Dw0",
        base64.b64encode(key.encode()).decode(),
        json.dumps({"a": key}),
    ):
        assert "K hidden" in hider.hide(f"<{text}>"), text
    assert hider.hide_bytes(f"a {key} b".encode()) == b"a [K hidden] b"
    assert hider.hide("nothing") == "nothing"


def test_what_is_no_secret_is_left_alone(tmp_path: Path):
    environment = {
        "TOKENIZERS_PARALLELISM": "false-negative-1",
        "OPENAI_API_KEY": "anything",
        "X_TOKEN": "00000000",
        "A_KEY": "short1",
        "SSH_KEY": "/home/me/.ssh/id_ed25519",
        "KAGGLE_USERNAME": "somebody-1234",
    }
    assert known_secrets(environment, tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"[]", b'{"key": 7}', b"\xff\xfe", b"[" * 50_000],
    ids=["empty", "cut", "list", "number", "bytes", "deep"],
)
def test_a_damaged_kaggle_json_hides_nothing_and_stops_nothing(content: bytes, tmp_path: Path):
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_bytes(content)
    assert known_secrets({}, tmp_path) == []


def test_programs_of_a_person_get_their_own_secrets_and_not_the_engines():
    environment = {**KEYS, "KAGGLE_USERNAME": USER, "AWS_SECRET_ACCESS_KEY": "x", "NTFY_TOKEN": "t", "PATH": "/bin"}
    assert set(without_credentials(environment)) == {"MY_SECRET", "NTFY_TOKEN", "PATH"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"use {KEYS['OPENAI_API_KEY']}!", True),
        ("KGAT_0123456789abcdef0123", True),
        ("look at sk-learn-contrib/imbalanced-learn", False),
        ("the id encodes the date", False),
        ("hf_hub is slow", False),
    ],
)
def test_keys_are_known_by_their_shape(text: str, key: bool):
    assert looks_like_key(text) is key
