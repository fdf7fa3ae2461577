"""The probability that a record with this modified entropy, in this class, was a member."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np

from locard.attacks.by_class import by_class
from locard.attacks.fields import Limits, check_fields
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import ModifiedEntropy, Signal
from locard.observe.target import Target
from locard.types import Access, Scores

FLOOR = 1e-10  # modified entropies below it count as this one


@dataclass(frozen=True, kw_only=True)
class RiskScore:
    """The privacy risk score: how often records of this class with such a modified entropy were members.

    The score is a probability: of a reference's members and non-members of the class, evenly weighted, the share of
    members in the record's bin. Bins are evenly spaced in the logarithm of the modified entropy, from the smallest to
    the largest value of the class over all references. A few values a class: no small false positive rate is resolved.

    Args:
        bins: bins a class.

    The variance factor is 2.5: the histograms are learnt from the references' membership.

    Source: Song and Mittal 2021 (USENIX Security, arXiv:2003.10595), privacy risk score; five bins as in their code.

    Departs: bins are filled by all references together, not by one. Queries are averaged first.
    """

    bins: Annotated[int, Limits(least=1.0)] = 5

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = True
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1)
    reads: ClassVar[tuple[Signal, ...]] = (ModifiedEntropy(),)

    def __post_init__(self) -> None:
        check_fields(self)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, the probability of membership under even odds, in [0, 1]."""
        value = np.maximum(over_queries(target.observe(ModifiedEntropy())), FLOOR)
        edges = self._edges(references, len(records.classes))
        risk = _risk(*_histograms(references, edges))
        place = (value[:, None] >= edges[records.y]).sum(axis=-1)
        out: np.ndarray = risk[records.y, place]
        return out

    def _edges(self, references: References, classes: int) -> np.ndarray:
        """``float64[classes, bins - 1]``: where one bin ends and the next begins."""
        low, high = np.full(classes, np.inf), np.full(classes, FLOOR)
        for k in references:
            table = by_class(references, k, ModifiedEntropy(), classes)
            held = np.flatnonzero(np.diff(table.start))
            low[held] = np.minimum(low[held], table.values[table.start[held]])
            high[held] = np.maximum(high[held], table.values[table.start[held + 1] - 1])
        low = np.log(np.clip(low, FLOOR, high))
        step = np.arange(1, self.bins) / self.bins
        edges: np.ndarray = np.exp(low[:, None] + (np.log(high) - low)[:, None] * step)
        return edges


def _histograms(references: References, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``float64[classes, bins]`` twice: how many IN and OUT values of all references fall in each bin of each class."""
    classes, bins = edges.shape[0], edges.shape[1] + 1
    counts = np.zeros((2, classes, bins))
    for k in references:
        table = by_class(references, k, ModifiedEntropy(), classes)
        for c, (a, b) in enumerate(pairwise(table.start.tolist())):
            cut = np.concatenate(([a], a + np.searchsorted(table.values[a:b], edges[c]), [b]))
            counts[0, c] += np.diff(table.inside[cut])
            counts[1, c] += np.diff(table.outside[cut])
    return counts[0], counts[1]


def _risk(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """``float64[classes, bins]``; an empty bin takes the nearest filled one's, the left one's of two."""
    share = [h / np.maximum(h.sum(axis=1, keepdims=True), 1.0) for h in (inside, outside)]
    filled = share[0] + share[1] > 0
    risk = np.where(filled, share[0] / np.where(filled, share[0] + share[1], 1.0), 0.5)
    places = np.arange(risk.shape[1])
    for c in range(len(risk)):
        known = np.flatnonzero(filled[c])
        if len(known):
            nearest = known[np.argmin(np.abs(places[:, None] - known), axis=1)]
            risk[c] = risk[c, nearest]
    return risk
