"""Checkpoints: keyed by what is in them, opened in every way that a model can be; all that is wrong is told at once."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.checkpoints import Asking, Checkpoints, open_checkpoints
from locard.observe.models import Opening
from locard.train.jobs import Chunk
from locard.train.store import Store

skops_io = pytest.importorskip("skops.io", reason="needs the extra 'skops'")
AUDITED, POPULATION = np.arange(50), np.arange(50, 60)


def fitted(r: Records, count: int = 3, *, kind: Any = DecisionTreeClassifier, **params: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    params = {"random_state": 0} | params
    return [kind(**params).fit(r.features[i], r.labels[i]) for i in (rng.permutation(60)[:30] for _ in range(count))]


@pytest.fixture
def files(records, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"m-{k}.skops" for k in range(3)]
    for model, path in zip(fitted(records(60), max_depth=3), paths, strict=True):
        skops_io.dump(model, path)
    return paths


def opened(sources: list[Any], r: Records, base: Path = Path(), **how: Any) -> Checkpoints:
    return open_checkpoints(sources, r, base=base, opening=Opening(**how))


def keys(c: Checkpoints, r: Records, places: Any = (AUDITED, POPULATION)) -> list[str]:
    return [j.key for j in c.jobs(r, [np.arange(30)] * len(c), places)]


def answers(c: Checkpoints, r: Records, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    store = Store(folder)
    work = Asking(c, r, AUDITED, POPULATION, store)
    done = work(Chunk(tuple(c.jobs(r, [np.arange(30)] * len(c), (AUDITED, POPULATION)))))
    return tuple(np.stack([store.read(d.key, name) for d in done]) for name in ("logits", "population"))  # type: ignore[return-value]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_what_each_model_says_of_the_audited_and_of_the_population_is_stored(records, files, tmp_path, monkeypatch):
    monkeypatch.setattr("locard.observe.checkpoints.BLOCK", 7)  # answers in blocks are the same answers
    r = records(60)
    audited, population = answers(opened(files, r), r, tmp_path / "store")
    for k, model in enumerate(fitted(r, max_depth=3)):
        with np.errstate(divide="ignore"):
            expected = np.log(model.predict_proba(r.features)).astype(np.float32)
        assert audited[k, :, 0].tobytes() == expected[AUDITED].tobytes()
        assert population[k, :, 0].tobytes() == expected[POPULATION].tobytes()


def test_objects_answer_like_their_files(records, files, tmp_path):
    r = records(60)
    from_files, from_objects = opened(files, r), opened(fitted(r, max_depth=3), r)
    assert answers(from_files, r, tmp_path / "a")[0].tobytes() == answers(from_objects, r, tmp_path / "b")[0].tobytes()
    assert from_objects.name == from_files.name == "checkpoints trained elsewhere (DecisionTreeClassifier)"


def test_a_model_that_lacks_a_class_gives_it_probability_zero(records, tmp_path):
    """In whatever order its own classes stand."""
    r = records(60, classes=3)
    some = np.flatnonzero(r.y != 1)
    models = [DecisionTreeClassifier(max_depth=2).fit(r.features[i], r.labels[i].astype(str)) for i in (some, AUDITED)]
    logs, _ = answers(opened(models, r), r, tmp_path)
    assert np.isneginf(logs[0, :, 0, 1]).all()
    with np.errstate(divide="ignore"):
        assert np.allclose(logs[0][:, 0, [0, 2]], np.log(models[0].predict_proba(r.features[AUDITED])))
        assert np.allclose(logs[1][:, 0], np.log(models[1].predict_proba(r.features[AUDITED])))


LOADER = """
import numpy as np
class Half:
    classes_ = np.array([0, 1])
    def __init__(self, path): self.share = float(open(path).read())
    def predict_proba(self, x): return np.tile([1 - self.share, self.share], (len(x), 1))
def load(path): return Half(path)
def logits(path):
    share = float(open(path).read())
    return lambda features: np.tile([0.0, share], (len(features), 1))
def shape(path):
    return lambda features: np.full((len(features), 2), float(features.shape[1] == 2 and hasattr(features, "columns")))
def fails(path): return 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    (tmp_path / "my_loader.py").write_text(LOADER)
    for k in range(2):
        (tmp_path / f"w-{k}.weights").write_text(f"{0.2 + 0.5 * k}")
    return [tmp_path / f"w-{k}.weights" for k in range(2)]


def test_a_loader_is_called_with_the_path(records, own, tmp_path):
    r = records(60)
    logs, _ = answers(opened(own, r, tmp_path, loader="my_loader:load"), r, tmp_path / "store")
    assert np.allclose(np.exp(logs[:, 0, 0, 1]), [0.2, 0.7])


