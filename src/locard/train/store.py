"""``Store``: one checksummed file a finished job. A damaged file is named, set aside and made again."""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from locard.errors import RunStopped
from locard.files import cannot_write, make_folder, remove, write_file
from locard.train.object_store import ObjectStore
from locard.train.packing import fits, pack, whole
from locard.types import Logits

SUFFIX = ".safetensors"
FETCHED = 4  # files fetched from an object store at once
ABANDONED = 86_400.0  # seconds after which half a file in a shared folder is nobody's


class DamagedFile(RunStopped):
    """A stored file that is gone, or whose content is not what was written: the next run makes it again."""


class Store:
    """A folder of ``<key>.safetensors``, each whole or not there.

    - written under a temporary name and renamed: a crash never leaves half a file under a final name
    - every file carries a checksum of all that is in it, verified once by each process that reads it
    - a damaged file is set aside under another name, never deleted and never read
    - with ``far``, files are put there, and fetched into the folder when they are first read

    Args:
        folder: where files are read, and without ``far`` written.
        far: an object store that all machines see.
    """

    def __init__(self, folder: Path, far: ObjectStore | None = None) -> None:
        self.folder = folder.absolute()  # workers may stand in another folder
        self.far = far
        self._sound: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Another process reads checksums for itself."""
        return vars(self) | {"_sound": set()}

    @property
    def where(self) -> str:
        """What people call it: the folder, or the object store's address."""
        return str(self.folder) if self.far is None else self.far.url

    def path(self, key: str) -> Path:
        """Where a key's file is, or will be when it has been fetched."""
        return self.folder / _name(key)

    def write(self, key: str, tensors: dict[str, np.ndarray]) -> None:
        """Write one job's tensors.

        Raises:
            RunStopped: the disk is full, or the folder or object store cannot be written.
        """
        if self.far is not None:
            self.far.put(_name(key), pack(tensors))
            return
        make_folder(self.folder)
        write_file(self.path(key), pack(tensors))

    def holds(self, key: str) -> bool:
        """Whether a file is there already, in a folder; an object store is asked that when it is written."""
        return self.far is None and self.path(key).exists()

    def missing(self, keys: Iterable[str]) -> tuple[list[str], list[str]]:
        """Keys without a file, and messages about damaged files, which have been set aside.

        From one listing, headers and sizes: a file that is cut is found, one with a flipped bit is not (``verify``).
        """
        wanted = list(keys)
        here = _sizes(self.folder)
        looked_for = [k for k in wanted if _name(k) in here]
        damaged = [k for k in looked_for if not _looks_whole(self.path(k), here[_name(k)])]
        messages = [_said(self.path(k).name, _set_aside(self.path(k))) for k in damaged]
        found = set(looked_for) - set(damaged)
        if self.far is not None:
            there, unsound = self._far([k for k in wanted if k not in found])
            found |= set(there)
            messages += unsound
        self._sound -= set(wanted) - found
        return [k for k in wanted if k not in found], messages

    def verify(self, keys: Iterable[str]) -> tuple[list[str], list[str]]:
        """The same by reading every file that this process has not read yet, and fetching what is far away.

        Raises:
            RunStopped: a file cannot be fetched, or not set aside.
        """
        wanted = list(keys)
        if self.far is None:
            read = [self._verified(k) for k in wanted]
        else:
            with ThreadPoolExecutor(FETCHED) as pool:
                read = list(pool.map(self._verified, wanted))
        absent = [k for k, (sound, _) in zip(wanted, read, strict=True) if not sound]
        return absent, [m for _, messages in read for m in messages]

    def sound(self, key: str) -> bool:
        """True where the file is there and whole (checksum read).

        Raises:
            DamagedFile: it is there but damaged; it has been set aside.
            RunStopped: it cannot be set aside, or not fetched.
        """
        path = self.path(key)
        if key in self._sound and path.exists():
            return True
        self._sound.discard(key)
        if path.exists():
            if not _whole(path):
                raise DamagedFile(_said(path.name, _set_aside(path)))
        elif self.far is None or not self._fetched(key, self.far):
            return False
        self._sound.add(key)
        return True

    def read(self, key: str, name: str) -> np.ndarray:
        """One tensor of one job; the file's checksum is verified the first time.

        Raises:
            DamagedFile: the file is damaged or gone.
        """
        from safetensors import safe_open

        self._need(key)
        with safe_open(str(self.path(key)), framework="numpy") as f:
            tensor: np.ndarray = f.get_tensor(name)
        return tensor

    def tensors(self, key: str) -> dict[str, np.ndarray]:
        """Everything in one file.

        Raises:
            DamagedFile: as for ``read``.
        """
        return {name: self.read(key, name) for name in self.names(key)}

    def names(self, key: str) -> list[str]:
        """The names of the tensors in one file.

        Raises:
            DamagedFile: as for ``read``.
        """
        from safetensors import safe_open

        self._need(key)
        with safe_open(self.path(key), framework="numpy") as file:
            return list(file.keys())

    def keys(self) -> list[str]:
        """The keys of all files that are there, sorted; whether they are whole is not asked.

        Raises:
            RunStopped: an object store does not answer.
        """
        names = set(_sizes(self.folder)) | (set() if self.far is None else set(self.far.sizes()))
        return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))

    def shape(self, key: str, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header.

        Raises:
            DamagedFile: the file is damaged or gone.
        """
        from safetensors import safe_open

        self._need(key)
        with safe_open(str(self.path(key)), framework="numpy") as f:
            return tuple(f.get_slice(name).get_shape())

    def clean(self, older: float = 0.0) -> None:
        """Remove what crashed writers left. Where others may be writing, only what is ``older`` seconds or more."""
        now = time.time()
        for left in self.folder.glob(".*.part"):
            try:
                if now - left.stat().st_mtime >= older:
                    left.unlink()
            except FileNotFoundError:  # its writer has just renamed it
                continue

    @contextmanager
    def marked(self) -> Iterator[str]:
        """A small file that everybody sees who sees this store, as long as this lasts; its name.

        Raises:
            RunStopped: it cannot be written.
        """
        name = f".seen-{secrets.token_hex(8)}"
        if self.far is not None:
            self.far.put(name, name.encode())
        else:
            write_file(make_folder(self.folder) / name, name.encode())
        try:
            yield name
        finally:
            if self.far is not None:
                self.far.remove(name)
            else:
                remove(self.folder / name)

    def sees(self, mark: str) -> bool:
        """Whether the file that ``marked`` wrote can be read from here."""
        if self.far is not None:
            return self.far.get(mark) == mark.encode()
        try:
            return (self.folder / mark).read_bytes() == mark.encode()
        except OSError:
            return False

    def _verified(self, key: str) -> tuple[bool, list[str]]:
        messages: list[str] = []
        while True:
            try:
                return self.sound(key), messages
            except DamagedFile as damaged:  # set aside; there may be a sound one far away
                messages.append(str(damaged))

    def _fetched(self, key: str, far: ObjectStore) -> bool:
        name = _name(key)
        data = far.get(name)
        if data is None:
            return False
        if not whole(io.BytesIO(data)):
            raise DamagedFile(_said(f"{far.url}/{name}", far.set_aside(name)))
        make_folder(self.folder)
        write_file(self.path(key), data)
        return True

    def _far(self, keys: list[str]) -> tuple[list[str], list[str]]:
        """Keys whose far file looks whole, and messages about those that do not."""
        assert self.far is not None  # asked by the caller
        far, sizes = self.far, self.far.sizes()
        there = [k for k in keys if _name(k) in sizes]
        heads = far.heads([_name(k) for k in there if sizes[_name(k)]])

        def first(name: str, count: int) -> bytes:
            head = heads.get(name, b"")
            return head[:count] if count <= len(head) or sizes[name] <= len(head) else far.get(name, count) or b""

        found, messages = [], []
        for key in there:
            name = _name(key)
            if fits(partial(first, name), sizes[name]):
                found.append(key)
            else:
                messages.append(_said(f"{far.url}/{name}", far.set_aside(name)))
        return found, messages

    def _need(self, key: str) -> None:
        if not self.sound(key):
            raise DamagedFile(
                f"{self.path(key)} is needed, but it is gone. Run the same command again: it will be made again."
            )


class StoreReader:
    """Observations of one part of the records (``logits`` or ``population``), read from the store model by model."""

    def __init__(self, store: Store, keys: list[str], name: str) -> None:
        self._store, self._keys, self._name = store, keys, name
        records, queries, classes = store.shape(keys[0], name)
        self.shape = (len(keys), records, queries, classes)

    def read(self, model: int) -> Logits:
        """``float32[records, queries, classes]`` of one model."""
        return self._store.read(self._keys[model], self._name)


def open_store(own: Path, place: str, base: Path) -> Store:
    """A store that is not the run's own folder: a folder that other machines see too, or an object store.

    Args:
        own: the folder in the run folder, for what is fetched.
        place: ``compute.store``: a path, ``file://...`` or any other URL.
        base: where relative paths start.

    >>> open_store(Path("run/observations"), "memory://run1", Path()).where
    'memory://run1'
    """
    url = urlsplit(place)
    if "://" in place and url.scheme != "file":
        return Store(own, ObjectStore(place.rstrip("/")))
    store = Store(base / Path(unquote(url.path) if url.scheme == "file" else place).expanduser())
    store.clean(older=ABANDONED)
    return store


def _name(key: str) -> str:
    return f"{key}{SUFFIX}"


def _said(name: str, aside: str) -> str:
    return f"{name} is damaged; it was moved to {aside} and will be made again."


def _sizes(folder: Path) -> dict[str, int]:
    """Names and sizes of the files in a folder; nothing where it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return {e.name: e.stat().st_size for e in entries if e.name.endswith(SUFFIX)}
    except FileNotFoundError:
        return {}


def _looks_whole(path: Path, size: int) -> bool:
    try:
        with path.open("rb", buffering=0) as source:
            return fits(lambda count: os.pread(source.fileno(), count, 0), size)
    except OSError:
        return False


def _whole(path: Path) -> bool:
    """Whether the content is what was written; what cannot be read (a bad block, a folder) is not."""
    try:
        with path.open("rb") as source:
            return whole(source)
    except OSError:
        return False


def _set_aside(path: Path) -> str:
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}")).exists():
        number += 1
    try:
        path.replace(aside)
    except FileNotFoundError:  # another run that uses the same store has just done it
        return aside.name
    except OSError as problem:
        raise cannot_write(aside, 0, problem) from problem
    return aside.name
