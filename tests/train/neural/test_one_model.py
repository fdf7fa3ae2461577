"""The definition against loops written with nothing but torch's own layers, optimisers, schedules and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from locard.train.asked import Run
from locard.train.neural.layers import keyed_masks, mask_keys
from locard.train.neural.modules import cnn, mlp, resnet
from locard.train.neural.one_model import train_one
from locard.train.neural.recipe import TorchRecipe

CLOSE = 1e-12


def batches(index, seed, batch, *, epochs=None, steps=None, drop_last=False):
    """(epoch, rows) of every step."""
    out, epoch = [], 0
    while epoch < epochs if epochs else len(out) < steps:
        order = index[np.random.Generator(np.random.SFC64([seed, epoch])).permutation(len(index))]
        parts = [order[i : i + batch] for i in range(0, len(order), batch)]
        if drop_last and len(parts) > 1 and len(parts[-1]) < batch:
            parts.pop()
        out += [(epoch, torch.from_numpy(p)) for p in parts]
        epoch += 1
    return out if epochs else out[:steps]


def loop(net, optimizer, x, y, steps, *, smoothing=0.0, clip=None, weight=None, after_step=(), after_epoch=()):
    """The training that everybody writes."""
    net.train()
    for at, (epoch, rows) in enumerate(steps):
        optimizer.zero_grad()
        losses = functional.cross_entropy(net(x[rows]), y[rows], reduction="none", label_smoothing=smoothing)
        loss = losses.mean() if weight is None else (losses * weight[rows]).sum() / weight[rows].sum()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        for schedule in after_step:
            schedule.step()
        if at + 1 == len(steps) or steps[at + 1][0] != epoch:
            for schedule in after_epoch:
                schedule.step()
    return net.state_dict()


def equal(net_state, stack):
    found = stack.tensors(0)
    expected = {k: v for k, v in net_state.items() if not k.endswith("num_batches_tracked")}
    assert expected.keys() == {k for k in found if not k.startswith("scaling")}
    for name, value in expected.items():
        assert found[name].is_contiguous(), name  # files hold numbers in the order of their shape
        torch.testing.assert_close(found[name], value, rtol=0, atol=CLOSE, msg=lambda m, n=name: f"{n}: {m}")


def start(make, seed):
    torch.manual_seed(seed)
    return make().double()


def tensors(r):
    return torch.tensor(r.features, dtype=torch.float64), torch.tensor(r.y)


MLP = {"module": "mlp", "params": {"hidden": [6, 4], "activation": "tanh"}, "precision": "float64", "batch_size": 7}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
        ("SGD", {"momentum": 0.9, "dampening": 0.3}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.01, "betas": [0.8, 0.99]}),
        ("AdamW", {"weight_decay": 0.1}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("Adagrad", {"lr_decay": 0.1}),
        ("Adadelta", {}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("Rprop", {}),
        ("ASGD", {}),
        ("LBFGS", {"max_iter": 3}),
    ],
)
def test_every_optimiser_is_torchs(numbers, name, settings):
    r = numbers()
    index = np.arange(3, 34)
    recipe = TorchRecipe(optimizer=name.lower(), optimizer_params=settings, learning_rate=0.05, epochs=3, **MLP)
    net = start(lambda: mlp((5,), 3, hidden=[6, 4], activation="tanh"), 11)
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.05, **settings)
    x, y = tensors(r)
    steps = batches(index, 11, 7, epochs=3)
    if name == "LBFGS":
        for _, rows in steps:

            def closure(rows=rows):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x[rows]), y[rows])
                loss.backward()
                return loss

            optimizer.step(closure)
        state = net.state_dict()
    else:
        state = loop(net, optimizer, x, y, steps)
    equal(state, train_one(recipe, recipe.data(r, "cpu"), Run(index, 11)))


@pytest.mark.parametrize(
    ("settings", "make", "each"),
    [
        ({"schedule": "cosine"}, lambda o, total: torch.optim.lr_scheduler.CosineAnnealingLR(o, total), "step"),
        (
            {"schedule": "cosine", "schedule_params": {"end": 0.1}},
            lambda o, total: torch.optim.lr_scheduler.CosineAnnealingLR(o, total, eta_min=0.01),
            "step",
        ),
        (
            {"schedule": "linear", "schedule_params": {"end": 0.2}},
            lambda o, total: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.2, total),
            "step",
        ),
        (
            {"schedule": "step", "schedule_params": {"epochs": 2, "gamma": 0.3}},
            lambda o, total: torch.optim.lr_scheduler.StepLR(o, 2, 0.3),
            "epoch",
        ),
        (
            {"schedule": "exponential", "schedule_params": {"gamma": 0.8}},
            lambda o, total: torch.optim.lr_scheduler.ExponentialLR(o, 0.8),
            "epoch",
        ),
        (
            {"warmup": 6},
            lambda o, total: torch.optim.lr_scheduler.LambdaLR(o, lambda s: min(1, (s + 1) / 7)),
            "step",
        ),
    ],
)
def test_every_schedule_is_torchs(numbers, settings, make, each):
    r = numbers()
    index = np.arange(30)
    recipe = TorchRecipe(epochs=5, optimizer_params={"momentum": 0.9}, **settings, **MLP)
    net = start(lambda: mlp((5,), 3, hidden=[6, 4], activation="tanh"), 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    steps = batches(index, 3, 7, epochs=5)
    schedule = make(optimizer, len(steps))
    after = {"after_step" if each == "step" else "after_epoch": [schedule]}
    equal(loop(net, optimizer, *tensors(r), steps, **after), train_one(recipe, recipe.data(r, "cpu"), Run(index, 3)))


@pytest.mark.parametrize(
    ("length", "told"),
    [
        ({"epochs": 2, "drop_last": True}, {"epochs": 2, "drop_last": True}),
        ({"steps": 9}, {"steps": 9}),
        ({"epochs": 2}, {"epochs": 2}),
    ],
)
@pytest.mark.parametrize("records", [1, 4, 7, 24])
def test_batches_smoothing_clipping_and_weights_are_torchs(numbers, length, told, records):
    rng = np.random.default_rng(4)
    r = numbers(weight=rng.exponential(size=40))
    index = rng.integers(40, size=records)  # a multiset
    recipe = TorchRecipe(label_smoothing=0.2, clip_norm=0.3, **length, **MLP)
    net = start(lambda: mlp((5,), 3, hidden=[6, 4], activation="tanh"), 0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = batches(index, 0, 7, **told)
    state = loop(net, optimizer, *tensors(r), steps, smoothing=0.2, clip=0.3, weight=torch.tensor(r.weight))
    equal(state, train_one(recipe, recipe.data(r, "cpu"), Run(index, 0)))


@pytest.mark.parametrize("kind", ["resnet", "cnn"])
def test_images_and_batch_normalisation_are_torchs(numbers, kind):
    r = numbers(shape=(8, 8), dtype=np.uint8)
    params = {"channels": [3, 4]} | ({"kernel": 3, "dense": 5} if kind == "cnn" else {})
    recipe = TorchRecipe(module=kind, params=params, precision="float64", batch_size=8, epochs=2)
    make = {"resnet": resnet, "cnn": cnn}[kind]
    net = start(lambda: make((8, 8), 3, **params), 5)
    x = torch.tensor(r.features.astype(np.float32) / np.float32(255)).double()
    index = np.arange(20)
    state = loop(net, torch.optim.SGD(net.parameters(), lr=0.1), x, torch.tensor(r.y), batches(index, 5, 8, epochs=2))
    trained = train_one(recipe, recipe.data(r, "cpu"), Run(index, 5))
    equal(state, trained)
    net.eval()
    said = torch.cat([z for _, z in trained.logits(x)], dim=1)[0]
    torch.testing.assert_close(said, net(x).detach(), rtol=0, atol=1e-11)


class Fed(nn.Module):
    """Dropout whose masks are put in by hand."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.masks = p, []

    def forward(self, x):
        return x * self.masks.pop(0) if self.training else x


