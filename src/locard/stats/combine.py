"""One p-value from many dependent ones: an indirect attack asks several queries about the same record.

Axes: ``target: float64[queries]``, what the target says to each query; ``references: float64[references, queries]``,
what the test references say to the same queries. Higher = more likely a member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import gammaincc

from locard.errors import SettingsError
from locard.stats.pvalues import p_tail, with_tail_model
from locard.types import Scores

_ROUNDING = 1e-10  # sums of standardised signals that differ by less are equal
_KOST = (3.263, 0.710, 0.027)  # covariance of -2 log p of two normal tests, as a polynomial of their correlation


@dataclass(frozen=True, eq=False, kw_only=True)
class Combined:
    """The test of one record over all its queries.

    ``p``: by rank among the references, never below 1 / (references + 1). ``p_model``: Student's tail of the combined
    statistic where p stands at its floor, else p. ``target``, ``references``: the combined statistics themselves.
    """

    p: float
    p_model: float
    target: float
    references: Float64[np.ndarray, "references"]


def combined_by_permutation(target: Any, references: Any) -> Combined:
    """Sum of standardised signals, the target's ranked among the references' own sums.

    Each query is standardised over *all* models, target included, so that target and references are treated alike.

    - for this record and these queries, p is at most u with probability at most u, in any dependence between queries,
      if the target is exchangeable with these references and they had no part in choosing or shaping the queries.
      Choosing 20 of 5,000 queries by what the same references say gives .23 at a nominal .1
    - ``p_model`` below 1 / (references + 1) is a normal model's, not data's

    A query to which all models answer the same counts for nothing.

    Raises:
        SettingsError: shapes that differ, a number that is not finite, no references or no queries.

    >>> combined_by_permutation([2.0, 2.0], [[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]]).p
    0.25
    """
    own, others = _checked(target, references)
    everyone = np.concatenate([own[None], others])
    deviation = everyone - everyone.mean(axis=0)
    spread = np.sqrt((deviation**2).mean(axis=0))
    still = (everyone == everyone[0]).all(axis=0)
    z = np.where(still, 0.0, deviation / np.where(still, 1.0, spread))
    total = z.sum(axis=1)
    slack = _ROUNDING * max(1, own.size)
    p = (1 + int((total[1:] >= total[0] - slack).sum())) / len(total)
    floor = 1 / len(total)
    tail = p_tail(total[:1], total[1:, None])
    model = float(with_tail_model([0.0], tail, [len(others)])[0]) if p <= floor else p
    return Combined(p=p, p_model=model, target=float(total[0]), references=total[1:])


def half_swapped(p_first: Any, p_second: Any) -> Scores:
    """p_1 + p_2, at most 1: two halves of the references, each choosing the queries that the other half tests.

    - valid under any dependence: twice the mean of two valid p-values
    - never below 2 / (k / 2 + 1) with k references in all

    >>> half_swapped([0.02, 0.9], [0.03, 0.4]).tolist()
    [0.05, 1.0]
    """
    return twice_the_mean(np.stack([np.asarray(p_first, np.float64), np.asarray(p_second, np.float64)], axis=-1))


def twice_the_mean(p: Any) -> Scores:
    """2 x the mean of valid p-values (last axis), at most 1: valid under any dependence, and seldom powerful.

    Source: Vovk and Wang, Biometrika 2020.

    Raises:
        SettingsError: a value outside [0, 1], or none.

    >>> twice_the_mean([[0.01, 0.05, 0.03]]).round(12).tolist()
    [0.06]
    """
    out: Scores = np.minimum(2 * _p_values(p).mean(axis=-1), 1.0)
    return out


def kost(p: Any, correlation: Any, *, floor: float = 1e-6) -> float:
    """Kost and McDermott's combination of dependent p-values: -2 sum log p as a scaled chi-square.

    The paper's combination, kept to reproduce it. Independent p-values (correlation 0) give Fisher's method exactly.

    - **not** valid in general: the polynomial holds for normal statistics, and p-values that are models in their tails
      carry their errors along (right-skewed signals, 15 queries: .058 at a nominal .01)

    Args:
        p: float64[queries].
        correlation: float64[queries, queries] of the statistics behind the p-values (``query_correlation``).
        floor: smaller p-values count as this one; a single 0 would decide alone.

    Source: Kost and McDermott, Statistics and Probability Letters 2002; Long et al. 2018 (arXiv:1802.04889), 4.5.

    Departs: p-values are floored. Where negative correlations leave less variance than independence, Fisher's.

    Raises:
        SettingsError: a value outside [0, 1], or a correlation of another shape or outside [-1, 1].

    >>> round(kost([0.01, 0.05], np.eye(2)), 6), round(kost([0.01, 0.05], [[1.0, 0.5], [0.5, 1.0]]), 6)
    (0.0043, 0.01195)
    """
    values, rho = _p_values(p), np.asarray(correlation, dtype=np.float64)
    m = values.size
    if values.ndim != 1 or rho.shape != (m, m) or not (np.abs(rho) <= 1 + 1e-9).all():
        raise SettingsError(
            f"correlation: numbers from -1 to 1 for each two of {m} p-values are needed, found shape {rho.shape}."
        )
    pairs = rho[np.triu_indices(m, 1)]
    mean, variance = 2.0 * m, 4.0 * m + 2 * float(sum(c * (pairs**e).sum() for e, c in enumerate(_KOST, 1)))
    if not 0.0 < floor < 1.0:
        raise SettingsError(f"floor: a number between 0 and 1 is needed, found {floor}.")
    x = -2 * float(np.log(np.maximum(values, floor)).sum())
    scale, freedom = (variance / (2 * mean), 2 * mean**2 / variance) if variance > 4.0 * m else (1.0, 2.0 * m)
    return float(gammaincc(freedom / 2, x / scale / 2))


def query_correlation(references: Any) -> Float64[np.ndarray, "queries queries"]:
    """Pearson correlation of two queries' statistics over the references; 0 for a query that never moves.

    Args:
        references: float64[references, queries], one statistic a reference and query (the loss at the target's label).

    >>> query_correlation([[1.0, 2.0, 5.0], [2.0, 1.0, 5.0], [3.0, 0.0, 5.0]]).round(12).tolist()
    [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    _, values = _checked(np.zeros(np.shape(references)[-1:]), references)
    deviation = values - values.mean(axis=0)
    still = (values == values[0]).all(axis=0)
    unit = np.where(still, 0.0, deviation / np.where(still, 1.0, np.sqrt((deviation**2).sum(axis=0))))
    out: np.ndarray = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(out, 1.0)
    return out


def _checked(target: Any, references: Any) -> tuple[np.ndarray, np.ndarray]:
    own, others = np.asarray(target, dtype=np.float64), np.asarray(references, dtype=np.float64)
    fits = own.ndim == 1 and others.ndim == 2 and others.shape[1:] == own.shape and others.size > 0
    if not fits or not (np.isfinite(own).all() and np.isfinite(others).all()):
        raise SettingsError(
            "target, references: finite numbers [queries] and [references, queries] of the same queries are needed, "
            f"found shapes {own.shape} and {others.shape}{' with others among them' if fits else ''}."
        )
    return own, others


def _p_values(p: Any) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim == 0 or not values.shape[-1] or not ((values >= 0) & (values <= 1)).all():
        raise SettingsError("p: numbers from 0 to 1, at least one, are needed, found others (or NaN).")
    return values
