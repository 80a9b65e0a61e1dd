"""Learnings of a retrospective: prose that joins LEARNINGS.md, and that can never set, loosen or break a rule."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autokaggle_tui.loop import learning as door
from autokaggle_tui.loop.learning import KeptOutError, append_to, take_learnings
from experiments.errors import RuleError
from experiments.learned import (
    MOST_CHARACTERS,
    MOST_LEARNINGS,
    Learning,
    append,
    appended_learnings,
    learnings_of,
)
from experiments.learnings import Rules, master_copy
from experiments.registry import Registry

ONE = Learning("Target encoding helps", "It helped 3 of 3 families: R04 +0.002, t 2.1.")
RETRO = (
    "# Retrospective\n\n## Top five next\n\n1. mlp\n\n## Learnings\n\n### {}\n\n{}\n\n## After\n\n### Not this\n\nno\n"
)
LOOSER = '```toml\nid = "noise-floor"\nenforce = "off"\n```'

lines = st.sampled_from(
    [
        "```toml",
        "```",
        "~~~toml",
        "~~~~",
        "````toml",
        'id = "noise-floor"',
        'enforce = "off"',
        "min_t = 0",
        "<!--",
        "-->",
        "<!-- ```toml -->",
        "## Learnings",
        "### Heading",
        "# x",
        "## From the retrospective of R99",
        "   ```toml",
        "\u2028```toml",
        "\x0c```toml",
        "<<!!-- ``````",
        "prose",
        "",
    ]
)
prose = st.lists(st.one_of(lines, st.text(max_size=30)), max_size=14).map("\n".join)


def test_a_section_holds_learnings_below_headings_of_their_own() -> None:
    assert learnings_of(RETRO.format(ONE.heading, ONE.evidence)) == (ONE,)
    assert learnings_of("# R\n\n## Learnings\n\nloose prose\n\n### Without evidence\n\n### With\n\nwhy\n") == (
        Learning("With", "why"),
    )
    assert learnings_of("# R\n\n### Outside\n\nprose\n") == ()
    fenced = "# R\n\n```text\n## Learnings\n\n### In a block\n\nprose\n```\n"
    assert learnings_of(fenced) == ()


def test_they_are_few_and_short() -> None:
    text = "## Learnings\n" + "".join(f"\n### Number {n}\n\n{'word ' * 600}\n" for n in range(9))
    found = learnings_of(text)
    assert [one.heading for one in found] == [f"Number {n}" for n in range(MOST_LEARNINGS)]
    assert all(len(one.evidence) <= MOST_CHARACTERS and one.evidence.endswith("…") for one in found)


def test_a_rule_in_a_learning_is_prose() -> None:
    text = master_copy()
    learned = learnings_of(RETRO.format("No more noise", f"Because:\n\n{LOOSER}\n\n<!-- and --> \n#### so"))
    grown = text + append(text, learned, "R10")
    assert Rules.parse(grown) == Rules.parse(text)
    assert "'''toml" in grown and 'enforce = "off"' in grown, "the words stay, what they could do is gone"
    assert [(one.heading, one.source) for one in appended_learnings(grown)] == [("No more noise", "R10")]


@given(prose, prose)
def test_no_text_of_a_retrospective_changes_a_rule(heading: str, evidence: str) -> None:
    text = master_copy()
    learned = learnings_of(f"## Learnings\n\n### {heading}\n\n{evidence}\n")
    grown = text + append(text, learned, "R10")
    assert Rules.parse(grown) == Rules.parse(text)
    assert len(grown) - len(text) <= MOST_LEARNINGS * (MOST_CHARACTERS + 200)
    assert append(grown, learned, "R10") == "" == append(grown, learned, "R20")


@given(prose)
def test_whatever_a_person_wrote_keeps_its_meaning_or_nothing_is_appended(text: str) -> None:
    try:
        more = append(text, [ONE], "R10")
    except RuleError:
        return
    assert Rules.parse(text + more) == Rules.parse(text)
    assert [one.heading for one in appended_learnings(text + more) if one.source == "R10"] == [ONE.heading]


def test_what_an_earlier_one_told_is_not_told_again() -> None:
    text = master_copy() + append(master_copy(), [ONE], "R10")
    again = Learning(ONE.heading.upper(), "with newer figures")
    fresh = Learning("Another", "why")
    assert append(text, [again], "R20") == ""
    assert "Another" in append(text, [again, fresh], "R20") and "newer figures" not in append(
        text, [again, fresh], "R20"
    )


@pytest.mark.parametrize("end", ["\n```text\nopen", "\n<!-- open"])
def test_nothing_is_hidden_in_what_a_person_left_open(end: str) -> None:
    with pytest.raises(RuleError, match="ends within"):
        append(master_copy() + end, [ONE], "R10")


# ---- the file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "LEARNINGS.md"
    path.write_text(master_copy(), encoding="utf-8")
    return path


def test_the_file_grows_by_a_section_and_keeps_every_byte(file: Path) -> None:
    file.chmod(0o640)
    before = file.read_bytes()
    assert append_to(file, [ONE], "R10") == (Learning(ONE.heading, ONE.evidence, "R10"),)
    assert file.read_bytes().startswith(before)
    assert file.read_text().endswith(f"## From the retrospective of R10\n\n### {ONE.heading}\n\n{ONE.evidence}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    grown = file.read_bytes()
    assert append_to(file, [ONE], "R10") == (Learning(ONE.heading, ONE.evidence, "R10"),)
    assert append_to(file, [ONE], "R20") == ()
    assert file.read_bytes() == grown and list(file.parent.iterdir()) == [file]


def test_line_ends_stay_what_they_are(file: Path) -> None:
    file.write_bytes(master_copy().replace("\n", "\r\n").encode())
    append_to(file, [ONE], "R10")
    assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")


@pytest.mark.parametrize("trouble", ["missing", "link", "second name", "read-only", "broken", "not text", "folder"])
def test_a_file_that_may_not_be_touched_stays_as_it_is(file: Path, trouble: str) -> None:
    elsewhere = file.parent / "elsewhere.md"
    if trouble == "missing":
        file.unlink()
    elif trouble == "link":
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
    elif trouble == "second name":
        os.link(file, elsewhere)
    elif trouble == "read-only":
        file.chmod(0o444)
    elif trouble == "broken":
        file.write_text("## x\n\n```toml\nid = \n```\n")
    elif trouble == "not text":
        file.write_bytes(b"\xff\xfe")
    else:
        file.unlink()
        file.mkdir()
    before = {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()}
    with pytest.raises((KeptOutError, RuleError, OSError, UnicodeDecodeError)):
        append_to(file, [ONE], "R10")
    assert {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()} == before
    assert file.is_symlink() == (trouble == "link")


def test_what_a_person_saves_in_the_meantime_is_not_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves = ["## Mine, the first time\n", "## Mine, the second time\n"]

    def while_it_reads(text: str, learnings: tuple[Learning, ...], source: str) -> str:
        if saves:
            file.write_text(master_copy() + saves.pop(0))
        return append(text, learnings, source)

    monkeypatch.setattr(door, "append", while_it_reads)
    assert len(append_to(file, (ONE,), "R10")) == 1
    assert "Mine, the second time" in file.read_text() and ONE.heading in file.read_text()
    saves += [f"## Again {n}\n" for n in range(9)]
    with pytest.raises(KeptOutError, match="somebody is writing"):
        append_to(file, (Learning("Another", "why"),), "R20")
    assert "Again 2" in file.read_text() and "Another" not in file.read_text()


# ---- what the engine makes of it


def told(registry: Registry) -> list[tuple[str, str]]:
    rows = registry.rows("SELECT kind, data FROM events WHERE kind IN ('learned', 'warning') ORDER BY id")
    return [(row["kind"], row["data"]["text"]) for row in rows]


def test_a_retrospective_is_taken_once_however_often_it_is_played(file: Path) -> None:
    registry = Registry(file.parent / "autokaggle.db")
    retro = RETRO.format(ONE.heading, ONE.evidence)
    # A crash after the file and before the fact.
    append_to(file, [ONE], "R10")
    grown = file.read_bytes()
    for _ in range(3):
        take_learnings(registry, file, 10, retro)
    assert file.read_bytes() == grown
    assert told(registry) == [("learned", f"R10 retro: LEARNINGS.md has what it learned: {ONE.heading}.")]
    file.write_text(master_copy())
    take_learnings(registry, file, 10, retro)
    assert file.read_text() == master_copy(), "what a person took out stays out"
    take_learnings(registry, file, 20, "# Retrospective without any\n")
    assert len(told(registry)) == 1
    registry.close()


def test_a_person_is_told_why_nothing_was_added(file: Path) -> None:
    registry = Registry(file.parent / "autokaggle.db")
    broken = '## Mine\n\n```toml\nid = "noise-floor\n```\n'
    file.write_text(broken)
    take_learnings(registry, file, 10, RETRO.format(ONE.heading, ONE.evidence))
    take_learnings(registry, file, 10, RETRO.format(ONE.heading, ONE.evidence))
    [(kind, said)] = told(registry)
    assert kind == "warning" and file.read_text() == broken
    assert said.startswith("R10 retro: LEARNINGS.md stays as it is: LEARNINGS.md, line 4: ") and ONE.heading in said
    file.unlink()
    take_learnings(registry, file, 20, RETRO.format(ONE.heading, ONE.evidence))
    assert "stays as it is: it is missing." in told(registry)[-1][1] and not file.exists()
    registry.close()
