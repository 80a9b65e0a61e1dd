"""Metrics by name: direction, the tasks each fits, and a score that the engine computes itself.

Names and their facts are plain data; NumPy and scikit-learn are imported when something is scored
(``experiments.metric_functions``), so that reading a config stays cheap.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.errors import MetricError
from experiments.spec import Direction

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Prediction = Literal["ranking", "probability", "label", "value", "top_k"]


@dataclass(frozen=True)
class Metric:
    """How predictions are scored, and which of two scores is better.

    Attributes:
        name: Canonical name, e.g. ``roc_auc`` or ``map@3``.
        direction: ``maximize`` or ``minimize``.
        tasks: Task types it fits.
        prediction: What it reads from a prediction: only the order (``ranking``), probabilities, the label
            (probability above 0.5, or the most probable class), the value, or the ``k`` most probable classes.
        bounded: Scores lie in [0, 1], or in [-1, 1] where 0 is chance: differences are compared as they are,
            not as a share of the score.
        k: How many classes count, of a ``top_k`` metric.
        floor: Lowest prediction the metric is defined for. Lower ones are raised to it before scoring, and must
            be raised in a submission too.
        function: Of a metric from a workspace's metric.py: its ``score(y_true, y_pred)``.
    """

    name: str
    direction: Direction
    tasks: frozenset[str]
    prediction: Prediction
    bounded: bool = False
    k: int | None = None
    floor: float | None = None
    function: Callable[[Any, Any], float] | None = field(default=None, compare=False, repr=False)

    def score(self, y: npt.ArrayLike, pred: npt.ArrayLike, *, mask: npt.NDArray[np.bool_] | None = None) -> float:
        """Score a prediction.

        Args:
            y: (n,) integer class codes, or floats for regression.
            pred: (n,) values, or probabilities of class 1; (n, K) probabilities of the K classes. Rows of
                class probabilities are rescaled to sum to 1 where the metric reads probabilities.
            mask: (n,) True for the rows to score; all when omitted.

        Raises:
            MetricError: The shapes differ, a prediction is missing, or the metric is undefined on these rows
                (one class only for an AUC, a constant prediction for a rank correlation).
        """
        from experiments.metric_functions import evaluate  # NumPy and scikit-learn: only when scoring

        return evaluate(self, y, pred, mask)

    def gain(self, new: float, old: float) -> float:
        """By how much ``new`` is better than ``old``: positive is better, whatever the direction."""
        return new - old if self.direction == "maximize" else old - new

    def better(self, new: float, old: float) -> bool:
        """Whether ``new`` is strictly better than ``old``; never for a ``new`` that is not a number."""
        return self.gain(new, old) > 0

    @property
    def worst(self) -> float:
        """A score that every real score is better than."""
        return -math.inf if self.direction == "maximize" else math.inf

    def as_submitted(self, pred: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[Any]:
        """The values that this metric reads from a prediction, which are what a submission must hold.

        Args:
            pred: (m,) or (m, K) as in ``score``.
            y: (n,) targets of the training rows; the grades that a label metric rounds a regression to.

        Returns:
            ``label``: (m,) int64 codes, or grades of a regression; ``top_k``: (m, k) int64 codes, most probable
            first; ``probability``: rows summing to 1; else the prediction, raised to ``floor``.

        Raises:
            MetricError: The prediction cannot be read so.
        """
        from experiments.metric_functions import as_submitted

        return as_submitted(self, pred, y)


_BINARY = frozenset({"binary"})
_CLASSES = frozenset({"binary", "multiclass"})
_MULTICLASS = frozenset({"multiclass"})
_REGRESSION = frozenset({"regression"})
_ANY = _CLASSES | _REGRESSION

# Aliases are normalised (see _normal): the spellings of Kaggle's evaluation pages and of scikit-learn.
_BUILTIN: tuple[tuple[Metric, tuple[str, ...]], ...] = (
    (
        Metric("roc_auc", "maximize", _CLASSES, "ranking", bounded=True),
        (
            "auc_roc",
            "auc",
            "rocauc",
            "roc_auc_score",
            "roc_auc_ovr",
            "auroc",
            "area_under_the_roc_curve",
            "area_under_receiver_operating_characteristic_curve",
        ),
    ),
    (
        Metric("gini", "maximize", _BINARY, "ranking", bounded=True),
        ("normalized_gini", "gini_normalized", "normalized_gini_coefficient", "normalized_gini_index"),
    ),
    (
        Metric("average_precision", "maximize", _CLASSES, "ranking", bounded=True),
        ("average_precision_score", "ap", "pr_auc", "auc_pr", "auprc"),
    ),
    (
        Metric("log_loss", "minimize", _CLASSES, "probability"),
        (
            "logloss",
            "cross_entropy",
            "binary_log_loss",
            "multiclass_loss",
            "multi_class_log_loss",
            "multi_class_loss",
            "mlogloss",
        ),
    ),
    (
        Metric("brier", "minimize", _CLASSES, "probability", bounded=True),
        ("brier_score", "brier_score_loss", "brier_loss"),
    ),
    (
        Metric("accuracy", "maximize", _CLASSES, "label", bounded=True),
        ("accuracy_score", "acc", "categorization_accuracy"),
    ),
    (
        Metric("balanced_accuracy", "maximize", _CLASSES, "label", bounded=True),
        ("balanced_accuracy_score", "bacc", "macro_recall", "recall_macro"),
    ),
    (
        Metric("f1", "maximize", _BINARY, "label", bounded=True),
        ("f1_score", "f1_binary", "binary_f1"),
    ),
    (
        Metric("f1_macro", "maximize", _CLASSES, "label", bounded=True),
        ("macro_f1", "f1_score_macro", "macro_f1_score", "macro_f_score"),
    ),
    (
        Metric("f1_micro", "maximize", _CLASSES, "label", bounded=True),
        ("micro_f1", "f1_score_micro", "micro_f1_score"),
    ),
    (
        Metric("f1_weighted", "maximize", _CLASSES, "label", bounded=True),
        ("weighted_f1", "f1_score_weighted", "weighted_f1_score"),
    ),
    (
        Metric("mcc", "maximize", _CLASSES, "label", bounded=True),
        ("matthews_corrcoef", "matthews", "matthews_correlation", "matthews_correlation_coefficient"),
    ),
    (
        Metric("qwk", "maximize", _ANY, "label", bounded=True),
        ("quadratic_weighted_kappa", "quadratic_kappa", "cohen_kappa_quadratic", "weighted_kappa", "kappa"),
    ),
    (
        Metric("rmse", "minimize", _REGRESSION, "value"),
        ("root_mean_squared_error", "root_mean_square_error"),
    ),
    (
        Metric("rmsle", "minimize", _REGRESSION, "value", floor=0.0),
        ("root_mean_squared_log_error", "root_mean_squared_logarithmic_error"),
    ),
    (Metric("mse", "minimize", _REGRESSION, "value"), ("mean_squared_error",)),
    (Metric("mae", "minimize", _REGRESSION, "value"), ("mean_absolute_error",)),
    (
        Metric("medae", "minimize", _REGRESSION, "value"),
        ("median_absolute_error", "medianae", "median_ae"),
    ),
    (Metric("r2", "maximize", _REGRESSION, "value"), ("r2_score", "r²", "r_squared", "r_2")),
    (Metric("mape", "minimize", _REGRESSION, "value"), ("mean_absolute_percentage_error",)),
    (
        Metric("smape", "minimize", _REGRESSION, "value"),
        ("symmetric_mean_absolute_percentage_error", "symmetric_mape"),
    ),
    (
        Metric("spearman", "maximize", _REGRESSION, "ranking", bounded=True),
        ("spearmanr", "spearman_correlation", "spearman_rank", "spearman_rank_correlation"),
    ),
    (
        Metric("map@k", "maximize", _MULTICLASS, "top_k", bounded=True),
        ("mapk", "mean_average_precision", "map_at_k"),
    ),
    (
        Metric("ndcg@k", "maximize", _MULTICLASS, "top_k", bounded=True),
        ("ndcgk", "ndcg_score", "ndcg_at_k", "normalized_discounted_cumulative_gain"),
    ),
)
_METRICS = {metric.name: metric for metric, _ in _BUILTIN}
_SPELLINGS = {spelling: metric.name for metric, aliases in _BUILTIN for spelling in (metric.name, *aliases)} | {
    "map": "map@k",
    "ndcg": "ndcg@k",
}
_AT_K = re.compile(r"(?P<family>.+?)_?(?:@|_at_)_?(?P<k>[0-9]{1,6})|(?P<short>map|ndcg)_?(?P<number>[0-9]{1,6})")
_MAX_K = 1000


def canonical_name(name: str) -> str:
    """The one name of a built-in metric, from any spelling: ``AUC_ROC`` -> ``roc_auc``, ``MAP at 3`` -> ``map@3``.

    Raises:
        MetricError: No built-in metric is called so; the hint names the nearest.
    """
    spelling = _normal(name)
    # scikit-learn's scorers negate what is minimised; the metric is the same.
    for candidate in (spelling, spelling.removeprefix("neg_")):
        if (known := _resolve(candidate)) is not None:
            return known
    raise _unknown(name, spelling)


def get_metric(name: str, *, metric_file: Path | None = None) -> Metric:
    """The metric of this name: a built-in one, or the one that ``metric_file`` (metric.py) defines.

    The file is run only when the name is its own.

    Raises:
        MetricError: The name is unknown, or the file cannot be used.
    """
    return _find(name, metric_file, load=True)


def describe_metric(name: str, *, metric_file: Path | None = None) -> Metric:
    """Like ``get_metric``, without running metric.py: direction and tasks are right, ``score`` may not work.

    Raises:
        MetricError: The name is unknown, or the file does not declare a metric.
    """
    return _find(name, metric_file, load=False)


def metric_names() -> list[tuple[str, tuple[str, ...], Direction]]:
    """Every built-in metric: (canonical name, other spellings, direction); ``@k`` stands for a number."""
    return [(metric.name, aliases, metric.direction) for metric, aliases in _BUILTIN]


def metrics_for(task_type: str) -> list[str]:
    """Canonical names of the built-in metrics that fit a task type."""
    return [metric.name for metric, _ in _BUILTIN if task_type in metric.tasks]


def default_metric(task_type: str, n_classes: int | None = None) -> str:
    """The metric to use when nobody named one: AUC for two classes, accuracy for more, RMSE for numbers."""
    if task_type == "regression":
        return "rmse"
    return "roc_auc" if task_type == "binary" or n_classes == 2 else "accuracy"


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _resolve(spelling: str) -> str | None:
    """Canonical name of a normalised spelling, or None."""
    if (known := _SPELLINGS.get(spelling)) is not None:
        if known.endswith("@k"):
            raise MetricError(
                f"metric {known} needs a number in place of k",
                hint=f'write for example "{known.replace("k", "3")}"',
            )
        return known
    if (match := _AT_K.fullmatch(spelling)) is None:
        return None
    family = _SPELLINGS.get(match["family"] or match["short"], "")
    if not family.endswith("@k"):
        return None
    k = int(match["k"] or match["number"])
    if not 1 <= k <= _MAX_K:
        raise MetricError(
            f"metric {spelling}: k must lie between 1 and {_MAX_K}",
            hint=f'write for example "{family.replace("k", "3")}"',
        )
    return family.removesuffix("k") + str(k)


def _builtin(canonical: str) -> Metric:
    family, at, k = canonical.partition("@")
    if not at:
        return _METRICS[canonical]
    return replace(_METRICS[f"{family}@k"], name=canonical, k=int(k))


def _find(name: str, metric_file: Path | None, *, load: bool) -> Metric:
    try:
        return _builtin(canonical_name(name))
    except MetricError:
        if metric_file is None or not metric_file.exists():
            raise
    from experiments.metric_file import declare_metric, load_metric

    declared = declare_metric(metric_file)
    if _normal(declared.name) != _normal(name):
        raise _unknown(name, _normal(name), extra=declared.name)
    return load_metric(metric_file) if load else declared


def _unknown(name: str, spelling: str, *, extra: str | None = None) -> MetricError:
    spellings = _SPELLINGS | ({_normal(extra): extra} if extra else {})
    near = list(dict.fromkeys(spellings[s] for s in difflib.get_close_matches(spelling, spellings, n=5, cutoff=0.6)))[
        :3
    ]
    names = [*_METRICS, *([extra] if extra else [])]
    cure = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."
    return MetricError(f"unknown metric {name!r}", hint=f"{cure} A metric.py in the workspace adds one.")
