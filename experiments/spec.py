"""What a competition is, in plain values: the part of config.json that the science needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

TaskType = Literal["binary", "multiclass", "regression"]
Direction = Literal["maximize", "minimize"]
CvStrategy = Literal["kfold", "stratified", "group", "stratified_group", "time"]


@dataclass(frozen=True)
class Spec:
    """A competition as its owner describes it.

    Attributes:
        metric: Canonical name (``experiments.metrics.canonical_name``).
        seed: Seed of the folds and of everything that is not told otherwise.
    """

    name: str
    task_type: TaskType
    metric: str
    direction: Direction
    target: str
    id_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    cv_strategy: CvStrategy = "kfold"
    cv_folds: int = 5
    seed: int = 42


@dataclass(frozen=True)
class Columns:
    """The roles of the columns an experiment sees; every name is a column of train, valid and test.

    Attributes:
        features: All feature columns, in file order (group and time columns included when test has them).
        numeric: Numbers, booleans included.
        categorical: Strings of limited variety.
        text: Free text (long, mostly unique strings).
        datetime: Strings or stamps that parse as dates.
        target: Name of the target, a column of train only.
        group: Column whose values never straddle a split, or None.
        time: Column that orders the rows, or None.
    """

    features: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    text: tuple[str, ...]
    datetime: tuple[str, ...]
    target: str
    group: str | None = None
    time: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able form, for a worker."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Columns:
        """The inverse of ``to_json``."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)
