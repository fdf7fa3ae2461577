"""Cosine distances between many records, in blocks: exact counts in bounded memory.

The distance of two feature rows is 1 - cosine. A row of zeros says nothing: its distance to another such row is 0, to
any other row 1.

Products run in float32, where a cosine of p features is off by at most (p + 8) / 2**24 whatever the order of the sum
(Higham 2002, section 3.1: the dot product of unit vectors errs by p units of rounding, rounding the vectors adds two).
Pairs that lie so close to a limit that this matters are computed again in float64. What comes back is therefore what
float64 says, whatever the blocks, the threads and the order of the records. Distances that differ by less than ``TIE``
count as equal.

Source: the distance is that of Long et al. 2018 (arXiv:1802.04889), section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

TIE = 1e-9  # distances that differ by less count as equal
FEW = 32  # with more neighbours than this, a record's nearest other record is not looked for
ROWS, COLUMNS = 1024, 4096  # of a block: 16 MB of float32 cosines for each thread
PAIRS = 4096  # pairs computed again at a time
DENSE = 0.02  # share of a block from which computing it again as a whole costs less than pair by pair
APART = np.float32(-3.0)  # stands for the cosine of a pair that must not be looked at


@dataclass(frozen=True, eq=False)
class Vectors:
    """Feature rows, as given and scaled to length 1.

    ``rows: float32[records, features]``; ``norms: float64[records]``, 0 where a row is all zeros;
    ``unit: float32[records, features]``.
    """

    rows: Float32[np.ndarray, "records features"]
    norms: Float64[np.ndarray, "records"]
    unit: Float32[np.ndarray, "records features"]

    @classmethod
    def of(cls, rows: np.ndarray) -> Vectors:
        """From ``float[records, features]``.

        >>> Vectors.of(np.array([[3.0, 4.0], [0.0, 0.0]])).norms.tolist()
        [5.0, 0.0]
        """
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        norms, unit = np.empty(len(rows)), np.empty_like(rows)
        for block in blocks(len(rows), COLUMNS):
            wide = rows[block].astype(np.float64)
            norms[block] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            unit[block] = wide / np.where(norms[block] > 0, norms[block], 1.0)[:, None]
        return cls(rows, norms, unit)

    def at(self, places: np.ndarray) -> Vectors:
        """The rows at these places."""
        return Vectors(self.rows[places], self.norms[places], self.unit[places])

    def __len__(self) -> int:
        return len(self.norms)

    @property
    def error(self) -> float:
        """Largest error of a float32 cosine, thresholds in float32 included."""
        return (int(self.rows.shape[1]) + 8) * 2.0**-24


@dataclass(frozen=True, eq=False)
class Apart:
    """Which pairs are not looked at: those of equal numbers (a record with itself, two rows of one unit)."""

    queries: Int64[np.ndarray, "queries"]
    pool: Int64[np.ndarray, "pool"]

    def at(self, places: np.ndarray) -> Apart:
        """The same for the queries at these places."""
        return Apart(self.queries[places], self.pool)


@dataclass(frozen=True, eq=False)
class Within:
    """``count: int64[queries]``, records of the pool nearer than delta, and the distance of the nearest other one.

    ``beyond: float64[queries]`` is that distance: 2 where there is none, NaN where more than ``FEW`` are nearer.
    """

    count: Int64[np.ndarray, "queries"]
    beyond: Float64[np.ndarray, "queries"]


def count_within(
    queries: Vectors, pool: Vectors, delta: float, *, apart: Apart | None = None, workers: int = 1
) -> Within:
    """How many records of the pool are nearer than ``delta`` to each query, and how near the next one is.

    - the same as comparing every pair in float64, ties (``TIE``) at delta not counted
    - memory beside the vectors: about 50 MB a worker
    - neither blocks, workers nor the order of the records change anything

    >>> x = Vectors.of(np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]))
    >>> found = count_within(x, x, 0.5)
    >>> found.count.tolist(), found.beyond.round(4).tolist()
    ([2, 2, 1], [2.0, 1.7071, 1.7071])
    """
    out = Within(np.zeros(len(queries), dtype=np.int64), np.full(len(queries), np.nan))
    tally = _Tally(queries, pool, apart, delta)

    def run(rows: slice) -> None:
        out.count[rows], out.beyond[rows] = tally.rows(rows)

    in_threads(run, list(blocks(len(queries), ROWS)), workers)
    return out


def nearest_distance(queries: Vectors, pool: Vectors, *, apart: Apart | None = None, workers: int = 1) -> np.ndarray:
    """``float64[queries]``: the distance to the nearest record of the pool; 2 where there is none.

    The same as comparing every pair in float64; float32 only says which pairs may be the nearest.
    """
    out = np.full(len(queries), 2.0)

    def run(rows: slice) -> None:
        best = np.full(rows.stop - rows.start, -1.0)
        seen, found_any = np.full(len(best), APART), np.zeros(len(best), dtype=bool)
        for columns in blocks(len(pool), COLUMNS):
            cosines = block_cosines(queries, pool, rows, columns, apart)
            top = cosines.max(axis=1)
            np.maximum(seen, top, out=seen)
            limit = np.maximum(seen - np.float32(2 * queries.error), np.float32(-2.0))
            open_rows = np.flatnonzero((top >= limit) & (best < 1.0 - TIE / 2))
            i, j = np.nonzero(cosines[open_rows] >= limit[open_rows, None])
            exact = _exact_pairs(queries, pool, open_rows + rows.start, columns, (i, j))
            np.maximum.at(best, open_rows[i], exact)
            found_any[open_rows[i]] = True
        out[rows] = np.where(found_any, np.maximum(np.round(1.0 - best, 9), 0.0), 2.0)

    in_threads(run, list(blocks(len(queries), ROWS)), workers)
    return out


class _Tally:
    """Counts for blocks of queries against the whole pool."""

    def __init__(self, queries: Vectors, pool: Vectors, apart: Apart | None, delta: float) -> None:
        self.queries, self.pool, self.apart = queries, pool, apart
        self.bar = 1.0 - delta + TIE  # a neighbour's cosine is above it
        self.error = queries.error

    def rows(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        n = rows.stop - rows.start
        count, best, seen = np.zeros(n, dtype=np.int64), np.full(n, -1.0), np.full(n, APART)
        found_any = np.zeros(n, dtype=bool)
        for columns in blocks(len(self.pool), COLUMNS):
            cosines = block_cosines(self.queries, self.pool, rows, columns, self.apart)
            near = self._neighbours(cosines, rows, columns, best, found_any)
            count += np.count_nonzero(near, axis=1)
            alive = np.flatnonzero(count <= FEW)
            if len(alive):
                left = np.where(near[alive], APART, cosines[alive])
                self._nearest(left, alive, rows.start, columns.start, (best, seen, found_any))
        beyond = np.where(found_any, np.maximum(np.round(1.0 - best, 9), 0.0), 2.0)
        return count, np.where(count > FEW, np.nan, beyond)

    def _neighbours(
        self, cosines: np.ndarray, rows: slice, columns: slice, best: np.ndarray, found_any: np.ndarray
    ) -> np.ndarray:
        """``bool[rows, columns]``; pairs that float32 cannot decide are decided, and put out of ``cosines``."""
        near: np.ndarray = cosines > self.bar + self.error
        open_pairs = cosines > self.bar - self.error
        open_pairs ^= near
        if not open_pairs.any():
            return near
        i, j = np.nonzero(open_pairs)
        if len(i) > DENSE * cosines.size:
            exact = exact_block(self.queries, self.pool, rows, columns)[i, j]
        else:
            exact = pair_cosines(self.queries, self.pool, i + rows.start, j + columns.start)
        inside = exact > self.bar
        near[i[inside], j[inside]] = True
        np.maximum.at(best, i[~inside], exact[~inside])
        found_any[i[~inside]] = True
        cosines[i, j] = APART
        return near

    def _nearest(
        self,
        left: np.ndarray,
        alive: np.ndarray,
        row: int,
        column: int,
        state: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """Raise the largest cosine of pairs that are no neighbours: candidates by float32, their cosine by float64."""
        best, seen, found_any = state
        seen[alive] = np.maximum(seen[alive], left.max(axis=1))
        limit = np.maximum(seen[alive] - np.float32(2 * self.error), np.float32(-2.0))
        i, j = np.nonzero(left >= limit[:, None])
        columns = slice(column, column + left.shape[1])
        exact = _exact_pairs(self.queries, self.pool, alive + row, columns, (i, j))
        np.maximum.at(best, alive[i], exact)
        found_any[alive[i]] = True


def block_cosines(queries: Vectors, pool: Vectors, rows: slice, columns: slice, apart: Apart | None) -> np.ndarray:
    """``float32[rows, columns]``, off by at most ``queries.error``; ``APART`` for pairs not looked at."""
    out: np.ndarray = queries.unit[rows] @ pool.unit[columns].T
    _zeros_agree(out, queries.norms[rows], pool.norms[columns])
    if apart is not None:
        _take_out(out, apart.queries[rows], apart.pool[columns])
    return out


def exact_block(
    queries: Vectors, pool: Vectors, rows: slice | np.ndarray, columns: slice
) -> Float64[np.ndarray, "rows columns"]:
    """The same in float64, without ``APART``."""
    out: np.ndarray = queries.rows[rows].astype(np.float64) @ pool.rows[columns].astype(np.float64).T
    a, b = queries.norms[rows], pool.norms[columns]
    out /= np.where(a > 0, a, 1.0)[:, None]
    out /= np.where(b > 0, b, 1.0)
    _zeros_agree(out, a, b)
    return out


def _exact_pairs(
    queries: Vectors, pool: Vectors, rows: np.ndarray, columns: slice, pairs: tuple[np.ndarray, np.ndarray]
) -> Float64[np.ndarray, "pairs"]:
    """Cosines of some pairs of a block in float64: as a whole where they are many."""
    i, j = pairs
    if len(i) > DENSE * len(rows) * (columns.stop - columns.start):
        out: np.ndarray = exact_block(queries, pool, rows, columns)[i, j]
        return out
    return pair_cosines(queries, pool, rows[i], j + columns.start)


def pair_cosines(queries: Vectors, pool: Vectors, i: np.ndarray, j: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    """Cosines of query i with record j of the pool, pair by pair, in float64."""
    out = np.empty(len(i))
    for block in blocks(len(i), PAIRS):
        a, b = queries.rows[i[block]].astype(np.float64), pool.rows[j[block]].astype(np.float64)
        length = queries.norms[i[block]] * pool.norms[j[block]]
        silent = (queries.norms[i[block]] == 0) & (pool.norms[j[block]] == 0)
        out[block] = np.where(silent, 1.0, np.einsum("ij,ij->i", a, b) / np.where(length > 0, length, 1.0))
    return out


def _zeros_agree(cosines: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Two rows that say nothing say the same."""
    if (a == 0).any() and (b == 0).any():
        cosines[np.ix_(np.flatnonzero(a == 0), np.flatnonzero(b == 0))] = 1.0


def _take_out(cosines: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Pairs of equal numbers become ``APART``."""
    order = np.argsort(b, kind="stable")
    sorted_b = b[order]
    low, high = np.searchsorted(sorted_b, a, side="left"), np.searchsorted(sorted_b, a, side="right")
    for row in np.flatnonzero(high > low):
        cosines[row, order[low[row] : high[row]]] = APART


def in_threads(run: Callable[[slice], None], parts: list[slice], workers: int) -> None:
    """``run`` for every part, on this many threads with one BLAS thread each: the parts share the cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        if workers <= 1 or len(parts) <= 1:
            for part in parts:
                run(part)
            return
        with ThreadPoolExecutor(workers) as threads:
            for done in [threads.submit(run, part) for part in parts]:
                done.result()


def blocks(n: int, size: int) -> Iterator[slice]:
    """0..n in slices of at most ``size``."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
