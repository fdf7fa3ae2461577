"""From ``[target]``, or a Python object, to the recipe that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.tree import DecisionTreeClassifier

from locard.errors import SettingsError
from locard.settings import RECIPE_KEYS, TargetSettings, make_settings
from locard.train.choose_recipe import RECIPES, recipe_given, recipe_of, written_down
from locard.train.function_recipe import FunctionRecipe
from locard.train.neural.recipe import TorchRecipe
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
    assert set(RECIPE_KEYS) == {*RECIPES, "module:function"}
    assert {k for keys in RECIPE_KEYS.values() for k in keys} <= set(TargetSettings.model_fields)
    assert TargetSettings(recipe="mine:train").foreign == {}


def test_a_network_from_settings_has_the_optimiser_s_settings_by_torch_s_names(tmp_path):
    target = TargetSettings(
        recipe="torch",
        module="mlp",
        params={"hidden": [3]},
        momentum=0.9,
        optimizer_params={"dampening": 0.1},
        epochs=4,
    )
    recipe = recipe_of(target, tmp_path)
    assert isinstance(recipe, TorchRecipe)
    assert recipe.optimizer_params == {"momentum": 0.9, "dampening": 0.1}
    assert (recipe.module, recipe.params, recipe.passes, recipe.batch_size) == ("mlp", {"hidden": [3]}, 4, 100)
    again = recipe_of(TargetSettings(**written_down(recipe)), tmp_path)
    assert again.fingerprint == recipe.fingerprint
    assert "estimator" not in target.model_dump()
    assert "epochs" not in TargetSettings().model_dump()


def test_keys_of_a_network_are_refused_for_an_estimator(tmp_path):
    with pytest.raises(
        SettingsError, match=r"target\.epochs: it belongs to recipe 'torch', found with recipe 'sklearn'"
    ):
        recipe_of(TargetSettings(epochs=3), tmp_path)


def test_everything_wrong_with_a_network_is_told_at_once(tmp_path):
    bad = {"module": "mpl", "optimizer": "adma", "schedule": "cosin", "epochs": 0, "augment": ["flop"]}
    with pytest.raises(SettingsError) as wrong:
        recipe_of(TargetSettings(recipe="torch", **bad), tmp_path)
    said = "\n".join(wrong.value.problems)
    for word in ("mlp", "Adam", "cosine", "target.epochs", "flip"):
        assert word in said
    assert len(wrong.value.problems) == 5


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
