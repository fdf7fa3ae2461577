"""What each column of a table becomes: a number, a category code, or a named reason why it is left out."""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from locard.data.records import LARGEST, Column
from locard.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MANY_LEVELS = 100  # a category with more levels is pointed out
ALL_DISTINCT = 0.9  # strings with more distinct values than this share of the records are ids or free text
FEWEST_FOR_IDS = 20  # with fewer distinct strings nothing is taken for an id
LONG_TEXT = 50  # characters on average, and ...
WORDS = 5  # ... at least so many words on average: free text
NAMED = 20  # columns listed by name in one note
EXACT_INTEGER = 2**53  # float64 holds every whole number up to here

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")
_OTHER_DATE = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-](\d{2}|\d{4})( \d{2}:\d{2}(:\d{2})?)?")


@dataclass(frozen=True)
class _Coded:
    """One column of the result; ``values`` is None where it is left out or cannot be used."""

    values: np.ndarray | None = None
    levels: tuple[str, ...] | None = None
    remark: str | None = None
    dropped: str | None = None
    problem: str | None = None


def encode(
    frame: pd.DataFrame, *, keep: Sequence[str] = ()
) -> tuple[Float64[np.ndarray, "records columns"], tuple[Column, ...], tuple[str, ...]]:
    """A table as numbers: ``(features float64[records, columns], columns, notes)``.

    - categories (text, category and bool columns) become codes 0..levels-1 of a relabelling that loses nothing:
      ``columns[j].levels[code]`` is the value as text, levels sorted; NaN is a missing value. Which levels a model
      knows is learnt later, inside each fit, so this coding tells a model nothing about other records.
    - numbers become float64, NaN where missing; durations become days
    - dates, free text, ids (text with a different value in almost every record) and columns without any value are
      left out, each named in the notes with the reason; ``keep`` names those to keep (dates become days since
      1970-01-01, text becomes categories)
    - the notes also count the missing values and name constant columns and categories with very many levels

    Raises:
        DataError: with all problems found: infinite numbers, columns of lists or other objects, repeated names.

    >>> import pandas as pd
    >>> x, columns, notes = encode(pd.DataFrame({"age": [31, None], "sex": ["f", "m"]}))
    >>> x.tolist(), columns[1]
    ([[31.0, 0.0], [nan, 1.0]], Column(name='sex', kind='category', levels=('f', 'm')))
    >>> notes
    ('missing values: age 1.', "constant columns: 'age'.")
    """
    names = [str(c) for c in frame.columns]
    repeated = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    problems = [
        f"column {n!r}: each name is needed once, found it {names.count(n)} times. Rename one." for n in repeated
    ]
    coded = {} if repeated else {n: _code(frame.iloc[:, j], n in keep) for j, n in enumerate(names)}
    problems += [f"column {n!r}: {c.problem}" for n, c in coded.items() if c.problem]
    if problems:
        raise DataError(problems)
    used = [(n, c.values, c.levels) for n, c in coded.items() if c.values is not None]
    if not used:
        dropped = "; ".join(f"{n!r} ({c.dropped})" for n, c in coded.items()) or "no column at all"
        raise DataError(f"features: at least one usable column is needed, found none: {dropped}. Name some in keep.")
    columns = tuple(Column(n, "number") if levels is None else Column(n, "category", levels) for n, _, levels in used)
    features = np.empty((len(frame), len(used)), dtype=np.float64)
    for j, (_, values, _) in enumerate(used):
        features[:, j] = values
    return features, columns, tuple(_notes(coded))


def _notes(coded: dict[str, _Coded]) -> Iterable[str]:
    for name, c in coded.items():
        if c.dropped:
            yield f"left out {name!r}: {c.dropped}."
    missing = {n: int(np.isnan(c.values).sum()) for n, c in coded.items() if c.values is not None}
    missing = {n: k for n, k in sorted(missing.items(), key=lambda item: -item[1]) if k}
    if missing:
        yield f"missing values: {_listed([f'{n} {k:,}' for n, k in missing.items()])}."
    constant = [f"{n!r}" for n, c in coded.items() if c.values is not None and _is_constant(c)]
    if constant:
        yield f"constant columns: {_listed(constant)}."
    for name, c in coded.items():
        if c.remark:
            yield f"{name!r}: {c.remark}."


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - NAMED:,} columns more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _is_constant(c: _Coded) -> bool:
    assert c.values is not None  # asked only of columns in use
    if c.levels is not None:
        return len(c.levels) == 1
    present = c.values[~np.isnan(c.values)]
    return bool(present.size and (present == present[0]).all())


def _code(series: pd.Series[Any], kept: bool) -> _Coded:
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.IntervalDtype) or types.is_bool_dtype(dtype):
        coded = _category(series, kept, ask_kind=False)
    elif types.is_complex_dtype(dtype):
        return _Coded(problem="real numbers are needed, found complex ones. Split them into two columns.")
    elif types.is_numeric_dtype(dtype):
        coded = _number(series.to_numpy(dtype=np.float64, na_value=np.nan))
        if types.is_integer_dtype(dtype):
            coded = _about_integers(coded, series)
    elif types.is_datetime64_any_dtype(dtype):
        coded = _date(series, kept)
    elif isinstance(dtype, pd.PeriodDtype):
        coded = _date(series.dt.to_timestamp(), kept)
    elif types.is_timedelta64_dtype(dtype):
        coded = _number(series.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan) / 86_400)
        coded = replace(coded, remark="a duration, read as days")
    else:
        coded = _category(series, kept)
    if len(series) and coded.values is not None and np.isnan(coded.values).all():
        return _Coded(dropped="it holds no value at all")
    return coded


