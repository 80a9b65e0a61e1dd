"""What the tests of Kaggle share: the emulator, and clients that ask it without waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.backoff import Backoff
from backends.platforms.kaggle.client import KaggleClient, Patience
from backends.platforms.kaggle.platform import KagglePlatform
from experiments import redaction
from experiments.files import sha256_file
from tests.emulators.kaggle import TOKEN, KaggleServer

AT_ONCE = Patience(connect=5.0, read=5.0, backoff=Backoff(attempts=3), sleep=lambda _seconds: None)
HASTY = Patience(connect=5.0, read=0.3, backoff=Backoff(attempts=2), sleep=lambda _seconds: None)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleServer]:
    """The emulator; nothing of this machine's own Kaggle is there."""
    for name in [name for name in os.environ if name.startswith("KAGGLE_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with KaggleServer() as running:
        yield running
    redaction.disarm()


def client_of(
    server: KaggleServer, patience: Patience = AT_ONCE, home: Path | None = None, **given: str
) -> KaggleClient:
    """A client that signs in with a token, or as the given variables say."""
    environment = {"AUTOKAGGLE_KAGGLE_URL": server.url, **(given or {"KAGGLE_API_TOKEN": TOKEN})}
    return KaggleClient.open(environment, home or Path("/nonexistent"), patience)


def platform_of(server: KaggleServer, patience: Patience = AT_ONCE) -> KagglePlatform:
    """The competition of the emulator."""
    return KagglePlatform(server.task.slug, client_of(server, patience))


def submission(server: KaggleServer, folder: Path, seed: int = 0, name: str = "") -> tuple[Path, str]:
    """A valid file and its sha256."""
    file = folder / (name or f"R{seed:02}_submission.csv")
    file.write_bytes(server.task.submission(0.6, seed))
    return file, sha256_file(file)
