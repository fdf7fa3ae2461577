"""Records that say the same: exact copies and near copies, and how often they end up on both sides of a membership.

A twin on the other side makes the membership of a record ambiguous: a model that was trained on the twin behaves as if
it had seen the record. Scores then look like leakage of a non-member, or hide that of a member.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from locard.data.records import Records
from locard.errors import DataError

DEVIATIONS = 0.1  # table rows: the one column that differs does so by at most this many standard deviations
FRACTION = 0.1  # arrays: at most this share of the median distance to the nearest neighbour
FEWEST_COLUMNS = 4  # rows that agree in fewer columns than three agree by chance
PARTNERS = 64  # partners looked at for one record (and one column), which bounds time and memory
_SAMPLE = 512  # records whose nearest neighbour is looked up for the median
_DIRECTIONS = 10  # of the projection that finds candidates
_BLOCK = 4096  # records at a time
_HELD = 1 << 21  # links kept before they are summed up
_HASH_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # splitmix64


@dataclass(frozen=True, eq=False, kw_only=True)
class Duplicates:
    """Copies among the audited records. Only records of *different* units count, as one unit moves as a whole.

    Attributes:
        exact_groups: sets of two or more records with identical features.
        exact_records: records in them.
        near_pairs: pairs of feature rows that differ, but by the rule nearly agree.
        near_records: records with such a nearly equal partner.
        conflicting_labels: records in exact groups that carry more than one label.
        same_unit_groups: groups of identical records within one unit, which are no surprise.
        same_unit_pairs: pairs of nearly equal rows within one unit.
        rule: what "near" means here, in a sentence.
        group: one number a record: records linked by copies, near or exact, share one; -1 where there is none.
    """

    exact_groups: int
    exact_records: int
    near_pairs: int
    near_records: int
    conflicting_labels: int
    same_unit_groups: int
    same_unit_pairs: int
    rule: str
    group: Int64[np.ndarray, "records"]


def near_duplicates(records: Records, audited: np.ndarray | None = None) -> Duplicates:
    """Exact and near copies among the audited records, judged by their features only.

    - exact: the same number in every feature (missing equals missing)
    - near, tables with categories or missing values (of at least 4 columns): equal in every column but one, and in
      that one numbers that differ by at most a tenth of the column's standard deviation
    - near, other arrays: a Euclidean distance of at most a tenth of the median distance from a row to its nearest
      other row. Columns are first divided by their standard deviation, except in pictures (8-bit integers, or more
      than two axes), where all numbers share one scale. Under a uniform density in d dimensions a share of
      0.7 x 0.1**d of all records has such a partner by chance
    - of a dense crowd at most 64 partners a record (and column) are looked at: ``near_pairs`` is then a lower bound

    The order of the records changes nothing but the numbering of the groups.

    Args:
        records: all records.
        audited: places of the audited ones. Default: all.

    >>> x = np.repeat(np.random.default_rng(7).normal(size=(50, 3)), [2] + [1] * 49, axis=0)
    >>> found = near_duplicates(Records(ids=np.arange(51), features=x, labels=[0, 1, 0] * 17))
    >>> found.exact_groups, found.exact_records, found.conflicting_labels, found.group[:3].tolist()
    (1, 2, 2, [0, 0, -1])
    """
    places = np.arange(len(records)) if audited is None else np.asarray(audited, dtype=np.int64)
    features = records.features[places].reshape(len(places), -1)
    unit = records.units[places]
    row_of, rows = _distinct(features)
    owner = _owners(row_of, unit, len(rows))
    many = np.bincount(row_of, minlength=len(rows)) > 1
    exact = many & (owner < 0)
    table = any(c.kind == "category" for c in records.columns or ()) or bool(np.isnan(features).any())
    if table:
        numbers = [j for j, c in enumerate(records.columns or ()) if c.kind == "number"]
        numbers = numbers if records.columns else list(range(features.shape[1]))
        rule, pairs = _RULE_TABLE, _table_pairs(_canonical(features[rows]), numbers)
    else:
        scaled, rule = _scaled(features[rows], pictures=records.features.ndim > 2 or features.dtype.itemsize == 1)
        pairs = _array_pairs(scaled)
    links = _Links(len(rows), owner)
    for a, b in pairs:
        links.add(a, b)
    return Duplicates(
        exact_groups=int(exact.sum()),
        exact_records=int(exact[row_of].sum()),
        near_pairs=links.across,
        near_records=int((links.near[row_of]).sum()),
        conflicting_labels=_conflicting(row_of, records.y[places], exact),
        same_unit_groups=int((many & ~exact).sum()),
        same_unit_pairs=links.within,
        rule=rule,
        group=_numbered(links.components(), row_of, exact | links.near),
    )


def across(duplicates: Duplicates, member: Bool[np.ndarray, "models records"]) -> dict[str, float]:
    """How often a record's copy is on the other side, averaged over models.

    Args:
        duplicates: of the audited records.
        member: bool[models, records], for the same records in the same order.

    Returns:
        ``members_with_twin_outside``: members of which a copy (exact or near, linked) is a non-member;
        ``non_members_with_twin_inside``: the reverse; both as records a model. ``share``: both together as a share of
        all records. ``worst_share``: the largest share in one model.

    Raises:
        DataError: the mask is of other records.
    """
    mask = np.atleast_2d(np.asarray(member, dtype=bool))
    n = len(duplicates.group)
    if mask.shape[1] != n:
        raise DataError(
            f"member: one column for each of {n:,} records is needed, found {mask.shape[1]:,}. Select them."
        )
    linked = np.flatnonzero(duplicates.group >= 0)
    group = duplicates.group[linked]
    counts = np.zeros((len(mask), 2))
    for i, row in enumerate(mask[:, linked]):
        inside = np.bincount(group, weights=row, minlength=1) > 0
        outside = np.bincount(group, weights=~row, minlength=1) > 0
        counts[i] = (row & outside[group]).sum(), (~row & inside[group]).sum()
    shares = counts.sum(axis=1) / max(n, 1)
    return {
        "members_with_twin_outside": float(counts[:, 0].mean()) if len(mask) else 0.0,
        "non_members_with_twin_inside": float(counts[:, 1].mean()) if len(mask) else 0.0,
        "share": float(shares.mean()) if len(mask) else 0.0,
        "worst_share": float(shares.max()) if len(mask) else 0.0,
    }


_RULE_TABLE = (
    f"equal in all columns but one, and in that one numbers that differ by at most {DEVIATIONS:g} of the column's "
    f"standard deviation (tables of {FEWEST_COLUMNS} columns or more; at most {PARTNERS} partners a record and column)"
)


def _canonical(rows: np.ndarray) -> np.ndarray:
    """One bit pattern for each value: 0 for -0, one NaN for all."""
    if rows.dtype.kind != "f":
        return np.ascontiguousarray(rows)
    out: np.ndarray = np.where(np.isnan(rows), rows.dtype.type(np.nan), rows + rows.dtype.type(0))
    return np.ascontiguousarray(out)


def _distinct(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The feature row of each record as a number, and a record for each row; numbers follow the rows' hashes."""
    digests = []
    for start in range(0, len(features), _BLOCK):
        block = _canonical(features[start : start + _BLOCK])
        digests += (
            [hashlib.blake2b(row, digest_size=16).digest() for row in block]
            if block.size
            else [b"\0" * 16] * len(block)
        )
    keys = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[order] = np.cumsum(new) - 1
    return row_of, order[new]


