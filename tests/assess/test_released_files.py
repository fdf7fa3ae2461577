"""Released models as files: skops, ONNX, pickle only on the user's word, functions; damaged ones are one message."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from locard.data.records import Records
from locard.errors import LocardError, SettingsError
from locard.observe.models import Opening, load_model
from locard.prepare import read_ids

skops_io = pytest.importorskip("skops.io")


class Mine(DecisionTreeClassifier):
    """A type that skops does not know."""


@pytest.fixture
def people(records) -> Records:
    return records(60)


@pytest.fixture
def fitted(people):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(people.features, people.labels)


def same_answers(model, fitted, people) -> None:
    model.check(people)
    np.testing.assert_allclose(
        np.exp(model.log_probabilities(people)[:, 0]), fitted.predict_proba(people.features), atol=1e-5
    )


@pytest.mark.parametrize("estimator", [LogisticRegression(), DecisionTreeClassifier(max_depth=3)])
def test_a_skops_file_of_scikit_learns_own_models_needs_no_trust(people, tmp_path, estimator):
    model = estimator.fit(people.features, people.labels)
    skops_io.dump(model, tmp_path / "model.skops")
    same_answers(load_model("model.skops", base=tmp_path), model, people)


def test_a_skops_file_with_unknown_types_names_them(people, tmp_path):
    skops_io.dump(Mine().fit(people.features, people.labels), tmp_path / "mine.skops")
    with pytest.raises(SettingsError, match=r"types that skops does not know to be safe \(.*Mine\)") as wrong:
        load_model("mine.skops", base=tmp_path)
    with pytest.raises(SettingsError, match="types that skops does not know"):
        load_model("mine.skops", base=tmp_path, opening=Opening(trust_pickle=True))  # it is no pickle
    named = str(wrong.value).split("(")[1].split(")")[0].split(", ")
    load_model("mine.skops", base=tmp_path, opening=Opening(trust_types=tuple(named))).check(people)


def test_an_onnx_file_answers_like_the_model_it_was_made_from(people, fitted, tmp_path):
    pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType

    for zipmap in (True, False):
        made = skl2onnx.convert_sklearn(
            fitted, initial_types=[("x", FloatTensorType([None, 4]))], options={id(fitted): {"zipmap": zipmap}}
        )
        (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
        same_answers(load_model("model.onnx", base=tmp_path), fitted, people)


def test_an_onnx_model_of_other_columns_is_one_message(people, fitted, tmp_path, records):
    pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType

    made = skl2onnx.convert_sklearn(fitted, initial_types=[("x", FloatTensorType([None, 4]))])
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    model = load_model("model.onnx", base=tmp_path)
    with pytest.raises(SettingsError, match=r"released\.model: answers for the columns of the data are needed"):
        model.check(records(60, features=7))
    with pytest.raises(SettingsError, match=r"of shape \(60, 3\) .* are needed, found shape \(60, 2\)"):
        model.check(records(60, classes=3))


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pickle"])
def test_a_pickle_is_never_opened_unless_the_user_says_so(people, fitted, tmp_path, name):
    bomb = tmp_path / "went-off"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (bomb,))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(SettingsError, match=r"is a pickle, and opening one runs whatever code is in it.*trust_pickle"):
        load_model(name, base=tmp_path)
    assert not bomb.exists()
    joblib.dump(fitted, tmp_path / name)
    same_answers(load_model(name, base=tmp_path, opening=Opening(trust_pickle=True)), fitted, people)


def test_a_function_beside_the_settings_may_make_the_model(people, fitted, tmp_path):
    (tmp_path / "releasing.py").write_text(
        "import numpy as np\n"
        "class Half:\n    classes_ = np.array([0, 1])\n"
        "    def predict_proba(self, x):\n        return np.full((len(x), 2), 0.5)\n"
        "def load():\n    return Half()\ndef fail():\n    return 1 / 0\ndef other():\n    return 3\n"
    )
    model = load_model("releasing:load", base=tmp_path)
    model.check(people)
    assert model.name == "releasing:load"
    for wrong, said in {
        "releasing:fail": r"released\.model: a model is needed from 'releasing:fail', but it raised ZeroDivisionError",
        "releasing:other": r"predict_proba\(features\) is needed, found a int",
        "releasing:lod": r"released\.model: releasing has no 'lod'",
        "nowhere_at_all:load": r"released\.model: a module 'nowhere_at_all' is needed",
    }.items():
        with pytest.raises(SettingsError, match=said):
            load_model(wrong, base=tmp_path)


@pytest.mark.parametrize("suffix", ["skops", "onnx", "joblib"])
def test_damaged_files_are_one_message_wherever_the_damage_is(people, fitted, tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    if suffix == "skops":
        skops_io.dump(fitted, path)
    elif suffix == "joblib":
        joblib.dump(fitted, path)
    else:
        skl2onnx = pytest.importorskip("skl2onnx")
        from skl2onnx.common.data_types import FloatTensorType

        made = skl2onnx.convert_sklearn(fitted, initial_types=[("x", FloatTensorType([None, 4]))])
        path.write_bytes(made.SerializeToString())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    damaged = [b"", b"nonsense", whole[: len(whole) // 2], whole[:-3]]
    for _ in range(30):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        damaged.append(bytes(data))
    for data in damaged:
        path.write_bytes(data)
        said = None
        try:
            load_model(path.name, base=tmp_path, opening=Opening(trust_pickle=True)).check(people)
        except LocardError as wrong:
            said = str(wrong)
        assert said is None or said.startswith("released.model: ")
    assert len(whole) > 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.skops", "does not exist"),
        ("model.h5", r"\.skops or \.onnx file, or 'module:function'"),
        (".", "is a folder"),
    ],
)
def test_missing_and_unknown_files(tmp_path, name, said):
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(SettingsError, match=said):
        load_model(name, base=tmp_path)


def test_a_model_whose_classes_differ_is_refused_with_both_lists(people, records):
    model = load_model(LogisticRegression().fit(people.features, np.array(["no", "yes"])[people.y]), base=Path())
    with pytest.raises(SettingsError, match=r"classes of the data \(0, 1\) is needed, found one with \(no, yes\)"):
        model.check(people)
    three = records(60, classes=3)
    with pytest.raises(SettingsError, match=r"\(0, 1, 2\)"):
        load_model(LogisticRegression().fit(people.features, people.labels), base=Path()).check(three)


def test_classes_of_another_number_type_are_the_same_classes(people):
    load_model(LogisticRegression().fit(people.features, people.labels.astype(float)), base=Path()).check(people)


class Strange:
    classes_ = np.array([0, 1])

    def __init__(self, answer):
        self.answer = answer

    def predict_proba(self, x):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full((len(x), 2), self.answer)


@pytest.mark.parametrize("answer", [1.5, -0.1, np.nan, np.inf])
def test_answers_that_are_no_probabilities_are_refused(people, answer):
    with pytest.raises(SettingsError, match="probabilities between 0 and 1 are needed from predict_proba"):
        load_model(Strange(answer), base=Path()).log_probabilities(people)


@pytest.mark.parametrize("answer", [1.5, np.nan])
def test_bad_answers_to_any_of_many_records_are_found_before_training(records, answer):
    r = records(60)

    class Late(Strange):
        def predict_proba(self, x):
            said = super().predict_proba(x)
            said[len(x) // 2 :] = answer
            return said

    class Short(Strange):
        def predict_proba(self, x):
            return super().predict_proba(x)[: max(2, len(x) - 1)]

    with pytest.raises(SettingsError, match="probabilities between 0 and 1 are needed from predict_proba, found"):
        load_model(Late(0.5), base=Path()).check(r)
    with pytest.raises(SettingsError, match=r"shape \(60, 2\) .*found shape \(59, 2\)"):
        load_model(Short(0.5), base=Path()).check(r)


def test_rounding_below_zero_is_no_fault(people):
    """An ONNX forest of float32 votes gives -1.2e-7 and 1.0000001."""
    load_model(Strange(-1.2e-7), base=Path()).check(people)
    load_model(Strange(1.0000005), base=Path()).check(people)


@pytest.fixture
def colours():
    """A table with a category, and the codes that its owner gave it (not the sorted ones)."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"size": rng.normal(size=80), "colour": rng.choice(["red", "blue", "green"], 80)})
    mine = np.c_[frame["size"], frame["colour"].map({"red": 0, "green": 1, "blue": 2})].astype(float)
    labels = np.where(frame["colour"] == "green", "yes", "no")
    return Records(ids=range(80), features=frame, labels=labels), frame, mine


