"""Files of tensors that can be told to be whole: by header and size at a glance, by checksum on reading."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np

HEAD = 16 * 2**10  # bytes at the start of a file that hold nearly every header
BLOCK = 2**20  # bytes read at once
BROKEN = (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def pack(tensors: dict[str, np.ndarray]) -> bytes:
    """Tensors as one safetensors file, with a checksum of all that is in it.

    >>> data = pack({"logits": np.zeros((2, 1, 3), dtype=np.float32)})
    >>> fits(lambda count: data[:count], len(data)), fits(lambda count: data[:count], len(data) - 1)
    (True, False)
    """
    from safetensors.numpy import save

    arrays = {k: np.ascontiguousarray(v) for k, v in sorted(tensors.items())}
    body: bytes = save(arrays)
    (size,) = struct.unpack("<Q", body[:8])
    checksum = _begun(json.loads(body[8 : 8 + size]))
    checksum.update(memoryview(body)[8 + size :])
    data: bytes = save(arrays, metadata={"checksum": checksum.hexdigest()})
    return data


def fits(first: Callable[[int], bytes], size: int) -> bool:
    """Whether a file of this size has a header of ours and as many bytes as it announces; its content is not read.

    Args:
        first: gives the first so many bytes of the file, or all where there are fewer.
        size: bytes of the whole file.
    """
    if size < 8:
        return False
    try:
        (length,) = struct.unpack("<Q", first(8))
        if 8 + length > size:
            return False
        header = json.loads(first(8 + length)[8:])
        header.pop("__metadata__")["checksum"]
        return bool(8 + length + max((t["data_offsets"][1] for t in header.values()), default=0) == size)
    except BROKEN:
        return False


def whole(source: IO[bytes]) -> bool:
    """Whether header and payload are what was written; memory stays at one block, however large the file."""
    try:
        (length,) = struct.unpack("<Q", source.read(8))
        if length > _left(source):
            return False
        header = json.loads(source.read(length))
        claimed = header.pop("__metadata__")["checksum"]
        checksum = _begun(header)
    except BROKEN:
        return False
    while block := source.read(BLOCK):
        checksum.update(block)
    return bool(claimed == checksum.hexdigest())


def _left(source: IO[bytes]) -> int:
    here = source.tell()
    end = source.seek(0, 2)
    source.seek(here)
    return end - here


def _begun(header: dict[str, Any]) -> Any:
    """sha256 of the tensors' names, types, shapes and places; their bytes are to follow."""
    named = json.dumps(header, sort_keys=True).encode()
    return hashlib.sha256(len(named).to_bytes(8, "little") + named)
