"""XGBoost, LightGBM and CatBoost through the scikit-learn recipe: threads, seeds, classes, early stopping, silence.

Planted, each seen to fail: no ``settle`` (threads, seeds, files written), labels handed over with a gap (XGBoost
refuses), validation records left among the training records, XGBoost's time stamps left in its warnings.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import locard
from locard.data.records import Records
from locard.errors import SettingsError
from locard.run.backend import LocalBackend
from locard.run.training import Watch
from locard.train import fingerprint
from locard.train.boosting import LIBRARIES, held_out, settle
from locard.train.recipe import SklearnRecipe

CLASSES = {
    "xgboost": "xgboost.XGBClassifier",
    "lightgbm": "lightgbm.LGBMClassifier",
    "catboost": "catboost.CatBoostClassifier",
}
SMALL: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": 6, "max_depth": 3},
    "lightgbm": {"n_estimators": 6, "num_leaves": 6, "min_child_samples": 3},
    "catboost": {"iterations": 6, "depth": 3},
}
DRAWN: dict[str, dict[str, Any]] = {  # settings under which a fit is random
    "xgboost": {"subsample": 0.5},
    "lightgbm": {"bagging_fraction": 0.5, "bagging_freq": 1},
    "catboost": {"bootstrap_type": "Bernoulli", "subsample": 0.5},
}
THREADS = {
    "xgboost": ("n_jobs", "nthread"),
    "lightgbm": ("n_jobs", "num_threads", "nthread"),
    "catboost": ("thread_count",),
}


@pytest.fixture(params=sorted(CLASSES))
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return str(request.param)


def recipe(library: str, **params: Any) -> SklearnRecipe:
    return SklearnRecipe(estimator=CLASSES[library], params=SMALL[library] | params)


def said(of: SklearnRecipe, records: Records, index: np.ndarray, seed: int = 3) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM on few records: no further splits
        return of.fit(records, index, seed)(records.features)


# -- threads, seeds, versions ------------------------------------------------------------------------------------------


def own_threads(library: str, model: Any) -> int:
    """How many threads a fitted model says that it was trained with."""
    if library == "xgboost":
        return int(json.loads(model.get_booster().save_config())["learner"]["generic_param"]["nthread"])
    if library == "lightgbm":
        return int(model.booster_.params["num_threads"])
    return int(model.get_params()["thread_count"])  # CatBoost keeps no other account of it


def test_every_fit_uses_one_thread_whatever_was_asked_for(records, library, monkeypatch):
    kind, seen = type(recipe(library).build()), []
    fit = kind.fit

    def watched(self, *given, **named):
        fit(self, *given, **named)
        seen.append(own_threads(library, self))
        return self

    monkeypatch.setattr(kind, "fit", watched)
    for name in (None, *THREADS[library]):
        said(recipe(library, **({} if name is None else {name: 4})), records(60), np.arange(40))
    assert seen == [1] * (1 + len(THREADS[library]))


def test_threads_are_set_however_deep_a_booster_stands(library):
    model = CalibratedClassifierCV(make_pipeline(StandardScaler(), recipe(library).build()))
    settle(model, 1)
    assert model.estimator.steps[-1][1].get_params()[LIBRARIES[library].threads] == 1


def test_threads_are_no_part_of_the_key_and_the_packages_version_is(library, monkeypatch):
    first = recipe(library).fingerprint
    assert {recipe(library, **{name: 4}).fingerprint for name in THREADS[library]} == {first}
    assert recipe(library, random_state=1).fingerprint != first
    known = fingerprint._version
    monkeypatch.setattr(fingerprint, "_version", lambda p: f"{known(p)} +1" if p == library else known(p))
    assert recipe(library).fingerprint != first


def test_the_version_is_that_of_the_installed_distribution(library):
    if "site-packages" not in str(Path(sys.modules[library].__file__ or "")):
        pytest.skip(f"{library} is not installed in this environment itself")
    (told,) = [line for line in fingerprint.code_of(type(recipe(library).build())) if line.startswith(library)]
    assert told.split()[1].count(".") >= 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(records, library):
    r, index = records(200, classes=3), np.arange(120)
    drawn = recipe(library, **DRAWN[library])
    one, same, other = (said(drawn, r, index, seed) for seed in (3, 3, 4))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_a_seed_that_is_set_under_any_name_is_kept_and_told(records, library):
    r, index = records(200), np.arange(120)
    for name in LIBRARIES[library].seeds:
        fixed = recipe(library, **DRAWN[library], **{name: 5})
        assert said(fixed, r, index, 3).tobytes() == said(fixed, r, index, 4).tobytes()
        (caveat,) = fixed.caveats
        assert f"{name} is fixed in the recipe" in caveat
    assert recipe(library).caveats == ()


class Fits:
    """Work for a backend: one fit of one of these recipes, as bytes."""

    def __init__(self, recipes: dict[str, SklearnRecipe], records: Records) -> None:
        self.recipes, self.records = recipes, records

    def __call__(self, chunk: tuple[str, int]) -> tuple[str, int, bytes]:
        library, seed = chunk
        return library, seed, said(self.recipes[library], self.records, np.arange(120), seed).tobytes()


def test_any_number_of_workers_gives_the_same_bytes(records):
    """Estimator objects and dotted paths, sent to workers."""
    found = [name for name in ("xgboost", "lightgbm") if find_spec(name)]
    if not found:
        pytest.skip("neither xgboost nor lightgbm is installed")
    of = {name: recipe(name, **DRAWN[name]) for name in found}
    of |= {f"{name} object": SklearnRecipe.of(of[name].build()) for name in found}
    work, chunks = Fits(of, records(200, classes=3)), [(name, seed) for name in of for seed in range(3)]
    here, elsewhere = (sorted(LocalBackend(workers).map(work, chunks)) for workers in (1, 2))
    assert here == elsewhere


# -- data of all kinds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_class_that_is_missing_from_the_training_set_has_probability_zero(records, library, gone):
    r = records(120, classes=3)
    names = Records(ids=r.ids, features=r.features, labels=np.array(["a", "b", "c"])[r.y])
    index = np.flatnonzero(r.y != gone)[:60]
    logs = said(recipe(library), names, index)
    rest = [k for k in range(3) if k != gone]
    assert logs.shape == (120, 3)
    assert np.isneginf(logs[:, gone]).all()
    assert np.allclose(np.exp(logs).sum(axis=1), 1, atol=1e-5)
    assert (logs[index][:, rest].argmax(axis=1) == (r.y[index] == rest[1])).mean() > 0.7  # not the other way round


def test_a_class_may_be_missing_inside_another_estimator_too(records):
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    r = records(120, classes=3)
    index = np.flatnonzero(r.y != 1)[:60]
    inner = CalibratedClassifierCV(make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=3)), cv=2)
    logs = said(SklearnRecipe.of(inner), r, index)
    assert np.isneginf(logs[:, 1]).all()
    assert np.isfinite(logs[:, [0, 2]]).all()


def test_weights_reach_the_booster(records, library):
    r = records(120)
    half = np.where(np.arange(120) % 2 == 0, 1.0, 0.0)
    weighted = Records(ids=r.ids, features=r.features, labels=r.labels, weight=half)
    even, index = np.arange(0, 80, 2), np.arange(80)
    recipe(library).check(weights=True)
    plain, few, by_weight = (said(recipe(library), a, i) for a, i in ((r, index), (r, even), (weighted, index)))
    assert not np.allclose(plain, by_weight)
    agree = [(np.argmax(x, axis=1) == r.y)[even].mean() for x in (few, by_weight)]
    assert min(agree) > 0.75


def table() -> Records:
    rng = np.random.default_rng(3)
    town = rng.choice(["a", "b", "c"], size=200).astype(object)
    town[::11] = None
    age = rng.normal(40, 9, size=200)
    age[::7] = np.nan
    frame = pd.DataFrame({"age": age, "town": town, "nothing": np.full(200, np.nan)})
    return Records(ids=range(200), features=frame, labels=np.where(town == "b", "yes", "no"))


@pytest.mark.parametrize("preprocess", ["auto", "none", "native"])
def test_tables_with_categories_and_missing_values(library, preprocess):
    extra: dict[str, Any] = {"enable_categorical": True} if library == "xgboost" else {}
    if library == "catboost" and preprocess == "native":
        pytest.skip("CatBoost takes no missing values in categories")
    r = table()
    made = replace(recipe(library, **extra), preprocess=preprocess)
    index = np.arange(0, 200, 2)
    logs = said(made, r, index)
    assert np.isfinite(logs).all()
    assert (logs.argmax(axis=1) == r.y)[1::2].mean() > 0.9


def test_a_native_category_that_no_training_record_shows_is_missing(library):
    if library == "catboost":
        pytest.skip("CatBoost takes no missing values in categories")
    r = table()
    assert r.columns is not None
    place = next(i for i, c in enumerate(r.columns) if c.kind == "category")
    codes = r.features.copy()
    codes[:100, place] = np.nan
    gone = Records(ids=r.ids, features=codes, labels=r.labels, columns=r.columns)
    extra: dict[str, Any] = {"enable_categorical": True} if library == "xgboost" else {}
    logs = said(replace(recipe(library, **extra), preprocess="native"), gone, np.arange(100))
    assert np.isfinite(logs).all()


# -- early stopping ----------------------------------------------------------------------------------------------------


def test_early_stopping_watches_a_tenth_of_the_models_own_records_and_learns_from_the_rest(records, library):
    """The trained model equals the library's own, fitted by hand on the nine tenths with the tenth to watch."""
    r, index, seed = records(300), np.arange(200), 3
    rounds = {"catboost": "iterations"}.get(library, "n_estimators")
    made = recipe(library, early_stopping_rounds=2, **{rounds: 80})
    logs = said(made, r, index, seed)
    x, y = r.features[index], r.y[index]
    held = held_out(y, seed)
    assert 0.08 <= held.mean() <= 0.1
    model = made.build()
    settle(model, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x[~held], y[~held], **LIBRARIES[library].validation(model, x[held], y[held], None))
    best = {"catboost": "get_best_iteration"}.get(
        library, "best_iteration" if library == "xgboost" else "best_iteration_"
    )
    stopped = getattr(model, best)() if library == "catboost" else getattr(model, best)
    assert 0 < stopped < 60
    assert np.allclose(np.exp(logs), model.predict_proba(r.features), atol=1e-6)
    weights = np.where(np.arange(300) < 100, 1.0, 3.0)
    weighted = Records(ids=r.ids, features=r.features, labels=r.labels, weight=weights)
    assert not np.array_equal(said(made, weighted, index, seed), logs)


