from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import binom

from locard.data.records import Records
from locard.data.split import choose_pool, split_given
from locard.errors import DataError
from locard.seeds import Seed

FLAKE = 1e-9  # chance that correct code fails one statistical test


def records(unit) -> Records:
    n = len(unit)
    return Records(ids=np.arange(n), features=np.zeros((n, 1)), labels=np.arange(n) % 2, unit=unit)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=3, max_size=60), st.integers(1, 60), st.integers(0, 60), st.integers(0, 9))
def test_no_unit_is_split_and_no_number_exceeded(unit, pool, population, seed):
    r = records(unit)
    if pool > len(unit):
        with pytest.raises(DataError, match="are needed, found"):
            choose_pool(r, pool, population, seed=Seed(seed))
        return
    pool = max(pool, *(unit.count(u) for u in unit))  # so that the first unit has room, whichever it is
    split = choose_pool(r, pool, population, seed=Seed(seed))
    audited, observed = split.audited.tolist(), split.population.tolist()
    assert audited == sorted(set(audited))
    assert observed == sorted(set(observed))
    assert split.audited.dtype == split.population.dtype == np.int64
    assert 1 <= len(audited) <= pool
    assert len(observed) <= population
    for part in (audited, observed):
        whole = {unit[i] for i in part}
        assert part == [i for i, u in enumerate(unit) if u in whole]
    assert not {unit[i] for i in audited} & {unit[i] for i in observed}


@pytest.mark.parametrize(("n", "pool", "population"), [(100, 80, 20), (9_999, 8_000, 1_999), (30_000, 28_000, 2_000)])
def test_defaults(n, pool, population):
    split = choose_pool(records(np.arange(n)), seed=Seed(1))
    assert (len(split.audited), len(split.population)) == (pool, population)


def test_larger_pools_hold_smaller_ones_and_the_population_stays():
    r = records(np.arange(100))
    small, large = (choose_pool(r, k, 20, seed=Seed(5)) for k in (30, 60))
    assert set(small.audited.tolist()) < set(large.audited.tolist())
    assert small.population.tolist() == large.population.tolist()
    few, many = (choose_pool(r, 30, k, seed=Seed(5)) for k in (10, 40))
    assert set(few.population.tolist()) < set(many.population.tolist())
    assert few.audited.tolist() == many.audited.tolist()


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    unit = np.array([f"p{i // 2}" for i in range(60)])
    ids = np.array([f"r{i}" for i in range(60)])
    shuffle = np.random.default_rng(2).permutation(60)

    def chosen(order, seed):
        r = Records(ids=ids[order], features=np.zeros((60, 1)), labels=(np.arange(60) % 2)[order], unit=unit[order])
        split = choose_pool(r, 20, 10, seed=Seed(seed))
        return set(r.ids[split.audited]), set(r.ids[split.population])

    assert chosen(np.arange(60), 1) == chosen(shuffle, 1)
    assert chosen(np.arange(60), 1) != chosen(np.arange(60), 2)


def test_every_unit_is_equally_likely_to_be_audited():
    """600 seeds, 40 records, 40 % audited: tells .40 from .55 in one record with power > .99; fails by chance 1e-9.

    Planted bug: the order of the units instead of a permutation (one record then always is in).
    """
    r = records(np.arange(40))
    hits = np.zeros(40)
    for seed in range(600):
        hits[choose_pool(r, 16, seed=Seed(seed)).audited] += 1
    low, high = binom.ppf([FLAKE / 80, 1 - FLAKE / 80], 600, 0.4)
    assert low <= hits.min()
    assert hits.max() <= high


@pytest.mark.parametrize(
    ("pool", "population", "message"),
    [
        (101, None, "data.pool: from 1 to 100 records (all there are) are needed, found 101. Lower it."),
        (0, None, "data.pool: from 1 to 100 records"),
        (10, -1, "data.population: 0 records or more are needed, found -1"),
    ],
)
def test_bad_numbers(pool, population, message):
    with pytest.raises(DataError) as caught:
        choose_pool(records(np.arange(100)), pool, population, seed=Seed(1))
    assert message in str(caught.value)


def test_a_pool_smaller_than_every_unit_is_refused():
    with pytest.raises(DataError, match="found 3 records where unit 'p"):
        choose_pool(records([f"p{i // 5}" for i in range(20)]), 3, seed=Seed(1))


def test_all_records_may_be_audited():
    split = choose_pool(records(np.arange(10)), 10, seed=Seed(1))
    assert (len(split.audited), len(split.population)) == (10, 0)


# -- where models were trained already ---------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(2, 5), st.integers(8, 40), st.integers(1, 3), st.integers(0, 10**6))
def test_a_given_mask_decides_what_each_record_can_serve_as_as_in_the_loop(models, units, rows, seed):
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(units), rows)
    records = Records(ids=np.arange(len(of)), features=np.zeros((len(of), 1)), labels=np.arange(len(of)) % 2, unit=of)
    member = (rng.random((models, units)) < rng.random(units))[:, of]
    held = [member[:, r].sum() for r in range(len(of))]
    if not any(0 < h < models for h in held):
        return
    split = split_given(records, member, seed=Seed(seed))
    assert split.audited.tolist() == [r for r in range(len(of)) if 0 < held[r] < models]
    assert split.population.tolist() == [r for r in range(len(of)) if held[r] == 0]
    few = split_given(records, member, pool=2 * rows if len(split.audited) >= 2 * rows else rows, seed=Seed(seed))
    assert set(few.audited) <= set(split.audited)
    assert not set(few.population) & set(split.audited)
    assert all((of[few.audited] == u).sum() == rows for u in set(of[few.audited]))
    assert len(split_given(records, member, population=rows, seed=Seed(seed)).population) <= rows


@pytest.mark.parametrize(
    ("member", "pool", "said"),
    [
        ([[1, 1, 0], [1, 1, 0]], None, r"some models hold and others do not.* 1 are in no model and 2 in every one"),
        ([[1, 0, 0], [0, 1, 0]], 3, r"data\.pool: from 1 to 2 records \(in some models, not in all\).* found 3"),
        ([[1, 0, 0], [0, 1, 0]], 0, r"data\.pool: from 1 to 2"),
    ],
)
def test_what_no_audit_can_be_made_of_is_refused(member, pool, said):
    records = Records(ids=range(3), features=np.zeros((3, 1)), labels=[0, 1, 0])
    with pytest.raises(DataError, match=said):
        split_given(records, np.array(member, dtype=bool), pool, seed=Seed(0))
