"""Who is named: nobody where nothing leaks, those who leak strongly, and always whole units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

import locard.assess.exposure as module
from locard.assess.exposure import expose, pair_differences
from locard.assess.scoring import Audited, by_unit, score_targets
from locard.attacks import attack
from locard.data.records import Records
from locard.data.split import Split
from locard.observe.observations import ArrayReader, Observations
from locard.observe.signals import ScaledLogit
from locard.plan.designs import pairs
from locard.plan.draw import draw_plan
from locard.seeds import Seed
from locard.settings import ExposureSettings, ReferenceSettings
from locard.stats import wins

LIRA, SETTINGS = attack("lira"), ExposureSettings()
WORLDS = 120
MOST_FALSE = int(binom.ppf(1 - 1e-6, WORLDS, 0.05))  # 19 of 120: flake 1e-6 at a true rate of exactly 5 %


def worlds_with_names(world, **kwargs) -> dict[str, int]:
    """In how many worlds at least one record gets each grade."""
    found = {"suspected": 0, "exposed": 0}
    for i in range(WORLDS):
        grades = expose(LIRA, world(seed=i, records=60, **kwargs), SETTINGS).grades.grade
        for grade in found:
            found[grade] += bool((grades == grade).any())
    return found


@pytest.mark.parametrize("models", [16, 32])
def test_where_nothing_leaks_hardly_any_world_names_anybody(world, models):
    """All names are wrong here, so the FDR is the chance of any name: at most 5 % of worlds. Found: 0 and 4 of 120.

    Planted and kept in the next test: every pair counted twice.
    """
    found = worlds_with_names(world, models=models)
    assert found["suspected"] <= MOST_FALSE
    assert found["exposed"] <= MOST_FALSE


def test_planted_models_counted_as_if_they_were_independent_are_caught(world, monkeypatch):
    """Each pair counted once for either model, as if two models were two draws: a name in 2 of 3 null worlds."""
    real = module.pair_differences
    monkeypatch.setattr(module, "pair_differences", lambda audited: np.repeat(real(audited), 2, axis=1))
    assert worlds_with_names(world, models=16)["suspected"] > MOST_FALSE


def test_an_effect_too_small_to_find_a_record_by_exposes_nobody(world, monkeypatch):
    """Training moves every record by half a standard deviation: found in about 3 % of retrainings, below 1 in 10.

    So every record graded exposed is wrongly so; they are suspected, rightly. Planted: hits that do not count (the
    size is not tested): names in 4 of 5 worlds.
    """
    found = worlds_with_names(world, models=32, leak=0.5)
    assert found["exposed"] <= MOST_FALSE
    assert found["suspected"] > WORLDS / 2
    full = np.full(60, 8)
    monkeypatch.setattr(module, "_count_hits", lambda *_: module._Hits(full, 0 * full, 8, 0.01))
    assert worlds_with_names(world, models=32, leak=0.5)["exposed"] > MOST_FALSE


def test_a_strong_leak_is_named_and_the_others_are_not(world):
    leak = np.where(np.arange(120) < 12, 6.0, 0.0)
    found = expose(LIRA, world(models=64, leak=leak), SETTINGS)
    named = found.grades.grade == "exposed"
    assert named[:12].sum() >= 11
    assert named[12:].sum() <= 1
    assert found.part.n == named.sum()
    assert found.part.suspected + found.part.n + found.part.not_shown == 120
    assert found.trials == 16
    assert (found.hits_in[:12] >= 8).all()
    assert found.hits_out[:12].max() <= 4


def test_an_easy_record_is_not_an_exposed_one(world):
    """Everyone gets it right, members and non-members alike: the contrast says so, a score alone would not."""
    audited = world(models=32, records=60, noise=0.05)
    assert (expose(LIRA, audited, SETTINGS).grades.grade == "exposed").sum() == 0


def test_differences_are_the_signal_of_the_model_that_holds_a_record_minus_its_twins(world):
    audited = world(models=6, records=20, leak=1.0)
    signal = audited.observations.signal(ScaledLogit())[..., 0]
    member = audited.plan.member
    slow = np.array(
        [
            [
                signal[i if member[i, r] else j, r] - signal[j if member[i, r] else i, r]
                for i, j in ((0, 1), (2, 3), (4, 5))
            ]
            for r in range(20)
        ]
    )
    np.testing.assert_allclose(pair_differences(audited), slow)


def told(logarithms: np.ndarray, classes: int, rows: int = 1) -> Audited:
    """Two models and their answers ``[2, records, queries, classes]`` as they are stored, the true class being 0."""
    records = logarithms.shape[1]
    r = Records(
        ids=np.arange(records),
        features=np.zeros((records, 1)),
        labels=np.zeros(records, dtype=int),
        known_classes=np.arange(classes),
        unit=None if rows == 1 else np.arange(records) // rows,
    )
    plan = pairs(r, np.arange(records), models=2, seed=Seed(3))
    said = Observations(ArrayReader(logarithms.astype(np.float32)), r.y, probability_floor=1e-6)
    return Audited(r, plan, said, None, Seed(3))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_equal_answers_are_ties_however_they_were_rounded(classes):
    """The same probabilities summed in another order, or asked in another order of queries. Planted: ``gap != 0``.

    The bound holds for every rounding, so nothing is left to chance: 2,000 answers from p = 1e-6 to 1 - 1e-6.
    """
    rng = np.random.default_rng(81)
    own = 1 / (1 + np.exp(-rng.uniform(-13.8, 13.8, size=2000)))
    rest = rng.dirichlet(np.full(classes - 1, 0.3), size=2000) * (1 - own)[:, None]
    logs = np.log(np.maximum(np.concatenate([own[:, None], rest], axis=1), 1e-6)).reshape(1000, 2, classes)
    stored = logs.astype(np.float32).astype(np.float64)
    other = stored * (1 + rng.choice([-1, 0, 1], size=stored.shape) * 2.0**-24)
    audited = told(np.stack([stored, other[:, ::-1]]), classes, rows=2)
    assert (pair_differences(audited) == 0).all()
    assert wins(pair_differences(audited))[1].max() == 0
    signal = audited.observations.signal(ScaledLogit()).mean(axis=-1)
    assert (by_unit(signal[0], audited.records) != by_unit(signal[1], audited.records)).mean() > 0.9


def test_answers_that_differ_by_more_than_rounding_are_no_ties():
    """From p = 0.5 to 1 - 1e-5, a scaled logit that is 1e-5 larger. Planted: a bound a hundred times as wide."""
    s = np.linspace(0, 11.5, 200)
    both = [np.stack([-np.log1p(np.exp(-x)), -np.log1p(np.exp(x))], axis=-1)[:, None] for x in (s, s + 1e-5)]
    audited = told(np.stack(both), 2)
    expected = np.where(audited.plan.member[1], 1e-5, -1e-5)
    np.testing.assert_allclose(pair_differences(audited)[:, 0], expected, atol=2e-6)


def test_hits_come_from_the_second_half_of_the_pairs_alone(world):
    """Whatever the first half's twins said of a record as targets, it is no trial."""
    audited = world(models=16, records=60, leak=3.0)
    found = expose(LIRA, audited, SETTINGS)
    assert found.trials == 4
    assert (found.hits_in <= 4).all()
    assert (found.hits_out <= 4).all()
    assert found.pairs.max() <= 8
    small = audited.with_references(np.arange(8))
    scores = score_targets(LIRA, small, np.arange(8, 16))
    held = audited.plan.member[8:]
    hit = scores > np.inf
    for threshold in np.unique(scores):
        hit = scores > threshold
        if ((hit & held).sum(axis=0) == found.hits_in).all():
            break
    assert ((hit & held).sum(axis=0) == found.hits_in).all()
    assert ((hit & ~held).sum(axis=0) == found.hits_out).all()


