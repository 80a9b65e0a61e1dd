"""What the commands of the command line print for a person; rich is loaded for tables alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokaggle_tui.poolmap import MEASURES
from autokaggle_tui.pruning import Prunable
from autokaggle_tui.roundfiles import read_text
from autokaggle_tui.sizes import size_text
from autokaggle_tui.standing import board_line
from autokaggle_tui.state import Row
from autokaggle_tui.wording import (
    MARKS,
    QUEUED,
    agreement_line,
    arrow,
    context_text,
    cost_text,
    count_text,
    gain_text,
    pace_text,
    score_text,
    sending_word,
)
from experiments.figures import figures_text
from experiments.text import clean, one_line

if TYPE_CHECKING:
    from autokaggle_tui.doctor_machine import Check

PREDICTIONS = ("prediction", "predictions")
SHOWN_MEMBERS, SHOWN_CLUSTERS, SHOWN_NAMES, SHOWN_PAIRS = 40, 20, 12, 10
"""Of a large pool; JSON tells all."""
UNCUT = 10_000
"""Columns of a table that is read by a program."""


def print_status(found: Row) -> None:
    """Where the campaign stands, from ``load_status``."""
    run, engine = found["run"], found["engine"]
    if found["competition"] is None:
        _say(f"{found['workspace']}: nothing has run to its first fold yet")
    else:
        _say(f"{found['competition']} · {found['metric']} {arrow(found['direction'])} · {found['folds']} folds")
    state = found["state"] if engine["running"] else "not running"
    state += f": {engine['held']}" if engine["held"] else ""
    _say(f"engine   {state}" + (f" (pid {engine['pid']}) {found['doing']}" if engine["running"] else ""))
    if run:
        of = f" of {run['rounds']}" if run["rounds"] else ""
        played = max((found["round"] or 0) - run["first_round"] + 1, 0)
        reason = f": {run['reason']}" if run["reason"] else ""
        spent = "" if run["elapsed"] is None else f", {run['elapsed']:.0f} s"
        _say(f"run      {run['status']}{reason}, round {played}{of}{spent}")
    best = found["champion"]
    if best:
        gain = f" ({gain_text(best['gain'])})" if best["gain"] is not None else ""
        _say(f"champion {best['id']} {best['family']} {score_text(best['score'])}{gain}")
    counts = ", ".join(f"{count} {name}" for name, count in found["experiments"].items())
    _say(f"tried    {counts or 'nothing yet'}")
    board = found["leaderboard"]
    said = f", last {board['experiment']} {score_text(board['public_score'])}" if board else ""
    counts = found["sending"]
    said += "".join(f", {count} {word}" for word, count in counts.items() if count)
    _say(f"sent     {found['submissions']} submission{'' if found['submissions'] == 1 else 's'}{said}")
    if board and board["board"]:
        _say(f"board    {board_line(board['board'])}")
    verdict = found["verdict"]
    if verdict:
        _say(f"verdict  {verdict_text(verdict)}")
    _print_models(found)
    _say(f"disk     {storage_text(found['storage'])}")


def _print_models(found: Row) -> None:
    """Who plays the roles and what that came to, a line for each model that is called over a network."""
    models, spent, budget = found["models"], found["spent"], found["budget"]
    if {row["model"] for row in models.values()} <= {"playbook"} and not spent["tokens"]:
        if models:
            _say("models   playbook in all roles: offline, free")
        return
    for role, row in models.items():
        _say(f"{role:<10} {role_text(row)}")
    parts = [
        f"{cost_text(spent['usd'], estimated=spent['estimated'])}{_of(budget['usd'], cost_text)}",
        f"{count_text(spent['tokens'])}{_of(budget['tokens'], count_text)} tokens",
        _times(spent["calls"], "call", "calls"),
        _times(spent["retries"], "retry", "retries") if spent["retries"] else "",
        _times(spent["fallbacks"], "fallback", "fallbacks") if spent["fallbacks"] else "",
    ]
    _say(f"spent    {', '.join(part for part in parts if part)}")


def role_text(row: Row) -> str:
    """A role's model in a line: pace and context of its last call, what it used so far."""
    last = row["last"] or {}
    other = f"{last['asked']} -> {last['model']}" if last.get("asked") else ""
    context = context_text(last.get("context"), last.get("window"))
    parts = [
        row["model"],
        f"{count_text(row['input_tokens'])} in, {count_text(row['output_tokens'])} out" if row["calls"] else "",
        pace_text(last.get("tokens_per_second")),
        f"context {context}" if context else "",
        cost_text(row["usd"], estimated=row["estimated"]) if row["calls"] else "",
        _times(row["retries"], "retry", "retries") if row["retries"] else "",
        _times(row["fallbacks"], "fallback", "fallbacks") if row["fallbacks"] else "",
        f"last {other}" if other else "",
        "" if last.get("outcome", "ok") == "ok" else f"last call: {one_line(last['outcome'], 120)}",
    ]
    return "  ".join(part for part in parts if part)


