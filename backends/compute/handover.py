"""What an engine hands to a fold, and takes back from it, as anonymous files."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np

from backends.compute.base import FoldJob, FoldOutcome
from backends.compute.memory import fixed_size, sealed_bytes, sealed_copy
from backends.compute.messages import result_size
from experiments.errors import DataError, PredictionError
from experiments.predictions import check_prediction


def open_job(job: FoldJob) -> list[int]:
    """Descriptors (job, train, valid, test, result); the data as copies that nobody can change.

    Raises:
        DataError: A data file is missing.
    """
    descriptors = [sealed_bytes(_payload(job))]
    try:
        for path in (job.train, job.valid, job.test):
            descriptors.append(sealed_copy(path))
        descriptors.append(fixed_size(result_size(job)))
    except OSError as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise DataError(
            f"The data file {error.filename} of fold {job.fold} cannot be opened: {error.strerror}.",
            hint="The fold cache can be deleted; it is written again at the next start.",
        ) from None
    return descriptors


def read_result(descriptor: int, job: FoldJob) -> tuple[np.ndarray, np.ndarray]:
    """The predictions as the engine expects them; who wrote them is not believed about any of it.

    Returns:
        (n_valid,) or (n_valid, K) and the same for test, float32.

    Raises:
        PredictionError: Of another size, or with values that are no predictions.
    """
    n_valid, _, n_outputs = job.expected
    size = result_size(job)
    if os.fstat(descriptor).st_size != size:
        raise PredictionError("the predictions have another size than the rows to predict")
    raw = bytearray()
    while len(raw) < size:
        chunk = os.pread(descriptor, min(size - len(raw), 1 << 26), len(raw))
        if not chunk:
            raise PredictionError("the predictions are cut short")
        raw += chunk
    values = np.frombuffer(raw, dtype="<f4").reshape(-1, n_outputs)
    parts = []
    for name, part in (("valid_pred", values[:n_valid]), ("test_pred", values[n_valid:])):
        part = part[:, 0] if n_outputs == 1 else part
        try:
            checked = check_prediction(part, len(part), n_outputs, job.context["task_type"])
        except PredictionError as error:
            raise PredictionError(f"{name} {error.message}") from None
        parts.append(checked)
    return parts[0], parts[1]


def with_predictions(outcome: FoldOutcome, descriptor: int, job: FoldJob) -> FoldOutcome:
    """An outcome that says ``ok`` with its predictions, or ``invalid`` when they are none."""
    if outcome.status != "ok":
        return outcome
    try:
        valid, test = read_result(descriptor, job)
    except PredictionError as problem:
        return replace(outcome, status="invalid", error=str(problem))
    return replace(outcome, valid=valid, test=test)


def _payload(job: FoldJob) -> bytes:
    return json.dumps(
        {
            "code": job.code,
            "context": dict(job.context),
            "expected": list(job.expected),
            "time_limit": job.time_limit,
            "data_dir": None if job.data_dir is None else str(job.data_dir),
        }
    ).encode()
