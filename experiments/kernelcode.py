"""What a public notebook's code names: model families, ways to make features, and parameters with their values.

Nothing is run: cells are parsed, and cells that are no plain Python (shell lines, broken code) are left out.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LONGEST_CELL = 100_000
DEEPEST = 60
"""Nested deeper than this no person writes."""

_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"LGBM\w+|lightgbm|lgbm?", "lightgbm"),
    (r"XGB\w+|xgboost|xgb", "xgboost"),
    (r"CatBoost\w*|catboost", "catboost"),
    (r"ExtraTree\w*", "extra_trees"),
    (r"RandomForest\w*", "random_forest"),
    (r"HistGradientBoosting\w*", "hist_gradient_boosting"),
    (r"GradientBoosting(?:Classifier|Regressor)", "gradient_boosting"),
    (r"LogisticRegression\w*|Ridge(?:CV|Classifier\w*)?|Lasso\w*|ElasticNet\w*|LinearRegression|SGD\w+", "linear"),
    (r"SVC|SVR|NuSVC|NuSVR|KernelRidge|GaussianProcess\w+", "kernel"),
    (r"KNeighbors\w+", "neighbours"),
    (r"MLP(?:Classifier|Regressor)|RealMLP\w*|TabM\w*|TabNet\w*|keras|Sequential|FTTransformer|NODE", "mlp"),
    (r"TabPFN\w*", "tabpfn"),
    (r"TabularPredictor|autogluon", "autogluon"),
    (r"GaussianNB|BernoulliNB|MultinomialNB", "naive_bayes"),
    (r"Stacking(?:Classifier|Regressor|CVClassifier|CVRegressor)", "stacking"),
    (r"Voting(?:Classifier|Regressor)", "voting"),
)
_FAMILY_NAMES = tuple((re.compile(f"(?:{pattern})\\Z"), family) for pattern, family in _FAMILIES)

_FEATURES: tuple[tuple[str, str], ...] = (
    (r"TargetEncoder|LeaveOneOutEncoder|CatBoostEncoder|JamesSteinEncoder|MEstimateEncoder", "target encoding"),
    (r"(?:target|mean)_enc\w*", "target encoding"),
    (r"CountEncoder|(?:count|freq)\w*_enc\w*", "frequency encoding"),
    (r"OneHotEncoder|get_dummies", "one-hot encoding"),
    (r"OrdinalEncoder|LabelEncoder|factorize", "ordinal encoding"),
    (r"PolynomialFeatures", "products of columns"),
    (r"KBinsDiscretizer|cut|qcut", "binning"),
    (r"TfidfVectorizer|CountVectorizer|HashingVectorizer", "text n-grams"),
    (r"PCA|TruncatedSVD|FastICA|UMAP|TSNE|NMF", "projections"),
    (r"KMeans|MiniBatchKMeans|DBSCAN|GaussianMixture", "clusters"),
    (r"NearestNeighbors", "nearest neighbours"),
    (r"StandardScaler|MinMaxScaler|RobustScaler", "scaling"),
    (r"QuantileTransformer|PowerTransformer|RankGauss", "rank or power scaling"),
    (r"log1p|log", "logarithms"),
    (r"SimpleImputer|KNNImputer|IterativeImputer", "imputation"),
    (r"SMOTE\w*|RandomOverSampler|RandomUnderSampler|ADASYN", "resampling"),
    (r"shift|diff|pct_change", "lags"),
    (r"rolling|ewm|expanding", "rolling windows"),
    (r"pseudo_?label\w*", "pseudo-labels"),
    (r"FeatureTools|dfs", "deep feature synthesis"),
    (r"create_study", "tuning with Optuna"),
    (r"GroupKFold|StratifiedGroupKFold", "folds by group"),
    (r"TimeSeriesSplit", "folds by time"),
)
_FEATURE_NAMES = tuple((re.compile(f"(?:{pattern})\\Z"), feature) for pattern, feature in _FEATURES)
_GROUPED = frozenset({"transform", "agg", "aggregate", "mean", "std", "nunique", "median", "min", "max", "sum"})
_DATE_PARTS = frozenset({"month", "day", "dayofweek", "weekday", "hour", "year", "quarter", "dayofyear"})
_OPERATIONS: Mapping[type[ast.operator], str] = {
    ast.Div: "ratios of columns",
    ast.Mult: "products of columns",
    ast.Sub: "differences of columns",
}

_PARAMETERS: Mapping[str, str] = {
    "learning_rate": "learning_rate", "eta": "learning_rate",
    "n_estimators": "n_estimators", "num_boost_round": "n_estimators", "iterations": "n_estimators",
    "num_iterations": "n_estimators",
    "max_depth": "max_depth", "depth": "max_depth",
    "num_leaves": "num_leaves", "max_leaves": "num_leaves",
    "min_child_samples": "min_data_in_leaf", "min_data_in_leaf": "min_data_in_leaf",
    "min_child_weight": "min_child_weight", "min_samples_leaf": "min_samples_leaf",
    "subsample": "subsample", "bagging_fraction": "subsample",
    "colsample_bytree": "feature_fraction", "feature_fraction": "feature_fraction",
    "colsample_bynode": "colsample_bynode", "colsample_bylevel": "colsample_bylevel",
    "reg_alpha": "lambda_l1", "lambda_l1": "lambda_l1", "alpha": "alpha",
    "reg_lambda": "lambda_l2", "lambda_l2": "lambda_l2", "l2_leaf_reg": "lambda_l2",
    "max_bin": "max_bin", "gamma": "gamma", "random_strength": "random_strength",
    "early_stopping_rounds": "early_stopping_rounds", "stopping_rounds": "early_stopping_rounds",
    "C": "C", "n_neighbors": "n_neighbors", "max_features": "max_features", "n_splits": "n_splits",
    "dropout": "dropout", "epochs": "epochs", "batch_size": "batch_size",
}  # fmt: skip
"""Spellings of LightGBM, XGBoost, CatBoost and scikit-learn for what this program calls by one name."""


@dataclass(frozen=True)
class NamedParameter:
    """A parameter with the value that a notebook gives it; ``family`` is empty where it cannot be told."""

    family: str
    name: str
    value: float


@dataclass(frozen=True)
class CodeNames:
    """What the code of one notebook names; each once, in the order of first mention."""

    families: tuple[str, ...]
    features: tuple[str, ...]
    parameters: tuple[NamedParameter, ...]


def names_in(cells: Sequence[str]) -> CodeNames:
    """Look through the code cells of a notebook."""
    reader = _Reader()
    for cell in cells:
        tree = _parsed(cell)
        if tree is not None:
            reader.read(tree)
    return CodeNames(tuple(reader.families), tuple(reader.features), tuple(reader.parameters))


def _parsed(cell: str) -> ast.Module | None:
    if len(cell) > LONGEST_CELL or cell.lstrip().startswith("%%"):
        return None
    # A line for the notebook's shell is no Python; what surrounds it is.
    lines = ["" if line.lstrip().startswith(("!", "%")) else line for line in cell.splitlines()]
    with warnings.catch_warnings():
        # Escapes that strangers write wrongly are no matter of ours.
        warnings.simplefilter("ignore")
        try:
            return ast.parse("\n".join(lines))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


class _Reader:
    """Walks over cells; dictionaries of parameters are remembered by the name they are kept under."""

    def __init__(self) -> None:
        self.families: dict[str, None] = {}
        self.features: dict[str, None] = {}
        self.parameters: dict[NamedParameter, None] = {}

    def read(self, tree: ast.Module) -> None:
        for node, name in _nodes(tree):
            if isinstance(node, ast.Call):
                self._call(node, name)
            elif isinstance(node, ast.Dict):
                self._values(_dict_items(node), _family_in(name))
            elif isinstance(node, ast.BinOp):
                self._operation(node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Attribute) and node.attr in _DATE_PARTS and _attribute(node.value) == "dt":
                self.features["date parts"] = None
            elif isinstance(node, ast.FunctionDef) and (feature := _match(_FEATURE_NAMES, node.name)):
                self.features[feature] = None

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Of a library its name counts, of scikit-learn what is taken from it only once it is called."""
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            if family := _match(_FAMILY_NAMES, name.split(".")[0]):
                self.families[family] = None
            if name == "optuna":
                self.features["tuning with Optuna"] = None

    def _call(self, node: ast.Call, assigned: str) -> None:
        name = _attribute(node.func)
        owner = _attribute(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        family = _match(_FAMILY_NAMES, name)
        if not family and name in ("train", "cv"):
            family = _match(_FAMILY_NAMES, owner)
        if family:
            self.families[family] = None
        # ``random.shift`` and ``np.cut`` do not exist; ``math.log`` of a number makes no feature.
        feature = _match(_FEATURE_NAMES, name)
        if feature and not (name == "log" and owner == "math"):
            self.features[feature] = None
        if name in _GROUPED and _calls(node.func, "groupby"):
            self.features["group aggregates"] = None
        if name == "map" and node.args and _calls(node.args[0], "value_counts"):
            self.features["frequency encoding"] = None
        if name == "sum" and _calls(node.func, "isna", "isnull"):
            self.features["counts of missing values"] = None
        if family or name in ("early_stopping", "StratifiedKFold", "KFold", "GroupKFold", "dict"):
            given = {word.arg: word.value for word in node.keywords if word.arg}
            self._values(given, family or (_family_in(assigned) if name == "dict" else ""))

    def _operation(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add):
            if _calls(node.left, "astype") and any(_calls(part, "astype") for part in (node.right, node.left)):
                self.features["pairs of categories"] = None
            return
        operation = _OPERATIONS.get(type(node.op))
        if operation and _column(node.left) and _column(node.right):
            self.features[operation] = None

    def _values(self, items: Mapping[str, ast.expr], family: str) -> None:
        if not family and not isinstance(items.get("learning_rate"), ast.Constant):
            items = {key: value for key, value in items.items() if key in ("n_splits", "stopping_rounds")}
        for key, value in items.items():
            number = _number(value)
            if key in _PARAMETERS and number is not None:
                self.parameters[NamedParameter(family, _PARAMETERS[key], number)] = None


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every node with the name that its value is assigned to, in order of the text."""
    stack: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while stack:
        node, name, depth = stack.pop()
        yield node, name
        if depth > DEEPEST:
            continue
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.Assign | ast.Expr):
            name = ""
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Dict):
            # {"lgb": {...}} names the inner one by its key.
            keys = {id(value): _text(key) for key, value in zip(node.keys, node.values, strict=True)}
            stack += [(child, keys.get(id(child)) or name, depth + 1) for child in reversed(children)]
        else:
            stack += [(child, name, depth + 1) for child in reversed(children)]


def _match(table: Sequence[tuple[re.Pattern[str], str]], name: str) -> str:
    return next((meaning for pattern, meaning in table if name and pattern.match(name)), "")


def _family_in(name: str) -> str:
    """The family that a variable's name speaks of: ``lgb_params``, ``params_xgb``, ``CAT``."""
    words = re.split(r"[_\d]+", name.casefold())
    known = {"lgb": "lightgbm", "lgbm": "lightgbm", "lightgbm": "lightgbm", "xgb": "xgboost", "xgboost": "xgboost"}
    known |= {"cat": "catboost", "cb": "catboost", "catboost": "catboost", "ctb": "catboost", "mlp": "mlp"}
    return next((known[word] for word in words if word in known), "")


def _attribute(node: ast.AST) -> str:
    """The last name of ``a.b.c`` or ``c``; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _calls(node: ast.AST, *names: str) -> bool:
    """Whether one of these methods is called in a chain such as ``df.groupby("a")["b"].mean``."""
    for _ in range(DEEPEST):
        if isinstance(node, ast.Call):
            if _attribute(node.func) in names:
                return True
            node = node.func
        elif isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            return False
    return False


def _column(node: ast.AST) -> bool:
    """Whether it is a column of a frame: ``df["a"]``, perhaps with a number added."""
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
        node = node.left
    return (
        isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    )


def _dict_items(node: ast.Dict) -> dict[str, ast.expr]:
    return {key: value for name, value in zip(node.keys, node.values, strict=True) if (key := _text(name))}


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _number(node: ast.AST) -> float | None:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -1.0
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value = float(node.value) if abs(node.value) < 1e12 else None
        return None if value is None else sign * value
    return None
