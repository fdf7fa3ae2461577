"""How records that tie are put in order: by a number made of the id, which knows nothing of the record."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float64


def tie_breaks(ids: Any) -> Float64[np.ndarray, "records"]:
    """A number in [0, 1) for each id, as good as drawn at random, and the same wherever the record stands.

    >>> tie_breaks(np.array(["a", "b"])).round(4).tolist(), float(tie_breaks(np.array(["b"]))[0].round(4))
    ([0.2538, 0.5174], 0.5174)
    """
    digests = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in np.asarray(ids).tolist())
    return (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64) / 2.0**53
