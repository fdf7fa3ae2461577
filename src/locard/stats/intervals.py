"""Intervals: exact ones for counts, Student's t over pairs for a training procedure, and for one target's AUC."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import betaincinv, ndtri, stdtrit

from locard.errors import SettingsError
from locard.stats.inputs import Numbers, check_level
from locard.stats.sorting import sort_scores
from locard.types import Estimate, Membership, Scores

LEAST_PAIRS = 4
LEAST_TRUE_POSITIVES = 10


def clopper_pearson(
    k: Numbers, n: Numbers, *, confidence: float = 0.95
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Exact two-sided interval of a binomial chance, for each of ``k`` successes in ``n`` trials.

    Source: Clopper and Pearson, Biometrika 1934.

    Raises:
        SettingsError: a count below 0 or above its number of trials.

    >>> low, high = clopper_pearson([0, 10], [1_000, 10_000])
    >>> low.round(7).tolist(), high.round(7).tolist()
    ([0.0, 0.0004796], [0.0036821, 0.0018383])
    """
    hits, trials = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not ((hits >= 0) & (hits <= trials)).all():
        raise SettingsError("k: counts from 0 to n are needed, found others. Give successes and trials in this order.")
    tail = (1 - check_level("confidence", confidence)) / 2
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), trials - hits + 1, tail), 0.0)
    high = np.where(hits < trials, betaincinv(hits + 1, np.maximum(trials - hits, 1), 1 - tail), 1.0)
    return low, high


def pair_means(
    values: Float64[np.ndarray, "targets"], pair: Int64[np.ndarray, "targets"]
) -> Float64[np.ndarray, "pairs"]:
    """The mean over the targets of each pair, in the order of the pairs' numbers.

    >>> pair_means(np.array([1.0, 3.0, 5.0, 6.0]), np.array([0, 0, 1, 1]))
    array([2. , 5.5])
    """
    numbers = np.asarray(values, dtype=np.float64)
    names, place = np.unique(np.asarray(pair), return_inverse=True)
    if place.shape != numbers.shape:
        raise SettingsError(f"pair: one pair number a target is needed, found {place.size} for {numbers.size} targets.")
    return np.bincount(place, weights=numbers, minlength=names.size) / np.bincount(place, minlength=names.size)


def assumption_free_upper(pairs: int, *, confidence: float = 0.95) -> float:
    """The best upper bound that assumes nothing about the shape of a statistic in [0, 1], all pairs being at 0.

    One-sided at (1 - confidence) / 2. Printed beside every pass: the rest of the promise is normality.

    >>> [round(assumption_free_upper(p), 3) for p in (8, 16, 32, 64)]
    [0.369, 0.206, 0.109, 0.056]
    """
    if pairs < 1:
        raise SettingsError(f"pairs: at least 1 is needed, found {pairs}.")
    return -math.expm1(math.log((1 - check_level("confidence", confidence)) / 2) / pairs)


def spread(values: Float64[np.ndarray, "pairs"]) -> float:
    """Standard deviation (ddof 1); exactly 0 where the values differ by rounding only."""
    size = float(np.std(values, ddof=1))
    return size if size > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0


