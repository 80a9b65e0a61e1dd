"""The command line. Heavy imports wait until a command needs them: ``--help`` and ``status`` answer at once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from autokaggle_tui import __version__
from autokaggle_tui.interrupts import leaving_at_once, run_to_end
from autokaggle_tui.program import Program, run_program
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, ModelError, UsageError

# The time limit of a run counts from here: imports and reading the data are part of it.
STARTED = time.monotonic()
UNCUT = 10_000

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
HeadlessOption = Annotated[bool, typer.Option("--no-ui", help="Run headless in the foreground.")]
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
    print(json.dumps(value, indent=1, ensure_ascii=False))


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
        print("The screen is not built yet: running headless, as with --no-ui.", file=sys.stderr)
    # The engine reads data and trains: its imports take seconds, so settings are checked first.
    with leaving_at_once():
        from autokaggle_tui.engine import RunOptions, run_engine
        from autokaggle_tui.headless import listener

    options = RunOptions(rounds, limit, models, started=STARTED)
    code = run_to_end(run_engine(workspace, options, listener(log_format)))
    if code:
        raise typer.Exit(code)


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
) -> None:
    """Play three rounds of an embedded competition in a folder of its own (./demo)."""
    with leaving_at_once():
        from autokaggle_tui.setup import demo_workspace

    given = workspace or ctx.find_root().params.get("workspace")
    place = _open(ctx, Path(given or "demo").resolve())
    _run(Workspace(demo_workspace(place.root)), no_ui, rounds, time_limit, None, log_format)


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
    from autokaggle_tui.headless import gain_text, score_text
    from autokaggle_tui.state import load_status

    found = load_status(_workspace(ctx, workspace))
    if as_json:
        _say(found)
        return
    run_row, engine = found["run"], found["engine"]
    if found["competition"] is None:
        print(f"{found['workspace']}: nothing has run to its first fold yet")
    else:
        arrow = "↑" if found["direction"] == "maximize" else "↓"
        print(f"{found['competition']} · {found['metric']} {arrow} · {found['folds']} folds")
    print(f"engine   {found['state']}" + (f" (pid {engine['pid']}) {found['doing']}" if engine["running"] else ""))
    if run_row:
        of = f" of {run_row['rounds']}" if run_row["rounds"] else ""
        played = max((found["round"] or 0) - run_row["first_round"] + 1, 0)
        reason = f": {run_row['reason']}" if run_row["reason"] else ""
        print(f"run      {run_row['status']}{reason}, round {played}{of}, {run_row['elapsed']:.0f} s")
    best = found["champion"]
    if best:
        gain = f" ({gain_text(best['gain'])})" if best["gain"] is not None else ""
        print(f"champion {best['id']} {best['family']} {score_text(best['score'])}{gain}")
    counts = ", ".join(f"{count} {name}" for name, count in found["experiments"].items())
    print(f"tried    {counts or 'nothing yet'}")
    board = found["leaderboard"]
    said = f", last {board['experiment']} {score_text(board['public_score'])}" if board else ""
    print(f"sent     {found['submissions']} submission{'' if found['submissions'] == 1 else 's'}{said}")
    verdict = found["verdict"]
    if verdict:
        rule = f" {verdict['rule']}:" if verdict["rule"] else ""
        print(f"verdict  {verdict['verdict']}{rule} {verdict['reason']}")


@app.command()
def rounds(ctx: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List every experiment with its score and status."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from autokaggle_tui.headless import MARKS, gain_text, score_text
    from autokaggle_tui.state import load_rounds

    found = load_rounds(_workspace(ctx, workspace))
    if as_json:
        _say(found)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("id", "family", "cv", "Δ", "t", "lb", "status", "s", "idea"):
        # The idea alone gives way on a narrow terminal.
        table.add_column(
            title, justify="right" if title in ("cv", "Δ", "t", "lb", "s") else "left", no_wrap=title != "idea"
        )
    for row in found:
        cells = (
            row["id"],
            row["family"],
            score_text(row["cv_score"]),
            gain_text(row["gain"]),
            "" if row["t"] is None else f"{row['t']:.1f}",
            "" if row["lb"] is None else score_text(row["lb"]),
            f"{MARKS.get(row['status'], '·')} {row['status']}",
            f"{row['seconds']:.0f}",
        )
        table.add_row(*map(Text, cells), Text(row["idea"], no_wrap=True, overflow="ellipsis"))
    Console(width=None if sys.stdout.isatty() else UNCUT).print(table)


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="RNN", help="A round or experiment: R07, 7, B01.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one round: its plan, folds, verdicts and submission."""
    from autokaggle_tui.headless import gain_text, score_text
    from autokaggle_tui.state import load_round

    place = _workspace(ctx, workspace)
    found = load_round(place, name)
    if as_json:
        _say(found)
        return
    row = found["experiment"]
    if row:
        print(
            f"{row['id']} {row['kind']} {row['family']}: {row['status']}  "
            f"cv {score_text(row['score'])}  {gain_text(row['gain'])}"
        )
        print(f"  {row['idea']}" + (f"  ({row['reason']})" if row["reason"] else ""))
        for member, weight in row["members"]:
            print(f"  {weight:6.3f} {member}")
    for fold in found["folds"]:
        print(f"  fold {fold['fold'] + 1}  {score_text(fold['score'])}  {fold['status']} {fold['error']}")
    for phase in found["phases"]:
        print(f"  {phase['phase']:<9} {phase['outcome']:<9} {phase['role']} {phase['model']}  {phase['files']}")
    for verdict in found["verdicts"]:
        rule = f" {verdict['rule']}:" if verdict["rule"] else ""
        print(f"  {verdict['author']} on {verdict['phase']}: {verdict['verdict']}{rule} {verdict['reason']}")
    for sent in found["submissions"]:
        print(f"  submission {sent['state']} {score_text(sent['public_score'])} {sent['note']} {sent['file']}")
    plan = place.rounds / f"{found['id']}_plan.md"
    if plan.is_file():
        print()
        print(plan.read_text(encoding="utf-8"))


def _ask(ctx: typer.Context, workspace: Path | None, verb: str, **args: str) -> None:
    from autokaggle_tui.commands import ask

    answer = ask(_workspace(ctx, workspace), verb, args)
    if answer.state == "queued":
        raise AutokaggleError(f"{verb}: the engine has not answered yet.", hint="It will obey at its next step.")
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
