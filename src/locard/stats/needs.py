"""How many pairs a wanted width or a limit needs, simulated from the few pairs of a pilot.

A pilot's mean and spread are themselves uncertain: every draw takes a spread and a mean that the pilot's pairs could
have come from (normal pairs, no prior knowledge), and asks what more pairs would show if they were the true ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.intervals import LEAST_PAIRS, spread
from locard.stats.sequential import confidence_sequence

DRAWS = 4_000
LOOK_DRAWS = 400
MOST_PAIRS = 100_000  # beyond, a need is as good as none
FEWEST = 3  # pairs of a pilot


@dataclass(frozen=True, kw_only=True)
class Need:
    """Pairs: as many are enough in half of the draws, and in nine of ten; None where not even 100,000 are."""

    median: int | None
    sure: int | None


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What ``pairs`` pairs are likely to show of one statistic of one attack.

    ``half_width``: of its interval, median over draws. ``settled``: the chance that the limit lies outside the
    interval; None without a limit. ``to_settle``: pairs after which it would, the mean staying where each draw has it.
    """

    pairs: int
    mean: float
    spread: float
    half_width: float
    to_settle: Need | None
    settled: float | None


def prospect(
    values: Float64[np.ndarray, "pairs"],
    *,
    factor: float,
    pairs: int,
    limit: float | None = None,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> Prospect:
    """What an audit of ``pairs`` pairs will show, from a pilot.

    Args:
        values: one number a pair of the pilot.
        factor: the attack's variance factor.
        pairs: of the audit that is planned, at least 4.
        limit: of the policy, on this statistic.
        confidence: of the intervals.
        rng: of the draws.

    Raises:
        SettingsError: fewer than 3 pairs in the pilot, or 4 in the plan.

    >>> pilot = np.random.default_rng(0).normal(0.6, 0.02, size=40)
    >>> found = prospect(pilot, factor=1.0, pairs=32, limit=0.62, rng=np.random.default_rng(1))
    >>> round(found.half_width, 3), found.settled > 0.9
    (0.006, True)
    """
    if pairs < LEAST_PAIRS:
        raise SettingsError(f"pairs: at least {LEAST_PAIRS} are needed for an interval, found {pairs}.")
    means, spreads = _drawn(values, factor, rng)
    step = float(stdtrit(pairs - 1, (1 + check_level("confidence", confidence)) / 2)) * math.sqrt(factor / pairs)
    to_settle = settled = None
    if limit is not None:
        to_settle = _need(np.abs(means - limit), spreads, factor, confidence)
        seen = means + spreads * math.sqrt(factor / pairs) * rng.standard_normal(DRAWS)
        sizes = spreads * np.sqrt(rng.chisquare(pairs - 1, DRAWS) / (pairs - 1))
        settled = float((np.abs(seen - limit) > step * sizes).mean())
    numbers = np.asarray(values, dtype=np.float64)
    return Prospect(
        pairs=pairs,
        mean=float(numbers.mean()),
        spread=spread(numbers),
        half_width=step * float(np.median(spreads)),
        to_settle=to_settle,
        settled=settled,
    )


def looks_to_settle(
    values: Float64[np.ndarray, "pairs"],
    limit: float,
    *,
    factor: float,
    cap: int,
    confidence: float = 0.95,
    least: int = 1,
    rng: np.random.Generator,
) -> tuple[Need, float]:
    """(pairs of targets, chance that ``cap`` of them are enough) of a sequential audit that looks after each.

    Normal pairs are drawn around each mean and with each spread that the pilot's could have come from, until the
    confidence sequence leaves the limit behind.

    >>> pilot = np.random.default_rng(0).normal(0.6, 0.02, size=400)
    >>> looks_to_settle(pilot, 0.62, factor=1.0, cap=60, rng=np.random.default_rng(1))
    (Need(median=11, sure=20), 1.0)
    """
    means, spreads = _drawn(values, factor, rng)
    taken = np.full(LOOK_DRAWS, cap + 1)
    for draw in range(LOOK_DRAWS):
        drawn = means[draw] + spreads[draw] * rng.standard_normal(cap)
        found = confidence_sequence(drawn, confidence=confidence)
        out = np.flatnonzero((found.low > limit) | (found.high < limit))
        out = out[out + 1 >= least]
        if out.size:
            taken[draw] = out[0] + 1
    taken.sort()
    half, most = int(taken[LOOK_DRAWS // 2]), int(taken[9 * LOOK_DRAWS // 10])
    need = Need(median=half if half <= cap else None, sure=most if most <= cap else None)
    return need, float((taken <= cap).mean())


def pairs_for_width(
    values: Float64[np.ndarray, "pairs"],
    half_width: float,
    *,
    factor: float,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> Need:
    """Pairs after which the interval reaches no farther than ``half_width`` to either side.

    About (t S sqrt(c) / half_width)^2; at least 4.

    >>> pilot = np.random.default_rng(0).normal(0.6, 0.02, size=400)
    >>> pairs_for_width(pilot, 0.01, factor=1.0, rng=np.random.default_rng(1))
    Need(median=18, sure=20)
    """
    if not half_width > 0:
        raise SettingsError(f"half_width: a number above 0 is needed, found {half_width}.")
    _, spreads = _drawn(values, factor, rng)
    return _need(np.full(DRAWS, half_width), spreads, factor, confidence)


def _drawn(
    values: Float64[np.ndarray, "pairs"], factor: float, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "draws"], Float64[np.ndarray, "draws"]]:
    """Means and spreads that the pilot's pairs could have come from."""
    numbers = np.asarray(values, dtype=np.float64)
    size = numbers.size
    if numbers.ndim != 1 or size < FEWEST or not np.isfinite(numbers).all():
        raise SettingsError(f"pilot: at least {FEWEST} pairs with a finite value each are needed, found {size}.")
    spreads = spread(numbers) * np.sqrt((size - 1) / rng.chisquare(size - 1, DRAWS))
    return numbers.mean() + spreads * math.sqrt(factor / size) * rng.standard_normal(DRAWS), spreads


def _need(
    gaps: Float64[np.ndarray, "draws"], spreads: Float64[np.ndarray, "draws"], factor: float, confidence: float
) -> Need:
    """The fewest pairs whose half-width is below the gap, by draw: its median, and its 90 % quantile."""
    grid = np.unique(np.geomspace(LEAST_PAIRS, MOST_PAIRS, 4_000).astype(np.int64))
    widths = stdtrit(grid - 1.0, (1 + confidence) / 2) * np.sqrt(factor / grid)  # falls with the pairs
    with np.errstate(divide="ignore"):
        allowed = np.where(spreads > 0, gaps / np.maximum(spreads, 1e-300), np.inf)
    place = np.searchsorted(-widths, -allowed, side="left")
    needed = np.sort(np.where(place < len(grid), np.append(grid, 0)[place], MOST_PAIRS + 1))
    half, most = int(needed[len(needed) // 2]), int(needed[9 * len(needed) // 10])
    return Need(median=half if half <= MOST_PAIRS else None, sure=most if most <= MOST_PAIRS else None)
