"""A competition with a hidden solution, out of data that ship with scikit-learn."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from sklearn.datasets import load_breast_cancer

from experiments.metrics import Metric, get_metric

SLUG = "tumours-s1e1"
EVALUATION = """## Evaluation

Submissions are evaluated on [area under the ROC curve](https://example.org/roc) between the predicted probability and
the observed target.

## Submission File

For each `id` in the test set, predict a probability for `malignant`. The file should contain a header:

    id,malignant
    427,0.5
"""
DESCRIPTION = "**Welcome!** Your goal is to tell malignant tumours from benign ones.<!-- no person reads this -->"
RULES = "Five submissions a day. One account per participant. No private sharing."


@dataclass(frozen=True)
class Scores:
    """What the leaderboard shows, and what it hides until the end."""

    public: float
    private: float


@dataclass(frozen=True)
class Task:
    """A competition's data, solution and judge.

    Attributes:
        files: What participants get.
        solution: Label by id, as spelled.
        public: Ids of the public part.
    """

    slug: str
    title: str
    target: str
    metric_name: str
    metric: Metric
    files: dict[str, bytes]
    solution: dict[str, int]
    public: frozenset[str]
    pages: dict[str, str] = field(default_factory=dict)

    @cached_property
    def archive(self) -> bytes:
        """All files, packed."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in self.files.items():
                packed.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), content)
        return out.getvalue()

    def score(self, content: bytes) -> Scores:
        """Judge a submission.

        Raises:
            ValueError: It is not a valid one, and why.
        """
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8", "replace"))))
        if not rows or set(rows[0]) != {"id", self.target}:
            raise ValueError(f"Submission must have the columns id and {self.target}")
        if len(rows) != len(self.solution):
            raise ValueError(f"Submission must have {len(self.solution)} rows")
        try:
            said = {row["id"]: float(row[self.target]) for row in rows}
        except (TypeError, ValueError):
            raise ValueError(f"Submission contains null or non-numeric values in {self.target}") from None
        if said.keys() != self.solution.keys() or not np.isfinite(list(said.values())).all():
            raise ValueError("The ids of the submission are not those of the test set, or a value is not finite")
        ids = list(self.solution)
        y, pred = np.array([self.solution[id] for id in ids]), np.array([said[id] for id in ids])
        public = np.array([id in self.public for id in ids])
        return Scores(*(float(self.metric.score(y[part], pred[part])) for part in (public, ~public)))

    def submission(self, quality: float = 1.0, seed: int = 0) -> bytes:
        """A valid submission file; the better the nearer to 1."""
        noise = np.random.default_rng(seed).random(len(self.solution))
        rows = [
            (id, f"{quality * label + (1 - quality) * blur:.6f}")
            for (id, label), blur in zip(self.solution.items(), noise, strict=True)
        ]
        return _csv(["id", self.target], rows)


@cache
def tumours() -> Task:
    """Breast cancer: 427 rows of train, 142 of test, half of them public."""
    data = load_breast_cancer()
    order = np.random.default_rng(7).permutation(len(data.target))
    columns = [name.replace(" ", "_") for name in data.feature_names]
    label = 1 - data.target[order]
    rows = [
        (str(id), *(f"{value:.6g}" for value in data.data[row]), str(label[id]))
        for id, row in enumerate(order.tolist())
    ]
    train, test = rows[:427], rows[427:]
    ids = [row[0] for row in test]
    return Task(
        slug=SLUG,
        title="Tumours, Season 1 Episode 1",
        target="malignant",
        metric_name="Area Under Receiver Operating Characteristic Curve",
        metric=get_metric("roc_auc"),
        files={
            "sample_submission.csv": _csv(["id", "malignant"], [(id, "0.5") for id in ids]),
            "test.csv": _csv(["id", *columns], [row[:-1] for row in test]),
            "train.csv": _csv(["id", *columns, "malignant"], train),
        },
        solution={row[0]: int(row[-1]) for row in test},
        public=frozenset(ids[::2]),
        pages={"Description": DESCRIPTION, "Evaluation": EVALUATION, "rules": RULES},
    )


def _csv(header: list[str], rows: list[tuple[str, ...]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()
