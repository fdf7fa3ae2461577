"""Canaries: what becomes of them, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from locard.data.canaries import plant
from locard.data.records import Records
from locard.data.split import Split
from locard.errors import DataError
from locard.plan.designs import coin_flips, pairs
from locard.seeds import Seed
from locard.settings_one_run import CanarySettings

KINDS = ("natural", "mislabelled", "out_of_distribution", "blank", "duplicated")


def images(n: int = 120) -> Records:
    rng = np.random.default_rng(3)
    return Records(ids=range(n), features=rng.integers(0, 200, (n, 6, 6), dtype=np.uint8), labels=np.arange(n) % 3)


def table(n: int = 120) -> Records:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({f"n{k}": rng.normal(size=n) for k in range(14)} | {"ward": rng.choice(["a", "b", "c"], n)})
    return Records(ids=[f"v{i}" for i in range(n)], features=frame, labels=np.arange(n) % 3, unit=np.arange(n) // 2)


def halves(n: int = 120) -> Split:
    return Split(np.arange(100), np.arange(100, n))


def same_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.reshape(len(a), -1) == b.reshape(len(b), -1)).all(axis=1)


@pytest.mark.parametrize("make", [images, table])
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_canaries_change(make, kind):
    records = make()
    before = records.features.copy()
    planted = plant(records, halves(), CanarySettings(kind=kind, count=20), seed=Seed(1))
    made, audited = planted.records, planted.split.audited
    assert records.n_units // 2 >= 20 == made.select(audited).n_units
    assert np.intersect1d(made.units[audited], made.units[planted.fixed]).size == 0, "no unit is on both sides"
    assert np.array_equal(np.union1d(audited, planted.fixed), np.arange(100))
    assert planted.split.population.tolist() == list(range(100, 120))
    others = np.setdiff1d(np.arange(120), audited)
    assert same_rows(made.features, records.features)[others].all()
    assert (made.labels == records.labels)[others].all()
    assert made.ids.tolist() == records.ids.tolist()
    assert made.classes.tolist() == records.classes.tolist()
    assert (records.features == before).all(), "the data given are left as they are"
    assert made.features.dtype == records.features.dtype
    assert planted.words in made.notes
    assert planted.copies == (2 if kind == "duplicated" else 1)
    changed = ~same_rows(made.features, records.features)[audited]
    relabelled = (made.labels != records.labels)[audited]
    if kind in ("natural", "duplicated"):
        assert not changed.any()
        assert not relabelled.any()
    if kind == "mislabelled":
        assert relabelled.all()
        assert not changed.any()
        assert len(np.unique(made.y[audited] - records.y[audited])) > 2, "any other class, not the next one"
    if kind == "out_of_distribution":
        assert changed.all()
        assert not relabelled.any()
    if kind == "blank":
        assert changed.all()


def test_blank_canaries_differ_from_each_other_and_are_nearly_blank():
    planted = plant(images(), halves(), CanarySettings(kind="blank", count=30), seed=Seed(2))
    flat = planted.records.features[planted.split.audited].reshape(30, -1)
    assert len(np.unique(flat, axis=0)) == 30
    assert ((flat == flat.min()).sum(axis=1) == 34).all(), "two of 36 pixels are marked: one is too few for 30"


def test_blank_canaries_that_would_be_copies_are_refused():
    r = Records(ids=range(60), features=np.random.default_rng(0).normal(size=(60, 4)), labels=[0, 1] * 30)
    with pytest.raises(DataError, match=r"4 features that vary are too few for 20"):
        plant(r, Split(np.arange(50), np.arange(50, 60)), CanarySettings(kind="blank", count=20), seed=Seed(0))


def test_an_out_of_distribution_canary_is_made_of_usual_values():
    records = images()
    planted = plant(records, halves(), CanarySettings(kind="out_of_distribution", count=20), seed=Seed(5))
    flat, pool = (f.reshape(len(f), -1) for f in (planted.records.features, records.features[:100]))
    assert all(np.isin(flat[planted.split.audited, k], pool[:, k]).all() for k in range(36))


def test_more_canaries_than_units_are_refused():
    with pytest.raises(DataError, match="at most 50 canaries"):
        plant(table(), halves(), CanarySettings(count=51), seed=Seed(1))


def test_who_is_a_canary_does_not_depend_on_the_coins_and_more_hold_the_fewer():
    one = plant(images(), halves(), CanarySettings(count=20), seed=Seed(1))
    more = plant(images(), halves(), CanarySettings(kind="blank", count=40), seed=Seed(1))
    assert np.isin(one.split.audited, more.split.audited).all()


@pytest.mark.parametrize("draw", [pairs, coin_flips])
def test_every_model_holds_all_others_and_its_coins_canaries(draw):
    records = images()
    planted = plant(records, halves(), CanarySettings(kind="duplicated", count=40, copies=3), seed=Seed(1))
    plain = draw(planted.records, planted.split.audited, models=4, seed=Seed(9))
    plan = plain.with_always(planted.fixed, copies=planted.copies)
    assert (plan.member == plain.member).all(), "the coins are those that would have fallen anyhow"
    for row, member in zip(plan.train_index, plan.member, strict=True):
        count = np.bincount(row, minlength=120)
        assert (count[planted.fixed] == 1).all()
        assert (count[planted.split.audited] == 3 * member).all()
        assert not count[100:].any()
        assert (np.diff(row) >= 0).all()
