from __future__ import annotations

from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import poisson

from locard.data.duplicates import DEVIATIONS, FRACTION, across, near_duplicates
from locard.data.records import Column, Records
from locard.errors import DataError


def records(x, *, y=None, unit=None, columns=None) -> Records:
    n = len(x)
    return Records(
        ids=np.arange(n), features=x, labels=np.arange(n) % 2 if y is None else y, unit=unit, columns=columns
    )


def by_hand(r: Records, near) -> dict:
    """The definition, record by record and row by row; ``near(a, b)`` says whether two different rows are near."""
    x = r.features.reshape(len(r), -1)
    same = lambda a, b: bool(((x[a] == x[b]) | (np.isnan(x[a]) & np.isnan(x[b]))).all())  # noqa: E731
    rows: list[list[int]] = []
    for i in range(len(r)):
        for row in rows:
            if same(row[0], i):
                row.append(i)
                break
        else:
            rows.append([i])
    units = [{r.units[i] for i in row} for row in rows]
    link = {i: {i} for i in range(len(r))}
    out = {"near_pairs": 0, "same_unit_pairs": 0, "near_records": set()}
    exact = [row for row, u in zip(rows, units, strict=True) if len(row) > 1 and len(u) > 1]

    def join(members):
        merged = set().union(*(link[i] for i in members))
        for i in merged:
            link[i] = merged

    for row in exact:
        join(row)
    for (a, ua), (b, ub) in combinations(zip(rows, units, strict=True), 2):
        if not near(x[a[0]], x[b[0]]):
            continue
        if len(ua | ub) == 1:
            out["same_unit_pairs"] += 1
            continue
        out["near_pairs"] += 1
        out["near_records"] |= {*a, *b}
        join([*a, *b])
    out["near_records"] = len(out["near_records"])
    out["exact_groups"] = len(exact)
    out["exact_records"] = sum(len(row) for row in exact)
    out["same_unit_groups"] = sum(len(row) > 1 and len(u) == 1 for row, u in zip(rows, units, strict=True))
    out["conflicting_labels"] = sum(len(row) for row in exact if len({r.y[i] for i in row}) > 1)
    out["groups"] = {frozenset(g) for g in link.values() if len(g) > 1}
    return out


def check(r: Records, near) -> None:
    found, expected = near_duplicates(r), by_hand(r, near)
    for name, value in expected.items():
        if name != "groups":
            assert getattr(found, name) == value, name
    groups = {frozenset(np.flatnonzero(found.group == g).tolist()) for g in set(found.group.tolist()) - {-1}}
    assert groups == expected["groups"]
    firsts = [int(np.flatnonzero(found.group == g)[0]) for g in range(int(found.group.max(initial=-1)) + 1)]
    assert firsts == sorted(firsts)


@settings(max_examples=120, deadline=None)
@given(st.integers(2, 40), st.integers(1, 7), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_tables_agree_with_the_definition(n, d, kinds, seed):
    """Planted bugs: the tolerance without its standard deviation, one unit linked."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, kinds + 1, size=(n, d)).astype(float)
    x[:, -1] = np.round(rng.normal(size=n), 1)
    x[rng.random((n, d)) < 0.05] = np.nan
    x[rng.random(n) < 0.2] = x[0]
    x[:, 0] = np.where(np.isnan(x[:, 0]), 0, x[:, 0])
    columns = tuple(
        Column(f"c{j}", "category" if j == 0 else "number", ("a", "b", "c", "d", "e")[: 5 * (j == 0)]) for j in range(d)
    )
    r = records(x, y=["p", "q", *rng.choice(["p", "q"], n - 2)], unit=rng.integers(0, n, n), columns=columns)
    rows = np.array(list({str(row.tolist()): row for row in x}.values()))  # each different row once, NaN like NaN
    spread = [np.nanstd(c) if np.isfinite(c).any() else 0.0 for c in rows.T]

    def near(a, b):
        different = [j for j in range(d) if not (a[j] == b[j] or (np.isnan(a[j]) and np.isnan(b[j])))]
        return (
            d >= 4
            and len(different) == 1
            and columns[different[0]].kind == "number"
            and bool(abs(a[different[0]] - b[different[0]]) <= DEVIATIONS * spread[different[0]])
        )

    check(r, near)


@settings(max_examples=120, deadline=None)
@given(st.integers(3, 40), st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_arrays_agree_with_the_definition(n, d, pictures, seed):
    """Planted bugs: twice the radius, a projection that is not orthonormal, no division by the spread."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * rng.uniform(0.1, 30, size=d)
    copies = rng.random(n) < 0.4
    x[copies] = x[rng.integers(0, n, copies.sum())] + rng.choice([0, 1e-3, 0.05], copies.sum())[:, None] * rng.normal(
        size=(copies.sum(), d)
    )
    r = records(x[:, :, None] if pictures else x, unit=rng.integers(0, n, n))
    rows = np.unique(x, axis=0)
    if len(rows) < 3:
        check(r, lambda a, b: False)
        return
    spread = np.ones(d) if pictures else rows.std(axis=0)
    scaled = rows / spread
    gaps = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    radius = FRACTION * np.median(gaps.min(axis=1))
    if (np.abs(gaps / radius - 1) < 1e-9).any():
        return  # a distance on the edge, where rounding decides
    check(r, lambda a, b: bool(np.sqrt((((a - b) / spread) ** 2).sum()) <= radius))


def test_the_order_of_records_changes_nothing():
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(size=(60, 5)), rng.integers(1, 4, 60), axis=0)
    x[::5] += 1e-4
    r, order = records(x), rng.permutation(len(x))
    one, two = near_duplicates(r), near_duplicates(r, order)
    for name in ("exact_groups", "exact_records", "near_pairs", "near_records", "conflicting_labels", "rule"):
        assert getattr(one, name) == getattr(two, name)
    pairs = one.group[order][:, None] == one.group[order][None]
    np.testing.assert_array_equal(two.group[:, None] == two.group[None], pairs)
    np.testing.assert_array_equal(two.group < 0, one.group[order] < 0)


