"""What the user is told of each way in which Kaggle fails; and the private names that the adapter leans on."""

import importlib.metadata
import inspect
import json
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backends.backoff import Backoff
from backends.platforms.kaggle.client import KaggleClient, Patience
from backends.platforms.kaggle.credentials import find_credentials
from backends.platforms.kaggle.source import KaggleSource
from experiments import redaction
from experiments.errors import PlatformError
from tests.emulators.kaggle import DROP, KEY, RATE, REFRESH, RENEWED, TOKEN, USER, Fault, KaggleServer
from tests.emulators.server import closed_port
from tests.kaggles import AT_ONCE, HASTY, client_of, platform_of, server, submission

__all__ = ["server"]


def told(server: KaggleServer, **given: str) -> PlatformError:
    """What is told of a competition that cannot be looked up."""
    with pytest.raises(PlatformError) as error:
        KaggleSource(client_of(server, **given)).competition(server.task.slug)
    return error.value


def test_each_credential_signs_in(server: KaggleServer, tmp_path: Path) -> None:
    for given in ({"KAGGLE_API_TOKEN": TOKEN}, {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}):
        assert KaggleSource(client_of(server, **given)).competition(server.task.slug).title == server.task.title


def test_a_sign_in_by_the_browser_is_renewed_once_and_kept(server: KaggleServer, tmp_path: Path) -> None:
    kept = tmp_path / ".kaggle" / "credentials.json"
    kept.parent.mkdir()
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    kept.write_text(
        json.dumps({"refresh_token": REFRESH, "access_token": "old", "access_token_expiration": past, "x": 1})
    )
    kept.chmod(0o600)
    for _ in range(2):
        client = client_of(server, home=tmp_path, XDG_CONFIG_HOME="/nonexistent")
        for _ in range(2):
            KaggleSource(client).competition(server.task.slug)
    data = json.loads(kept.read_text())
    assert server.calls("GenerateAccessToken") == 1
    assert data["access_token"] == RENEWED and data["x"] == 1 and kept.stat().st_mode & 0o777 == 0o600


def test_a_refused_credential_is_named_with_those_that_it_hides(server: KaggleServer) -> None:
    error = told(server, KAGGLE_API_TOKEN="KGAT_stale000stale111", KAGGLE_USERNAME=USER, KAGGLE_KEY=KEY)
    assert error.fault == "credentials" and not error.passing
    assert "credentials from the environment variable KAGGLE_API_TOKEN: Unauthenticated" in error.message
    assert "hides: the environment variables KAGGLE_USERNAME and KAGGLE_KEY" in error.hint
    assert server.calls("GetCompetition") == 1


@pytest.mark.parametrize(
    ("fault", "kind", "message", "calls"),
    [
        (Fault("status", 404, "Not found"), "no-competition", "Kaggle knows no competition 'tumours-s1e1'", 1),
        (
            Fault("status", 403, "Permission 'competitions.get' was denied"),
            "no-competition",
            "does not show it to this account: Permission 'competitions.get' was denied.",
            1,
        ),
        (Fault("status", 403, "no", "RulesAcceptanceRequired"), "rules", "rules of tumours-s1e1 are not accepted", 1),
        (RATE, "rate", "did not answer for the competition tumours-s1e1 (HTTP 429): Too many requests.", 3),
        (
            Fault("status", 500, "Oops"),
            "server",
            "could not answer for the competition tumours-s1e1 (HTTP 500): Oops.",
            3,
        ),
        (Fault("status", 503, "Oops"), "server", "(HTTP 503)", 3),
        (Fault("status", 418, "Tea"), "other", "Kaggle refused the competition tumours-s1e1 (HTTP 418): Tea.", 1),
        (DROP, "network", "could not be asked for the competition tumours-s1e1", 3),
        (Fault("page"), "server", "is not Kaggle's answer", 3),
    ],
)
def test_what_the_user_is_told(server: KaggleServer, fault: Fault, kind: str, message: str, calls: int) -> None:
    server.fail_always("GetCompetition", fault)
    error = told(server)
    assert error.fault == kind and message in error.message
    assert error.passing == (calls > 1) == (kind in ("rate", "server", "network"))
    assert server.calls("GetCompetition") == calls
    if kind == "rules":
        assert error.address == "https://www.kaggle.com/competitions/tumours-s1e1/rules" and error.address in error.hint


@pytest.mark.parametrize("fault", [RATE, Fault("status", 502), DROP, Fault("page")])
def test_what_passes_is_tried_again(server: KaggleServer, fault: Fault) -> None:
    server.fail("GetCompetition", fault, fault)
    assert KaggleSource(client_of(server)).competition(server.task.slug).title == server.task.title


