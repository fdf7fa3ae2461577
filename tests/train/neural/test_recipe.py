"""``TorchRecipe``: what its fingerprint names, what it refuses, and that it can travel."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from locard.errors import SettingsError
from locard.train.asked import Asked, Run
from locard.train.neural.recipe import TorchRecipe


def net(shape, classes, width=4):
    return nn.Sequential(nn.Linear(shape[0], width), nn.Tanh(), nn.Linear(width, classes))


def other_net(shape, classes, width=4):
    return nn.Sequential(nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, classes))


def hinge(logits, labels):
    return torch.relu(1 - logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1))


BASE = {"module": "mlp", "params": {"hidden": [4]}, "steps": 3}


# -- identity ----------------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_every_setting_that_may_change_numbers():
    changes = [
        {},
        {"module": "logistic", "params": {}},
        {"module": net, "params": {}},
        {"module": other_net, "params": {}},
        {"params": {"hidden": [5]}},
        {"loss": hinge},
        {"optimizer": "adam"},
        {"learning_rate": 0.2},
        {"optimizer_params": {"momentum": 0.9}},
        {"schedule": "cosine"},
        {"schedule": "cosine", "schedule_params": {"end": 0.1}},
        {"warmup": 2},
        {"batch_size": 50},
        {"steps": 4},
        {"steps": None, "epochs": 3},
        {"drop_last": True},
        {"label_smoothing": 0.1},
        {"clip_norm": 1.0},
        {"augment": ["identity", "noise(0.1)"]},
        {"patience": 2},
        {"patience": 2, "validation": 0.2},
        {"precision": "float64"},
        {"preprocess": "none"},
    ]
    recipes = [TorchRecipe(**{**BASE, **change}) for change in changes]
    assert len({r.fingerprint for r in recipes}) == len(changes)
    assert len(set(recipes)) == len(changes)
    settings = {name for change in changes for name in change}
    assert settings == {f for f in TorchRecipe.__dataclass_fields__ if f != "folder"}


def test_the_fingerprint_does_not_change_with_where_it_stands_or_how_it_is_written():
    first = TorchRecipe(module="mlp", params={"hidden": [4]})
    same = [
        TorchRecipe(module="mlp", params={"hidden": (4,)}, folder="/somewhere"),
        TorchRecipe(module="mlp", params={"hidden": [4]}, epochs=10, augment=["identity"]),
    ]
    assert {r.fingerprint for r in same} == {first.fingerprint}
    assert hash(same[1]) == hash(replace(same[1]))


def test_the_text_of_the_users_module_and_loss_is_part_of_it(tmp_path):
    def written(body, loss="def own(z, y):\n    return z[:, 0]\n"):
        (tmp_path / "my_network.py").write_text(body)
        (tmp_path / "my_loss.py").write_text(loss)
        return TorchRecipe(module="my_network:make", loss="my_loss:own", folder=str(tmp_path), steps=2).fingerprint

    body = "from torch import nn\ndef make(shape, classes):\n    return nn.Linear(shape[0], classes)\n"
    first = written(body)
    assert written(body) == first
    assert written(body + "# a word\n") != first
    assert written(body, "def own(z, y):\n    return z[:, 1]\n") != first


def test_functions_without_a_file_are_named_by_their_code():
    def recipe(width):
        return TorchRecipe(module=lambda shape, classes: net(shape, classes, width), steps=2)

    assert recipe(3).fingerprint == recipe(3).fingerprint != recipe(4).fingerprint


def test_names():
    assert TorchRecipe(**BASE).name == "mlp(hidden=[4]), sgd 0.1, batch 100, 3 steps"
    assert TorchRecipe(module=net, optimizer="adam", learning_rate=1e-3).name == "net, adam 0.001, batch 100, 10 epochs"
    recipe = TorchRecipe(**BASE)
    assert eval(repr(recipe), {"TorchRecipe": TorchRecipe}) == recipe


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"module": "mpl"}, "found 'mpl'. Nearest: mlp"),
        ({"module": "nowhere:make"}, r"target\.module: a path that can be imported"),
        ({"module": nn.Linear(2, 2)}, "found an object of class Linear. Write a function"),
        ({"module": functools.partial(net, width=2)}, "found an object of class partial"),
        ({"module": 3}, "found an object of class int"),
        ({"loss": "mse"}, "'cross_entropy' or 'module:function' is needed, found 'mse'"),
        ({"loss": nn.CrossEntropyLoss()}, "found an object of class CrossEntropyLoss"),
        ({"optimizer": "adm"}, "found 'adm'. Nearest: Adam"),
        ({"optimizer_params": {"momentun": 0.9}}, "momentun. Nearest: momentum"),
        ({"optimizer_params": {"lr": 0.9}}, "found lr"),
        ({"optimizer_params": {"momentum": -1}}, "values that torch.optim.SGD takes"),
        ({"schedule": "cosin"}, "found 'cosin'. Nearest: cosine"),
        ({"schedule_params": {"end": 1}}, "settings of the schedule 'constant'"),
        ({"batch_size": 0}, r"target\.batch_size: a whole number of at least 1 is needed, found 0"),
        ({"batch_size": 2.0}, "found 2.0"),
        ({"steps": True}, "found True"),
        ({"epochs": 2}, "either epochs or steps are needed, found both"),
        ({"learning_rate": 0}, r"target\.learning_rate: a number between 0 and inf"),
        ({"learning_rate": "0.1"}, "found '0.1'"),
        ({"learning_rate": float("nan")}, "found nan"),
        ({"clip_norm": -1}, r"target\.clip_norm"),
        ({"validation": 1}, r"target\.validation"),
        ({"label_smoothing": 1}, r"target\.label_smoothing: 0 to below 1"),
        ({"label_smoothing": "a"}, "found 'a'"),
        ({"label_smoothing": 0.1, "loss": hinge}, "it belongs to the loss cross_entropy"),
        ({"augment": []}, "a list of forms is needed"),
        ({"augment": "flip"}, "a list of forms is needed, found 'flip'"),
        ({"augment": ["flop"]}, "found 'flop'. Nearest: flip"),
        ({"precision": "float16"}, "found 'float16'. Nearest: float32|float64"),
        ({"preprocess": "standardize"}, "found 'standardize'. Nearest: standardise"),
        ({"params": {"hidden": {1}}}, "values that can be written down"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(change, said):
    with pytest.raises(SettingsError, match=said):
        TorchRecipe(**{**BASE, **change}).check()


def test_all_problems_are_told_at_once():
    with pytest.raises(SettingsError) as wrong:
        TorchRecipe(module="mpl", optimizer="adm", batch_size=0, augment=["flop"], schedule="x").check()
    assert len(wrong.value.problems) == 5


@pytest.mark.parametrize("optimizer", ["SGD", "adam", "LBFGS", "muon", "RAdam"])
def test_optimisers_by_name_in_any_case(optimizer):
    TorchRecipe(optimizer=optimizer).check(weights=True)


def wide(shape, classes):
    return nn.Linear(shape[0], classes + 1)


def broken(shape, classes):
    return nn.Linear(shape[0] + 1, classes)


def unseeded(shape, classes):
    made = nn.Linear(shape[0], classes)
    made.weight.data += float(np.random.default_rng().random())
    return made


def untrainable(shape, classes):
    return nn.Linear(shape[0], classes).requires_grad_(False)


def mean_loss(logits, labels):
    return nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"module": wide}, r"logits of shape \[records, 3\] are needed, found \[2, 4\]"),
        ({"module": broken}, r"asking it about two raised RuntimeError: mat1 and mat2"),
        ({"module": unseeded}, "two networks of one seed differ"),
        ({"module": untrainable}, "a loss that depends on weights to train is needed, found none"),
        ({"module": dict}, "target.module: dict could not be made"),
        ({"module": net, "params": {"depth": 2}}, "net could not be made for records of shape .5. and 3 classes"),
        ({"loss": mean_loss}, r"one loss a record is needed, found \[\] for 2 records"),
        ({"loss": lambda logits: logits}, "it raised TypeError"),
        ({"module": "cnn"}, r"cnn needs images"),
    ],
)
def test_networks_and_losses_that_do_not_fit_the_records_are_refused_before_training(numbers, change, said):
    with pytest.raises(SettingsError, match=said):
        TorchRecipe(**{**BASE, "params": {}, **change}).fit(numbers(), np.arange(9), 0)


def test_an_optimiser_that_does_not_take_the_networks_weights_is_refused(numbers):
    with pytest.raises(SettingsError, match="Muon says: Muon only supports 2D"):
        TorchRecipe(**BASE, optimizer="muon").fit(numbers(), np.arange(9), 0)


# -- fitting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"augment": ["identity", "noise(0.2)"]}, {"patience": 1}])
def test_fit_gives_what_answer_gives_and_leaves_no_trace(numbers, change):
    records = numbers(dtype=np.float32)
    recipe = TorchRecipe(**{**BASE, "params": {"hidden": [4], "dropout": 0.3}, **change})
    index = np.arange(20)
    index.flags.writeable = False
    torch.manual_seed(5)
    before, threads, features = torch.get_rng_state(), torch.get_num_threads(), records.features.tobytes()
    predict = recipe.fit(records, index, 3)
    asked = Asked(audited=np.array([4, 30, 7]), population=np.array([1]), way="one")
    (answers,) = recipe.answer(records, [Run(index, 3)], asked)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert records.features.tobytes() == features
    said = predict(records.features[[4, 30, 7]])
    assert said.dtype == np.float32
    assert said.shape == (3, recipe.queries, 3)
    np.testing.assert_allclose(said, answers.tensors["logits"], atol=1e-6)
    again = recipe.fit(records, index, 3)(records.features)
    assert again.tobytes() == predict(records.features).tobytes()
    assert recipe.fit(records, index, 4)(records.features).tobytes() != again.tobytes()


def test_it_travels(numbers):
    recipe = TorchRecipe(**BASE)
    there = cloudpickle.loads(cloudpickle.dumps(recipe))
    assert there == recipe
    assert there.fingerprint == TorchRecipe(**BASE).fingerprint
    x = numbers().features
    assert there.fit(numbers(), np.arange(9), 0)(x).tobytes() == recipe.fit(numbers(), np.arange(9), 0)(x).tobytes()


@pytest.mark.statistics  # a process that loads torch takes seconds
def test_it_travels_to_another_process(environment):
    recipe = TorchRecipe(module=lambda shape, classes: nn.Linear(shape[0], classes), loss=hinge, **{"steps": 3})
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        sent = cloudpickle.dumps(recipe)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    code = (
        "import sys, cloudpickle, numpy as np\n"
        "recipe = cloudpickle.load(sys.stdin.buffer)\n"
        "from locard.data.records import Records\n"
        "x = np.random.default_rng(0).normal(size=(9, 2)).astype('float32')\n"
        "r = Records(ids=range(9), features=x, labels=[0, 1, 0] * 3)\n"
        "print(recipe.fit(r, np.arange(6), 1)(x).tobytes().hex())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True, env=environment)
    from locard.data.records import Records

    x = np.random.default_rng(0).normal(size=(9, 2)).astype("float32")
    records = Records(ids=range(9), features=x, labels=[0, 1, 0] * 3)
    here = recipe.fit(records, np.arange(6), 1)(x)
    np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(out.stdout.decode()), "float32"), here.reshape(-1))