def test_what_is_held_out_depends_on_the_seed_and_spares_classes_of_one():
    y = np.array([0] * 50 + [1] * 5 + [2])
    one, same, other = held_out(y, 1), held_out(y, 1), held_out(y, 2)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert [int(one[y == k].sum()) for k in range(3)] == [5, 1, 0]


def test_early_stopping_inside_another_estimator_is_refused_before_training(library):
    inside = make_pipeline(StandardScaler(), recipe(library, early_stopping_rounds=3).build())
    with pytest.raises(SettingsError, match=r"early stopping needs validation records.*stands inside Pipeline"):
        SklearnRecipe.of(inside)


# -- silence -----------------------------------------------------------------------------------------------------------


def test_nothing_is_printed_and_no_file_is_written(records, library, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said(recipe(library), records(100), np.arange(60))
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []


def test_the_same_warning_of_many_models_is_told_once(records, quick, capfd):
    """XGBoost stamps its warnings with the time, LightGBM prints them once a tree."""
    for library, params, words in (
        ("xgboost", {"no_such_thing": 3}, 'Parameters: { "no_such_thing" } are not used.'),
        ("lightgbm", {"min_child_samples": 500}, "There are no meaningful features"),
    ):
        pytest.importorskip(library, reason=f"{library} is not installed")
        heard: list[str] = []
        watch = Watch(warn=heard.append)
        locard.audit(records(90), recipe(library, **params).build(), models=4, attacks=["loss"], watch=watch, **quick)
        assert next(h for h in heard if words in h).startswith("4 of 4 models said: UserWarning: ")
        assert len(heard) == len({h.split(": ", 1)[1] for h in heard}) <= 2
    assert capfd.readouterr().out == ""
