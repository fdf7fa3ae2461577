"""Near records among hundreds of thousands: a random projection, then cells that are searched a few at a time.

A Gaussian projection to q dimensions keeps the inner product c of two unit vectors up to an error of mean 0 and
standard deviation sqrt((1 + c**2) / q), whatever the number of features: 0.13 to 0.18 for 64 dimensions. Records are
put into about 4 x sqrt(n) cells by their projections, and each query looks into the cells nearest to it. What is found
there is measured again on the features themselves, so that the distances that come back are those of the exact search;
what may be wrong is only that a near record is missed.

Source: Johnson and Lindenstrauss 1984 for the projection; faiss (Douze et al. 2024, arXiv:2401.08281) for the cells.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from locard.errors import MissingExtra
from locard.screen.cosine import Apart, Vectors, blocks, in_threads, pair_cosines
from locard.screen.nearest import Nearest

TRAINED_ON = 64  # records a cell from which the cells are learnt
SMALLEST_CELL = 39  # records a cell on average, below which there are fewer cells
QUERIES = 8192  # at a time


def approximate_nearest(
    queries: Vectors,
    pool: Vectors,
    k: int,
    *,
    apart: Apart | None = None,
    dimensions: int = 64,
    probes: int = 16,
    seed: int,
    workers: int = 1,
) -> Nearest:
    """Up to k near records of the pool for each query, nearest first, with their distances measured in float64.

    - every distance is that of a record of the pool, so the k-th is never below that of the exact search
    - the same seed gives the same answer, whatever the number of workers

    Args:
        queries: what to look for.
        pool: among which records.
        k: how many.
        apart: pairs not looked at.
        dimensions: of the projection; none is done where the features are no more.
        probes: cells to look into.
        seed: of the projection and the cells.
        workers: threads.

    Raises:
        MissingExtra: faiss is not installed.
    """
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(max(1, workers))
    try:
        project = _projection(pool.rows.shape[1], dimensions, seed)
        index = _cells(faiss, _projected(pool, project), seed)
        index.nprobe = min(probes, index.nlist)
        places = np.full((len(queries), k + 1), -1, dtype=np.int64)
        seen = _projected(queries, project)
        for block in blocks(len(queries), QUERIES):
            places[block] = index.search(seen[block], k + 1)[1]
    finally:
        faiss.omp_set_num_threads(before)
    return _measured(queries, pool, places, k, apart, workers)


def _faiss() -> Any:
    try:
        return import_module("faiss")
    except ImportError as missing:
        raise MissingExtra("faiss-cpu", "screen", "screen neighbours with search = 'approximate'") from missing


def _projection(features: int, dimensions: int, seed: int) -> np.ndarray | None:
    if features <= dimensions:
        return None
    rng = np.random.default_rng(seed)
    out: np.ndarray = (rng.standard_normal((features, dimensions)) / np.sqrt(dimensions)).astype(np.float32)
    return out


def _projected(vectors: Vectors, project: np.ndarray | None) -> np.ndarray:
    """``float32[records, dimensions]`` of length 1 (0 for a row of zeros)."""
    out = vectors.unit if project is None else vectors.unit @ project
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.ascontiguousarray(out / np.where(length > 0, length, 1.0), dtype=np.float32)


def _cells(faiss: Any, rows: np.ndarray, seed: int) -> Any:
    """Records put into cells."""
    count = max(1, min(int(4 * np.sqrt(len(rows))), len(rows) // SMALLEST_CELL))
    dimensions = rows.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, count, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed % 2**31
    index.cp.min_points_per_centroid, index.cp.niter = 1, 10
    part = np.random.default_rng(seed).permutation(len(rows))[: TRAINED_ON * count]
    index.train(rows[np.sort(part)])
    index.add(rows)
    return index


def _measured(
    queries: Vectors, pool: Vectors, places: np.ndarray, k: int, apart: Apart | None, workers: int
) -> Nearest:
    """The records found, without those not looked at, ordered by their distance on the features."""
    distance = np.full(places.shape, 2.0)

    def run(rows: slice) -> None:
        found = places[rows] >= 0
        if apart is not None:
            found &= apart.queries[rows][:, None] != apart.pool[np.maximum(places[rows], 0)]
        i, j = np.nonzero(found)
        cosines = pair_cosines(queries, pool, i + rows.start, places[rows][i, j])
        distance[rows][i, j] = np.clip(np.round(1.0 - cosines, 9), 0.0, 2.0)
        places[rows] = np.where(found, places[rows], -1)

    in_threads(run, list(blocks(len(queries), 1024)), workers)
    order = np.lexsort((places, places < 0, distance), axis=1)[:, :k]
    return Nearest(np.take_along_axis(places, order, axis=1), np.take_along_axis(distance, order, axis=1))
