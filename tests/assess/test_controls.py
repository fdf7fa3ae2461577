"""The controls: they must come out a known way, and must not where something is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import locard.assess.controls as module
from locard.assess.controls import blind_baseline, redrawn_plan
from locard.attacks import attack
from locard.data.records import Records
from locard.data.split import Split
from locard.plan.designs import pairs
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ControlSettings, ReferenceSettings

LIRA = attack("lira")


def redraw_of(audited, design="pairs"):
    r = audited.records
    wanted = ReferenceSettings(models=len(audited.plan), plan=design)
    split = Split(np.arange(len(r)), np.zeros(0, dtype=np.int64))
    return lambda seed: draw_plan(wanted, r, split, seed=seed)


def control(audited, *, redraws=19, records=60, models=8, chosen=LIRA, design="pairs"):
    settings = ControlSettings(redraws=redraws, records=records, models=models)
    return redrawn_plan(chosen, "lira", audited, settings, redraw_of(audited, design))


# -- the redrawn plan --------------------------------------------------------------------------------------------------


def test_a_leak_is_told_from_redrawn_plans_and_they_score_one_half(world):
    part = control(world(models=8, leak=3.0))
    assert part.p == 1 / 20
    assert part.passed is True
    assert part.value.low <= 0.5 <= part.value.high
    assert part.value.n == 19
    assert "60 random records and 8 models" in part.description


def test_where_nothing_leaks_p_is_uniform_on_its_grid(world, binomial):
    """100 worlds x 9 redraws: P(p <= k/10) = k/10 for k = 1, 3, 5, 9, each a binomial bound that flakes 1e-9.

    Power .99 against P(p <= .1) = .5. Planted: p without the real plan's own place, (hits)/(redraws + 1); redrawn plans
    that are all the real one.
    """
    p = np.array([control(world(seed=i, models=4, records=60), redraws=9, models=4).p for i in range(100)])
    assert p.min() >= 0.1
    for k in (1, 3, 5, 9):
        binomial(int((p <= k / 10 + 1e-9).sum()), 100, k / 10)


def test_a_design_that_gives_its_answer_away_fails_the_control(world, plain_mean, monkeypatch):
    """Planted: the partner kept among the references. Redrawn plans then score far from one half."""
    monkeypatch.setattr(Plan, "left_out", lambda self, target: [target])
    part = control(world(models=4, records=120), chosen=plain_mean, models=4)
    assert part.passed is False


@pytest.mark.parametrize("redraws", [2, 3])
def test_few_redraws_make_a_wide_interval_not_a_false_alarm(world, redraws):
    """The interval is Student's: at 2 redraws, 4 standard errors would miss one half in 1 of 6 right audits."""
    parts = [control(world(seed=i, models=4, records=60), redraws=redraws, models=4) for i in range(40)]
    assert all(p.passed for p in parts)


def test_redrawn_plans_that_leave_too_few_references_are_passed_over(world, records):
    """Coin flips: nearly no redrawn plan of 8 models serves all of 60 records, though the real one may."""
    r = records(60)
    for design, models, seed in (("coin_flips", 14, 3), ("subsample", 14, 3)):
        plan = draw_plan(
            ReferenceSettings(models=models, plan=design),
            r,
            Split(np.arange(60), np.zeros(0, dtype=np.int64)),
            seed=Seed(seed),
        )
        part = control(world(plan, leak=1.0), design=design, redraws=9)
        if part.value.value is None:
            assert part.passed is None
            assert part.p is None
            assert "of 9 redrawn plans leave enough references" in part.value.reason
        else:
            assert part.value.n < 9
            assert part.passed is True


def test_units_are_redrawn_whole(world):
    audited = world(models=8, records=120, rows=4, leak=3.0)
    part = control(audited, records=50)
    assert "30 random units" in part.description
    assert part.p == 1 / 20
    assert part.passed is True


# -- the blind baseline ------------------------------------------------------------------------------------------------


def people(n=400, shift=0.0, holes=0.0, rows=1, seed=0):
    rng = np.random.default_rng(seed)
    unit = None if rows == 1 else np.arange(n) // rows
    member = rng.random(n) < 0.5 if unit is None else (rng.random(n // rows) < 0.5)[unit]
    x = rng.normal(size=(n, 3)) + shift * member[:, None]
    x[rng.random(x.shape) < holes] = np.nan
    return Records(ids=range(n), features=x, labels=rng.integers(2, size=n), unit=unit), member


def blind(r, member, seed=0):
    return blind_baseline(r, member, ControlSettings(), Seed(seed), what="the first target's training set")


def test_members_that_differ_in_nothing_are_not_told_apart():
    """40 worlds: the 99.9 % interval lies above one half in at most one (flake 2e-4 at .0005 each); mean within 4 SE.

    Planted, as it was: folds of unequal shares and no balancing, where a fold's intercept tells its share of members
    the wrong way round: mean .46, and .41 with units, 4 and 12 standard errors off.
    """
    for rows in (1, 4):
        parts = [blind(*people(200, seed=i, rows=rows), seed=i) for i in range(40)]
        assert sum(p.passed is False for p in parts) <= 1
        areas = np.array([p.value.value for p in parts])
        assert abs(areas.mean() - 0.5) <= 4 * areas.std(ddof=1) / np.sqrt(len(areas))


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_members_of_another_distribution_are_found_without_any_model(holes):
    part = blind(*people(shift=1.0, holes=holes))
    assert part.passed is False
    assert part.value.low > 0.6
    assert part.description.endswith("predicts membership in the first target's training set.")


def test_features_with_missing_values_are_no_obstacle():
    part = blind(*people(holes=0.3))
    assert part.passed is True


def test_rows_of_a_unit_are_in_one_fold():
    """Otherwise the classifier would know a unit's other rows: planted with KFold, AUC .9 on units of four twins."""
    r, member = people(400, rows=4)
    twins = Records(
        ids=r.ids,
        features=np.repeat(np.random.default_rng(1).normal(size=(100, 40)), 4, axis=0),
        labels=r.labels,
        unit=r.unit,
    )
    part = blind(twins, member)
    assert part.passed is True


def test_too_few_of_one_side_is_no_number():
    r, _ = people(50)
    member = np.zeros(50, dtype=bool)
    member[:5] = True
    part = blind(r, member)
    assert (part.value.value, part.passed) == (None, None)
    assert "fewer than 10" in part.value.reason


def test_a_table_is_encoded_inside_the_control():
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=80), "town": rng.choice(["a", "b"], 80).astype(object)})
    frame.loc[3, "age"] = np.nan
    r = Records(ids=range(80), features=frame, labels=np.arange(80) % 2)
    assert blind(r, np.arange(80) % 2 == 0).value.value > 0.9  # the label is among what the baseline sees


def test_the_control_uses_random_records_and_leaves_the_audit_alone(world):
    audited = world(models=4, records=120)
    before = audited.plan.fingerprint
    control(audited, models=2)
    assert audited.plan.fingerprint == before
    part = module._random_part(audited, ControlSettings(records=50))
    assert len(part.records) == 50
    assert np.array_equal(part.plan.member.shape, (4, 50))
    assert pairs(audited.records, np.arange(120), models=4, seed=Seed(0).child("plan")).fingerprint == before
