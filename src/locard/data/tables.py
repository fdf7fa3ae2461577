"""Tables: a data frame, or a .csv or .parquet file, as ``Records``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.check import nearest
from locard.data.columns import encode
from locard.data.files import read_frame
from locard.data.records import Records
from locard.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["encode", "from_frame", "read_table"]


def read_table(
    path: str | Path,
    *,
    label: str,
    id: str | None = None,
    unit: str | None = None,
    groups: Sequence[str] = (),
    drop: Sequence[str] = (),
    weight: str | None = None,
    keep: Sequence[str] = (),
) -> Records:
    """The records of a .csv, .csv.gz or .parquet file.

    Args:
        path: the file.
        label: the column with the class of each record; any type.
        id: the column with the record ids, kept as given (text letter by letter, whole numbers of .parquet files as
            such). Default: the row numbers 0..n-1, not counting the header.
        unit: the column that says whom a record belongs to; membership moves by unit.
        groups: columns to give estimates by. They stay features too, unless they are in ``drop``.
        drop: columns that are no features.
        weight: the column with training weights.
        keep: columns of dates, text or ids to keep as features (see ``encode``).

    Raises:
        DataError: with all problems found: columns that are not there (the nearest are named), infinite numbers,
            labels or ids that are missing, a damaged file, ...
    """
    named = [c for c in (label, id, unit, weight) if c is not None]
    listed = [] if isinstance(groups, str) else groups  # refused below, with the other names
    frame, notes = read_frame(Path(path), as_given=[c for c in (id, unit) if c is not None], once=[*named, *listed])
    roles = {"label": label, "id": id, "unit": unit, "groups": groups, "drop": drop, "weight": weight, "keep": keep}
    try:
        return from_frame(frame, **roles, notes=notes)  # type: ignore[arg-type]
    except DataError as wrong:
        raise DataError(f"{path}: {problem}" for problem in wrong.problems) from wrong


def from_frame(
    frame: pd.DataFrame,
    *,
    label: str,
    id: str | None = None,
    unit: str | None = None,
    groups: Sequence[str] = (),
    drop: Sequence[str] = (),
    weight: str | None = None,
    keep: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Records:
    """The records of a data frame; arguments and errors as in ``read_table``, ``notes`` are put first.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"who": ["b7", "a1"], "age": [31, 52], "ill": ["no", "yes"]})
    >>> r = from_frame(frame, label="ill", id="who")
    >>> r.ids.tolist(), r.features.tolist(), r.labels.tolist()
    (['b7', 'a1'], [[31.0], [52.0]], ['no', 'yes'])
    """
    frame = frame.set_axis([str(c) for c in frame.columns], axis=1)
    single = {"label": label, "id": id, "unit": unit, "weight": weight}
    several = {"groups": groups, "drop": drop, "keep": keep}
    problems = _wrong_names(list(frame.columns), single, several)
    if problems:
        raise DataError(problems)
    said = list(notes)
    if id is None:
        said.append("no id column was named, so the ids are row numbers, from 0 on")
    used = [c for c in frame.columns if c not in {*single.values(), *drop}]
    values: dict[str, Any] = {
        "ids": np.arange(len(frame)) if id is None else _as_given(frame[id], "id", problems),
        "labels": _labels(frame[label]),
        "groups": {g: _group(frame[g]) for g in groups},
        "unit": None if unit is None else _as_given(frame[unit], "unit", problems),
        "weight": None if weight is None else _weights(frame[weight], problems),
    }
    try:
        values["features"], values["columns"], about = encode(frame[used], keep=keep)
        said.extend(about)
    except DataError as wrong:
        problems += wrong.problems
        values["features"] = np.zeros((len(frame), 1))  # stands in, so that the other problems are found in one go
    try:
        records = Records(**values, notes=tuple(said))
    except DataError as wrong:
        problems += wrong.problems
    if problems:
        raise DataError(problems)
    return records


def _wrong_names(columns: list[str], single: Mapping[str, Any], several: Mapping[str, Any]) -> list[str]:
    """Every name that is no column, and every column with two roles that exclude each other."""
    problems = []
    asked = [(role, name) for role, name in single.items() if name is not None]
    for role, names in several.items():
        if isinstance(names, str):
            problems.append(f"{role}: a list of column names is needed, found one text. Write [{names!r}].")
        else:
            asked += [(role, name) for name in names]
    for role, name in asked:
        if name not in columns:
            problems.append(f"{role}: a column of the table is needed, found {name!r}. {nearest(str(name), columns)}")
    roles: dict[str, list[str]] = {}
    for role, name in asked:
        if role not in ("groups", "drop") or (role == "drop" and name == single["label"]):
            roles.setdefault(name, []).append(role)
    for name, has in roles.items():
        if len(has) > 1 and sorted(has) != ["id", "unit"]:
            problems.append(f"column {name!r}: one role is needed, found {' and '.join(has)}. Choose one of them.")
    for name in () if isinstance(several["keep"], str) else several["keep"]:
        if name in several["drop"]:
            problems.append(f"column {name!r}: it stands in keep and in drop. Choose one of them.")
    return problems


def _as_given(series: pd.Series[Any], role: str, problems: list[str]) -> np.ndarray:
    """Ids or units: whole numbers and text as they are, other things as text; None where missing."""
    from pandas.api import types

    if types.is_integer_dtype(series.dtype) and not series.isna().any():
        return series.to_numpy(dtype=np.int64) if _fits(series) else series.astype(object).to_numpy()
    values = [None if _is_missing(v) else v for v in series.astype(object).tolist()]
    if any(isinstance(v, float | np.floating) for v in values):
        problems.append(
            f"{role}: text or whole numbers are needed in column {series.name!r}, found floating point. "
            f"Store it as text, or as integers, so that no id is rounded."
        )
    if all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values) and values:
        return np.array(values)
    out = np.empty(len(values), dtype=object)
    out[:] = [v if v is None or isinstance(v, str | int) else _text(v) for v in values]
    return out


def _fits(series: pd.Series[Any]) -> bool:
    return len(series) == 0 or int(series.max()) < 2**63


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _labels(series: pd.Series[Any]) -> np.ndarray:
    """Numbers, bools and text as they are, other things as text; None (or NaN) where missing."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return series.to_numpy()
    values = [None if _is_missing(v) else v for v in series.astype(object).tolist()]
    for kind in (bool, int, float):
        if values and all(type(v) is kind for v in values):
            return np.array(values)
    out = np.empty(len(values), dtype=object)
    out[:] = [v if v is None or isinstance(v, str | bool | int | float) else _text(v) for v in values]
    return out


def _group(series: pd.Series[Any]) -> np.ndarray:
    """One value a record; where some are missing, all become text and those read "(missing)"."""
    values = _labels(series)
    if values.dtype.kind in "biu":
        return values
    missing = series.isna().to_numpy(dtype=bool)
    if values.dtype.kind == "f" and not missing.any():
        return values
    out = np.empty(len(values), dtype=object)
    out[:] = ["(missing)" if gone else _text(v) for v, gone in zip(values.tolist(), missing.tolist(), strict=True)]
    return out


def _weights(series: pd.Series[Any], problems: list[str]) -> np.ndarray | None:
    from pandas.api import types

    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    problems.append(f"weight: numbers are needed in column {series.name!r}, found {series.dtype}. Mend or drop it.")
    return None
