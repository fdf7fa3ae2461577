"""``FunctionRecipe``: what a training function is called with, what its key names, what is refused, how failures read.

Planted, each seen to fail: the encoder learnt on all records, ``device`` in the key, the folder off the path while the
function runs, printing left on standard output.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import locard
from locard.data.records import Records
from locard.errors import SettingsError
from locard.train.choose_recipe import written_down
from locard.train.function_recipe import FunctionRecipe
from locard.train.recipe import DEFAULT_FLOOR, Recipe

INDEX = np.arange(0, 60, 2)


def shares(features, labels, *, seed, device="cpu"):
    share = np.bincount(labels, minlength=2) / len(labels)
    return lambda asked: np.tile(share, (len(asked), 1))


class Heard:
    """A training function that keeps what it was called with."""

    def __init__(self, answer=None):
        self.calls = []
        self.asked = []
        self.answer = answer

    def make(self, form):
        def train(features, labels, **named):
            self.calls.append((features, labels, named))

            def predict(asked):
                self.asked.append(asked)
                return np.full((len(asked), 2), 0.5) if self.answer is None else self.answer(asked)

            return predict

        if form == "all":
            return train
        if form == "two":
            return lambda x, y, *, seed: train(x, y, seed=seed)
        if form == "weights":
            return lambda x, y, seed, sample_weight=None, classes=None: train(
                x, y, seed=seed, sample_weight=sample_weight, classes=classes
            )
        raise AssertionError(form)


# -- what it is called with --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "names"),
    [("all", {"seed", "device", "epochs"}), ("two", {"seed"}), ("weights", {"seed", "sample_weight", "classes"})],
)
def test_it_is_given_what_it_asks_for_and_nothing_else(records, form, names):
    heard, r = Heard(), records(60)
    weighted = Records(ids=r.ids, features=r.features, labels=np.array(["no", "yes"])[r.y], weight=np.arange(60.0))
    for data in (r, weighted):
        FunctionRecipe.of(heard.make(form), params={"epochs": 3} if form == "all" else {}).fit(data, INDEX, 7)
    for (features, labels, named), data in zip(heard.calls, (r, weighted), strict=True):
        assert set(named) == names
        assert named["seed"] == 7
        assert named.get("device", "cpu") == "cpu"
        assert named.get("epochs", 3) == 3
        assert named.get("classes", 2) == 2
        assert features.tobytes() == data.features[INDEX].tobytes()
        assert (labels.dtype, labels.tolist()) == (np.int64, data.y[INDEX].tolist())
    if form == "weights":
        assert heard.calls[0][2]["sample_weight"] is None
        assert heard.calls[1][2]["sample_weight"].tolist() == INDEX.tolist()


def test_it_may_change_what_it_is_given_and_harms_nobody(records):
    def destroys(features, labels, *, seed):
        features[:] = 0
        labels[:] = 0

        def predict(asked):
            asked[:] = 0
            return np.full((len(asked), 2), 0.5)

        return predict

    r = records(60)  # its arrays are read-only
    before = r.features.tobytes()
    FunctionRecipe.of(destroys).fit(r, INDEX, 0)(r.features[INDEX])
    assert r.features.tobytes() == before


def test_images_keep_their_shape_and_may_be_standardised(records):
    x = np.random.default_rng(0).normal(5, 3, size=(60, 4, 3)).astype(np.float32)
    r = Records(ids=range(60), features=x, labels=np.arange(60) // 2 % 2)
    for preprocess in ("auto", "none", "native", "standardise"):
        heard = Heard()
        FunctionRecipe.of(heard.make("all"), preprocess=preprocess).fit(r, INDEX, 0)(x[:7])
        given, asked = heard.calls[0][0], heard.asked[0]
        assert (given.shape, asked.shape) == ((30, 4, 3), (7, 4, 3))
        if preprocess == "standardise":
            assert np.allclose(given.mean(axis=0), 0, atol=1e-5)
            assert np.allclose(asked, (x[:7] - x[INDEX].mean(axis=0)) / x[INDEX].std(axis=0), atol=1e-5)
        else:
            assert given.tobytes() == x[INDEX].tobytes()


def table(scale: float = 1.0) -> Records:
    rng = np.random.default_rng(3)
    income = rng.lognormal(size=60)
    income[1::2] *= scale
    town = rng.choice(["a", "b"], size=60).astype(object)
    if scale != 1.0:
        town[1::2] = "z"
    frame = pd.DataFrame({"income": income, "town": town})
    return Records(ids=range(60), features=frame, labels=np.arange(60) // 2 % 2)


def test_tables_are_encoded_by_what_the_training_records_show():
    """The others are multiplied by a million and live in another town: nothing of it reaches the function."""
    given = []
    for r in (table(), table(1e6)):
        heard = Heard()
        predict = FunctionRecipe.of(heard.make("all")).fit(r, INDEX, 0)
        predict(r.features[INDEX])
        given.append([heard.calls[0][0].tobytes(), heard.asked[0].tobytes(), heard.asked[0].shape])
    assert given[0] == given[1]
    assert given[0][2] == (30, 3)


def test_native_tables_arrive_as_dataframes():
    heard, r = Heard(), table()
    FunctionRecipe.of(heard.make("all"), preprocess="native").fit(r, INDEX, 0)(r.features[:5])
    frame, asked = heard.calls[0][0], heard.asked[0]
    assert isinstance(frame, pd.DataFrame)
    assert sorted(frame.columns) == ["income", "town"]
    assert asked["town"].isin(["a", "b"]).all()


def test_logits_are_stored_as_they_are_and_have_no_floor(records):
    r = records(60)
    z = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    for answers, floor in (("logits", None), ("probabilities", DEFAULT_FLOOR)):
        made = FunctionRecipe.of(Heard(lambda asked: z[: len(asked)]).make("all"), answers=answers)
        assert made.probability_floor == floor
        if answers == "logits":
            assert made.fit(r, INDEX, 0)(r.features).tobytes() == z.tobytes()
        else:
            with pytest.raises(SettingsError, match=r'set target\.answers = "logits"'):
                made.fit(r, INDEX, 0)(r.features)


def test_a_class_that_the_training_records_lack_has_probability_zero(records):
    r = records(60, classes=3)
    index = np.flatnonzero(r.y != 1)

    def logistic(features, labels, *, seed):
        return LogisticRegression().fit(features, labels).predict_proba  # one column a class seen

    logs = FunctionRecipe.of(logistic).fit(r, index, 0)(r.features)
    assert np.isneginf(logs[:, 1]).all()
    assert np.allclose(np.exp(logs).sum(axis=1), 1, atol=1e-6)


def test_what_it_prints_does_not_mix_with_what_the_command_prints(records, capfd):
    def talks(features, labels, *, seed):
        print("epoch 1")
        return lambda asked: print("asked") or np.full((len(asked), 2), 0.5)

    r = records(60)
    FunctionRecipe.of(talks).fit(r, INDEX, 0)(r.features)
    assert capfd.readouterr() == ("", "epoch 1\nasked\n")


# -- what it is --------------------------------------------------------------------------------------------------------


def written(folder: Path, body: str, **helpers: str) -> None:
    (folder / "my_training.py").write_text(body)
    for name, text in helpers.items():
        (folder / f"{name}.py").write_text(text)


BODY = """
import numpy as np
def train(features, labels, *, seed, device, depth=1):
    from my_lazy_part import share
    return lambda asked: np.tile(share(labels), (len(asked), 1))
