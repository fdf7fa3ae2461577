"""``Records``: all records of an audit, under the ids their owner gave them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from locard.errors import DataError

LARGEST = float(np.finfo(np.float32).max)  # trees and networks compute in float32: more is infinite to them


@dataclass(frozen=True)
class Column:
    """One column of a table. A category column holds codes 0..len(levels)-1, NaN where it is missing."""

    name: str
    kind: Literal["number", "category"]
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """All records: stable ids, features, labels, and optionally groups, privacy unit and weights.

    Args:
        ids: one id a record, kept as given in every output (strings or integers, any order, gaps allowed).
        features: array[records, ...], or a pandas DataFrame (categories and numbers, missing values allowed).
        labels: one class label a record, of any type that sorts.
        groups: name -> one value a record; estimates are also given per group.
        unit: who a record belongs to (several rows of one patient): membership moves by unit. Default: each record.
        weight: non-negative training weights.
        columns: what the columns of a table mean; filled in when ``features`` is a DataFrame.
        notes: what was done to the data on the way, in sentences; reports print them.
        known_classes: all classes, where the labels here may not show every one.

    Raises:
        DataError: with every problem found: lengths that differ, NaN labels, one class only, repeated ids
            without a unit, ...

    >>> r = Records(ids=["b", "a", "c"], features=[[0.0], [1.0], [2.0]], labels=["no", "yes", "no"])
    >>> r.classes.tolist(), r.y.tolist(), len(r)
    (['no', 'yes'], [0, 1, 0], 3)
    """

    ids: Any
    features: Any
    labels: Any
    groups: Mapping[str, Any] = field(default_factory=dict)
    unit: Any = None
    weight: Any = None
    columns: tuple[Column, ...] | None = None
    notes: tuple[str, ...] = ()
    known_classes: Any = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        if hasattr(self.features, "columns") and self.columns is None:  # a DataFrame
            from locard.data.tables import encode

            features, columns, notes = encode(self.features)
            put(self, "features", features)
            put(self, "columns", columns)
            put(self, "notes", (*self.notes, *notes))
        put(self, "features", _array(self.features))
        put(self, "ids", _plain(self.ids))
        put(self, "labels", _plain(self.labels))
        put(self, "groups", {str(k): _plain(v) for k, v in dict(self.groups).items()})
        if self.unit is not None:
            put(self, "unit", _plain(self.unit))
        if self.weight is not None:
            put(self, "weight", np.asarray(self.weight, dtype=np.float64))
        problems = _problems(self)
        if problems:
            raise DataError(problems)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def classes(self) -> np.ndarray:
        """The sorted class labels of these records (of all records, when this is a part)."""
        return np.unique(self.labels if self.known_classes is None else _plain(self.known_classes))

    @cached_property
    def y(self) -> Int64[np.ndarray, "records"]:
        """Each label's place in ``classes``."""
        places: np.ndarray = np.searchsorted(self.classes, self.labels).astype(np.int64)
        return places

    @cached_property
    def units(self) -> Int64[np.ndarray, "records"]:
        """Each record's unit as a number 0..n_units-1, in order of first appearance."""
        source = self.ids if self.unit is None else self.unit
        _, first, code = np.unique(_sortable(source), return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first, kind="stable")] = np.arange(len(first))
        numbers: np.ndarray = rank[code.reshape(-1)]
        return numbers

    @cached_property
    def n_units(self) -> int:
        """How many privacy units there are."""
        return int(self.units.max()) + 1 if len(self) else 0

    @cached_property
    def unit_names(self) -> np.ndarray:
        """The name of each unit, by its number: its id where every record is its own unit."""
        source = self.ids if self.unit is None else self.unit
        names = np.empty(self.n_units, dtype=source.dtype)
        names[self.units[::-1]] = source[::-1]
        return names

    def select(self, index: Sequence[int] | np.ndarray) -> Records:
        """The records at these places, with the classes of the whole."""
        i = np.asarray(index, dtype=np.int64)
        part = object.__new__(Records)
        put = object.__setattr__
        put(part, "ids", self.ids[i])
        put(part, "features", self.features[i])
        put(part, "labels", self.labels[i])
        put(part, "groups", {k: v[i] for k, v in self.groups.items()})
        put(part, "unit", None if self.unit is None else self.unit[i])
        put(part, "weight", None if self.weight is None else self.weight[i])
        put(part, "columns", self.columns)
        put(part, "notes", self.notes)
        put(part, "known_classes", self.known_classes)
        put(part, "classes", self.classes)
        return part

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that training reads: features, labels, classes, weights, column meanings."""
        h = hashlib.sha256()
        for array in (self.features, self.y, self.weight):
            if array is None:
                h.update(b"none")
                continue
            a = np.ascontiguousarray(array)
            h.update(f"{a.dtype.str}{a.shape}".encode())
            h.update(a.data.cast("B") if a.size else b"")
        h.update(repr([type(c).__name__ + repr(c) for c in self.classes.tolist()]).encode())
        h.update(repr(self.columns).encode())
        return h.hexdigest()

    def __repr__(self) -> str:
        return f"Records(n={len(self)}, units={self.n_units}, classes={len(self.classes)})"


def _plain(values: Any) -> np.ndarray:
    """A NumPy array without pandas types: integers, booleans and floats as they are, everything else as objects."""
    kinds = {type(v) for v in values} if isinstance(values, list | tuple) else set()
    if len(kinds) > 1 and str in kinds:  # NumPy would turn [1, "a"] into text in silence
        mixed = np.empty(len(values), dtype=object)
        mixed[:] = values
        return mixed
    array = _array(values)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8").astype(object)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "O":
        return array
    return array.astype(str).astype(object)


def _array(values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as ragged:
        raise DataError(
            f"records: arrays are needed, found rows of different lengths ({ragged}). Mend them."
        ) from ragged


def _problems(r: Records) -> list[str]:
    n = len(r.ids) if r.ids.ndim == 1 else -1
    problems = []
    if n < 0:
        return [f"ids: one id a record is needed, found an array of shape {r.ids.shape}. Give a flat list."]
    if n == 0:
        return ["records: at least one record is needed, found none. Check the source of the data."]
    if r.features.ndim < 2 or r.features.dtype.kind not in "biuf":
        problems.append(
            f"features: a numeric array [records, ...] is needed, found shape {r.features.shape} of type "
            f"{r.features.dtype}. Give numbers, or a pandas DataFrame for mixed columns."
        )
    named = {"features": r.features, "labels": r.labels, "unit": r.unit, "weight": r.weight}
    named |= {f"groups[{k!r}]": v for k, v in r.groups.items()}
    for name, array in named.items():
        if array is not None and name != "features" and array.ndim != 1:
            problems.append(f"{name}: one value a record is needed, found an array of shape {array.shape}. Flatten it.")
        elif array is not None and array.ndim and len(array) != n:
            problems.append(f"{name}: {n} values are needed (one an id), found {len(array)}. Check how it was joined.")
    if problems:
        return problems
    if r.features.dtype.kind == "f" and (large := np.abs(r.features) > np.float64(LARGEST)).any():
        row, infinite = int(np.argwhere(large)[0, 0]), int(np.isinf(r.features).sum())
        found = f"{infinite:,} infinite" if infinite else f"{int(large.sum()):,} beyond {LARGEST:.1e}"
        problems.append(
            f"features: finite numbers that float32 can hold are needed (NaN where missing), found {found} (first in "
            f"row {row}). Replace them."
        )
    for name, array in {"ids": r.ids, "labels": r.labels, "unit": r.unit}.items():
        if array is not None and (missing := _missing(array)).any():
            where = int(np.flatnonzero(missing)[0])
            problems.append(
                f"{name}: every record needs one, found {int(missing.sum())} missing (first in row {where}). "
                f"Fill them in or drop these rows."
            )
    if problems:
        return problems
    problems += _label_problems(r.labels if r.known_classes is None else _plain(r.known_classes))
    if not problems and (strange := ~np.isin(r.labels, r.classes)).any():
        problems.append(
            f"labels: values among the known classes are needed, found {r.labels[strange].tolist()[0]!r}. "
            f"Mend it or add the class."
        )
    if r.unit is None and len(np.unique(_sortable(r.ids))) < n:
        values, counts = np.unique(_sortable(r.ids), return_counts=True)
        worst = int(np.argmax(counts))
        problems.append(
            f"ids: they repeat ({values.tolist()[worst]!r} stands {counts[worst]} times; {int((counts > 1).sum())} ids "
            f"do). Name the privacy unit that the rows belong to (data.unit, or unit= in Python), or make ids unique."
        )
    if r.weight is not None and not (np.isfinite(r.weight).all() and (r.weight >= 0).all()):
        problems.append("weight: finite numbers of at least 0 are needed, found others. Mend or drop these rows.")
    return problems


def _label_problems(labels: np.ndarray) -> list[str]:
    try:
        classes = np.unique(labels)
    except TypeError:
        kinds = sorted({type(v).__name__ for v in labels.tolist()})
        return [f"labels: values of one type are needed, found {', '.join(kinds)}. Convert them to one type."]
    if len(classes) < 2:
        return [f"labels: at least two classes are needed, found one ({classes.tolist()[0]!r}). Choose another label."]
    if len(classes) > 100 and len(classes) > len(labels) / 5:
        return [
            f"labels: a class for each record is needed, found {len(classes)} distinct values in {len(labels)} "
            f"records, which looks like a regression target. Bin the label into classes first."
        ]
    return []


def _missing(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        missing: np.ndarray = np.isnan(array)
        return missing
    if array.dtype.kind == "O":
        return np.array([v is None or _differs_from_itself(v) for v in array.tolist()], dtype=bool)
    return np.zeros(len(array), dtype=bool)


def _differs_from_itself(value: Any) -> bool:
    """True for NaN, NaT and pandas' NA, whose comparison with itself is no bool."""
    answer = value != value
    return answer if isinstance(answer, bool) else True


def _sortable(array: np.ndarray) -> np.ndarray:
    return array.astype(str) if array.dtype.kind == "O" else array