class Dropping(nn.Module):
    """One layer that is called twice, and another one."""

    def __init__(self, dropout) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.often, self.once = dropout(0.5), dropout(0.3)

    def forward(self, x):
        h = self.often(torch.tanh(self.first(x)))
        h = self.often(torch.tanh(self.second(h)))
        return self.last(self.once(h))


def dropping(shape, classes):
    return Dropping(nn.Dropout)


def test_dropout_with_the_same_masks_is_torchs(numbers):
    r = numbers()
    index, seed = np.arange(30), 9
    recipe = TorchRecipe(module=dropping, precision="float64", batch_size=8, epochs=3)
    net = start(lambda: Dropping(Fed), seed)
    x, y = tensors(r)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step, (_, rows) in enumerate(batches(index, seed, 8, epochs=3)):
        for place, (layer, p) in enumerate([(net.often, 0.5), (net.often, 0.5), (net.once, 0.3)]):
            layer.masks.append(keyed_masks(mask_keys(np.array([seed]), step, place), (len(rows), 6), p, x)[0])
        optimizer.zero_grad()
        functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    equal(net.state_dict(), train_one(recipe, recipe.data(r, "cpu"), Run(index, seed)))


def one_logit(shape, classes, flat=False):
    layers = [nn.Linear(shape[0], 4), nn.Tanh(), nn.Linear(4, 1)]
    return nn.Sequential(*layers, nn.Flatten(0)) if flat else nn.Sequential(*layers)


