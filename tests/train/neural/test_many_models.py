"""Modules that cannot be trained among many are found before they are trained, with the reason."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from locard.train.asked import Asked, Run
from locard.train.neural.many_models import CannotStack, cannot_stack, train_many
from locard.train.neural.one_model import train_one
from locard.train.neural.recipe import TorchRecipe

KINDS = {
    "functional dropout": "random operation",
    "data-dependent flow": "data-dependent control flow",
    "flow in evaluation only": "data-dependent control flow",
    "a number of a tensor": "item",
    "a buffer changed in place": "differs",
    "a buffer assigned anew": "differs",
    "a tensor that is a plain attribute": "differs",
    "a plain attribute in evaluation only": "asked beside another model",
    "a counter": "differs",
    "normalisation over other rows": "but the batch has",
    "a number drawn by numpy": "differs",
}


class Odd(nn.Module):
    def __init__(self, width, classes, kind) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0
        self.line, self.last = nn.Linear(width, 6), nn.Linear(6, classes)
        self.register_buffer("mean", torch.zeros(6, dtype=torch.float32))
        self.shift = torch.randn(6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        h = torch.tanh(self.line(x))
        match self.kind:
            case "functional dropout":
                h = functional.dropout(h, 0.5, self.training)
            case "data-dependent flow":
                h = 2 * h if h.sum() > 0 else h
            case "flow in evaluation only":
                h = 2 * h if not self.training and h.sum() > 0 else h
            case "a number of a tensor":
                h = h * h.mean().item()
            case "a buffer changed in place":
                if self.training:
                    self.mean.mul_(0.5).add_(0.5 * h.detach().mean(0))
                h = h - self.mean
            case "a buffer assigned anew":
                if self.training:
                    self.mean = 0.5 * self.mean + 0.5 * h.detach().mean(0)
                h = h - self.mean
            case "a tensor that is a plain attribute":
                h = h + self.shift
            case "a plain attribute in evaluation only":
                h = h if self.training else h + self.shift
            case "a counter":
                self.calls += 1
                h = h * (1 + self.calls % 2)
            case "normalisation over other rows":
                h = h + self.norm(h.repeat_interleave(2, 0)).reshape(-1, 2, 6).sum(1)
            case "a number drawn by numpy":
                h = h * float(np.random.default_rng(self.calls).random())
                self.calls += 1
        return self.last(h)


def odd(shape, classes, kind):
    return Odd(shape[0], classes, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reason_is_told_and_one_at_a_time_goes_on(numbers, kind):
    records = numbers(dtype=np.float32)
    recipe = TorchRecipe(module=odd, params={"kind": kind}, batch_size=8, steps=3)
    data = recipe.data(records, "cpu")
    reason = cannot_stack(recipe, data)
    assert reason is not None
    assert KINDS[kind] in reason
    with pytest.raises(CannotStack, match=re.escape(KINDS[kind])):
        train_many(recipe, data, [Run(np.arange(9), 0), Run(np.arange(5), 1)])
    first, again = (train_one(recipe, data, Run(np.arange(20), 4)).tensors(0) for _ in range(2))
    assert all(torch.equal(first[n], again[n]) for n in first)


def layers(shape, classes, kind):
    width = shape[0]
    if kind == "lstm":

        class Recurrent(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.last = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, classes)

            def forward(self, x):
                return self.last(self.rnn(x.unsqueeze(-1))[0][:, -1])

        return Recurrent()
    special = {
        "alpha": nn.AlphaDropout(0.2),
        "rrelu": nn.RReLU(),
        "cumulative": nn.BatchNorm1d(width, momentum=None),
        "instance": nn.Sequential(
            nn.Unflatten(1, (1, width)), nn.InstanceNorm1d(1, track_running_stats=True), nn.Flatten()
        ),
        "spectral": nn.utils.parametrizations.spectral_norm(nn.Linear(width, width)),
    }
    return nn.Sequential(nn.Linear(width, width), special[kind], nn.Linear(width, classes))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lstm", r"LSTM\) has no form for many"),
        ("alpha", r"AlphaDropout\) draws random numbers of its own"),
        ("rrelu", r"RReLU\) draws random numbers of its own"),
        ("cumulative", r"'1' \(BatchNorm1d\) keeps running statistics in a way of its own"),
        ("instance", "."),  # its buffers change in place
        ("spectral", "."),
    ],
)
def test_layers_that_need_a_model_of_their_own(numbers, kind, said):
    records = numbers(dtype=np.float32)
    recipe = TorchRecipe(module=layers, params={"kind": kind}, batch_size=8, steps=3)
    data = recipe.data(records, "cpu")
    reason = cannot_stack(recipe, data)
    assert reason is not None
    assert re.search(said, reason)
    train_one(recipe, data, Run(np.arange(20), 4))


@pytest.mark.parametrize("optimizer", ["lbfgs", "rprop", "asgd", "adafactor"])
def test_optimisers_that_look_at_more_than_one_element(numbers, optimizer):
    recipe = TorchRecipe(module="logistic", optimizer=optimizer, steps=2)
    data = recipe.data(numbers(), "cpu")
    assert "does not work element by element" in cannot_stack(recipe, data)
    train_one(recipe, data, Run(np.arange(20), 4))


def attention(shape, classes):
    """Tokens, layer normalisation, no dropout: plain tensor algebra."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(1, 4)
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
            self.last = nn.Linear(4, classes)

        def forward(self, x):
            return self.last(self.layer(self.up(x.unsqueeze(-1))).mean(1))

    return Small()


def test_what_can_be_stacked_is_stacked_or_refused_with_equal_numbers_either_way(numbers, runs, apart):
    records = numbers()
    recipe = TorchRecipe(module=attention, precision="float64", batch_size=8, steps=3)
    data = recipe.data(records, "cpu")
    several = runs(records, [12, 9])
    if cannot_stack(recipe, data) is None:
        assert apart(train_many(recipe, data, several), [train_one(recipe, data, r) for r in several]) < 1e-9


def test_the_look_is_taken_once_for_the_same_data(numbers, monkeypatch):
    import locard.train.neural.many_models as module

    looked = []
    inside = module._reason
    monkeypatch.setattr(module, "_reason", lambda *given: looked.append(1) or inside(*given))
    records = numbers()
    recipe = TorchRecipe(module="logistic", steps=2)
    asked = Asked(audited=np.arange(4), population=np.arange(2))
    for seed in range(3):
        list(recipe.answer(records, [Run(np.arange(9), seed), Run(np.arange(5), seed + 10)], asked))
    assert len(looked) == 1
