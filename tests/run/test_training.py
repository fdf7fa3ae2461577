"""Training what is missing of a plan."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from locard.errors import RunStopped, SettingsError
from locard.plan.designs import pairs
from locard.run.backend import LocalBackend
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.train.jobs import Training, plan_jobs
from locard.train.recipe import SklearnRecipe
from locard.train.store import Store


class Moody(ClassifierMixin, BaseEstimator):
    """Fails where the training set holds the first record, and warns always."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def fit(self, x, y):
        import warnings

        warnings.warn("slow to converge", RuntimeWarning, stacklevel=1)
        if self.fails and (x[:, 0] == 99).any():
            raise ValueError("record 99 is strange")
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x):
        return np.full((len(x), 2), 0.5)


def jobs_of(records, folder, recipe, models=6):
    r = records(40)
    x = r.features.copy()
    x[0, 0] = 99
    changed = type(r)(ids=r.ids, features=x, labels=r.labels)
    plan = pairs(r, np.arange(30), models=models, seed=Seed(0))
    made = plan_jobs(recipe, changed, plan, np.arange(30, 40), Seed(0))
    return made, Training(recipe, changed, np.arange(30), np.arange(30, 40), folder.store), plan


def test_progress_starts_at_what_is_finished_and_ends_at_all(records, tmp_path):
    recipe, told = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier"), []
    watch = Watch(progress=lambda stage, done, total: told.append((done, total)))
    with RunFolder(tmp_path) as folder:
        made, work, _ = jobs_of(records, folder, recipe)
        train_missing(work, made[:2], folder, LocalBackend(1), watch)
        train_missing(work, made, folder, LocalBackend(1), watch)
    assert told == [(0, 2), (1, 2), (2, 2), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_warnings_of_the_recipe_are_told_once_with_their_number(records, tmp_path):
    said = []
    with RunFolder(tmp_path) as folder:
        made, work, _ = jobs_of(records, folder, SklearnRecipe.of(Moody()))
        train_missing(work, made, folder, LocalBackend(1), Watch(warn=said.append))
        folder.end()
    assert said == ["6 of 6 models said: RuntimeWarning: slow to converge"]
    kept = json.loads((tmp_path / "run.json").read_text())["warnings"]
    assert kept == {"RuntimeWarning: slow to converge": 6}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fit_that_raises_is_one_message_with_the_model_and_finished_models_stay(records, tmp_path, workers):
    with RunFolder(tmp_path) as folder:
        made, work, plan = jobs_of(records, folder, SklearnRecipe.of(Moody(fails=True)))
        with pytest.raises(SettingsError, match=r"model \d .*raised ValueError: record 99 is strange") as told:
            train_missing(work, made, folder, LocalBackend(workers), Watch())
        failed = int(str(told.value).split("model ")[1].split()[0])
        assert plan.member[failed, 0]
        assert "Mend target.params, the estimator or the data" in str(told.value)
        if workers == 1:  # two workers may be at two models when the first of them fails
            assert all(folder.store.sound(j.key) for j in made[:failed])


def test_a_watch_is_silent_unless_told_otherwise(capsys):
    Watch().progress("stage", 1, 2)
    Watch().warn("message")
    assert capsys.readouterr() == ("", "")


def flip(path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_flipped_bit_is_found_before_anything_is_computed_and_made_again_in_the_same_run(records, tmp_path):
    """Its header and size are right: the start takes it for finished."""
    recipe, said, told = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier"), [], []
    with RunFolder(tmp_path) as folder:
        made, work, _ = jobs_of(records, folder, recipe)
        train_missing(work, made, folder, LocalBackend(1), Watch())
        whole = folder.store.path(made[2].key).read_bytes()
    flip(folder.store.path(made[2].key))
    with RunFolder(tmp_path) as folder:
        work = jobs_of(records, folder, recipe)[1]
        watch = Watch(progress=lambda stage, done, total: told.append((done, total)), warn=said.append)
        train_missing(work, made, folder, LocalBackend(1), watch)
        assert folder.timings["models"] == {"total": 6, "reused": 5, "trained": 1}
    assert folder.store.path(made[2].key).read_bytes() == whole
    assert said == [
        f"{made[2].key}.safetensors is damaged; it was moved to {made[2].key}.damaged-1 and will be made again."
    ]
    assert told == [(5, 6), (6, 6)]


def test_models_that_are_gone_or_damaged_right_after_training_stop_the_run(records, tmp_path):
    """Workers that write where nobody reads, or a disk that does not keep: training for ever would not help."""
    recipe = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier")
    with RunFolder(tmp_path / "run") as folder:
        made, work, _ = jobs_of(records, folder, recipe)
        elsewhere = Training(recipe, work.records, work.audited, work.population, Store(tmp_path / "elsewhere"))
        with pytest.raises(RunStopped, match=r"6 of the 6 models just trained are gone from .*run/observations"):
            train_missing(elsewhere, made, folder, LocalBackend(1), Watch())

        class Forgetful(Training):
            def __call__(self, chunk):
                done = Training.__call__(self, chunk)
                for job in chunk.jobs:
                    flip(folder.store.path(job.key))
                return done

        forgetful = Forgetful(recipe, work.records, work.audited, work.population, folder.store)
        with pytest.raises(RunStopped, match=r"6 of the 6 .* or damaged\. Check that disk"):
            train_missing(forgetful, made, folder, LocalBackend(1), Watch())
