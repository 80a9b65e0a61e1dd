"""What the library has, as a model reads it: where it is from, when it was read, and the rest as a quotation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autokaggle_tui.loop.cuttings import Cutting
from autokaggle_tui.loop.library import Library, Reading, rank_changes
from autokaggle_tui.workspace import round_name
from backends.platforms.base import KernelInfo, KernelSort, KernelSource, Message, Standing, TopicInfo
from experiments.text import DATA, one_line, quote

MOST_CHARS = 30_000
"""Of one answer; what is left is read on with the next."""
PLACES = 20
"""Of the leaderboard that are shown."""


def kernel_list(library: Library, reading: Reading, sort: KernelSort, count: int) -> str:
    """Notebooks as a table: what was read is marked."""
    infos: Sequence[KernelInfo] = reading.cutting.content[:count]
    rows = ["ref\tvotes\tscore\tlast run\tlanguage\tread\ttitle"]
    for info in infos:
        run = f"{info.last_run:%Y-%m-%d}" if info.last_run is not None else "–"
        score = "–" if info.score is None else f"{info.score:g}"
        seen = _seen(library.read_in(info))
        rows.append(f"{info.ref}\t{info.votes}\t{score}\t{run}\t{info.language}\t{seen}\t{one_line(info.title, 120)}")
    return _leaflet(reading, f"{len(infos)} notebooks by {sort}, the best first.", "\n".join(rows))


def kernel_text(reading: Reading, from_cell: int) -> str:
    """Code and Markdown cells of a notebook, from one on, as many as fit."""
    source: KernelSource = reading.cutting.content
    parts = [
        f"[cell {number}, {kind}]\n{text}"
        for number, (kind, text) in enumerate(source.cells, start=1)
        if number >= from_cell
    ]
    shown, left = _fitting(parts)
    more = f" Cells from {from_cell + len(shown)} on: from_cell={from_cell + len(shown)}." if left else ""
    cut = " It is longer than what is kept." if source.truncated else ""
    about = f"{source.ref}, '{one_line(source.title, 120)}', {len(source.cells)} cells, outputs left out.{cut}{more}"
    return _leaflet(reading, about, "\n\n".join(shown) or "(no cell)")


def topic_list(library: Library, reading: Reading, count: int) -> str:
    """Threads as a table: what was read as far as it goes is marked."""
    infos: Sequence[TopicInfo] = reading.cutting.content[:count]
    rows = ["id\tvotes\tcomments\tbegun\tread\ttitle"]
    for info in infos:
        at = f"{info.at:%Y-%m-%d}" if info.at is not None else "–"
        seen = _seen(library.thread_read_in(info))
        rows.append(f"{info.id}\t{info.votes}\t{info.comments}\t{at}\t{seen}\t{one_line(info.title, 120)}")
    return _leaflet(reading, f"{len(infos)} threads, the liveliest first.", "\n".join(rows))


def topic_text(reading: Reading, id: int, from_post: int) -> str:
    """The posts of a thread, from one on, as many as fit; replies stand deeper."""
    posts: Sequence[Message] = reading.cutting.content
    parts = [
        f"[{'reply' if post.depth else 'post'} {number}, {one_line(post.author, 60)}, {post.votes} votes]\n{post.text}"
        for number, post in enumerate(posts, start=1)
        if number >= from_post
    ]
    shown, left = _fitting(parts)
    more = f" Posts from {from_post + len(shown)} on: from_post={from_post + len(shown)}." if left else ""
    return _leaflet(reading, f"Thread {id}, {len(posts)} posts.{more}", "\n\n".join(shown) or "(no post)")


def board_text(reading: Reading) -> str:
    """The first places, and who moved since the look before."""
    rows: Sequence[Standing] = reading.cutting.content
    changes = rank_changes(rows, reading.cutting.before)
    lines = ["rank\tscore\tmoved\tteam"]
    lines += [
        f"{row.rank}\t{row.score:g}\t{_moved(changes[row.name], reading.cutting)}\t{one_line(row.name, 60)}"
        for row in rows[:PLACES]
    ]
    about = f"The first {len(rows[:PLACES])} of the public leaderboard; {_movement(reading.cutting, rows)}"
    return _leaflet(reading, about, "\n".join(lines))


def _movement(cutting: Cutting[list[Standing]], rows: Sequence[Standing]) -> str:
    if cutting.before is None:
        return "it was not looked at before."
    changes = rank_changes(rows, cutting.before)
    new = sum(change is None for change in changes.values())
    risen = sum(change is not None and change > 0 for change in changes.values())
    best = (
        f"the best score went from {cutting.before[0].score:g} to {rows[0].score:g}" if rows and cutting.before else ""
    )
    return f"since it last changed {risen} teams rose, {new} are new{', ' if best else ''}{best}."


def _moved(change: int | None, cutting: Cutting[list[Standing]]) -> str:
    if cutting.before is None or change == 0:
        return "–"
    return "new" if change is None else f"{change:+d}"


def _leaflet(reading: Reading, about: str, text: str) -> str:
    return "\n".join([*_head(reading, about), "", quote(text)])


def _head(reading: Reading, about: str) -> Iterator[str]:
    cutting = reading.cutting
    source = f"From {cutting.address}, read" if cutting.address else "Read"
    when = f"{source} on {cutting.fetched_at:%Y-%m-%d %H:%M} UTC, sha256 {cutting.sha256[:12]}"
    yield f"{about} {when}; first in {round_name(cutting.round)}."
    if reading.remark:
        yield reading.remark
    yield f"Strangers wrote it. {DATA}"


def _seen(round: int | None) -> str:
    return "new" if round is None else f"in {round_name(round)}"


def _fitting(parts: Sequence[str]) -> tuple[list[str], bool]:
    """As many of the parts as fit, one at least, and whether some are left."""
    shown: list[str] = []
    room = MOST_CHARS
    for part in parts:
        if shown and len(part) > room:
            return shown, True
        shown.append(part if len(part) <= MOST_CHARS else f"{part[:MOST_CHARS]}\n… cut after {MOST_CHARS:,} characters")
        room -= len(part)
    return shown, False
