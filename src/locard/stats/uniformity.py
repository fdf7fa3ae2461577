"""Do calibrated p-values keep their promise? Checks that know that all tests share one calibration set.

A one-sample Kolmogorov-Smirnov test of the p-values against uniform rejects a *correct* method 31 % of the time, and a
binomial interval for its hits fails 16 % of the time at .1 (as many tests as calibration records): the shared set moves
all p-values together. What is exact: calibration and test scores are one sample, cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import betaln, gammaln

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.intervals import LEAST_PAIRS
from locard.stats.ratios import ratio_over_pairs
from locard.stats.sorting import conformal_rank
from locard.types import Estimate

_EXACT = 500  # scores of the smaller sample up to which the exact law is counted


@dataclass(frozen=True, kw_only=True)
class RateCheck:
    """Whether non-members are claimed no more often than a level promises.

    ``hits`` of ``tests`` non-members had p at most ``level``. ``p`` is the chance of so many hits or more if the
    promise holds (one target, exact; None for several). ``realised`` is the rate over targets. ``holds`` is False where
    the promise is refuted at 2.5 %, None where it cannot be judged.
    """

    level: float
    hits: int
    tests: int
    p: float | None
    realised: Estimate
    holds: bool | None


def same_law(calibration: Any, tests: Any) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov test: calibration and test scores come from one distribution.

    Exact for small samples without ties, careful with ties. A distribution that differs where no p-value is small does
    no harm, so a rejection is a reason to look, not a refutation of the promise.

    Raises:
        SettingsError: an empty sample, or a NaN.

    >>> round(same_law([1.0, 2.0, 3.0], [1.5, 2.5, 10.0]), 6)
    1.0
    """
    from scipy.stats import ks_2samp

    known, new = np.asarray(calibration, dtype=np.float64), np.asarray(tests, dtype=np.float64)
    if not known.size or not new.size or np.isnan(known).any() or np.isnan(new).any():
        raise SettingsError(
            f"calibration, tests: numbers are needed in both, found {known.size} and {new.size} with "
            f"{int(np.isnan(known).sum() + np.isnan(new).sum())} NaN."
        )
    method = "exact" if min(known.size, new.size) <= _EXACT else "asymp"
    return float(ks_2samp(known, new, method=method).pvalue)


def hits_law(tests: int, calibration: int, level: float) -> Float64[np.ndarray, "hits"]:
    """P(0), P(1), ..., P(tests) hits among exchangeable non-members with one shared calibration set.

    Beta-binomial(tests, k, calibration + 1 - k), k = floor(level (calibration + 1)); exact without ties.

    >>> hits_law(2, 1, 0.5).round(4).tolist()
    [0.3333, 0.3333, 0.3333]
    """
    k = conformal_rank(calibration, level)
    j = np.arange(tests + 1, dtype=np.float64)
    if k == 0:
        nothing: np.ndarray = (j == 0).astype(np.float64)
        return nothing
    choose = gammaln(tests + 1) - gammaln(j + 1) - gammaln(tests - j + 1)
    log_chance = choose + betaln(j + k, tests - j + calibration + 1 - k) - betaln(k, calibration + 1 - k)
    out: np.ndarray = np.exp(log_chance)
    return out


def hits_range(tests: int, calibration: int, level: float, *, coverage: float = 0.95) -> tuple[int, int]:
    """The middle ``coverage`` of the number of hits that a correct method makes.

    >>> [hits_range(10_000, 10_000, u) for u in (0.001, 0.01, 0.1)], hits_range(1_000, 999, 0.01)
    ([(3, 20), (74, 129), (918, 1084)], (3, 20))
    """
    tail = (1 - check_level("coverage", coverage)) / 2
    below = np.cumsum(hits_law(tests, calibration, level))
    low, high = np.searchsorted(below, [tail, 1 - tail], "left")
    return int(low), int(min(high, tests))


def check_rate(
    hits: Any, tests: Any, level: float, *, calibration: int | None = None, pair: Any = None, factor: float = 1.0
) -> RateCheck:
    """Whether the promise of calibrated p-values at ``level`` is refuted by the non-members that were tested.

    One target: by the exact law of its hits. Several targets share records (and, in pairs, references): their rates
    are clustered by pair, and the promise is refuted where the interval of the rate lies above ``level``.

    Args:
        hits: int or int64[targets]: non-members with p at most ``level``.
        tests: int or int64[targets]: non-members tested, which were not calibration records themselves.
        level: the p-value asked about.
        calibration: calibration records, for one target.
        pair: int64[targets], for several.
        factor: the attack's variance factor, for several.

    Raises:
        SettingsError: ``calibration`` or ``pair`` missing.

    >>> check_rate(25, 1_000, 0.01, calibration=999).holds, check_rate(12, 1_000, 0.01, calibration=999).holds
    (False, True)
    """
    h, m = np.atleast_1d(np.asarray(hits, dtype=np.int64)), np.atleast_1d(np.asarray(tests, dtype=np.int64))
    if h.size == 1 and calibration is not None:
        law = hits_law(int(m[0]), calibration, level)
        p = float(min(1.0, law[int(h[0]) :].sum()))
        realised = ratio_over_pairs(h, m, np.zeros(1, dtype=np.int64), what="realised FPR")
        return RateCheck(level=level, hits=int(h[0]), tests=int(m[0]), p=p, realised=realised, holds=p > 0.025)
    if pair is None:
        raise SettingsError(
            f"pair, calibration: the pair of each of {h.size} targets, or for one target the number of calibration "
            "records, is needed, found neither."
        )
    realised = ratio_over_pairs(h, m, pair, factor=factor, what="realised FPR")
    judged = realised.low is not None and realised.n is not None and realised.n >= LEAST_PAIRS
    holds = bool(realised.low <= level) if judged and realised.low is not None else None
    return RateCheck(level=level, hits=int(h.sum()), tests=int(m.sum()), p=None, realised=realised, holds=holds)
