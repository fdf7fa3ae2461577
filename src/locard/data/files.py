"""Table files as data frames: .csv, .csv.gz and .parquet, with one clear message for each way they can be damaged."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locard.check import nearest
from locard.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".csv.gz", ".parquet")
_SEPARATORS = (",", ";", "\t", "|")
_TAIL = 1 << 16  # bytes at the end of a file that are searched for a line cut short


def is_table(path: Path) -> bool:
    """True where the file's name says that ``read_frame`` reads it."""
    return path.name.lower().endswith(TABLES)


def existing(path: Path) -> Path:
    """The path, where there is a file that is not empty.

    Raises:
        DataError: there is none (the nearest names in the folder are given), or it is empty.
    """
    if not path.is_file():
        beside = [p.name for p in sorted(path.parent.iterdir()) if p.is_file()] if path.parent.is_dir() else []
        where = nearest(path.name, beside) if path.parent.is_dir() else "Its folder does not exist either."
        what = "a folder" if path.is_dir() else "none"
        raise DataError(f"{path}: a file is needed here, found {what}. {where}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: records are needed, found an empty file of 0 bytes. Write it again.")
    return path


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a damaged file makes a reader raise into one message."""
    from pandas.errors import EmptyDataError, ParserError, ParserWarning
    from pyarrow import ArrowException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)
            yield
    except UnicodeDecodeError as wrong:
        raise DataError(
            f"{path}: text in UTF-8 is needed, found other bytes (byte {wrong.start:,}). Save it as UTF-8."
        ) from wrong
    except EmptyDataError as wrong:
        raise DataError(f"{path}: a header and records are needed, found no columns. Write it again.") from wrong
    except (ParserError, ParserWarning, csv.Error) as wrong:
        raise DataError(
            f"{path}: lines with as many fields as the header are needed, but reading stopped: {_first_line(wrong)}. "
            f"Mend or remove that line; a file cut short while it was written must be written again."
        ) from wrong
    except (OSError, EOFError, zlib.error, ArrowException) as wrong:
        raise DataError(
            f"{path}: a whole file is needed, but it cannot be read ({_first_line(wrong)}): it is damaged, cut short, "
            f"or of another kind than its name says. Copy or write it again."
        ) from wrong


def _first_line(wrong: BaseException) -> str:
    text = str(wrong).strip() or type(wrong).__name__
    return text.splitlines()[0].rstrip(".")


def read_frame(
    path: Path, *, as_given: Sequence[str] = (), once: Sequence[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table file as ``(DataFrame, notes)``; the columns ``as_given`` (ids, units) keep their text or whole numbers.

    Columns named in ``once`` (label, id, ...) must not stand twice: nobody could say which of them is meant.

    In a .csv those columns stay text, letter by letter, so "007" keeps its zeros; in a .parquet file they keep their
    type, and whole numbers never turn into floating point where some are missing. An index that pandas stored in a
    .parquet file comes back as a column.

    Raises:
        DataError: the file is not there, empty, truncated, damaged, not UTF-8, holds a header without records, or a
            column of ``once`` more than once.
    """
    existing(path)
    if not is_table(path):
        raise DataError(f"{path}: a table file ({', '.join(TABLES)}) is needed, found another ending. Convert it.")
    parquet = path.name.lower().endswith(".parquet")
    with reading(path):
        frame, notes = _read_parquet(path, as_given) if parquet else _read_csv(path, as_given, once)
    if len(frame) == 0:
        raise DataError(f"{path}: records are needed, found a header ({len(frame.columns)} columns) and none. Fill it.")
    return frame, notes


def _read_csv(path: Path, as_given: Sequence[str], once: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    header, separator = _header(path)
    twice = sorted({h for h in header if header.count(h) > 1})
    if unclear := [h for h in twice if h in once]:
        raise DataError(f"{path}: one column {h!r} is needed, found {header.count(h)}. Rename them." for h in unclear)
    if not path.name.lower().endswith(".gz"):  # a .gz file carries its own check
        _check_last_line(path, len(header), separator)
    how: dict[str, Any] = {"sep": separator, "index_col": False, "low_memory": False, "encoding": "utf-8-sig"}
    frame = pd.read_csv(path, **how)
    if given := [name for name in as_given if name in frame.columns]:
        # a second look, in which pandas takes no cell for a number or for "missing": NA may be somebody's id
        text = pd.read_csv(path, **how, usecols=given, dtype=str, na_filter=False)
        for name in given:
            cells = text[name].tolist()
            frame[name] = pd.Series([c if c.strip() else None for c in cells], dtype=object, index=frame.index)
    notes = []
    if separator != ",":
        notes.append(f"fields are separated by {separator!r}")
    if twice:
        named = ", ".join(repr(h) for h in twice)
        notes.append(f"column names that stand more than once in the file ({named}) got .1, .2, ... appended")
    return frame, tuple(notes)


def _open(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _header(path: Path) -> tuple[list[str], str]:
    """The column names, and the separator: a comma wherever the first line has one."""
    with _open(path) as source:
        first = source.readline()
        separator = next((s for s in _SEPARATORS if s in first), ",")
        source.seek(0)
        return next(csv.reader(source, delimiter=separator), []), separator


def _check_last_line(path: Path, fields: int, separator: str) -> None:
    """A file cut short ends in the middle of a line, which pandas would fill up with missing values in silence."""
    size = path.stat().st_size
    with path.open("rb") as source:
        source.seek(max(0, size - _TAIL))
        tail = source.read().decode("utf-8", errors="replace").rstrip("\r\n")
    lines = tail.splitlines()
    if len(lines) < 2 or '"' in tail:  # inside quotes a line break is no end of a record; pandas finds those cut short
        return
    found = len(next(csv.reader([lines[-1]], delimiter=separator), []))
    if found < fields:
        raise DataError(
            f"{path}: {fields} fields are needed in each line (as in the header), found {found} in the last one "
            f"({lines[-1][:60]!r}): the file seems cut short. Write or copy it again, or remove that line."
        )


def _read_parquet(path: Path, as_given: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.ParquetFile(path).read()
    repeated = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if repeated:
        raise DataError(f"{path}: each column name is needed once, found {', '.join(repeated)} repeated. Rename them.")
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    for name in as_given:
        if name in frame.columns and pa.types.is_integer(table.schema.field(name).type):
            frame[name] = pd.Series(table.column(name).to_pylist(), dtype=object)
    return frame, ()
