"""Is the target's answer nearer to the mean answer of models that saw the record, or of those that did not?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import Posteriors
from locard.observe.target import Target
from locard.types import Access, Scores

SMALLEST = 1e-12  # probabilities below it count as this one


@dataclass(frozen=True, kw_only=True)
class InstanceVector:
    """Instance-vector attack: KL(p_OUT || p) - KL(p_IN || p), in nats, the mean over queries.

    p is the target's vector of class probabilities for the record, p_IN and p_OUT the mean vectors of the references
    that saw it and that did not.

    The variance factor is 2.5: the direction is learnt from the references' membership.

    Source: Li, Li, Ribeiro 2021 (CODASPY, arXiv:2002.12062), and their code (instance distance).

    Departs: records without IN or without OUT references are refused, not scored one half. Probabilities are at least
    1e-12 in the logarithms.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1)

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
        answer = np.log(np.maximum(target.observe(Posteriors()), SMALLEST))
        divergence = np.zeros(answer.shape[:2])
        for inside, sign in ((False, 1.0), (True, -1.0)):
            mean = references.mean(Posteriors(), inside=inside)
            apart = np.log(np.maximum(mean, SMALLEST))
            apart -= answer
            divergence += sign * np.einsum("rqc,rqc->rq", mean, apart)
        return over_queries(divergence)
