"""``ObjectStore``: files behind a URL that fsspec knows (``s3://bucket/run1``), each put there in one piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from locard.errors import MissingExtra, RunStopped, SettingsError
from locard.train.packing import HEAD


@dataclass(frozen=True)
class ObjectStore:
    """One folder of an object store.

    - one PUT is one file: no renaming, and no half of a file where the service promises that
    - a file is only put where none is of that name, where the service can be asked that
    - its size and names come from one listing, the beginnings of files from one request each, many at once

    Credentials and endpoints come from where the service's own tools look for them, never from the settings.

    >>> store = ObjectStore("memory://docs")
    >>> store.put("a", b"one")
    >>> store.sizes(), store.get("a"), store.get("b")
    ({'a': 3}, b'one', None)
    """

    url: str

    def sizes(self) -> dict[str, int]:
        """Names of all files, with their bytes.

        Raises:
            RunStopped: the store does not answer.
        """
        with self._explained("listed"):
            files, root = opened(self.url)
            try:
                found = files.ls(root, detail=True)
            except FileNotFoundError:  # nothing was ever put there
                return {}
        return {f["name"].rstrip("/").rsplit("/", 1)[-1]: int(f["size"]) for f in found if f["type"] == "file"}

    def heads(self, names: Sequence[str]) -> dict[str, bytes]:
        """The first ``HEAD`` bytes of each of these files; files that cannot be read are left out."""
        with self._explained("read"):
            files, root = opened(self.url)
            paths = [f"{root}/{name}" for name in names]
            found = files.cat_ranges(paths, 0, HEAD, on_error="return") if paths else []
        return {name: head for name, head in zip(names, found, strict=True) if isinstance(head, bytes)}

    def get(self, name: str, end: int | None = None) -> bytes | None:
        """A file, or its first ``end`` bytes; None where there is no such file.

        Raises:
            RunStopped: the store does not answer.
        """
        with self._explained(f"asked for {name}"):
            files, root = opened(self.url)
            try:
                data: bytes = files.cat_file(f"{root}/{name}", start=None if end is None else 0, end=end)
            except FileNotFoundError:
                return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Write a file in one piece. Where one of that name is there it stays: the same name has the same content.

        Raises:
            RunStopped: it could not be written.
        """
        with self._explained(f"given {name}"):
            files, root = opened(self.url)
            try:
                files.pipe_file(f"{root}/{name}", data, mode="create")
            except FileExistsError:  # somebody else has finished the same job
                return
            except (NotImplementedError, TypeError, ValueError):  # not every service or driver knows this condition
                files.pipe_file(f"{root}/{name}", data)

    def set_aside(self, name: str) -> str:
        """Give a file another name, and return that.

        Raises:
            RunStopped: the store does not answer.
        """
        taken, stem, number = self.sizes(), name.rpartition(".")[0], 1
        while (aside := f"{stem}.damaged-{number}") in taken:
            number += 1
        with self._explained(f"asked to rename {name}"):
            files, root = opened(self.url)
            files.cp_file(f"{root}/{name}", f"{root}/{aside}")
            files.rm_file(f"{root}/{name}")
        return aside

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            RunStopped: the store does not answer.
        """
        with self._explained(f"asked to remove {name}"):
            files, root = opened(self.url)
            try:
                files.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn whatever a service's driver raises into one message."""
        try:
            yield
        except (RunStopped, SettingsError, MissingExtra):
            raise
        except Exception as wrong:  # each service's driver has its own errors, without a base class in common
            raise RunStopped(
                f"compute.store: a store that can be read and written is needed, but {self.url} could not be {what} "
                f"({type(wrong).__name__}: {wrong}). Mend the address or the credentials, and run the same command "
                f"again: everything finished so far is kept."
            ) from wrong


@cache
def opened(url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it. Nothing that it lists is remembered: others write there too.

    Raises:
        MissingExtra: fsspec is not installed.
        SettingsError: no such kind of address, or its driver is not installed.
    """
    try:
        core = import_module("fsspec.core")
    except ImportError as absent:
        raise MissingExtra("fsspec", "s3", f"A store at {url}") from absent
    try:
        files, root = core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as unknown:
        raise SettingsError(
            f"compute.store: an address that fsspec can open is needed, found {url!r} ({unknown}). Install its driver "
            f"(pip install 'locard[s3]' for s3://), or write s3://bucket/folder or the path of a shared folder."
        ) from unknown
    return files, root.rstrip("/")
