"""Lower bounds from one training run, at a number of guesses fixed before looking, and on a fixed grid of them.

``coins`` records (or units) were each put into the training set by an independent fair coin, and one model was trained.
Of the ``guesses`` that were made, ``right`` were right; the other records were left alone. ``epsilon`` has the bound
that looks at every number of guesses; it allows no delta. These do, or speak of a Gaussian mechanism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from jaxtyping import Int64
from scipy.special import expit, gammaln, log_ndtr

from locard.errors import SettingsError
from locard.stats.epsilon import LARGEST_EPSILON, order_of_scores
from locard.stats.inputs import check_level, checked
from locard.types import Estimate, Membership, Scores

FEWEST_GUESSES = 8  # on either side: the smallest of the grid
FIXED = "lower bound, Steinke, number of guesses fixed beforehand"
GRID = "lower bound, Steinke on a fixed grid, every grid point paid"
GDP_FIXED = "lower bound on mu, Gaussian mechanism, number of guesses fixed beforehand"
GDP_GRID = "lower bound on mu, Gaussian mechanism, on a fixed grid, every grid point paid"
STEP = 0.5  # of epsilon or mu, between looks for the first value that is not rejected
LARGEST_MU = 12.0
PRECISE = 1e-9
NORMAL = NormalDist()


def steinke_p(right: int, guesses: int, *, coins: int, epsilon: float, delta: float = 0.0) -> float:
    """P-value of "the mechanism is (epsilon, delta)-DP", for ``right`` among a fixed number of ``guesses``.

    min(1, P[Bin(r, q) >= v] + 2 m delta max over i of (P[v - i <= Bin(r, q) < v]) / i), q = e^eps / (1 + e^eps).

    - at most u with probability at most u, whatever the scores, if memberships are independent fair coins

    Source: Steinke, Nasr and Jagielski, NeurIPS 2023, arXiv:2305.08846, theorem 3.1.

    Raises:
        SettingsError: not 0 <= right <= guesses <= coins, epsilon below 0, or delta not in [0, 1).

    >>> round(steinke_p(100, 100, coins=1_000, epsilon=3.492965), 6)
    0.05
    """
    _check_counts(right, guesses, coins)
    if not epsilon >= 0:
        raise SettingsError(f"epsilon: a number from 0 is needed, found {epsilon}.")
    q = float(expit(epsilon))
    counts = np.arange(guesses + 1, dtype=np.float64)
    log_mass = gammaln(guesses + 1) - gammaln(counts + 1) - gammaln(guesses - counts + 1)
    log_mass += counts * math.log(q) + (guesses - counts) * -np.logaddexp(0.0, epsilon)
    mass = np.exp(log_mass)
    p = float(mass[right:].sum())
    if _check_delta(delta) and right:
        below = np.cumsum(mass[:right][::-1]) / np.arange(1, right + 1)
        p += 2 * coins * delta * float(below.max())
    return min(1.0, p)


def epsilon_from_guesses(
    right: int, guesses: int, *, coins: int, delta: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """A lower bound on epsilon (nats) at ``delta``, from a number of guesses that was fixed before looking.

    - exceeds the true epsilon with probability at most 1 - confidence, if every membership is an independent fair coin

    The bound is the first epsilon whose p-value is above 1 - confidence.

    Undefined without guesses. Source: Steinke, Nasr and Jagielski, NeurIPS 2023, arXiv:2305.08846.

    >>> epsilon_from_guesses(180, 200, coins=1_000), epsilon_from_guesses(180, 200, coins=1_000, delta=1e-5)
    (>= 1.799, >= 1.796)
    """
    level = 1 - check_level("confidence", confidence)
    _check_counts(right, guesses, coins)
    if not guesses:
        return Estimate.undefined("a lower bound on epsilon needs guesses, found none")
    bound = _steinke_bound(right, guesses, coins, _check_delta(delta), level)
    return Estimate(value=bound, low=bound, confidence=confidence, method=_at(FIXED, delta), n=coins)


def epsilon_on_grid(
    scores: Scores, member: Membership, *, rng: np.random.Generator, delta: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """The same, at the best of k = 8, 16, 32, ... guesses "member" for the highest scores and as many for the lowest.

    - exceeds the true epsilon with probability at most 1 - confidence: each of the grid's points is tested at
      (1 - confidence) / points
    - the order of the records leaves no trace: ties are broken by ``rng`` alone

    Undefined for fewer than 16 records.

    >>> scores = np.arange(1_000.0)
    >>> epsilon_on_grid(scores, scores >= 500, rng=np.random.default_rng(0), delta=1e-5)
    >= 4.597
    """
    values, inside = checked(scores, member)
    _check_delta(delta)

    def bound(right: int, guesses: int, level: float) -> float:
        return _steinke_bound(right, guesses, values.size, delta, level)

    return _best_on_grid(values, inside, rng, confidence, _at(GRID, delta), bound)


def gdp_from_guesses(right: int, guesses: int, *, coins: int, confidence: float = 0.95) -> Estimate:
    """A lower bound on mu from a fixed number of guesses, if a Gaussian mechanism (mu-GDP) is what is audited.

    - exceeds the true mu with probability at most 1 - confidence, for mechanisms that are mu-GDP
    - says nothing about the epsilon of any other mechanism

    Undefined without guesses.

    Source: Mahloujifar, Melis and Chaudhuri 2024, arXiv:2410.22235, for guesses between two answers.

    >>> gdp_from_guesses(180, 200, coins=1_000)
    >= 0.6982
    """
    level = 1 - check_level("confidence", confidence)
    _check_counts(right, guesses, coins)
    if not guesses:
        return Estimate.undefined("a lower bound on mu needs guesses, found none")
    bound = _gdp_bound(right, guesses, coins, level)
    return Estimate(value=bound, low=bound, confidence=confidence, method=GDP_FIXED, n=coins)


def gdp_on_grid(scores: Scores, member: Membership, *, rng: np.random.Generator, confidence: float = 0.95) -> Estimate:
    """The same at the best of a fixed grid of numbers of guesses, each paid for (see ``epsilon_on_grid``)."""
    values, inside = checked(scores, member)

    def bound(right: int, guesses: int, level: float) -> float:
        return _gdp_bound(right, guesses, values.size, level)

    return _best_on_grid(values, inside, rng, confidence, GDP_GRID, bound)


def epsilon_of_gdp(mu: Estimate | float, *, delta: float) -> Estimate:
    """The epsilon (nats) that a mu-GDP mechanism has at ``delta``; of a lower bound on mu, a lower bound.

    The root of delta = Phi(-eps / mu + mu / 2) - e^eps Phi(-eps / mu - mu / 2); 0 where delta is already as large at 0.

    Source: Dong, Roth and Su, JRSS B 2022, corollary 1.

    Raises:
        SettingsError: delta is not strictly between 0 and 1, or mu is below 0 or not finite.

    >>> epsilon_of_gdp(2.0, delta=1e-5)
    9.997 [9.997, 9.997]
    """
    check_level("delta", delta)
    if isinstance(mu, Estimate):
        if mu.value is None:
            return mu
        value = _epsilon_of(float(mu.value), delta)
        method = f"{mu.method or 'lower bound'}; epsilon of that Gaussian mechanism at delta {delta:g}"
        return replace(mu, value=value, low=value, high=None, method=method)
    value = _epsilon_of(mu, delta)
    return Estimate(value=value, low=value, high=value, confidence=1.0, method=f"of {mu:g}-GDP at delta {delta:g}")


def guess_grid(records: int) -> tuple[int, ...]:
    """Guesses on either side: 8, 16, 32, ... up to half of the records.

    >>> guess_grid(200), guess_grid(15)
    ((8, 16, 32, 64), ())
    """
    out = []
    k = FEWEST_GUESSES
    while 2 * k <= records:
        out.append(k)
        k *= 2
    return tuple(out)


def right_on_grid(scores: Scores, member: Membership, *, rng: np.random.Generator) -> dict[int, int]:
    """Right guesses for each number of guesses on the grid (2k: k highest "member", k lowest "not")."""
    values, inside = checked(scores, member)
    return _right_on_grid(values, inside, rng)


def _right_on_grid(values: Scores, inside: Membership, rng: np.random.Generator) -> dict[int, int]:
    ranked = inside[order_of_scores(values, inside, rng)]
    upto: Int64[np.ndarray, "more"] = np.concatenate([[0], np.cumsum(ranked)])
    size = len(ranked)
    return {2 * k: int(upto[size] - upto[size - k] + k - upto[k]) for k in guess_grid(size)}


def _best_on_grid(
    values: Scores,
    inside: Membership,
    rng: np.random.Generator,
    confidence: float,
    method: str,
    bound: Callable[[int, int, float], float],
) -> Estimate:
    level = 1 - check_level("confidence", confidence)
    right = _right_on_grid(values, inside, rng)
    if not right:
        return Estimate.undefined(
            f"a lower bound on the grid of guesses needs {2 * FEWEST_GUESSES} records, found {values.size}"
        )
    best = max(bound(v, r, level / len(right)) for r, v in right.items())
    return Estimate(value=best, low=best, confidence=confidence, method=method, n=values.size)


def _steinke_bound(right: int, guesses: int, coins: int, delta: float, level: float) -> float:
    def kept(epsilon: float) -> bool:
        return steinke_p(right, guesses, coins=coins, epsilon=epsilon, delta=delta) > level

    return _first(kept, LARGEST_EPSILON)


def _gdp_bound(right: int, guesses: int, coins: int, level: float) -> float:
    return _first(lambda mu: not gdp_rejected(right, guesses, coins=coins, mu=mu, level=level), LARGEST_MU)


def gdp_rejected(right: int, guesses: int, *, coins: int, mu: float, level: float) -> bool:
    """Whether ``right`` of ``guesses`` refute that the mechanism is mu-GDP, wrongly with probability at most ``level``.

    From the last right guess backwards, ``r`` bounds the share of right and ``h`` of wrong guesses that a mechanism
    within mu-GDP could have with so many right: h follows r through the trade-off function. What is larger than the
    guesses themselves cannot be.
    """
    share = guesses / coins
    r, h = level * right / coins, level * (guesses - right) / coins
    for i in range(right - 1, -1, -1):
        if r + h > share:  # both only grow
            return True
        wider = max(h, NORMAL.cdf(NORMAL.inv_cdf(r) - mu)) if 0 < r < 1 else max(h, float(r >= 1))
        r, h = min(1.0, r + i / (guesses - i) * (wider - h)), wider
    return r + h > share


def _first(kept: Callable[[float], bool], largest: float) -> float:
    """The first value that is kept: small ones are rejected, and what lies beyond it does not matter.

    Found from below, not by halving the whole range: whoever has the true value below it must have rejected the truth.
    """
    if kept(0.0):
        return 0.0
    low, high = 0.0, STEP
    while high < largest and not kept(high):
        low, high = high, high + STEP
    while high - low > PRECISE:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return low


def _epsilon_of(mu: float, delta: float) -> float:
    if not 0 <= mu < math.inf:
        raise SettingsError(f"mu: a finite number from 0 is needed, found {mu}.")
    if mu == 0 or _delta_of(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while _delta_of(high, mu) > delta:
        low, high = high, 2 * high
    while high - low > PRECISE * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta_of(middle, mu) > delta else (low, middle)
    return low


def _delta_of(epsilon: float, mu: float) -> float:
    above = float(log_ndtr(-epsilon / mu + mu / 2))
    below = float(log_ndtr(-epsilon / mu - mu / 2)) + epsilon
    return math.exp(above) * -math.expm1(min(0.0, below - above))


def _at(method: str, delta: float) -> str:
    return f"{method}, delta {delta:g}"


def _check_counts(right: int, guesses: int, coins: int) -> None:
    if not 0 <= right <= guesses <= coins:
        raise SettingsError(
            f"right, guesses, coins: 0 <= right <= guesses <= coins is needed, found {right}, {guesses} and {coins}."
        )


def _check_delta(delta: float) -> float:
    if not 0 <= delta < 1:
        raise SettingsError(f"delta: a number from 0 to below 1 is needed, found {delta}.")
    return float(delta)
