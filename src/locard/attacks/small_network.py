"""One hidden layer, trained on all its rows at once: the attack model of the shadow attacks, for several groups of
rows in one program.

Nothing is drawn but the first weights, and all rows are one batch: the order of the rows leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from locard.seeds import Seed

RATE, DECAY = 0.02, 0.05  # of Adam; weights shrink by this share of a step
FIRST, SECOND, STEADY = 0.9, 0.999, 1e-8  # Adam's two averages and its guard


@dataclass(frozen=True)
class SmallNetwork:
    """Weights of one network a group: ``inward [groups, features + 1, hidden]``, ``outward [groups, hidden + 1]``.

    The last row of each is the bias.
    """

    inward: np.ndarray
    outward: np.ndarray

    def __call__(self, x: np.ndarray, group: int) -> Float64[np.ndarray, "rows"]:
        """Log-odds of membership from ``float64[rows, features]``."""
        inward, outward = self.inward[group], self.outward[group]
        hidden = x @ inward[:-1]
        hidden += inward[-1]
        np.maximum(hidden, 0.0, out=hidden)
        out: np.ndarray = hidden @ outward[:-1] + outward[-1]
        return out


def train_networks(
    x: Float64[np.ndarray, "groups rows features"],
    inside: Float64[np.ndarray, "groups rows"],
    weight: Float64[np.ndarray, "groups rows"],
    *,
    hidden: int,
    steps: int,
    seed: Seed,
) -> SmallNetwork:
    """Minimise the weighted cross-entropy of each group by Adam, full batches.

    Args:
        x: standardised features.
        inside: 1 for members.
        weight: of each row; they sum to 1 in each group, and rows that only fill up weigh 0.
        hidden: ReLU units.
        steps: of Adam.
        seed: of the first weights, the same for every group.
    """
    groups, _, features = x.shape
    rng = seed.generator()
    start = rng.normal(size=(features + 1, hidden)) * np.sqrt(2.0 / (features + 1))
    start[-1] = 0.0
    inward = np.repeat(start[None], groups, axis=0)
    outward = np.repeat(np.append(rng.normal(size=hidden) / np.sqrt(hidden), 0.0)[None], groups, axis=0)
    ones = np.ones((*x.shape[:2], 1))
    shown = np.concatenate([x, ones], axis=-1)
    learner = [_Adam(inward), _Adam(outward)]
    for step in range(1, steps + 1):
        hidden_values = np.maximum(shown @ inward, 0.0)
        with_bias = np.concatenate([hidden_values, ones], axis=-1)
        out = np.einsum("grh,gh->gr", with_bias, outward)
        error = weight * (1.0 / (1.0 + np.exp(-np.clip(out, -500, 500))) - inside)
        to_outward = np.einsum("grh,gr->gh", with_bias, error)
        back = error[..., None] * outward[:, None, :-1] * (hidden_values > 0)
        to_inward = np.swapaxes(shown, 1, 2) @ back
        learner[0].step(inward, to_inward, step)
        learner[1].step(outward, to_outward, step)
    return SmallNetwork(inward, outward)


class _Adam:
    """Adam with weight decay, element by element."""

    def __init__(self, like: np.ndarray) -> None:
        self.mean, self.square = np.zeros_like(like), np.zeros_like(like)

    def step(self, weights: np.ndarray, gradient: np.ndarray, step: int) -> None:
        """One step, in place."""
        self.mean += (1 - FIRST) * (gradient - self.mean)
        self.square += (1 - SECOND) * (gradient**2 - self.square)
        mean, square = self.mean / (1 - FIRST**step), self.square / (1 - SECOND**step)
        weights *= 1 - RATE * DECAY
        weights -= RATE * mean / (np.sqrt(square) + STEADY)
