"""A profile of a competition's data for the EDA: figures per column, no rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from experiments.competition import Competition
from experiments.text import one_line

SAMPLE_ROWS = 50_000
SHOWN_COLUMNS = 200


def profile(competition: Competition) -> dict[str, Any]:
    """Figures about every column, the target and what deserves a warning.

    Args:
        competition: Loaded data; large sets are sampled to 50,000 rows for links and duplicates.

    Returns:
        JSON-able: rows, test_rows, target, duplicates, columns, warnings.
    """
    train, test = competition.train, competition.test
    rng = np.random.default_rng(competition.spec.seed)
    rows = len(train)
    chosen = np.sort(rng.choice(rows, SAMPLE_ROWS, replace=False)) if rows > SAMPLE_ROWS else np.arange(rows)
    sample, y = train.iloc[chosen], competition.y[chosen]
    names = list(competition.columns.features)
    columns = [_column(competition, name, sample, test, y) for name in names[:SHOWN_COLUMNS]]
    return {
        "rows": rows,
        "test_rows": len(test),
        "target": _target(competition),
        "duplicates": int(sample[names].duplicated().sum()) if names else 0,
        "columns": columns,
        "warnings": _warnings(columns, rows, len(names)),
    }


def _role(competition: Competition, name: str) -> str:
    roles = competition.columns
    for role in ("numeric", "categorical", "text", "datetime"):
        if name in getattr(roles, role):
            return role
    return "other"


def _column(
    competition: Competition, name: str, sample: pd.DataFrame, test: pd.DataFrame, y: np.ndarray
) -> dict[str, Any]:
    values, role = sample[name], _role(competition, name)
    if role == "numeric":
        low, middle, high = np.nanquantile(values.astype(float), [0.0, 0.5, 1.0]) if values.notna().any() else (0, 0, 0)
        summary = f"{low:.4g} … {middle:.4g} … {high:.4g}"
    else:
        counts = values.value_counts().head(3)
        summary = ", ".join(
            f"{one_line(str(level), 24)} ({count / len(values):.0%})" for level, count in counts.items()
        )
    unseen = 0.0
    if role == "categorical" and len(test):
        unseen = float((~test[name].dropna().isin(competition.train[name].unique())).mean())
    return {
        "name": name,
        "role": role,
        "unique": int(values.nunique()),
        "missing": float(values.isna().mean()),
        "missing_test": float(test[name].isna().mean()) if len(test) else 0.0,
        "summary": summary,
        "association": _association(values, y, competition.spec.task_type == "regression", role),
        "unseen": unseen,
    }


def _association(values: pd.Series[Any], y: np.ndarray, regression: bool, role: str) -> str:
    """Spearman's rho with the target for numbers, else the share of its variance the levels explain."""
    known = values.notna().to_numpy()
    if known.sum() < 10 or values.nunique() < 2 or role in ("text", "datetime"):
        return "–"
    target = pd.Series(y[known].astype(float))
    if role == "numeric" and (regression or len(np.unique(y)) == 2):
        rho = pd.Series(values[known].astype(float).to_numpy()).rank().corr(target.rank())
        return "–" if pd.isna(rho) else f"ρ {rho:+.3f}"
    levels = values[known].astype(str).to_numpy() if role == "categorical" else _bins(values[known])
    if regression:
        return f"η² {_explained(target, levels):.3f}"
    shares = [_explained((target == code).astype(float), levels) for code in np.unique(y)[:30]]
    return f"η² {float(np.mean(shares)):.3f}"


def _bins(values: pd.Series[Any]) -> np.ndarray:
    codes: np.ndarray = pd.qcut(values.astype(float), 20, labels=False, duplicates="drop").to_numpy()
    return codes


def _explained(target: pd.Series[Any], levels: np.ndarray) -> float:
    total = float(((target - target.mean()) ** 2).sum())
    if total == 0.0:
        return 0.0
    means = target.groupby(levels).transform("mean")
    return float(((means - target.mean()) ** 2).sum()) / total


def _target(competition: Competition) -> str:
    y = competition.y
    if competition.classes is None:
        low, middle, high = np.quantile(y, [0.0, 0.5, 1.0])
        skew = float(pd.Series(y).skew())  # type: ignore[arg-type]
        return f"from {low:.6g} over {middle:.6g} (median) to {high:.6g}, skew {skew:.2f}."
    shares = np.bincount(y.astype(int), minlength=len(competition.classes)) / len(y)
    order = np.argsort(-shares)[:12]
    said = ", ".join(f"{competition.classes[code]} {shares[code]:.1%}" for code in order)
    return f"{len(competition.classes)} classes: {said}{' …' if len(shares) > 12 else ''}."


def _warnings(columns: list[dict[str, Any]], rows: int, features: int) -> list[str]:
    said = []
    for column in columns:
        name = column["name"]
        if column["unique"] <= 1:
            said.append(f"`{name}` is constant: it carries nothing.")
        if abs(column["missing"] - column["missing_test"]) > 0.1:
            said.append(
                f"`{name}` is missing in {column['missing']:.0%} of train and {column['missing_test']:.0%} of test."
            )
        if column["unseen"] > 0.2:
            said.append(f"`{name}`: {column['unseen']:.0%} of the test rows have levels that train never shows.")
        if column["role"] == "numeric" and column["unique"] == min(rows, SAMPLE_ROWS) and rows > 100:
            said.append(f"`{name}` is different in every row: an identifier, or a truly continuous number.")
    if features > SHOWN_COLUMNS:
        said.append(f"{features - SHOWN_COLUMNS} more columns are not shown.")
    return said
