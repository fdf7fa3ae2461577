"""P-values of one record against references that did not see it: by rank, by a tail model, by a smoothed CDF.

Axes: ``target: float64[records]``, what the target says; ``references: float64[references, records]``, what each
reference says; ``usable: bool[references, records]`` leaves entries out (references that hold the record, say). The
number k of usable references may differ from record to record. Signals are higher for members; losses are lower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from locard.errors import SettingsError
from locard.stats.tails import log_predictive_tail
from locard.types import Scores

_BLOCK = 1 << 20  # losses that are sorted at a time
_FARTHEST = 1e100  # ratio of neighbouring steps: beyond it the slope is that of the limit


def p_rank(target: Any, references: Any, usable: Any = None) -> Scores:
    """(1 + references that say as much or more) / (k + 1), for every record.

    - for this very record, at most u with probability at most u, if the target is exchangeable with the references:
      same recipe, training size, sampling and pool, and the record was chosen without looking at these references
    - never below 1 / (k + 1): .0244 with 40 references, .0099 with 100. No valid p-value of one record can be

    Raises:
        SettingsError: shapes that differ, or a NaN.

    >>> p_rank([5.0, 2.0], [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]).tolist()
    [0.2, 0.6]
    """
    own, others, mask = _checked(target, references, usable)
    out: Scores = (1 + ((others >= own) & mask).sum(axis=0)) / (1 + mask.sum(axis=0))
    return out


def p_rank_randomised(target: Any, references: Any, usable: Any = None, *, rng: np.random.Generator) -> Scores:
    """(references that say more + U (1 + references that say the same)) / (k + 1): exactly uniform, for tests of it.

    Not for claims: two looks at the same record give two answers.

    Raises:
        SettingsError: shapes that differ, or a NaN.

    >>> p = p_rank_randomised([2.0], [[0.0], [1.0], [2.0], [3.0]], rng=np.random.default_rng(0))
    >>> bool(0.2 < p[0] < 0.6)
    True
    """
    own, others, mask = _checked(target, references, usable)
    more, same = ((others > own) & mask).sum(axis=0), ((others == own) & mask).sum(axis=0)
    out: Scores = (more + rng.random(own.shape) * (1 + same)) / (1 + mask.sum(axis=0))
    return out


def p_tail(target: Any, references: Any, usable: Any = None) -> Scores:
    """P(T > z), z = (target - mean) / (s sqrt(1 + 1/k)), T Student's t with k - 1 degrees of freedom.

    - at most u with probability u if the signals of models without the record are normal, and the target is
      exchangeable with the references
    - a *model* below 1 / (k + 1): with other signals its error grows outwards (realised rates at .01 / .001: t with 4
      degrees .017 / .006, exponential .039 / .019)
    - where all references say the same there is no scale to judge by: then it is ``p_rank``

    NaN where a record has fewer than two references.

    Raises:
        SettingsError: shapes that differ, a NaN, or an infinite reference.

    >>> p_tail([5.0], [[0.0], [1.0], [2.0], [3.0]]).round(7).tolist()
    [0.0468796]
    """
    own, others, mask = _checked(target, references, usable)
    if not np.isfinite(others).all():
        raise SettingsError("references: finite numbers are needed, found infinite ones. Use logits, not losses of 0.")
    k = mask.sum(axis=0)
    inside = np.where(mask, others, 0.0)
    mean = inside.sum(axis=0) / np.maximum(k, 1)
    deviation = np.where(mask, others - mean, 0.0)
    squares = (deviation**2).sum(axis=0)
    low, high = np.where(mask, others, np.inf).min(axis=0, initial=np.inf), np.where(mask, others, -np.inf)
    moving = high.max(axis=0, initial=-np.inf) > low  # where all are equal, squares hold rounding dust
    still = ~(moving & (squares > 0))
    spread = np.sqrt(np.where(still | (k < 2), 1.0, squares) / np.maximum(k - 1, 1))
    model = np.exp(log_predictive_tail(own, mean=mean, spread=spread, count=np.maximum(k, 2)))
    by_rank = (1 + ((others >= own) & mask).sum(axis=0)) / (1 + k)
    return np.where(k < 2, np.nan, np.where(still, by_rank, model))


def p_pchip(loss: Any, references: Any, usable: Any = None) -> Scores:
    """The smoothed CDF of the references' losses at the target's loss: GMIA's p-value, with tails that cannot run off.

    Knots are (0, 0) and, for the i-th smallest of k losses, (loss, i / k); tied losses keep the largest height. Between
    them the shape-preserving cubic of Fritsch and Carlson; a loss above the largest counts as the largest, so that p is
    1 there. A member's loss is *low*: this is the left tail.

    - P(p_pchip <= i / k) = i / (k + 1) for every i, whatever continuous distribution the losses have
    - below 1 / k it is the straight-ish line to (0, 0), which no data stand behind: realised rates at .001 with 100
      references go from 0 to .004 with the spread of the losses. ``with_tail_model`` replaces it there

    NaN where a record has no references.

    Args:
        loss: float64[records], at least 0 (nats).
        references: float64[references, records], losses of the references.
        usable: bool[references, records].

    Raises:
        SettingsError: shapes that differ, a NaN, a negative loss, or an infinite one among the references.

    Source: Long et al. 2018 (arXiv:1802.04889), 4.4; Fritsch and Butland, SIAM J. Sci. Stat. Comput. 1984, for the
    slopes.

    Departs: the paper names no knots and no tails; public code extrapolates the cubic, which gives p-values below 0 and
    above 1 exactly where the evidence is strongest.

    >>> p_pchip([0.5, 1.5, 9.0], np.array([[1.0], [2.0], [4.0]]) * np.ones(3)).round(6).tolist()
    [0.166667, 0.512821, 1.0]
    """
    own, others, mask = _checked(loss, references, usable)
    if (own < 0).any() or not ((others >= 0) & np.isfinite(others)).all():
        raise SettingsError(
            "loss: numbers of at least 0 (of references: finite) are needed, found others. Give losses, not scores."
        )
    k = mask.sum(axis=0)
    out = np.full(own.shape, np.nan)
    held = np.where(mask, others, np.inf)
    step = max(1, _BLOCK // (len(held) + 1))
    for start in range(0, own.size, step):
        part = slice(start, start + step)
        out[part] = _smoothed(own[part], np.sort(held[:, part], axis=0).T, k[part])
    return np.where(k > 0, out, np.nan)


def with_tail_model(p_smooth: Any, tail: Any, count: Any) -> Scores:
    """GMIA's reported p-value: ``p_pchip`` where data stand behind it, and below 1 / (k + 1) ``p_tail``.

    - never above 1 / (k + 1) where ``p_pchip`` is below: it still falls with the loss
    - not calibrated: what it promises is what ``p_pchip`` and ``p_tail`` promise

    Args:
        p_smooth: float64[records], from ``p_pchip``.
        tail: float64[records], from ``p_tail``.
        count: int64[records], references k of each record.

    >>> with_tail_model([0.3, 0.001, 0.001], [0.2, 0.0004, 0.2], [9, 9, 9]).tolist()
    [0.3, 0.0004, 0.1]
    """
    smooth, model = np.asarray(p_smooth, dtype=np.float64), np.asarray(tail, dtype=np.float64)
    floor = 1.0 / (1.0 + np.asarray(count))
    return np.where(smooth < floor, np.fmin(model, floor), smooth)


def _smoothed(
    loss: Float64[np.ndarray, "records"],
    ordered: Float64[np.ndarray, "records references"],
    k: Int64[np.ndarray, "records"],
) -> Float64[np.ndarray, "records"]:
    """The cubic at one loss a record; ``ordered`` losses rise, infinite beyond the k-th."""
    x, y, knots = _knots(ordered, k)
    rows = np.arange(len(x))
    last = knots - 1
    at = np.minimum(loss, x[rows, last])
    i = np.clip((np.where(np.isfinite(x), x, np.inf) <= at[:, None]).sum(axis=1) - 1, 0, np.maximum(last - 1, 0))
    one = last == 0  # all losses are 0: a step

    def step(j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Width and height of the j-th piece; 1 and 0 where there is none."""
        there = (j >= 0) & (j < last)
        left = np.where(there, j, 0)
        right = np.where(there, j + 1, 0)
        return np.where(there, x[rows, right] - x[rows, left], 1.0), np.where(
            there, y[rows, right] - y[rows, left], 0.0
        )

    (before, rise_before), (width, rise), (after, rise_after) = step(i - 1), step(i), step(i + 1)
    start = _slope(width, rise, before, rise_before, inner=i > 0, outer=after, rise_outer=rise_after)
    end = _slope(width, rise, after, rise_after, inner=i + 1 < last, outer=before, rise_outer=rise_before)
    single = last == 1
    start, end = np.where(single, rise, start), np.where(single, rise, end)
    s = (at - x[rows, i]) / width
    value = y[rows, i] + rise * s * s * (3 - 2 * s) + start * s * (1 - s) ** 2 - end * s * s * (1 - s)
    out: np.ndarray = np.where(one, y[rows, 0], np.clip(value, 0.0, 1.0))
    return out


