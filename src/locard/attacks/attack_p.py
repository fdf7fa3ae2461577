"""Where the target's loss on a record stands among its losses on records that no model saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.places import log_odds_above
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogLoss, Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class AttackP:
    """Attack P: a loss that is low among the target's own losses on the population.

    With F the share of population losses (each the geometric mean over queries) below the record's, the score is
    log((1 - F) / F). Its ROC is that of the loss; what it adds is a scale: for a record that is like the population
    and not a member, F = 1 / (1 + exp(score)) is about uniform, so a threshold has a known false positive rate.

    It needs no references. The variance factor is 1.

    Source: Ye et al. 2022 (CCS, arXiv:2111.09679), attack P.

    Departs: between population losses F is linear in the loss, and beyond the smallest and largest it goes on falling
    and rising with the loss, so that no two different losses tie.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs(population=1)
    reads: ClassVar[tuple[Signal, ...]] = (LogLoss(),)

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
        """``float64[records]``, log-odds."""
        loss = over_queries(target.observe(LogLoss()))
        known = np.empty(0) if population is None else np.sort(over_queries(population.target.observe(LogLoss())))
        under = np.searchsorted(known, loss, side="left")
        upto = np.searchsorted(known, loss, side="right")
        return log_odds_above(
            loss,
            under=under,
            over=len(known) - upto,
            below=known[np.maximum(under - 1, 0)],
            above=known[np.minimum(upto, len(known) - 1)],
            count=np.full(loss.shape, len(known)),
        )
