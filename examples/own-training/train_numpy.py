"""A training function in NumPy alone: a network with one hidden layer, mini-batches and momentum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def train(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    device: str,
    classes: int,
    hidden: int = 32,
    epochs: int = 30,
    learning_rate: float = 0.1,
) -> Callable[[np.ndarray], np.ndarray]:
    """Trains on these records and returns predict(features) -> logits [records, classes]."""
    rng = np.random.default_rng(seed)  # everything random comes from the seed: the same seed gives the same model
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9  # of these records, not of all
    x, right = (features - mean) / scale, np.eye(classes)[labels]
    weights = [rng.normal(size=(x.shape[1], hidden)) / np.sqrt(x.shape[1]), np.zeros(hidden)]
    weights += [rng.normal(size=(hidden, classes)) / np.sqrt(hidden), np.zeros(classes)]
    speed = [np.zeros_like(w) for w in weights]

    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(x)), max(1, len(x) // 32)):
            inside = np.maximum(x[batch] @ weights[0] + weights[1], 0)
            error = (softmax(inside @ weights[2] + weights[3]) - right[batch]) / len(batch)
            back = (error @ weights[2].T) * (inside > 0)
            gradients = [x[batch].T @ back, back.sum(axis=0), inside.T @ error, error.sum(axis=0)]
            for w, s, g in zip(weights, speed, gradients, strict=True):
                s *= 0.9
                s -= learning_rate * g
                w += s

    def predict(asked: np.ndarray) -> np.ndarray:
        inside = np.maximum((asked - mean) / scale @ weights[0] + weights[1], 0)
        return inside @ weights[2] + weights[3]

    return predict


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
