"""From many queries to few that say different things."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage

MOST = 10_000  # queries: their distances take 4 (n (n - 1)) bytes, 400 million for so many
_BLOCK = 512  # rows whose distances are computed at a time


def medoids(answers: Float64[np.ndarray, "queries answers"], count: int) -> Int64[np.ndarray, "chosen"]:
    """Places of at most ``count`` queries, sorted: of each cluster the one nearest to the others on average.

    Hierarchical clustering of cosine distances, average linkage. Of queries that tie, the first.

    Args:
        answers: the references' probabilities for each query, one reference after the other.
        count: how many clusters.

    Source: Long et al. 2018 (arXiv:1802.04889), 4.5. Departs: it does not say which linkage.

    >>> medoids(np.array([[1.0, 0.0], [0.9, 0.1], [1.0, 0.2], [0.0, 1.0]]), 2).tolist()
    [1, 3]
    """
    if len(answers) <= count:
        return np.arange(len(answers), dtype=np.int64)
    unit = answers / np.linalg.norm(answers, axis=1, keepdims=True)
    cluster = fcluster(linkage(_condensed(unit), method="average"), count, criterion="maxclust")
    chosen = []
    for name in np.unique(cluster):
        rows = np.flatnonzero(cluster == name)
        nearness = unit[rows] @ unit[rows].sum(axis=0)
        chosen.append(rows[np.argmax(np.round(nearness, 9))])
    return np.sort(np.array(chosen, dtype=np.int64))


def _condensed(unit: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    """Cosine distances of all pairs, row after row, as scipy wants them."""
    n = len(unit)
    out = np.empty(n * (n - 1) // 2)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(n, start + _BLOCK))
        distance = np.maximum(1.0 - unit[rows] @ unit[start:].T, 0.0)
        for here, i in enumerate(rows):
            first = i * n - i * (i + 1) // 2
            out[first : first + n - i - 1] = distance[here, i - start + 1 :]
    return out
