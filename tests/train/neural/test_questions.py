"""Answers, losses an epoch, penultimate outputs, weights and snapshots against torch's own module, asked directly."""

from __future__ import annotations

import gc
import resource

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from locard.errors import SettingsError
from locard.train.asked import Asked, Keep, Run
from locard.train.neural import state
from locard.train.neural.modules import resnet
from locard.train.neural.recipe import TorchRecipe

KEEP = Keep(losses=True, penultimate=True, weights=True, snapshots=(1, 3))


def made(weights, make):
    """Torch's own module with these weights, ready to be asked."""
    net = make().double()
    tensors = {n: torch.from_numpy(v) for n, v in weights.items() if not n.startswith("scaling")}
    missing = net.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys
    assert all(k.endswith("num_batches_tracked") for k in missing.missing_keys)
    return net.eval()


@pytest.mark.parametrize("way", ["one", "many"])
def test_everything_that_is_kept_is_what_torchs_module_says(numbers, runs, way):
    records = numbers(shape=(8, 8))
    params = {"channels": [3, 4]}
    recipe = TorchRecipe(
        module="resnet", params=params, precision="float64", batch_size=8, epochs=3, augment=("identity", "flip")
    )
    audited, population = np.array([3, 30, 7, 8]), np.array([1, 2])
    several = runs(records, [20, 9])
    answers = list(recipe.answer(records, several, Asked(audited=audited, population=population, keep=KEEP, way=way)))
    assert len(answers) == 2
    x, y = torch.tensor(records.features), torch.tensor(records.y)
    for given in answers:
        assert sorted(given.weights) == ["epoch-1", "epoch-3", "final"]
        assert sorted(given.tensors) == ["logits", "losses", "penultimate", "population"]
        nets = {name: made(w, lambda: resnet((8, 8), 3, **params)) for name, w in given.weights.items()}
        with torch.no_grad():
            for name, places in (("logits", audited), ("population", population)):
                expected = torch.stack([nets["final"](x[places]), nets["final"](x[places].flip(-1))], dim=1)
                assert given.tensors[name].dtype == np.float32
                np.testing.assert_allclose(given.tensors[name], expected, atol=1e-5)
            losses = given.tensors["losses"]
            assert losses.shape == (4, 3)
            for epoch in (1, 3):
                told = functional.cross_entropy(nets[f"epoch-{epoch}"](x[audited]), y[audited], reduction="none")
                np.testing.assert_allclose(losses[:, epoch - 1], told, rtol=1e-5)
            inside = nets["final"][:-1](x[audited])
            np.testing.assert_allclose(given.tensors["penultimate"], inside, atol=1e-5)
        for name in given.weights["final"]:
            assert np.array_equal(given.weights["final"][name], given.weights["epoch-3"][name])


def test_weights_of_tables_hold_what_was_learnt_of_the_columns(table):
    records = table()
    recipe = TorchRecipe(module="logistic", precision="float64", epochs=2)
    asked = Asked(audited=np.arange(60), population=np.arange(1), keep=Keep(weights=True), way="one")
    (given,) = recipe.answer(records, [Run(np.arange(30), 0)], asked)
    w = given.weights["final"]
    x = recipe.data(records, "cpu").x.numpy()
    scaled = np.where(np.isnan(x), w["scaling.fill"], (x - w["scaling.shift"]) * w["scaling.scale"])
    np.testing.assert_allclose(given.tensors["logits"][:, 0], scaled @ w["1.weight"].T + w["1.bias"], atol=1e-4)


@pytest.mark.parametrize("way", ["one", "many"])
def test_losses_have_as_many_epochs_as_the_model_whatever_its_companions(numbers, runs, way):
    """Steps instead of epochs, early stopping: each model has a length of its own."""
    records = numbers()
    asked = Asked(audited=np.arange(5), population=np.arange(2), keep=Keep(losses=True), way=way)
    several = runs(records, [40, 8, 3])
    recipe = TorchRecipe(module="logistic", batch_size=8, steps=10, precision="float64")
    shapes = [a.tensors["losses"].shape for a in recipe.answer(records, several, asked)]
    assert shapes == [(5, 2), (5, 10), (5, 10)]
    assert all(np.isfinite(a.tensors["losses"]).all() for a in recipe.answer(records, several, asked))
    recipe = TorchRecipe(
        module="mlp", batch_size=8, steps=60, precision="float64", patience=1, validation=0.5, learning_rate=2.0
    )
    for given in recipe.answer(records, several, asked):
        losses = given.tensors["losses"]
        ended = int(np.isfinite(losses[0]).sum())
        assert np.isfinite(losses[:, :ended]).all()
        assert np.isnan(losses[:, ended:]).all()


def test_blocks_do_not_matter(numbers, runs, monkeypatch):
    records = numbers()
    recipe = TorchRecipe(module="mlp", precision="float64", steps=4)
    asked = Asked(audited=np.arange(40), population=np.arange(5), keep=KEEP)
    several = runs(records, [20, 9, 4])
    whole = list(recipe.answer(records, several, asked))
    monkeypatch.setattr(state, "ROWS", 7)
    for way in ("one", "many"):
        asked = Asked(audited=np.arange(40), population=np.arange(5), keep=KEEP, way=way)
        for given, expected in zip(recipe.answer(records, several, asked), whole, strict=True):
            for name, value in expected.tensors.items():
                np.testing.assert_allclose(given.tensors[name], value, rtol=1e-6, atol=1e-6)


def headless(shape, classes):
    return nn.Sequential(
        nn.Unflatten(1, (1, shape[0])), nn.Conv1d(1, classes, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )


@pytest.mark.parametrize("way", ["one", "many"])
def test_penultimate_needs_a_linear_layer(numbers, way):
    recipe = TorchRecipe(module=headless, steps=2)
    asked = Asked(audited=np.arange(4), population=np.arange(1), keep=Keep(penultimate=True), way=way)
    with pytest.raises(SettingsError, match=r"traces\.penultimate: it needs a torch\.nn\.Linear layer"):
        list(recipe.answer(numbers(dtype=np.float32), [Run(np.arange(9), 0), Run(np.arange(5), 1)], asked))


def test_asking_changes_no_gradient_mode_even_if_it_is_broken_off(numbers):
    records = numbers()
    recipe = TorchRecipe(module="mlp", steps=2)
    data = recipe.data(records, "cpu")
    from locard.train.neural.one_model import train_one

    blocks = train_one(recipe, data, Run(np.arange(9), 0)).logits(data.x)
    next(blocks)
    assert torch.is_grad_enabled()


@pytest.mark.statistics
def test_memory_does_not_grow_with_chunks(numbers):
    """100 chunks of 8 models; each recorded step may leave its text (30 kB) with Python's line cache, no tensor."""
    records = numbers(400, dtype=np.float32, shape=(64,))
    recipe = TorchRecipe(module="mlp", steps=3, params={"dropout": 0.2})
    asked = Asked(audited=np.arange(400), population=np.arange(5), keep=Keep(losses=True))

    def chunk(k):
        list(recipe.answer(records, [Run(np.arange(150), 100 * k + i) for i in range(8)], asked))
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    first = [chunk(k) for k in range(30)][-1]
    last = [chunk(k) for k in range(30, 130)][-1]
    assert last - first < 15  # MiB; the weights and answers of one chunk are 3
