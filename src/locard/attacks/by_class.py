"""One reference's values sorted within each class, with running counts of the records it was trained on.

Class-wise thresholds and histograms are read off it without sorting again for every target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from locard.observe.references import References
from locard.observe.signals import Signal


@dataclass(frozen=True)
class ByClass:
    """``values`` of the usable records: sorted by class, then by value. Class c stands at ``start[c]:start[c + 1]``.

    ``inside`` / ``outside``: ``int[usable + 1]``, how many of the values before a place belong to records that the
    reference was (not) trained on.
    """

    values: np.ndarray
    start: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


def by_class(references: References, k: int, signal: Signal, classes: int) -> ByClass:
    """Reference ``k`` sorted by class; queries are averaged. Sorted once for all targets."""

    def sort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = references.signal_of(signal, k).mean(axis=-1)
        order = np.lexsort((values, references.y))
        start = np.searchsorted(references.y[order], np.arange(classes + 1))
        return order, values[order], start

    def count() -> ByClass:
        order, values, start = references.memo(("sorted", signal, classes), k, sort, uses_membership=False)
        inside, outside = references.inside_of(k)[order], references.outside_of(k)[order]
        usable = inside | outside
        if not usable.all():  # what a thinned view leaves out must not show, not even by its value
            start = _running(usable)[start]
            values, inside, outside = values[usable], inside[usable], outside[usable]
        return ByClass(values, start, _running(inside), _running(outside))

    return references.memo(("by class", signal, classes), k, count, uses_membership=True)


def _running(mask: np.ndarray) -> np.ndarray:
    out = np.zeros(len(mask) + 1, dtype=np.int32)
    np.cumsum(mask, out=out[1:])
    return out