"""
PART = "import numpy as np\ndef share(y):\n    return np.bincount(y, minlength=2) / len(y)\n"


def test_the_key_names_the_text_of_all_modules_that_it_uses_and_nothing_of_the_machine(tmp_path):
    def fp(body=BODY, part=PART, **changed):
        written(tmp_path, body, my_lazy_part=part)
        return FunctionRecipe(**{"path": "my_training:train", "folder": str(tmp_path)} | changed).fingerprint

    first = fp()
    assert fp() == fp(device="cuda") == fp(params={}) == first
    others = [
        fp(BODY + "# a word\n"),
        fp(part=PART + "# a word\n"),
        fp(params={"depth": 2}),
        fp(answers="logits"),
        fp(preprocess="none"),
    ]
    assert len({first, *others}) == 6
    assert "my_lazy_part" not in sys.modules  # reading is not running


def test_helpers_beside_the_settings_are_found_while_it_runs_and_no_longer(records, tmp_path):
    written(tmp_path, BODY, my_lazy_part=PART)
    r = records(60)
    recipe = FunctionRecipe(path="my_training:train", folder=str(tmp_path))
    logs = recipe.fit(r, INDEX, 0)(r.features)
    assert np.allclose(np.exp(logs[0]), np.bincount(r.y[INDEX], minlength=2) / 30)
    assert str(tmp_path) not in sys.path
    sys.modules.pop("my_lazy_part", None)


def test_a_function_without_a_file_is_named_by_its_code_and_what_it_closes_over():
    def made(by):
        def train(features, labels, *, seed):
            return lambda asked: np.full((len(asked), 2), 0.5 * by)

        return FunctionRecipe.of(train).fingerprint

    assert made(1) == made(1) != made(2)


def test_it_is_a_frozen_value_with_a_name(tmp_path):
    recipe = FunctionRecipe.of(shares, params={})
    assert isinstance(recipe, Recipe)
    assert recipe.name.endswith("test_function_recipe:shares()")
    assert FunctionRecipe(path="a:train", params={"epochs": 3}).name == "a:train(epochs=3)"
    assert hash(recipe) == hash(FunctionRecipe.of(shares))
    assert pickle.loads(pickle.dumps(FunctionRecipe(path="a:train"))) == FunctionRecipe(path="a:train")
    with pytest.raises(AttributeError):
        recipe.path = "x"
    assert written_down(FunctionRecipe(path="a:b", params={"epochs": 3}, answers="logits")) == {
        "recipe": "a:b",
        "params": {"epochs": 3},
        "preprocess": "auto",
        "answers": "logits",
    }


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "params", "said"),
    [
        ("def train(x, y, *, device): ...", {}, r"a function that takes seed is needed.*has the arguments \(x, y, \*"),
        ("def train(x, *, seed): ...", {}, r"target\.params: arguments that .* takes are needed.*too many positional"),
        ("def train(x, y, z, *, seed): ...", {}, r"missing a required argument: 'z'"),
        ("def train(x, y, *, seed): ...", {"epochs": 3}, "got an unexpected keyword argument 'epochs'"),
        ("def train(x, y, *, seed, **more): ...", {"seed": 3}, r"target\.params: seed is given .* by Locard itself"),
        ("def train(x, y, *, seed, e): ...", {"e": object()}, r"target\.params: values that can be written down"),
        ("train = 3", {}, r"target\.recipe: my_training:train must be a function or class, found a int"),
        ("def trian(x, y, *, seed): ...", {}, r"target\.recipe: my_training has no 'train'\. Nearest: trian"),
        ("1 / 0", {}, r"target\.recipe: .*ZeroDivisionError"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_before_training(tmp_path, body, params, said):
    written(tmp_path, body)
    with pytest.raises(SettingsError, match=said):
        FunctionRecipe(path="my_training:train", params=params, folder=str(tmp_path)).check()


def test_no_module_is_said_with_the_nearest(tmp_path):
    written(tmp_path, "")
    with pytest.raises(SettingsError, match=r"target\.recipe: a module 'my_trainin' .*Nearest: my_training"):
        FunctionRecipe(path="my_trainin:train", folder=str(tmp_path)).check()


def test_weights_that_it_does_not_take_are_refused():
    FunctionRecipe.of(Heard().make("weights")).check(weights=True)
    with pytest.raises(SettingsError, match=r"data\.weight: a function that takes sample_weight is needed"):
        FunctionRecipe.of(shares).check(weights=True)


@pytest.mark.parametrize("thing", [print, LogisticRegression, "a:b", None, Heard().make])
def test_what_is_no_plain_function_is_refused(thing):
    with pytest.raises(SettingsError, match=r"a plain function .* is needed, found a"):
        FunctionRecipe.of(thing)


# -- audits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "train",
            r"model 0 \(\d+ training records\) raised ValueError: no good \(test_function_recipe\.py, line \d+\)",
        ),
        ("numpy", r"raised .*LinAlgError.*\(test_function_recipe\.py, line \d+\)"),
        ("predict", r"raised KeyError.*\(test_function_recipe\.py, line \d+\)"),
        ("nothing", r"target\.recipe: a function predict\(features\) is needed from .*, found a NoneType"),
        ("shape", r"target\.recipe: shape \(\d+, 2\) is needed from predict\(\), found"),
        ("nan", r"target\.recipe: numbers are needed from predict\(\), found NaN"),
    ],
)
def test_its_failures_are_one_message_with_the_place(records, quick, what, said):
    def fails(features, labels, *, seed, what):
        if what == "train":
            raise ValueError("no good")
        if what == "numpy":
            np.linalg.inv(np.zeros((2, 2)))
        if what == "nothing":
            return None
        if what == "predict":
            return lambda asked: {}["no"]
        shape = (len(features), 1) if what == "shape" else None
        return lambda asked: np.full(shape or (len(asked), 2), np.nan if what == "nan" else 0.5)

    with pytest.raises(SettingsError, match=said):
        locard.audit(records(60), fails, models=4, attacks=["loss"], target={"params": {"what": what}}, **quick)


def nearest_neighbour(features, labels, *, seed, device):
    """Remembers its training records: the answer for a known point is its label, nearly surely."""
    rng = np.random.default_rng(seed)
    points, classes = features + 1e-9 * rng.normal(size=features.shape), int(labels.max()) + 1

    def predict(asked):
        near = ((asked[:, None] - points[None]) ** 2).sum(axis=2)
        weight = np.exp(-near / 0.05)
        votes = np.stack([weight[:, labels == c].sum(axis=1) for c in range(classes)], axis=1) + 1e-3
        return votes / votes.sum(axis=1, keepdims=True)

    return predict


def test_a_function_from_python_is_audited_with_any_number_of_workers(records, quick, bytes_of, tmp_path):
    made = []
    for workers in (1, 2):
        result = locard.audit(
            records(120),
            nearest_neighbour,
            models=8,
            attacks=["loss"],
            out=tmp_path / str(workers),
            **(quick | {"compute": {"workers": workers}}),
        )
        made.append(bytes_of(tmp_path / str(workers)))
    assert made[0] == made[1]
    assert result.summary.target.estimator.endswith("test_function_recipe:nearest_neighbour()")
    assert (result.summary.attacks[0].auc.low or 0) > 0.6
    assert result.summary.settings["target"]["recipe"].endswith(":nearest_neighbour")
    assert "estimator" not in result.summary.settings["target"]


def test_a_function_in_the_settings_is_audited_and_another_text_is_trained_again(tiny, cli, tmp_path, bytes_of):
    body = (
        "import numpy as np\n"
        "def train(features, labels, *, seed, device, power):\n"
        "    share = np.bincount(labels, minlength=2) ** power\n"
        "    return lambda asked: np.tile(share / share.sum(), (len(asked), 1))\n"
    )
    path = tiny(target={"recipe": "my_training:train", "params": {"power": 2}, "estimator": None})
    written(path.parent, body)
    for text, trained in ((body, 8), (body, 0), (body + "# changed\n", 8)):
        written(path.parent, text)
        assert cli("audit", path, "--out", tmp_path / "run")[0] == 0
        assert f'"trained": {trained}' in (tmp_path / "run/run.json").read_text()
    code, out, _ = cli("show", tmp_path / "run")
    assert (code, "my_training:train(power=2)" in out) == (0, True)
    settings = (tmp_path / "run/settings.toml").read_text()
    assert 'recipe = "my_training:train"' in settings
    assert "estimator" not in settings
    assert cli("audit", "--like", tmp_path / "run", "--out", tmp_path / "again")[0] == 0
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "run")
