"""Making a workspace for a Kaggle competition: look it up, save its pages, fetch its data, find out what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokaggle_tui.datafiles import PACKED, DataFiles, check_kind, find_files, stage_files
from autokaggle_tui.groundwork import (
    check_data_folder,
    check_options,
    check_unused,
    publish,
    spec_settings,
    staging,
    write_guide,
    write_learnings,
)
from autokaggle_tui.pages import page_named, write_pages
from autokaggle_tui.sizes import size_text
from autokaggle_tui.usage import free_bytes
from autokaggle_tui.workspace import Workspace
from backends.platforms.base import CompetitionInfo, Progress, Source
from experiments.errors import DataError, PlatformError, WorkspaceError
from experiments.evaluation import NamedMetric, named_metric
from experiments.files import make_folder, write_atomic

if TYPE_CHECKING:
    from autokaggle_tui.intake import Given
    from backends.platforms.kaggle.credentials import Credentials

DOWNLOAD = "download"
"""Below ``cache/``: the data while they come, and until they have their place."""
COMPLETE = ".complete.json"


@dataclass(frozen=True)
class Wishes:
    """What a person said on the command line; None is detected."""

    target: str | None = None
    id_column: str | None = None
    metric: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    folds: int = 5
    seed: int = 42


def enrol_on_kaggle(workspace: Path, competition: str, wishes: Wishes) -> Iterator[str]:
    """Make a workspace for a competition on Kaggle, as :func:`enrol` says.

    Args:
        competition: Its name or its address.

    Raises:
        PlatformError: There are no credentials, or whatever ``enrol`` finds wrong.
    """
    from rich.console import Console

    from autokaggle_tui.intake import line
    from autokaggle_tui.progress import download_progress
    from backends.platforms.kaggle.client import KaggleClient
    from backends.platforms.kaggle.source import KaggleSource, competition_name

    slug = competition_name(competition)
    check_unused(Workspace(workspace.resolve()))
    client = KaggleClient.open()
    for text in account_lines(client.credentials):
        yield line("account", text)
    bar = download_progress(Console())
    yield from enrol(workspace, slug, KaggleSource(client), wishes, now=datetime.now(UTC), progress=bar)


def account_lines(credentials: Credentials) -> Iterator[str]:
    """Which credentials are used, which they hide, and what is wrong with others."""
    if credentials.used is not None:
        user = f"{credentials.used.user}, by " if credentials.used.user else ""
        yield f"{user}{credentials.used.where}"
    for other in credentials.shadowed:
        yield f"not used, hidden by it: {other.where}"
    yield from credentials.problems


def enrol(
    workspace: Path,
    slug: str,
    source: Source,
    wishes: Wishes,
    *,
    now: datetime,
    progress: AbstractContextManager[Progress],
) -> Iterator[str]:
    """Make a workspace for a competition of a platform; nothing that exists is overwritten.

    What an earlier call fetched is not fetched again: the same command goes on where the last one ended.

    Args:
        workspace: Its folder; made when missing.
        progress: Entered for the download alone.

    Yields:
        Lines for the person as things are done: what was found and chosen, and why.

    Raises:
        PlatformError: There is no such competition, its rules are not accepted, it is of a kind that cannot be
            played, or the platform could not be asked.
        WorkspaceError: The workspace holds a campaign or other data already, or its disk is too small.
        DataError: The data cannot be used, or what is to be predicted cannot be told.
        MetricError: The metric cannot be told, is unknown, or does not score this task.
    """
    from autokaggle_tui.intake import line

    check_options(wishes.target, wishes.id_column, wishes.group_column, wishes.time_column, wishes.folds, wishes.seed)
    workspace = workspace.resolve()
    check_unused(Workspace(workspace))
    info = source.competition(slug)
    yield line("competition", f"{info.slug}: {info.title}")
    yield from _conditions(info, now)
    check_open(info)
    check_kind(info.files)
    metric = _metric(info, wishes)
    knowledge = write_pages(workspace, info, now)
    yield line("pages", f"{', '.join(knowledge)}: part of every prompt" if knowledge else "none")
    folder = workspace / "cache" / DOWNLOAD
    files, there = _fetched(folder, info.slug), True
    if files is None:
        there = False
        _check_room(folder, info)
        with progress as tell:
            files = _unpacked(source.download(info.slug, folder, tell), tell)
        _mark(folder, info.slug, files)
    size = sum(path.stat().st_size for path in files)
    how = "fetched by an earlier call" if there else "downloaded and unpacked"
    yield line("files", f"{_names(files, folder)} ({size_text(size)}): {how}")
    yield from _found(workspace, info, wishes, metric, find_files(files, folder), folder, knowledge, now)


def check_open(info: CompetitionInfo) -> None:
    """Refuse a competition that this program cannot hand anything in to.

    Raises:
        PlatformError: It is closed, takes notebooks alone, or its rules are not accepted.
    """
    if info.closed:
        raise PlatformError(
            f"{info.slug} is closed: it takes no submissions any more, late ones neither.",
            hint="Choose another competition; its data can still be played with init --train, on the local platform.",
            fault="closed",
            address=info.url,
            maybe_sent=False,
        )
    if info.kernels_only:
        raise PlatformError(
            f"{info.slug} takes submissions from Kaggle notebooks alone; this version hands in files.",
            hint="Choose another competition; its data can still be played with init --train, on the local platform.",
            fault="notebooks-only",
            address=info.url,
            maybe_sent=False,
        )
    if info.rules_accepted is False:
        raise PlatformError(
            f"The rules of {info.slug} are not accepted yet, and no program can do that.",
            hint=f"Open {info.rules_url} in a browser, accept them, and give the same command again: it goes on.",
            fault="rules",
            address=info.rules_url,
            maybe_sent=False,
        )


def _conditions(info: CompetitionInfo, now: datetime) -> Iterator[str]:
    from autokaggle_tui.intake import line

    yield line("address", info.url)
    if info.deadline is None:
        yield line("deadline", "none")
    elif info.ended(now):
        late = "submissions are scored, and count no more"
        yield line("deadline", f"passed on {info.deadline:%Y-%m-%d %H:%M} UTC: {late}")
    else:
        days = (info.deadline - now).total_seconds() / 86_400
        left = f"{days:.0f} days" if days >= 2 else f"{24 * days:.0f} hours"
        yield line("deadline", f"{info.deadline:%Y-%m-%d %H:%M} UTC, {left} from now")
    limit = info.max_daily_submissions
    yield line(
        "limit", f"{limit} submissions a day (UTC)" if limit is not None else "5 submissions a day, as none is named"
    )
    if info.team_count:
        place = f", yours is {info.user_rank}." if info.user_rank else ""
        yield line("teams", f"{info.team_count:,}{place}")


def _metric(info: CompetitionInfo, wishes: Wishes) -> NamedMetric | None:
    """What the competition's own words name, before anything is fetched; None where the person says it."""
    if wishes.metric is not None:
        return None
    return named_metric(info.evaluation_metric, page_named(info, "evaluation"))


