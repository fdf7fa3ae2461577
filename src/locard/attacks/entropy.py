"""A sure answer, right or wrong, suggests membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import Entropy as EntropySignal
from locard.observe.signals import Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """The entropy attack: an answer of low entropy suggests membership. The only attack here that needs no label.

    The score is minus the Shannon entropy of the class probabilities in nats, the mean over queries.

    It needs no references, so the variance factor is 1.

    Source: Song and Mittal 2021 (USENIX Security, arXiv:2003.10595); Salem et al. 2019
    (arXiv:1806.01246), adversary 3.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[tuple[Signal, ...]] = (EntropySignal(),)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, nats, at most 0."""
        return -over_queries(target.observe(EntropySignal()))
