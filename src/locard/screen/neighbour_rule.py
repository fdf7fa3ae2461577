"""What makes a record a neighbour, and how many are few: delta and beta, by rule or by hand.

The rules look at the reference pool alone, each of its records against the others (leave-one-out).
"""

from __future__ import annotations

import math

import numpy as np

from locard.errors import DataError
from locard.screen.cosine import TIE, Apart, Vectors, count_within
from locard.screen.nearest import kth_largest_isolation

BETA = 0.1  # of all headline rows of the paper


def allowed(beta: float, ratio: float) -> int:
    """The most neighbours c in the reference pool with c x ratio < beta, where ratio = N / N'.

    >>> [allowed(beta, 10_000 / 40_000) for beta in (0.1, 1, 2)]
    [0, 3, 7]
    """
    c = math.floor(beta / ratio)
    while c * ratio >= beta:
        c -= 1
    while (c + 1) * ratio < beta:
        c += 1
    return c


def rarest(share: float, pool: int) -> int:
    """How many records of the pool the rule is to leave with few neighbours: the share, rounded, and at least one."""
    return max(1, round(share * pool))


def delta_by_rule(
    pool: Vectors, most: int, share: float, *, apart: Apart, upper: np.ndarray | None = None, workers: int = 1
) -> float:
    """The largest delta at which at least this share of the pool has at most ``most`` neighbours, leave-one-out.

    A record of the pool has at most c neighbours nearer than delta if its (c + 1)-th nearest other record is no nearer
    than delta. So delta is the m-th largest of these distances, m the share of the pool in records.

    Args:
        pool: features of the reference pool.
        most: neighbours that are still few, c.
        share: of the pool.
        apart: records of the pool that are one unit.
        upper: bounds from above on the distances, where they are known.
        workers: threads.

    Raises:
        DataError: all but fewer than m records have copies, so that no distance tells records apart.
    """
    m = rarest(share, len(pool))
    delta = kth_largest_isolation(pool, most + 1, m, apart=apart, upper=upper, workers=workers)
    if delta <= TIE:
        raise DataError(
            f"screen neighbours: records that differ are needed to choose delta, but fewer than {m} of {len(pool)} "
            f"records of the reference pool have no copy in it. Set screen.delta, or choose another screen."
        )
    return delta


def beta_by_rule(pool: Vectors, delta: float, share: float, ratio: float, *, apart: Apart, workers: int = 1) -> float:
    """(c + 1/2) x ratio, where c is the least number of neighbours that this share of the pool does not exceed.

    Neighbours are counted leave-one-out. Any number between c x ratio and (c + 1) x ratio would select the same.
    """
    m = rarest(share, len(pool))
    counts = count_within(pool, pool, delta, apart=apart, workers=workers).count
    return float((np.partition(counts, m - 1)[m - 1] + 0.5) * ratio)