def t_over_pairs(
    values: Float64[np.ndarray, "pairs"],
    *,
    factor: float,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Mean over pairs with ``t_{P-1} S sqrt(factor / P)`` on either side, clipped to ``bounds``. [A: near normal]

    Args:
        values: one number a pair (``pair_means``).
        factor: the attack's variance factor: 1 without references, 1.5 with OUT references, 2.5 where the direction
            is learnt from the references' membership. Pairs are references for each other, so S alone is too small.
        confidence: of the interval.
        bounds: the statistic's range.

    Undefined, with the reason, for fewer than 4 pairs, a missing value, or pairs that are all equal.

    Source: docs/estimands.md; Nadeau and Bengio, Machine Learning 2003, for the idea of a factor.
    Departs: their factor (about 2) covers .93-.94 for learned attacks; 2.5 covers .95.

    >>> t = [0.031, 0.027, 0.042, 0.036, 0.029, 0.033, 0.025, 0.041]
    >>> estimate = t_over_pairs(np.array(t), factor=2.5)
    >>> estimate, estimate.method
    (0.033 [0.02473, 0.04127], 't over 8 pairs, c=2.5')
    """
    numbers = np.asarray(values, dtype=np.float64)
    tail = (1 - check_level("confidence", confidence)) / 2
    if numbers.size < LEAST_PAIRS:
        return Estimate.undefined(f"an interval needs at least {LEAST_PAIRS} pairs of models, found {numbers.size}")
    missing = int((~np.isfinite(numbers)).sum())
    if missing:
        return Estimate.undefined(f"a value for every pair is needed, but {missing} of {numbers.size} have none")
    size = spread(numbers)
    if size == 0.0:
        return Estimate.undefined(f"all {numbers.size} pairs have the same value, so their spread says nothing")
    mean = float(np.clip(numbers.mean(), *bounds))
    half = float(stdtrit(numbers.size - 1, 1 - tail)) * size * math.sqrt(factor / numbers.size)
    return Estimate(
        value=mean,
        low=max(bounds[0], mean - half),
        high=min(bounds[1], mean + half),
        confidence=confidence,
        method=f"t over {numbers.size} pairs, c={factor:g}",
        n=numbers.size,
    )


def tpr_estimate(
    tprs: Float64[np.ndarray, "targets"],
    true_positives: Int64[np.ndarray, "targets"],
    pair: Int64[np.ndarray, "targets"],
    *,
    factor: float,
    one_target: Estimate,
    confidence: float = 0.95,
) -> Estimate:
    """The procedure's TPR at one FPR: t over pairs, or one target's exact interval where that cannot be trusted.

    Args:
        tprs: each target's TPR at its conformal threshold.
        true_positives: the counts behind them.
        pair: each target's pair.
        factor: the attack's variance factor.
        one_target: ``one_target_box`` of a target named beforehand (the first). It stands in where all pairs are
            equal or fewer than 10 true positives were found in all; where it is undefined (FPR not resolvable), so is
            the procedure's TPR, and its remark ("bounded only") is handed on.
        confidence: of the interval.

    >>> box = Estimate(value=0.0, low=0.0, high=0.01, confidence=0.95, method="one target, exact", n=500)
    >>> tpr_estimate(np.zeros(8), np.zeros(8, dtype=int), np.arange(8) // 2, factor=1.0, one_target=box).method
    'one target, exact'
    """
    if one_target.value is None:
        return one_target
    pairs = pair_means(tprs, pair)
    if pairs.size >= LEAST_PAIRS and (spread(pairs) == 0.0 or int(np.sum(true_positives)) < LEAST_TRUE_POSITIVES):
        return one_target
    estimate = t_over_pairs(pairs, factor=factor, confidence=confidence)
    return estimate if estimate.value is None else replace(estimate, reason=one_target.reason)


def auc_one_target(scores: Scores, member: Membership, *, confidence: float = 0.95) -> Estimate:
    """One target's AUC with an approximate interval that never leaves [0, 1] and never has zero width. [A]

    DeLong's variance says how many independent comparisons the AUC is worth; Wilson's interval is taken at that number.
    It is held between the fewest that any distribution allows (min of the two counts, taken where the variance is 0)
    and twice the harmonic mean of the counts, above which only the coarseness of few records speaks.

    Undefined where there are no members or no non-members.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; Wilson 1927. Departs: their normal interval has zero
    width for perfect separation.

    >>> auc_one_target(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, True, False, False]))
    1 [0.3424, 1]
    """
    ordered = sort_scores(scores, member)
    members, others = ordered.members, ordered.non_members
    if not members.size or not others.size:
        return Estimate.undefined(f"an AUC needs members and non-members, found {members.size} and {others.size}")
    value = ordered.auc
    worth = float(min(members.size, others.size))
    if worth > 1:
        beats = (np.searchsorted(others, members, "left") + np.searchsorted(others, members, "right")) / 2
        beaten = (np.searchsorted(members, others, "left") + np.searchsorted(members, others, "right")) / 2
        variance = (
            np.var(beats / others.size, ddof=1) / members.size + np.var(beaten / members.size, ddof=1) / others.size
        )
        if variance > 0:
            most = 4 / (1 / members.size + 1 / others.size)
            worth = min(max(value * (1 - value) / float(variance), worth), most)
    low, high = wilson(value, worth, confidence=confidence)
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        confidence=confidence,
        method="one target, DeLong variance in Wilson's interval [A]",
        n=members.size + others.size,
    )


def balanced_accuracy_one_target(
    scores: Scores, member: Membership, *, rng: np.random.Generator, confidence: float = 0.95
) -> Estimate:
    """One target's cross-fitted balanced accuracy; the exact bounds on TPR and TNR are added like errors. [A]

    The two halves judge each other, so their counts are not quite independent: each bound is taken at half the error,
    which covers .95 and more where the plain sum of squares covers .93 (shift of 1 sd, 500 + 500 records).

    Source: Zou and Donner, Statistics in Medicine 2008, for adding intervals.

    Undefined below two members or two non-members.

    >>> scores, member = np.arange(200.0), np.arange(200) >= 100
    >>> balanced_accuracy_one_target(scores, member, rng=np.random.default_rng(0)).method
    'one target, bounds on TPR and TNR by halves [A]'
    """
    ordered = sort_scores(scores, member)
    members, others = ordered.members.size, ordered.non_members.size
    if min(members, others) < 2:
        return Estimate.undefined(
            f"balanced accuracy needs two members and two non-members, found {members} and {others}"
        )
    right = np.array(ordered.right_by_halves(rng=rng))
    counts = np.array([members, others])
    error = 1 - check_level("confidence", confidence)
    low, high = clopper_pearson(right, counts, confidence=1 - error / 2)
    share = right / counts
    value = float(share.mean())
    return Estimate(
        value=value,
        low=max(0.0, value - math.hypot(*(share - low)) / 2),
        high=min(1.0, value + math.hypot(*(high - share)) / 2),
        confidence=confidence,
        method="one target, bounds on TPR and TNR by halves [A]",
        n=members + others,
    )


def wilson(share: float, trials: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share seen in ``trials`` (which need not be whole). [A]

    >>> low, high = wilson(1.0, 100.0)
    >>> round(low, 4), round(high, 4)
    (0.963, 1.0)
    """
    z2 = float(ndtri(1 - (1 - check_level("confidence", confidence)) / 2)) ** 2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
