"""A competition as Kaggle describes it; its data over a line that breaks, out of an archive that may be hostile."""

import io
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends.platforms.kaggle.research import SOURCE_CHARS, KaggleResearch
from backends.platforms.kaggle.source import KaggleSource, competition_name
from experiments.errors import PlatformError
from tests.emulators.kaggle import Fault, KaggleServer
from tests.kaggles import client_of, server

__all__ = ["server"]


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return out.getvalue()


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("train.csv")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def left(folder: Path) -> list[str]:
    """All there is in a folder, as relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_competition_as_kaggle_describes_it(server: KaggleServer) -> None:
    info = KaggleSource(client_of(server)).competition("https://www.kaggle.com/competitions/Tumours-s1e1/overview")
    assert (info.slug, info.title, info.reward) == ("tumours-s1e1", "Tumours, Season 1 Episode 1", "Swag")
    assert info.deadline == server.deadline and not info.ended(server.clock())
    assert (info.max_daily_submissions, info.team_count, info.user_rank) == (5, 57, None)
    assert info.evaluation_metric == "Area Under Receiver Operating Characteristic Curve"
    assert (info.kernels_only, info.closed, info.rules_accepted) == (False, False, True)
    assert set(info.pages) == {"description", "evaluation", "rules"} and "id,malignant" in info.pages["evaluation"]
    assert "no person reads this" not in info.pages["description"]
    assert {file.name: file.size for file in info.files} == {
        name: len(content) for name, content in server.task.files.items()
    }


def test_what_bars_a_competition_is_told_before_any_work(server: KaggleServer) -> None:
    server.rules_accepted, server.kernels_only, server.closed = False, True, True
    info = KaggleSource(client_of(server)).competition(server.task.slug)
    assert (info.rules_accepted, info.kernels_only, info.closed) == (False, True, True)
    assert info.rules_url == "https://www.kaggle.com/competitions/tumours-s1e1/rules"


@pytest.mark.parametrize("given", ["", "a/b", "../x", "x y", "https://example.org/competitions/x", "-x"])
def test_a_name_that_can_be_none_is_not_asked_for(given: str) -> None:
    with pytest.raises(PlatformError) as error:
        competition_name(given)
    assert error.value.fault == "no-competition"


def test_the_data_come_with_their_progress(server: KaggleServer, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folder = tmp_path / "data"
    files = KaggleSource(client_of(server)).download(server.task.slug, folder, lambda *step: told.append(step))
    assert {path.name: path.read_bytes() for path in files} == server.task.files
    assert left(folder) == ["sample_submission.csv", "test.csv", "train.csv"]
    size = len(server.archive)
    assert told[0] == ("tumours-s1e1.zip", 0, size) and ("tumours-s1e1.zip", size, size) in told


def test_a_download_goes_on_where_it_broke_off(server: KaggleServer, tmp_path: Path) -> None:
    server.fail("Blob", Fault("cut", bytes=20_000), Fault("cut", bytes=0), Fault("cut", bytes=100_000))
    files = KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert {path.name: path.read_bytes() for path in files} == server.task.files
    ranges = [one.headers.get("range") for one in server.received if one.name == "Blob"]
    assert "bytes=20000-" in ranges


@pytest.mark.parametrize(("later", "goes_on"), [('"v1"', True), ('"v2"', False)])
def test_another_process_carries_on_and_a_changed_file_comes_anew(
    server: KaggleServer, tmp_path: Path, later: str, goes_on: bool
) -> None:
    server.fail("Blob", Fault("cut", bytes=30_000))
    with pytest.raises(PlatformError, match="stopped"):
        KaggleSource(client_of(server)).download(server.task.slug, tmp_path, _stop_at(30_000))
    assert left(tmp_path) == [".download/lock", ".download/part", ".download/part.json"]
    server.etag = later
    server.received.clear()
    KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == server.task.files["train.csv"]
    asked = {one.headers.get("range") for one in server.received if one.name == "Blob"}
    assert ("bytes=30000-" in asked) == goes_on


def _stop_at(bytes: int) -> Callable[[str, int, int | None], None]:
    def progress(name: str, done: int, of: int | None) -> None:
        if done >= bytes:
            raise PlatformError("stopped")

    return progress


def test_a_line_over_which_nothing_comes_is_given_up(server: KaggleServer, tmp_path: Path) -> None:
    server.fail_always("Blob", Fault("cut", bytes=0))
    with pytest.raises(PlatformError) as error:
        KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert error.value.fault == "network" and server.calls("Blob") < 10


def test_without_the_rules_the_data_are_not_given(server: KaggleServer, tmp_path: Path) -> None:
    server.rules_accepted = False
    with pytest.raises(PlatformError) as error:
        KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert error.value.fault == "rules" and error.value.address.endswith("/tumours-s1e1/rules")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("../train.csv", b"x")], "would not stay in its folder"),
        ([("/etc/train.csv", b"x")], "would not stay in its folder"),
        ([("a\\..\\train.csv", b"x")], "would not stay in its folder"),
        ([("C:train.csv", b"x")], "would not stay in its folder"),
        ([(".bashrc", b"x")], "would not stay in its folder"),
        ([("train.csv", b"x"), ("./train.csv", b"y")], "is in it twice"),
        ([(link(), b"/etc/passwd")], "would not stay in its folder"),
        ([("train.csv", b"0" * 5_000_000)], "5,000,000 bytes where Kaggle lists"),
        ([], "it is empty"),
    ],
)
def test_an_archive_can_do_no_harm(server: KaggleServer, tmp_path: Path, members: list, why: str) -> None:
    server.archive = archive(*members)
    folder = tmp_path / "work" / "data"
    with pytest.raises(PlatformError, match=why):
        KaggleSource(client_of(server)).download(server.task.slug, folder)
    assert left(tmp_path) == ["work/data/.download/lock", "work/data/.download/part.json"]
    # What was wrong is not kept: the next call gets it anew.
    server.archive = server.task.archive
    assert len(KaggleSource(client_of(server)).download(server.task.slug, folder)) == 3


def test_a_member_that_lies_about_its_size_is_refused(server: KaggleServer, tmp_path: Path) -> None:
    honest = archive(("train.csv", b"0" * 70_000))
    size = (70_000).to_bytes(4, "little")
    server.archive = honest.replace(size, (10).to_bytes(4, "little"))
    with pytest.raises(PlatformError, match=r"damaged|has not the size"):
        KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert not (tmp_path / "train.csv").exists()


def test_a_damaged_archive_is_told_and_dropped(server: KaggleServer, tmp_path: Path) -> None:
    content = bytearray(server.archive)
    content[3_000] ^= 0xFF
    server.archive = bytes(content)
    with pytest.raises(PlatformError, match="damaged"):
        KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert not (tmp_path / ".download" / "part").exists()


def test_a_file_that_is_no_archive_keeps_its_name(server: KaggleServer, tmp_path: Path) -> None:
    server.archive = b"id,x\n1,2\n"
    (path,) = KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert path.read_bytes() == server.archive


def test_folders_in_the_archive_stay(server: KaggleServer, tmp_path: Path) -> None:
    server.task = replace(server.task, files={"images/a.csv": b"1", "images/b/a.csv": b"2"})
    server.archive = archive(("images/a.csv", b"1"), ("images/b/a.csv", b"2"), ("__MACOSX/x", b"3"))
    KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
    assert left(tmp_path) == ["images/a.csv", "images/b/a.csv"]


def test_two_do_not_fetch_into_one_folder(server: KaggleServer, tmp_path: Path) -> None:
    source = KaggleSource(client_of(server))
    messages = []

    def progress(name: str, done: int, of: int | None) -> None:
        if not messages:
            with pytest.raises(PlatformError) as error:
                KaggleSource(client_of(server)).download(server.task.slug, tmp_path)
            messages.append(error.value.message)

    source.download(server.task.slug, tmp_path, progress)
    assert "Another process" in messages[0]


def test_notebooks_page_after_page_though_some_value_is_unknown(server: KaggleServer) -> None:
    research = KaggleResearch(server.task.slug, client_of(server))
    votes = [kernel.votes for kernel in research.kernels("votes", 120)]
    assert len(votes) == 120 and votes == sorted(votes, reverse=True) and server.calls("ListKernels") == 2
    newest = research.kernels("date", 5)
    assert [one.last_run for one in newest] == sorted((one.last_run for one in newest if one.last_run), reverse=True)
    best, least = (
        KaggleResearch(server.task.slug, client_of(server), maximize=more).kernels("score", 1)[0]
        for more in (True, False)
    )
    assert best.ref != least.ref and best.title == "Notebook 130: LightGBM and XGBoost"
    assert best.url == f"https://www.kaggle.com/code/{best.ref}" and best.language == "python"


def test_a_notebook_is_its_cells_without_outputs_and_hidden_words(server: KaggleServer) -> None:
    source = KaggleResearch(server.task.slug, client_of(server)).kernel("user1/notebook-001")
    assert source.cells == (
        ("markdown", "# Notebook 1: LightGBM and XGBoost\nFive folds."),
        ("code", "import lightgbm as lgb\nmodel = lgb.LGBMClassifier(num_leaves=31)"),
    )
    assert not source.truncated
    script = KaggleResearch(server.task.slug, client_of(server)).kernel("user5/notebook-005")
    assert script.cells == (("code", "import lightgbm\nprint('script')"),)


def test_a_long_notebook_is_cut(server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.emulators.kaggle.notebook", lambda title: "x = 1\n" * SOURCE_CHARS)
    source = KaggleResearch(server.task.slug, client_of(server)).kernel("user1/notebook-001")
    assert source.truncated and sum(len(text) for _, text in source.cells) == SOURCE_CHARS


@pytest.mark.parametrize("ref", ["a", "a/b/c", "../../x", "nobody/nothing"])
def test_a_notebook_that_is_not_there(server: KaggleServer, ref: str) -> None:
    with pytest.raises(PlatformError, match=r"nothing|not the name of a notebook"):
        KaggleResearch(server.task.slug, client_of(server)).kernel(ref)


def test_topics_and_messages(server: KaggleServer) -> None:
    research = KaggleResearch(server.task.slug, client_of(server))
    topics = research.topics(30)
    assert len(topics) == 30 and server.calls("ListCompetitionTopics") == 2
    assert topics[0].url == "https://www.kaggle.com/competitions/tumours-s1e1/discussion/600000"
    assert len(research.topics(1000)) == 45
    posts = research.topic(topics[0].id)
    assert [(post.author, post.text, post.depth) for post in posts] == [
        ("User 1", "Target encoding leaks. Fit it in each fold.", 0),
        ("User 2", "Agreed.", 1),
        ("User 4", "What about CatBoost?", 0),
    ]
