"""Rates that pool counts over targets (precision, recall, realised FPR), with the pair as the unit of the interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import expit, stdtrit

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.intervals import LEAST_PAIRS, assumption_free_upper, spread
from locard.types import Estimate


def ratio_over_pairs(
    part: Any, whole: Any, pair: Any, *, factor: float = 1.0, confidence: float = 0.95, what: str = "a share"
) -> Estimate:
    """Sum of ``part`` over sum of ``whole`` over all targets, by the delete-one-pair jackknife. [A: near normal]

    - for these records and this procedure: the pair, not the claim, is drawn again in a repetition. Wilson's interval
      on pooled counts would call 16 records x 50 models 800 trials
    - where all pairs agree on 0 (or on 1) there is no spread to judge by: the other end then is the assumption-free
      bound on a fresh pair's share (.07 with 50 pairs), and the method says so
    - pairs with nothing in ``whole`` are no evidence: t has the degrees of freedom of the others
    - fewer than 4 pairs with anything in ``whole``: counted, with the smallest and largest share of any target as its
      ends, which says nothing about a retraining

    Undefined, with the reason, where ``whole`` is 0 in all, or all pairs agree on a share between 0 and 1.

    Args:
        part: int64[targets], such as true claims.
        whole: int64[targets], such as all claims.
        pair: int64[targets], the pair of each target.
        factor: the attack's variance factor: what sharing references costs (1 where references are held out).
        confidence: of the interval.
        what: named in reasons.

    Source: Efron and Stein, Annals of Statistics 1981; docs/estimands.md for the factor.

    Departs: the t interval is taken on the logit scale. Of a precision of .98 with few false claims the plain one lies
    wholly above the truth in 10 % of repetitions instead of 2.5 % (simulated: 50 pairs, 16 records), this one in none,
    and wholly below in 3 %.

    Raises:
        SettingsError: shapes that differ, or counts that are negative or above their whole.

    >>> estimate = ratio_over_pairs([3, 2, 4, 3, 2], [3, 3, 4, 4, 2], np.arange(5))
    >>> estimate, estimate.method
    (0.875 [0.5138, 0.9789], 'delete-one-pair jackknife, t over 5 pairs, c=1')
    >>> ratio_over_pairs([2] * 8, [2] * 8, np.arange(8))
    1 [0.6306, 1]
    """
    parts, wholes, names = _checked(part, whole, pair)
    tail = (1 - check_level("confidence", confidence)) / 2
    if not wholes.sum():
        return Estimate.undefined(f"{what}: there is nothing to take a share of in any of {wholes.size} targets")
    value = float(parts.sum() / wholes.sum())
    a, b = (np.bincount(names, weights=x) for x in (parts, wholes))
    usable = b > 0
    pairs, with_any = b.size, int(usable.sum())
    if with_any < LEAST_PAIRS:
        return _counted(parts, wholes, value, what)
    shares = a[usable] / b[usable]
    if spread(shares) == 0.0:
        return _unanimous(value, with_any, confidence, what)
    left = (a.sum() - a) / (b.sum() - b)
    error = math.sqrt(factor * (pairs - 1) * float(np.var(left))) / (value * (1 - value))
    half = float(stdtrit(with_any - 1, 1 - tail)) * error
    middle = math.log(value / (1 - value))
    return Estimate(
        value=value,
        low=min(value, float(expit(middle - half))),
        high=max(value, float(expit(middle + half))),
        confidence=confidence,
        method=f"delete-one-pair jackknife, t over {with_any} pairs, c={factor:g}",
        n=with_any,
    )


def _unanimous(value: float, pairs: int, confidence: float, what: str) -> Estimate:
    if value not in (0.0, 1.0):
        return Estimate.undefined(f"{what} is the same in all {pairs} pairs, so their spread says nothing")
    reach = assumption_free_upper(pairs, confidence=confidence)
    return Estimate(
        value=value,
        low=1.0 - reach if value else 0.0,
        high=1.0 if value else reach,
        confidence=confidence,
        method=f"all {pairs} pairs agree: assumption-free bound",
        n=pairs,
    )


def _counted(parts: np.ndarray, wholes: np.ndarray, value: float, what: str) -> Estimate:
    shares = parts[wholes > 0] / wholes[wholes > 0]
    return Estimate(
        value=value,
        low=min(value, float(shares.min())),
        high=max(value, float(shares.max())),
        confidence=1.0,
        method=f"counted over {shares.size} target{'s' if shares.size > 1 else ''}: smallest and largest",
        n=int(shares.size),
        reason=f"{what} is counted, not estimated: fewer than {LEAST_PAIRS} pairs have any",
    )


def _checked(
    part: Any, whole: Any, pair: Any
) -> tuple[Float64[np.ndarray, "targets"], Float64[np.ndarray, "targets"], np.ndarray]:
    parts, wholes = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    given = np.asarray(pair)
    if parts.ndim != 1 or wholes.shape != parts.shape or given.shape != parts.shape or not parts.size:
        raise SettingsError(
            f"part, whole, pair: one number a target is needed, found shapes {parts.shape}, {wholes.shape} and "
            f"{given.shape}."
        )
    if not ((parts >= 0) & (parts <= wholes)).all():
        raise SettingsError("part: counts from 0 to their whole are needed, found others.")
    return parts, wholes, np.unique(given, return_inverse=True)[1]
