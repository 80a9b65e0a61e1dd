"""config.json: the person's settings, checked field by field, every error with its cure."""

from __future__ import annotations

import difflib
import json
import os
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from autokaggle_tui.durations import parse_duration
from backends.models.registry import check_model
from experiments.errors import ConfigError, MetricError, ModelError, UsageError
from experiments.files import write_atomic
from experiments.metrics import Metric, canonical_name, get_metric
from experiments.spec import CvStrategy, Direction, Spec, TaskType

FILE = "config.json"
TEMPLATE = "my-competition"
SCHEMA = "config.schema.json"
NOT_BUILT = ("object_detection", "nlp_generation")


def _duration(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value}s"
    if isinstance(value, str):
        try:
            parse_duration(value)
        except UsageError as error:
            raise ValueError(f"{error.message} {error.hint}".removesuffix(".")) from None
    return value


def _task_type(value: object) -> object:
    if value in NOT_BUILT:
        raise ValueError(f"{value} is known but not built yet; binary, multiclass and regression are")
    return value


def _deadline(value: object) -> object:
    """An ISO date means the end of that day; a time without a zone is UTC."""
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("write it as 2026-12-31 or 2026-12-31T23:59:00Z")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no date; write it as 2026-12-31 or 2026-12-31T23:59:00Z") from None
    if len(value.strip()) <= len("2026-12-31"):
        moment = datetime.combine(moment.date(), time(23, 59))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _model_name(value: object) -> object:
    if isinstance(value, str):
        try:
            check_model(value)
        except ModelError as error:
            raise ValueError(str(error).replace("\n ", "")) from None
    return value


def _metric_name(value: object) -> object:
    """Canonical where it is a built-in; another name may come from the workspace's metric.py."""
    if isinstance(value, str):
        try:
            return canonical_name(value)
        except MetricError:
            return value
    return value


