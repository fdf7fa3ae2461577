"""A sure answer for the right class suggests membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import ScaledLogit, Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """The confidence attack: a high probability of the record's label suggests membership.

    The score is that probability on its logit scale, log p - log(1 - p), the mean over queries.

    It needs no references, so the variance factor is 1.

    Source: Song and Mittal 2021 (USENIX Security, arXiv:2003.10595); Salem et al. 2019
    (arXiv:1806.01246), adversary 3, where the label is not known.

    Departs: the logit scale. It orders one query's records as p does, but does not round to 1 where models are sure.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[tuple[Signal, ...]] = (ScaledLogit(),)

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
        """``float64[records]``, nats."""
        return over_queries(target.observe(ScaledLogit()))
