"""References that are taught a record: the plain loop, one by one, both branches, and the gradient of Equation 3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from locard.errors import SettingsError, StoreMismatch
from locard.seeds import Seed
from locard.train.asked import Run
from locard.train.influence import MOST, Influenced, Lesson, TeachableReferences
from locard.train.neural.batches import epoch_order
from locard.train.neural.continued import mean_factor
from locard.train.neural.networks import ReferenceNetworks
from locard.train.neural.one_model import length_of
from locard.train.neural.recipe import TorchRecipe
from locard.train.recipe import SklearnRecipe

RECIPE = TorchRecipe(
    module="mlp",
    params={"hidden": [5], "activation": "tanh", "dropout": 0.2},
    learning_rate=0.2,
    batch_size=7,
    epochs=4,
    precision="float64",
)
SIZES = (20, 25, 20)


def runs(records, sizes=SIZES):
    return [Run(np.random.default_rng(i).permutation(len(records) - 1)[:n], 11 + i) for i, n in enumerate(sizes)]


@pytest.fixture(scope="module")
def records(table):
    return table(41)


@pytest.fixture(scope="module")
def networks(records):
    return ReferenceNetworks.trained(RECIPE, records, runs(records))


def record_of(records):
    return records.features[40:41], int(records.y[40])


def test_they_fulfil_the_protocols(networks, records):
    assert isinstance(networks, TeachableReferences)
    assert isinstance(networks.taught(*record_of(records), Lesson(most=1)), Influenced)
    assert len(networks) == 3
    assert len(networks.pool) == len(np.unique(np.concatenate([r.index for r in networks.runs])))


def test_taught_together_equals_taught_one_by_one(networks, records):
    lesson = Lesson(most=6, like=None)
    together = networks.taught(*record_of(records), lesson)
    blocks = networks.taught(*record_of(records), replace(lesson, block=2))
    for branch in ("positive", "control", "original"):
        said = getattr(together, branch)(records.features)
        np.testing.assert_allclose(getattr(blocks, branch)(records.features), said, rtol=1e-9, atol=1e-9)
    for model in range(3):
        alone = networks.of(np.array([model])).taught(*record_of(records), lesson)
        for branch in ("positive", "control"):
            one = getattr(alone, branch)(records.features)[0]
            np.testing.assert_allclose(one, getattr(together, branch)(records.features)[model], rtol=1e-9, atol=1e-9)


def loop(networks, records, model, *, with_record, steps, rate):
    """The sentence of the paper, one reference at a time: go on, with r in every batch."""
    features, label = record_of(records)
    data, run = networks.data, networks.runs[model]
    w, b = (networks.models.params[n][model].clone() for n in ("1.weight", "1.bias"))
    scale = networks.models.scaling.of([model])
    batch, per_epoch = RECIPE.batch_size, length_of(RECIPE, len(run.index)).per_epoch
    seed = Seed(run.seed).child("further").integer()
    for step in range(steps):
        epoch, within = divmod(step, per_epoch)
        order = epoch_order(run.index, seed, epoch, variants=1, records=data.records)
        rows = order[within * batch : (within + 1) * batch]
        x, y = data.x[rows], data.y[rows]
        if with_record:
            x = torch.cat([x, data.other(features)[0]])
            y = torch.cat([y, torch.tensor([label])])
        x = scale.apply(x[None])[0]
        p = torch.softmax(x @ w.T + b, dim=1)
        error = (p - torch.eye(data.classes, dtype=p.dtype)[y]) / len(x)
        w, b = w - rate * error.T @ x, b - rate * error.sum(0)
    x = scale.apply(data.other(records.features)[0][None])[0]
    return (x @ w.T + b).numpy()


def test_both_branches_equal_the_plain_loop(records):
    recipe = replace(RECIPE, module="logistic", params={})
    networks = ReferenceNetworks.trained(recipe, records, runs(records))
    taught = networks.taught(*record_of(records), Lesson(most=5, like=None, rate=0.05))
    for model in range(3):
        for branch, inside in ((taught.positive, True), (taught.control, False)):
            wanted = loop(networks, records, model, with_record=inside, steps=5, rate=0.05)
            np.testing.assert_allclose(branch(records.features)[model], wanted, rtol=1e-9, atol=1e-10)


def test_a_reference_stops_when_it_has_learnt_and_the_others_go_on(networks, records):
    features, label = record_of(records)
    never = networks.taught(features, label, Lesson(most=5, like=None))
    assert never.steps.tolist() == [5, 5, 5]
    assert networks.taught(features, label, Lesson(like=None)).steps.tolist() == [RECIPE.passes] * 3 <= [MOST] * 3
    taught = networks.taught(features, label, Lesson(most=200, like=0.1))
    own = np.array([np.quantile(label_probability(networks, records, m), 0.1) for m in range(3)])
    p = np.exp(taught.positive(features))[:, 0]
    assert ((p / p.sum(axis=1, keepdims=True))[:, label] >= own)[taught.steps < 200].all()
    assert taught.steps.min() < 200
    known = networks.taught(features, label, Lesson(most=5, like=0.0))
    learnt = label_probability(networks, records, 0).min() <= softmax_of(networks, features)[0, label]
    assert known.steps[0] == 1 or not learnt


def softmax_of(networks, features):
    z = networks.logits(features)[:, 0]
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def label_probability(networks, records, model):
    """Of the reference's own training records, spread as they are looked at."""
    index = networks.runs[model].index
    index = index[np.linspace(0, len(index) - 1, 1000).astype(int)]
    z = networks.logits(records.features[index])[model]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p[np.arange(len(index)), records.y[index]]


