"""One released model: who was in it must be known, and what differs from the references is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from locard.assess.released import Answers, ask, assess_released, member_mask, need_both_sides
from locard.attacks import attack
from locard.data.records import Records
from locard.data.split import Split
from locard.errors import SettingsError
from locard.observe.models import load_model
from locard.plan.draw import draw_plan
from locard.seeds import Seed
from locard.settings import MeasureSettings, ReferenceSettings
from locard.train.recipe import SklearnRecipe

ATTACKS = {name: attack(name) for name in ("lira", "loss")}
MEASURE = MeasureSettings(fprs=(0.1,))
NOTHING = np.zeros(0, dtype=np.int64)


def answers_of(audited, inside, *, leak=0.0, seed=1, **told) -> Answers:
    """A model of the same world as the references."""
    rng = np.random.default_rng(seed)
    signal = audited.observations.logits(0)[:, 0].copy()
    at = audited.observations.y
    signal[np.arange(len(at)), at] = 1 + np.log(2) + rng.normal(size=len(at)) + leak * inside
    return Answers(
        "m", signal[:, None].astype(np.float32), NOTHING, None, told.pop("trained", int(inside.sum())), **told
    )


# -- who was in it -----------------------------------------------------------------------------------------------------


def test_members_are_found_by_their_ids_as_text(records):
    r = Records(ids=[5, 1, 12, 7], features=np.zeros((4, 1)), labels=[0, 1, 0, 1])
    assert member_mask(r, ["12", "5"]).tolist() == [True, False, True, False]


def test_all_rows_of_a_member_unit_are_members():
    r = Records(ids=list("aabb"), features=np.zeros((4, 1)), labels=[0, 1, 0, 1], unit=list("ppqq"))
    assert member_mask(r, ["a"]).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["5", "x", "y"], r"2 of 3 are unknown \(first: 'x'\)\. Check data\.id"),
        (["1"], r"1 units are on both.*\(first: 'p'\)\. List all their rows or none"),
    ],
)
def test_unknown_ids_and_units_on_both_sides_are_refused(ids, said):
    r = Records(ids=[5, 1, 12, 7], features=np.zeros((4, 1)), labels=[0, 1, 0, 1], unit=list("ppqq"))
    with pytest.raises(SettingsError, match=said):
        member_mask(r, ids)


def test_a_model_without_known_non_members_is_refused_with_the_way_out():
    with pytest.raises(SettingsError, match=r"known non-members in the data are needed.*leave \[released\] out"):
        need_both_sides(np.ones(9, dtype=bool), "in the data")
    with pytest.raises(SettingsError, match=r"members in the data are needed, found none"):
        need_both_sides(np.zeros(9, dtype=bool), "in the data")


# -- its numbers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def inside() -> np.ndarray:
    return np.random.default_rng(3).random(300) < 0.5


def test_a_released_model_that_leaks_is_found_and_one_that_does_not_is_not(world, inside):
    audited = world(models=8, records=300, leak=3.0)
    leaky = assess_released(answers_of(audited, inside, leak=3.0), inside, ATTACKS, audited, None, MEASURE)
    tight = assess_released(answers_of(audited, inside), inside, ATTACKS, audited, None, MEASURE)
    assert leaky.part.attacks[0].auc.low > 0.8
    assert tight.part.attacks[0].auc.low < 0.5 < tight.part.attacks[0].auc.high
    assert leaky.part.members + leaky.part.non_members == 300
    assert set(leaky.scores) == {"lira", "loss"}
    assert leaky.scores["lira"].shape == (300,)


def test_no_epsilon_is_claimed_for_a_model_whose_coins_nobody_saw(world, inside):
    part = assess_released(
        answers_of(world(records=300), inside), inside, ATTACKS, world(records=300), None, MEASURE
    ).part
    assert all(a.epsilon.value is None and "fair coins" in a.epsilon.reason for a in part.attacks)
    assert "nothing of a retraining" in part.statement


@pytest.mark.parametrize(("trained", "said"), [(150, False), (157, False), (240, True), (30, True), (None, False)])
def test_a_training_size_that_differs_is_said(world, inside, trained, said):
    audited = world(models=8, records=300)
    part = assess_released(answers_of(audited, inside, trained=trained), inside, ATTACKS, audited, None, MEASURE).part
    assert any("plan = 'subsample'" in w for w in part.warnings) is said


def warned(world, inside, recipe, model) -> str:
    audited = world(models=8, records=300)
    told = load_model(model, base=Path())
    answers = answers_of(audited, inside, trained=150, kind=told.kind, parameters=told.parameters)
    return " ".join(assess_released(answers, inside, ATTACKS, audited, recipe, MEASURE).part.warnings)


def forest(**params) -> SklearnRecipe:
    return SklearnRecipe(estimator="sklearn.ensemble.RandomForestClassifier", params=params)


def test_another_kind_of_model_is_said(world, inside):
    said = warned(world, inside, forest(), DecisionTreeClassifier())
    assert "is a DecisionTreeClassifier, the references are RandomForestClassifier" in said


@pytest.mark.parametrize(
    ("recipe", "model", "said"),
    [
        ({"max_depth": 3}, {"max_depth": 3}, None),
        ({"max_depth": 3}, {"max_depth": 5}, "max_depth (5, not 3)"),
        ({}, {"max_depth": 5}, "max_depth (5, not None)"),  # found: only what the recipe sets was compared
        ({"max_depth": 5}, {}, "max_depth (None, not 5)"),
        ({}, {"random_state": 3, "n_jobs": 2, "verbose": 1}, None),
        ({"class_weight": {0: 1, 1: 2}}, {"class_weight": {0: 1, 1: 2}}, None),
    ],
)
def test_settings_that_differ_from_the_references_are_said_by_name_and_value(world, inside, recipe, model, said):
    told = warned(world, inside, forest(**recipe), RandomForestClassifier(**model))
    assert (said in told) if said else told == ""


def test_the_classifier_at_the_end_of_a_pipeline_is_what_is_compared(world, inside, tmp_path):
    (tmp_path / "make_forest.py").write_text(
        "from sklearn.ensemble import RandomForestClassifier\ndef make():\n    return RandomForestClassifier()\n"
    )
    own = SklearnRecipe(estimator="make_forest:make", folder=str(tmp_path))
    model = make_pipeline(StandardScaler(), RandomForestClassifier())
    assert warned(world, inside, own, model) == ""  # found: the function's name was compared with the class's


def test_an_attack_that_cannot_run_on_it_is_said_instead_of_failing(world, inside):
    audited = world(models=8, records=300, population=40)
    unseen = np.arange(3)
    logits = audited.population.logits(0)[unseen]
    base = answers_of(audited, inside)
    answers = Answers("m", base.logits, unseen, logits, base.trained)
    both = ATTACKS | {"attack_p": attack("attack_p")}
    part = assess_released(answers, inside, both, audited, None, MEASURE).part
    if attack("attack_p").needs.population > 3:
        assert [a.name for a in part.attacks] == ["lira", "loss"]
        assert any("attack_p was not run on the released model: it needs" in w for w in part.warnings)
    none = assess_released(base, inside, both, audited, None, MEASURE).part
    assert [a.name for a in none.attacks] == ["lira", "loss"]


def test_population_records_that_it_was_trained_on_are_left_out(records):
    r = records(60)
    model = load_model(DecisionTreeClassifier().fit(r.features, r.labels), base=Path())
    member = np.zeros(60, dtype=bool)
    member[[3, 52, 57]] = True
    said = ask(model, member, r, np.arange(50), np.arange(50, 60))
    assert said.unseen.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert said.population.shape == (8, 1, 2)
    assert said.trained == 3


def test_references_that_never_saw_a_class_are_no_obstacle(records):
    r = records(60, classes=3)
    model = load_model(DecisionTreeClassifier().fit(r.features, r.labels), base=Path())
    said = ask(model, np.arange(60) < 30, r, np.arange(60), NOTHING)
    assert np.isneginf(said.logits).any()
    assert said.population is None


def test_with_a_design_that_is_no_pairs_the_references_are_thinned(world, inside, records):
    plan = draw_plan(
        ReferenceSettings(models=9, plan="subsample", fraction=0.5),
        records(300),
        Split(np.arange(300), NOTHING),
        seed=Seed(2),
    )
    audited = world(plan, leak=2.0)
    part = assess_released(answers_of(audited, inside, leak=2.0), inside, ATTACKS, audited, None, MEASURE).part
    assert part.attacks[0].auc.value > 0.7


def test_units_count_once(world):
    audited = world(models=8, records=120, rows=4, leak=2.0)
    inside = audited.records.units % 2 == 0
    part = assess_released(answers_of(audited, inside, leak=2.0), inside, ATTACKS, audited, None, MEASURE).part
    assert part.attacks[0].tpr[0].non_members == 15
