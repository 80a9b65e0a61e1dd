"""A campaign, opened: settings, data, folds, registry and rules of one workspace, for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autokaggle_tui.config import Config
from autokaggle_tui.live import Live
from autokaggle_tui.memory import recall
from autokaggle_tui.publicwork import public_kernels
from autokaggle_tui.workspace import Workspace
from backends.models.tasks import CampaignView, DataView, ExperimentView, Outcome, RetroIdea
from experiments.competition import Competition, load_competition
from experiments.errors import DataError, RuleError, WorkspaceError
from experiments.files import allow_open_files
from experiments.folds import Folds, make_folds
from experiments.metrics import Metric
from experiments.registry import Registry
from experiments.rules import Rules
from experiments.schema import Row


@dataclass
class Campaign:
    """Everything that stays the same while rounds pass.

    Attributes:
        rules: As of the last phase that began; see :meth:`refresh_rules`.
    """

    workspace: Workspace
    config: Config
    metric: Metric
    competition: Competition
    folds: Folds
    registry: Registry
    live: Live
    slots: int
    threads: int
    rules: Rules
    broken_rules: str = ""
    _data: DataView | None = field(default=None, repr=False)

    @property
    def outputs(self) -> int:
        """Numbers per row of a prediction: K for multiclass, else 1."""
        classes = self.competition.classes
        return len(classes) if self.competition.spec.task_type == "multiclass" and classes else 1

    def refresh_rules(self) -> None:
        """Read LEARNINGS.md again; a broken block is told once and the last good rules stay."""
        try:
            self.rules = Rules.load(self.workspace.learnings)
            self.broken_rules = ""
        except RuleError as error:
            if str(error) != self.broken_rules:
                self.broken_rules = str(error)
                self.registry.event("warning", text=f"{error} The last good rules stay in force.")

    def experiments(self) -> tuple[ExperimentView, ...]:
        """Every experiment as a strategist sees it, oldest first."""
        return tuple(known.view for known in recall(self.registry).experiments)

    def view(self, round: int, *, rounds_left: int | None, seconds_left: float | None) -> CampaignView:
        """The registry as a typed read-only view, for one task."""
        champion = self.registry.champion()
        best = self.registry.best_single(self.metric.direction)
        memory = recall(self.registry)
        retro, top = self._retro(round)
        hints = self.registry.rows(
            "SELECT args FROM commands WHERE verb = 'hint' AND state = 'done' ORDER BY id DESC LIMIT 20"
        )
        return CampaignView(
            spec=self.competition.spec,
            data=self.data_view(),
            round=round,
            rounds_left=rounds_left,
            seconds_left=seconds_left,
            slots=self.slots,
            threads=self.threads,
            experiments=tuple(known.view for known in memory.experiments),
            champion=champion["id"] if champion else None,
            best_single=best["id"] if best else None,
            correlations=memory.correlations.snapshot(),
            rules=self.rules.to_json(),
            hints=tuple(row["args"]["text"] for row in reversed(hints)),
            retro=retro,
            top=top,
            outcomes=self._outcomes(),
            bounded=self.metric.bounded,
            public=public_kernels(self.registry),
        )

    def last_retro(self, round: int) -> Row | None:
        """The phase of the last retrospective up to a round."""
        return self.registry.row(
            "SELECT * FROM phases WHERE phase = 'retro' AND round <= ? ORDER BY round DESC LIMIT 1", [round]
        )

    def _retro(self, round: int) -> tuple[int | None, tuple[RetroIdea, ...]]:
        row = self.last_retro(round)
        if row is None:
            return None, ()
        return row["round"], tuple(RetroIdea(**idea) for idea in row["detail"].get("next", ()))

    def _outcomes(self) -> dict[str, Outcome]:
        gates = {
            row["round"]: row["figures"]
            for row in self.registry.rows(
                "SELECT round, figures FROM verdicts WHERE rule = 'fold1-gate' AND verdict = 'block'"
            )
        }
        outcomes = {}
        for known in recall(self.registry).experiments:
            row = known.row
            figures = gates.get(row["round"]) if row["status"] == "killed" else None
            behind, margin = (figures.get("behind"), figures.get("margin")) if figures else (None, None)
            gate = (float(behind), float(margin)) if behind is not None and margin is not None else None
            outcomes[row["id"]] = Outcome(row["reason"], row["gain"], row["t"], gate)
        return outcomes

    def data_view(self) -> DataView:
        """The shape of the data, computed once."""
        if self._data is None:
            competition = self.competition
            roles, train = competition.columns, competition.train
            names = list(roles.features)
            cardinality = max((int(train[name].nunique()) for name in roles.categorical), default=0)
            missing = float(np.mean([train[name].isna().mean() for name in names])) if names else 0.0
            self._data = DataView(
                rows=len(train),
                test_rows=len(competition.test),
                n_classes=len(competition.classes or ()),
                n_numeric=len(roles.numeric),
                n_categorical=len(roles.categorical),
                n_text=len(roles.text),
                n_datetime=len(roles.datetime),
                max_cardinality=cardinality,
                missing_share=missing,
            )
        return self._data


def load_data(workspace: Workspace, config: Config) -> tuple[Competition, Metric]:
    """What config.json says of the competition, read.

    Raises:
        AutokaggleError: The data cannot be used, or the metric is unknown.
    """
    metric = config.metric(workspace.root)
    return load_competition(config.spec(), config.data_path(workspace.root), metric=metric), metric


def open_campaign(
    workspace: Workspace, config: Config, competition: Competition, metric: Metric, registry: Registry, live: Live
) -> Campaign:
    """Bring a workspace's data and registry together; with a registry that is looked at, nothing is written.

    Raises:
        AutokaggleError: The rules or the folds cannot be read.
        WorkspaceError: Data, target or folds differ from those the registry's scores were made with.
    """
    # A pool of hundreds, each with two predictions and its ranks: many systems allow a thousand files.
    allow_open_files()
    for note in competition.notes:
        registry.event("note", text=note)
    spec = competition.spec
    _unchanged(registry, {"metric": spec.metric, "target": spec.target, "data": competition.data_hash})
    _unchanged(registry, {"cross-validation": _recipe(competition)})
    folds = _folds(workspace, competition, registry)
    _unchanged(registry, {"folds": folds.digest})
    slots, threads = config.compute.resolve()
    return Campaign(
        workspace=workspace,
        config=config,
        metric=metric,
        competition=competition,
        folds=folds,
        registry=registry,
        live=live,
        slots=min(slots, folds.n_folds),
        threads=threads,
        rules=Rules.load(workspace.learnings),
    )


def _folds(workspace: Workspace, competition: Competition, registry: Registry) -> Folds:
    """The folds on file, or new ones put on file: a library's update must not move them.

    A file that is lost is made again only if the same folds come of it.
    """
    path = workspace.root / "folds.npz"
    known = registry.fact("folds")
    if known is None and registry.looking:
        raise WorkspaceError(
            f"the engine in {workspace.root} is only starting: it has made no folds yet.",
            hint="Give the same command again in a moment.",
        )
    try:
        if known is not None:
            return Folds.load(path)
    except DataError:
        folds = _make_folds(competition)
        if folds.digest != known:
            raise
    else:
        folds = _make_folds(competition)
    if not registry.looking:
        folds.save(path)
    return folds


def _make_folds(competition: Competition) -> Folds:
    return make_folds(competition.spec, competition.y, groups=competition.groups, times=competition.times)


def _recipe(competition: Competition) -> str:
    """All that the folds depend on beside the data, as one line."""
    spec = competition.spec
    parts = [spec.cv_strategy, f"{spec.cv_folds} folds", f"seed {spec.seed}"]
    parts += [f"group {spec.group_column}"] if spec.group_column else []
    parts += [f"time {spec.time_column}"] if spec.time_column else []
    return ", ".join(parts)


def _unchanged(registry: Registry, now: Mapping[str, str]) -> None:
    known = {name: registry.fact(name) for name in now}
    for name, value in now.items():
        before = known[name]
        if before is not None and before != value:
            shown = f" (was {before}, is {value})" if name not in ("data", "folds") else ""
            raise WorkspaceError(
                f"the {name} changed since this campaign began{shown}: its scores could not be compared any more.",
                hint="Put it back as it was, or begin a new campaign with `autokaggle-tui init` in another folder.",
            )
    if registry.looking:
        return
    with registry.transaction():
        for name, value in now.items():
            if known[name] is None:
                registry.set_fact(name, value)
