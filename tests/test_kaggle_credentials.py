"""Which of its ways Kaggle's client signs in with, and what that one hides."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.platforms.kaggle.credentials import find_credentials
from experiments.errors import PlatformError
from experiments.redaction import Redactor, known_secrets

TOKEN, OTHER, KEY, FILE_KEY, REFRESH = (
    "KGAT_a1b2c3d4e5f6",
    "KGAT_f6e5d4c3b2a1",
    "0a1b2c3d4e5f",
    "9f8e7d6c5b4a",
    "KGRT_1f2e3d",
)
ENV_TOKEN = {"KAGGLE_API_TOKEN": TOKEN}
ENV_KEY = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY}
TOKEN_FILE = {".kaggle/access_token": f"{OTHER}\n"}
JSON = {".kaggle/kaggle.json": json.dumps({"username": "bob", "key": FILE_KEY})}
OAUTH = {".kaggle/credentials.json": json.dumps({"refresh_token": REFRESH, "username": "cyd"})}
VARIABLE, PAIR = "the environment variable KAGGLE_API_TOKEN", "the environment variables KAGGLE_USERNAME and KAGGLE_KEY"


def put(home: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    return home


@pytest.mark.parametrize(
    ("environment", "files", "used", "shadowed"),
    [
        ({}, {}, None, []),
        (ENV_TOKEN, {}, VARIABLE, []),
        ({}, TOKEN_FILE, "~/.kaggle/access_token", []),
        ({}, {".kaggle/access_token.txt": OTHER}, "~/.kaggle/access_token.txt", []),
        (ENV_KEY, {}, PAIR, []),
        ({}, JSON, "~/.kaggle/kaggle.json", []),
        ({}, OAUTH, "~/.kaggle/credentials.json (kaggle auth login)", []),
        ({}, {".config/kaggle/kaggle.json": JSON[".kaggle/kaggle.json"]}, "~/.config/kaggle/kaggle.json", []),
        (
            {"XDG_CONFIG_HOME": "~/x"},
            {"x/kaggle/kaggle.json": JSON[".kaggle/kaggle.json"]},
            "~/x/kaggle/kaggle.json",
            [],
        ),
        ({"KAGGLE_CONFIG_DIR": "~/c"}, {"c/kaggle.json": JSON[".kaggle/kaggle.json"]}, "~/c/kaggle.json", []),
        # A folder ~/.kaggle hides ~/.config/kaggle, even when it is empty of a key.
        ({}, {".kaggle/x": "", ".config/kaggle/kaggle.json": JSON[".kaggle/kaggle.json"]}, None, []),
        (
            ENV_TOKEN | ENV_KEY,
            TOKEN_FILE | JSON | OAUTH,
            VARIABLE,
            [
                "~/.kaggle/access_token",
                PAIR,
                "~/.kaggle/kaggle.json",
                "~/.kaggle/credentials.json (kaggle auth login)",
            ],
        ),
        ({}, TOKEN_FILE | JSON, "~/.kaggle/access_token", ["~/.kaggle/kaggle.json"]),
        ({"KAGGLE_API_TOKEN": "~/t"}, {"t": OTHER}, "the file ~/t that KAGGLE_API_TOKEN names", []),
        (
            {"KAGGLE_USERNAME": "ada"},
            JSON,
            "the environment variable KAGGLE_USERNAME together with ~/.kaggle/kaggle.json",
            [],
        ),
        (
            {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KAGGLE_DATA_PROXY_URL": "x", "KAGGLE_API_V1_TOKEN": "~/t"} | ENV_TOKEN,
            {"t": OTHER},
            "this Kaggle notebook's own token (KAGGLE_API_V1_TOKEN)",
            [VARIABLE],
        ),
    ],
)
def test_the_order_of_credentials(
    environment: dict[str, str], files: dict[str, str], used: str | None, shadowed: list[str], tmp_path: Path
) -> None:
    given = {name: value.replace("~", str(tmp_path)) for name, value in environment.items()}
    found = find_credentials(given, put(tmp_path, files))

    def spoken(where: str) -> str:
        return where.replace(str(tmp_path), "~")

    assert (found.used and spoken(found.used.where)) == used
    assert [spoken(one.where) for one in found.shadowed] == shadowed


@pytest.mark.parametrize(
    ("environment", "files", "problem"),
    [
        ({}, {".kaggle/kaggle.json": "{username:"}, "kaggle.json cannot be read: it is not JSON"),
        ({}, {".kaggle/kaggle.json": "[1]"}, "it is not a JSON object"),
        ({}, {".kaggle/kaggle.json": '{"username": "ada"}'}, "does not hold a username and a key"),
        ({"KAGGLE_USERNAME": "ada"}, {}, "KAGGLE_USERNAME is set and KAGGLE_KEY is not"),
        ({"KAGGLE_KEY": KEY}, {}, "KAGGLE_KEY is set and KAGGLE_USERNAME is not"),
        ({}, {".kaggle/access_token": "  \n"}, "access_token is empty"),
        ({}, {".kaggle/access_token": "two words"}, "access_token does not hold a token"),
        ({"KAGGLE_API_TOKEN": "my töken"}, {}, "KAGGLE_API_TOKEN does not hold a token"),
        ({}, {".kaggle/credentials.json": '{"access_token": "x"}'}, "holds no refresh token"),
    ],
)
def test_what_cannot_be_used_is_named(
    environment: dict[str, str], files: dict[str, str], problem: str, tmp_path: Path
) -> None:
    found = find_credentials(environment, put(tmp_path, files))
    assert found.used is None and problem in found.problems[0]
    with pytest.raises(PlatformError, match="No Kaggle credentials") as error:
        found.demand()
    assert error.value.fault == "no-credentials" and problem in error.value.message
    assert "https://www.kaggle.com/settings/api" in error.value.hint


def test_a_key_that_others_can_read_is_used_with_a_warning(tmp_path: Path) -> None:
    put(tmp_path, JSON)
    (tmp_path / ".kaggle/kaggle.json").chmod(0o644)
    found = find_credentials({}, tmp_path)
    assert found.used is not None and "chmod 600" in found.problems[0]


def test_no_value_is_shown_and_every_value_is_known_as_a_secret(tmp_path: Path) -> None:
    home = put(
        tmp_path, TOKEN_FILE | JSON | OAUTH | {".config/kaggle/kaggle.json": '{"username": "e", "key": "5a4b3c2d1e"}'}
    )
    environment = ENV_TOKEN | ENV_KEY
    shown = repr(find_credentials(environment, home))
    values = (TOKEN, OTHER, KEY, FILE_KEY, REFRESH)
    assert not [value for value in values if value in shown]
    hidden = Redactor(known_secrets(environment, home)).hide(" ".join((*values, "5a4b3c2d1e")))
    assert not [value for value in (*values, "5a4b3c2d1e") if value in hidden]
