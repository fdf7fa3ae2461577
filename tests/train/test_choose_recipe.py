"""From ``[target]``, or a Python object, to the recipe that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.tree import DecisionTreeClassifier

from locard.errors import SettingsError
from locard.settings import TargetSettings, make_settings
from locard.train.choose_recipe import OWN_KEYS, RECIPES, foreign_keys, recipe_given, recipe_of, written_down
from locard.train.function_recipe import FunctionRecipe
from locard.train.recipe import SklearnRecipe

TREE = "sklearn.tree.DecisionTreeClassifier"


def train(features, labels, *, seed, epochs=1):
    raise NotImplementedError


def test_settings_name_the_recipe(tmp_path):
    (tmp_path / "mine.py").write_text("def train(x, y, *, seed, epochs=1): ...\n")
    of = {
        "sklearn": TargetSettings(estimator=TREE, params={"max_depth": 3}),
        "mine:train": TargetSettings(recipe="mine:train", params={"epochs": 3}, answers="logits", preprocess="none"),
    }
    tree, mine = (recipe_of(t, tmp_path, device="cuda") for t in of.values())
    assert tree == SklearnRecipe(estimator=TREE, params={"max_depth": 3})
    assert mine == FunctionRecipe(path="mine:train", params={"epochs": 3}, answers="logits", preprocess="none")
    assert mine.device == "cuda"
    for recipe, target in zip((tree, mine), of.values(), strict=True):
        again = make_settings({"data": {"source": "d"}, "target": written_down(recipe)}).target
        assert again == target


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"recipe": "sklern"}, r"'module:function' is needed, found 'sklern'\. Nearest: sklearn\."),
        ({"recipe": "keras"}, r"target\.recipe: 'sklearn'.* is needed, found 'keras'\. There are: sklearn"),
        ({"recipe": "none:train"}, r"target\.recipe: a module 'none' is needed"),
        (
            {"answers": "logits"},
            r"target\.answers: it belongs to recipe 'module:function', found with recipe 'sklearn'",
        ),
        ({"recipe": "mine:train", "estimator": TREE}, r"target\.estimator: it belongs to recipe 'sklearn', found with"),
        ({"recipe": "a:b:c"}, r"target\.recipe: 'module:function' is needed, found 'a:b:c'"),
    ],
)
def test_what_is_meant_by_nothing_is_refused(tmp_path, target, said):
    (tmp_path / "mine.py").write_text("def train(x, y, *, seed): ...\n")
    with pytest.raises(SettingsError, match=said):
        recipe_of(TargetSettings(**target), tmp_path)


def test_all_problems_are_told_at_once(tmp_path):
    with pytest.raises(SettingsError) as wrong:
        recipe_of(TargetSettings(answers="logits", estimator="sklearn.tree.Nothing"), tmp_path)
    assert len(wrong.value.problems) == 2


def test_every_recipe_of_the_table_has_its_keys_and_every_key_is_a_setting():
    assert set(OWN_KEYS) == {*RECIPES, "module:function"}
    assert {k for keys in OWN_KEYS.values() for k in keys} <= set(TargetSettings.model_fields)
    assert foreign_keys(TargetSettings(), "module:function") == []


def test_python_may_give_an_estimator_a_function_or_a_recipe():
    assert isinstance(recipe_given(DecisionTreeClassifier(), {"preprocess": "none"}), SklearnRecipe)
    given = recipe_given(train, {"params": {"epochs": 2}, "answers": "logits", "preprocess": "none"})
    assert (given.params, given.answers, given.preprocess) == ({"epochs": 2}, "logits", "none")
    assert recipe_given(given, {}) is given


@pytest.mark.parametrize("thing", ["mine:train", 3, DecisionTreeClassifier])
def test_other_objects_are_refused_with_what_would_do(thing):
    with pytest.raises(SettingsError, match=r"RandomForestClassifier.*, a training function, or a Recipe"):
        recipe_given(thing, {})


def test_weights_are_checked_for_every_recipe():
    for thing in (train, SklearnRecipe(estimator="sklearn.neighbors.KNeighborsClassifier")):
        with pytest.raises(SettingsError, match=r"data\.weight"):
            recipe_given(thing, {}, weights=True)
    with pytest.raises(SettingsError, match=r"data\.weight"):
        recipe_of(TargetSettings(estimator="sklearn.neighbors.KNeighborsClassifier"), Path("nowhere"), weights=True)
