"""Scoring: which references each target is attacked with, by record and by unit, in any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.assess.scoring import Audited, by_unit, score_targets
from locard.attacks import attack
from locard.data.records import Records
from locard.data.split import Split
from locard.observe.observations import ArrayReader, Observations
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ReferenceSettings

ATTACKS = ("lira", "rmia", "loss")


@pytest.mark.parametrize("design", ["pairs", "coin_flips", "subsample", "out_only"])
def test_no_target_is_attacked_with_itself_nor_with_its_partner(world, records, design):
    r = records(90)
    wanted = ReferenceSettings(models=6, plan=design, size=20)
    plan = draw_plan(wanted, r, Split(np.arange(50), np.arange(80, 90)), seed=Seed(5), targets=4)
    audited = world(plan)
    for target in plan.targets:
        held = audited.references(int(target)).member
        assert not any(np.array_equal(row, plan.member[target]) for row in held)
        assert not any(np.array_equal(row, ~plan.member[target]) for row in held)
        for learners in (plan.references, plan.references[:3]):
            held = audited.with_references(learners).references(int(target)).member
            assert not any(np.array_equal(row, plan.member[target]) for row in held)
            assert len(held) == len(set(learners.tolist()) - set(plan.left_out(int(target))))


def test_the_population_is_seen_by_the_same_models(world):
    audited = world(models=6, population=30)
    said = audited.population_for(2)
    assert len(said) == 30
    assert len(said.references) == 4
    assert (said.references.inside_count == 0).all()
    assert world(models=4).population_for(0) is None


def reordered(audited: Audited, models: np.ndarray, records: np.ndarray) -> Audited:
    """The same audit with models and records in another order."""
    plan = audited.plan
    place = np.argsort(models)
    partner = np.where(plan.partner >= 0, place[plan.partner], -1)[models]
    of = np.argsort(records)
    rows = tuple(np.sort(of[plan.train_index[m]]) for m in models)
    changed = Plan(plan.design, np.arange(len(records)), rows, tuple(plan.role[m] for m in models), partner)
    array = np.stack([audited.observations.logits(int(m)) for m in models])[:, records]
    said = Observations(ArrayReader(array), audited.observations.y[records])
    return Audited(audited.records.select(records), changed, said, None, audited.seed)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("rows", [1, 3])
def test_the_order_of_models_pairs_and_records_changes_nothing(world, name, rows):
    audited = world(models=8, records=60, rows=rows, leak=0.7)
    rng = np.random.default_rng(1)
    order = np.concatenate([2 * rng.permutation(4)[:, None] + rng.permutation(2)[None, :]]).reshape(-1)
    people = rng.permutation(60)
    before = score_targets(attack(name), audited)
    after = score_targets(attack(name), reordered(audited, order, people))
    np.testing.assert_allclose(after, before[order][:, people], rtol=1e-9, atol=1e-9)


def test_every_target_has_its_own_score_row_and_any_may_be_asked_for(world):
    audited = world(models=6)
    every = score_targets(attack("lira"), audited)
    some = score_targets(attack("lira"), audited, [4, 1])
    assert every.shape == (6, 120)
    assert every.dtype == np.float64
    assert np.array_equal(some, every[[4, 1]])


def test_scores_of_one_target_do_not_depend_on_who_was_asked_before(world):
    one, other = world(models=8, leak=1.0), world(models=8, leak=1.0)
    score_targets(attack("rmia"), other)
    assert np.array_equal(score_targets(attack("rmia"), one, [5]), score_targets(attack("rmia"), other, [5]))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 3), st.integers(0, 1000))
def test_by_unit_is_the_mean_over_the_rows_of_each_unit(sizes, models, seed):
    rng = np.random.default_rng(seed)
    unit = rng.permutation(np.repeat([f"u{i}" for i in range(len(sizes))], sizes))
    n = len(unit)
    if n < 2:
        return
    r = Records(ids=range(n), features=np.zeros((n, 1)), labels=np.arange(n) % 2, unit=unit)
    values = rng.normal(size=(models, n))
    expected = np.array([[np.mean([v[i] for i in range(n) if unit[i] == u]) for u in r.unit_names] for v in values])
    np.testing.assert_allclose(by_unit(values, r), expected)
    np.testing.assert_allclose(by_unit(values[0], r), expected[0])


def test_membership_by_unit_is_all_or_nothing(world):
    audited = world(models=6, records=60, rows=4)
    for target, row in zip(audited.plan.targets, audited.unit_member, strict=True):
        for unit, held in enumerate(row):
            assert set(audited.plan.member[target][audited.records.units == unit]) == {held}


def test_fewest_is_what_a_loop_over_targets_and_records_finds(world, records):
    r = records(60)
    for design in ("pairs", "coin_flips", "subsample"):
        plan = draw_plan(ReferenceSettings(models=8, plan=design), r, Split(np.arange(60), np.arange(0)), seed=Seed(2))
        audited = world(plan)
        inside = [int(audited.references(int(t)).inside.sum(axis=0).min()) for t in plan.targets]
        outside = [int(audited.references(int(t)).outside.sum(axis=0).min()) for t in plan.targets]
        assert audited.fewest == (min(inside), min(outside))


def test_a_part_of_the_records_is_the_same_audit_on_fewer(world):
    audited = world(models=6, leak=1.0)
    chosen = np.array([3, 50, 7, 100])
    part = audited.part(chosen)
    assert np.array_equal(part.plan.member, audited.plan.member[:, chosen])
    whole = score_targets(attack("rmia"), audited)[:, chosen]
    np.testing.assert_allclose(score_targets(attack("rmia"), part), whole, rtol=1e-9)


def test_under_another_plan_the_outputs_stay_and_the_mask_is_the_others(world):
    audited, other = world(models=6), world(models=6, seed=9)
    judged = audited.under(replace(other.plan, audited=other.plan.audited))
    assert np.array_equal(judged.member, other.member)
    assert judged.observations is audited.observations
