"""The nearest records of a few, and the distances of the most isolated ones of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from locard.screen.cosine import (
    APART,
    COLUMNS,
    ROWS,
    TIE,
    Apart,
    Vectors,
    block_cosines,
    blocks,
    exact_block,
    in_threads,
)

SUBSET = 2048  # records of the pool that a first look compares with
AT_ONCE = 64  # queries whose distances to the whole pool are held in float64
CHUNK = 1024  # records that a second look takes at a time


@dataclass(frozen=True, eq=False)
class Nearest:
    """``places: int64[queries, k]`` in the pool and ``distance: float64[queries, k]``, nearest first.

    Where a query has fewer than k others, -1 and 2 fill up.
    """

    places: Int64[np.ndarray, "queries k"]
    distance: Float64[np.ndarray, "queries k"]


def find_nearest(
    queries: Vectors,
    pool: Vectors,
    k: int,
    *,
    apart: Apart | None = None,
    tie: Float64[np.ndarray, "pool"] | None = None,
    workers: int = 1,
) -> Nearest:
    """The k nearest records of the pool for each query, distances in float64; made for some hundreds of queries.

    Args:
        apart: pairs not looked at.
        tie: one number a record of the pool; of records equally far (``cosine.TIE``) the one with the smaller comes
            first. Default: its place.
        workers: threads.

    >>> x = Vectors.of(np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]))
    >>> find_nearest(x, x, 2).places.tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    out = Nearest(np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), 2.0))
    rank = np.arange(len(pool), dtype=np.float64) if tie is None else tie

    def run(rows: slice) -> None:
        distance = 1.0 - _exact_rows(queries, pool, rows, apart)
        for row, d in zip(range(rows.start, rows.stop), distance, strict=True):
            looked_at = int((d < 3.0).sum())
            wanted = min(k, looked_at)
            if not wanted:
                continue
            limit = np.partition(d, wanted - 1)[wanted - 1]
            close = np.flatnonzero(d <= limit + TIE)
            order = close[np.lexsort((rank[close], np.round(d[close], 9)))][:wanted]
            out.places[row, :wanted] = order
            out.distance[row, :wanted] = np.clip(np.round(d[order], 9), 0.0, 2.0)

    in_threads(run, list(blocks(len(queries), AT_ONCE)), workers)
    return out


def kth_largest_isolation(
    vectors: Vectors,
    k: int,
    m: int,
    *,
    apart: Apart,
    upper: Float64[np.ndarray, "records"] | None = None,
    workers: int = 1,
) -> float:
    """The m-th largest, over all records, of the distance from a record to its k-th nearest other one; exact.

    Most records have near neighbours and cannot be among the m most isolated. Comparing all of them with a part of the
    records bounds their distances from above; only records whose bound is high enough are compared with all.

    Args:
        vectors: the records.
        k: which neighbour, from 1.
        m: which of the records, from 1; at most as many as there are.
        apart: pairs not looked at.
        upper: a bound from above on each record's distance, where one is known.
        workers: threads.

    >>> x = Vectors.of(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]))
    >>> [round(kth_largest_isolation(x, 1, m, apart=Apart(np.arange(4), np.arange(4))), 4) for m in (1, 2)]
    [1.0, 0.9005]
    """
    n = len(vectors)
    if upper is None:
        step = max(1, n // SUBSET)
        part = np.arange(0, n, step)
        upper = _float32_kth(vectors, np.arange(n), part, k, apart, workers) + vectors.error
    order = np.argsort(-upper, kind="stable")
    done, low = 0, np.empty(0)
    while done < n and (len(low) < m or upper[order[done]] >= np.partition(low, len(low) - m)[len(low) - m]):
        rows = order[done : done + max(CHUNK, 2 * m)]
        found = _float32_kth(vectors, rows, np.arange(n), k, apart, workers)
        upper[rows] = np.minimum(upper[rows], found + vectors.error)
        low = np.concatenate([low, found - vectors.error])
        done += len(rows)
    looked_at = order[:done]
    bar = np.partition(low, len(low) - m)[len(low) - m]
    final = looked_at[upper[looked_at] >= bar]
    exact = find_nearest(vectors.at(final), vectors, k, apart=apart.at(final), workers=workers).distance[:, k - 1]
    return float(np.partition(exact, len(exact) - m)[len(exact) - m])


def _exact_rows(queries: Vectors, pool: Vectors, rows: slice, apart: Apart | None) -> np.ndarray:
    """Cosines of some queries with the whole pool, in float64; ``APART`` where not looked at."""
    out = np.empty((rows.stop - rows.start, len(pool)))
    for columns in blocks(len(pool), COLUMNS):
        out[:, columns] = exact_block(queries, pool, rows, columns)
        if apart is not None:
            out[:, columns][apart.queries[rows][:, None] == apart.pool[columns]] = APART
    return out


def _float32_kth(
    vectors: Vectors, rows: np.ndarray, among: np.ndarray, k: int, apart: Apart, workers: int
) -> Float64[np.ndarray, "rows"]:
    """Distance to the k-th nearest record among these, by float32; 2 where there are fewer."""
    queries, pool = vectors.at(rows), vectors if len(among) == len(vectors) else vectors.at(among)
    kept_apart = Apart(apart.queries[rows], apart.pool[among])
    out = np.empty(len(rows))

    def run(part: slice) -> None:
        best = np.full((part.stop - part.start, k), -1.0, dtype=np.float32)
        for columns in blocks(len(pool), COLUMNS):
            cosines = block_cosines(queries, pool, part, columns, kept_apart)
            if k == 1:
                np.maximum(best[:, 0], cosines.max(axis=1), out=best[:, 0])
            else:
                both = np.concatenate([best, cosines], axis=1)
                best = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]
        out[part] = 1.0 - best.min(axis=1).astype(np.float64)

    in_threads(run, list(blocks(len(rows), ROWS)), workers)
    return out
