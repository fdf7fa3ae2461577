"""Records drawn at random: what a screen must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.errors import SettingsError
from locard.screen.evidence import Evidence
from locard.screen.protocol import Reads, Valued


@dataclass(frozen=True, kw_only=True)
class Random:
    """A random number for each record: the control. The same records get the same numbers in whatever order they stand.

    Source: a control of ours; Long et al. 2018 (arXiv:1802.04889) show no such row.
    """

    reads: ClassVar[Reads] = "nothing"
    references: ClassVar[int] = 0

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]`` in [0, 1).

        Raises:
            SettingsError: no ``rng``.
        """
        if rng is None:
            raise SettingsError("screen random: rng= is needed. Give a NumPy generator made from the audit's seed.")
        ids = evidence.candidates.records.ids
        order = np.lexsort((np.arange(len(ids)), evidence.candidates.ties))
        value = np.empty(len(ids))
        value[order] = rng.random(len(ids))
        return Valued(value, words="drawn at random")