def _of(most: float | None, written: Callable[[Any], str]) -> str:
    return "" if most is None else f" of {written(most)}"


def _times(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def print_rounds(found: Sequence[Row]) -> None:
    """Every experiment in a line, from ``load_rounds``."""
    rows = [
        (
            row["id"],
            row["family"],
            score_text(row["cv_score"]),
            gain_text(row["gain"]),
            "" if row["t"] is None else f"{row['t']:.1f}",
            "" if row["lb"] is None else score_text(row["lb"]),
            f"{MARKS.get(row['status'], '·')} {row['status']}",
            f"{row['seconds']:.0f}",
            row["idea"],
        )
        for row in found
    ]
    _print_table(("id", "family", "cv", "Δ", "t", "lb", "status", "s", "idea"), rows, right=("cv", "Δ", "t", "lb", "s"))


def print_round(found: Row, plan: Path) -> None:
    """One round or experiment, from ``load_round``, and its plan if there is one."""
    row = found["experiment"]
    if row:
        _say(
            f"{row['id']} {row['kind']} {row['family']}: {row['status']}  "
            f"cv {score_text(row['score'])}  {gain_text(row['gain'])}"
        )
        _say(f"  {row['idea']}" + (f"  ({row['reason']})" if row["reason"] else ""))
        for member, weight in row["members"]:
            _say(f"  {weight:6.3f} {member}")
    if found["predictions"] and found["predictions"]["pruned_at"] is not None:
        at = datetime.fromtimestamp(found["predictions"]["pruned_at"], UTC)
        _say(f"  its predictions were pruned on {at:%Y-%m-%d %H:%M} UTC")
    for fold in found["folds"]:
        _say(f"  fold {fold['fold'] + 1}  {score_text(fold['score'])}  {fold['status']} {fold['error']}")
    for phase in found["phases"]:
        _say(f"  {phase['phase']:<9} {phase['outcome']:<9} {phase['role']} {phase['model']}  {phase['files']}")
    for verdict in found["verdicts"]:
        _say(f"  {verdict['author']} on {verdict['phase']}: {verdict_text(verdict)}")
        if figures := figures_text(verdict["rule"], verdict["figures"]):
            _say(f"    {figures}")
    for sent in found["submissions"]:
        word = sending_word(sent["state"], sent["scoring"])
        _say(f"  submission {word} {score_text(sent['public_score'])} {sent['note']} {sent['file']}")
    if plan.is_file():
        print()
        _say(read_text(plan).text)


def verdict_text(verdict: Row) -> str:
    """A verdict with its rule and reason; an answer begins with its word, which is not said twice."""
    word, rule = verdict["verdict"], verdict["rule"]
    reason = verdict["reason"].removeprefix(word).lstrip(":. ")
    head = f"{word} {rule}" if rule else word
    return f"{head}: {reason}" if reason else head


def storage_text(storage: Row) -> str:
    """What a workspace takes, the largest kinds first, and what is left."""
    kinds = {kind: size for kind, size in storage.items() if kind not in ("total", "prunable", "free") and size}
    largest = sorted(kinds, key=lambda kind: -kinds[kind])
    parts = ", ".join(f"{kind} {size_text(kinds[kind])}" for kind in largest)
    prunable = f"; {size_text(storage['prunable'])} may be pruned" if storage["prunable"] else ""
    free = "" if storage["free"] is None else f"; {size_text(storage['free'])} free"
    return f"{size_text(storage['total'])} ({parts}){prunable}{free}"


def _say(text: str) -> None:
    """Print what came from models, logs or files: it never steers the terminal."""
    print(clean(text))


def print_sendings(found: Row) -> None:
    """Submissions, queue, leaderboard and agreement, from ``load_sendings``."""
    if not found["submissions"]:
        _say("nothing was submitted yet")
    else:
        rows = [
            (
                sent["experiment"],
                sending_word(sent["state"], sent["scoring"]),
                score_text(sent["public_score"]),
                f"{datetime.fromtimestamp(sent['at'], UTC):%Y-%m-%d %H:%M}",
                sent["file"],
                one_line(sent["note"]),
            )
            for sent in found["submissions"]
        ]
        _print_table(("experiment", "state", "public", "time (UTC)", "file", "note"), rows, right=("public",))
    waiting = [item for item in found["queue"] if item["state"] in ("waiting", "asking")]
    if waiting:
        _say("\nwaiting")
        lines = [(item["experiment"], QUEUED[item["state"]], one_line(item["reason"])) for item in waiting]
        _print_table(("experiment", "for", "why"), lines, right=())
    if found["leaderboard"]:
        _say(f"\nleaderboard  {board_line(found['leaderboard'])}")
    agreed = found["agreement"]
    if agreed["points"]:
        _say(f"CV against LB  {agreement_line(len(agreed['points']), agreed['rho'], len(agreed['parted']))}")
    if agreed["warning"]:
        _say(f"! {agreed['warning']}")
    if found["final"]:
        _say("select for the final score  " + "; ".join(f"{row['experiment']}: {row['why']}" for row in found["final"]))


def print_correlations(found: Row) -> None:
    """How alike the pool is, from ``correlations``."""
    members, pairs, limit = found["members"], found["pairs"], found["limit"]
    size = len(members)
    _say(f"{found['competition']} · {found['metric']} {arrow(found['direction'])} · {_times(size, *PREDICTIONS)}")
    if size < 2:
        _say("two are needed to compare; every experiment that scores on all folds joins the pool")
        return
    if found["named"]:
        for name in found["named"]:
            _print_against(found, name)
    else:
        _print_members(found)
    if limit is None:
        _say("\nstacking-correlation is off: nothing is too alike")
    elif found["clusters"]:
        _say(f"\nnear-duplicates, above {limit:g} (stacking-correlation); of each the best, to keep, and those like it")
        for cluster in found["clusters"][:SHOWN_CLUSTERS]:
            _say(f"  {cluster_text(cluster)}")
        _say_more(len(found["clusters"]) - SHOWN_CLUSTERS)
    else:
        of = f" of {_listed(found['named'])}" if found["named"] else ""
        _say(f"\nno near-duplicates{of} above {limit:g}")
    if not found["named"]:
        _print_apart(members, pairs)


def _print_apart(members: Sequence[Row], pairs: Sequence[Row]) -> None:
    """Where a blend can gain: good members that err in different rows."""
    near = {member["id"] for member in members if member["standing"] == "pass"}
    apart = sorted(
        (pair for pair in pairs if pair["error"] is not None and {pair["a"], pair["b"]} <= near),
        key=lambda pair: pair["error"],
    )
    if apart:
        _say("\nleast alike errors, among those near enough to the best for a blend (diversity-threshold)")
        rows = [(pair["a"], pair["b"], *_figures(pair)) for pair in apart[:SHOWN_PAIRS]]
        _print_table(("a", "b", *MEASURES), rows, right=MEASURES)
    else:
        _say("\nno two predictions are near enough to the best for a blend (diversity-threshold)")


def _print_members(found: Row) -> None:
    sign = 1 if found["direction"] == "minimize" else -1
    members = sorted(found["members"], key=lambda row: math.inf if row["score"] is None else sign * row["score"])
    rows = []
    for row in members[:SHOWN_MEMBERS]:
        closest = row["closest"] or {}
        rows.append((row["id"], row["family"], row["status"], score_text(row["score"]), closest.get("id") or "–",
                     *_figures(closest)))  # fmt: skip
    _print_table(("id", "family", "status", "score", "closest", *MEASURES), rows, right=("score", *MEASURES))
    _say_more(len(members) - SHOWN_MEMBERS)


def _print_against(found: Row, name: str) -> None:
    members = {row["id"]: row for row in found["members"]}
    mine = members[name]
    _say(f"\n{name} {mine['family']} {score_text(mine['score'])} against")
    rows = []
    for pair in found["pairs"]:
        if name in (pair["a"], pair["b"]):
            other = members[pair["b"] if pair["a"] == name else pair["a"]]
            rows.append((other["id"], other["family"], score_text(other["score"]), *_figures(pair)))
    _print_table(("id", "family", "score", *MEASURES), rows[:SHOWN_MEMBERS], right=("score", *MEASURES))
    _say_more(len(rows) - SHOWN_MEMBERS)


def cluster_text(cluster: Row) -> str:
    """``R07 and 3 like it: R09 R11 R12  0.9961–0.9982``, at most a dozen names of them."""
    keep, *rest = cluster["members"]
    ends = "–".join(dict.fromkeys(f"{cluster[end]:.4f}" for end in ("lowest", "highest")))
    return f"{keep} and {len(rest)} like it: {_listed(rest)}  {ends}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return " ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _figures(row: Row) -> tuple[str, ...]:
    return tuple("–" if row.get(measure) is None else f"{row[measure]:.4f}" for measure in MEASURES)


def _say_more(left: int) -> None:
    if left > 0:
        _say(f"  and {left:,} more, with --json")


def print_warning(event: Row) -> None:
    """What a look at the pool has to tell, beside its answer."""
    if event["kind"] == "warning":
        print(f"warning: {clean(event['data']['text'])}", file=sys.stderr)


def print_prunable(found: Sequence[Prunable]) -> None:
    """Predictions that may go, in a line for each experiment."""
    if found:
        rows = [(item.experiment, size_text(item.bytes), item.why) for item in found]
        _print_table(("experiment", "size", "why"), rows, right=("size",))


def print_check(check: Check) -> None:
    """A line of the doctor's, and what to do about it."""
    _say(f"{check.state:<5} {check.name:<15} {check.text}")
    if check.cure:
        _say(f"{'':<21} {check.cure}")
    sys.stdout.flush()


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str]) -> None:
    """A table without lines; on a narrow terminal the last column alone gives way."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=title != titles[-1])
    for row in rows:
        *cells, last = map(clean, row)
        table.add_row(*map(Text, cells), Text(last, no_wrap=True, overflow="ellipsis"))
    Console(width=None if sys.stdout.isatty() else UNCUT).print(table)
