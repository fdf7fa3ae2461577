"""A lower bound on epsilon from coin-flip memberships that pays for every threshold it looks at.

Under (epsilon, 0) differential privacy each revealed coin is guessed right with chance at most
q = e^epsilon / (1 + e^epsilon), given all scores and whatever was revealed before. Guess "member" for the highest
score, "not" for the lowest, then for the second highest, and so on. With v right among the first r,
E_r = average over q' in (q, 1) of (q'/q)^v ((1-q')/(1-q))^(r-v) has mean at most 1 at every r, so by Ville's
inequality it ever reaches 1/a with probability at most a. The bound is the epsilon whose E_r just reaches 1/a at its
best r.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import betainc, betaln, expit

from locard.stats.inputs import Numbers, check_level, checked
from locard.types import Estimate, Membership, Scores

METHOD = "lower bound, rank e-process, all thresholds paid"
LARGEST_EPSILON = 30.0


def log_e_process(v: Numbers, r: Numbers, q: float) -> Float64[np.ndarray, "..."]:
    """log E_r(q) for ``v`` right guesses among ``r``: evidence that guesses are right more often than ``q``.

    log E = ln B(v+1, r-v+1) + ln(1 - I_q(v+1, r-v+1)) - ln(1-q) - v ln q - (r-v) ln(1-q); -inf where it underflows,
    which is far below any evidence.

    >>> log_e_process(10, 10, 0.5).round(6).item(), log_e_process(10, 10, 0.8).round(6).item()
    (5.226235, 1.353164)
    """
    check_level("q", q)
    right = np.asarray(v, dtype=np.float64)
    wrong = np.asarray(r, dtype=np.float64) - right
    with np.errstate(divide="ignore"):
        tail = np.log(betainc(wrong + 1, right + 1, 1 - q))
    log_wrong = math.log1p(-q)
    return np.asarray(betaln(right + 1, wrong + 1) + tail - log_wrong - right * math.log(q) - wrong * log_wrong)


def epsilon_lower_bound(
    scores: Scores, member: Membership, *, rng: np.random.Generator, confidence: float = 0.95
) -> Estimate:
    """A lower bound on epsilon (nats): ``value = low``, ``high = None``.

    - exceeds the true epsilon with probability at most 1 - confidence, for every number of records and with ties, if
      every membership is an independent fair coin (one run, or records of independent runs) and the mechanism is
      (epsilon, 0)-differentially private
    - the order of the records leaves no trace: ties are broken by ``rng`` alone

    Not for plans with exact halves, and not for scores pooled over a leave-one-out table.

    Undefined without records.

    Source: the guessing bound of Steinke, Nasr and Jagielski, NeurIPS 2023, arXiv:2305.08846; Ville 1939.
    Departs: their test fixes the number of guesses beforehand; here all numbers are looked at and paid for.

    >>> scores, member = np.arange(100.0), np.arange(100) >= 50
    >>> epsilon_lower_bound(scores, member, rng=np.random.default_rng(0))
    >= 3.079
    """
    values, inside = checked(scores, member)
    if not values.size:
        return Estimate.undefined("a lower bound on epsilon needs records, found none")
    bound = _bound(_right_guesses(values, inside, rng), math.log(1 / (1 - check_level("confidence", confidence))))
    return Estimate(value=bound, low=bound, high=None, confidence=confidence, method=METHOD, n=values.size)


def order_of_scores(values: Scores, inside: Membership, rng: np.random.Generator) -> Int64[np.ndarray, "records"]:
    """Places of the records by score, lowest first; ties in a random order, to which the rows' order is nothing."""
    canonical = np.lexsort((inside, values))  # the rows' order must not matter; the random key then breaks the ties
    out: Int64[np.ndarray, "records"] = canonical[np.lexsort((rng.random(values.size), values[canonical]))]
    return out


def _right_guesses(values: Scores, inside: Membership, rng: np.random.Generator) -> Int64[np.ndarray, "records"]:
    """Right guesses among the first r, r = 1..records: highest, lowest, second highest, second lowest, ..."""
    size = values.size
    ranked = inside[order_of_scores(values, inside, rng)]
    right: Bool[np.ndarray, "records"] = np.empty(size, dtype=np.bool_)
    right[0::2] = ranked[::-1][: (size + 1) // 2]
    right[1::2] = ~ranked[: size // 2]
    return np.cumsum(right)


def _bound(right: Int64[np.ndarray, "records"], needed: float) -> float:
    """The largest epsilon at which some E_r still reaches e^needed; 0 if none does at epsilon 0."""
    looks = np.arange(1, right.size + 1)
    low, high = 0.0, LARGEST_EPSILON
    alive = log_e_process(right, looks, 0.5) >= needed
    if not alive.any():
        return 0.0
    right, looks = right[alive], looks[alive]
    # E_r falls in q wherever it is at least 1, so halving is right, and an r that has fallen short stays short.
    while high - low > 1e-9:
        middle = (low + high) / 2
        alive = log_e_process(right, looks, float(expit(middle))) >= needed
        if alive.any():
            low, right, looks = middle, right[alive], looks[alive]
        else:
            high = middle
    return low
