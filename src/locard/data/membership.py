"""Who was trained on what, where somebody else knows it: ids in text files, or an array of True and False."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from locard.check import Problems
from locard.data.arrays import read_arrays
from locard.data.records import Records
from locard.errors import DataError, SettingsError
from locard.types import MemberMask

ARRAYS = (".npz", ".npy")
_WILD = re.compile(r"[*?\[]")


def read_ids(path: Path) -> list[str]:
    """Ids from a text file, one a line; empty lines are passed over.

    Raises:
        SettingsError: it cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: an id may hold U+2028 and the like
    except (OSError, UnicodeDecodeError) as wrong:
        raise SettingsError(
            f"A text file in UTF-8 with one id a line is needed, but {path} cannot be read ({wrong}). Name another, or "
            f"write it again."
        ) from wrong
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise SettingsError(f"A text file with one id a line is needed, but {path} is empty. Write the ids into it.")
    return ids


def mask_of_ids(records: Records, ids: Sequence[str], where: str) -> Bool[np.ndarray, "records"]:
    """Which records a model was trained on, from their ids (as text).

    Args:
        records: the data.
        ids: of the training records.
        where: the setting that messages name.

    Raises:
        SettingsError: an id that no record has, or a unit on both sides.

    >>> r = Records(ids=[7, 8, 9], features=[[0.0]] * 3, labels=[0, 1, 0])
    >>> mask_of_ids(r, ["9", "7"], "released.members").tolist()
    [True, False, True]
    """
    known = records.ids.astype(str)
    wanted = np.unique(np.asarray(list(ids), dtype=str))
    stray = wanted[~np.isin(wanted, known)]
    if len(stray):
        raise SettingsError(
            f"{where}: ids of the data are needed, but {len(stray)} of {len(wanted)} are unknown "
            f"(first: {str(stray[0])!r}). Check data.id, and that the file has one id a line."
        )
    member = np.isin(known, wanted)
    need_whole_units(member[None], records, where)
    return member


def need_whole_units(member: MemberMask, records: Records, where: str) -> None:
    """Refuse a mask in which some rows of a privacy unit are in a model and others are not.

    Raises:
        SettingsError: with the first such unit.
    """
    first = np.empty(records.n_units, dtype=np.int64)
    first[records.units[::-1]] = np.arange(len(records))[::-1]
    torn = np.zeros(records.n_units, dtype=bool)
    for row in member:  # one model at a time: masks may be large
        torn[records.units[row != row[first][records.units]]] = True
    if torn.any():
        raise SettingsError(
            f"{where}: all rows of a unit must be on one side, but {int(torn.sum())} units are on both "
            f"(first: {records.unit_names[torn].tolist()[0]!r}). List all their rows or none."
        )


def find_files(patterns: Sequence[str], base: Path, where: str) -> list[Path]:
    """The files that a setting names: those of a pattern sorted by name, those of a list in its order.

    Args:
        patterns: paths from ``base``, each of which may hold ``*``, ``?`` and ``**``.
        base: the settings file's folder.
        where: the setting that messages name.

    Raises:
        SettingsError: every path that is no file, and every pattern without any.
    """
    problems, found = Problems(), list[Path]()
    for pattern in patterns:
        if _WILD.search(pattern) and not (base / pattern).is_file():
            several = sorted(p for p in map(Path, glob(str(base / pattern), recursive=True)) if p.is_file())
            if not several:
                problems.add(f"{where}: files are needed, but {pattern!r} matches none in {base.resolve()}.")
            found += [p.absolute() for p in several]
        elif (base / pattern).is_file():
            found.append((base / pattern).absolute())
        else:
            problems.add(f"{where}: files are needed, but {base / pattern} does not exist.")
    problems.settle()
    return found


