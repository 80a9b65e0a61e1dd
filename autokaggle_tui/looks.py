"""Commands that look at a campaign, or at the machine, and change nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from click.exceptions import Exit

from autokaggle_tui.interrupts import leaving_at_once
from autokaggle_tui.options import json_option, place_of, say, workspace_option
from experiments.text import clean


@click.command()
@workspace_option
@json_option
@click.pass_context
def status(ctx: click.Context, workspace: Path | None, as_json: bool) -> None:
    """Say where the campaign stands."""
    from autokaggle_tui.printing import print_status
    from autokaggle_tui.status import load_status

    found = load_status(place_of(ctx, workspace))
    say(found) if as_json else print_status(found)


@click.command()
@workspace_option
@json_option
@click.pass_context
def rounds(ctx: click.Context, workspace: Path | None, as_json: bool) -> None:
    """List every experiment with its score and status."""
    from autokaggle_tui.loading import load_rounds
    from autokaggle_tui.printing import print_rounds

    found = load_rounds(place_of(ctx, workspace))
    say(found) if as_json else print_rounds(found)


@click.command()
@click.argument("name", metavar="RNN", help="A round or experiment: R07, 7, B01.")
@workspace_option
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, workspace: Path | None, as_json: bool) -> None:
    """Show one round: its plan, folds, verdicts and submission."""
    from autokaggle_tui.loading import load_round
    from autokaggle_tui.printing import print_round

    place = place_of(ctx, workspace)
    found = load_round(place, name)
    say(found) if as_json else print_round(found, place.rounds / f"{found['id']}_plan.md")


@click.command()
@click.argument("names", metavar="[RNN]...", nargs=-1, help="Only these against all: R07, 7, mine.")
@workspace_option
@json_option
@click.pass_context
def correlate(ctx: click.Context, names: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """Say how alike the predictions of the pool are: near-duplicates, and pairs that a blend can gain from."""
    with leaving_at_once():
        from autokaggle_tui.correlating import correlations
        from autokaggle_tui.printing import print_correlations, print_warning

    found = correlations(place_of(ctx, workspace), names, print_warning)
    say(found) if as_json else print_correlations(found)


@click.command()
@click.option("--refresh", is_flag=True, help="Ask the platform first: scores, open submissions, the leaderboard.")
@workspace_option
@json_option
@click.pass_context
def submissions(ctx: click.Context, refresh: bool, workspace: Path | None, as_json: bool) -> None:
    """List what was submitted and what waits, and say where that stands on the leaderboard."""
    from autokaggle_tui.printing import print_sendings
    from autokaggle_tui.sendings import load_sendings
    from autokaggle_tui.verbs import answer

    place = place_of(ctx, workspace)
    if refresh:
        answer(place, "refresh")
    found = load_sendings(place)
    say(found) if as_json else print_sendings(found)


@click.command()
@workspace_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, workspace: Path | None, as_json: bool) -> None:
    """Say what machine this is and whether the program can work here, and in this workspace."""
    from autokaggle_tui.printing import print_check

    with leaving_at_once():
        from autokaggle_tui.doctor import examine, failed

    checks = []
    for check in examine(place_of(ctx, workspace)):
        checks.append(check)
        if not as_json:
            print_check(check)
    if as_json:
        say({"ok": not failed(checks), "checks": [asdict(check) for check in checks]})
    if failed(checks):
        raise Exit(1)


@click.command()
@click.argument("names", metavar="[RNN]...", nargs=-1, help="Choose among these only: R07, 7, T01, an imported name.")
@workspace_option
@json_option
@click.pass_context
def blend(ctx: click.Context, names: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """Try every way of blending the pool: what the rules allow and what it would be worth. Nothing is kept."""
    place = place_of(ctx, workspace)
    with leaving_at_once():
        from autokaggle_tui.loop.blender import survey_of
        from autokaggle_tui.poolview import opened_pool
        from autokaggle_tui.printing import print_warning
        from experiments.blendreport import report_lines

    with opened_pool(place, print_warning) as campaign:
        work = survey_of(campaign, names)
        # Nothing is written from here on.
        with leaving_at_once():
            report = work().report
    if as_json:
        say(report)
    else:
        print("\n".join(map(clean, report_lines(report))))


LOOKS = (status, rounds, show, correlate, blend, submissions, doctor)
"""In the order of the help."""
