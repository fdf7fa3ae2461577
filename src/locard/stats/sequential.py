"""What may be said while pairs of models still arrive, and one looks after every one: confidence sequences, bets.

``values`` are one number a pair, in the order of the pairs, and must not change when later pairs come: references are
fixed beforehand (burn-in pairs), so that the values are independent draws of one law. Scores of a leave-one-pair-out
table change with every pair; a sequence over them is wrong several times as often as stated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.policy import Outcome, paid_confidence

SEQUENCE_METHOD = "normal-mixture t sequence"
MOST_BET = 0.75  # of the capital that the worst outcome may cost
LEAST_RATE_PAIRS = 8  # fewer pairs say too little of the spread of a small rate


@dataclass(frozen=True, eq=False)
class Sequence:
    """An interval after each pair: ``float64[pairs]`` each. All of them hold at once, at the stated confidence.

    ``-inf`` and ``inf`` where nothing can be said yet.
    """

    mean: Float64[np.ndarray, "pairs"]
    low: Float64[np.ndarray, "pairs"]
    high: Float64[np.ndarray, "pairs"]


@cache
def mixture_t_width(pairs: int, *, confidence: float = 0.95) -> float:
    """Half-width of the sequence after ``pairs`` pairs, in standard deviations of the pairs; inf while too few.

    sqrt(v/N (A - 1) / (1 - A/G)), v = N - 1, G = 1 + N, A = (sqrt(G) / a)^(2/N), where A < G.

    >>> [round(mixture_t_width(n), 6) for n in (4, 5, 8, 16, 32, 64)]
    [inf, 3.78038, 1.502918, 0.876582, 0.590393, 0.415421]
    """
    level = 1 - check_level("confidence", confidence)
    if pairs < 2:
        return math.inf
    wide = 1.0 + pairs
    log_a = (0.5 * math.log(wide) - math.log(level)) * 2 / pairs
    if log_a >= math.log(wide):
        return math.inf
    grown = math.exp(log_a)
    return math.sqrt((pairs - 1) / pairs * (grown - 1) / (1 - grown / wide))


def confidence_sequence(values: Float64[np.ndarray, "pairs"], *, confidence: float = 0.95) -> Sequence:
    """Intervals for the mean of the pairs' law, after every pair: wrong *ever* with probability at most 1 - confidence.

    Exact for normal values; approximate otherwise [A]: 128 looks at means of many records missed in 3 to 5 %, at skewed
    ones in 8 %, at values that are nearly always the same with rare spikes in 68 %. Look at the values.

    Nothing is said (an infinite interval) while all values are equal, and while they are too few.

    Source: Wang and Ramdas 2025 (arXiv:2310.03722), the t-statistic with a normal mixture over effect sizes.

    >>> x = np.array([0.012, 0.008, 0.011, 0.009, 0.013, 0.010, 0.007, 0.010])
    >>> sequence = confidence_sequence(x)
    >>> round(float(sequence.low[-1]), 7), round(float(sequence.high[-1]), 7)
    (0.0069942, 0.0130058)
    """
    numbers = _checked(values)
    counts = np.arange(1, numbers.size + 1)
    moved = numbers - numbers[:1]  # sums of squares around the first value lose no digits where all are alike
    mean = np.cumsum(moved) / counts
    squares = np.maximum(np.cumsum(moved**2) - counts * mean**2, 0.0)
    size = np.sqrt(squares / np.maximum(counts - 1, 1))
    alike = size <= 1e-12 * np.maximum(1.0, np.maximum.accumulate(np.abs(numbers)))
    width = np.array([mixture_t_width(int(n), confidence=confidence) for n in counts])
    half = np.where(alike, np.inf, width * np.where(alike, 1.0, size))
    mean = mean + numbers[:1]
    return Sequence(mean, mean - half, mean + half)


def log_bets(
    values: Float64[np.ndarray, "pairs"], limit: float
) -> tuple[Float64[np.ndarray, "pairs"], Float64[np.ndarray, "pairs"]]:
    """Log capital after each pair of two gamblers: one bets that the mean is above ``limit``, one that it is below.

    Capital multiplies by 1 + b (x - limit) and 1 - b (x - limit) with stakes b that look at earlier pairs only: the
    share that would have grown fastest if the rest were like them (mean and variance, one pair's worth of "the mean is
    the limit" put in), never more than .75 of what the worst outcome may cost.

    - nothing is assumed but values in [0, 1]: if the mean is at most ``limit``, the first ever reaches 1/u with
      probability at most u; if it is at least ``limit``, so does the second

    Source: Waudby-Smith and Ramdas 2024 (JRSS B, arXiv:2010.09686).

    >>> above, below = log_bets(np.full(50, 0.05), 0.01)
    >>> bool(above[-1] > np.log(40)), bool(below[-1] <= 0)
    (True, True)
    """
    numbers = _checked(values)
    check_level("limit", limit)
    if ((numbers < 0) | (numbers > 1)).any():
        raise SettingsError("values: numbers from 0 to 1 are needed, found others. Bets are limited by that range.")
    counts = np.arange(numbers.size)
    before = np.concatenate([[0.0], np.cumsum(numbers)[:-1]])
    mean = (limit + before) / (counts + 1)
    misses = np.concatenate([[0.0], np.cumsum((numbers - mean) ** 2)[:-1]])  # from the mean before: known by then
    variance = (limit * (1 - limit) / 4 + misses) / (counts + 1)
    edge = mean - limit
    stake = edge / (variance + edge**2)
    up = np.clip(stake, 0, MOST_BET / limit)
    down = np.clip(-stake, 0, MOST_BET / (1 - limit))
    gain = numbers - limit
    return np.cumsum(np.log1p(up * gain)), np.cumsum(np.log1p(-down * gain))


def fewest_pairs_to_pass(limit: float, *, confidence: float = 0.95) -> int:
    """Pairs below which no test that assumes nothing can pass this limit, all pairs being at 0.

    >>> [fewest_pairs_to_pass(limit) for limit in (0.01, 0.05, 0.10)]
    [368, 72, 36]
    """
    level = (1 - check_level("confidence", confidence)) / 2
    return math.ceil(math.log(level) / math.log1p(-check_level("limit", limit)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Track:
    """One statistic of one attack against one limit, pair by pair.

    ``ready``: ``bool[pairs]``, whether enough stands behind the first so many pairs to decide anything.
    """

    name: str
    attack: str
    limit: float
    values: Float64[np.ndarray, "pairs"]
    ready: Bool[np.ndarray, "pairs"]


def settled(tracks: Seq[Track], *, confidence: float = 0.95) -> tuple[int, Outcome]:
    """(pairs, outcome): the first pair after which the limits are settled, or all pairs and "inconclusive".

    - fail: some sequence lies above its limit, at the confidence that pays for all of them
    - pass: all lie below, each at ``confidence``

    >>> x = np.array([0.012, 0.008, 0.011, 0.009, 0.013, 0.010, 0.007, 0.010])
    >>> always = np.ones(8, dtype=bool)
    >>> [settled([Track(name="TPR", attack="loss", limit=c, values=x, ready=always)]) for c in (0.02, 0.011, 0.001)]
    [(5, 'pass'), (8, 'inconclusive'), (5, 'fail')]
    """
    if not tracks:
        raise SettingsError("policy: at least one limit and one attack are needed, found none. Set max_tpr or max_auc.")
    paid = paid_confidence(len(tracks), confidence=confidence)
    pairs = len(tracks[0].values)
    passed, failed = np.ones(pairs, dtype=bool), np.zeros(pairs, dtype=bool)
    for track in tracks:
        passed &= (confidence_sequence(track.values, confidence=confidence).high < track.limit) & track.ready
        failed |= (confidence_sequence(track.values, confidence=paid).low > track.limit) & track.ready
    decided = np.flatnonzero(passed | failed)
    if not decided.size:
        return pairs, "inconclusive"
    first = int(decided[0])
    return first + 1, "fail" if failed[first] else "pass"


def _checked(values: Float64[np.ndarray, "pairs"]) -> Float64[np.ndarray, "pairs"]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise SettingsError(
            f"values: one finite number a pair is needed, found shape {numbers.shape} with "
            f"{int((~np.isfinite(numbers)).sum())} others. Leave out what could not be measured."
        )
    return numbers
