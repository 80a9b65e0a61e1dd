"""Commands that ask the engine for something, or somebody in its place when none runs."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path

import click

from autokaggle_tui.options import json_option, place_of, say, workspace_option
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, WorkspaceError


def _ask(ctx: click.Context, workspace: Path | None, verb: str, **args: str) -> None:
    print(answer(place_of(ctx, workspace), verb, **args))


def answer(place: Workspace, verb: str, **args: str) -> str:
    """What the engine says to a command it has obeyed."""
    from autokaggle_tui.commands import ask

    said = ask(place, verb, args)
    if said.state == "queued":
        raise AutokaggleError(f"{verb}: the engine has not answered yet.", hint="It will obey at its next step.")
    if said.state == "accepted":
        raise AutokaggleError(f"{verb}: the engine is not done yet.", hint="`autokaggle-tui status` tells more later.")
    if said.state == "refused":
        raise AutokaggleError(f"{verb} was refused: {said.result}.")
    return said.result


@click.command()
@workspace_option
@click.pass_context
def pause(ctx: click.Context, workspace: Path | None) -> None:
    """Pause the loop between folds."""
    _ask(ctx, workspace, "pause")


@click.command()
@workspace_option
@click.pass_context
def resume(ctx: click.Context, workspace: Path | None) -> None:
    """Let a paused loop go on."""
    _ask(ctx, workspace, "resume")


@click.command()
@workspace_option
@click.pass_context
def stop(ctx: click.Context, workspace: Path | None) -> None:
    """Stop the engine after its current step; the same command continues the run."""
    _ask(ctx, workspace, "stop")


@click.command()
@workspace_option
@click.pass_context
def kill(ctx: click.Context, workspace: Path | None) -> None:
    """Kill the running experiment; the loop goes on."""
    _ask(ctx, workspace, "kill")


@click.command()
@workspace_option
@click.pass_context
def retro(ctx: click.Context, workspace: Path | None) -> None:
    """Open the next round with the Reviewer's retrospective."""
    _ask(ctx, workspace, "retro")


@click.command()
@click.argument("text", help="What the agents should know.")
@workspace_option
@click.pass_context
def hint(ctx: click.Context, text: str, workspace: Path | None) -> None:
    """Tell the agents something."""
    _ask(ctx, workspace, "hint", text=text)


@click.command("model")
@click.argument("role", help="researcher, builder or reviewer.")
@click.argument("name", metavar="MODEL", help="What plays the role from its next phase on.")
@workspace_option
@click.pass_context
def set_model(ctx: click.Context, role: str, name: str, workspace: Path | None) -> None:
    """Change the model of a role."""
    _ask(ctx, workspace, "model", role=role, model=name)


@click.command()
@click.argument("experiment", metavar="[RNN]", default="", help="What to submit: R07, 7, B01; else the champion.")
@workspace_option
@click.pass_context
def submit(ctx: click.Context, experiment: str, workspace: Path | None) -> None:
    """Submit a prediction now, within quota and deadline."""
    _ask(ctx, workspace, "submit", experiment=experiment)


@click.command()
@click.argument("experiment", metavar="RNN", help="What waits for your word: R07, 7, B01.")
@click.option("--arrived", "said", flag_value="arrived", help="Its submission of unknown fate did arrive.")
@click.option("--send-again", "said", flag_value="send-again", help="It did not arrive: submit it again.")
@workspace_option
@click.pass_context
def approve(ctx: click.Context, experiment: str, said: str | None, workspace: Path | None) -> None:
    """Let a submission go that waits for your word, or say what became of one that is `unknown`."""
    _ask(ctx, workspace, "approve", experiment=experiment, said=said or "")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@workspace_option
@json_option
@click.pass_context
def prune(ctx: click.Context, dry_run: bool, workspace: Path | None, as_json: bool) -> None:
    """Remove predictions that can never matter again: never the pool's, the champion's, a blend's or a submission's."""
    from autokaggle_tui.loading import load_prunable
    from autokaggle_tui.printing import print_prunable

    place = place_of(ctx, workspace)
    found = load_prunable(place)
    said = answer(place, "prune") if found and not dry_run else ""
    if as_json:
        say({"pruned": not dry_run, "bytes": sum(i.bytes for i in found), "experiments": [asdict(i) for i in found]})
    else:
        print_prunable(found)
        print(said or ("nothing was removed" if found else "nothing may be pruned"))


@click.command(hidden=True)
@click.option("--asked", default="", help="The command for whose answer somebody waits.")
@workspace_option
@click.pass_context
def obey(ctx: click.Context, asked: str, workspace: Path | None) -> None:
    """Obey the commands that wait while no engine runs; viewers call it."""
    from autokaggle_tui.standin import obey_now

    # When an engine took the lock in the meantime, it obeys.
    with contextlib.suppress(WorkspaceError):
        obey_now(place_of(ctx, workspace), asked)


VERBS = (pause, resume, stop, kill, retro, hint, set_model, submit, approve, prune, obey)
"""In the order of the help."""
