"""The logarithm of the target's probability against that of the references' mean."""

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
class BASE:
    """BASE: the target's log-probability of the label minus alpha times the log of the references' mean probability.

    The score is in nats, the mean over queries. Online alpha is 1 and IN and OUT references weigh the same; offline,
    with OUT references alone, alpha is ``offline_alpha``.

    Args:
        offline: use OUT references alone.
        offline_alpha: the share of a record's difficulty that OUT references account for, in [0, 1].
        temperature: divides the logits before probabilities are taken.

    The variance factor is 1 online (a contrast of fixed sign and equal weights), 1.5 offline.

    Source: Lassila, Östman, Ngo 2025 (arXiv:2505.24089), and their code.

    Departs: the logarithm itself is the score, not its sigmoid, which ties where models are sure. IN and OUT means
    weigh the same, whatever their numbers; online this is RMIA's log-ratio. alpha is fixed (.33, as in LeakPro), not
    tuned; temperature is 1, not 2, because the log-probabilities here are mostly calibrated ones of tabular models.
    """

    offline: bool = False
    offline_alpha: Share = 0.33
    temperature: Positive = 1.0

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def variance_factor(self) -> float:
        """1.5 offline, 1 online."""
        return 1.5 if self.offline else 1.0

    @property
    def needs(self) -> Needs:
        """One reference a side."""
        return Needs(inside=0 if self.offline else 1, outside=1)

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
        """``float64[records]``, nats."""
        mean, alpha = references.mean(Probability(self.temperature), inside=False), self.offline_alpha
        if not self.offline:
            mean, alpha = 0.5 * (mean + references.mean(Probability(self.temperature), inside=True)), 1.0
        own = target.observe(LogProbability(self.temperature))
        return over_queries(own - alpha * np.log(np.maximum(mean, SMALLEST)))
