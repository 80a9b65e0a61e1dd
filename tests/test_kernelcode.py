"""What the code of a public notebook names, without running it."""

import pytest

from experiments.kernelcode import NamedParameter, names_in

NOTEBOOK = (
    """!pip install -q catboost
import lightgbm as lgb, optuna
from catboost import CatBoostClassifier
from sklearn.linear_model import LogisticRegression
df["ratio"] = df["a"] / (df["b"] + 1)
df["ab"] = df["a"].astype(str) + "_" + df["b"].astype(str)
df["m"] = df.groupby("city")["price"].transform("mean")
df["cnt"] = df["city"].map(df["city"].value_counts())
df["lag"] = df["y"].shift(1)
df["month"] = df.date.dt.month
""",
    """
lgb_params = {"learning_rate": 0.03, "num_leaves": 63, "max_depth": -1, "seed": 1}
PARAMS = {"xgb": dict(eta=0.05), "cat": {"depth": 8, "learning_rate": 0.1}}
model = lgb.train(lgb_params, data, num_boost_round=5000)
encoder = TargetEncoder()
folds = StratifiedKFold(n_splits=10)
""",
    "%%bash\nls",
    "def broken(:",
)


def test_families_features_and_parameters_are_found():
    names = names_in(NOTEBOOK)
    assert names.families == ("lightgbm", "catboost"), "an import from scikit-learn alone uses nothing"
    assert set(names.features) == {
        *("ratios of columns", "pairs of categories", "group aggregates", "frequency encoding", "lags", "date parts"),
        *("target encoding", "tuning with Optuna"),
    }
    assert set(names.parameters) == {
        NamedParameter("lightgbm", "learning_rate", 0.03),
        NamedParameter("lightgbm", "num_leaves", 63.0),
        NamedParameter("lightgbm", "max_depth", -1.0),
        NamedParameter("lightgbm", "n_estimators", 5000.0),
        NamedParameter("xgboost", "learning_rate", 0.05),
        NamedParameter("catboost", "max_depth", 8.0),
        NamedParameter("catboost", "learning_rate", 0.1),
        NamedParameter("", "n_splits", 10.0),
    }


@pytest.mark.parametrize(
    "code", ["import os; os._exit(3)", "-" * 90_000 + "1", "(" * 90_000, "a" + "()" * 40_000, "\0", "x = '\\d'", ""]
)
def test_hostile_code_is_neither_run_nor_believed(code: str):
    names = names_in([code, "XGBRegressor(max_depth=4)"])
    assert names.families == ("xgboost",) and names.parameters == (NamedParameter("xgboost", "max_depth", 4.0),)


def test_a_dictionary_of_something_else_names_no_parameters():
    assert names_in(['plot = {"alpha": 0.5, "C": 2}; sizes = {"max_depth": 3}']).parameters == ()
