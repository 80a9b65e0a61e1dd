"""The command line. Heavy imports wait until a command needs them: ``--help`` and ``status`` answer at once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from autokaggle_tui import __version__
from autokaggle_tui.interrupts import leaving_at_once, run_to_end
from autokaggle_tui.launching import MODULE, Start, ensure_engine, last_words
from autokaggle_tui.program import Program, run_program
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, ModelError, UsageError, WorkspaceError
from experiments.redaction import hide

# The time limit of a run counts from here: imports and reading the data are part of it.
STARTED = time.monotonic()
DEMO = "breast-cancer"
COMES_UP_SECONDS = 120.0

app = typer.Typer(
    name="autokaggle-tui",
    cls=Program,
    help="An autonomous Kaggle loop: three agents research, plan, review, code and learn, round after round.",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="The campaign's folder.", show_default="this folder")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RoundsOption = Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds to play, then end.")]
TimeOption = Annotated[
    str | None, typer.Option("--time-limit", metavar="DURATION", help="Wall time of the run: 300s, 45m, 2h, 1h30m.")
]
HeadlessOption = Annotated[bool, typer.Option("--no-ui", help="Run headless in the foreground, without the screen.")]
FormatOption = Annotated[str, typer.Option("--log-format", help="text, or json: one event a line.")]
ModelOption = Annotated[
    list[str] | None, typer.Option("--model", metavar="ROLE=MODEL", help="Another model for a role, for this run only.")
]


def _workspace(ctx: typer.Context, given: Path | None) -> Workspace:
    """The folder given after the command, before it, or the current one."""
    chosen = given or (ctx.find_root().params.get("workspace")) or Path()
    return _open(ctx, Path(chosen).resolve())


def _open(ctx: typer.Context, folder: Path) -> Workspace:
    """The workspace; from now on it is the place that errors are about."""
    ctx.find_root().obj = Workspace(folder)
    return Workspace(folder)


def _say(value: Any) -> None:
    print(hide(json.dumps(value, indent=1, ensure_ascii=False)))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"autokaggle-tui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def run(
    ctx: typer.Context,
    workspace: WorkspaceOption = None,
    no_ui: HeadlessOption = False,
    rounds: RoundsOption = None,
    time_limit: TimeOption = None,
    model: ModelOption = None,
    log_format: FormatOption = "text",
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run the loop in a workspace (see `init` and `demo`). The same command continues an unfinished run."""
    if ctx.invoked_subcommand is None:
        _run(_workspace(ctx, workspace), no_ui, rounds, time_limit, model, log_format)


def _run(
    workspace: Workspace,
    no_ui: bool,
    rounds: int | None,
    time_limit: str | None,
    model: list[str] | None,
    log_format: str,
) -> None:
    from autokaggle_tui.config import load_config
    from autokaggle_tui.durations import parse_duration

    if log_format not in ("text", "json"):
        raise UsageError(f"--log-format {log_format!r} is neither text nor json.")
    limit = None if time_limit is None else parse_duration(time_limit)
    models = _models(model or [])
    load_config(workspace.root)
    if not no_ui:
        _screen(workspace, Start(rounds, limit, models))
        return
    # The engine reads data and trains: its imports take seconds, so settings are checked first.
    with leaving_at_once():
        from autokaggle_tui.engine import RunOptions, run_engine
        from autokaggle_tui.headless import listener

    options = RunOptions(rounds, limit, models, started=STARTED)
    code = run_to_end(run_engine(workspace, options, listener(log_format)))
    if code:
        raise typer.Exit(code)


def _screen(workspace: Workspace, start: Start | None) -> None:
    """Look at a workspace; ``start`` says how to start an engine when none runs, None starts nothing."""
    # In a browser's tab the terminal is at the other end. Textual draws on stderr.
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    if "TEXTUAL_DRIVER" not in os.environ and (not terminal or os.environ.get("TERM") == "dumb"):
        raise UsageError("the screen needs a terminal; use --no-ui.")
    with leaving_at_once():
        from autokaggle_tui.ui.app import AutokaggleApp

    screen = AutokaggleApp(workspace, start)
    screen.run()
    if screen.return_code:
        raise typer.Exit(screen.return_code)


