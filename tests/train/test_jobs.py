"""Job keys: they change with everything that may change a model's answers, and with nothing else."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from locard.data.records import Records
from locard.errors import RunStopped, SettingsError
from locard.plan.designs import out_only, pairs
from locard.seeds import Seed
from locard.train import jobs
from locard.train.jobs import Chunk, JobDone, Training, plan_jobs
from locard.train.recipe import SklearnRecipe
from locard.train.store import Store

TREE = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 3})
POPULATION = np.arange(50, 60)
AUDITED = np.arange(50)


def some(**changed) -> Records:
    rng = np.random.default_rng(0)
    fields = {
        "ids": [f"r{i}" for i in range(60)],
        "features": rng.normal(size=(60, 3)),
        "labels": np.arange(60) % 2,
        "weight": np.ones(60),
    }
    return Records(**(fields | changed))


def keys(
    records=None, *, recipe=TREE, models=4, seed=7, audited=AUDITED, population=POPULATION, plan=None
) -> list[str]:
    r = some() if records is None else records
    drawn = pairs(r, audited, models=models, seed=Seed(seed).child("plan")) if plan is None else plan
    return [j.key for j in plan_jobs(recipe, r, drawn, population, Seed(seed))]


def nudged(array: np.ndarray, place: int, by: float) -> np.ndarray:
    out = np.array(array, dtype=np.float64)
    out.reshape(-1)[place] += by
    return out


def test_nothing_changed_is_a_full_hit():
    assert keys() == keys()
    again = some(ids=[f"other {i}" for i in range(60)], groups={"sex": ["f", "m"] * 30})
    assert keys(again) == keys()  # ids and groups are no part of training


CHANGES = {
    "one feature": lambda: keys(some(features=nudged(some().features, 100, 1e-12))),
    "the type of the features": lambda: keys(some(features=some().features.astype(np.float32))),
    "one label": lambda: keys(some(labels=np.r_[1, some().labels[1:]])),
    "the names of the classes": lambda: keys(some(labels=some().labels + 1)),
    "one weight": lambda: keys(some(weight=nudged(some().weight, 3, 1e-9))),
    "no weights": lambda: keys(some(weight=None)),
    "the order of the records": lambda: keys(some(features=some().features[::-1])),
    "a parameter": lambda: keys(recipe=replace(TREE, params={"max_depth": 4})),
    "the preprocessing": lambda: keys(recipe=replace(TREE, preprocess="standardise")),
    "the estimator": lambda: keys(recipe=replace(TREE, estimator="sklearn.tree.ExtraTreeClassifier")),
    "the seed": lambda: keys(seed=8),
    "the audited records": lambda: keys(audited=np.arange(49)),
    "the population": lambda: keys(population=np.arange(51, 60)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_of_data_labels_weights_recipe_seed_or_plan_is_a_miss(what):
    assert not set(CHANGES[what]()) & set(keys())


def test_another_plan_row_is_a_miss_for_that_row_alone():
    r = some()
    plan = pairs(r, AUDITED, models=4, seed=Seed(7).child("plan"))
    rows = (plan.train_index[0], plan.train_index[1][1:], *plan.train_index[2:])
    changed = keys(plan=replace(plan, train_index=rows))
    assert [a == b for a, b in zip(changed, keys(), strict=True)] == [True, False, True, True]


@pytest.mark.parametrize("package", ["python", "numpy", "scipy", "scikit-learn"])
def test_another_version_is_a_miss(package, monkeypatch):
    before, told = keys(), jobs.versions()
    assert package in told
    monkeypatch.setattr(jobs, "versions", lambda: told.replace(package, package + " 99"))
    assert not set(keys()) & set(before)


def test_more_models_reuse_all_that_exist():
    few, many = keys(models=4), keys(models=12)
    assert many[:4] == few
    assert len(set(many)) == 12


def test_more_references_reuse_all_targets_and_more_targets_all_references():
    """Planted: numbers that run through the whole plan gave every target another seed with every reference more."""
    r = some()

    def of(models: int, targets: int) -> tuple[set[str], set[str]]:
        plan = out_only(
            r, AUDITED[:30], models=models, targets=targets, outside=AUDITED[30:], size=15, replace=True, seed=Seed(0)
        )
        made = plan_jobs(TREE, r, plan, POPULATION, Seed(0))
        assert len({j.seed for j in made}) == len(made)
        return tuple({made[m].key for m in which} for which in (plan.references, plan.targets))

    references, targets = of(4, 6)
    more_references, same_targets = of(8, 6)
    same_references, more_targets = of(4, 10)
    assert same_targets == targets < more_targets
    assert same_references == references < more_references


def test_models_of_one_plan_never_share_a_key_nor_a_seed():
    r = some()
    plan = pairs(r, AUDITED, models=8, seed=Seed(0))
    twins = replace(plan, train_index=(plan.train_index[0],) * 8)
    made = plan_jobs(TREE, r, twins, POPULATION, Seed(0))
    assert len({j.key for j in made}) == len({j.seed for j in made}) == 8


# -- one job -----------------------------------------------------------------------------------------------------------


class Says(ClassifierMixin, BaseEstimator):
    """An estimator that raises, warns or leaves, as it is told."""

    def __init__(self, what: str = "") -> None:
        self.what = what

    def fit(self, x, y):
        import warnings

        self.classes_ = np.unique(y)
        if self.what == "value":
            raise ValueError("the matrix is singular")
        if self.what == "memory":
            raise MemoryError
        if self.what == "exit":
            raise SystemExit(0)
        if self.what == "warn":
            warnings.warn("did not converge\nat all", UserWarning, stacklevel=1)
            warnings.warn("did not converge\nat all", UserWarning, stacklevel=1)
        return self

    def predict_proba(self, x):
        if self.what == "ask":
            raise KeyError("no column")
        return np.full((len(x), 2), 0.5)


def one(tmp_path, recipe, population=POPULATION) -> tuple[JobDone, Store]:
    r = some(weight=None)
    store = Store(tmp_path)
    plan = pairs(r, AUDITED, models=4, seed=Seed(0))
    made = plan_jobs(recipe, r, plan, population, Seed(0))
    return Training(recipe, r, AUDITED, population, store)(Chunk((made[2],)))[0], store


@pytest.mark.parametrize("population", [POPULATION, np.zeros(0, dtype=np.int64)])
def test_a_job_stores_what_its_model_says_of_the_audited_and_of_the_population(tmp_path, population, monkeypatch):
    monkeypatch.setattr(jobs, "BLOCK", 7)  # answers in blocks are the same answers
    done, store = one(tmp_path, TREE, population)
    r = some(weight=None)
    index = pairs(r, AUDITED, models=4, seed=Seed(0)).train_index[2]
    seed = Seed(0).child("model", "both", 2).integer()
    said = TREE.fit(r, index, seed)
    assert np.array_equal(store.read(done.key, "logits")[:, 0], said(r.features[AUDITED]))
    if len(population):
        assert np.array_equal(store.read(done.key, "population")[:, 0], said(r.features[population]))
    else:
        assert store.shape(done.key, "population") == (0, 1, 2)


@pytest.mark.parametrize(
    ("what", "raised", "said"),
    [
        (
            "value",
            SettingsError,
            r"model 2 \(\d+ training records\) raised ValueError: the matrix is singular \(test_jobs",
        ),
        ("ask", SettingsError, r"model 2 .* raised KeyError.*run the same command again"),
        ("exit", SettingsError, "model 2 .* raised SystemExit"),
        ("memory", RunStopped, r"Memory for model 2 .*ran out\. Lower compute\.workers or data\.pool"),
    ],
)
def test_what_the_users_own_code_raises_is_one_message_with_the_model_and_what_to_do(tmp_path, what, raised, said):
    with pytest.raises(raised, match=said):
        one(tmp_path, SklearnRecipe.of(Says(what)))
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_it_warns_of_is_kept_once_a_model_and_does_not_go_to_the_terminal(tmp_path, recwarn):
    done, _ = one(tmp_path, SklearnRecipe.of(Says("warn")))
    assert done.warned == ("UserWarning: did not converge",)
    assert not recwarn.list


class SlowStore(Store):
    """Files take their time, the first ones longest; one of them cannot be written. Counts who writes at once."""

    def __init__(self, folder, full=""):
        super().__init__(folder)
        self.full, self.now, self.most = full, 0, 0

    def write(self, key, tensors):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.02)
        self.now -= 1
        if key == self.full:
            raise RunStopped("the disk is full")
        super().write(key, tensors)


def test_a_chunk_is_done_when_all_of_its_files_are(tmp_path):
    """Several are written at once, no more than ``WRITERS``; one that fails is told, whichever it is.

    Planted: results of the last writes not waited for. The error of the last file is then lost.
    """
    r, plan = some(weight=None), pairs(some(weight=None), AUDITED, models=12, seed=Seed(0))
    made = plan_jobs(TREE, r, plan, POPULATION, Seed(0))
    store = SlowStore(tmp_path / "good")
    done = Training(TREE, r, AUDITED, POPULATION, store)(Chunk(tuple(made)))
    assert [d.key for d in done] == [j.key for j in made]
    assert store.missing([j.key for j in made]) == ([], [])
    assert 1 < store.most <= jobs.WRITERS
    for place in (0, 5, 11):
        full = SlowStore(tmp_path / str(place), made[place].key)
        with pytest.raises(RunStopped, match="the disk is full"):
            Training(TREE, r, AUDITED, POPULATION, full)(Chunk(tuple(made)))
