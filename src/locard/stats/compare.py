"""Two attacks on the same targets: paired differences, and the declared headline against all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import stdtr

from locard.errors import SettingsError
from locard.stats.intervals import LEAST_PAIRS, pair_means, spread, t_over_pairs
from locard.stats.multiplicity import holm
from locard.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``first`` minus ``second`` on the same targets; ``p`` two-sided, ``p_adjusted`` by Holm over all made together.

    Both p are None where the difference is undefined (and such a comparison is still counted).
    """

    first: str
    second: str
    difference: Estimate
    p: float | None
    p_adjusted: float | None


def paired_difference(
    values_a: Float64[np.ndarray, "targets"],
    values_b: Float64[np.ndarray, "targets"],
    pair: Int64[np.ndarray, "targets"],
    *,
    factor: float,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over pairs of a - b, by t over pairs. ``factor`` is the larger of the two attacks' factors.

    >>> a, b = np.array([0.6, 0.7, 0.6, 0.65, 0.7, 0.7, 0.6, 0.6]), np.full(8, 0.5)
    >>> paired_difference(a, b, np.arange(8) // 2, factor=1.0)
    0.1437 [0.07581, 0.2117]
    """
    differences = _differences(values_a, values_b, pair)
    return t_over_pairs(differences, factor=factor, confidence=confidence, bounds=(-1.0, 1.0))


def compare_all(
    values: Mapping[str, Float64[np.ndarray, "targets"]],
    pair: Int64[np.ndarray, "targets"],
    factors: Mapping[str, float],
    *,
    headline: str,
    confidence: float = 0.95,
) -> list[Comparison]:
    """The declared headline attack against every other, in the order of ``values``.

    The p-values pay for these comparisons; where several statistics are compared, see ``adjusted_together``.

    Args:
        values: attack -> its statistic (a rate or AUC) on every target.
        pair: each target's pair.
        factors: attack -> variance factor.
        headline: the attack named before any score was seen.
        confidence: of each interval by itself; the p-values are adjusted.

    Raises:
        SettingsError: ``headline`` is not among the values, or an attack has no factor.

    >>> rng = np.random.default_rng(0)
    >>> values = {name: 0.6 + 0.01 * rng.normal(size=16) for name in ("lira", "loss")}
    >>> found = compare_all(values, np.arange(16) // 2, {"lira": 2.5, "loss": 1.0}, headline="lira")
    >>> [(c.first, c.second) for c in found]
    [('lira', 'loss')]
    """
    missing = sorted({headline, *values} - set(factors)) or ([headline] if headline not in values else [])
    if missing:
        raise SettingsError(
            f"values, factors: an entry for each attack is needed, found none for {', '.join(missing)}."
        )
    others = [name for name in values if name != headline]
    estimates, ps = [], []
    for name in others:
        factor = max(factors[headline], factors[name])
        differences = _differences(values[headline], values[name], pair)
        estimates.append(t_over_pairs(differences, factor=factor, confidence=confidence, bounds=(-1.0, 1.0)))
        ps.append(_two_sided_p(differences, factor))
    return adjusted_together(
        [
            Comparison(first=headline, second=name, difference=e, p=p, p_adjusted=None)
            for name, e, p in zip(others, estimates, ps, strict=True)
        ]
    )


def adjusted_together(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons, each ``p_adjusted`` paying by Holm for all that are given, of whatever statistic.

    - the chance that *any* difference is told where there is none is at most a, for all adjusted p at most a

    >>> from locard.types import Estimate
    >>> nothing = Estimate.undefined("left out here")
    >>> made = [Comparison(first="lira", second="loss", difference=nothing, p=p, p_adjusted=p) for p in (0.01, 0.03)]
    >>> [c.p_adjusted for c in adjusted_together(made)]
    [0.02, 0.03]
    """
    adjusted = holm(np.array([1.0 if c.p is None else c.p for c in comparisons]))
    return [
        replace(c, p_adjusted=None if c.p is None else float(a)) for c, a in zip(comparisons, adjusted, strict=True)
    ]


def _differences(
    a: Float64[np.ndarray, "targets"], b: Float64[np.ndarray, "targets"], pair: Int64[np.ndarray, "targets"]
) -> Float64[np.ndarray, "pairs"]:
    return pair_means(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), pair)


def _two_sided_p(differences: Float64[np.ndarray, "pairs"], factor: float) -> float | None:
    if differences.size < LEAST_PAIRS or not np.isfinite(differences).all():
        return None
    size = spread(differences)
    if size == 0.0:
        return None
    t = abs(float(differences.mean())) / (size * math.sqrt(factor / differences.size))
    return 2 * float(stdtr(differences.size - 1, -t))