def _models(given: list[str]) -> dict[Any, str]:
    from backends.models.registry import check_model

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
def demo(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="The demo's folder.", show_default="./demo")
    ] = None,
    no_ui: HeadlessOption = False,
    rounds: RoundsOption = 3,
    time_limit: TimeOption = None,
    log_format: FormatOption = "text",
    prepare: Annotated[bool, typer.Option("--prepare", hidden=True, help="Make the folder and play nothing.")] = False,
) -> None:
    """Play three rounds of an embedded competition in a folder of its own (./demo)."""
    given = workspace or ctx.find_root().params.get("workspace")
    place = _open(ctx, Path(given or "demo").resolve())
    if no_ui or prepare:
        with leaving_at_once():
            from autokaggle_tui.setup import demo_workspace

        demo_workspace(place.root)
    else:
        _prepare_demo(place)
    if not prepare:
        _run(place, no_ui, rounds, time_limit, None, log_format)


def _prepare_demo(place: Workspace) -> None:
    """Make the demo's folder in a process of its own: the screen's must not carry what that imports."""
    from autokaggle_tui.config import load_config

    if place.config.is_file() and load_config(place.root).competition.startswith(DEMO):
        return
    with leaving_at_once():
        made = subprocess.run([*MODULE, "demo", "--prepare", "-w", str(place.root)], check=False)
    if made.returncode:
        raise typer.Exit(made.returncode)


