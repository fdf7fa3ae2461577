"""Early stopping, model by model: a part of each model's training records is held out to decide when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.train.asked import Run
from locard.train.neural.data import NetworkData
from locard.train.neural.objective import record_losses
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe


def held_out(recipe: TorchRecipe, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(records trained on, records held out): the second is empty without ``patience``.

    A record that is there several times is held out with all its copies.
    """
    if not recipe.patience:
        return run.index, run.index[:0]
    rng = np.random.Generator(np.random.SFC64([run.seed, 2**31]))  # apart from every epoch's
    distinct = np.unique(run.index)
    count = min(len(distinct) - 1, max(1, round(recipe.validation * len(distinct))))
    out = np.isin(run.index, rng.permutation(distinct)[:count])
    return run.index[~out], run.index[out]


class Patience:
    """Stops a model whose held-out loss has not become smaller for so many epochs, and keeps its best weights."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._best: dict[int, tuple[float, int, Stack]] = {}

    def enough(
        self, model: int, state: Stack, data: NetworkData, held: np.ndarray, own: Callable[..., Any] | None
    ) -> bool:
        """Whether this model (a stack of one) has been patient enough."""
        x, y, weight = data.rows(held, 0), data.labels(held), data.weights(held)
        total = 0.0
        for rows, z in state.logits(x):
            losses = record_losses(z[0], y[rows], own, 0.0)
            total += float((losses if weight is None else losses * weight[rows]).sum())
        best = self._best.get(model)
        if best is None or total < best[0]:
            self._best[model] = (total, 0, state)
            return False
        self._best[model] = (best[0], best[1] + 1, best[2])
        return best[1] + 1 >= self._epochs

    def best_of(self, model: int, last: Stack) -> Stack:
        """The weights of the best epoch."""
        return self._best[model][2] if model in self._best else last
