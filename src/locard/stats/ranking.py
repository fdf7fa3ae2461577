"""Several attacks on the same targets: which can be told apart, which may be the best, and letters that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import rankdata

from locard.stats.compare import Comparison, adjusted_together, compare_all


def compare_pairs(
    values: Mapping[str, Float64[np.ndarray, "targets"]],
    pair: Int64[np.ndarray, "targets"],
    factors: Mapping[str, float],
    *,
    confidence: float = 0.95,
) -> list[Comparison]:
    """Every attack against every other, in the order of ``values``; the p-values pay (Holm) for all pairs.

    Args:
        values: attack -> its statistic (a rate or AUC) on every target.
        pair: each target's pair.
        factors: attack -> variance factor.
        confidence: of each interval by itself.

    >>> rng = np.random.default_rng(0)
    >>> values = {name: 0.6 + 0.01 * rng.normal(size=16) for name in ("lira", "loss", "gap")}
    >>> found = compare_pairs(values, np.arange(16) // 2, {"lira": 2.5, "loss": 1.0, "gap": 1.0})
    >>> [(c.first, c.second) for c in found]
    [('lira', 'loss'), ('lira', 'gap'), ('loss', 'gap')]
    """
    names, made = list(values), list[Comparison]()
    for place, first in enumerate(names):
        rest = {name: values[name] for name in names[place:]}
        made += compare_all(rest, pair, factors, headline=first, confidence=confidence)
    return adjusted_together(made)


def told_apart(comparisons: Sequence[Comparison], level: float) -> set[tuple[str, str]]:
    """(better, worse) for every comparison whose adjusted p is at most ``level``."""
    found = set()
    for c in comparisons:
        if c.p_adjusted is not None and c.p_adjusted <= level:
            assert c.difference.value is not None  # a p-value stands on a difference
            found.add((c.first, c.second) if c.difference.value > 0 else (c.second, c.first))
    return found


def unbeaten(names: Sequence[str], beats: set[tuple[str, str]]) -> list[str]:
    """Those that no other beats, in order.

    - where ``beats`` comes of all pairs adjusted together at level a, the truly best one is among them with probability
      at least 1 - a: it is left out only by a wrong rejection
    - a single one is therefore the best, at that level

    >>> unbeaten(["a", "b", "c"], {("a", "c")})
    ['a', 'b']
    """
    beaten = {worse for _, worse in beats}
    return [name for name in names if name not in beaten]


def letters(names: Sequence[str], beats: set[tuple[str, str]]) -> dict[str, str]:
    """A compact letter display: two attacks share a letter exactly if neither is shown to beat the other.

    One letter a largest set of attacks none of which beats another, in the order of ``names``.

    Source: Piepho, Journal of Computational and Graphical Statistics 2004.

    >>> letters(["a", "b", "c"], {("a", "c")})
    {'a': 'a', 'b': 'ab', 'c': 'b'}
    """
    alike = {a: {b for b in names if b != a and not {(a, b), (b, a)} & beats} for a in names}
    cliques: list[set[str]] = []

    def grow(clique: set[str], candidates: set[str], done: set[str]) -> None:
        """Bron and Kerbosch's search for maximal cliques, with a pivot."""
        if not candidates and not done:
            cliques.append(clique)
            return
        pivot = max(sorted(candidates | done), key=lambda name: len(alike[name] & candidates))
        for name in sorted(candidates - alike[pivot]):
            grow(clique | {name}, candidates & alike[name], done & alike[name])
            candidates = candidates - {name}
            done = done | {name}

    grow(set(), set(names), set())
    place = {name: i for i, name in enumerate(names)}
    cliques.sort(key=lambda clique: sorted(place[name] for name in clique))
    return {name: "".join(_letter(i) for i, clique in enumerate(cliques) if name in clique) for name in names}


def mean_ranks(values: Sequence[Mapping[str, float | None]]) -> dict[str, Float64[np.ndarray, "studies"]]:
    """Each attack's rank (1 is the highest value) in each study, among the attacks that all studies have.

    Equal values share their mean rank; one that is missing comes last.

    >>> {k: v.tolist() for k, v in mean_ranks([{"a": 0.9, "b": 0.5, "x": 1.0}, {"a": 0.7, "b": 0.7}]).items()}
    {'a': [1.0, 1.5], 'b': [2.0, 1.5]}
    """
    common = [name for name in (values[0] if values else ()) if all(name in study for study in values)]
    if not common:
        return {}
    table = [rankdata([-np.inf if (v := study[name]) is None else v for name in common]) for study in values]
    ranks = len(common) + 1 - np.array(table)
    return {name: ranks[:, i] for i, name in enumerate(common)}


def _letter(index: int) -> str:
    """a to z; further ones with a number."""
    return chr(97 + index % 26) + (str(index // 26 + 1) if index >= 26 else "")
