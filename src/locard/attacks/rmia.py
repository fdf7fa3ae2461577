"""How much likelier the target finds the record's label than models in general do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.attacks.fields import Positive, Share, check_fields
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogProbability, Probability, Signal
from locard.observe.target import Target
from locard.types import Access, Scores

SMALLEST = 1e-12  # a mean probability below it counts as this one


@dataclass(frozen=True, kw_only=True)
class RMIA:
    """RMIA: the probability that the target gives to the record's label, over the mean probability by references.

    The score is the logarithm of that ratio, log p(x | target) - log p(x), in nats; the mean over queries. Online,
    p(x) = (mean over IN + mean over OUT) / 2, so that the numbers of either say nothing. Offline, with OUT references
    alone, p(x) = ((1 + a) mean over OUT + 1 - a) / 2.

    Args:
        offline: use OUT references alone.
        offline_a: the a above, in [0, 1].
        temperature: divides the logits before probabilities are taken.
        pairwise: score a record by the share of population records whose ratio it beats by ``gamma``: the paper's
            form, whose thresholds are calibrated on that population, and which takes few values.
        gamma: that factor.

    The variance factor is 1 online (a contrast of fixed sign and equal weights), 1.5 offline.

    Source: Zarifzadeh, Liu, Shokri 2024 (ICML, arXiv:2312.03262), section 3, and their code for the offline
    correction.

    Departs: the log-ratio is the default score. For one target the share of population records beaten is a rising
    function of it, so the ROC is the same but for ties at the top. Population records, which no model saw, have their
    OUT mean as p(z), without the affine correction online. Pairwise, the logarithms of the ratios are averaged over
    queries first.
    """

    offline: bool = False
    offline_a: Share = 0.3
    temperature: Positive = 1.0
    pairwise: bool = False
    gamma: Positive = 2.0

    access: ClassVar[Access] = Access.PROBABILITIES

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def discrete(self) -> bool:
        """Pairwise scores are shares of the population."""
        return self.pairwise

    @property
    def variance_factor(self) -> float:
        """1.5 offline, 1 online."""
        return 1.5 if self.offline else 1.0

    @property
    def needs(self) -> Needs:
        """One reference a side; a population for the pairwise form."""
        return Needs(inside=0 if self.offline else 1, outside=1, population=1 if self.pairwise else 0)

    @property
    def reads(self) -> tuple[Signal, ...]:
        """The label's probability and its logarithm, of answers at this temperature."""
        return Probability(self.temperature), LogProbability(self.temperature)

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
        """``float64[records]``: nats, or a share in [0, 1] where pairwise."""
        ratio = self._log_ratio(target, references, inside=not self.offline)
        if not self.pairwise or population is None:
            return ratio
        others = np.sort(self._log_ratio(population.target, population.references, inside=False))
        beaten = np.searchsorted(others, ratio - np.log(self.gamma), side="right")
        shares: Scores = beaten / len(others)
        return shares

    def _log_ratio(self, target: Target, references: References, *, inside: bool) -> Scores:
        outside = references.mean(Probability(self.temperature), inside=False)
        if inside:
            mean = 0.5 * (references.mean(Probability(self.temperature), inside=True) + outside)
        elif self.offline:
            mean = 0.5 * ((1.0 + self.offline_a) * outside + 1.0 - self.offline_a)
        else:
            mean = outside
        own = target.observe(LogProbability(self.temperature))
        return over_queries(own - np.log(np.maximum(mean, SMALLEST)))
