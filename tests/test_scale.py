"""A long campaign: what a round reads does not grow with the rounds before it, and nothing shown is stale."""

import csv
import json
import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from autokaggle_tui.campaign import Campaign, open_campaign
from autokaggle_tui.config import load_config
from autokaggle_tui.exports import export_all
from autokaggle_tui.live import Live
from autokaggle_tui.workspace import Workspace
from backends.models.playbook.researcher import research
from backends.models.tasks import CampaignView, Task
from experiments.competition import load_competition
from experiments.pairwise import Pairwise
from experiments.registry import Registry


class Counting(Registry):
    """A registry that counts the rows it hands out and the statements it runs, by table."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.read: Counter[str] = Counter()
        self.statements = 0

    def rows(self, sql, parameters=()):
        found = super().rows(sql, parameters)
        self.statements += 1
        self.read[sql.split(" FROM ")[1].split()[0]] += len(found)
        return found


@pytest.fixture
def campaign(workspace: Workspace):
    """The demo competition with a counting registry."""
    config = load_config(workspace.root)
    metric = config.metric(workspace.root)
    competition = load_competition(config.spec(), config.data_path(workspace.root), metric=metric)
    workspace.rounds.mkdir(exist_ok=True)
    registry, live = Counting(workspace.facts), Live(workspace.live)
    registry.insert("runs", id="run", status="running", first_round=1, pid=1, started_at=0.0)
    yield open_campaign(workspace, config, competition, metric, registry, live)
    live.close()
    registry.close()


def begin(campaign: Campaign, number: int) -> str:
    """A round whose experiment runs and has its first fold."""
    registry, name = campaign.registry, f"R{number:02d}"
    with registry.transaction():
        registry.insert("rounds", round=number, run="run", status="open", started_at=float(number))
        registry.insert(
            "experiments",
            id=name,
            round=number,
            source="round",
            kind="model",
            family=f"family{number % 7}",
            idea=f"idea\t{number} é",
            params={"depth": number, "loss": None},
            seed=42,
            status="running",
            started_at=float(number),
        )
        fold(campaign, name, 0)
    return name


def fold(campaign: Campaign, name: str, number: int, score: float | None = 0.9) -> None:
    """A fold of an experiment is done (or failed, without a score)."""
    status = "crash" if score is None else "ok"
    campaign.registry.upsert(
        "folds", experiment=name, fold=number, key="", status=status, score=score, seconds=1.0, at=0.0
    )


def settle(campaign: Campaign, name: str, score: float = 0.9, status: str = "discard", ended: float = 0.0) -> None:
    """The experiment is over, and correlates with all before it."""
    registry = campaign.registry
    draw = random.Random(name)
    others = [
        row["id"] for row in Registry.rows(registry, "SELECT id FROM experiments WHERE in_pool AND id != ?", [name])
    ]
    with registry.transaction():
        fold(campaign, name, 1, score)
        ended = ended or registry.experiment(name)["started_at"] + 0.5
        registry.update("experiments", name, status=status, score=score, in_pool=1, seconds=2.0, ended_at=ended)
        for other in others:
            registry.insert("correlations", a=min(name, other), b=max(name, other), pearson=draw.uniform(0.8, 1.0))


def look(campaign: Campaign) -> CampaignView:
    """The view a phase would get."""
    return campaign.view(1, rounds_left=None, seconds_left=None)


def files(campaign: Campaign) -> tuple[bytes, bytes]:
    """The two exports that tell of every experiment."""
    export_all(campaign.workspace, campaign.registry)
    root = campaign.workspace.root
    return (root / "results.tsv").read_bytes(), (root / "experiments.json").read_bytes()


def same_as_anew(campaign: Campaign) -> None:
    """What the engine shows is what one that opens the registry now would show."""
    view, written = look(campaign), files(campaign)
    registry = Registry(campaign.workspace.facts)
    try:
        fresh = replace(campaign, registry=registry)
        again = look(fresh)
        assert view.experiments == again.experiments
        assert dict(view.correlations) == dict(again.correlations)
        assert written == files(fresh)
    finally:
        registry.close()


def play(campaign: Campaign, first: int, last: int) -> None:
    """Rounds as the engine plays them: a view before and after the run, then the exports."""
    for number in range(first, last + 1):
        look(campaign)
        settle(campaign, begin(campaign, number))
        look(campaign)
        files(campaign)


def test_a_round_reads_only_what_is_new(campaign: Campaign):
    costs = []
    for first in (1, 21):
        play(campaign, first, first + 18)
        campaign.registry.read.clear()
        campaign.registry.statements = 0
        play(campaign, first + 19, first + 19)
        costs.append((campaign.registry.read - Counter(correlations=first + 18), campaign.registry.statements))
    assert costs[0] == costs[1]
    assert costs[0][0]["experiments"] < 10
    assert costs[0][0]["correlations"] == 0


def test_an_export_writes_the_text_of_changed_experiments_only(campaign: Campaign, monkeypatch: pytest.MonkeyPatch):
    play(campaign, 1, 20)
    written = []
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value, **how: written.append(value) or dumps(value, **how))
    files(campaign)
    assert [value for value in written if isinstance(value, dict) and "closest" in value] == []


def test_exports_are_plain_json_and_tsv(campaign: Campaign):
    assert json.loads(files(campaign)[1]) == []
    play(campaign, 1, 15)
    results, told = files(campaign)
    experiments = json.loads(told)
    assert told == (json.dumps(experiments, indent=1, ensure_ascii=False) + "\n").encode()
    assert [e["id"] for e in experiments] == [f"R{number:02d}" for number in range(1, 16)]
    assert experiments[0]["params"] == {"depth": 1, "loss": None}
    lines = list(csv.DictReader(results.decode().splitlines(), dialect="excel-tab"))
    assert [line["description"] for line in lines] == [f"idea {number} é" for number in range(1, 16)]


def test_the_closest_ten_are_those_of_all_pairs(campaign: Campaign):
    play(campaign, 1, 25)
    view = look(campaign)
    for told in json.loads(files(campaign)[1]):
        near = sorted(view.correlations_of(told["id"]).items(), key=lambda pair: -pair[1])[:10]
        assert [(c["id"], c["pearson"]) for c in told["closest"]] == [(other, round(r, 6)) for other, r in near]


def test_running_experiments_are_never_stale(campaign: Campaign):
    play(campaign, 1, 3)
    name = begin(campaign, 4)
    assert look(campaign).experiments[-1].fold_scores == {0: 0.9}
    fold(campaign, name, 1, None)
    assert look(campaign).experiments[-1].fold_scores == {0: 0.9}
    assert json.loads(files(campaign)[1])[-1]["fold_scores"] == [0.9, None]
    fold(campaign, name, 1, 0.8)
    view = look(campaign)
    assert (view.experiments[-1].status, view.experiments[-1].fold_scores) == ("running", {0: 0.9, 1: 0.8})
    settle(campaign, name, 0.85, "keep")
    assert (look(campaign).experiments[-1].status, look(campaign).experiments[-1].score) == ("keep", 0.85)
    assert view.experiments[-1].status == "running"
    same_as_anew(campaign)


def test_one_that_ends_long_after_later_ones_is_seen(campaign: Campaign):
    """A clock that was set back must not hide it."""
    slow = begin(campaign, 1)
    play(campaign, 2, 6)
    settle(campaign, slow, 0.7, "timeout", ended=1.5)
    assert look(campaign).experiments[0].status == "timeout"
    same_as_anew(campaign)


def test_one_that_runs_again_is_seen(campaign: Campaign):
    play(campaign, 1, 4)
    registry = campaign.registry
    with registry.transaction():
        registry.update("experiments", "R02", status="running")
        registry.execute("DELETE FROM folds WHERE experiment = 'R02'")
    assert look(campaign).experiment("R02").fold_scores == {}
    fold(campaign, "R02", 0, 0.5)
    registry.update("experiments", "R02", status="keep", score=0.5, ended_at=9.0)
    assert look(campaign).experiment("R02").score == 0.5
    same_as_anew(campaign)


def test_a_late_submission_shows_on_its_old_line(campaign: Campaign):
    play(campaign, 1, 5)
    files(campaign)
    number = campaign.registry.insert(
        "submissions", competition="c", experiment="R02", file="f", sha256="s", token="t", state="accepted", at=9.0
    )
    line = files(campaign)[0].decode().splitlines()[2].split("\t")
    assert (line[3], line[5]) == ("", "yes")
    campaign.registry.update("submissions", number, public_score=0.77)
    assert files(campaign)[0].decode().splitlines()[2].split("\t")[3] == "0.77"
    same_as_anew(campaign)


def test_a_newcomer_enters_the_closest_of_old_experiments(campaign: Campaign):
    play(campaign, 1, 14)
    name = begin(campaign, 15)
    with campaign.registry.transaction():
        campaign.registry.update("experiments", name, status="discard", ended_at=20.0)
        campaign.registry.insert("correlations", a="R01", b=name, pearson=0.9999, spearman=0.98)
    assert json.loads(files(campaign)[1])[0]["closest"][0] == {
        "id": name, "pearson": 0.9999, "spearman": 0.98, "error": None,
    }  # fmt: skip
    same_as_anew(campaign)


def test_a_view_keeps_what_it_saw(campaign: Campaign):
    play(campaign, 1, 3)
    before = look(campaign)
    play(campaign, 4, 6)
    after = look(campaign)
    assert ("R01", "R03") in before.correlations
    assert ("R03", "R04") not in before.correlations
    assert len(before.correlations) == len(list(before.correlations)) == 6
    assert len(after.correlations) == len(dict(after.correlations)) == 30


def test_pairs_read_the_same_in_both_orders():
    draw = random.Random(5)
    names = [f"x{number}" for number in range(12)]
    plain = {pair: draw.random() for pair in draw.sample(list(combinations(names, 2)), 40)}
    pairs = Pairwise()
    for (one, other), value in plain.items():
        pairs.add(*draw.sample([one, other], 2), value)
    assert dict(pairs) == plain | {(other, one): value for (one, other), value in plain.items()}
    assert pairs.get(("x1", "nobody")) is None
    assert pairs.get(("x1", "x1")) is None
    chosen = names[3:9]
    assert pairs.lowest(chosen) == min(v for (one, other), v in plain.items() if {one, other} <= set(chosen))
    assert pairs.lowest(["x1", "nobody"]) is None


def test_the_least_alike_of_the_pool_by_any_mapping(campaign: Campaign):
    play(campaign, 1, 9)
    view = look(campaign)
    assert view.lowest_correlation == min(view.correlations.values())
    assert replace(view, correlations=dict(view.correlations)).lowest_correlation == view.lowest_correlation
    assert replace(view, correlations={}).lowest_correlation is None


def test_the_researcher_lists_the_best_and_the_latest_of_many(campaign: Campaign):
    play(campaign, 1, 1)
    view = look(campaign)
    many = tuple(replace(view.experiments[0], id=f"R{n}", score=(n * 37 % 997) / 997) for n in range(1, 1001))
    view = replace(view, experiments=many)
    task = Task("research", "researcher", 1001, ("raw.md", "brief.md"), (), ("DONE",), view)
    raw = research(task).files["raw.md"]
    listed = [line.split()[1] for line in raw.splitlines() if line.startswith("| R")]
    best = sorted(many, key=lambda e: e.score, reverse=True)[:50]
    assert set(listed) == {e.id for e in best} | {e.id for e in many[-50:]}
    assert f"{1000 - len(listed)} more are in the registry" in raw
    assert len(raw.encode()) < 50_000
