"""What many commands share: their options, the workspace that they name, and JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from autokaggle_tui.workspace import Workspace
from experiments.redaction import hide

A_PATH = click.Path(path_type=Path)
workspace_option = click.option(
    "--workspace", "-w", type=A_PATH, help="The campaign's folder.", show_default="this folder"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
rounds_option = click.option("--rounds", type=click.IntRange(min=1), help="Rounds to play, then end.")
time_option = click.option("--time-limit", metavar="DURATION", help="Wall time of the run: 300s, 45m, 2h, 1h30m.")
record_option = click.option(
    "--record", metavar="FILE", type=A_PATH, help="Write down every call of a model, for the model replay:FILE."
)
headless_option = click.option("--no-ui", is_flag=True, help="Run headless in the foreground, without the screen.")
format_option = click.option("--log-format", default="text", show_default=True, help="text, or json: one event a line.")


def place_of(ctx: click.Context, given: Path | None) -> Workspace:
    """The folder given after the command, before it, or the current one."""
    chosen = given or (ctx.find_root().params.get("workspace")) or Path()
    return place_at(ctx, Path(chosen).resolve())


def place_at(ctx: click.Context, folder: Path) -> Workspace:
    """The workspace; from now on it is the place that errors are about."""
    ctx.find_root().obj = Workspace(folder)
    return Workspace(folder)


def say(value: Any) -> None:
    """Print JSON."""
    print(hide(json.dumps(value, indent=1, ensure_ascii=False)))
