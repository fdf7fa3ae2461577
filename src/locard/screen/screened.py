"""``Screened``: which records were selected, in what order all of them stand, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import ArrayLike

from locard.screen.evidence import Evidence
from locard.screen.features import feature_vectors
from locard.screen.nearest import Nearest, find_nearest
from locard.screen.protocol import Above, Screen, Selection, Top, Valued
from locard.screen.ties import tie_breaks

if TYPE_CHECKING:
    import pandas as pd

USUAL = Top(20)  # where neither the caller nor the screen says which records are selected
SHOWN = 5  # nearest records that are given for each selected one


@dataclass(frozen=True, eq=False, kw_only=True)
class Screened:
    """What a screen found of each candidate. Records are named by their ids.

    - ``rank`` 1 is the most vulnerable; records of equal value share a rank
    - ``would_select`` applies the same rule to records that were not candidates: calibration records are then chosen
      like the attacked ones

    Attributes:
        screen: the screen, as the call that makes it.
        selection: how records were selected.
        ids: one a candidate.
        labels: one a candidate.
        value: higher = more vulnerable.
        rank: ``int64[candidates]``.
        selected: ``bool[candidates]``.
        columns: what stands behind the value, one number a candidate.
        settled: what was decided for all candidates (delta, beta, weights).
        reasons: a sentence for each selected record, in the order of the candidates.
        nearest: the nearest reference records of each selected one, as places in the reference pool.
        nearest_ids: their ids, by selected record.
        nearest_labels: their labels.
        bar: what a record must lie above to be selected: (value, tie); None where every candidate is.
    """

    screen: str
    selection: Selection
    ids: np.ndarray
    labels: np.ndarray
    value: Float64[np.ndarray, "records"]
    rank: Int64[np.ndarray, "records"]
    selected: Bool[np.ndarray, "records"]
    columns: Mapping[str, np.ndarray]
    settled: Mapping[str, Any]
    reasons: tuple[str, ...]
    nearest: Nearest
    nearest_ids: tuple[tuple[Any, ...], ...]
    nearest_labels: tuple[tuple[Any, ...], ...]
    bar: tuple[float, float] | None

    @property
    def selected_ids(self) -> np.ndarray:
        """Ids of the selected records, the most vulnerable first."""
        out: np.ndarray = self.ids[self.order[: int(self.selected.sum())]]
        return out

    @property
    def order(self) -> Int64[np.ndarray, "records"]:
        """Places of the candidates, the most vulnerable first; ties by id."""
        out: np.ndarray = np.lexsort((-tie_breaks(self.ids), -self.value))
        return out

    def would_select(self, value: ArrayLike, ids: ArrayLike) -> Bool[np.ndarray, "others"]:
        """Whether records with these values, by the same screen, lie strictly above every candidate not selected.

        For a bar that was fixed beforehand this is the rule itself; for the top of the candidates it is the rule that
        keeps calibration exact (swap rule, Jin and Ren 2024).

        Args:
            value: ``float[others]`` from the same screen, references and reference pool.
            ids: one a value; they order values that tie.
        """
        values, names = np.asarray(value, dtype=np.float64), np.asarray(ids)
        if self.bar is None:
            return np.ones(len(values), dtype=bool)
        level, tie = self.bar
        out: np.ndarray = (values > level) | ((values == level) & (tie_breaks(names) > tie))
        return out

    def to_frame(self) -> pd.DataFrame:
        """One row a candidate: id, label, value, rank, selected, neighbours, reasons, and the screen's own columns.

        ``neighbours`` is a list of ``{id, label, distance}`` for selected records, ``reasons`` a sentence; None for the
        others.
        """
        import pandas as pd

        near: list[Any] = [None] * len(self.ids)
        why: list[str | None] = [None] * len(self.ids)
        for row, place in enumerate(np.flatnonzero(self.selected)):
            near[place], why[place] = self.neighbours_of(row), self.reasons[row]
        first = {"id": self.ids, "label": self.labels, "value": self.value, "rank": self.rank}
        rest = {"selected": self.selected, "neighbours": near, "reasons": why}
        return pd.DataFrame({**first, **rest, **self.columns})

    def neighbours_of(self, row: int) -> list[dict[str, Any]]:
        """``{id, label, distance}`` of the nearest reference records of a selected record (its place among them)."""
        found = zip(self.nearest_ids[row], self.nearest_labels[row], self.nearest.distance[row], strict=False)
        return [{"id": _plain(i), "label": _plain(y), "distance": float(d)} for i, y, d in found]

    def __repr__(self) -> str:
        return f"Screened({self.screen}: {int(self.selected.sum())} of {len(self.ids)} selected)"


def run_screen(
    screen: Screen,
    evidence: Evidence,
    *,
    select: Selection | None = None,
    shown: int = SHOWN,
    rng: np.random.Generator | None = None,
) -> Screened:
    """Value, rank and select the candidates, and say why. No target is asked: the evidence has none.

    Args:
        screen: which screen.
        evidence: what the screening references said.
        select: which records to select. Default: by the screen's own rule, where it has one; else the top 20.
        shown: nearest reference records to give for each selected one.
        rng: for screens that draw.

    Raises:
        NotEnoughReferences: too few screening references for this screen.
        SettingsError: a screen that draws, without ``rng``.
    """
    evidence.candidates.need_outside(screen.references, type(screen).__name__)
    valued = screen.value(evidence, rng=rng)
    records = evidence.candidates.records
    _one_number_each(screen, valued, len(records))
    rule = select or valued.own or USUAL
    selected, bar = _chosen(valued.value, evidence.candidates.ties, rule)
    places = np.flatnonzero(selected)
    near = _nearest(valued, evidence, places, shown)
    pool = evidence.reference_records.records
    found = [row[row >= 0] for row in near.places]
    return Screened(
        screen=repr(screen),
        selection=rule,
        ids=records.ids,
        labels=records.labels,
        value=valued.value,
        rank=_ranks(valued.value),
        selected=selected,
        columns=valued.columns,
        settled=valued.settled,
        reasons=tuple(valued.why(int(p)) for p in places),
        nearest=near,
        nearest_ids=tuple(tuple(pool.ids[row].tolist()) for row in found),
        nearest_labels=tuple(tuple(pool.labels[row].tolist()) for row in found),
        bar=bar,
    )


def _one_number_each(screen: Screen, valued: Valued, records: int) -> None:
    if valued.value.shape != (records,) or np.isnan(valued.value).any():
        raise ArithmeticError(
            f"{type(screen).__name__} must give one number for each of {records} records, found shape "
            f"{valued.value.shape} with {int(np.isnan(valued.value).sum())} NaN. This is a fault of the screen: please "
            f"report it."
        )


def _chosen(value: np.ndarray, ties: np.ndarray, rule: Selection) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Which records are selected, and the bar that they lie above."""
    if isinstance(rule, Above):
        return value > rule.bar, (rule.bar, 1.0)
    count = rule.count if isinstance(rule, Top) else max(1, int(rule.share * len(value)))
    order = np.lexsort((-ties, -value))
    selected = np.zeros(len(value), dtype=bool)
    selected[order[:count]] = True
    if count >= len(value):
        return selected, None
    best = order[count]
    return selected, (float(value[best]), float(ties[best]))


def _ranks(value: np.ndarray) -> Int64[np.ndarray, "records"]:
    """1 for the largest; equal values share the smallest rank."""
    ordered = np.sort(-value)
    return np.searchsorted(ordered, -value, side="left").astype(np.int64) + 1


def _nearest(valued: Valued, evidence: Evidence, places: np.ndarray, shown: int) -> Nearest:
    """The nearest reference records of the selected ones, by what the screen compared, else by answers or features."""
    compared = valued.compared
    if compared is None:
        answers = len(evidence.candidates.references) > 0
        if not answers and evidence.candidates.raw is None:
            return Nearest(np.full((len(places), 0), -1, dtype=np.int64), np.full((len(places), 0), 2.0))
        candidates = feature_vectors(evidence.candidates, "logits" if answers else "raw")
        others = evidence.pool
        pool = candidates if others is None else feature_vectors(others, "logits" if answers else "raw")
        compared = candidates, pool
    apart = None if evidence.own is None else evidence.own.at(places)
    ties = evidence.reference_records.ties
    return find_nearest(compared[0].at(places), compared[1], shown, apart=apart, tie=ties, workers=evidence.workers)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
