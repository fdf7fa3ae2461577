"""Networks of a run whose final weights were kept, taken into memory when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from locard.data.records import Records
from locard.train.asked import Run
from locard.train.neural.networks import ReferenceNetworks
from locard.train.store import Store


@dataclass(frozen=True, eq=False)
class StoredNetworks:
    """All networks of a run.

    Args:
        recipe: how they were trained.
        records: all records.
        runs: of every model of the plan, in order.
        weights: where their final weights are.
        keys: of every model.
        device: where tensors shall live.
    """

    recipe: Any
    records: Records
    runs: Sequence[Run]
    weights: Store
    keys: Sequence[str]
    device: str = "cpu"

    def of(self, models: np.ndarray) -> ReferenceNetworks:
        """Some of them.

        Raises:
            DamagedFile: weights are damaged or gone.
            SettingsError: the recipe's models cannot be trained in one program.
        """
        kept = [self.weights.tensors(f"{self.keys[m]}.final") for m in models]
        runs = [self.runs[m] for m in models]
        return ReferenceNetworks.from_weights(self.recipe, self.records, runs, kept, device=self.device)
