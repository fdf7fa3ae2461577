"""A low modified entropy suggests membership, beyond a threshold of the record's class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from locard.attacks.by_class import ByClass, by_class
from locard.attacks.fields import check_fields
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import ModifiedEntropy, Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Mentr:
    """Modified entropy: an answer that is sure *and* right suggests membership, judged by the classes' own thresholds.

    The score is how far the record's modified entropy (mean over queries, nats) lies below the threshold of its class.
    Each reference finds, for each class, the threshold with the best balanced accuracy between the records it was
    trained on and the others; the class's threshold is the median over references.

    Args:
        thresholds: ``"references"`` (learnt, as above) or ``"none"``: minus the modified entropy itself, which needs
            no references.

    The variance factor is 2.5 with learnt thresholds, which depend on the references' membership, else 1.

    Source: Song and Mittal 2021 (USENIX Security, arXiv:2003.10595), modified entropy with class-dependent thresholds.

    Departs: the paper decides by one reference's threshold; here the distance to the median threshold is the score. Of
    thresholds that do equally well a reference takes the strictest. A class of which a reference holds no member or no
    non-member takes no threshold from it, and one that has none at all takes the median of the other classes'.
    """

    thresholds: Literal["references", "none"] = "references"

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    reads: ClassVar[tuple[Signal, ...]] = (ModifiedEntropy(),)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def variance_factor(self) -> float:
        """2.5 where thresholds are learnt from membership, else 1."""
        return 2.5 if self.thresholds == "references" else 1.0

    @property
    def needs(self) -> Needs:
        """References of both kinds where thresholds are learnt."""
        return Needs(inside=1, outside=1) if self.thresholds == "references" else Needs()

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
        """``float64[records]``, nats below the threshold."""
        value = over_queries(target.observe(ModifiedEntropy()))
        if self.thresholds == "none":
            return -value
        classes = len(records.classes)
        each = np.stack([thresholds_of(references, k, classes) for k in references])
        learnt = _median(each)
        learnt[np.isnan(learnt)] = _median(learnt[:, None])[0]
        out: Scores = np.nan_to_num(learnt, nan=0.0)[records.y] - value
        return out


def thresholds_of(references: References, k: int, classes: int) -> np.ndarray:
    """``float64[classes]``: the largest modified entropy that reference ``k`` would call a member; NaN where it
    cannot tell.
    """

    def find() -> np.ndarray:
        table = by_class(references, k, ModifiedEntropy(), classes)
        return np.array([_best(table, a, b) for a, b in pairwise(table.start.tolist())])

    return references.memo(("mentr thresholds", classes), k, find, uses_membership=True)


def _best(table: ByClass, start: int, end: int) -> float:
    inside, outside = (
        (run[start + 1 : end + 1] - run[start]).astype(np.int64) for run in (table.inside, table.outside)
    )
    if not len(inside) or inside[-1] == 0 or outside[-1] == 0:
        return float("nan")
    values = table.values[start:end]
    gain = inside * int(outside[-1]) - outside * int(
        inside[-1]
    )  # of balanced accuracy, in whole numbers: ties are exact
    gain[:-1][values[1:] == values[:-1]] = np.iinfo(gain.dtype).min  # a threshold takes all records that tie with it
    return float(values[np.argmax(gain)])


def _median(values: np.ndarray) -> np.ndarray:
    """Median along the first axis of what is not NaN; NaN where nothing is."""
    known = (~np.isnan(values)).sum(axis=0)
    ranked = np.sort(values, axis=0)  # NaN last
    low, high = np.maximum((known - 1) // 2, 0), known // 2
    at = np.arange(values.shape[1])
    middle: np.ndarray = 0.5 * (ranked[low, at] + ranked[np.minimum(high, len(ranked) - 1), at])
    return np.where(known > 0, middle, np.nan)
