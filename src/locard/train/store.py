"""``Store``: one checksummed file a finished job. A damaged file is named, set aside and made again."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from locard.files import write_file
from locard.types import Logits


class DamagedFile(Exception):
    """A stored file whose content is not what was written; ``set_aside`` says where it went."""

    def __init__(self, path: Path, set_aside: Path) -> None:
        self.path, self.set_aside = path, set_aside
        super().__init__(f"{path.name} is damaged; it was moved to {set_aside.name} and will be made again.")


class Store:
    """A folder of ``<key>.safetensors``, each whole or not there.

    - written under a temporary name and renamed: a crash never leaves half a file under a final name
    - every file carries a checksum, verified once by each process that reads it
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sound: set[str] = set()

    def path(self, key: str) -> Path:
        """Where a key's file is."""
        return self.folder / f"{key}.safetensors"

    def write(self, key: str, tensors: dict[str, np.ndarray]) -> None:
        """Write one job's tensors.

        Raises:
            RunStopped: the disk is full or the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.path(key), _pack(tensors))

    def sound(self, key: str) -> bool:
        """True where the file is there and whole (checksum read).

        Raises:
            DamagedFile: it is there but damaged; it has been set aside.
        """
        if key in self._sound:
            return True
        path = self.path(key)
        if not path.exists():
            return False
        if not _whole(path.read_bytes()):
            raise DamagedFile(path, self._set_aside(path))
        self._sound.add(key)
        return True

    def missing(self, keys: Iterable[str]) -> tuple[list[str], list[str]]:
        """Keys without a whole file, and messages about damaged ones, which have been set aside."""
        absent, messages = [], []
        for key in keys:
            try:
                if not self.sound(key):
                    absent.append(key)
            except DamagedFile as damaged:
                absent.append(key)
                messages.append(str(damaged))
        return absent, messages

    def read(self, key: str, name: str) -> np.ndarray:
        """One tensor of one job; the file's checksum is verified the first time.

        Raises:
            DamagedFile: the file is damaged or gone.
        """
        from safetensors import safe_open

        path = self.path(key)
        if not self.sound(key):
            raise DamagedFile(path, path)
        with safe_open(str(path), framework="numpy") as f:
            tensor: np.ndarray = f.get_tensor(name)
        return tensor

    def shape(self, key: str, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header alone."""
        with self.path(key).open("rb") as f:
            (size,) = struct.unpack("<Q", f.read(8))
            return tuple(json.loads(f.read(size))[name]["shape"])

    def clean(self) -> None:
        """Remove what crashed writers left; only for the folder's one writer."""
        for left in self.folder.glob(".*.part"):
            left.unlink(missing_ok=True)

    def _set_aside(self, path: Path) -> Path:
        number = 1
        while (aside := path.with_name(f"{path.stem}.damaged-{number}")).exists():
            number += 1
        path.replace(aside)
        return aside


class StoreReader:
    """Observations of one part of the records (``logits`` or ``population``), read from the store model by model."""

    def __init__(self, store: Store, keys: list[str], name: str) -> None:
        self._store, self._keys, self._name = store, keys, name
        records, queries, classes = store.shape(keys[0], name)
        self.shape = (len(keys), records, queries, classes)

    def read(self, model: int) -> Logits:
        """``float32[records, queries, classes]`` of one model."""
        return self._store.read(self._keys[model], self._name)


def _pack(tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    arrays = {k: np.ascontiguousarray(v) for k, v in sorted(tensors.items())}
    body: bytes = save(arrays)
    (size,) = struct.unpack("<Q", body[:8])
    checksum = hashlib.sha256(body[8 + size :]).hexdigest()
    data: bytes = save(arrays, metadata={"checksum": checksum})
    return data


def _whole(data: bytes) -> bool:
    """Whether header and payload are what was written."""
    try:
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        payload = memoryview(data)[8 + size :]
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        claimed = header["__metadata__"]["checksum"]
        return bool(max(ends) == len(payload) and hashlib.sha256(payload).hexdigest() == claimed)
    except (struct.error, ValueError, KeyError, TypeError):
        return False