def test_a_model_without_column_names_is_asked_with_the_table_not_with_our_codes(colours):
    """A model that knows codes of its own once took ours for them, and its accuracy was wrong in silence."""
    r, frame, mine = colours
    with pytest.raises(SettingsError, match=r"asking DecisionTreeClassifier raised ValueError.*could not convert"):
        load_model(DecisionTreeClassifier().fit(mine, r.labels), base=Path()).check(r)
    onehot = make_pipeline(OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier())
    same_answers_as_table(onehot.fit(frame.to_numpy(), r.labels), frame.to_numpy(), r)
    same_answers_as_table(onehot.fit(frame, r.labels), frame, r)


def same_answers_as_table(fitted, table, r) -> None:
    model = load_model(fitted, base=Path())
    model.check(r)
    np.testing.assert_allclose(np.exp(model.log_probabilities(r)[:, 0]), fitted.predict_proba(table), atol=1e-6)


def test_an_onnx_model_of_one_numeric_input_is_not_fed_codes(colours, tmp_path):
    pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType

    r, _, mine = colours
    fitted = LogisticRegression().fit(mine, r.labels)
    made = skl2onnx.convert_sklearn(fitted, initial_types=[("x", FloatTensorType([None, 2]))])
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(SettingsError, match=r"takes numbers, but the data has categories \(colour\)"):
        load_model("model.onnx", base=tmp_path).check(r)


@pytest.mark.parametrize("text", ["\ufeffa\nb c\n\nd\u2028e\n", "a\r\nb c\r\nd\u2028e"])
def test_ids_of_a_text_file_are_read_as_they_are(tmp_path, text):
    """With the byte-order mark of other editors, and with signs that Python takes for line ends."""
    (tmp_path / "ids.txt").write_bytes(text.encode())
    assert read_ids(tmp_path / "ids.txt") == ["a", "b c", "d\u2028e"]


def test_a_model_that_raises_is_one_message(people):
    with pytest.raises(SettingsError, match=r"asking Strange raised ValueError: X has 4 features\."):
        load_model(Strange(ValueError("X has 4 features.\nmore")), base=Path()).check(people)


def test_a_model_trained_on_a_table_is_asked_with_that_table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=60), "town": rng.choice(["a", "b"], size=60).astype(object)})
    r = Records(ids=range(60), features=frame, labels=np.arange(60) % 2)
    from sklearn.compose import make_column_transformer

    encoder = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, r.labels)
    released = load_model(model, base=Path())
    released.check(r)
    np.testing.assert_allclose(np.exp(released.log_probabilities(r)[:, 0]), model.predict_proba(frame), atol=1e-6)
    other = Records(ids=range(60), features=frame[["age"]], labels=np.arange(60) % 2)
    with pytest.raises(SettingsError, match="town"):
        released.check(other)
