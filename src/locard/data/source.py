"""``[data]`` of the settings: one source of records, whatever its kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from locard.check import nearest
from locard.data import public
from locard.data.arrays import read_npz
from locard.data.catalogue import SETS
from locard.data.files import TABLES, is_table
from locard.data.functions import from_function
from locard.data.records import Records
from locard.data.tables import read_table
from locard.errors import DataError

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
ENDINGS = (*TABLES, ".npz")


def load_source(
    *,
    source: str,
    base_dir: str | Path = ".",
    label: str | None = None,
    id: str | None = None,
    unit: str | None = None,
    groups: Sequence[str] = (),
    drop: Sequence[str] = (),
    weight: str | None = None,
    keep: Sequence[str] = (),
) -> Records:
    """The records that the settings name.

    Args:
        source: a named public set, the path of a .csv, .csv.gz, .parquet or .npz file, or ``"module:function"``.
        base_dir: the folder of the settings file; paths and modules are looked for from there.
        label: for tables, like all that follow: see ``read_table``. Named sets have their usual label.
        id: the column with the ids.
        unit: the column that says whom a record belongs to.
        groups: columns to give estimates by.
        drop: columns that are no features.
        weight: the column with training weights.
        keep: columns of dates, text or ids to keep as features.

    Raises:
        DataError: an unknown source (the nearest names are given), settings that do not apply to it, or records that
            cannot be used.
        RemoteUnavailable: a named set that cannot be fetched.

    >>> load_source(source="digits")
    Records(n=1797, units=1797, classes=10)
    """
    roles: dict[str, Any] = {"label": label, "id": id, "unit": unit, "weight": weight}
    roles |= {"groups": groups, "drop": drop, "keep": keep}
    given = {k: v for k, v in roles.items() if v not in (None, (), [])}
    base = Path(base_dir)
    if source in SETS:
        return public.load(source, **given)
    if _FUNCTION.fullmatch(source):
        return from_function(source, base, table=given)
    path = base / Path(source).expanduser()
    if path.name.lower().endswith(".npz"):
        if given:
            raise DataError(
                f"data.{name}: it applies to tables only; an .npz file holds its own arrays under the names features, "
                f"labels, ids, unit, weight and groups_NAME. Leave it out."
                for name in given
            )
        return read_npz(path)
    if is_table(path):
        if label is None:
            raise DataError(_no_label(path))
        return read_table(path, **given)
    raise DataError(_unknown(source, path))


def _no_label(path: Path) -> str:
    from locard.data.files import read_frame

    frame, _ = read_frame(path)
    columns = nearest("", frame.columns)
    return f"data.label: the column with the class of each record is needed, found none named. {columns}"


def _unknown(source: str, path: Path) -> str:
    beside = [p.name for p in sorted(path.parent.iterdir()) if p.name.endswith(ENDINGS)] if path.parent.is_dir() else []
    what = "a file with another ending" if path.is_file() else "neither"
    return (
        f"data.source: a named public set, the path of a {', '.join(ENDINGS)} file, or 'module:function' is needed, "
        f"found {source!r}, which is {what}. {nearest(source, [*SETS, *beside])}"
    )
