"""TPR at a small FPR: the conformal threshold, one target's exact box, and what a number of non-members resolves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import bdtr, bdtrik

from locard.stats.inputs import check_both_kinds, check_level, checked
from locard.stats.intervals import clopper_pearson
from locard.stats.sorting import SortedScores, sort_scores
from locard.types import Estimate, Membership, Scores

Resolution = Literal["resolved", "bounded only", "not resolvable"]


def conformal_threshold(non_member_scores: Float64[np.ndarray, "non_members"], fpr: float) -> float:
    """The k-th largest non-member score, k = floor(fpr (non-members + 1)); claim only what scores *above* it.

    - a fresh exchangeable non-member is claimed with probability at most ``fpr``, ties included
    - k = 0 gives +inf: no claims

    Departs: "the largest ROC vertex with FPR <= fpr" has twice the nominal FPR where fpr * non-members is 1.

    Raises:
        SettingsError: a NaN, or ``fpr`` outside (0, 1).

    >>> conformal_threshold(np.arange(99.0), 0.02), conformal_threshold(np.arange(98.0), 0.01)
    (97.0, inf)
    """
    values = np.asarray(non_member_scores, dtype=np.float64)
    return sort_scores(values, np.zeros(values.shape, dtype=np.bool_)).conformal_threshold(fpr)


def tpr_at_fpr(scores: Scores, member: Membership, fpr: float) -> float:
    """Share of members above the conformal threshold of the target's own non-members.

    Raises:
        SettingsError: a NaN, different lengths, no member or no non-member, ``fpr`` outside (0, 1).

    >>> tpr_at_fpr(np.array([5.0, 1.0, 4.0, 3.0, 2.0]), np.array([True, True, False, False, False]), 0.25)
    0.5
    """
    ordered = sort_scores(scores, member)
    check_both_kinds(ordered.members.size, ordered.non_members.size)
    return ordered.members_above(ordered.conformal_threshold(fpr)) / ordered.members.size


def realised_fpr(scores: Scores, member: Membership, threshold: float) -> float:
    """Share of the target's non-members above a threshold (which may come from other targets).

    Raises:
        SettingsError: a NaN, different lengths, or no non-members.

    >>> realised_fpr(np.array([5.0, 4.0, 3.0]), np.array([True, False, False]), 3.5)
    0.5
    """
    values, inside = checked(scores, member)
    check_both_kinds(1, int((~inside).sum()))
    return float((values[~inside] > threshold).mean())


def box_ranks(
    non_members: int, fpr: float, alpha: float = 0.05, *, all_members_audited: bool = False
) -> tuple[int, int]:
    """Ranks (k_lo, k_hi): the true FPR above the k_lo-th largest is below ``fpr``, above the k_hi-th above it.

    Each statement holds with probability 1 - alpha/4 (alpha/2 where all members were audited, which leaves no second
    error to pay for). The FPR above the k-th largest of n is Beta(k, n + 1 - k). k_lo = 0: no rank is high enough;
    k_hi = non_members + 1: none is low enough.

    >>> box_ranks(1_000, 0.01), box_ranks(100_000, 0.001)
    ((4, 19), (78, 124))
    """
    tail = check_level("alpha", alpha) / (2 if all_members_audited else 4)
    check_level("fpr", fpr)
    # BetaCDF(fpr; k, n + 1 - k) is the chance of at least k among n: both ends are binomial quantiles.
    return sure_rank(non_members, fpr, tail), _quantile(1 - tail, non_members, fpr) + 1


def sure_rank(non_members: int, fpr: float, tail: float) -> int:
    """Largest k whose true FPR, above the k-th largest of the non-members, is below ``fpr`` with chance 1 - ``tail``.

    0: no rank is sure enough.

    >>> sure_rank(1_000, 0.01, 0.05), sure_rank(298, 0.01, 0.05)
    (5, 0)
    """
    k = _quantile(tail, non_members, fpr)
    return k + int(bdtr(k, non_members, fpr) <= tail)


def _quantile(chance: float, trials: int, rate: float) -> int:
    """Smallest count that a binomial does not exceed with at least this chance."""
    k = max(0, math.ceil(bdtrik(chance, trials, rate))) if trials else 0
    while k > 0 and bdtr(k - 1, trials, rate) >= chance:
        k -= 1
    while k < trials and bdtr(k, trials, rate) < chance:
        k += 1
    return k


def needed_non_members(fpr: float, *, confidence: float = 0.95) -> tuple[int, int]:
    """Distinct non-members of one target from which an FPR is bounded, and from which it is resolved (10 / fpr).

    >>> needed_non_members(0.01), needed_non_members(0.001), needed_non_members(0.0001)
    ((437, 1000), (4380, 10000), (43819, 100000))
    """
    tail = (1 - check_level("confidence", confidence)) / 4
    bound = math.ceil(math.log(tail) / math.log1p(-check_level("fpr", fpr)))
    return bound, math.ceil(10 / fpr * (1 - 1e-12))


def resolution(non_members: int, fpr: float, *, confidence: float = 0.95) -> Resolution:
    """What ``non_members`` distinct non-members of one target say about its TPR at ``fpr``.

    Several targets do not add up: they share their records. Under complementary pairs a target has half of them.

    >>> [resolution(n, 0.001) for n in (4_379, 5_000, 10_000)]
    ['not resolvable', 'bounded only', 'resolved']
    """
    bound, resolved = needed_non_members(fpr, confidence=confidence)
    if non_members < bound:
        return "not resolvable"
    return "resolved" if non_members >= resolved else "bounded only"


def one_target_box(
    scores: Scores,
    member: Membership,
    fpr: float,
    *,
    confidence: float = 0.95,
    all_members_audited: bool = False,
) -> Estimate:
    """One target's TPR at ``fpr`` between exact ends (order-statistic box).

    - contains the TPR at a true FPR of ``fpr`` with at least the stated confidence, whatever the two distributions,
      where non-members are independent draws given model and references, and members too
    - with ``all_members_audited`` the TPR is counted and only the threshold is uncertain

    ``reason`` carries the remark "bounded only" below 10 / fpr non-members. Undefined, with the reason, where the FPR
    is not resolvable or there are no members.

    Raises:
        SettingsError: a NaN, different lengths, ``fpr`` or ``confidence`` outside (0, 1).

    >>> scores, member = np.arange(2000.0) % 1000, np.arange(2000) >= 900
    >>> box = one_target_box(scores, member, 0.01)
    >>> box, box.reason
    (0.1891 [0.1581, 0.2256], 'bounded only: 900 non-members, resolved from 1000')
    """
    ordered = sort_scores(scores, member)
    members, others = ordered.members.size, ordered.non_members.size
    kind = resolution(others, fpr, confidence=confidence)
    if kind == "not resolvable" or not members:
        return Estimate.undefined(_unresolved(members, others, fpr, confidence))
    low, high = _ends(ordered, fpr, confidence, all_members_audited)
    if low == high:  # no member anywhere near the threshold: the wider box holds too, and is honest about it
        low, high = _ends(ordered, fpr, confidence, False)
    resolved = needed_non_members(fpr, confidence=confidence)[1]
    return Estimate(
        value=ordered.members_above(ordered.conformal_threshold(fpr)) / members,
        low=low,
        high=high,
        confidence=confidence,
        method="one target, exact",
        n=members + others,
        reason=f"bounded only: {others} non-members, resolved from {resolved}" if kind == "bounded only" else None,
    )


def _ends(ordered: SortedScores, fpr: float, confidence: float, all_members_audited: bool) -> tuple[float, float]:
    """Low: members strictly above the k_lo-th non-member. High: members at or above the k_hi-th. Ties need both."""
    alpha = 1 - confidence
    k_low, k_high = box_ranks(ordered.non_members.size, fpr, alpha, all_members_audited=all_members_audited)
    above = ordered.members_above(ordered.kth_non_member(k_low))
    reached = ordered.members_above(ordered.kth_non_member(k_high), or_equal=True)
    members = ordered.members.size
    if all_members_audited:
        return above / members, reached / members
    low, high = clopper_pearson([above, reached], members, confidence=1 - alpha / 2)
    return float(low[0]), float(high[1])


def _unresolved(members: int, others: int, fpr: float, confidence: float) -> str:
    if not members:
        return "a TPR needs members, found none"
    bound = needed_non_members(fpr, confidence=confidence)[0]
    return f"not resolvable: an FPR of {fpr:g} needs {bound} non-members of one target, found {others}"