def test_pauses_are_as_long_as_kaggle_asks_and_no_longer_than_bearable(server: KaggleServer) -> None:
    slept: list[float] = []
    patience = Patience(5, 5, Backoff(attempts=3, draw=lambda low, high: high), slept.append)
    server.fail("GetCompetition", Fault("status", 429, headers={"Retry-After": "7"}), Fault("status", 500))
    KaggleSource(client_of(server, patience)).competition(server.task.slug)
    assert slept == [7.0, 4.0]
    server.fail("GetCompetition", Fault("status", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(PlatformError, match="asked too often"):
        KaggleSource(client_of(server, patience)).competition(server.task.slug)
    assert len(slept) == 2


def test_silence_ends(server: KaggleServer) -> None:
    server.fail_always("GetCompetition", Fault("slow", seconds=30))
    with pytest.raises(PlatformError, match="no answer within the time limit") as error:
        KaggleSource(client_of(server, HASTY)).competition(server.task.slug)
    assert error.value.fault == "network"


def test_nobody_there() -> None:
    given = {"AUTOKAGGLE_KAGGLE_URL": f"http://127.0.0.1:{closed_port()}", "KAGGLE_API_TOKEN": TOKEN}
    with pytest.raises(PlatformError, match="no connection") as error:
        KaggleSource(KaggleClient.open(given, Path("/nonexistent"), AT_ONCE)).competition("x")
    assert error.value.fault == "network" and not error.value.maybe_sent


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "file:///etc/passwd", "kaggle"])
def test_credentials_go_to_no_other_address(address: str) -> None:
    with pytest.raises(PlatformError, match="AUTOKAGGLE_KAGGLE_URL"):
        KaggleClient.open({"AUTOKAGGLE_KAGGLE_URL": address, "KAGGLE_API_TOKEN": TOKEN}, Path("/nonexistent"))


def test_no_credential_gets_into_an_error_or_what_lies_behind_it(
    server: KaggleServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Kaggle, or something in between, may say the token back.
    canary = "KGAT_canary7654321canary"
    server.tokens.add(canary)
    for name in ("GetCompetition", "ListSubmissions", "StartSubmissionUpload", "Put"):
        for fault in (Fault("status", 500, f"bad {canary}"), Fault("status", 400, canary), DROP, Fault("page")):
            server.heal()
            server.fail_always(name, fault)
            client = client_of(server, KAGGLE_API_TOKEN=canary)
            platform = platform_of(server)
            platform._client = client
            file, sha = submission(server, tmp_path)
            with pytest.raises(PlatformError) as error:
                KaggleSource(client).competition(server.task.slug)
                platform.submit(file, "t0ken", sha, server.clock())
            shown = "".join(traceback.format_exception(error.value)) + repr(vars(error.value))
            assert canary not in shown and error.value.__cause__ is None
    assert canary in str(server.received)
    assert canary not in redaction.hide(f"engine says {canary}")
    assert "".join(capfd.readouterr()) == ""


def test_calls_come_from_any_thread(server: KaggleServer) -> None:
    source, titles = KaggleSource(client_of(server)), []
    threads = [
        threading.Thread(target=lambda: titles.append(source.competition(server.task.slug).title)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert titles == [server.task.title] * 8


def test_kaggle_is_not_imported_before_it_is_asked(tmp_path: Path) -> None:
    code = """
import sys
import autokaggle_tui.cli, autokaggle_tui.config
import backends.platforms.kaggle.platform, backends.platforms.kaggle.source, backends.platforms.kaggle.research
from backends.platforms.kaggle.client import KaggleClient
KaggleClient.open({"KAGGLE_API_TOKEN": "KGAT_0000111122223333"})
assert not {"kaggle", "kagglesdk", "requests"} & set(sys.modules), sorted(sys.modules)
KaggleClient.open({"KAGGLE_API_TOKEN": "KGAT_0000111122223333"}).sdk
assert "kagglesdk" in sys.modules and "kaggle" not in sys.modules
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_private_names_that_are_leaned_on() -> None:
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    # Another version wants backends/platforms/kaggle/sdk.py read again.
    assert importlib.metadata.version("kagglesdk") == "0.1.37"
    assert importlib.metadata.version("kaggle") == "2.2.4"
    arguments = inspect.signature(KaggleHttpClient).parameters
    assert {"env", "user_agent"} <= set(arguments)
    call = inspect.getsource(KaggleHttpClient.call)
    for used in ("self._init_session()", "self._session.send", "self._prepare_response(response_type"):
        assert used in call
    address = inspect.getsource(KaggleHttpClient._get_request_url)
    assert "self._endpoint" in address and "KaggleEnv.PROD" in address
    http: Any = KaggleHttpClient.BearerAuth("x")
    assert http.token == "x"


def test_without_the_library_the_user_is_told_what_to_install(
    server: KaggleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "backends.platforms.kaggle.sdk", None)
    assert "pip install kaggle==2.2.4" in told(server).hint


def test_nobody_signs_in_without_credentials() -> None:
    with pytest.raises(PlatformError) as error:
        KaggleClient(find_credentials({}, Path("/nonexistent")))
    assert error.value.fault == "no-credentials"
