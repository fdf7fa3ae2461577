"""Lower bounds on epsilon from true and false positives of independent runs.

The counts must be of independent trials: one record (or canary) a run, in it or not by a coin. Scores of many records
of one run go to ``epsilon`` and ``one_run``; a leave-one-model-out table, whose references are its targets, to neither.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from scipy.special import betainc, betaincinv, ndtri

from locard.errors import SettingsError
from locard.stats.epsilon import LARGEST_EPSILON
from locard.stats.inputs import check_both_kinds, check_level, checked
from locard.stats.one_run import PRECISE
from locard.types import Estimate, Membership, Scores

GRID = 4_001  # points of the posterior of the false-positive rate


def epsilon_from_rates(
    true_positives: int,
    members: int,
    false_positives: int,
    non_members: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Estimate:
    """A lower bound on epsilon (nats) at ``delta`` from the counts at one threshold that was fixed before looking.

    max(0, ln((TPR_low - delta) / FPR_high), ln((TNR_low - delta) / FNR_high)), every rate by Clopper-Pearson at
    (1 - confidence) / 2; TNR_low = 1 - FPR_high, so both logarithms come from the same two events.

    - exceeds the true epsilon with probability at most 1 - confidence

    Raises:
        SettingsError: counts below 0 or above their number of trials, or no trials on one side.

    >>> epsilon_from_rates(60, 1_000, 1, 1_000, delta=1e-5)
    >= 2.115
    """
    _check(true_positives, members, false_positives, non_members)
    share = (1 - check_level("confidence", confidence)) / 2
    low = _low(np.array([true_positives]), members, share)
    high = _high(np.array([false_positives]), non_members, share)
    bound = float(_epsilon(low, high, delta)[0])
    method = f"lower bound, Clopper-Pearson at one fixed threshold, delta {delta:g}"
    return Estimate(value=bound, low=bound, confidence=confidence, method=method, n=members + non_members)


def epsilon_over_thresholds(
    scores: Scores, member: Membership, *, delta: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """The same at the best of all thresholds, every one of them paid for.

    Whatever the threshold, members above it are the k highest for some k, and the chance of a member above the k-th
    highest is at least a Beta(k, members - k + 1): one look for each k on either side, each at (1 - confidence) / 2
    over the members (over the non-members), covers every threshold there is, ties included.

    - exceeds the true epsilon with probability at most 1 - confidence, for scores of independent runs

    Raises:
        SettingsError: one kind of record is missing.

    >>> scores = np.arange(2_000.0)
    >>> epsilon_over_thresholds(scores, scores >= 1_000)
    >= 4.542
    """
    low, high = _bands(scores, member, confidence)
    bound = float(_epsilon(low, high, delta).max(initial=0.0))
    method = f"lower bound, Clopper-Pearson, every threshold paid, delta {delta:g}"
    return Estimate(value=bound, low=bound, confidence=confidence, method=method, n=len(scores))


def gdp_from_rates(
    true_positives: int, members: int, false_positives: int, non_members: int, *, confidence: float = 0.95
) -> Estimate:
    """A lower bound on mu, if a Gaussian mechanism is audited, at one threshold that was fixed before looking.

    Phi^-1(1 - FPR_high) - Phi^-1(FNR_high), at least 0; ``epsilon_of_gdp`` gives the epsilon at a delta.

    Source: Nasr et al. 2023 (USENIX Security, arXiv:2302.07956).

    >>> gdp_from_rates(60, 1_000, 1, 1_000)
    >= 0.855
    """
    _check(true_positives, members, false_positives, non_members)
    share = (1 - check_level("confidence", confidence)) / 2
    low = _low(np.array([true_positives]), members, share)
    high = _high(np.array([false_positives]), non_members, share)
    bound = float(_mu(low, high)[0])
    method = "lower bound on mu, Gaussian mechanism, Clopper-Pearson at one fixed threshold"
    return Estimate(value=bound, low=bound, confidence=confidence, method=method, n=members + non_members)


def gdp_over_thresholds(scores: Scores, member: Membership, *, confidence: float = 0.95) -> Estimate:
    """The same at the best of all thresholds, every one of them paid for (see ``epsilon_over_thresholds``)."""
    low, high = _bands(scores, member, confidence)
    bound = float(_mu(low, high).max(initial=0.0))
    method = "lower bound on mu, Gaussian mechanism, Clopper-Pearson, every threshold paid"
    return Estimate(value=bound, low=bound, confidence=confidence, method=method, n=len(scores))


def credible_epsilon(
    true_positives: int,
    members: int,
    false_positives: int,
    non_members: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Estimate:
    """A *credible* lower bound: with posterior probability ``confidence`` the rates are beyond what it allows.

    FNR ~ Beta(1/2 + FN, 1/2 + TP) and FPR ~ Beta(1/2 + FP, 1/2 + TN), independent (Jeffreys' priors). The bound is the
    epsilon whose (epsilon, delta) region holds 1 - confidence of the posterior. Narrower than Clopper-Pearson, and no
    statement about how often it is false.

    Source: Zanella-Béguelin et al. 2023 (ICML, arXiv:2206.05199), joint-beta.

    Departs: the posterior is summed over 4,001 equal parts of the FPR's, exactly over the FNR's.

    >>> credible_epsilon(60, 1_000, 1, 1_000, delta=1e-5).method
    'credible lower bound, joint beta posterior, delta 1e-05'
    """
    _check(true_positives, members, false_positives, non_members)
    share = 1 - check_level("confidence", confidence)
    middles = (np.arange(GRID) + 0.5) / GRID
    fpr = betaincinv(0.5 + false_positives, 0.5 + non_members - false_positives, middles)
    a, b = 0.5 + members - true_positives, 0.5 + true_positives

    def held(epsilon: float) -> float:
        e = math.exp(epsilon)
        least = np.maximum((1 - delta - fpr) / e, 1 - delta - e * fpr)
        most = np.minimum((e + delta - fpr) / e, e + delta - e * fpr)
        least, most = np.clip(least, 0, 1), np.clip(most, 0, 1)
        return float(np.maximum(betainc(a, b, most) - betainc(a, b, least), 0).mean())

    low, high = 0.0, LARGEST_EPSILON
    while high - low > PRECISE:  # the regions are nested, so the mass only grows
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) <= share else (low, middle)
    method = f"credible lower bound, joint beta posterior, delta {delta:g}"
    bound = low if held(0.0) <= share else 0.0
    return Estimate(value=bound, low=bound, confidence=confidence, method=method, n=members + non_members)


def _bands(
    scores: Scores, member: Membership, confidence: float
) -> tuple[Float64[np.ndarray, "thresholds"], Float64[np.ndarray, "thresholds"]]:
    """TPR from below and FPR from above, at every threshold at once."""
    values, inside = checked(scores, member)
    members, non_members = int(inside.sum()), int((~inside).sum())
    check_both_kinds(members, non_members)
    share = (1 - check_level("confidence", confidence)) / 2
    at = np.unique(values)
    above_in = members - np.searchsorted(np.sort(values[inside]), at, side="left")
    above_out = non_members - np.searchsorted(np.sort(values[~inside]), at, side="left")
    return _low(above_in, members, share / members), _high(above_out, non_members, share / non_members)


def _low(k: np.ndarray, n: int, tail: float) -> Float64[np.ndarray, "thresholds"]:
    return np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)


def _high(k: np.ndarray, n: int, tail: float) -> Float64[np.ndarray, "thresholds"]:
    return np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)


def _epsilon(
    tpr: Float64[np.ndarray, "thresholds"], fpr: Float64[np.ndarray, "thresholds"], delta: float
) -> Float64[np.ndarray, "thresholds"]:
    if not 0 <= delta < 1:
        raise SettingsError(f"delta: a number from 0 to below 1 is needed, found {delta}.")
    with np.errstate(divide="ignore"):
        first = np.log(np.maximum(tpr - delta, 0)) - np.log(fpr)
        second = np.log(np.maximum(1 - fpr - delta, 0)) - np.log1p(-tpr)
    out: Float64[np.ndarray, "thresholds"] = np.maximum(0.0, np.maximum(first, second))
    return out


def _mu(
    tpr: Float64[np.ndarray, "thresholds"], fpr: Float64[np.ndarray, "thresholds"]
) -> Float64[np.ndarray, "thresholds"]:
    out: Float64[np.ndarray, "thresholds"] = np.maximum(0.0, ndtri(1 - fpr) - ndtri(1 - tpr))
    return out


def _check(true_positives: int, members: int, false_positives: int, non_members: int) -> None:
    check_both_kinds(members, non_members)
    if not (0 <= true_positives <= members and 0 <= false_positives <= non_members):
        raise SettingsError(
            f"true_positives, false_positives: counts from 0 to members and to non_members are needed, found "
            f"{true_positives} of {members} and {false_positives} of {non_members}."
        )