def _owners(row_of: np.ndarray, unit: np.ndarray, rows: int) -> np.ndarray:
    """The unit that a feature row belongs to; -1 where records of several units have it."""
    owner = np.empty(rows, dtype=np.int64)
    owner[row_of] = unit
    shared = np.zeros(rows, dtype=bool)
    shared[row_of[owner[row_of] != unit]] = True
    owner[shared] = -1
    return owner


def _conflicting(row_of: np.ndarray, y: np.ndarray, exact: np.ndarray) -> int:
    low = np.full(len(exact), np.iinfo(np.int64).max)
    high = np.full(len(exact), -1, dtype=np.int64)
    np.minimum.at(low, row_of, y)
    np.maximum.at(high, row_of, y)
    return int((exact & (low < high))[row_of].sum())


class _Links:
    """Counts pairs of near rows and keeps what is linked to what, in bounded memory."""

    def __init__(self, rows: int, owner: np.ndarray) -> None:
        self.owner, self.near = owner, np.zeros(rows, dtype=bool)
        self.across = self.within = 0
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._size = 0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Take pairs of rows; a pair is counted with the smaller number first, and may come the other way round too."""
        same = (self.owner[a] == self.owner[b]) & (self.owner[a] >= 0)
        self.within += int((same & (a < b)).sum())
        a, b = a[~same], b[~same]
        self.across += int((a < b).sum())
        self.near[a] = True
        self.near[b] = True
        self._held.append((a, b))
        self._size += len(a)
        if self._size > _HELD:
            labels = self.components()
            first = np.full(int(labels.max()) + 1, -1)
            first[labels[::-1]] = np.arange(len(labels))[::-1]
            linked = np.flatnonzero(first[labels] != np.arange(len(labels)))
            self._held, self._size = [(linked, first[labels[linked]])], len(linked)

    def components(self) -> np.ndarray:
        """A number for each row; linked rows share one."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        rows = len(self.near)
        a = np.concatenate([np.empty(0, dtype=np.int64), *(a for a, _ in self._held)])
        b = np.concatenate([np.empty(0, dtype=np.int64), *(b for _, b in self._held)])
        graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(rows, rows)).tocsr()
        labels: np.ndarray = connected_components(graph, directed=False)[1]
        return labels.astype(np.int64)