def test_a_loader_may_give_a_function_that_answers_with_logits(records, own, tmp_path):
    r = records(60)
    made = opened(own, r, tmp_path, loader="my_loader:logits", answers="logits")
    logs, _ = answers(made, r, tmp_path / "store")
    assert np.allclose(logs[:, 0, 0, 1], [0.2, 0.7])
    assert made.probability_floor is None
    with pytest.raises(SettingsError, match=r"w-0\.weights: .*probabilities between 0 and 1|sum to 1"):
        opened(own, r, tmp_path, loader="my_loader:logits")
    with pytest.raises(
        SettingsError, match=r"target\.answers: \"probabilities\" is needed for models with predict_proba"
    ):
        opened(own, r, tmp_path, loader="my_loader:load", answers="logits")


def test_a_loaders_function_is_asked_with_the_table_as_it_was_given(own, tmp_path):
    frame = pd.DataFrame({"age": np.arange(60.0), "town": np.array(["a", "b"] * 30, dtype=object)})
    r = Records(ids=range(60), features=frame, labels=np.arange(60) % 2)
    logs, _ = answers(opened(own, r, tmp_path, loader="my_loader:shape", answers="logits"), r, tmp_path / "store")
    assert (logs == 1).all()


@pytest.mark.parametrize(
    ("kind", "params", "floor"),
    [
        (DecisionTreeClassifier, {}, 1e-6),
        (RandomForestClassifier, {"n_estimators": 5}, 0.1),
        (LogisticRegression, {}, 1e-6),
    ],
)
def test_the_floor_is_that_of_what_was_trained(records, kind, params, floor):
    r = records(60)
    assert opened(fitted(r, kind=kind, **params), r).probability_floor == floor


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_key_is_what_is_in_the_file_and_what_it_is_asked(records, files, tmp_path):
    """Planted: the name in the key (a renamed file asked again), the digest left out (another model's answers)."""
    r = records(60)
    before = keys(opened(files, r), r)
    assert len(set(before)) == 3
    renamed = shutil.copy(files[0], tmp_path / "other.skops")
    assert keys(opened([Path(renamed), *files[1:]], r), r) == before
    assert keys(opened(files[::-1], r), r) == before[::-1]
    skops_io.dump(fitted(r, 1, max_depth=1)[0], tmp_path / "more.skops")
    assert keys(opened([*files, tmp_path / "more.skops"], r), r)[:3] == before  # more models keep the others' keys
    assert not set(keys(opened(files, records(60, seed=1)), records(60, seed=1))) & set(before)
    assert not set(keys(opened(files, r), r, (AUDITED[:-1], POPULATION))) & set(before)
    assert not set(keys(opened(files, r), r, (AUDITED, POPULATION[:-1]))) & set(before)
    shutil.copy(tmp_path / "more.skops", files[0])
    after = keys(opened(files, r), r)
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True]


def test_the_loaders_text_and_the_versions_behind_a_model_are_in_the_key(records, own, tmp_path, monkeypatch):
    r = records(60)
    before = keys(opened(own, r, tmp_path, loader="my_loader:load"), r)
    (tmp_path / "my_loader.py").write_text(LOADER + "# a word\n")
    assert not set(keys(opened(own, r, tmp_path, loader="my_loader:load"), r)) & set(before)
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    models = fitted(r, kind=xgboost.XGBClassifier, n_estimators=2)
    before = keys(opened(models, r), r)
    monkeypatch.setattr("locard.train.fingerprint._version", lambda package: f"{package} 99")
    assert not set(keys(opened(models, r), r)) & set(before)


