"""How far out a number lies among those of the reference records."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def surprises(
    parts: Float64[np.ndarray, "records parts"], reference: Float64[np.ndarray, "players parts"]
) -> Float64[np.ndarray, "records parts"]:
    """-log of the share of reference records that are at least as large, counting one more: 0 for the smallest.

    What matters of a record is how far out it lies, and numbers of different kinds become of one kind. ``reference`` is
    sorted, part by part.

    >>> surprises(np.array([[3.0], [9.0]]), np.array([[1.0], [2.0], [3.0]])).round(4).tolist()
    [[0.6931], [1.3863]]
    """
    n = len(reference)
    below = np.column_stack([np.searchsorted(r, p, side="left") for p, r in zip(parts.T, reference.T, strict=True)])
    out: np.ndarray = -np.log1p(-below / (n + 1.0))
    return out
