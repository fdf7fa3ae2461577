"""A low loss suggests membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogProbability, Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss attack: a low cross-entropy suggests membership.

    The score is the log-probability of the record's label in nats, the mean over queries.

    It needs no references, so the variance factor is 1.

    Source: Yeom, Giacomelli, Fredrikson, Jha 2018 (CSF, arXiv:1709.01604), Adversary 2.

    Departs: no threshold is learnt; every threshold is on the ROC.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[tuple[Signal, ...]] = (LogProbability(),)

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
        return over_queries(target.observe(LogProbability()))
