"""A small neural network in numpy: periodic embeddings of the numbers, then layers with dropout, AdamW.

After Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning (2022), and Holzmüller et al.,
Better by Default: Strong Pre-Tuned MLPs (2024). One thread of a CPU is enough for tens of thousands of rows.
"""

from __future__ import annotations

import copy
import math
import time
from itertools import pairwise
from typing import Any

import numpy as np


class Net:
    """Weights and how to train them.

    Args:
        numbers: How many leading input columns get periodic embeddings.
        width: Number of input columns.
        outputs: Logits, or 1 for regression.
        classify: Softmax and cross-entropy, else squared error.
        settings: ``layers``, ``waves`` (per number), ``wave_scale``, ``dropout``, ``decay``, ``smoothing``,
            ``batch``, ``absolute`` (absolute instead of squared error).
    """

    def __init__(
        self, numbers: int, width: int, outputs: int, classify: bool, settings: dict[str, Any], seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.numbers, self.classify, self.settings = numbers, classify, settings
        waves = settings["waves"]
        self.weights: dict[str, np.ndarray] = {}
        if waves:
            self.weights["wave"] = self._normal((numbers, waves), settings["wave_scale"] * 2 * math.pi)
            self.weights["phase"] = self.rng.uniform(0, 2 * math.pi, (numbers, waves)).astype(np.float32)
        sizes = [width + numbers * waves, *settings["layers"], outputs]
        self.depth = len(sizes) - 1
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            gain = math.sqrt(2 / fan_in) if layer < self.depth - 1 else 0.1 / math.sqrt(fan_in)
            self.weights[f"w{layer}"] = self._normal((fan_in, fan_out), gain)
            self.weights[f"b{layer}"] = np.zeros(fan_out, np.float32)
        self.moments = {name: [np.zeros_like(w), np.zeros_like(w)] for name, w in self.weights.items()}
        self.steps = 0

    def _normal(self, shape: tuple[int, int], scale: float) -> np.ndarray:
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def copy(self) -> Net:
        """The same weights, to predict with."""
        twin = copy.copy(self)
        twin.weights = {name: weights.copy() for name, weights in self.weights.items()}
        return twin

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(n, k) probabilities, or (n, 1) values."""
        parts = [self._forward(rows[start : start + 4096])[0] for start in range(0, len(rows), 4096)]
        raw = np.concatenate(parts)
        return softmax(raw) if self.classify else raw

    def epoch(self, rows: np.ndarray, y: np.ndarray, rate: float, until: float) -> bool:
        """One pass over the rows; False when ``until`` (monotonic seconds) came first."""
        order = self.rng.permutation(len(rows))
        size = self.settings["batch"]
        for start in range(0, len(order), size):
            part = order[start : start + size]
            if len(part) > size // 4 or start == 0:
                self._step(rows[part], y[part], rate)
            if time.monotonic() > until:
                return False
        return True

    def _forward(self, x: np.ndarray, keep: float = 1.0) -> tuple[np.ndarray, list[Any]]:
        trace: list[Any] = []
        h = x
        if "wave" in self.weights:
            angle = x[:, : self.numbers, None] * self.weights["wave"] + self.weights["phase"]
            trace.append(angle)
            h = np.hstack([x, np.cos(angle).reshape(len(x), -1)])
        for layer in range(self.depth):
            z = h @ self.weights[f"w{layer}"] + self.weights[f"b{layer}"]
            if layer == self.depth - 1:
                trace.append((h, None))
                return z, trace
            slope = (z > 0).astype(np.float32)
            if keep < 1.0:
                slope *= (self.rng.random(z.shape, np.float32) < keep).astype(np.float32) / np.float32(keep)
            trace.append((h, slope))
            h = z * slope
        raise AssertionError("a net has at least one layer")

    def _step(self, x: np.ndarray, y: np.ndarray, rate: float) -> None:
        raw, trace = self._forward(x, 1.0 - self.settings["dropout"])
        if self.classify:
            delta = softmax(raw)
            delta += (self.settings["smoothing"] - 1.0) * np.eye(raw.shape[1], dtype=np.float32)[y]
            delta -= self.settings["smoothing"] / raw.shape[1]
        else:
            delta = raw - y[:, None]
            if self.settings["absolute"]:
                delta /= np.sqrt(delta * delta + np.float32(0.01))
        delta /= np.float32(len(x))
        gradients: dict[str, np.ndarray] = {}
        first = len(trace) - self.depth
        for layer in range(self.depth - 1, -1, -1):
            h, slope = trace[first + layer]
            if slope is not None:
                delta *= slope
            gradients[f"w{layer}"] = h.T @ delta
            gradients[f"b{layer}"] = delta.sum(axis=0)
            if layer or first:
                delta = delta @ self.weights[f"w{layer}"].T
        if first:
            angle = trace[0]
            turn = -np.sin(angle) * delta[:, x.shape[1] :].reshape(angle.shape)
            gradients["phase"] = turn.sum(axis=0)
            gradients["wave"] = np.einsum("nfw,nf->fw", turn, x[:, : self.numbers])
        self._adam(gradients, rate)

    def _adam(self, gradients: dict[str, np.ndarray], rate: float) -> None:
        self.steps += 1
        fast, slow = 0.9, 0.98
        scale = rate * math.sqrt(1 - slow**self.steps) / (1 - fast**self.steps)
        for name, gradient in gradients.items():
            first, second = self.moments[name]
            first += (1 - fast) * (gradient - first)
            second += (1 - slow) * (gradient * gradient - second)
            weights = self.weights[name]
            if name[0] == "w" and name != "wave":
                weights *= 1 - rate * self.settings["decay"]
            own = 0.3 if name in ("wave", "phase") else 1.0
            weights -= own * scale * first / (np.sqrt(second) + 1e-8)


def softmax(raw: np.ndarray) -> np.ndarray:
    """(n, k) probabilities."""
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