def _number(values: np.ndarray) -> _Coded:
    if (large := np.abs(values) > LARGEST).any():
        infinite = int(np.isinf(values).sum())
        found = f"{infinite:,} infinite" if infinite else f"{int(large.sum()):,} beyond {LARGEST:.1e}"
        return _Coded(
            problem=f"finite numbers that float32 can hold are needed, found {found} (first in row "
            f"{int(np.flatnonzero(large)[0])}). Replace them, or leave these cells empty."
        )
    return _Coded(values)


def _about_integers(coded: _Coded, series: pd.Series[Any]) -> _Coded:
    present = series.dropna()
    if coded.values is None or len(present) < FEWEST_FOR_IDS:
        return coded
    if int(present.max()) > EXACT_INTEGER or int(present.min()) < -EXACT_INTEGER:
        return replace(coded, remark="whole numbers beyond 2**53 are rounded to 64-bit floating point")
    if present.is_unique and int(present.max()) - int(present.min()) == len(series) - 1:
        return replace(coded, remark="it numbers the records; name it as id, or in drop, if it means nothing else")
    return coded


def _date(series: pd.Series[Any], kept: bool) -> _Coded:
    import pandas as pd

    if not kept:
        return _Coded(dropped="it holds dates; name it in keep to use them as days since 1970-01-01")
    whole = series.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(series.dtype, "tz", None) else series
    days = (whole - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    return replace(
        _number(days.to_numpy(dtype=np.float64, na_value=np.nan)), remark="dates, kept as days since 1970-01-01"
    )


def _category(series: pd.Series[Any], kept: bool, *, ask_kind: bool = True) -> _Coded:
    import pandas as pd

    try:
        codes, distinct = pd.factorize(series)
    except TypeError:
        kinds = sorted({type(v).__name__ for v in series.tolist()})
        return _Coded(
            problem=f"numbers or text are needed in each cell, found {', '.join(kinds)}. Flatten it, or drop it."
        )
    values = distinct.tolist()
    if ask_kind and (other := _not_a_category(series, codes, values, kept)):
        return other
    texts = [v if isinstance(v, str) else str(v) for v in values]
    if len(set(texts)) < len(texts):  # 1 and "1" in one column: tell them apart by how Python writes them
        texts = [repr(v) for v in values]
    if len(set(texts)) < len(texts):
        return _Coded(
            problem="values that print differently are needed, found distinct ones that look alike. Relabel it."
        )
    order = sorted(range(len(texts)), key=texts.__getitem__)
    place = np.full(len(texts) + 1, np.nan)  # the last entry serves code -1, which says "missing"
    place[order] = np.arange(len(texts))
    remark = _stray_remark(values) or (
        f"a category of {len(texts):,} levels; name it in drop if it names people" if len(texts) > MANY_LEVELS else None
    )
    return _Coded(place[codes], tuple(texts[i] for i in order), remark)


def _not_a_category(series: pd.Series[Any], codes: np.ndarray, values: list[Any], kept: bool) -> _Coded | None:
    """What a column of objects is, where it is not a category."""
    import pandas as pd

    if not values:
        return None
    if all(isinstance(v, numbers.Real | decimal.Decimal) and not isinstance(v, bool | np.bool_) for v in values):
        return _number(np.array([*(_as_float(v) for v in values), np.nan])[codes])
    if all(isinstance(v, datetime.date) for v in values):
        return _date(pd.to_datetime(series), kept)
    if not all(isinstance(v, str) for v in values):
        return None
    if dates := _date_strings(series, values, kept):
        return dates
    if kept or len(values) < FEWEST_FOR_IDS:
        return None
    return _ids_or_text(values, int((codes >= 0).sum()))


def _date_strings(series: pd.Series[Any], values: list[str], kept: bool) -> _Coded | None:
    import pandas as pd

    some = values[:1000]
    iso = sum(bool(_ISO.fullmatch(v.strip())) for v in some)
    if max(iso, sum(bool(_OTHER_DATE.fullmatch(v.strip())) for v in some)) < 0.95 * len(some):
        return None
    if not kept:
        return _date(series, kept=False)
    read = pd.to_datetime(series.str.strip(), format="ISO8601", utc=True, errors="coerce")
    wrong = read.isna() & series.notna()
    if wrong.any():
        found = str(series[wrong].iloc[0])
        return _Coded(
            problem=f"dates to keep are needed as YYYY-MM-DD, found {found!r}. Rewrite them, or do not keep it."
        )
    return _date(read, kept=True)


def _ids_or_text(values: list[str], present: int) -> _Coded | None:
    length = float(np.mean([len(v) for v in values[:1000]]))
    words = float(np.mean([len(v.split()) for v in values[:1000]]))
    text = length > LONG_TEXT and words >= WORDS
    distinct = len(values) > ALL_DISTINCT * present
    if not (text or distinct):
        return None
    kind = f"free text ({length:.0f} characters on average)" if text else "ids"
    reason = f"it looks like {kind}: {len(values):,} different values in {present:,} records"
    if stray := _stray_remark(values):
        reason += f"; or {stray}"
    return _Coded(dropped=f"{reason}; name it in keep to use it as a category")


def _stray_remark(values: list[Any]) -> str | None:
    """Numbers that an unusual mark for "missing" has turned into text."""
    if len(values) < FEWEST_FOR_IDS or not all(isinstance(v, str) for v in values):
        return None
    stray = [v for v in values if not _is_number(v)]
    if not 0 < len(stray) <= 0.1 * len(values):
        return None
    shown = ", ".join(repr(v) for v in stray[:3])
    return f"numbers written as text, with {shown} among them (empty those cells to use it as a number)"


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
