"""Where a loss stands among others, as log-odds: a cumulative share that never ties and never saturates."""

from __future__ import annotations

import numpy as np


def log_odds_above(
    loss: np.ndarray, *, under: np.ndarray, over: np.ndarray, below: np.ndarray, above: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """log((1 - F) / F), where F is the interpolated share of ``count`` losses that lie under a loss.

    The i-th smallest loss has F = i / (count + 1); between two of them F is linear in the loss; a loss that ties with
    some gets the middle of their places. Under the smallest, F falls in proportion to the loss (the line to F = 0 at
    loss 0); over the largest, 1 - F falls in proportion to 1 / loss.

    Args:
        loss: logarithms of losses.
        under, over: how many of the ``count`` lie strictly under and over each.
        below, above: the nearest of them on either side, as logarithms; anything where there is none.

    >>> loss, below, above = np.log([[2.0], [1.0], [4.0]])
    >>> one = np.array([1])
    >>> odds = log_odds_above(loss, under=one, over=one, below=below, above=above, count=one + 1)
    >>> (1 / (1 + np.exp(odds))).round(6).tolist()
    [0.444444]
    """
    ties = count - under - over
    first, last = (under == 0) & (ties == 0), (over == 0) & (ties == 0)
    between = ~(first | last) & (ties == 0)
    near, far, gap = (np.where(between, a - b, -1.0) for a, b in ((below, loss), (loss, above), (below, above)))
    step = np.exp(far) * np.expm1(near) / np.expm1(gap)  # (loss - below) / (above - below), exponents never positive
    place = np.where(ties > 0, under + 0.5 * (ties + 1), under + step)
    low, high = np.where(first, loss - above, 0.0), np.where(last, below - loss, 0.0)
    from_start = np.where(last, count + 1.0 - np.exp(high), np.where(first, 1.0, place))
    from_end = np.where(first, count + 1.0 - np.exp(low), np.where(last, 1.0, count + 1.0 - place))
    out: np.ndarray = np.log(from_end) + high - np.log(from_start) - low
    return out
