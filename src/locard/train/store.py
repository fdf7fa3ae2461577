"""``Store``: one checksummed file a finished job. A damaged file is named, set aside and made again."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from locard.errors import RunStopped
from locard.files import make_folder, write_file
from locard.types import Logits


class DamagedFile(RunStopped):
    """A stored file that is gone, or whose content is not what was written: the next run makes it again."""


class Store:
    """A folder of ``<key>.safetensors``, each whole or not there.

    - written under a temporary name and renamed: a crash never leaves half a file under a final name
    - every file carries a checksum of all that is in it, verified once by each process that reads it
    - a damaged file is set aside under another name, never deleted and never read
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
        make_folder(self.folder)
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
        if not _whole(path):
            aside = self._set_aside(path)
            raise DamagedFile(f"{path.name} is damaged; it was moved to {aside.name} and will be made again.")
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

        self._need(key)
        with safe_open(str(self.path(key)), framework="numpy") as f:
            tensor: np.ndarray = f.get_tensor(name)
        return tensor

    def shape(self, key: str, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header.

        Raises:
            DamagedFile: the file is damaged or gone.
        """
        from safetensors import safe_open

        self._need(key)
        with safe_open(str(self.path(key)), framework="numpy") as f:
            return tuple(f.get_slice(name).get_shape())

    def _need(self, key: str) -> None:
        if not self.sound(key):
            raise DamagedFile(
                f"{self.path(key)} is needed, but it is gone. Run the same command again: it will be made again."
            )

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
    checksum = _checksum(json.loads(body[8 : 8 + size]), body[8 + size :])
    data: bytes = save(arrays, metadata={"checksum": checksum})
    return data


def _whole(path: Path) -> bool:
    """Whether header and payload are what was written."""
    data = path.read_bytes()
    try:
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        claimed = header.pop("__metadata__")["checksum"]
        return bool(claimed == _checksum(header, memoryview(data)[8 + size :]))
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False


def _checksum(header: dict[str, Any], payload: bytes | memoryview) -> str:
    """sha256 of the tensors' names, types, shapes and places, and of their bytes."""
    named = json.dumps(header, sort_keys=True).encode()
    h = hashlib.sha256(len(named).to_bytes(8, "little") + named)
    h.update(payload)
    return h.hexdigest()
