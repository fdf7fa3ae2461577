"""Attack models that references train on their own members and non-members, all in one program.

Each reference knows who is in it, and trains one attack model on its own records alone; a target's score is the mean of
what the others' attack models say. So a target and its partner never teach, and what a reference teaches is made once
for the views of all targets. Rows are sorted by content before training, so that no order of records matters, and all
references start from the same first weights, so that none of them is special.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64

from locard.observe.references import References

MOST = 2_000  # rows that one attack model learns from, spread evenly over the sorted ones
CLIP = 10.0  # standard deviations beyond which a feature says no more
BATCH = 256
SEED = 20_220  # of first weights and batches: the same for every reference, and no setting of anybody

Net = TypeVar("Net")
Layers = list[tuple[np.ndarray, np.ndarray]]  # weights [..., in, out] and offsets [..., 1, out] of each layer


@dataclass(frozen=True, eq=False)
class Lessons:
    """One reference's rows, in their canonical order, and the scale on which it compares.

    ``x: float64[rows, *axes]`` standardised; ``inside: bool[rows]``; ``mean``, ``scale``: ``float64[*axes]``.
    """

    x: np.ndarray
    inside: Bool[np.ndarray, "rows"]
    mean: np.ndarray
    scale: np.ndarray

    @property
    def tells(self) -> bool:
        """Whether there are members and non-members to learn from."""
        return bool(0 < self.inside.sum() < len(self.inside))

    @property
    def prior(self) -> float:
        """Log-odds of a member among the rows."""
        return float(np.log(self.inside.sum() / (~self.inside).sum())) if self.tells else 0.0

    def scaled(self, features: np.ndarray) -> np.ndarray:
        """Anybody's features on this reference's scale."""
        out: np.ndarray = np.clip((features - self.mean) / self.scale, -CLIP, CLIP)
        return out


def lessons_of(
    features: Float64[np.ndarray, "records ..."],
    inside: Bool[np.ndarray, "records"],
    outside: Bool[np.ndarray, "records"],
) -> Lessons:
    """A reference's rows from the records that may be used: sorted by what they say, thinned evenly, standardised."""
    usable = inside | outside
    rows, held = features[usable], inside[usable]
    order = np.lexsort((held, *rows.reshape(len(rows), -1).T))
    order = order[:: max(1, -(-len(order) // MOST))]
    rows, held = rows[order], held[order]
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    flat = scale <= 1e-9 * np.maximum(np.abs(mean), 1.0)
    made = Lessons(rows, held, mean, np.where(flat, 1.0, scale))
    return Lessons(made.scaled(rows), held, mean, made.scale)


@dataclass(frozen=True, eq=False)
class Class:
    """All lessons of one program side by side: ``x[references, rows, *axes]``, ``y`` and weight ``[references, rows]``.

    Rows of weight 0 fill up where a reference has fewer than another.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, lessons: Sequence[Lessons]) -> Class:
        """From each reference's lessons; one that cannot tell members has no weight."""
        rows = max(len(part.x) for part in lessons)
        x = np.zeros((len(lessons), rows, *lessons[0].x.shape[1:]))
        y, weight = np.zeros((len(lessons), rows)), np.zeros((len(lessons), rows))
        for k, part in enumerate(lessons):
            x[k, : len(part.x)], y[k, : len(part.x)] = part.x, part.inside
            weight[k, : len(part.x)] = float(part.tells)
        return cls(x, y, weight)

    def batches(self, steps: int, rng: np.random.Generator, size: int = BATCH) -> list[np.ndarray]:
        """Places of the rows of each step, the same for all references; every row comes equally often."""
        rows = self.x.shape[1]
        if rows <= size:
            return [np.arange(rows)] * steps
        passes = -(-steps * size // rows)
        order = np.concatenate([rng.permutation(rows) for _ in range(passes)])
        return [order[s * size : (s + 1) * size] for s in range(steps)]


def taught(
    references: References,
    key: object,
    features_of: Callable[[References, int], np.ndarray],
    train: Callable[[Class], Sequence[Net]],
) -> list[tuple[Lessons, Net | None]]:
    """Each reference's lessons (their rows left out) and attack model; None for one that cannot tell members.

    Args:
        references: a target's view.
        key: names the features and the training, with every setting.
        features_of: ``float64[records, *axes]`` of one reference.
        train: from all lessons to one attack model each.
    """

    def make(view: References) -> list[tuple[Lessons, Net | None]]:
        lessons = [lessons_of(features_of(view, k), view.inside_of(k), view.outside_of(k)) for k in view]
        nets = train(Class.of(lessons))
        return [(_without_rows(part), net if part.tells else None) for part, net in zip(lessons, nets, strict=True)]

    return references.together(("attack models", key), make)


def _without_rows(lessons: Lessons) -> Lessons:
    """What is needed to compare: counts and scale. (Rows of all references would fill the memory.)"""
    return Lessons(lessons.x[:0].reshape(0, *lessons.x.shape[1:]), lessons.inside, lessons.mean, lessons.scale)


def mean_log_odds(
    features: np.ndarray,
    models: Sequence[tuple[Lessons, Net | None]],
    logit: Callable[[Net, np.ndarray], np.ndarray],
) -> Float64[np.ndarray, "records"]:
    """The mean over attack models of log-odds for "member", each less its own prior; 0 where none can tell."""
    total, count = np.zeros(len(features)), 0
    for lessons, net in models:
        if net is not None:
            total += logit(net, lessons.scaled(features)) - lessons.prior
            count += 1
    return total / max(count, 1)


def train_layers(lessons: Class, hidden: Sequence[int], *, steps: int, rate: float, decay: float) -> list[Layers]:
    """A network of ReLU layers for each reference, by AdamW on the cross-entropy; the same first weights for all.

    Each reference's gradient is its own, so that what it learns does not depend on its companions.
    """
    rng = np.random.default_rng(SEED)
    sizes = [lessons.x.shape[2], *hidden, 1]
    count = len(lessons.x)
    layers: Layers = []
    for a, b in pairwise(sizes):
        first = rng.normal(scale=np.sqrt((2.0 if b > 1 else 1.0) / a), size=(a, b))
        layers.append((np.tile(first, (count, 1, 1)), np.zeros((count, 1, b))))
    flat = [p for layer in layers for p in layer]

    def gradients(rows: np.ndarray) -> list[np.ndarray]:
        return gradients_of(layers, lessons.x[:, rows], lessons.y[:, rows], lessons.weight[:, rows])

    descend(flat, gradients, lessons.batches(steps, rng), rate=rate, decay=decay)
    return [[(w[k], b[k]) for w, b in layers] for k in range(count)]


def descend(
    parameters: list[np.ndarray],
    gradients_of: Callable[[np.ndarray], list[np.ndarray]],
    batches: Sequence[np.ndarray],
    *,
    rate: float,
    decay: float,
    steady: bool = False,
) -> None:
    """(In place.) AdamW, a step a batch; the rate falls to 0 along half a cosine, or is ``steady``.

    Source: Loshchilov and Hutter 2019 (ICLR, arXiv:1711.05101).
    """
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    for step, rows in enumerate(batches, start=1):
        now = rate if steady else rate * 0.5 * (1 + np.cos(np.pi * (step - 1) / len(batches)))
        for p, g, (m, v) in zip(parameters, gradients_of(rows), moments, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= now * (m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) + decay * p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)); beyond 60 it is 0 or 1 to all digits."""
    out: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0)))
    return out


def error_of(logits: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gradient by the logits of each network's weighted mean cross-entropy: ``float64[networks, rows]``."""
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    out: np.ndarray = (sigmoid(logits) - y) * share
    return out


def gradients_of(layers: Layers, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    """Of each reference's weighted mean cross-entropy, layer by layer: weights, offsets."""
    outputs = [x]
    for i, (w, b) in enumerate(layers):
        z = outputs[-1] @ w + b
        outputs.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
    back = error_of(outputs[-1][..., 0], y, weight)[..., None]
    out: list[np.ndarray] = []
    for i in reversed(range(len(layers))):
        inputs = outputs[i]
        out[:0] = [inputs.swapaxes(1, 2) @ back, back.sum(axis=1, keepdims=True)]
        if i:  # nobody asks for the gradient by the features
            back = (back @ layers[i][0].swapaxes(1, 2)) * (inputs > 0)
    return out


def layers_logit(layers: Layers, x: Float64[np.ndarray, "records features"]) -> Float64[np.ndarray, "records"]:
    """What one network says."""
    for w, b in layers[:-1]:
        x = np.maximum(x @ w + b, 0.0)
    out: np.ndarray = (x @ layers[-1][0] + layers[-1][1])[:, 0]
    return out