def _found(
    workspace: Path,
    info: CompetitionInfo,
    wishes: Wishes,
    metric: NamedMetric | None,
    files: DataFiles,
    folder: Path,
    knowledge: Sequence[str],
    now: datetime,
) -> Iterator[str]:
    """Find out what the files are, and give everything its place; config.json comes last."""
    from autokaggle_tui import intake
    from autokaggle_tui.config import Config, save_config
    from experiments.competition import read_competition

    given, said = _look(info, wishes, metric, files)
    yield from said
    detected = intake.detect(workspace, given)
    yield from detected.lines
    with staging(workspace) as staged:
        competition = read_competition(detected.spec, files.train, files.test, files.sample, metric=detected.metric)
        intake.check_folds(competition)
        yield from intake.describe(competition, None)
        stage_files(files, folder, staged)
        if files.sample is None:
            intake.write_sample(competition, detected.metric, staged)
        check_data_folder(workspace / "data", staged)
        settings: dict[str, Any] = {"competition": info.slug, "platform": "kaggle"}
        settings |= spec_settings(replace(competition.spec, name=info.slug))
        if info.deadline is not None and not info.ended(now):
            settings["deadline"] = info.deadline.isoformat()
        if info.max_daily_submissions is not None:
            settings["max_submissions_per_day"] = info.max_daily_submissions
        if knowledge:
            settings["knowledge_files"] = list(knowledge)
        config = Config.parse(settings, workspace)
        place = Workspace(workspace)
        written = [*write_learnings(place.learnings), *write_guide(workspace), *publish(staged, workspace / "data")]
        save_config(workspace, config)
    shutil.rmtree(folder, ignore_errors=True)
    for note in (*detected.notes, *competition.notes):
        yield intake.line("note", note)
    yield intake.line("written", f"{', '.join(['config.json', *written])} in {workspace}")


