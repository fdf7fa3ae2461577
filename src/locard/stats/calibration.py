"""P-values calibrated on known non-members: valid on average whatever is wrong with the score or the references.

The calibration records G were in neither target nor references, are scored like the candidates, and pass the same
screen. Higher scores = more likely a member. Everything here is exact in finite samples, ties included; what it
promises is an average over records, never a promise about one of them (``guarantee`` says it in words).

Sources: Vovk, Gammerman and Shafer 2005 (conformal p-values, Mondrian categories); Bates et al., Annals of Statistics
2023; Jin and Ren 2024 (arXiv:2403.03868) for the calibration of selected candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import betaincinv

from locard.errors import SettingsError
from locard.stats.inputs import check_level, checked
from locard.stats.rates import sure_rank
from locard.stats.sorting import conformal_rank
from locard.types import Membership, Scores


def p_calibrated(scores: Any, calibration: Any, among: Any = None) -> Scores:
    """p_cal = (1 + calibration records that score as much or more) / (calibration records + 1).

    - for a non-member drawn from the same population as the calibration records: at most u with probability at most u,
      averaged over records, calibration sets and targets
    - never below 1 / (calibration records + 1); 1 without any
    - given the calibration records, the realised rate at u is random: ``fpr_given_calibration``

    Args:
        scores: float64[records].
        calibration: float64[calibration], scores of known non-members.
        among: bool[records], records that are known non-members themselves: they calibrate all others, each left out
            of its own calibration set. (Their realised rate is then at most nominal by construction: it is no test.)

    Raises:
        SettingsError: a NaN, or shapes that differ.

    >>> p_calibrated([9.5, 9.0, 5.0], np.arange(1.0, 10.0)).tolist()
    [0.1, 0.2, 0.6]
    >>> p_calibrated([3.0, 2.0, 1.0], [], among=[False, True, True]).tolist()
    [0.3333333333333333, 0.5, 1.0]
    """
    given = np.asarray(scores)
    values, own = checked(given, np.zeros(given.shape, dtype=np.bool_) if among is None else among)
    known, _ = checked(calibration, np.zeros(np.shape(calibration), dtype=np.bool_))
    everyone = np.sort(np.concatenate([known, values[own]]))
    as_much = everyone.size - np.searchsorted(everyone, values, "left")
    out: Scores = (1 + as_much - own) / (1 + everyone.size - own)
    return out


def p_by_category(scores: Any, category: Any, calibration: Any, calibration_category: Any) -> Scores:
    """``p_calibrated`` within each category (Mondrian): of screen bins, say, or classes.

    - the promise then holds within each category by itself. A calibration set of everybody is wrong for the screened
      few: where spreads rise with the screen, the top 1 % are claimed 25 % of the time at a nominal 5 %

    A category without calibration records gets p = 1.

    >>> p_by_category([2.0, 2.0], [0, 1], [1.0, 3.0, 0.0], [0, 1, 1]).round(4).tolist()
    [0.5, 0.6667]
    """
    values, kinds = np.asarray(scores, dtype=np.float64), np.asarray(category)
    known, known_kinds = np.asarray(calibration, dtype=np.float64), np.asarray(calibration_category)
    if kinds.shape != values.shape or known_kinds.shape != known.shape:
        raise SettingsError(
            f"category: one a record is needed, found shapes {kinds.shape} for {values.shape} scores and "
            f"{known_kinds.shape} for {known.shape} calibration scores."
        )
    out = np.ones(values.shape)
    for kind in np.unique(kinds):
        here = kinds == kind
        out[here] = p_calibrated(values[here], known[known_kinds == kind])
    return out


def selected_alike(
    selected: Any, value: Any, calibration_value: Any
) -> tuple[Bool[np.ndarray, "calibration"], Membership]:
    """Which calibration records stand for the candidates that a *top-K* screen selected, and for which of them.

    Those whose screen value is above that of the best candidate that was not selected: any of them, put in the place of
    a selected candidate, would have been selected (swap rule). Exact for the selected candidates above that value;
    selected ones that tie with it have no calibration set.

    A screen that judges each record by itself (a fixed threshold) needs no swap rule: screen both alike.

    Args:
        selected: bool[records].
        value: float64[records], screen values of the candidates, higher = sooner selected.
        calibration_value: float64[calibration].

    Returns:
        ``bool[calibration]`` and ``bool[records]``: selected candidates that they calibrate.

    Source: Jin and Ren 2024 (arXiv:2403.03868).

    Raises:
        SettingsError: a NaN, or shapes that differ.

    >>> alike, covered = selected_alike([True, True, False], [3.0, 2.0, 1.0], [0.5, 1.0, 1.5, 9.0])
    >>> alike.tolist(), covered.tolist()
    ([False, False, True, True], [True, True, False])
    """
    values, chosen = checked(value, selected)
    others, _ = checked(calibration_value, np.zeros(np.shape(calibration_value), dtype=np.bool_))
    best_left = values[~chosen].max(initial=-np.inf)
    return others > best_left, chosen & (values > best_left)


def finest_bin(calibration: Sequence[int], level: float) -> int | None:
    """The first of these screen bins with enough calibration records for p-values down to ``level``; None if none has.

    Args:
        calibration: how many calibration records each bin has, from the narrowest to the widest. The bins are declared
            before the target is asked, and claims are then about the whole bin.
        level: smallest p-value wanted.

    >>> finest_bin([12, 99, 990], 0.01), finest_bin([12, 99, 990], 0.0001)
    (1, None)
    """
    needed = calibration_needed(level)
    return next((place for place, count in enumerate(calibration) if count >= needed), None)


def calibration_needed(level: float, *, share: float = 1.0, confidence: float | None = None) -> int:
    """Calibration records for p-values as small as ``level``, known before anything is spent.

    Args:
        level: the smallest p-value wanted.
        share: the share of records that the screen selects: so many must be *held out* for enough selected ones (on
            average). 1: count the selected ones themselves.
        confidence: None for the average promise (1 / level - 1); else the number from which the realised rate is at
            most ``level`` with this confidence over calibration sets (``sure_calibration_rank`` is 1 or more).

    >>> calibration_needed(0.01), calibration_needed(0.001), calibration_needed(0.001, share=0.001)
    (99, 999, 999000)
    >>> calibration_needed(0.01, confidence=0.95), calibration_needed(0.001, confidence=0.95)
    (299, 2995)
    """
    if not 0.0 < share <= 1.0:
        raise SettingsError(f"share: a number above 0 and up to 1 is needed, found {share}.")
    if confidence is None:
        needed = math.ceil(1 / check_level("level", level) * (1 - 1e-12)) - 1
    else:
        failing = math.log(1 - check_level("confidence", confidence))
        needed = math.ceil(failing / math.log1p(-check_level("level", level)) * (1 - 1e-12))
    return math.ceil(needed / share * (1 - 1e-12))


def sure_calibration_rank(calibration: int, level: float, *, confidence: float = 0.95) -> int:
    """Claim where p_cal is at most k / (calibration + 1): the realised rate is below ``level`` with this confidence.

    The confidence is over calibration sets: this one is good, instead of good on average. 0: too few records.

    >>> [sure_calibration_rank(n, 0.01) for n in (298, 299, 1_000, 5_000, 10_000)]
    [0, 1, 5, 39, 84]
    >>> [sure_calibration_rank(n, 0.001) for n in (3_000, 5_000, 10_000)]
    [1, 2, 5]
    """
    return sure_rank(calibration, check_level("level", level), 1 - check_level("confidence", confidence))


def fpr_given_calibration(calibration: int, level: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Where the realised false-positive rate of "p_cal at most ``level``" lies, over calibration sets.

    It is Beta(k, n + 1 - k) with k = floor(level (n + 1)); smaller where scores tie. (0, 0) where k = 0: no claims.

    >>> low, high = fpr_given_calibration(1_000, 0.01)
    >>> round(low, 4), round(high, 4)
    (0.0048, 0.017)
    """
    k = conformal_rank(calibration, level)
    tail = (1 - check_level("confidence", confidence)) / 2
    if k == 0:
        return 0.0, 0.0
    ends: Float64[np.ndarray, "two"] = betaincinv(k, calibration + 1 - k, np.array([tail, 1 - tail]))
    return float(ends[0]), float(ends[1])


def guarantee(calibration: int, *, screened: bool) -> str:
    """What a calibrated p-value promises, in words for a report, with what it does not.

    >>> print(guarantee(999, screened=True))
    For a non-member like the 999 calibration records, which the same screen selected, p_cal is at most u in at most a \
share u of cases, on average over such records, calibration sets and targets; it is never below 1/1000. It is no \
promise about one given record, nor about records chosen in another way.
    """
    if calibration < 1:
        return "Not available: no calibration records, known to be outside the target, were given."
    alike = ", which the same screen selected," if screened else ","
    return (
        f"For a non-member like the {calibration} calibration record{'s' if calibration > 1 else ''}{alike} p_cal is "
        f"at most u in at most a share u of cases, on average over such records, calibration sets and targets; it is "
        f"never below 1/{calibration + 1}. It is no promise about one given record, nor about records chosen in "
        f"another way."
    )
