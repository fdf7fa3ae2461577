"""Records that stand in two sets that should be apart: a candidate among those that references were trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from locard.data.records import Records
from locard.errors import DataError

_BLOCK = 4096  # rows turned into bytes at a time


def rows_in_both(records: Records, pool: Records) -> Int64[np.ndarray, "found two"]:
    """Places (in ``records``, in ``pool``) of records with the same features and the same label, in order of records.

    - compared by fingerprint of the row: the same number in every feature (missing equals missing, 0 equals -0), in
      the coarser of the two number types (a float32 copy of a float64 row is found)
    - one row of ``pool`` for each record: the first

    Raises:
        DataError: rows of different shapes.

    >>> a = Records(ids=["a", "b"], features=[[1.0, 2.0], [3.0, 4.0]], labels=[0, 1])
    >>> b = Records(ids=[7, 8, 9], features=np.float32([[3, 4], [1, 2], [3, 4]]), labels=[0, 0, 1])
    >>> rows_in_both(a, b).tolist()
    [[0, 1], [1, 2]]
    """
    if records.features.shape[1:] != pool.features.shape[1:]:
        raise DataError(
            f"features: rows of one shape are needed in both sets, found {records.features.shape[1:]} and "
            f"{pool.features.shape[1:]}. Prepare both in the same way."
        )
    kind = _coarser(records.features.dtype, pool.features.dtype)
    known: dict[bytes, list[int]] = {}
    for place, digest in enumerate(row_fingerprints(pool.features, kind)):
        known.setdefault(digest, []).append(place)
    found = []
    for place, digest in enumerate(row_fingerprints(records.features, kind)):
        same = (at for at in known.get(digest, ()) if bool(pool.labels[at] == records.labels[place]))
        first = next(same, None)
        if first is not None:
            found.append((place, first))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _coarser(a: np.dtype[np.generic], b: np.dtype[np.generic]) -> np.dtype[np.generic]:
    floats = [k for k in (a, b) if k.kind == "f"]
    return min(floats, key=lambda k: k.itemsize) if floats else np.result_type(a, b)


def row_fingerprints(features: np.ndarray, kind: np.dtype[np.generic]) -> Iterator[bytes]:
    """16 bytes a row, the same for rows equal as numbers of type ``kind``: missing equals missing, 0 equals -0."""
    for start in range(0, len(features), _BLOCK):
        rows = features[start : start + _BLOCK].reshape(len(features[start : start + _BLOCK]), -1).astype(kind)
        if kind.kind == "f":
            rows = np.where(np.isnan(rows), rows.dtype.type(np.nan), rows + rows.dtype.type(0))
        for row in np.ascontiguousarray(rows):
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