def _look(
    info: CompetitionInfo, wishes: Wishes, metric: NamedMetric | None, files: DataFiles
) -> tuple[Given, list[str]]:
    """Target, id, groups and time, from the files together; and the lines about them."""
    from autokaggle_tui.intake import AS_GIVEN, Given, line
    from experiments.detect import Choice, detect_id, top_labels
    from experiments.outline import detect_group, detect_target, detect_time
    from experiments.tables import read_table, read_text

    train, test = read_table(files.train), read_table(files.test)
    sample = read_text(files.sample) if files.sample is not None else None
    if sample is not None and "predictionstring" in {str(name).casefold() for name in sample.columns}:
        raise DataError(
            "The sample submission asks for a PredictionString: boxes and masks are not built yet.",
            hint="This version predicts classes and numbers, one for each row.",
        )
    ident: Choice[str | None] = Choice(wishes.id_column, AS_GIVEN)
    if wishes.id_column is None:
        ident = detect_id(train, test, sample, exclude=[wishes.target] if wishes.target else [])
    target = Choice(wishes.target, AS_GIVEN) if wishes.target else detect_target(train, test, sample, ident.value)
    why = {"id_column": ident.reason}
    name = wishes.metric
    if metric is not None:
        name = metric.name
        if name.endswith("@k"):
            columns = [column for column in sample.columns if column != ident.value] if sample is not None else []
            name = name.replace("@k", f"@{top_labels(sample[columns[0]]) if sample is not None and columns else 3}")
        why["metric"] = f"the competition is evaluated by '{metric.words}'"
    lines = [line("target", f"{target.value}: {target.reason}")]
    group, time = wishes.group_column, wishes.time_column
    taken = {name for name in (target.value, ident.value) if name}
    if group is None and time is None:
        later, together = detect_time(train, test, taken), detect_group(train, test, taken)
        # Folds follow one of them; what lies ahead cannot be had by any split of groups.
        if later is not None:
            time = later.value
            lines.append(line("time", f"{later.value}: {later.reason}; --group says otherwise"))
        elif together is not None:
            group = together.value
            lines.append(line("groups", f"{together.value}: {together.reason}"))
    given = Given(
        train=files.train,
        test=files.test,
        sample=files.sample,
        target=str(target.value),
        id_column=ident.value,
        metric=name,
        group_column=group,
        time_column=time,
        folds=wishes.folds,
        seed=wishes.seed,
        name=info.slug,
        why=why,
    )
    return given, lines


def _fetched(folder: Path, slug: str) -> tuple[Path, ...] | None:
    """The files that an earlier call fetched whole; None when there are none, or they are not as it left them."""
    try:
        kept = json.loads((folder / COMPLETE).read_text())
        if kept["competition"] != slug:
            return None
        files = {folder / name: size for name, size in kept["files"].items()}
        whole = all(path.is_file() and path.stat().st_size == size for path, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return tuple(files) if files and whole else None


def _unpacked(files: Sequence[Path], tell: Progress) -> tuple[Path, ...]:
    """The files, with tables in the place of archives that hold one each (``train.csv.zip``, as older data have it).

    Raises:
        PlatformError: An archive is damaged, or does not fit the disk.
    """
    from backends.platforms.kaggle.unpacking import unpack

    found: list[Path] = []
    for path in files:
        if path.name.casefold().endswith(PACKED):
            found += unpack(path, path.parent, None, tell)
            path.unlink()
        else:
            found.append(path)
    return tuple(dict.fromkeys(found))


def _mark(folder: Path, slug: str, files: Sequence[Path]) -> None:
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_atomic(folder / COMPLETE, (json.dumps({"competition": slug, "files": sizes}) + "\n").encode())


def _check_room(folder: Path, info: CompetitionInfo) -> None:
    """Refuse what cannot fit: the archive and what is unpacked from it.

    Raises:
        WorkspaceError: The disk is too small.
    """
    make_folder(folder)
    needed = sum(file.size or 0 for file in info.files)
    free = free_bytes(folder)
    if free is not None and needed > free:
        raise WorkspaceError(
            f"The data of {info.slug} take {size_text(needed)}, and {size_text(free)} are free in {folder.parent}.",
            hint="Make room, or give a folder on another disk with --workspace.",
        )


def _names(files: Sequence[Path], folder: Path, shown: int = 6) -> str:
    names = [path.relative_to(folder).as_posix() for path in files]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
