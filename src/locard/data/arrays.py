"""Arrays in .npz files as ``Records``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from locard.check import nearest
from locard.data.files import existing
from locard.data.records import Records
from locard.errors import DataError

_NAMES = {"features": "features", "X": "features", "labels": "labels", "y": "labels"}
_OPTIONAL = ("ids", "unit", "weight")
_GROUP = "groups_"


def read_npz(path: str | Path) -> Records:
    """The records of an .npz file that holds the arrays

    - ``features`` (or ``X``): numbers[records, ...], and ``labels`` (or ``y``): one a record
    - optional: ``ids`` (default: row numbers from 0), ``unit``, ``weight``, ``groups_NAME`` for each group

    Arrays of Python objects are refused: reading those would run code that the file brings.

    Raises:
        DataError: the file is damaged or truncated, an array is missing, unknown or an object array, or the records
            cannot be used.
    """
    path = existing(Path(path))
    arrays = read_arrays(path)
    problems: list[str] = []
    values: dict[str, Any] = {}
    groups, unused = {}, []
    for key, array in arrays.items():
        field = _NAMES.get(key, key if key in _OPTIONAL else None)
        if field in values:
            problems.append(f"{path}: one array of {field} is needed, found it under two names. Remove one.")
        elif field is not None:
            values[field] = array
        elif key.startswith(_GROUP):
            groups[key.removeprefix(_GROUP)] = array
        else:
            unused.append(key)
    for key in unused:
        hint = nearest(key, [*_NAMES, *_OPTIONAL])
        if hint.startswith("Nearest"):
            problems.append(f"{path}: names of known arrays are needed, found {key!r}. {hint}")
    for names in (("features", "X"), ("labels", "y")):
        if names[0] not in values:
            found = ", ".join(arrays) or "nothing"
            problems.append(f"{path}: an array named {' or '.join(names)} is needed, found {found}. Add it.")
    if problems:
        raise DataError(problems)
    notes = [f"not used: the array {key!r}" for key in unused]
    if "ids" not in values:
        values["ids"] = np.arange(len(np.atleast_1d(values["features"])))
        notes.append("no ids were given, so the ids are row numbers, from 0 on")
    try:
        return Records(**values, groups=groups, notes=tuple(notes))
    except DataError as wrong:
        raise DataError(f"{path}: {problem}" for problem in wrong.problems) from wrong


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Raises:
        DataError: the file is damaged, or holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: a whole .npz file is needed, found one that is damaged, cut short or of another kind. "
            f"Write it again with numpy.savez(path, features=..., labels=...)."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            objects = [n for n in archive.namelist() if _holds_objects(archive, n)]
            if objects:
                names = ", ".join(n.removesuffix(".npy") for n in objects)
                raise DataError(
                    f"{path}: arrays of numbers or text are needed, found arrays of Python objects ({names}), which "
                    f"are never read because that would run code from the file. Save them with a plain type, such as "
                    f"numpy.asarray(values, dtype=str)."
                )
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as wrong:
        if isinstance(wrong, DataError):
            raise
        raise DataError(f"{path}: a whole .npz file is needed, but it is damaged ({wrong}). Write it again.") from wrong


def _holds_objects(archive: zipfile.ZipFile, name: str) -> bool:
    from numpy.lib import format as npy

    with archive.open(name) as source:
        version = npy.read_magic(source)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return bool(read(source)[2].hasobject)
