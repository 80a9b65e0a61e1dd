"""config.json: what a person decides about a competition and the campaign on it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from autokaggle_tui.config_errors import explain
from autokaggle_tui.config_fields import (
    BytesOrAuto,
    CommandText,
    CountOrAuto,
    Deadline,
    Duration,
    KeysText,
    Name,
    PathText,
    RoleModel,
    Size,
    SizeOrAll,
    one_line,
)
from autokaggle_tui.config_section import Section
from autokaggle_tui.config_submit import Submit
from autokaggle_tui.config_text import read_json
from backends.models.settings import ModelSettings
from backends.models.tasks import Role
from experiments.errors import ConfigError, MetricError, UsageError
from experiments.files import write_atomic
from experiments.metrics import (
    Metric,
    canonical_name,
    describe_metric,
    get_metric,
    metric_names,
    metrics_for,
)
from experiments.spec import CvStrategy, Direction, Spec, TaskType

FILE_NAME = "config.json"
METRIC_FILE = "metric.py"
SCHEMA_FILE = Path(__file__).with_name("config.schema.json")
"""The JSON schema that a config's ``$schema`` may point at; ``python -m autokaggle_tui.config`` writes it."""

UNBUILT_TASKS = ("object_detection", "nlp_generation")
"""Task types that are known by name, and refused: their predictions are not numeric arrays."""


class Models(Section):
    """Which model plays each role."""

    researcher: RoleModel = ModelSettings()
    """Reads the competition and proposes directions."""
    builder: RoleModel = ModelSettings()
    """Plans and writes the experiments."""
    reviewer: RoleModel = ModelSettings()
    """Challenges the plans and verifies the results."""

    def of(self, role: Role) -> ModelSettings:
        """The model of a role."""
        settings: ModelSettings = getattr(self, role)
        return settings

    def names(self) -> dict[str, str]:
        """The name of each role's model."""
        return {role: self.of(role).model for role in get_args(Role)}


class Compute(Section):
    """Where the folds run."""

    slots: CountOrAuto = "auto"
    """Folds that run side by side; "auto" fits the machine."""
    threads: CountOrAuto = "auto"
    """Threads of each fold; "auto" shares the processors among the slots."""
    fold_timeout: Duration = 1800.0
    """Longest time a fold may take, e.g. "30m"; then it is killed with all it started."""
    device: Literal["cpu"] = "cpu"
    """What an experiment computes on, as ``ctx.device``."""
    sandbox: Literal["auto", "bubblewrap", "landlock", "off"] = "auto"
    """What experiments are shut into: the strongest that works here, that one, or nothing at all."""
    memory: BytesOrAuto = "auto"
    """Most memory of each slot, e.g. "8GB"; "auto" shares four fifths of the machine's among the slots."""
    processes: int = Field(default=512, ge=16, le=65_536)
    """Most processes and threads of each slot."""

    def resolve(self) -> tuple[int, int]:
        """(slots, threads) on this machine: a slot per processor, unless the file says otherwise."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        slots = cores if self.slots == "auto" else self.slots
        return slots, max(1, cores // slots) if self.threads == "auto" else self.threads


class Budget(Section):
    """Hard caps; null or absent: no cap. The command line's --rounds and --time-limit go first."""

    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Dollars for all model calls of the campaign; every model must then have a known price."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of all model calls of the campaign, in and out."""
    at_cap: Literal["pause", "playbook"] = "pause"
    """When usd or tokens are used up: wait until the cap is raised here, or go on with the playbook."""
    time: Duration | None = None
    """Wall time of a run, e.g. "12h"."""
    rounds: int | None = Field(default=None, ge=1)
    """Rounds of a run."""


class Resources(Section):
    """What the loop leaves of the machine. Below a floor it pauses between folds, and goes on by itself later."""

    min_memory: Size = 256 * 2**20
    """Memory that must be available, e.g. "1g"; "0" does not look."""
    min_disk: Size = 2**30
    """Free space that the disks of the workspace and of the temporary folder must have; "0" does not look."""
    keep_predictions: SizeOrAll = "all"
    """How much predictions may take, e.g. "20g"; above it the oldest go that no blend, champion or submission can need.
    "all" keeps everything."""