def _numbered(component: np.ndarray, row_of: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """Groups numbered in the order of their first record; -1 for records that are like no other."""
    group = np.where(linked[row_of], component[row_of], -1)
    names, first, code = np.unique(group, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(np.where(names < 0, -1, first)))
    numbers: np.ndarray = rank[code] - int((names < 0).any())
    return numbers.astype(np.int64)


def _table_pairs(rows: np.ndarray, numbers: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows equal in all columns but one. Sorted by a hash of the other columns, such rows stand next to each other; the
    hash only finds candidates, each is then compared."""
    if rows.shape[1] < FEWEST_COLUMNS:
        return
    bits = rows.view(np.uint64) if rows.dtype == np.float64 else rows.astype(np.float64).view(np.uint64)
    total = np.zeros(len(rows), dtype=np.uint64)
    for j in range(rows.shape[1]):
        total += _hashed(bits[:, j], j)
    for j in numbers:
        rest = total - _hashed(bits[:, j], j)
        values = rows[:, j].astype(np.float64)
        tolerance = DEVIATIONS * float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
        order = np.lexsort((values, rest))
        at = np.arange(len(order) - 1)
        for step in range(1, PARTNERS + 1):
            at = at[at + step < len(order)]
            a, b = order[at], order[at + step]
            fits = (rest[a] == rest[b]) & (values[b] - values[a] <= tolerance)
            at, a, b = at[fits], a[fits], b[fits]
            if not at.size:
                break
            for start in range(0, len(a), _BLOCK):
                p, q = a[start : start + _BLOCK], b[start : start + _BLOCK]
                alone = (bits[p] != bits[q]).sum(axis=1) == 1
                yield np.minimum(p, q)[alone], np.maximum(p, q)[alone]


def _hashed(column: np.ndarray, salt: int) -> np.ndarray:
    """A 64-bit hash of each bit pattern, different for each column."""
    x = column + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in _HASH_STEPS:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _scaled(rows: np.ndarray, *, pictures: bool) -> tuple[np.ndarray, str]:
    measure = "in the units of the features"
    x = rows.astype(np.float64 if rows.dtype.itemsize > 4 else np.float32)
    if not pictures and x.size:
        spread = x.std(axis=0, dtype=np.float64)
        x, measure = x[:, spread > 0] / spread[spread > 0], "with every column divided by its standard deviation"
    return x, (
        f"a Euclidean distance, {measure}, of at most {FRACTION:g} of the median distance to the nearest different "
        f"record (at most {PARTNERS} partners a record)"
    )


def _array_pairs(x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows closer than the radius, each pair from both sides.

    A projection on orthonormal directions never lengthens a distance, so a search in few dimensions finds every pair;
    each is then measured in all of them.
    """
    from scipy.spatial import KDTree

    if len(x) < 3 or not x.shape[1]:
        return
    radius = FRACTION * _median_nearest(x)
    sample = x[:: max(1, len(x) // _SAMPLE)]
    centred = (sample - sample.mean(axis=0)).astype(np.float64)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:_DIRECTIONS]
    projected = x.astype(np.float64, copy=False) @ directions.T
    reach = radius * (1 + 1e-6) + 1e-12 * float(np.abs(projected).max())  # room for rounding
    tree = KDTree(projected)
    for start in range(0, len(x), _BLOCK):
        block = projected[start : start + _BLOCK]
        _, found = tree.query(block, k=min(PARTNERS + 1, len(x)), distance_upper_bound=reach)
        here, column = np.nonzero(found < len(x))
        a, b = here + start, found[here, column]
        a, b = a[a != b], b[a != b]
        for i in range(0, len(a), _BLOCK):
            p, q = a[i : i + _BLOCK], b[i : i + _BLOCK]
            close = _distance(x, p, q) <= radius
            yield p[close], q[close]


def _median_nearest(x: np.ndarray) -> float:
    """The median distance from a row to the nearest other one, over evenly chosen rows."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(_SAMPLE, len(x))).astype(np.int64))
    centred = x - x.mean(axis=0)
    squared = np.einsum("ij,ij->i", centred, centred)
    best = np.full(len(chosen), np.inf)
    nearest = np.zeros(len(chosen), dtype=np.int64)
    for start in range(0, len(x), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(x)))
        gap = squared[part] - 2 * (centred[chosen] @ centred[part].T)  # up to a constant of the row
        inside = np.flatnonzero((chosen >= part.start) & (chosen < part.stop))
        gap[inside, chosen[inside] - start] = np.inf  # a row is not its own neighbour
        j = gap.argmin(axis=1)
        value = gap[np.arange(len(chosen)), j]
        nearest = np.where(value < best, j + start, nearest)
        best = np.minimum(best, value)
    return float(np.median(_distance(x, chosen, nearest)))


def _distance(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = x[a].astype(np.float64) - x[b]
    length: np.ndarray = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return length