@pytest.mark.parametrize("models", [4, 6])
def test_too_few_pairs_count_no_hits_and_say_so(world, models):
    found = expose(LIRA, world(models=models, leak=6.0), SETTINGS)
    assert found.trials == 0
    assert found.part.n == 0
    assert "too few" in found.part.nameable


def test_without_complementary_pairs_nobody_is_named(world, records):
    for design in ("coin_flips", "subsample"):
        plan = draw_plan(
            ReferenceSettings(models=12, plan=design),
            records(60),
            Split(np.arange(60), np.arange(0)),
            seed=Seed(1),
        )
        found = expose(LIRA, world(plan, leak=6.0), SETTINGS)
        assert (found.part.n, found.part.suspected, found.part.pairs, found.trials) == (0, 0, 0, 0)


def test_references_too_few_in_the_first_half_count_no_hits_instead_of_failing(world):
    """Thinned halves differ from target to target: all of them are looked at before anything is scored."""
    audited = world(models=8, records=120)
    thin = replace(audited, plan=replace(audited.plan, design="coin_flips"))
    hungry = attack("attack_r")
    for chosen in (LIRA, hungry):
        found = expose(chosen, thin, SETTINGS)
        assert found.trials in (0, 2)


def test_all_rows_of_a_unit_share_one_grade_one_test_and_one_count(world):
    strong = world(models=4, records=120, rows=3).records.units < 4
    audited = world(models=64, records=120, rows=3, leak=np.where(strong, 6.0, 0.0))
    found = expose(LIRA, audited, SETTINGS)
    assert len(found.grades.grade) == audited.records.n_units == 40
    assert set(np.flatnonzero(found.grades.grade == "exposed")) >= {0, 1, 2}
    assert pair_differences(audited).shape == (40, 32)
    per_row = by_unit(score_targets(LIRA, audited, [0]), audited.records)
    assert per_row.shape == (1, 40)


def test_swapping_the_two_models_of_every_pair_changes_no_name(world):
    audited = world(models=32, records=60, leak=np.where(np.arange(60) < 6, 5.0, 0.3))
    plan = audited.plan
    order = np.arange(32) ^ 1
    array = np.stack([audited.observations.logits(int(m)) for m in order])
    swapped = replace(
        audited,
        plan=replace(plan, train_index=tuple(plan.train_index[m] for m in order)),
        observations=Observations(ArrayReader(array), audited.observations.y),
    )
    one, other = expose(LIRA, audited, SETTINGS), expose(LIRA, swapped, SETTINGS)
    assert np.array_equal(one.grades.grade, other.grades.grade)
    assert np.array_equal(one.hits_in, other.hits_in)
    np.testing.assert_allclose(one.grades.p_flip, other.grades.p_flip)


def test_a_larger_fdr_names_no_fewer(world):
    audited = world(models=64, records=120, leak=np.linspace(0, 4, 120))
    named = [expose(LIRA, audited, ExposureSettings(fdr=q)).part.n for q in (0.01, 0.05, 0.2)]
    assert named == sorted(named)
    any_way = expose(LIRA, audited, ExposureSettings(dependence="any")).part.n
    assert any_way <= named[1]
