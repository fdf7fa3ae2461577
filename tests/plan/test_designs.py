"""One test for every promise of the four designs, named after it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.data.records import Records
from locard.data.split import Split
from locard.errors import SettingsError
from locard.plan.designs import coin_flips, out_only, pairs, subsample
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ReferenceSettings

QUICK = settings(derandomize=True, deadline=None, max_examples=40)


def everyone(records: Records) -> np.ndarray:
    return np.arange(len(records), dtype=np.int64)


def some_units(sizes: list[int], shuffle: int) -> Records:
    """Units of these sizes, their rows in random order."""
    unit = np.random.default_rng(shuffle).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(unit)
    return Records(ids=range(n), features=np.zeros((n, 1)), labels=np.arange(n) % 2, unit=unit)


def rows_equal(a: Plan, b: Plan, models: int) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.train_index[:models], b.train_index[:models], strict=True))


# -- pairs ------------------------------------------------------------------------------------------------------------


@QUICK
@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(1, 4), st.integers(0, 10**6))
def test_a_models_partner_is_its_exact_complement_on_the_audited_records(sizes, half, seed):
    r = some_units(sizes, seed)
    audited = np.flatnonzero(r.units % 3 != 1) if r.n_units > 2 else everyone(r)
    plan = pairs(r, audited, models=2 * half, seed=Seed(seed))
    for model in range(2 * half):
        partner = plan.partner[model]
        assert plan.partner[partner] == model
        assert (plan.member[model] ^ plan.member[partner]).all()
        assert set(plan.train_index[model]) <= set(audited)


@QUICK
@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.sampled_from(["pairs", "coin_flips", "subsample"]))
def test_membership_moves_by_unit(sizes, design):
    r = some_units(sizes, len(sizes))
    plan = draw_plan(
        ReferenceSettings(models=4, plan=design), r, Split(everyone(r), np.zeros(0, dtype=np.int64)), seed=Seed(3)
    )
    for row in plan.member:
        for unit in range(r.n_units):
            assert len(set(row[r.units == unit])) == 1


def test_every_membership_in_a_row_of_pairs_is_an_independent_fair_coin(records, binomial):
    """200 pairs x 60 units: the rate, the rate of every record, agreement of neighbouring records and of rows.

    Each binomial bound flakes 1e-9. Power against halves of fixed size (planted: ``rng.permutation`` instead of coins):
    sd of the row sums would be 0, caught with certainty; against one coin for two records (planted: units // 2):
    agreement 1 instead of .5.
    """
    r, rows = records(60), 200
    plan = pairs(r, everyone(r), models=2 * rows, seed=Seed(1))
    coins = plan.member[::2]
    binomial(int(coins.sum()), coins.size, 0.5)
    for record in range(60):
        binomial(int(coins[:, record].sum()), rows, 0.5)
    binomial(int((coins[:, 1:] == coins[:, :-1]).sum()), coins[:, 1:].size, 0.5)
    binomial(int((coins[1:] == coins[:-1]).sum()), coins[1:].size, 0.5)
    spread = coins.sum(axis=1).var() / (60 / 4)
    assert 0.5 < spread < 1.7  # chi-square(199)/199: flake 1e-8


@pytest.mark.parametrize("design", ["pairs", "coin_flips", "subsample", "out_only"])
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(records, design):
    r = records(60)
    split = Split(everyone(r)[:30], everyone(r)[50:])
    wanted = ReferenceSettings(models=4, plan=design, size=10)
    plans = [draw_plan(wanted, r, split, seed=Seed(s), targets=4) for s in (5, 5, 6)]
    assert plans[0].fingerprint == plans[1].fingerprint != plans[2].fingerprint


@pytest.mark.parametrize("design", ["pairs", "coin_flips", "subsample"])
def test_more_models_keep_the_first_ones(records, design):
    r = records(60)
    split = Split(everyone(r), np.zeros(0, dtype=np.int64))
    few, many = (draw_plan(ReferenceSettings(models=m, plan=design), r, split, seed=Seed(5)) for m in (4, 12))
    assert rows_equal(few, many, 4)
    assert len(many) == 12
    if design == "pairs":
        assert (np.diff(np.sort(many.member.sum(axis=0))) == 0).all()  # every record stays balanced: in half the models


@pytest.mark.parametrize("models", [0, 1, 3, 63])
def test_pairs_need_an_even_number_of_at_least_two(records, models):
    r = records(20)
    with pytest.raises(SettingsError, match=rf"even number.*found {models}\. Ask for {max(2, models + models % 2)}"):
        pairs(r, everyone(r), models=models, seed=Seed(0))


# -- coin flips -------------------------------------------------------------------------------------------------------


def test_every_membership_of_coin_flips_is_an_independent_fair_coin(records, binomial):
    """400 models x 60 records. Flake 1e-9 a bound; power as for pairs; no row may be another's complement by design."""
    r = records(60)
    plan = coin_flips(r, everyone(r), models=400, seed=Seed(2))
    binomial(int(plan.member.sum()), plan.member.size, 0.5)
    binomial(int((plan.member[1::2] == plan.member[::2]).sum()), plan.member[::2].size, 0.5)
    assert (plan.partner == -1).all()
    assert plan.thin


def test_no_model_of_coin_flips_has_a_partner(records):
    plan = coin_flips(records(20), np.arange(20), models=3, seed=Seed(0))
    assert [plan.left_out(m) for m in range(3)] == [[0], [1], [2]]
    assert plan.pairs == 3


# -- subsample --------------------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(3, 40), st.floats(0.05, 0.95), st.integers(1, 3))
def test_every_row_of_subsample_holds_round_fraction_times_units(units, fraction, rows):
    r = some_units([rows] * units, units)
    size = round(fraction * units)
    if not 0 < size < units:
        with pytest.raises(SettingsError, match="leaves units on both sides"):
            subsample(r, everyone(r), models=3, fraction=fraction, seed=Seed(1))
        return
    plan = subsample(r, everyone(r), models=3, fraction=fraction, seed=Seed(1))
    for index in plan.train_index:
        assert len(set(r.units[index])) == size
        assert len(index) == size * rows
    assert plan.thin


def test_rows_of_subsample_are_independent_of_each_other(records, binomial):
    """Records in both of two rows: 100 couples of rows of 30 in 60, mean 15 a couple. Binomial bound is wider than the
    hypergeometric truth. Planted: one permutation shared by all rows: 30 a couple."""
    plan = subsample(records(60), np.arange(60), models=200, fraction=0.5, seed=Seed(4))
    binomial(int((plan.member[::2] & plan.member[1::2]).sum()), 6000, 0.25)
    binomial(int(plan.member.sum(axis=0)[7]), 200, 0.5)


# -- out only ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
def test_no_reference_holds_an_audited_record_nor_a_population_record(records, replace):
    r = records(90)
    split = Split(np.arange(0, 30), np.arange(30, 45))
    settings = ReferenceSettings(models=5, plan="out_only", size=20, replace=replace)
    plan = draw_plan(settings, r, split, seed=Seed(1), targets=4)
    assert plan.role == ("reference",) * 5 + ("target",) * 4
    for model in plan.references:
        index = plan.train_index[model]
        assert len(index) == 20
        assert index.min() >= 45
        assert not plan.member[model].any()
    distinct = [len(set(plan.train_index[m])) for m in plan.references]
    assert (min(distinct) < 20) is replace


def test_targets_of_out_only_come_in_complementary_pairs_over_the_audited_records(records):
    r = records(90)
    plan = draw_plan(
        ReferenceSettings(models=3, plan="out_only", size=20),
        r,
        Split(np.arange(30), np.arange(30, 45)),
        seed=Seed(1),
        targets=4,
    )
    assert plan.targets.tolist() == [3, 4, 5, 6]
    assert plan.partner.tolist() == [-1, -1, -1, 4, 3, 6, 5]
    assert (plan.member[3] ^ plan.member[4]).all()
    assert (plan.member[5] ^ plan.member[6]).all()
    assert plan.pair.tolist() == [3, 3, 5, 5]
    for index in plan.train_index[3:]:
        assert set(index) <= set(range(30))


@pytest.mark.parametrize(("outside", "size", "replace"), [(0, 10, False), (0, 10, True), (1, 5, True), (9, 10, False)])
def test_too_few_outside_records_are_refused_with_the_way_out(records, outside, size, replace):
    r = records(40)
    with pytest.raises(SettingsError, match=rf"outside the audited ones.*found {outside}\. Lower data.pool"):
        out_only(
            r,
            np.arange(20),
            models=2,
            targets=2,
            outside=np.arange(20, 20 + outside),
            size=size,
            replace=replace,
            seed=Seed(0),
        )


# -- what every plan promises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["pairs", "coin_flips", "subsample", "out_only"])
def test_a_models_partner_never_serves_as_its_reference(records, design):
    r = records(60)
    wanted = ReferenceSettings(models=4, plan=design, size=10)
    plan = draw_plan(wanted, r, Split(np.arange(30), np.arange(50, 60)), seed=Seed(5), targets=4)
    for target in plan.targets:
        rest = [m for m in plan.references if m not in plan.left_out(int(target))]
        assert target not in rest
        for m in rest:
            assert not np.array_equal(plan.member[m], ~plan.member[target])
            assert not np.array_equal(plan.member[m], plan.member[target])


def test_member_is_derived_from_train_index_whatever_its_order_and_repeats():
    plan = Plan(
        "coin_flips",
        np.array([9, 2, 5]),
        (np.array([5, 5, 7, 9]), np.array([2]), np.zeros(0, dtype=np.int64)),
        ("both",) * 3,
        np.full(3, -1),
    )
    assert plan.member.tolist() == [[True, False, True], [False, True, False], [False, False, False]]


def test_the_inputs_stay_as_they_are(records, freeze):
    r = records(30, rows=2)
    audited = freeze(np.arange(4, 30))
    for plan in (pairs(r, audited, models=4, seed=Seed(0)), coin_flips(r, audited, models=2, seed=Seed(0))):
        assert plan.audited is audited


def test_the_repr_says_what_it_is(records):
    plan = pairs(records(20), np.arange(20), models=4, seed=Seed(0))
    assert re.fullmatch(r"Plan\(pairs: 4 models, 20 audited records\)", repr(plan))