@app.command()
def attach(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Open the screen without starting an engine: from a second terminal, or over ssh."""
    from experiments.schema import open_viewer

    place = _workspace(ctx, workspace)
    # An engine that comes up has no registry in its first seconds.
    if place.engine_pid() is None:
        open_viewer(place.facts).close()
    _screen(place, None)


@app.command()
def serve(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="An address of this machine itself; no other is allowed.")] = "127.0.0.1",
    only_attach: Annotated[bool, typer.Option("--attach", help="Start no engine.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Open the screen in a browser on this machine."""
    from autokaggle_tui.config import load_config

    with leaving_at_once():
        from autokaggle_tui.serving import check_host
        from autokaggle_tui.serving import serve as serve_screens

    place = _workspace(ctx, workspace)
    load_config(place.root)
    check_host(host)
    launch = None if only_attach else ensure_engine(place)
    if launch is not None and launch.wait_until_up(COMES_UP_SECONDS) == "ended" and place.engine_pid() is None:
        raise WorkspaceError(f"the engine did not come up:\n{last_words(place)}")
    serve_screens(place, host, port)


@app.command()
def init(
    ctx: typer.Context,
    train: Annotated[Path, typer.Option(help="Training data: CSV, CSV.gz or Parquet.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    test: Annotated[Path | None, typer.Option(help="Test data; without it a private test is held back.")] = None,
    sample_submission: Annotated[Path | None, typer.Option(help="What a submission looks like.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="The column that names the rows.")] = None,
    metric: Annotated[str | None, typer.Option(help="e.g. roc_auc, rmse, accuracy; detected when not given.")] = None,
    group: Annotated[str | None, typer.Option(help="Column whose values never straddle folds.")] = None,
    time_column: Annotated[str | None, typer.Option("--time", help="Column that orders the rows in time.")] = None,
    folds: Annotated[int, typer.Option(min=2, max=50, help="Cross-validation folds.")] = 5,
    name: Annotated[str | None, typer.Option(help="What to call the competition.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a workspace from local files, saying what was chosen and why."""
    with leaving_at_once():
        from autokaggle_tui.setup import init_local

    lines = init_local(
        _workspace(ctx, workspace).root,
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


@app.command()
def status(ctx: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say where the campaign stands."""
    from autokaggle_tui.printing import print_status
    from autokaggle_tui.status import load_status

    found = load_status(_workspace(ctx, workspace))
    _say(found) if as_json else print_status(found)


@app.command()
def rounds(ctx: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List every experiment with its score and status."""
    from autokaggle_tui.loading import load_rounds
    from autokaggle_tui.printing import print_rounds

    found = load_rounds(_workspace(ctx, workspace))
    _say(found) if as_json else print_rounds(found)


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="RNN", help="A round or experiment: R07, 7, B01.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one round: its plan, folds, verdicts and submission."""
    from autokaggle_tui.loading import load_round
    from autokaggle_tui.printing import print_round

    place = _workspace(ctx, workspace)
    found = load_round(place, name)
    _say(found) if as_json else print_round(found, place.rounds / f"{found['id']}_plan.md")


@app.command()
def submissions(ctx: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List what was submitted, oldest first."""
    from autokaggle_tui.loading import load_state
    from autokaggle_tui.printing import print_submissions
    from experiments.schema import open_viewer

    connection = open_viewer(_workspace(ctx, workspace).facts)
    try:
        found = sorted(load_state(connection).submissions.values(), key=lambda sent: sent.id)
    finally:
        connection.close()
    _say([asdict(sent) for sent in found]) if as_json else print_submissions(found)


def _ask(ctx: typer.Context, workspace: Path | None, verb: str, **args: str) -> None:
    from autokaggle_tui.commands import ask

    answer = ask(_workspace(ctx, workspace), verb, args)
    if answer.state == "queued":
        raise AutokaggleError(f"{verb}: the engine has not answered yet.", hint="It will obey at its next step.")
    if answer.state == "accepted":
        raise AutokaggleError(f"{verb}: the engine is not done yet.", hint="`autokaggle-tui status` tells more later.")
    if answer.state == "refused":
        raise AutokaggleError(f"{verb} was refused: {answer.result}.")
    print(answer.result)


@app.command()
def pause(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Pause the loop between folds."""
    _ask(ctx, workspace, "pause")


@app.command()
def resume(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Let a paused loop go on."""
    _ask(ctx, workspace, "resume")


@app.command()
def stop(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Stop the engine after its current step; the same command continues the run."""
    _ask(ctx, workspace, "stop")


@app.command()
def kill(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Kill the running experiment; the loop goes on."""
    _ask(ctx, workspace, "kill")


@app.command()
def retro(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Open the next round with the Reviewer's retrospective."""
    _ask(ctx, workspace, "retro")


@app.command()
def hint(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What the agents should know.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Tell the agents something."""
    _ask(ctx, workspace, "hint", text=text)


@app.command("model")
def set_model(
    ctx: typer.Context,
    role: Annotated[str, typer.Argument(help="researcher, builder or reviewer.")],
    name: Annotated[str, typer.Argument(metavar="MODEL", help="What plays the role from its next phase on.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Change the model of a role."""
    _ask(ctx, workspace, "model", role=role, model=name)


@app.command()
def submit(
    ctx: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="[RNN]", help="What to submit: R07, 7, B01.", show_default="the champion")
    ] = "",
    workspace: WorkspaceOption = None,
) -> None:
    """Submit a prediction now, within quota and deadline; the running engine does it."""
    _ask(ctx, workspace, "submit", experiment=experiment)


@app.command(hidden=True)
def obey(ctx: typer.Context, workspace: WorkspaceOption = None) -> None:
    """Obey the commands that wait while no engine runs; viewers call it."""
    from autokaggle_tui.commander import obey_now

    # When an engine took the lock in the meantime, it obeys.
    with contextlib.suppress(WorkspaceError):
        obey_now(_workspace(ctx, workspace))


@app.command("try")
def try_file(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A file with fit_predict(train, valid, test, ctx).")],
    workspace: WorkspaceOption = None,
    log_format: FormatOption = "text",
) -> None:
    """Run your own experiment through the same sealed folds, into the pool."""
    place = _workspace(ctx, workspace)
    with leaving_at_once():
        from autokaggle_tui.headless import listener
        from autokaggle_tui.trying import try_experiment

    code = run_to_end(try_experiment(place, file, listener(log_format)))
    if code:
        raise typer.Exit(code)


def main() -> None:
    """Run the command line and exit with its code."""
    run_program(app)


if __name__ == "__main__":
    main()