def _knots(
    ordered: Float64[np.ndarray, "records references"], k: Int64[np.ndarray, "records"]
) -> tuple[Float64[np.ndarray, "records knots"], Float64[np.ndarray, "records knots"], Int64[np.ndarray, "records"]]:
    """Losses and heights without ties, (0, 0) first, packed to the left; and how many each record has."""
    records, references = ordered.shape
    x = np.concatenate([np.zeros((records, 1)), ordered], axis=1)
    places = np.arange(references + 1)
    kept = places <= k[:, None]
    kept[:, :-1] &= (x[:, :-1] != x[:, 1:]) | (places[:-1] == k[:, None])
    order = np.argsort(~kept, axis=1, kind="stable")
    knots = kept.sum(axis=1)
    height = places / np.maximum(k, 1)[:, None]
    packed = np.where(places < knots[:, None], np.take_along_axis(x, order, axis=1), np.inf)
    return packed, np.take_along_axis(height, order, axis=1), knots


def _slope(
    width: np.ndarray,
    rise: np.ndarray,
    beside: np.ndarray,
    rise_beside: np.ndarray,
    *,
    inner: Bool[np.ndarray, "records"],
    outer: np.ndarray,
    rise_outer: np.ndarray,
) -> np.ndarray:
    """Slope times ``width`` at one end of a piece: weighted harmonic mean with the piece beside it, or one-sided.

    In units of the piece's own width, so that losses of 1e-300 and 1e+300 side by side do not overflow. At an end of
    the data (not ``inner``) the three-point formula looks at the piece on the ``outer``, other side.
    """
    with np.errstate(over="ignore"):
        a, b = (np.clip(other / width, 1 / _FARTHEST, _FARTHEST) for other in (beside, outer))
    rise_next = np.where(inner, rise_beside, 1.0)
    harmonic = 3 * (1 + a) / ((2 + a) * a / rise_next + (1 + 2 * a) / np.where(rise > 0, rise, 1.0))
    one_sided = np.maximum(((2 + b) * rise - rise_outer / b) / (1 + b), 0.0)
    out: np.ndarray = np.where(inner, harmonic, one_sided)
    return out


def _checked(
    target: Any, references: Any, usable: Any
) -> tuple[Scores, Float64[np.ndarray, "references records"], Bool[np.ndarray, "references records"]]:
    own, others = np.asarray(target, dtype=np.float64), np.asarray(references, dtype=np.float64)
    mask = np.ones(others.shape, dtype=np.bool_) if usable is None else np.asarray(usable)
    problems = []
    if own.ndim != 1 or others.ndim != 2 or others.shape[1:] != own.shape or mask.shape != others.shape:
        problems.append(
            "target, references: one number a record, and one a reference and record, are needed, found shapes "
            f"{own.shape} and {others.shape}{'' if usable is None else f' (usable: {mask.shape})'}. Give both for the "
            "same records, references first."
        )
    elif mask.dtype != np.bool_:
        problems.append(f"usable: True or False for every entry is needed, found {mask.dtype}. Give a bool array.")
    elif missing := int(np.isnan(own).sum() + (np.isnan(others) & mask).sum()):
        problems.append(
            f"target, references: numbers are needed, found {missing} NaN. Leave such records out by their ids, or "
            f"mark such entries as not usable."
        )
    if problems:
        raise SettingsError(problems)
    return own, np.where(mask, others, 0.0), mask
