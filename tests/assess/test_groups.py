"""Estimates by class and by the groups that the user named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from locard.assess.estimates import summarise_targets
from locard.assess.exposure import expose
from locard.assess.groups import MIXED, MOST_VALUES, group_parts, unit_values
from locard.assess.scoring import score_targets
from locard.attacks import attack
from locard.data.records import Records
from locard.settings import ExposureSettings, MeasureSettings
from locard.stats import auc

LOSS, MEASURE = attack("loss"), MeasureSettings(fprs=(0.1,))


def people(n: int, **groups) -> Records:
    return Records(ids=range(n), features=np.zeros((n, 1)), labels=np.arange(n) % 2, groups=groups)


def parts_of(audited, **groups):
    r = audited.records
    changed = Records(
        ids=r.ids, features=r.features, labels=r.labels, known_classes=r.classes, unit=r.unit, groups=groups
    )
    audited = replace(audited, records=changed)
    scored = summarise_targets(LOSS, "loss", "loss", score_targets(LOSS, audited), audited, MEASURE.fprs)
    return group_parts(scored, audited, expose(LOSS, audited, ExposureSettings()), MEASURE)


def test_texts_and_few_numbers_stay_as_they_are():
    r = people(4)
    assert unit_values(np.array(["b", "a", "b", "c"], dtype=object), r).tolist() == ["b", "a", "b", "c"]
    assert unit_values(np.array([3, 1, 2, 1]), r).tolist() == ["3", "1", "2", "1"]
    assert unit_values(np.array([True, False, True, True]), r).tolist() == ["True", "False", "True", "True"]


def test_many_numbers_become_quartiles_and_missing_ones_a_group_of_their_own():
    values = np.arange(100, dtype=float)
    values[[3, 50]] = np.nan
    named = unit_values(values, people(100))
    assert (
        set(named) == {"0 to 25.25", "25.25 to 50.5", "50.5 to 74.75", "74.75 to 99", "missing"} or len(set(named)) == 5
    )
    assert named[3] == named[50] == "missing"
    counts = [int((named == v).sum()) for v in set(named) - {"missing"}]
    assert max(counts) - min(counts) <= 1
    for value, name in zip(values, named, strict=True):
        if name != "missing":
            low, high = map(float, name.split(" to "))
            assert low <= value <= high


def test_few_distinct_numbers_with_a_missing_one_name_it():
    assert "nan" in set(unit_values(np.array([1.0, np.nan, 2.0, 1.0]), people(4)))


@pytest.mark.parametrize("start", [1_000_000, 20_230_100, 1e15])
def test_large_numbers_that_differ_little_are_still_told_apart(start):
    """Found: edges written with six digits, so that all quartiles had one name and were one group."""
    named = unit_values(start + np.arange(40.0), people(40))
    assert len(set(named)) == 4


def test_numbers_of_which_most_are_equal():
    named = unit_values(np.concatenate([np.zeros(80), np.arange(1.0, 21)]), people(100))
    assert len(set(named[:80])) == 1
    assert named[80] != named[0]


def test_all_values_missing_or_infinite():
    assert set(unit_values(np.full(20, np.nan), people(20))) == {"nan"}
    values = np.where(np.arange(40) % 2 == 0, np.inf, np.arange(40.0))
    assert "missing" in set(unit_values(values, people(40)))


def test_units_whose_rows_differ_are_mixed():
    r = Records(ids=range(6), features=np.zeros((6, 1)), labels=[0, 1] * 3, unit=list("aabbcc"))
    assert unit_values(np.array(list("xxxyyy"), dtype=object), r).tolist() == ["x", MIXED, "y"]


def test_every_class_is_a_group_even_where_labels_are_many_numbers(world):
    """Found: integer labels of more than twelve classes were cut into quartiles, as if they were ages."""
    audited = world(models=8, records=200)
    r = audited.records
    labels = np.arange(200) % 20
    exposure = expose(LOSS, audited, ExposureSettings())
    scored = summarise_targets(LOSS, "loss", "loss", score_targets(LOSS, audited), audited, MEASURE.fprs)
    audited = replace(
        audited, records=Records(ids=r.ids, features=r.features, labels=labels, known_classes=np.arange(20))
    )
    found = group_parts(scored, audited, exposure, MEASURE)
    assert sorted(p.name for p in found) == sorted(map(str, range(20)))
    assert all(p.by == "class" for p in found)


def test_the_largest_values_are_shown_where_there_are_very_many(world):
    audited = world(models=8, records=400)
    values = np.array([f"town {i % 50 if i < 100 else i % 5}" for i in range(400)], dtype=object)
    found = [p for p in parts_of(audited, town=values) if p.by == "town"]
    assert len(found) == MOST_VALUES
    assert {f"town {i}" for i in range(5)} <= {p.name for p in found}


def test_a_group_named_class_does_not_replace_the_classes(world):
    audited = world(models=8)
    found = parts_of(audited, **{"class": np.array(["first", "second"] * 60, dtype=object)})
    assert {p.name for p in found} == {"0", "1", "2", "first", "second"}


def test_the_auc_of_a_group_is_the_mean_over_targets_of_its_own_auc(world):
    audited = world(models=8, leak=1.0)
    sex = np.array(["f", "m"] * 60, dtype=object)
    found = next(p for p in parts_of(audited, sex=sex) if p.name == "f")
    scores = score_targets(LOSS, audited)
    own = sex == "f"
    expected = np.mean([auc(s[own], m[own]) for s, m in zip(scores, audited.member, strict=True)])
    assert found.auc.value == pytest.approx(expected)
    assert found.auc.low < expected < found.auc.high
    assert found.records == 60


def test_a_group_without_members_and_non_members_in_some_target_has_a_reason_and_no_crash(world):
    audited = world(models=8)
    rare = np.array(["rare"] + ["usual"] * 119, dtype=object)
    found = next(p for p in parts_of(audited, kind=rare) if p.name == "rare")
    assert found.auc.value is None
    assert found.auc.reason


def test_groups_count_units(world):
    audited = world(models=8, records=120, rows=4)
    side = np.where(audited.records.units % 3 == 0, "left", "right").astype(object)
    found = {p.name: p.records for p in parts_of(audited, side=side) if p.by == "side"}
    assert found == {"left": 10, "right": 20}
