"""Where the target's loss stands among the losses of models that did not see the record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from locard.attacks.fields import check_fields
from locard.attacks.places import log_odds_above
from locard.attacks.predictive import record_normal
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Moments, Population, References
from locard.observe.signals import LogLoss, ScaledLogit, Signal
from locard.observe.target import Target
from locard.types import Access, Scores, Signals

FLOOR = 1e-3  # smallest standard deviation of a record, of the pooled one


@dataclass(frozen=True, kw_only=True)
class AttackR:
    """Attack R: a loss that is low for this record, by the losses of references that did not see it.

    With F the share of the record's OUT losses below the target's, the score is log((1 - F) / F); the mean over
    queries. F is a p-value of a sort for each record, so one threshold means the same for easy and hard records.

    Args:
        smoothing: ``"linear"``: F interpolates the OUT losses. ``"gaussian"``: F is a normal tail of the scaled logit
            with the record's OUT mean and variance; it needs two OUT references.

    The variance factor is 1.5: OUT references only.

    Source: Ye et al. 2022 (CCS, arXiv:2111.09679), attack R, and their code for the interpolation.

    Departs: beyond the smallest and largest OUT loss F goes on falling and rising with the loss, so that records do
    not tie there; the authors put an extra loss of 0 and of 1000, which is the same line below. log-odds instead of
    1 - F. A gaussian spread is at least a thousandth of the pooled one.
    """

    smoothing: Literal["linear", "gaussian"] = "linear"

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    reads: ClassVar[tuple[Signal, ...]] = (ScaledLogit(), LogLoss())
    variance_factor: ClassVar[float] = 1.5

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def needs(self) -> Needs:
        """One OUT reference, or two for a variance."""
        return Needs(outside=1 if self.smoothing == "linear" else 2)

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
        if self.smoothing == "gaussian":
            moments = references.moments(ScaledLogit(), inside=False)
            return over_queries(gaussian_odds(target.observe(ScaledLogit()), moments))
        others = ((references.signal_of(LogLoss(), k), references.outside_of(k)[:, None]) for k in references)
        return over_queries(odds_among(target.observe(LogLoss()), others, references.outside_count[:, None]))


def gaussian_odds(phi: Signals, moments: Moments) -> Signals:
    """Log-odds that a scaled logit is above one drawn from the normal with these moments of the record."""
    from scipy.special import log_ndtr

    fit = record_normal(moments, floor=FLOOR)
    z = (phi - fit.mean) / np.sqrt(fit.variance)
    out: Signals = log_ndtr(z) - log_ndtr(-z)
    return out


def odds_among(loss: Signals, others: Iterable[tuple[Signals, np.ndarray]], count: np.ndarray) -> Signals:
    """Log-odds that a loss is below one drawn from others of the record, interpolated.

    Args:
        loss: logarithms of losses.
        others: more of them, model by model, each with the records (and queries) for which it counts.
        count: how many count, for each record.
    """
    under, over = np.zeros(loss.shape), np.zeros(loss.shape)
    below, above = np.full(loss.shape, -np.inf), np.full(loss.shape, np.inf)
    for other, usable in others:
        less, more = (other < loss) & usable, (other > loss) & usable
        under += less
        over += more
        np.maximum(below, np.where(less, other, -np.inf), out=below)
        np.minimum(above, np.where(more, other, np.inf), out=above)
    return log_odds_above(loss, under=under, over=over, below=below, above=above, count=count)