def test_the_rate_is_the_mean_of_the_training_rates(records):
    cosine = replace(RECIPE, schedule="cosine")
    lengths = [length_of(cosine, n) for n in SIZES]
    assert mean_factor(RECIPE, lengths) == 1.0
    assert mean_factor(cosine, lengths) == pytest.approx(0.5, abs=0.05)


def test_equation_3_is_the_loop_and_its_gradient_the_difference_quotient(networks, records):
    taught = networks.taught(*record_of(records), Lesson(most=5, like=None))
    queries = records.features[:6].copy()
    queries[:, 0] = np.nan_to_num(queries[:, 0])
    gamma = 0.02

    def loss(x, against):
        total = np.zeros(len(x))
        for i in range(3):
            for q in range(len(x)):
                p = [np.exp(said(x)[i, q]) for said in (taught.positive, getattr(taught, against))]
                rise = p[0][taught.label] / p[0].sum() - p[1][taught.label] / p[1].sum()
                total[q] += max(0.0, gamma - rise)
        return total

    numbers = [j for j, c in enumerate(records.columns) if c.kind == "number"]
    for against in ("control", "original"):
        value, gradient = taught.hinge(queries, gamma=gamma, against=against)
        np.testing.assert_allclose(value, loss(queries, against), rtol=1e-8, atol=1e-12)
        assert value.max() > 0
        for place, j in enumerate(numbers):
            width = 1e-5 * max(1.0, float(np.nanstd(records.features[:, j])))
            up, down = queries.copy(), queries.copy()
            up[:, j] += width
            down[:, j] -= width
            wanted = (loss(up, against) - loss(down, against)) / (2 * width)
            known = ~np.isnan(queries[:, j])
            np.testing.assert_allclose(gradient[known, place], wanted[known], rtol=1e-4, atol=1e-9)
        assert (gradient[:, : len(numbers)][np.isnan(queries[:, numbers])] == 0).all()
    assert taught.hinge(queries[:0], gamma=gamma, against="control")[0].shape == (0,)


def test_kept_weights_are_the_networks_themselves(networks, records):
    weights = [{n: t.numpy() for n, t in networks.models.tensors(m).items()} for m in range(3)]
    again = ReferenceNetworks.from_weights(RECIPE, records, runs(records), weights)
    np.testing.assert_array_equal(again.logits(records.features), networks.logits(records.features))
    with pytest.raises(StoreMismatch, match=r"model 0 differs in 1\.bias"):
        ReferenceNetworks.from_weights(replace(RECIPE, params={"hidden": [4]}), records, runs(records), weights)
    with pytest.raises(StoreMismatch, match="one model for each of 3 runs"):
        ReferenceNetworks.from_weights(RECIPE, records, runs(records), weights[:2])


def test_what_is_no_network_or_not_many_at_once_is_refused(records):
    with pytest.raises(SettingsError, match=r"a network is needed.*Use gmia, the direct attack"):
        ReferenceNetworks.trained(
            SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression"), records, runs(records)
        )
    with pytest.raises(SettingsError, match="trained in one program"):
        ReferenceNetworks.trained(replace(RECIPE, optimizer="lbfgs", batch_size=20), records, runs(records))