def test_only_audited_records_count():
    x = np.array([[0.0], [5.0], [0.0], [9.0], [14.0]])
    assert near_duplicates(records(x)).exact_records == 2
    found = near_duplicates(records(x), np.array([0, 1, 3, 4]))
    assert found.exact_records == 0
    assert found.group.tolist() == [-1, -1, -1, -1]


def test_one_unit_is_no_surprise_but_counted():
    x = np.array([[1.0, 2], [1, 2], [7, 1], [7, 1], [3, 9], [3, 9]])
    found = near_duplicates(records(x, unit=["a", "a", "b", "c", "d", "d"]))
    assert (found.exact_groups, found.exact_records, found.same_unit_groups) == (1, 2, 2)
    assert found.group.tolist() == [-1, -1, 0, 0, -1, -1]


def test_neighbouring_codes_of_a_category_are_not_near():
    """Planted bug: codes of categories compared like numbers."""
    codes = np.arange(60.0)
    x = np.c_[codes, np.zeros((60, 2)), np.full(60, np.nan)]
    kinds = ["category", "number", "number", "number"]
    columns = tuple(Column(f"c{j}", k, tuple(map(str, range(60))) if j == 0 else ()) for j, k in enumerate(kinds))
    assert near_duplicates(records(x, columns=columns)).near_pairs == 0
    numbers = tuple(Column(c.name, "number") for c in columns)
    assert near_duplicates(records(x, columns=numbers)).near_pairs == 59


def test_minus_zero_is_zero_and_missing_is_missing():
    x = np.array([[0.0, np.nan], [-0.0, -np.nan], [1.0, 1.0]])
    assert near_duplicates(records(x)).exact_records == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
def test_any_type_of_number(dtype):
    x = np.random.default_rng(1).integers(0, 2, size=(30, 8, 8)).astype(dtype)
    x[29] = x[3]
    found = near_duplicates(records(x))
    assert found.exact_records == 2
    assert found.group[3] == found.group[29] == 0


@pytest.mark.parametrize("x", [np.zeros((2, 3)), np.zeros((5, 0)), np.array([[0.0], [1.0]]), np.full((4, 6), np.nan)])
def test_very_small_data(x):
    found = near_duplicates(records(x))
    assert len(found.group) == len(x)
    assert found.near_pairs == 0


def test_a_dense_crowd_stays_bounded():
    """Thousands of records closer to each other than the radius: all are found, the count of pairs is a lower bound."""
    x = np.random.default_rng(3).normal(size=(4000, 8))
    x[:1500] *= 1e-6
    found = near_duplicates(records(x))
    assert found.near_records == 1500
    assert len(set(found.group[:1500].tolist())) == 1
    table = np.c_[np.zeros((3000, 4)), np.arange(3000) / 1e4]
    table[0, 0] = np.nan
    assert near_duplicates(records(table)).near_records == 2999


def test_chance_copies_are_as_rare_as_the_docstring_says():
    """Uniform points in the plane: 1 - 2**-0.01 of them have a partner by chance.

    20 sets of 2,000 points: 138 pairs expected; fails by chance 2e-9. Told from twice the radius (550 pairs) with power
    > 1 - 1e-9. Planted bug: twice the radius.
    """
    rng = np.random.default_rng(11)
    pairs = sum(near_duplicates(records(rng.random((2000, 2)))).near_pairs for _ in range(20))
    low, high = poisson.ppf([1e-9, 1 - 1e-9], 20 * 2000 * (1 - 2 ** -(FRACTION**2)) / 2)
    assert low <= pairs <= high


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_across_agrees_with_the_definition(n, models, seed):
    """Planted bug: groups that are not linked (-1) taken for one group."""
    rng = np.random.default_rng(seed)
    r = records(rng.integers(0, 4, size=(n + 1, 2)).astype(float))
    found = near_duplicates(r)
    member = rng.random((models, n + 1)) < 0.5
    inside = outside = 0
    shares = []
    for row in member:
        twin = [
            [j for j in range(n + 1) if found.group[j] == found.group[i] >= 0 and row[j] != row[i]]
            for i in range(n + 1)
        ]
        outside += sum(bool(twin[i]) and bool(row[i]) for i in range(n + 1))
        inside += sum(bool(twin[i]) and not row[i] for i in range(n + 1))
        shares.append(sum(map(bool, twin)) / (n + 1))
    assert across(found, member) == pytest.approx(
        {
            "members_with_twin_outside": outside / models,
            "non_members_with_twin_inside": inside / models,
            "share": np.mean(shares),
            "worst_share": max(shares),
        }
    )


def test_across_needs_a_mask_of_the_same_records():
    found = near_duplicates(records(np.zeros((4, 2))))
    with pytest.raises(DataError, match="one column for each of 4 records is needed, found 5"):
        across(found, np.zeros((2, 5), dtype=bool))


@pytest.mark.network
def test_golden_adult(public_set):
    """Made by near_duplicates(load("adult")); 54 groups of exact copies agree with pandas' duplicated()."""
    found = near_duplicates(public_set("adult"))
    assert (found.exact_groups, found.exact_records, found.conflicting_labels) == (54, 111, 10)
    assert (found.near_pairs, found.near_records) == (1493, 2178)


@pytest.mark.network
def test_golden_wisconsin_by_unit(public_set):
    found = near_duplicates(public_set("wisconsin"))
    assert (found.exact_groups, found.exact_records, found.same_unit_groups) == (45, 278, 3)
