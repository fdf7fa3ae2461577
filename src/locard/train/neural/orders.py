"""The batches of many models at one step, as places in one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from locard.train.neural.batches import Length, epoch_order
from locard.train.neural.data import NetworkData


class Orders:
    """Every model's order of its current epoch, and the batch of any step.

    Args:
        indices: each model's training records.
        lengths: how long each is trained.
        seeds: of the models.
        data: how many records and forms there are.
    """

    def __init__(
        self, indices: Sequence[np.ndarray], lengths: Sequence[Length], seeds: np.ndarray, data: NetworkData
    ) -> None:
        self._indices, self._lengths, self._seeds = indices, lengths, seeds
        self._variants, self._records = data.variants, data.records
        self.batch_size = min(max(n.records for n in lengths), lengths[0].batch)
        longest = max(n.records for n in lengths)
        self._orders = np.zeros((len(indices), longest + self.batch_size), dtype=np.int64)
        self._epoch = np.full(len(indices), -1)
        self._records_of = np.array([n.records for n in lengths])
        self._per_epoch = np.array([n.per_epoch for n in lengths])

    @property
    def bytes(self) -> int:
        """Memory of the orders."""
        return self._orders.nbytes

    def batch(self, models: np.ndarray | Sequence[int], step: int) -> tuple[np.ndarray, np.ndarray]:
        """``int64[models, batch]`` rows of the data, and ``bool[models, batch]``: False where a row is padding."""
        at = np.asarray(models)
        epochs, within = np.divmod(step, self._per_epoch[at])
        for model, epoch in zip(at[epochs != self._epoch[at]], epochs[epochs != self._epoch[at]], strict=True):
            order = epoch_order(
                self._indices[model],
                int(self._seeds[model]),
                int(epoch),
                variants=self._variants,
                records=self._records,
            )
            self._orders[model, : len(order)] = order
            self._epoch[model] = epoch
        start = within * self.batch_size
        if (start == start[0]).all() and start[0] + self.batch_size <= self._records_of[at].min():
            columns = slice(start[0], start[0] + self.batch_size)
            return self._orders[at, columns], np.ones((len(at), self.batch_size), dtype=bool)
        places = start[:, None] + np.arange(self.batch_size)[None]
        valid = places < self._records_of[at][:, None]
        own = self._orders[at, :1]  # padding is a record of the model's own: what is no number elsewhere stays there
        return np.where(valid, self._orders[at[:, None], places], own), valid
