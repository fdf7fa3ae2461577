"""Per record: does training on it change what models say about it, and how often does the attack find it?

A *difference* is signal(model with the record) - signal(its twin without), one a pair. If training on the record
changes nothing, the differences' signs are fair coins whatever their sizes: that is all these tests use. Differences
must be raw signals; a score that reads the record's membership in other pairs breaks them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import bdtrc

from locard.errors import SettingsError
from locard.stats.inputs import Numbers, check_level


def signed_rank(differences: Float64[np.ndarray, "records pairs"]) -> Float64[np.ndarray, "records"]:
    """Exact one-sided Wilcoxon signed-rank p-value of every record; small = its twins with it score higher.

    - exact given the sizes of the differences: zeros are dropped, tied sizes share their mean rank, and the chance of
      W+ or more is counted over all 2^pairs sign patterns (relative error below 1e-12, up to 500 pairs)
    - 1 where every difference is zero

    Raises:
        SettingsError: a NaN or the wrong number of axes.

    Source: Wilcoxon, Biometrics Bulletin 1945.

    >>> signed_rank(np.array([[3, -1, 2, 5, 4, 6, -0.5, 7]])).tolist(), 5 / 256
    ([0.01953125], 0.01953125)
    """
    values = _checked(differences)
    records, pairs = values.shape
    out = np.ones(records)
    if not values.size:
        return out
    ranks, total = _doubled_ranks(values)
    # Records with the same tie pattern share one distribution. Rows sorted as bytes share long prefixes as well.
    rows = np.ascontiguousarray(ranks.astype(">u2")).view(np.dtype((np.void, 2 * pairs))).ravel()
    patterns, first, which = np.unique(rows, return_index=True, return_inverse=True)
    members = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    counts: list[Float64[np.ndarray, "sums"]] = [np.ones(1)]
    last = np.zeros(pairs, dtype=np.int64)
    for pattern in range(patterns.size):
        row = ranks[first[pattern]]
        changed = np.flatnonzero(row != last)
        del counts[1 + (changed[0] if changed.size else pairs) :]
        for rank in row[len(counts) - 1 :]:
            counts.append(_with_one_more(counts[-1], int(rank)))
        last = row
        above = np.cumsum(counts[-1][::-1])[::-1]
        chosen = members[pattern]
        out[chosen] = np.minimum(np.ldexp(above[total[chosen]], -int((row > 0).sum())), 1.0)
    return out


def _with_one_more(counts: Float64[np.ndarray, "sums"], rank: int) -> Float64[np.ndarray, "more_sums"]:
    """How many sign patterns reach each sum with one more doubled rank to add or not; rank 0 is a dropped zero."""
    if rank == 0:
        return counts
    out = np.zeros(counts.size + rank)
    out[: counts.size] = counts
    out[rank:] += counts
    return out


def _doubled_ranks(
    values: Float64[np.ndarray, "records pairs"],
) -> tuple[Int64[np.ndarray, "records pairs"], Int64[np.ndarray, "records"]]:
    """Twice the mid-ranks of the absolute differences, sorted upwards (0 for a zero), and twice W+."""
    sizes = np.abs(values)
    order = np.argsort(sizes, axis=1, kind="stable")
    sizes = np.take_along_axis(sizes, order, axis=1)
    positive = np.take_along_axis(values, order, axis=1) > 0
    places = np.arange(sizes.shape[1])
    new = np.ones(sizes.shape, dtype=np.bool_)
    new[:, 1:] = sizes[:, 1:] != sizes[:, :-1]
    start = np.maximum.accumulate(np.where(new, places, 0), axis=1)
    ends = np.ones(sizes.shape, dtype=np.bool_)
    ends[:, :-1] = new[:, 1:]
    end = np.minimum.accumulate(np.where(ends, places, sizes.shape[1])[:, ::-1], axis=1)[:, ::-1]
    zero = sizes == 0
    ranks = np.where(zero, 0, start + end + 2 - 2 * zero.sum(axis=1, keepdims=True))
    return ranks, (ranks * positive).sum(axis=1)


def p_hit(hits: Numbers, trials: Numbers, *, null: float = 0.1) -> Float64[np.ndarray, "records"]:
    """Chance of at least ``hits`` in ``trials`` retrainings if the attack found the record in a share ``null`` of them.

    - exact for a fixed attacker: references and threshold from pairs that are not counted here

    Raises:
        SettingsError: more hits than trials, or a negative count.

    >>> p_hit([6, 8], 16).round(7).tolist()
    [0.0032968, 6.13e-05]
    """
    h, t = np.broadcast_arrays(np.asarray(hits), np.asarray(trials))
    if not ((h >= 0) & (h <= t)).all():
        raise SettingsError("hits: counts from 0 to trials are needed, found others. Count each target pair once.")
    return np.asarray(bdtrc(h - 1, t, check_level("null", null)), dtype=np.float64)


def wins(
    differences: Float64[np.ndarray, "records pairs"],
) -> tuple[Int64[np.ndarray, "records"], Int64[np.ndarray, "records"]]:
    """(pairs whose model with the record has the larger signal, pairs that differ at all).

    A pair without any difference is in neither count, as in ``signed_rank``.

    >>> [x.tolist() for x in wins(np.array([[1.0, -2.0, 0.0, 3.0]]))]
    [[2], [3]]
    """
    values = _checked(differences)
    return (values > 0).sum(axis=1), (values != 0).sum(axis=1)


def twin_competition(
    differences: Float64[np.ndarray, "records pairs"], *, q: float = 0.05
) -> Bool[np.ndarray, "records"]:
    """Records named by sign competition: for few pairs, where no single p-value can be small enough.

    W = mean difference / sqrt((s^2 + s0^2) / 2) with s the record's standard deviation and s0 the median of all s. The
    scale ignores signs, so the W of a record that training does not move is as often negative as positive.

    - the false discovery rate is at most ``q`` where the unmoved records' signs are independent
    - names at least 1/q records, or none

    Source: Barber and Candès, Annals of Statistics 2015 (knockoff+).

    Raises:
        SettingsError: a NaN or infinite difference, or ``q`` outside (0, 1).

    >>> named = twin_competition(np.repeat(np.arange(1.0, 31.0)[:, None], 4, axis=1))
    >>> int(named.sum())
    30
    """
    values = _checked(differences)
    if not np.isfinite(values).all():
        raise SettingsError("differences: finite numbers are needed, found infinite ones. Use logits, not losses of 0.")
    if not values.size:
        return np.zeros(len(values), dtype=np.bool_)
    mean = values.mean(axis=1)
    variance = values.var(axis=1, ddof=1) if values.shape[1] > 1 else np.zeros(len(values))
    scale = np.sqrt((variance + np.median(np.sqrt(variance)) ** 2) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(mean == 0, 0.0, mean / scale)  # no spread at all: infinitely sure, and still a fair sign
    return np.asarray(w >= competition_threshold(w, q))


def competition_threshold(w: Float64[np.ndarray, "records"], q: float) -> float:
    """Smallest size t with (1 + #{w <= -t}) / #{w >= t} <= q; NaN (which names nobody) where there is none.

    >>> w = np.array([*range(11, 31), -10, 5], dtype=float)
    >>> competition_threshold(w, 0.05), competition_threshold(w[1:], 0.05)
    (11.0, nan)
    """
    check_level("q", q)
    sizes = np.unique(np.abs(w[w != 0]))
    up, down = np.sort(w[w > 0]), np.sort(-w[w < 0])
    right = up.size - np.searchsorted(up, sizes, "left")
    wrong = down.size - np.searchsorted(down, sizes, "left")
    good = np.flatnonzero(1 + wrong <= q * right * (1 + 1e-12))
    return float(sizes[good[0]]) if good.size else math.nan


def _checked(differences: Any) -> Float64[np.ndarray, "records pairs"]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2:
        raise SettingsError(
            f"differences: an array of records x pairs is needed, found {values.ndim} axes. Give one row a record."
        )
    missing = int(np.isnan(values).sum())
    if missing:
        raise SettingsError(f"differences: a number for every pair is needed, found {missing} NaN.")
    return values