Duration = Annotated[str, BeforeValidator(_duration)]
Text = Annotated[str, Field(min_length=1)]
ModelName = Annotated[str, BeforeValidator(_model_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)


class Models(_Part):
    """Which model plays which role."""

    researcher: ModelName = "playbook"
    """Finds what could move the score."""
    builder: ModelName = "playbook"
    """Plans, writes and explains experiments."""
    reviewer: ModelName = "playbook"
    """Challenges plans and results."""


class Compute(_Part):
    """Where and how folds run."""

    slots: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Folds that run side by side; auto: one per core."""
    threads: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Threads of each fold; auto: the cores shared among the slots."""
    fold_timeout: Duration = "30m"
    """Wall time after which a fold is killed."""
    device: Literal["cpu"] = "cpu"
    """What ctx.device says."""

    @property
    def fold_seconds(self) -> float:
        """The fold timeout in seconds."""
        return parse_duration(self.fold_timeout)

    def resolve(self) -> tuple[int, int]:
        """(slots, threads) on this machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        slots = cores if self.slots == "auto" else self.slots
        threads = max(1, cores // slots) if self.threads == "auto" else self.threads
        return slots, threads


class Budget(_Part):
    """Hard caps of a run; the command line's --rounds and --time-limit go first."""

    usd: Annotated[float, Field(ge=0)] | None = None
    """US dollars spent on models."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens sent and received."""
    time: Duration | None = None
    """Wall time of a run."""
    rounds: Annotated[int, Field(ge=1)] | None = None
    """Rounds of a run."""

    @property
    def seconds(self) -> float | None:
        """The time cap in seconds."""
        return None if self.time is None else parse_duration(self.time)


class Config(_Part):
    """Settings of one workspace."""

    schema_: str | None = Field(default=None, alias="$schema")
    """Where an editor finds the schema of this file."""
    competition: Text
    """Slug or name of the competition."""
    platform: Literal["local", "kaggle"] = "local"
    """Where submissions go: local scores them on this machine."""
    competition_dir: str | None = None
    """Folder with the competition's description and rules, for the agents."""
    data_dir: Text = "data"
    """Folder with train, test and sample_submission; relative to the workspace."""
    existing_oof_dir: str | None = None
    """Folder with NAME_oof.npy and NAME_test.npy that join the pool as imported."""
    task_type: Annotated[TaskType, BeforeValidator(_task_type)]
    """What is predicted: one of two classes, one of several, or a number."""
    metric: Annotated[Text, BeforeValidator(_metric_name)]
    """How predictions are scored; Kaggle's and scikit-learn's spellings are accepted."""
    metric_direction: Direction | None = None
    """maximize or minimize; follows from the metric when left out."""
    target_column: Text
    """The column to predict."""
    id_column: str | None = None
    """The column that names the rows; never a feature."""
    group_column: str | None = None
    """Rows of one value never straddle folds."""
    time_column: str | None = None
    """The column that orders the rows in time."""
    cv_strategy: CvStrategy | None = None
    """How folds are made; follows from task, group_column and time_column when left out."""
    cv_folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Number of folds."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    """Seed of the folds and of every experiment."""
    deadline: Annotated[datetime | None, BeforeValidator(_deadline)] = None
    """When submissions close; a date alone means 23:59 UTC of that day."""
    max_submissions_per_day: Annotated[int, Field(ge=0)] | None = 5
    """Submissions per UTC day; null means no limit."""
    knowledge_files: tuple[str, ...] = ()
    """Files the agents read at start."""
    best_pipeline_script: str | None = None
    """A script of yours that the agents may learn from."""
    scraper_path: str | None = None
    """A scraper of yours for the Researcher."""
    kaggle_username: str | None = None
    """Your name on Kaggle."""
    models: Models = Models()
    """Which model plays which role."""
    compute: Compute = Compute()
    """Where and how folds run."""
    budget: Budget = Budget()
    """Hard caps of a run."""
    retro_every: Annotated[int, Field(ge=1)] = 10
    """A retrospective opens every so many rounds."""
    respawn_after: Annotated[int, Field(ge=1)] = 15
    """Rounds after which an agent hands over to a fresh one."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        strategy = self.strategy
        if strategy in ("group", "stratified_group") and not self.group_column:
            raise ValueError(f"cv_strategy: {strategy} needs group_column")
        if strategy == "time" and not self.time_column:
            raise ValueError("cv_strategy: time needs time_column")
        if strategy == "stratified_group" and self.task_type == "regression":
            raise ValueError("cv_strategy: stratified_group is for classes; use group for a regression")
        for name in ("id_column", "group_column", "time_column"):
            if getattr(self, name) == self.target_column:
                raise ValueError(f"{name}: it is the target_column ({self.target_column!r})")
        return self

    @property
    def strategy(self) -> CvStrategy:
        """cv_strategy, or what follows from the other fields."""
        if self.cv_strategy is not None:
            return self.cv_strategy
        if self.time_column:
            return "time"
        if self.group_column:
            return "group"
        return "kfold" if self.task_type == "regression" else "stratified"

    def data_path(self, workspace: Path) -> Path:
        """The data folder."""
        return workspace / Path(self.data_dir).expanduser()

    def existing_oof_path(self, workspace: Path) -> Path | None:
        """The folder of predictions to import, or None."""
        return None if self.existing_oof_dir is None else workspace / Path(self.existing_oof_dir).expanduser()

    def metric_object(self, workspace: Path) -> Metric:
        """The metric, from the workspace's metric.py where that has it.

        Raises:
            ConfigError: Unknown, unfit for the task, or contradicted by metric_direction.
        """
        own = workspace / "metric.py"
        where = workspace / FILE
        try:
            metric = get_metric(self.metric, metric_file=own if own.is_file() else None)
        except MetricError as error:
            raise ConfigError(f"{where}: metric: {error.message}", hint=error.hint) from None
        if self.task_type not in metric.tasks:
            raise ConfigError(
                f"{where}: metric: {metric.name} does not score a {self.task_type} task.",
                hint=f"It scores {', '.join(sorted(metric.tasks))}; change metric or task_type.",
            )
        if self.metric_direction not in (None, metric.direction):
            raise ConfigError(
                f"{where}: metric_direction: {self.metric_direction} contradicts {metric.name}, "
                f"which is to be {metric.direction}d.",
                hint=f'Set it to "{metric.direction}" or leave it out.',
            )
        return metric

    def spec(self, workspace: Path) -> Spec:
        """What the science needs of these settings."""
        metric = self.metric_object(workspace)
        return Spec(
            name=self.competition,
            task_type=self.task_type,
            metric=metric.name,
            direction=metric.direction,
            target=self.target_column,
            id_column=self.id_column,
            group_column=self.group_column,
            time_column=self.time_column,
            cv_strategy=self.strategy,
            cv_folds=self.cv_folds,
            seed=self.seed,
        )


def load_config(workspace: Path) -> Config:
    """Read and check a workspace's config.json.

    Raises:
        ConfigError: Missing, unreadable or wrong; every problem with its key and cure.
    """
    path = workspace / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.",
            hint="Make a workspace with `autokaggle-tui init --train train.csv --target COLUMN`, or try "
            "`autokaggle-tui demo`.",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        data = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}).", hint="Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}.",
            hint="JSON wants double quotes, commas between fields and none after the last.",
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold one object: {{ ... }}.")
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(path, error))) from None
    config.metric_object(workspace)
    return config


def save_config(workspace: Path, config: Config) -> None:
    """Write config.json atomically, fields at their defaults left out."""
    fields = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    ordered = {key: fields[key] for key in ("$schema",) if key in fields} | fields
    write_atomic(workspace / FILE, (json.dumps(ordered, indent=2, ensure_ascii=False) + "\n").encode())


def schema_text() -> str:
    """The JSON schema of config.json, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def _problems(path: Path, error: ValidationError) -> list[str]:
    return [f"{path}: {_problem(cast(dict[str, Any], item))}" for item in error.errors()]


def _problem(item: dict[str, Any]) -> str:
    # A union names its branch in the location; only the person's own keys are of interest.
    location = [
        str(part)
        for part in item["loc"]
        if not (isinstance(part, str) and part.startswith(("constrained", "literal", "function")))
    ]
    location = [part for part in location if part not in ("int", "float", "str")]
    key = ".".join(location) or "the file"
    if item["type"] == "extra_forbidden":
        known = _known(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        return f"{key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}.")
    if item["type"] == "missing":
        return f"{key}: missing; this field must be given."
    said = str(item["msg"]).removeprefix("Value error, ")
    if key == "the file":
        return said + "."
    shown = json.dumps(item["input"], default=str)
    given = f" (it is {shown})" if len(shown) <= 60 and not isinstance(item["input"], dict) else ""
    return f"{key}: {said}{given}."


def _known(location: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())


def main() -> None:
    """Write the schema beside this module (``make schema``)."""
    Path(__file__).with_name(SCHEMA).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
