"""How a record looks in a report: a picture, or the columns in which it and a neighbour differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from locard.data.differing import column_spread, differing_columns
from locard.data.records import Records
from locard.data.thumbnail import is_picture, thumbnail
from locard.screen.screened import Screened


class Looks:
    """Of records by their places."""

    def __init__(self, records: Records) -> None:
        self.records, self.pictures = records, is_picture(records.features.shape[1:])
        self.ends: dict[str, float] = {}
        if self.pictures and records.features.dtype != np.uint8:
            self.ends = {"low": float(records.features.min()), "high": float(records.features.max())}
        self.spread = np.zeros(0) if self.pictures else column_spread(records)

    def of(self, place: int) -> dict[str, Any]:
        """``{picture}``, or nothing."""
        return {"picture": thumbnail(self.records.features[place], **self.ends)} if self.pictures else {}

    def of_neighbour(self, place: int, other: int) -> dict[str, Any]:
        """``{picture}`` of the other, or ``{differs}``."""
        if self.pictures:
            return self.of(other)
        return {"differs": [vars(d) for d in differing_columns(self.records, place, other, spread=self.spread)]}


def describe_selected(
    records: Records, audited: np.ndarray, screened: Screened, near: np.ndarray, most: int
) -> list[dict[str, Any]]:
    """The most vulnerable of the selected records, each with its nearest reference records and how they differ.

    Args:
        records: all records.
        audited: places of the candidates.
        screened: what the screen found.
        near: ``int64[selected, neighbours]``, places of the nearest reference records; -1 for none.
        most: records to describe.
    """
    looks = Looks(records)
    row_of = {int(place): row for row, place in enumerate(np.flatnonzero(screened.selected))}
    cards = []
    for place in screened.order[: min(most, len(row_of))].tolist():
        row, at = row_of[place], int(audited[place])
        others = screened.neighbours_of(row)
        for one, other in zip(others, near[row].tolist(), strict=False):
            one |= looks.of_neighbour(at, int(other))
        cards.append(
            {
                "id": plain(screened.ids[place]),
                "label": plain(screened.labels[place]),
                "rank": int(screened.rank[place]),
                "value": float(screened.value[place]),
                "reason": screened.reasons[row],
                **looks.of(at),
                "neighbours": others,
            }
        )
    return cards


def plain(value: Any) -> Any:
    """A NumPy scalar as Python's."""
    return value.item() if isinstance(value, np.generic) else value