@pytest.mark.parametrize("flat", [False, True])
def test_one_logit_is_binary_cross_entropy(numbers, flat):
    r = numbers(classes=2)
    recipe = TorchRecipe(module=one_logit, params={"flat": flat}, precision="float64", batch_size=8, epochs=2)
    net = start(lambda: one_logit((5,), 2), 2)
    x, y = tensors(r)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _, rows in batches(np.arange(30), 2, 8, epochs=2):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows].double()).backward()
        optimizer.step()
    equal(net.state_dict(), train_one(recipe, recipe.data(r, "cpu"), Run(np.arange(30), 2)))


def focal(logits, labels):
    p = torch.softmax(logits, -1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -((1 - p) ** 2) * torch.log(p)


def test_a_loss_of_ones_own(numbers):
    r = numbers()
    recipe = TorchRecipe(loss=focal, epochs=2, **MLP)
    net = start(lambda: mlp((5,), 3, hidden=[6, 4], activation="tanh"), 1)
    x, y = tensors(r)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _, rows in batches(np.arange(20), 1, 7, epochs=2):
        optimizer.zero_grad()
        focal(net(x[rows]), y[rows]).mean().backward()
        optimizer.step()
    equal(net.state_dict(), train_one(recipe, recipe.data(r, "cpu"), Run(np.arange(20), 1)))


class Partly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.head, self.idle = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(2, 2)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return self.head(torch.tanh(self.frozen(x)))


def partly(shape, classes):
    return Partly()


class Transposed(nn.Module):
    """Autograd makes this weight's gradient in another order of memory than the weight's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5))

    def forward(self, x):
        return x @ self.weight.T


def transposed(shape, classes):
    return Transposed()


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_stand_in_the_order_of_their_weights(numbers, fused):
    """Fused optimisers read memory as it comes."""
    r = numbers()
    recipe = TorchRecipe(
        module=transposed,
        precision="float64",
        batch_size=7,
        epochs=2,
        optimizer="adam",
        learning_rate=0.1,
        optimizer_params={"fused": fused},
    )
    net = start(Transposed, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    state = loop(net, optimizer, *tensors(r), batches(np.arange(20), 1, 7, epochs=2))
    equal(state, train_one(recipe, recipe.data(r, "cpu"), Run(np.arange(20), 1)))


def test_frozen_and_unused_weights_stay_as_they_are_in_spite_of_weight_decay(numbers):
    r = numbers()
    recipe = TorchRecipe(
        module=partly, precision="float64", batch_size=7, epochs=2, optimizer_params={"weight_decay": 0.1}
    )
    net = start(Partly, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    state = loop(net, optimizer, *tensors(r), batches(np.arange(20), 1, 7, epochs=2))
    equal(state, train_one(recipe, recipe.data(r, "cpu"), Run(np.arange(20), 1)))


def test_a_batch_without_weight_has_loss_zero(numbers):
    r = numbers(weight=np.zeros(40))
    recipe = TorchRecipe(epochs=2, **MLP)
    state = train_one(recipe, recipe.data(r, "cpu"), Run(np.arange(20), 1)).tensors(0)
    for name, value in start(lambda: mlp((5,), 3, hidden=[6, 4]), 1).state_dict().items():
        assert torch.equal(value, state[name])


def pictures_of_their_own(shape, classes):
    net = cnn(shape, classes, channels=[2], dense=4)
    flat = net[-4]
    flat.forward = lambda x: x.view(len(x), -1)  # what many networks do, and other layouts refuse
    return net


def test_only_built_in_networks_are_laid_out_anew(numbers):
    records = numbers(shape=(2, 8, 8))
    run = Run(np.arange(20), 1)
    layouts = {}
    for module, params in (("cnn", {"channels": [2], "dense": 4}), (pictures_of_their_own, {})):
        recipe = TorchRecipe(module=module, params=params, steps=3, batch_size=8)
        (weight, *_) = train_one(recipe, recipe.data(records, "cpu"), run).params.values()
        layouts[recipe.name.split("(")[0].split(",")[0]] = weight[0].is_contiguous(memory_format=torch.channels_last)
    assert layouts == {"cnn": True, "pictures_of_their_own": False}
