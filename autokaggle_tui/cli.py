"""The command line. Heavy imports wait until a command needs them: ``--help`` and ``status`` answer at once."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from autokaggle_tui import __version__
from autokaggle_tui.interrupts import leaving_at_once, run_to_end
from autokaggle_tui.looks import LOOKS
from autokaggle_tui.options import (
    A_PATH,
    format_option,
    headless_option,
    place_at,
    place_of,
    record_option,
    rounds_option,
    time_option,
    workspace_option,
)
from autokaggle_tui.program import Program, run_program
from autokaggle_tui.verbs import VERBS
from autokaggle_tui.workspace import Workspace
from experiments.errors import ModelError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from autokaggle_tui.launching import Start

# The time limit of a run counts from here: imports and reading the data are part of it.
STARTED = time.monotonic()
DEMO = "breast-cancer"
COMES_UP_SECONDS = 120.0


@click.group(
    name="autokaggle-tui",
    cls=Program,
    help="An autonomous Kaggle loop: three agents research, plan, review, code and learn, round after round.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@workspace_option
@headless_option
@rounds_option
@time_option
@click.option("--model", metavar="ROLE=MODEL", multiple=True, help="Another model for a role, for this run only.")
@record_option
@format_option
@click.version_option(__version__, message="autokaggle-tui %(version)s", help="Print the version and exit.")
@click.pass_context
def app(
    ctx: click.Context,
    workspace: Path | None,
    no_ui: bool,
    rounds: int | None,
    time_limit: str | None,
    model: tuple[str, ...],
    record: Path | None,
    log_format: str,
) -> None:
    """Run the loop in a workspace (see `init` and `demo`). The same command continues an unfinished run."""
    if ctx.invoked_subcommand is None:
        _run(place_of(ctx, workspace), no_ui, rounds, time_limit, model, record, log_format)


def _run(
    workspace: Workspace,
    no_ui: bool,
    rounds: int | None,
    time_limit: str | None,
    model: Sequence[str],
    record: Path | None,
    log_format: str,
) -> None:
    from autokaggle_tui.durations import parse_duration

    if log_format not in ("text", "json"):
        raise UsageError(f"--log-format {log_format!r} is neither text nor json.")
    limit = None if time_limit is None else parse_duration(time_limit)
    models = _models(model)
    # The engine may be a process of its own.
    record = None if record is None else record.resolve()
    if not no_ui:
        from autokaggle_tui.launching import Start

        # A running engine read its settings when it began.
        if workspace.engine_pid() is None:
            _check_config(workspace)
        _screen(workspace, Start(rounds, limit, models, record))
        return
    # The engine reads data and trains: its imports take seconds, so settings are checked first.
    _check_config(workspace)
    with leaving_at_once():
        from autokaggle_tui.engine import RunOptions, run_engine
        from autokaggle_tui.headless import listener

    options = RunOptions(rounds, limit, models, started=STARTED, record=record)
    code = run_to_end(run_engine(workspace, options, listener(log_format)))
    if code:
        raise Exit(code)


def _check_config(workspace: Workspace) -> None:
    from autokaggle_tui.config import load_config

    load_config(workspace.root)


def _screen(workspace: Workspace, start: Start | None) -> None:
    """Look at a workspace; ``start`` says how to start an engine when none runs, None starts nothing."""
    # In a browser's tab the terminal is at the other end. Textual draws on stderr.
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    if "TEXTUAL_DRIVER" not in os.environ and (not terminal or os.environ.get("TERM") == "dumb"):
        raise UsageError("the screen needs a terminal; use --no-ui.")
    # Until the first frame next to nothing becomes garbage; looking for it is a tenth of the start.
    gc.disable()
    with leaving_at_once():
        from autokaggle_tui.ui.app import AutokaggleApp

    screen = AutokaggleApp(workspace, start)
    screen.run()
    if screen.return_code:
        raise Exit(screen.return_code)


def _models(given: Sequence[str]) -> dict[Any, str]:
    from backends.models.names import check_model

    chosen = {}
    for item in given:
        role, sign, name = item.partition("=")
        if not sign or role not in ("researcher", "builder", "reviewer"):
            raise UsageError(f"--model {item!r} is not ROLE=MODEL.", hint="Roles: researcher, builder, reviewer.")
        try:
            check_model(name)
        except ModelError as error:
            raise UsageError(f"--model {item}: {error.message}.", hint=error.hint) from None
        chosen[role] = name
    return chosen


@app.command()
@click.option("--workspace", "-w", type=A_PATH, help="The demo's folder.", show_default="./demo")
@headless_option
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds to play, then end.")
@time_option
@record_option
@format_option
@click.option("--prepare", is_flag=True, hidden=True, help="Make the folder and play nothing.")
@click.pass_context
def demo(
    ctx: click.Context,
    workspace: Path | None,
    no_ui: bool,
    rounds: int,
    time_limit: str | None,
    record: Path | None,
    log_format: str,
    prepare: bool,
) -> None:
    """Play three rounds of an embedded competition in a folder of its own (./demo)."""
    given = workspace or ctx.find_root().params.get("workspace")
    place = place_at(ctx, Path(given or "demo").resolve())
    if no_ui or prepare:
        with leaving_at_once():
            from autokaggle_tui.setup import demo_workspace

        demo_workspace(place.root)
    else:
        _prepare_demo(place)
    if not prepare:
        _run(place, no_ui, rounds, time_limit, (), record, log_format)


def _prepare_demo(place: Workspace) -> None:
    """Make the demo's folder in a process of its own: the screen's must not carry what that imports."""
    import subprocess

    from autokaggle_tui.config import load_config
    from autokaggle_tui.launching import MODULE

    if place.config.is_file() and load_config(place.root).competition.startswith(DEMO):
        return
    with leaving_at_once():
        made = subprocess.run([*MODULE, "demo", "--prepare", "-w", str(place.root)], check=False)
    if made.returncode:
        raise Exit(made.returncode)


@app.command()
@workspace_option
@click.pass_context
def attach(ctx: click.Context, workspace: Path | None) -> None:
    """Open the screen without starting an engine: from a second terminal, or over ssh."""
    from experiments.schema import open_viewer

    place = place_of(ctx, workspace)
    # An engine that comes up has no registry in its first seconds.
    if place.engine_pid() is None:
        open_viewer(place.facts).close()
    _screen(place, None)


@app.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; one that other machines reach needs a token.",
)
@click.option(
    "--token",
    envvar="AUTOKAGGLE_SERVE_TOKEN",
    show_envvar=True,
    help="What a browser has to show, as /?token=... once.",
)
@click.option("--attach", "only_attach", is_flag=True, help="Start no engine.")
@workspace_option
@click.pass_context
def serve(
    ctx: click.Context, port: int, host: str, token: str | None, only_attach: bool, workspace: Path | None
) -> None:
    """Open the screen in a browser: on this machine, or with a token from another."""
    from autokaggle_tui.config import load_config
    from autokaggle_tui.launching import ensure_engine, last_words

    with leaving_at_once():
        from autokaggle_tui.serving import TOKEN_VARIABLE, check_access
        from autokaggle_tui.serving import serve as serve_screens

    # Neither the engine nor the screens are to know it.
    os.environ.pop(TOKEN_VARIABLE, None)
    place = place_of(ctx, workspace)
    load_config(place.root)
    check_access(host, token)
    launch = None if only_attach else ensure_engine(place)
    if launch is not None and launch.wait_until_up(COMES_UP_SECONDS) == "ended" and place.engine_pid() is None:
        raise WorkspaceError(f"the engine did not come up:\n{last_words(place)}")
    serve_screens(place, host, port, token)


@app.command()
@click.argument("competition", required=False, metavar="[SLUG]")
@click.option("--train", type=A_PATH, help="Training data of your own: CSV, CSV.gz or Parquet.")
@click.option("--target", help="The column to predict; needed with --train.")
@click.option("--test", type=A_PATH, help="Test data; without it a private test is held back.")
@click.option("--sample-submission", type=A_PATH, help="What a submission looks like.")
@click.option("--id", "id_column", help="The column that names the rows.")
@click.option("--metric", help="e.g. roc_auc, rmse, accuracy; detected when not given.")
@click.option("--group", help="Column whose values never straddle folds.")
@click.option("--time", "time_column", help="Column that orders the rows in time.")
@click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Cross-validation folds.")
@click.option("--name", help="What to call a competition of your own.")
@workspace_option
@click.pass_context
def init(
    ctx: click.Context,
    competition: str | None,
    train: Path | None,
    target: str | None,
    test: Path | None,
    sample_submission: Path | None,
    id_column: str | None,
    metric: str | None,
    group: str | None,
    time_column: str | None,
    folds: int,
    name: str | None,
    workspace: Path | None,
) -> None:
    """Make a workspace, saying what was chosen and why.

    SLUG is the name of a Kaggle competition, or its address; with --train it is made from your own files instead.
    """
    own = {"--train": train, "--test": test, "--sample-submission": sample_submission, "--name": name}
    place = place_of(ctx, workspace).root
    if competition is not None:
        given = [option for option, value in own.items() if value is not None]
        if given:
            raise UsageError(
                f"init takes the data of {competition} from Kaggle: {' and '.join(given)} cannot be given with it.",
                hint="Leave the options out, or leave the name out and give --train.",
            )
        with leaving_at_once():
            from autokaggle_tui.enrolment import Wishes, enrol_on_kaggle

        wishes = Wishes(target, id_column, metric, group, time_column, folds)
        for line in enrol_on_kaggle(place, competition, wishes):
            print(line, flush=True)
        return
    if train is None or target is None:
        missing = "--train" if train is None else "--target"
        raise UsageError(
            f"init needs the name of a Kaggle competition, or --train and --target; {missing} is missing.",
            hint="autokaggle-tui init playground-series-s6e4, or autokaggle-tui init --train FILE --target COLUMN.",
        )
    with leaving_at_once():
        from autokaggle_tui.setup import init_local

    lines = init_local(
        place,
        train,
        test=test,
        sample=sample_submission,
        target=target,
        id_column=id_column,
        metric=metric,
        group_column=group,
        time_column=time_column,
        folds=folds,
        name=name,
    )
    for line in lines:
        print(line)


@app.command("try")
@click.argument("file", type=A_PATH, metavar="FILE.py", help="A file with fit_predict(train, valid, test, ctx).")
@workspace_option
@format_option
@click.pass_context
def try_file(ctx: click.Context, file: Path, workspace: Path | None, log_format: str) -> None:
    """Run your own experiment through the same sealed folds, into the pool."""
    place = place_of(ctx, workspace)
    with leaving_at_once():
        from autokaggle_tui.headless import listener
        from autokaggle_tui.trying import try_experiment

    code = run_to_end(try_experiment(place, file, listener(log_format)))
    if code:
        raise Exit(code)


for command in (*LOOKS, *VERBS):
    app.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    run_program(app)


if __name__ == "__main__":
    main()