def read_membership(
    patterns: Sequence[str], checkpoints: Sequence[Path], records: Records, *, base: Path
) -> tuple[MemberMask, tuple[str, ...]]:
    """``bool[checkpoints, records]`` from ``references.members``, and sentences about how it was matched.

    - one .npy or .npz file: row k is the k-th checkpoint; columns are the records in the order of the data, or of the
      array ``ids`` beside ``member`` in the .npz
    - else one text file of ids a checkpoint, matched in the order of their names

    Raises:
        SettingsError: every problem: no such files, another number of them, unknown ids, another shape.
    """
    where = "references.members"
    files = find_files(patterns, base, where)
    arrays = [f for f in files if f.suffix.lower() in ARRAYS]
    if arrays and len(files) > 1:
        raise SettingsError(
            f"{where}: one array, or one text file of ids a checkpoint, is needed, found {len(files)} files with "
            f"arrays among them. Name one of the two."
        )
    if arrays:
        _need_plain_order(checkpoints)
        return _from_array(files[0], len(checkpoints), records), ()
    if len(files) != len(checkpoints):
        raise SettingsError(
            f"{where}: one file of ids for each of {len(checkpoints)} checkpoints is needed, found {len(files)}. They "
            f"are matched in the order of their names."
        )
    problems, rows = Problems(), []
    for file in files:
        with problems.gather():
            rows.append(mask_of_ids(records, read_ids(file), f"{where}: {file.name}"))
    problems.settle()
    return np.stack(rows), _how_matched(checkpoints, files)


def _from_array(file: Path, models: int, records: Records) -> MemberMask:
    where = f"references.members: {file.name}"
    try:
        found = {"member": _one_array(file)} if file.suffix.lower() == ".npy" else read_arrays(file)
    except DataError as wrong:
        raise SettingsError(f"{where}: {problem}" for problem in wrong.problems) from wrong
    if "member" not in found and len(found) == 1:
        found = {"member": next(iter(found.values()))}
    if "member" not in found:
        raise SettingsError(
            f"{where}: an array named member [checkpoints, records] is needed, found {', '.join(found) or 'nothing'}. "
            f"Save it with numpy.savez(path, member=...)."
        )
    ids = found.get("ids")
    columns = len(records) if ids is None else len(ids)
    member = true_or_false(found["member"], where)
    if member.shape != (models, columns):
        raise SettingsError(
            f"{where}: member of shape {(models, columns)} is needed (checkpoints, "
            f"{'records of the data' if ids is None else 'ids'}), found {member.shape}. Check what was saved."
        )
    if ids is None:
        return member
    return np.stack([mask_of_ids(records, ids[row].astype(str).tolist(), where) for row in member])


def _one_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as wrong:
        raise DataError(
            f"{path}: a whole .npy file of numbers or text is needed, but it cannot be read ({wrong}). "
            f"Write it again with numpy.save."
        ) from wrong
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an .npy file of one array is needed, but it holds several. Call it .npz.")
    return array


def true_or_false(mask: np.ndarray, where: str) -> MemberMask:
    """A table of True and False, also where it was saved as ones and zeros.

    Raises:
        DataError: it is something else.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise DataError(f"{where}: a mask [models, records] is needed, found shape {mask.shape}. Check what was saved.")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise DataError(
            f"{where}: a mask of True and False (or 1 and 0) is needed, found {mask.dtype} with other values. Save a "
            f"bool array."
        )
    return mask.astype(bool)


def _need_plain_order(checkpoints: Sequence[Path]) -> None:
    """Refuse names whose order as text is not their order as numbers: nobody can tell which of them the rows follow."""
    texts = [p.as_posix() for p in checkpoints]
    numbers = sorted(texts, key=lambda t: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", t)])
    if texts == sorted(texts) != numbers:
        first = next(k for k, (a, b) in enumerate(zip(texts, numbers, strict=True)) if a != b)
        raise SettingsError(
            f"references.checkpoints: file names in the order of the array's rows are needed, but as text "
            f"{Path(texts[first]).name} comes before {Path(numbers[first]).name}. Write numbers with leading zeros, "
            f"give one file of ids a checkpoint, or list the files in the order of the rows."
        )


def _how_matched(checkpoints: Sequence[Path], members: Sequence[Path]) -> tuple[str, ...]:
    """A sentence where neither the names nor the folders of the two say that they belong together."""
    pairs = list(zip(checkpoints, members, strict=True))
    by_name = all(a.stem == b.stem for a, b in pairs)
    folders = {a.parent.name for a in checkpoints}
    by_folder = len(folders) == len(pairs) and all(a.parent.name == b.parent.name for a, b in pairs)
    if by_name or by_folder:
        return ()
    first = next(pair for pair in pairs if pair[0].stem != pair[1].stem)
    return (
        f"Checkpoints and files of members were matched by their order alone, because their names differ (first: "
        f"{first[0].name} with {first[1].name}): if they do not belong together, nothing here means anything.",
    )
