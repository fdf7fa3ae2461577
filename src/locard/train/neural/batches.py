"""Which records are in which batch: a function of (model's seed, epoch), the same for every trainer and machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Length:
    """How many steps one model takes.

    Args:
        records: training records of the model.
        batch: records a full batch.
        epochs: passes over the records; None where ``steps`` is given.
        steps: optimiser steps; None where ``epochs`` is given.
        drop_last: leave out a last batch that is not full (unless it is the only one).

    >>> Length(records=205, batch=100, epochs=2).total, Length(records=205, batch=100, epochs=2, drop_last=True).total
    (6, 4)
    >>> Length(records=205, batch=100, steps=7).epochs_begun
    3
    """

    records: int
    batch: int
    epochs: int | None = None
    steps: int | None = None
    drop_last: bool = False

    @property
    def per_epoch(self) -> int:
        """Batches in one pass."""
        full, rest = divmod(self.records, self.batch)
        return max(1, full if self.drop_last else full + (rest > 0))

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.steps if self.epochs is None else self.epochs * self.per_epoch  # type: ignore[return-value]

    @property
    def epochs_begun(self) -> int:
        """Passes that are at least begun; what is kept an epoch is kept this often."""
        return -(-self.total // self.per_epoch)

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, first record in its order) of a step."""
        epoch, within = divmod(step, self.per_epoch)
        return epoch, within * self.batch

    def ends_epoch(self, step: int) -> bool:
        """Whether a pass (or the training) ends with this step."""
        return (step + 1) % self.per_epoch == 0 or step + 1 == self.total


def epoch_order(index: np.ndarray, seed: int, epoch: int, *, variants: int, records: int) -> np.ndarray:
    """Rows of the data in the order of one epoch: ``int64[training records]``.

    Args:
        index: the model's training records (places among all records).
        seed: the model's seed.
        epoch: which pass, from 0.
        variants: how many augmented forms each record has; one is drawn for each record and pass.
        records: all records: the rows of form v stand at ``v * records + place``.
    """
    rng = np.random.Generator(np.random.SFC64([seed, epoch]))
    rows = index[rng.permutation(len(index))]
    if variants > 1:
        rows = rows + records * rng.integers(variants, size=len(rows))
    return rows
