"""A right answer suggests membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import Correct, Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The gap attack: a right answer suggests membership, and its advantage is the generalisation gap.

    The score is the share of a record's queries that the target answers with the record's label: 0 or 1 for one
    query, so no small false positive rate can be resolved.

    It needs no references, so the variance factor is 1.

    Source: Yeom, Giacomelli, Fredrikson, Jha 2018 (CSF, arXiv:1709.01604), Adversary 1 for classification; the
    baseline of Li, Li, Ribeiro 2021 (arXiv:2002.12062).
    """

    access: ClassVar[Access] = Access.LABELS
    discrete: ClassVar[bool] = True
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[tuple[Signal, ...]] = (Correct(),)

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
        """``float64[records]``, the share of right answers."""
        return over_queries(target.observe(Correct()))
