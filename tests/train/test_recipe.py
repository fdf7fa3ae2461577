"""``SklearnRecipe``: what it refuses, what its fingerprint names, and that all learning happens inside the fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from locard.data.records import Records
from locard.errors import SettingsError
from locard.train.recipe import Recipe, SklearnRecipe

TREE = "sklearn.tree.DecisionTreeClassifier"
FOREST = "sklearn.ensemble.RandomForestClassifier"


def double(x):
    return 2 * x


def triple(x):
    return 3 * x


class Own(ClassifierMixin, BaseEstimator):
    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, x, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.share_ = counts / len(y)
        return self

    def predict_proba(self, x):
        return np.tile(self.share_, (len(x), 1)) + self.shift


# -- what identifies a recipe ------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_every_part_and_with_no_other():
    def fp(**changed):
        return SklearnRecipe(**{"estimator": TREE, "params": {"max_depth": 3}, **changed}).fingerprint

    same = [fp(), fp(), fp(params={"max_depth": 3, "n_jobs": 4}), fp(params={"max_depth": np.int64(3)})]
    assert len(set(same)) == 1
    other = [
        fp(params={}),
        fp(params={"max_depth": 4}),
        fp(params={"max_depth": 3.0}),
        fp(params={"max_depth": 3, "min_samples_leaf": 2}),
        fp(params={"max_depth": 3, "random_state": 0}),
        fp(preprocess="none"),
        fp(preprocess="standardise"),
        fp(estimator="sklearn.tree.ExtraTreeClassifier"),
    ]
    assert len({same[0], *other}) == 9


def test_n_jobs_is_no_part_of_a_recipe_however_deep_it_stands():
    def fp(jobs):
        inner = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5, n_jobs=jobs))
        return SklearnRecipe.of(CalibratedClassifierCV(inner, n_jobs=jobs)).fingerprint

    assert fp(None) == fp(4)


def test_nested_estimators_functions_and_arrays_are_named_by_their_content():
    def fp(estimator):
        return SklearnRecipe.of(estimator).fingerprint

    def pipe(function, **kwargs):
        return make_pipeline(FunctionTransformer(function), LogisticRegression(**kwargs))

    def adder(by):
        def add(x):
            return x + by

        return add

    prints = [
        fp(CalibratedClassifierCV(GaussianNB())),
        fp(CalibratedClassifierCV(GaussianNB(var_smoothing=1e-3))),
        fp(CalibratedClassifierCV(DecisionTreeClassifier())),
        fp(pipe(double)),
        fp(pipe(triple)),
        fp(pipe(double, C=2.0)),
        fp(pipe(np.log1p)),
        fp(pipe(np.sqrt)),
        fp(pipe(lambda x: x)),
        fp(pipe(lambda x: x + 1)),
        fp(pipe(adder(1))),
        fp(pipe(adder(2))),
        fp(GaussianNB(priors=np.array([0.5, 0.5]))),
        fp(GaussianNB(priors=np.array([0.4, 0.6]))),
        fp(Own()),
        fp(Own(shift=0.1)),
    ]
    assert len(set(prints)) == len(prints)
    assert fp(pipe(adder(2))) == prints[11]
    assert fp(pipe(lambda x: x + 1)) == prints[9]


def test_the_users_own_module_and_what_it_uses_are_part_of_the_fingerprint(tmp_path):
    def written(body, helper, other="x = 1"):
        (tmp_path / "my_recipe.py").write_text(body)
        (tmp_path / "my_helper.py").write_text(helper)
        (tmp_path / "my_other.py").write_text(other)
        return SklearnRecipe(estimator="my_recipe:make", folder=str(tmp_path)).fingerprint

    body = (
        "from my_helper import DEPTH\nfrom sklearn.tree import DecisionTreeClassifier\n"
        "def make():\n    return DecisionTreeClassifier(max_depth=DEPTH)\n"
    )
    first = written(body, "DEPTH = 3")
    assert written(body, "DEPTH = 3", "x = 2") == first  # a module that it does not use
    with_use = "import my_helper\n" + body
    second = written(with_use, "DEPTH = 3")
    assert second != first
    assert written(with_use, "DEPTH = 4") != second
    assert written(with_use + "# a word\n", "DEPTH = 3") != second


def test_a_class_without_a_file_is_named_by_its_code():
    """A notebook's or an exec's: redefining the class is another recipe."""

    def defined(share):
        space = {"__name__": "nowhere", "BaseEstimator": BaseEstimator, "ClassifierMixin": ClassifierMixin, "np": np}
        exec(
            "class Made(ClassifierMixin, BaseEstimator):\n"
            "    def fit(self, x, y):\n        self.classes_ = np.unique(y)\n        return self\n"
            f"    def predict_proba(self, x):\n        return np.full((len(x), 2), {share})\n",
            space,
        )
        return SklearnRecipe.of(space["Made"]()).fingerprint

    assert defined(0.5) == defined(0.5) != defined(0.4)


def test_an_installed_packages_version_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    """As for XGBoost and LightGBM: their update may change every model."""
    import locard.train.fingerprint as module

    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "boosted.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\nclass Boost(DecisionTreeClassifier): pass\n"
    )
    monkeypatch.syspath_prepend(str(site))
    recipe = SklearnRecipe(estimator="boosted.Boost")
    prints = []
    for version in ("boosted 1.0", "boosted 2.0"):
        monkeypatch.setattr(module, "_version", lambda package, v=version: v if package == "boosted" else package)
        prints.append(recipe.fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    "params",
    [
        {"random_state": np.random.RandomState(0)},
        {"max_depth": object()},
        {"criterion": b"gini"},
        {"max_features": {1}},
    ],
)
def test_parameters_that_cannot_be_written_down_are_refused(params):
    with pytest.raises(SettingsError, match=r"target\.params: values that can be written down are needed.*found a"):
        SklearnRecipe(estimator=TREE, params=params).check()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "params", "said"),
    [
        ("sklearn.tree.DecisionTreeClasifier", {}, r"path that can be imported.*DecisionTreeClasifier"),
        ("nowhere.Tree", {}, "path that can be imported"),
        ("DecisionTreeClassifier", {}, "package.module.Name or module:Name"),
        (TREE, {"max_dept": 3}, r"target\.params: .*TreeClassifier has no parameter 'max_dept'\. Nearest: max_depth"),
        (
            "sklearn.svm.SVC",
            {},
            r"predict_proba\(\) is needed, found sklearn\.svm\.SVC without one.*probability = true",
        ),
        ("sklearn.linear_model.RidgeClassifier", {}, "CalibratedClassifierCV"),
        ("sklearn.tree.DecisionTreeRegressor", {}, r"predict_proba\(\) is needed"),
        ("sklearn.preprocessing.StandardScaler", {}, r"predict_proba\(\) is needed"),
        ("builtins.dict", {}, r"estimator with fit\(\) is needed, found builtins\.dict"),
        ("math.sqrt", {}, r"target\.params"),
    ],
)
def test_an_estimator_that_cannot_be_audited_is_refused(estimator, params, said):
    with pytest.raises(SettingsError, match=said):
        SklearnRecipe(estimator=estimator, params=params).check()


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (SVC(), "predict_proba"),
        (RidgeClassifier(), "predict_proba"),
        (DecisionTreeClassifier, "found the class DecisionTreeClassifier. Give, for example"),
        ("sklearn.tree.DecisionTreeClassifier", "found str"),
        (None, "found NoneType"),
        (RandomForestClassifier(random_state=np.random.RandomState(0)), "written down"),
    ],
)
def test_an_object_that_is_no_classifier_is_refused(thing, said):
    with pytest.raises(SettingsError, match=said):
        SklearnRecipe.of(thing)


def test_weights_that_the_fit_does_not_take_are_refused():
    SklearnRecipe(estimator=TREE).check(weights=True)
    with pytest.raises(SettingsError, match=r"data\.weight: an estimator whose fit\(\) takes sample_weight"):
        SklearnRecipe(estimator="sklearn.neighbors.KNeighborsClassifier").check(weights=True)


# -- fitting -----------------------------------------------------------------------------------------------------------


def answers(recipe: Recipe, records: Records, index: np.ndarray, seed: int = 1) -> np.ndarray:
    return recipe.fit(records, index, seed)(records.features[index])


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=5),
        ExtraTreesClassifier(n_estimators=5),
        make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5)),
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=2),
    ],
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(records, estimator):
    r, recipe = records(80), SklearnRecipe.of(estimator)
    index = np.arange(40)
    one, same, other = (recipe.fit(r, index, s)(r.features) for s in (3, 3, 4))
    assert one.dtype == np.float32
    assert one.tobytes() == same.tobytes()
    if not isinstance(estimator, CalibratedClassifierCV):  # its folds are not shuffled, its tree ties seldom
        assert one.tobytes() != other.tobytes()


def test_a_random_state_that_is_set_is_kept(records):
    r = records(80)
    recipe = SklearnRecipe.of(RandomForestClassifier(n_estimators=5, random_state=0))
    assert answers(recipe, r, np.arange(40), 1).tobytes() == answers(recipe, r, np.arange(40), 2).tobytes()


def test_a_class_that_is_missing_from_the_training_set_has_probability_zero_and_the_floor_stands_for_it(records):
    r = records(60, classes=3)
    index = np.flatnonzero(r.y != 1)
    logs = SklearnRecipe(estimator=TREE).fit(r, index, 0)(r.features)
    assert logs.shape == (60, 3)
    assert np.isneginf(logs[:, 1]).all()
    assert np.allclose(np.exp(logs).sum(axis=1), 1)


def test_probabilities_come_back_in_the_order_of_the_classes_of_the_records(records):
    r = records(60, classes=3)
    model = DecisionTreeClassifier(random_state=1, max_depth=3).fit(r.features[:40], r.y[:40])
    logs = SklearnRecipe(estimator=TREE, params={"max_depth": 3}).fit(r, np.arange(40), 1)(r.features)
    assert np.allclose(np.exp(logs), model.predict_proba(r.features), atol=1e-7)


@pytest.mark.parametrize(
    ("estimator", "floor"),
    [
        (RandomForestClassifier(n_estimators=50), 0.01),
        (ExtraTreesClassifier(n_estimators=10), 0.05),
        (make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=50)), 0.01),
        (BaggingClassifier(n_estimators=10), 0.05),
        (BaggingClassifier(DecisionTreeClassifier(), n_estimators=10), 0.05),
        (BaggingClassifier(LogisticRegression(), n_estimators=10), 1e-6),
        (KNeighborsClassifier(), 1e-6),
        (DecisionTreeClassifier(), 1e-6),
    ],
)
def test_probability_floors(estimator, floor):
    assert SklearnRecipe.of(estimator).probability_floor == floor


def test_the_floor_of_a_forest_that_a_users_function_makes(tmp_path):
    (tmp_path / "making.py").write_text(
        "from sklearn.ensemble import RandomForestClassifier\n"
        "def make(trees=20):\n    return RandomForestClassifier(n_estimators=trees)\n"
    )
    recipe = SklearnRecipe(estimator="making:make", folder=str(tmp_path))
    assert recipe.probability_floor == 1 / 40
    assert SklearnRecipe(estimator="making.make", params={"trees": 5}, folder=str(tmp_path)).probability_floor == 0.1


def changed_outside(r: Records, index: np.ndarray, value: float) -> Records:
    """The same records, with every feature of those outside the training set multiplied."""
    x = r.features.copy()
    rest = np.setdiff1d(np.arange(len(r)), index)
    x[rest] *= value
    return Records(ids=r.ids, features=x, labels=r.labels, columns=r.columns)


def test_standardising_is_learnt_inside_the_fit(records):
    """Planted: fitting the scaler on all records; the answers then differ by far."""
    r, index = records(60), np.arange(0, 60, 2)
    recipe = SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression", preprocess="standardise")
    kept, wild = (answers(recipe, records, index) for records in (r, changed_outside(r, index, 1e6)))
    assert kept.tobytes() == wild.tobytes()


def table(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    age = rng.normal(40, 9, size=n)
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "income": rng.lognormal(size=n),
            "town": rng.choice(["a", "b", "c"], size=n).astype(object),
            "nothing": np.full(n, np.nan),
        }
    )


def test_levels_and_scales_that_only_other_records_have_do_not_change_the_model():
    frame, y = table(), np.arange(80) // 2 % 2
    index = np.arange(0, 80, 2)
    other = frame.copy()
    other.loc[1::2, "income"] *= 1e6
    other.loc[1::2, "age"] = np.nan
    other.loc[1::2, "town"] = [["z", None][i % 2] for i in range(40)]
    recipe = SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression", params={"max_iter": 500})
    said = []
    for f in (frame, other):
        r = Records(ids=range(80), features=f, labels=y)
        predict = recipe.fit(r, index, 0)
        said.append(predict(r.features[index]))
        assert not np.isnan(predict(r.features)).any()  # unseen levels and missing values are answered
    assert np.allclose(said[0], said[1], atol=1e-5)


def test_a_table_with_missing_values_an_empty_column_and_weights_is_fitted():
    r = Records(ids=range(80), features=table(), labels=np.arange(80) % 2, weight=np.linspace(0.1, 1, 80))
    weighted = SklearnRecipe(estimator=TREE, params={"max_depth": 3}).fit(r, np.arange(40), 0)(r.features)
    plain = Records(ids=range(80), features=table(), labels=np.arange(80) % 2)
    unweighted = SklearnRecipe(estimator=TREE, params={"max_depth": 3}).fit(plain, np.arange(40), 0)(r.features)
    assert not np.array_equal(weighted, unweighted)


def test_images_are_flattened(records):
    x = np.random.default_rng(0).normal(size=(30, 4, 3))
    r = Records(ids=range(30), features=x, labels=np.arange(30) % 2)
    assert SklearnRecipe(estimator=TREE).fit(r, np.arange(20), 0)(x).shape == (30, 2)


def test_every_fit_uses_one_core(records, monkeypatch):
    seen = []
    fit = RandomForestClassifier.fit
    monkeypatch.setattr(RandomForestClassifier, "fit", lambda self, x, y: seen.append(self.n_jobs) or fit(self, x, y))
    r = records(40)
    inner = RandomForestClassifier(n_estimators=2, n_jobs=-1)
    for estimator in (inner, make_pipeline(StandardScaler(), inner), CalibratedClassifierCV(inner, cv=2, n_jobs=2)):
        SklearnRecipe.of(estimator).fit(r, np.arange(40), 0)
    assert set(seen) == {1}


@pytest.mark.parametrize("shift", [0.9, -0.9, np.nan])
def test_answers_that_are_no_probabilities_are_refused(records, shift):
    r = records(40)
    with pytest.raises(SettingsError, match=r"predict_proba\(\) must give numbers between 0 and 1 of shape \(40, 2\)"):
        answers(SklearnRecipe.of(Own(shift)), r, np.arange(40))


def test_training_changes_no_input(records, freeze):
    r = records(60)  # its arrays are read-only
    index = freeze(np.arange(30))
    for estimator in (GaussianNB(), RandomForestClassifier(n_estimators=3), LogisticRegression()):
        answers(SklearnRecipe.of(estimator, preprocess="standardise"), r, index)


def test_a_recipe_is_a_frozen_value_and_keeps_its_own_copy_of_the_estimator():
    tree = DecisionTreeClassifier(max_depth=3)
    recipe = SklearnRecipe.of(tree)
    tree.set_params(max_depth=9)
    assert recipe.build().max_depth == 3
    assert recipe.name.startswith("DecisionTreeClassifier(")
    assert isinstance(recipe, Recipe)
    assert hash(recipe) == hash(SklearnRecipe.of(DecisionTreeClassifier(max_depth=3)))
    with pytest.raises(AttributeError):
        recipe.estimator = "x"
    assert pickle.loads(pickle.dumps(recipe)).fingerprint == recipe.fingerprint


def test_the_users_module_beside_the_settings_is_found_and_only_while_it_is_imported(tmp_path):
    import sys

    (tmp_path / "beside.py").write_text("from sklearn.tree import DecisionTreeClassifier as Tree\n")
    SklearnRecipe(estimator="beside.Tree", folder=str(tmp_path)).check()
    assert str(Path(tmp_path)) not in sys.path
    with pytest.raises(SettingsError, match=r"target\.estimator: beside has no 'Three'"):
        SklearnRecipe(estimator="beside.Three", folder=str(tmp_path)).check()
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(SettingsError, match=r"target\.estimator: .*ZeroDivisionError"):
        SklearnRecipe(estimator="broken:make", folder=str(tmp_path)).check()


def test_values_that_scikit_learn_would_refuse_in_fit_are_refused_before_it():
    with pytest.raises(SettingsError, match=r"target\.params: The 'max_depth' parameter .* Got 'x'.* Mend"):
        SklearnRecipe(estimator=FOREST, params={"max_depth": "x"}).check()
    inner = make_pipeline(StandardScaler(), LogisticRegression(C=-1.0))
    with pytest.raises(SettingsError, match="The 'C' parameter of LogisticRegression"):
        SklearnRecipe.of(inner)
    SklearnRecipe(estimator=FOREST, params={"max_depth": 3}).check()


def test_missing_values_that_nothing_takes_are_refused_before_training():
    x = np.arange(40.0).reshape(20, 2)
    x[3, 1] = np.nan
    plain = Records(ids=range(20), features=x, labels=np.arange(20) % 2)
    with pytest.raises(SettingsError, match=r"because 1 values of the features are NaN.*LogisticRegression takes none"):
        SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression").check_missing(plain)
    for taken in (
        SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier"),
        SklearnRecipe.of(make_pipeline(SimpleImputer(), LogisticRegression())),
    ):
        taken.check_missing(plain)
    table = Records(ids=range(20), features=pd.DataFrame(x, columns=["a", "b"]), labels=np.arange(20) % 2)
    SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression").check_missing(table)  # the encoder fills them in
    with pytest.raises(SettingsError, match="takes none"):
        SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression", preprocess="none").check_missing(table)