class Config(Section):
    """Settings of an autokaggle-tui workspace."""

    schema_reference: str | None = Field(default=None, alias="$schema")
    """Where editors find the JSON schema of this file."""
    competition: str = Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Kaggle's slug of the competition, or any name for a local one: letters, digits, "-", "_" and "."."""
    competition_dir: PathText | None = None
    """Folder with the competition's description and rules, for the agents. Paths are relative to the workspace."""
    platform: Literal["local", "kaggle"] = "local"
    """Where the data come from and submissions go: "local" files with hidden labels, or "kaggle"."""
    data_dir: PathText = "data"
    """Folder with train, test and sample_submission (.csv, .csv.gz or .parquet)."""
    existing_oof_dir: PathText | None = None
    """Folder with predictions made elsewhere (NAME_oof.npy beside NAME_test.npy); they join the pool as imported."""
    task_type: TaskType
    """What is predicted: "binary", "multiclass" or "regression"."""
    metric_name: Name = Field(alias="metric")
    """The competition's metric, in Kaggle's or scikit-learn's spelling; a metric.py in the workspace adds one."""
    metric_direction: Direction = Field(default_factory=lambda: None, validate_default=True)
    """Which scores are better; follows from the metric when absent, and must agree with it."""
    target_column: Name
    """The column to predict."""
    id_column: Name | None = None
    """The column that identifies rows in the submission; never a feature."""
    group_column: Name | None = None
    """Rows with the same value here are never split between training and validation."""
    time_column: Name | None = None
    """Rows are ordered by this column; needed by the "time" strategy."""
    cv_strategy: CvStrategy = Field(default_factory=lambda: None, validate_default=True)
    """How folds are made. When absent: "group" with a group_column, "time" with a time_column, else "stratified"
    for classes and "kfold" for numbers."""
    cv_folds: int = Field(default=5, ge=2, le=50)
    """Number of folds, 2 to 50."""
    deadline: Deadline = None
    """End of the competition: an ISO date (until 23:59 UTC) or time (UTC unless it says otherwise)."""
    max_submissions_per_day: int | None = Field(default=5, ge=0)
    """Submissions allowed in a UTC day; 0 submits nothing, null sets no limit."""
    submit: Submit = Submit()
    """When the loop submits by itself."""
    knowledge_files: tuple[PathText, ...] = Field(default=(), strict=False)
    """Text files that the agents read first: rules, notes, kernels."""
    best_pipeline_script: PathText | None = None
    """A script that already works, for the agents to start from."""
    scraper_path: PathText | None = None
    """A program of yours whose output the Researcher reads."""
    kaggle_username: Name | None = None
    """Your Kaggle user name; credentials never belong in this file."""
    models: Models = Models()
    """Which model plays each role."""
    compute: Compute = Compute()
    """Where the folds run."""
    budget: Budget = Budget()
    """Hard caps on time, rounds and money."""
    resources: Resources = Resources()
    """Memory and disk below which the loop pauses, and how much predictions may take."""
    retro_every: int = Field(default=10, ge=0)
    """A retrospective opens every so many rounds; 0 leaves it to the retro command."""
    respawn_after: int = Field(default=15, ge=1)
    """Rounds after which an agent hands over to a fresh conversation."""
    seed_repeats: int = Field(default=2, ge=0, le=20)
    """How often the first fold of each family's first complete experiment runs again with another seed, to measure the
    noise of reruns."""
    seed: int = Field(default=42, ge=0, le=2**31 - 1)
    """Seed of the folds and of everything that is not told otherwise."""
    notify: CommandText | None = None
    """A command for what deserves to be known at once; it runs in the workspace, without a shell, and gets the
    sentence as its last argument."""
    keys: dict[str, KeysText] = Field(default_factory=dict)
    """Other keys for the screen's bindings, by their id: {"pause": "p", "retro": "t,f5"}."""

    @field_validator("task_type", mode="before")
    @classmethod
    def _known_task(cls, value: Any) -> Any:
        if value in UNBUILT_TASKS:
            raise ValueError(
                f"{value!r} is not built yet: predictions must be numbers. "
                f"This version plays {', '.join(get_args(TaskType))}"
            )
        return value

    @field_validator("metric_name")
    @classmethod
    def _known_metric(cls, value: str, info: ValidationInfo) -> str:
        metric = _described(value, info)
        task = info.data.get("task_type")
        if task is not None and task not in metric.tasks:
            raise ValueError(
                f"{metric.name} does not fit task_type {task!r} (it is for {', '.join(sorted(metric.tasks))}): "
                f"change task_type, or choose one of {', '.join(metrics_for(task))}"
            )
        return value

    @field_validator("metric_direction", mode="before")
    @classmethod
    def _agreeing_direction(cls, value: Any, info: ValidationInfo) -> Any:
        if (name := info.data.get("metric_name")) is None:
            # The metric has its own error; a placeholder keeps this field from adding one.
            return "maximize" if value is None else value
        metric = _described(name, info)
        if value in get_args(Direction) and value != metric.direction:
            raise ValueError(
                f"{value!r} contradicts the metric: {metric.name} is to be {metric.direction}d; "
                f'write "{metric.direction}" or remove the key'
            )
        return metric.direction if value is None else value

    @field_validator("id_column", "group_column", "time_column")
    @classmethod
    def _not_the_target(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value == info.data.get("target_column"):
            raise ValueError(f"{value!r} is the target_column; it cannot have a second role")
        return value

    @field_validator("cv_strategy", mode="before")
    @classmethod
    def _default_strategy(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            return value
        group, time = info.data.get("group_column"), info.data.get("time_column")
        if group and time:
            raise ValueError(
                'is needed, since both group_column and time_column are given: "time" trains on the past only, '
                '"group" keeps groups whole'
            )
        if group or time:
            return "group" if group else "time"
        return "stratified" if info.data.get("task_type") in ("binary", "multiclass") else "kfold"

    @field_validator("cv_strategy")
    @classmethod
    def _possible_strategy(cls, value: CvStrategy, info: ValidationInfo) -> CvStrategy:
        needed = {"group": "group_column", "stratified_group": "group_column", "time": "time_column"}.get(value)
        if needed in info.data and info.data[needed] is None:
            raise ValueError(f'"{value}" needs {needed}: add it, or choose another strategy')
        if value.startswith("stratified") and info.data.get("task_type") == "regression":
            other = "group" if value == "stratified_group" else "kfold"
            raise ValueError(f'"{value}" needs classes, and task_type is "regression": use "{other}"')
        return value

    @classmethod
    def parse(cls, data: Any, workspace: Path) -> Config:
        """A config from the values of a JSON file, checked against the workspace's metric.py.

        Raises:
            ConfigError: One line for each problem, naming the file, the key and the cure.
        """
        try:
            return cls.model_validate(data, context={"workspace": workspace})
        except ValidationError as error:
            raise explain(error, cls, workspace / FILE_NAME) from error

    def spec(self) -> Spec:
        """The part that the science needs."""
        try:
            metric = canonical_name(self.metric_name)
        except MetricError:
            metric = self.metric_name.strip()
        return Spec(
            name=self.competition,
            task_type=self.task_type,
            metric=metric,
            direction=self.metric_direction,
            target=self.target_column,
            id_column=self.id_column,
            group_column=self.group_column,
            time_column=self.time_column,
            cv_strategy=self.cv_strategy,
            cv_folds=self.cv_folds,
            seed=self.seed,
        )

    def metric(self, workspace: Path) -> Metric:
        """The metric, ready to score; runs the workspace's metric.py when it is that one.

        Raises:
            MetricError: metric.py cannot be used.
        """
        return get_metric(self.metric_name, metric_file=workspace / METRIC_FILE)

    def path(self, workspace: Path, text: str) -> Path:
        """A path of this config: absolute, below the home folder (``~``), or relative to the workspace."""
        return workspace / Path(text).expanduser()

    def data_path(self, workspace: Path) -> Path:
        """The folder with the data files."""
        return self.path(workspace, self.data_dir)

    def with_model(self, role: Role, model: str) -> Config:
        """The same config with another model for one role.

        Raises:
            ModelError: No backend takes the model.
        """
        settings = self.models.of(role).renamed(model)
        return self.model_copy(update={"models": self.models.model_copy(update={role: settings})})


def load_config(workspace: Path) -> Config:
    """Read and check ``config.json`` of a workspace.

    Raises:
        ConfigError: The file is missing, not UTF-8, not JSON, or holds what cannot be; the message names the
            file, the place and the cure.
    """
    path = workspace / FILE_NAME
    return Config.parse(read_json(path), workspace)


def save_config(workspace: Path, config: Config) -> None:
    """Write ``config.json``: the keys that were set and what was derived, indented; whole or not at all.

    Keys keep the order of the file they replace; new ones that hold nothing are left out.

    Raises:
        ConfigError: The file cannot be written.
    """
    path = (workspace / FILE_NAME).resolve()
    defaults = {field.alias or name: field.default for name, field in Config.model_fields.items()}
    try:
        old = read_json(path)
    except ConfigError:
        old = None
    before = list(old) if isinstance(old, dict) else []
    chosen = config.model_dump(mode="json", by_alias=True, exclude_unset=True) | {
        "metric_direction": config.metric_direction,
        "cv_strategy": config.cv_strategy,
    }
    order = ["$schema", *before, *defaults]
    data = {
        key: chosen[key]
        for key in dict.fromkeys(order)
        if key in chosen and (chosen[key] is not None or key in before or defaults[key] is not None)
    }
    try:
        write_atomic(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def change_model(workspace: Path, role: str, model: str) -> Role:
    """Change one key of config.json as it is on disk now, so that a person's own edits stay.

    Returns:
        The role.

    Raises:
        UsageError: There is no such role.
        AutokaggleError: There is no such model, or config.json cannot be read or written.
    """
    known = known_role(role)
    save_config(workspace, load_config(workspace).with_model(known, model))
    return known


def known_role(name: str) -> Role:
    """The role of this name.

    Raises:
        UsageError: There is none.
    """
    roles: tuple[Role, ...] = get_args(Role)
    if name not in roles:
        raise UsageError(f"no role {name!r}; roles are {', '.join(roles)}")
    return roles[roles.index(name)]


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.json, for editors."""
    schema = Config.model_json_schema(by_alias=True)
    spellings = [spelling for name, aliases, _ in metric_names() for spelling in (name, *aliases)]
    schema["properties"]["metric"] |= {"anyOf": [{"enum": spellings}, {"type": "string"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _described(name: str, info: ValidationInfo) -> Metric:
    workspace = (info.context or {}).get("workspace")
    try:
        return describe_metric(name, metric_file=None if workspace is None else workspace / METRIC_FILE)
    except MetricError as error:
        raise ValueError(one_line(error)) from error


def main() -> None:
    """Write the schema beside this module."""
    write_atomic(SCHEMA_FILE, (json.dumps(json_schema(), indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