def test_the_same_object_has_the_same_key_and_another_fit_another(records):
    r = records(60)
    one, again = opened(fitted(r), r), opened(fitted(r), r)
    assert keys(one, r) == keys(again, r)
    assert one.fingerprint == again.fingerprint
    assert not set(keys(one, r)) & set(keys(opened(fitted(r, max_depth=2), r), r))


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_all_of_them_is_told_at_once(records, files, tmp_path):
    r = records(60)
    (tmp_path / "broken.skops").write_bytes(b"PK nonsense")
    (tmp_path / "bomb.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (tmp_path / "odd.h5").write_bytes(b"x")
    strange = LogisticRegression().fit(r.features, np.array(["no", "yes"])[r.y])
    wide = LogisticRegression().fit(np.tile(r.features, 2), r.labels)
    skops_io.dump(strange, tmp_path / "strange.skops")
    skops_io.dump(wide, tmp_path / "wide.skops")
    names = ["broken.skops", "bomb.pkl", "odd.h5", "none.skops", "strange.skops", "wide.skops"]
    with pytest.raises(SettingsError) as wrong:
        opened([*files, *(tmp_path / n for n in names)], r)
    said = dict(zip(names, wrong.value.problems, strict=True))
    assert said["broken.skops"].startswith("references.checkpoints: broken.skops: a whole skops file is needed")
    assert "set references.trust_pickle = true" in said["bomb.pkl"]
    assert "a .skops or .onnx file" in said["odd.h5"]
    assert "none.skops" in said["none.skops"]
    assert "the classes of the data (0, 1) is needed, found one with (no, yes)" in said["strange.skops"]
    assert "references.checkpoints: wide.skops: answers for the columns of the data are needed" in said["wide.skops"]


class Says:
    classes_ = np.array([0, 1])

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_proba(self, x):
        if isinstance(self.answer, Warning):
            warnings.warn(self.answer, stacklevel=1)
            return np.full((len(x), 2), 0.5)
        return np.full((len(x), *np.shape(self.answer)), self.answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0.2, 0.3, 0.5], r"probabilities of shape .* are needed, found shape \(\d+, 3\)"),
        ([1.5, -0.5], "probabilities between 0 and 1"),
        ([np.nan, 1.0], "probabilities between 0 and 1"),
        (0.5, r"found shape \(\d+,\)"),
    ],
)
def test_answers_that_are_none_are_told_before_the_audit(records, answer, said):
    r = records(60)
    with pytest.raises(SettingsError, match=rf"references\.checkpoints: checkpoint 1 \(Says\): .*{said}"):
        opened([Says([0.5, 0.5]), Says(answer)], r)


def test_a_model_given_twice_is_refused_with_both_names(records, files, tmp_path):
    copy = tmp_path / "copies" / files[0].name
    copy.parent.mkdir()
    shutil.copy(files[0], copy)
    with pytest.raises(SettingsError, match=rf"needed once, but {tmp_path.name}/m-0\.skops and copies/m-0\.skops are"):
        opened([*files, copy], records(60))


def test_a_file_that_changes_after_the_check_is_not_asked(records, files, tmp_path):
    """Planted: the digest taken on trust; the answers of another model would lie under this one's key."""
    r = records(60)
    made = opened(files, r)
    skops_io.dump(fitted(r, 1, max_depth=1)[0], files[1])
    with pytest.raises(
        SettingsError, match=r"m-1\.skops: the file that was checked is needed, but it has changed since"
    ):
        answers(made, r, tmp_path / "store")
    assert len(list((tmp_path / "store").glob("*.safetensors"))) == 1


def test_one_model_is_too_few_and_a_lambda_cannot_be_told_apart(records):
    r = records(60)
    with pytest.raises(SettingsError, match="at least 2 models are needed, found 1"):
        opened(fitted(r, 1), r)
    with pytest.raises(SettingsError, match=r"pickling checkpoint 0 \(Says\) raised .*references\.loader"):
        opened([Says(lambda: 1), Says([0.5, 0.5])], r)


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ("my_loader:fails", r"w-0\.weights: a model is needed from 'my_loader:fails', but it raised ZeroDivisionError"),
        ("my_loader:lod", r"references\.loader: my_loader has no 'lod'\. Nearest: load"),
        ("no_such_loader:load", r"references\.loader: a module 'no_such_loader' is needed"),
    ],
)
def test_a_loader_that_cannot_be_used_is_told(records, own, tmp_path, loader, said):
    with pytest.raises(SettingsError, match=said):
        opened(own, records(60), tmp_path, loader=loader)


def test_a_pickle_is_opened_on_the_users_word_alone(records, tmp_path):
    r = records(60)
    paths = [tmp_path / f"m-{k}.joblib" for k in range(2)]
    for model, path in zip(fitted(r, 2), paths, strict=True):
        joblib.dump(model, path)
    with pytest.raises(SettingsError, match=r"m-0\.joblib is a pickle"):
        opened(paths, r)
    assert len(opened(paths, r, trust_pickle=True)) == 2


def test_warnings_are_those_of_the_audit_not_of_the_check(records, tmp_path, recwarn):
    r = records(60)
    made = opened([Says(UserWarning("old version")), Says([0.5, 0.5])], r)
    assert not recwarn.list
    jobs = made.jobs(r, [np.arange(30)] * 2, (AUDITED, POPULATION))
    work = Asking(made, r, AUDITED, POPULATION, Store(tmp_path))
    assert [done.warned for done in work(Chunk(tuple(jobs)))] == [("UserWarning: old version",), ()]
