"""In which columns two records differ: why two neighbours are not the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from locard.data.records import Records

MOST = 8  # columns that are named


@dataclass(frozen=True)
class Difference:
    """One column in which a record and another differ, with both values as text."""

    column: str
    value: str
    other: str


def column_spread(records: Records) -> Float64[np.ndarray, "columns"]:
    """The standard deviation of each column, missing values aside; NaN where all are missing."""
    flat = records.features.reshape(len(records), -1).astype(np.float64)
    known = ~np.isnan(flat)
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    mean = np.where(known, flat, 0.0).sum(axis=0) / count
    out: np.ndarray = np.sqrt(np.where(known, (flat - mean) ** 2, 0.0).sum(axis=0) / count)
    return out


def differing_columns(
    records: Records, place: int, other: int, *, spread: Float64[np.ndarray, "columns"], most: int = MOST
) -> tuple[Difference, ...]:
    """The columns in which two records differ, the largest differences first; categories before numbers.

    A number's difference is measured in standard deviations of its column. Values that are missing in both agree.

    Args:
        records: both records are in it.
        place: of the one.
        other: of the other.
        spread: ``column_spread(records)``.
        most: columns to name.

    >>> r = Records(ids=["a", "b"], features=[[1.0, 5.0], [1.0, 7.5]], labels=[0, 1])
    >>> differing_columns(r, 0, 1, spread=column_spread(r))
    (Difference(column='feature 1', value='5', other='7.5'),)
    """
    flat = records.features.reshape(len(records), -1)
    a, b = flat[place].astype(np.float64), flat[other].astype(np.float64)
    where = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
    columns = records.columns
    category = np.array([columns is not None and columns[i].kind == "category" for i in where], dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.abs(a[where] - b[where]) / spread[where]
    size = np.where(category | np.isnan(size), np.inf, size)
    order = where[np.lexsort((where, -size, ~category))][:most]
    return tuple(
        Difference(_name(records, int(i)), _shown(records, int(i), a[i]), _shown(records, int(i), b[i])) for i in order
    )


def _name(records: Records, column: int) -> str:
    return f"feature {column}" if records.columns is None else records.columns[column].name


def _shown(records: Records, column: int, value: float) -> str:
    if np.isnan(value):
        return "missing"
    if records.columns is not None and records.columns[column].kind == "category":
        return records.columns[column].levels[int(value)]
    return f"{value:.6g}"
