"""What a fresh model would say of a record, given what its IN (or OUT) references said: normal or Student-t.

``moments`` are those of one side; ``mean`` and ``squares`` are ``float64[records, queries]``. Every query is fitted by
itself. All formulas treat references alike, and read each side's count only through that side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from locard.observe.references import Moments

SMALLEST_VARIANCE = 1e-12  # nats squared: what a signal that never moves is taken to move
LONE = {True: 1.0, False: 0.25}  # noise over spread, where no record has two references to tell them apart
LONE_SHAPE = 10.0
SHAPES = (2.0, 50.0)


@runtime_checkable
class Predictive(Protocol):
    """A distribution for each record and query."""

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the density, ``float64[records, queries]``."""
        ...

    def log_tail(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the probability of a larger value, ``float64[records, queries]``."""
        ...


@dataclass(frozen=True)
class Normal:
    """Normal with the references' mean."""

    mean: np.ndarray
    variance: np.ndarray

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the density."""
        out: np.ndarray = -0.5 * (np.log(2 * np.pi * self.variance) + (values - self.mean) ** 2 / self.variance)
        return out

    def log_tail(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the upper tail, in the log domain throughout."""
        from scipy.special import log_ndtr

        out: np.ndarray = log_ndtr((self.mean - values) / np.sqrt(self.variance))
        return out


@dataclass(frozen=True)
class StudentT:
    """Student-t with ``2 * shape`` degrees of freedom; ``scale2`` is the square of its scale."""

    centre: np.ndarray
    scale2: np.ndarray
    shape: np.ndarray

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the density."""
        from scipy.special import gammaln

        a = self.shape
        constant = gammaln(a + 0.5) - gammaln(a) - 0.5 * np.log(2 * np.pi * a)
        distance = (values - self.centre) ** 2 / (2 * a * self.scale2)
        out: np.ndarray = constant - 0.5 * np.log(self.scale2) - (a + 0.5) * np.log1p(distance)
        return out

    def log_tail(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the upper tail; where the beta function underflows, by its leading term."""
        from locard.stats.tails import log_student_tail

        return log_student_tail((values - self.centre) / np.sqrt(self.scale2), 2 * self.shape)


def pooled_variance(side: Moments) -> np.ndarray:
    """``float64[queries]``: variance around each record's own mean, over all records with two references or more."""
    free = np.maximum(side.count - 1, 0).sum()
    out: np.ndarray = np.maximum(side.squares.sum(axis=0) / max(int(free), 1), SMALLEST_VARIANCE)
    return out


def pooled_normal(side: Moments) -> Normal:
    """Each record's mean, one variance for all records."""
    return Normal(side.mean, pooled_variance(side)[None, :])


def record_normal(side: Moments, *, floor: float) -> Normal:
    """Each record's mean and variance (n - 1), no standard deviation under ``floor`` times the pooled one."""
    own = side.squares / np.maximum(side.count - 1, 1)[:, None]
    return Normal(side.mean, np.maximum(own, floor**2 * pooled_variance(side)))


def student(side: Moments, other: Moments | None) -> StudentT:
    """Predictive Student-t of a normal-inverse-gamma prior whose parameters are fitted by moments over all records.

    Each record's prior centre is the regression of its mean on the *other* side's mean where that is known, else the
    mean over records. Prior strength is the noise over the spread of record means around that centre; the prior of the
    variances matches the mean and spread of the records' variances. Where no record has two references, nothing tells
    noise from spread, and ``LONE`` and ``LONE_SHAPE`` stand in.
    """
    k = side.count[:, None].astype(np.float64)
    if len(k) and (k == k[0]).all():
        k = k[:1]  # one count for all: constants are computed once
    centre = side.mean.mean(axis=0) if other is None else _regressed(side.mean, other.mean)
    gap = ((side.mean - centre) ** 2).mean(axis=0)
    if (side.count > 1).any():
        noise = pooled_variance(side)
        spread = np.maximum(gap - noise * (1.0 / k).mean(), np.maximum(1e-3 * gap, SMALLEST_VARIANCE))
        strength, shape = noise / spread, _shape(side)
    else:
        strength, shape = np.full(gap.shape, LONE[other is not None]), np.full(gap.shape, LONE_SHAPE)
        noise = np.maximum(gap * strength / (1.0 + strength), SMALLEST_VARIANCE)
    total = strength + k
    posterior_shape = shape + 0.5 * k
    rate = noise * (shape - 1.0) + 0.5 * side.squares + 0.5 * strength * k / total * (side.mean - centre) ** 2
    return StudentT(
        centre=(strength * centre + k * side.mean) / total,
        scale2=rate * (total + 1.0) / (posterior_shape * total),
        shape=posterior_shape,
    )


def _shape(side: Moments) -> np.ndarray:
    """``float64[queries]``: shape of the inverse gamma that has the mean and spread of the records' variances."""
    several = side.count > 1
    free = (side.count[several] - 1)[:, None].astype(np.float64)
    own = side.squares[several] / free
    mean = np.maximum(own.mean(axis=0), SMALLEST_VARIANCE)
    second = (own**2 * free / (free + 2.0)).mean(axis=0)  # a normal sample's variance has E v^2 = s^4 (1 + 2 / free)
    spread = np.maximum(second / mean**2 - 1.0, 1e-9)
    out: np.ndarray = np.clip(2.0 + 1.0 / spread, *SHAPES)
    return out


def _regressed(mean: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Least squares of one side's record means on the other side's, a query at a time."""
    deviation = other - other.mean(axis=0)
    slope = (deviation * mean).sum(axis=0) / np.maximum((deviation**2).sum(axis=0), SMALLEST_VARIANCE)
    out: np.ndarray = mean.mean(axis=0) + slope * deviation
    return out
