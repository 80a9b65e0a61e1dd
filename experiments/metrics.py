"""Metrics by name: direction, the tasks each fits, and a score that the engine computes itself.

Names and their facts are plain data; NumPy and SciPy are imported when something is scored
(``experiments.metric_functions``), so that reading a config stays cheap.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
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
            (``predicted_codes``), the value, or the ``k`` most probable classes (``top_codes``).
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
                (one class only for an AUC, a constant target for a rank correlation, a negative one for RMSLE).
        """
        from experiments.metric_functions import evaluate  # NumPy and SciPy: only when scoring

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


def is_positive(proba: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each probability of class 1 stands for class 1; exactly one half does not.

    So decides the most probable of both classes too, where the first of equals wins.
    """
    positive: npt.NDArray[np.bool_] = proba > 0.5
    return positive


def predicted_codes(pred: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(n,) codes of the predicted classes, from (n,) probabilities of class 1 or (n, K); of equals the first."""
    codes: npt.NDArray[np.int64] = (is_positive(pred) if pred.ndim == 1 else pred.argmax(axis=1)).astype("int64")
    return codes


def top_codes(pred: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """(n, min(k, K)) codes of the most probable classes, most probable first, equals in code order."""
    codes: npt.NDArray[np.int64] = (-pred).argsort(axis=1, kind="stable")[:, :k].astype("int64")
    return codes


_BINARY = frozenset({"binary"})
_CLASSES = frozenset({"binary", "multiclass"})
_MULTICLASS = frozenset({"multiclass"})
_REGRESSION = frozenset({"regression"})
_ANY = _CLASSES | _REGRESSION

# The spellings of Kaggle's evaluation pages and of scikit-learn, as far as normal_name leaves them apart.
_BUILTIN: tuple[tuple[Metric, tuple[str, ...]], ...] = (
    (
        Metric("roc_auc", "maximize", _CLASSES, "ranking", bounded=True),
        (
            "auc_roc",
            "auc",
            "roc_auc_score",
            "roc_auc_ovr",
            "auroc",
            "area_under_the_roc_curve",
            "area_under_receiver_operating_characteristic_curve",
        ),
    ),
    (
        Metric("gini", "maximize", _BINARY | _REGRESSION, "ranking", bounded=True),
        (
            "normalized_gini",
            "normalised_gini",
            "gini_normalized",
            "normalized_gini_coefficient",
            "normalized_gini_index",
        ),
    ),
    (
        Metric("average_precision", "maximize", _CLASSES, "ranking", bounded=True),
        ("average_precision_score", "ap", "pr_auc", "auc_pr", "auprc"),
    ),
    (
        Metric("log_loss", "minimize", _CLASSES, "probability"),
        (
            "cross_entropy",
            "binary_cross_entropy",
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
        ("f1_score", "f1_binary", "binary_f1", "f_score"),
    ),
    (
        Metric("f1_macro", "maximize", _CLASSES, "label", bounded=True),
        ("macro_f1", "f1_score_macro", "macro_f1_score", "macro_f_score", "f_score_macro"),
    ),
    (
        Metric("f1_micro", "maximize", _CLASSES, "label", bounded=True),
        ("micro_f1", "f1_score_micro", "micro_f1_score", "micro_f_score", "f_score_micro"),
    ),
    (
        Metric("f1_weighted", "maximize", _CLASSES, "label", bounded=True),
        ("weighted_f1", "f1_score_weighted", "weighted_f1_score", "weighted_f_score", "f_score_weighted"),
    ),
    (
        Metric("mcc", "maximize", _CLASSES, "label", bounded=True),
        ("matthews_corrcoef", "matthews", "matthews_correlation", "matthews_correlation_coefficient"),
    ),
    (
        Metric("cohen_kappa", "maximize", _CLASSES, "label", bounded=True),
        ("cohen_kappa_score", "cohens_kappa", "unweighted_kappa"),
    ),
    (
        Metric("qwk", "maximize", _ANY, "label", bounded=True),
        (
            "quadratic_weighted_kappa",
            "quadratic_kappa",
            "quadratic_kappa_score",
            "quadratic_cohen_kappa",
            "cohen_kappa_quadratic",
            "weighted_kappa",
            "kappa",
        ),
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
    (Metric("r2", "maximize", _REGRESSION, "value"), ("r2_score", "r_squared", "coefficient_of_determination")),
    (Metric("mape", "minimize", _REGRESSION, "value"), ("mean_absolute_percentage_error",)),
    (
        Metric("smape", "minimize", _REGRESSION, "value"),
        ("symmetric_mean_absolute_percentage_error", "symmetric_mape"),
    ),
    (
        Metric("spearman", "maximize", _REGRESSION, "ranking", bounded=True),
        (
            "spearmanr",
            "spearman_correlation",
            "spearman_correlation_coefficient",
            "spearman_rank",
            "spearman_rank_correlation",
            "spearman_rank_correlation_coefficient",
        ),
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
_AT_K = re.compile(r"(?P<family>.+?)(?:@|at)(?P<k>[0-9]{1,6})|(?P<short>map|ndcg)(?P<number>[0-9]{1,6})")
_MAX_K = 1000


def normal_name(name: str) -> str:
    """A name without what spellings differ in: ``F-Score (Micro)`` -> ``fscoremicro``, ``R²`` -> ``r2``."""
    return re.sub(r"[^\w@]|_", "", unicodedata.normalize("NFKC", name).casefold())


_SPELLINGS = {
    normal_name(spelling): metric.name for metric, aliases in _BUILTIN for spelling in (metric.name, *aliases)
} | {"map": "map@k", "ndcg": "ndcg@k"}


def canonical_name(name: str) -> str:
    """The one name of a built-in metric, from any spelling: ``AUC_ROC`` -> ``roc_auc``, ``MAP at 3`` -> ``map@3``.

    Raises:
        MetricError: No built-in metric is called so; the hint names the nearest.
    """
    known, k = _built_in(name)
    if known is None:
        raise _unknown(name)
    if not known.endswith("@k"):
        return known
    if k is None or not 1 <= k <= _MAX_K:
        wrong = "needs a number in place of k" if k is None else f"needs a k between 1 and {_MAX_K}, not {k}"
        raise MetricError(f"metric {known} {wrong}", hint=f'write for example "{known.replace("k", "3")}"')
    return known.removesuffix("k") + str(k)


def builtin_called(name: str) -> str | None:
    """The built-in metric that a name stands for, ``map@k`` for any k or none; None when there is no such."""
    return _built_in(name)[0]


def get_metric(name: str, *, metric_file: Path | None = None) -> Metric:
    """The metric of this name: a built-in one, or the one that ``metric_file`` (metric.py) defines.

    The file is run only when the name is its own. It may not define a metric under the name of a built-in one.

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


def _built_in(name: str) -> tuple[str | None, int | None]:
    """Name in the table, and k where one is given; scikit-learn's scorers put ``neg_`` before what is minimised."""
    spelling = normal_name(name)
    for candidate in (spelling, spelling.removeprefix("neg")):
        if (known := _SPELLINGS.get(candidate)) is not None:
            return known, None
        if (match := _AT_K.fullmatch(candidate)) is not None:
            family = _SPELLINGS.get(match["family"] or match["short"], "")
            if family.endswith("@k"):
                return family, int(match["k"] or match["number"])
    return None, None


def _builtin(canonical: str) -> Metric:
    family, at, k = canonical.partition("@")
    if not at:
        return _METRICS[canonical]
    return replace(_METRICS[f"{family}@k"], name=canonical, k=int(k))


def _find(name: str, metric_file: Path | None, *, load: bool) -> Metric:
    from experiments.metric_file import declare_metric, load_metric, refuse_builtin_name

    own = metric_file if metric_file is not None and metric_file.exists() else None
    if own is None or builtin_called(name) is not None:
        if own is not None:
            refuse_builtin_name(own)
        return _builtin(canonical_name(name))
    declared = declare_metric(own)
    if normal_name(declared.name) != normal_name(name):
        raise _unknown(name, extra=declared.name)
    return load_metric(own) if load else declared


def _unknown(name: str, *, extra: str | None = None) -> MetricError:
    spellings = _SPELLINGS | ({normal_name(extra): extra} if extra else {})
    close = difflib.get_close_matches(normal_name(name), spellings, n=5, cutoff=0.6)
    near = list(dict.fromkeys(spellings[spelling] for spelling in close))[:3]
    names = [*_METRICS, *([extra] if extra else [])]
    cure = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."
    return MetricError(f"unknown metric {name!r}", hint=f"{cure} A metric.py in the workspace adds one.")
