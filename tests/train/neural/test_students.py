"""Networks that learn from networks: many in one program are what each is alone, and they answer in evaluation mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from locard.train.asked import Run
from locard.train.distil import Teaching, distil, student_recipe
from locard.train.neural.objective import Taught, soft_losses
from locard.train.neural.recipe import TorchRecipe

MLP = TorchRecipe(module="mlp", params={"hidden": [6]}, learning_rate=0.05, batch_size=8, precision="float64")


def normed(shape, classes):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(int(np.prod(shape)), 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(6, classes),
    )


def snapshots(recipe, people, runs, soft, way="many", audited=None, **teaching):
    places = np.arange(len(people)) if audited is None else audited
    asked = Teaching(audited=places, way=way, **({"epochs": 3} | teaching))
    found = {}
    distil(recipe, people, runs, soft, asked, lambda s, e, z: found.__setitem__((s, e), z.copy()))
    return found


def soft_of(runs, classes=3, forms=1, seed=4):
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.ones(classes), size=(len(r.index), forms)) for r in runs]


def distinct(people, sizes):
    return [Run(np.random.default_rng(i).permutation(len(people))[:n], 50 + i) for i, n in enumerate(sizes)]


@pytest.mark.parametrize(
    ("recipe", "forms"),
    [
        (MLP, 1),
        (TorchRecipe(module=normed, optimizer="adam", learning_rate=0.01, batch_size=8, precision="float64"), 1),
        (TorchRecipe(**{**vars(MLP), "augment": ("identity", "noise(0.1)"), "folder": None}), 2),
    ],
    ids=["mlp", "batch norm and dropout", "two forms"],
)
def test_many_students_are_what_each_is_alone(numbers, recipe, forms):
    """Different teachers, different records of different number, a temperature, weights of records."""
    people = numbers(40, weight=np.random.default_rng(0).gamma(3.0, size=40))
    runs = distinct(people, [30, 30, 17])
    soft = soft_of(runs, forms=forms)
    student = student_recipe(recipe, 3)
    many, one = (snapshots(student, people, runs, soft, way=w, temperature=2.0) for w in ("many", "one"))
    assert many.keys() == one.keys() == {(s, e) for s in range(3) for e in (1, 2, 3)}
    for key, z in many.items():
        np.testing.assert_allclose(z, one[key], rtol=1e-5, atol=1e-5)
    assert np.abs(many[0, 3] - many[1, 3]).max() > 0.01


def test_a_student_of_the_labels_is_the_plain_network(numbers):
    """One-hot teachers: the same steps as training on labels; so the label-only teacher is what it says."""
    people = numbers(30)
    (run,) = distinct(people, [20])
    taught = snapshots(student_recipe(MLP, 3), people, [run], [np.eye(3)[people.y[run.index]][:, None]], way="one")
    plain = TorchRecipe(**{**vars(MLP), "epochs": 3}).fit(people, run.index, run.seed)(people.features)[:, 0]
    np.testing.assert_allclose(taught[0, 3], plain, rtol=1e-5, atol=1e-6)


def test_a_student_finds_its_teachers_probabilities(numbers):
    """A logistic student of a logistic teacher: divergence is least, zero, where they agree. Known answer."""
    people = numbers(60, classes=2)
    w = np.random.default_rng(1).normal(size=(5, 2))
    z = people.features @ w
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    recipe = TorchRecipe(module="logistic", optimizer="adam", learning_rate=0.05, batch_size=60, precision="float64")
    said = snapshots(student_recipe(recipe, 400), people, [Run(np.arange(60), 1)], [p[:, None]], epochs=400)[0, 400]
    q = np.exp(said) / np.exp(said).sum(axis=1, keepdims=True)
    assert np.abs(p - q).max() < 0.02


def test_no_answer_depends_on_who_else_is_asked(numbers):
    """The defect of the released codes: students in training mode, members in batches of their own. A network with
    batch statistics and dropout answers each record alike alone, among all, and in another order."""
    people = numbers(40)
    runs = distinct(people, [30])
    soft = soft_of(runs)
    student = student_recipe(TorchRecipe(module=normed, batch_size=8, precision="float64"), 2)
    every = snapshots(student, people, runs, soft, epochs=2)[0, 2]
    order = np.random.default_rng(3).permutation(40)
    turned = snapshots(student, people, runs, soft, epochs=2, audited=order)[0, 2]
    np.testing.assert_allclose(turned, every[order], rtol=1e-6, atol=1e-6)
    alone = snapshots(student, people, runs, soft, epochs=2, audited=np.array([7]))[0, 2]
    np.testing.assert_allclose(alone[0], every[7], rtol=1e-6, atol=1e-6)


def test_softmax_is_taken_once():
    """Loss of logits (3, 1, 0.5) under the label 0 is 0.2 nats; under a softmax of the softmax it would be 0.7."""
    z, label = (
        torch.tensor([[3.0, 1.0, 0.5]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64),
    )
    assert soft_losses(z, label).item() == pytest.approx(np.log(1 + np.exp(-2) + np.exp(-2.5)), abs=1e-12)
    at_two = soft_losses(z, label, 2.0).item()
    assert at_two == pytest.approx(4 * np.log(1 + np.exp(-1) + np.exp(-1.25)), abs=1e-12)


def test_the_table_gives_each_form_of_each_record_to_each_student(numbers):
    people = numbers(10)
    data = TorchRecipe(module="mlp", augment=("identity", "noise(0.1)")).data(people, "cpu")
    runs = [Run(np.array([7, 2]), 0), Run(np.array([2, 5]), 1)]
    soft = soft_of(runs, forms=2)
    taught = Taught.of(data, runs, soft, 1.0)
    rows = torch.tensor([[7, 12], [15, 2]])  # record 7; record 2's second form; record 5's second form; record 2
    got = taught.labels(torch.arange(2), rows).numpy()
    np.testing.assert_allclose(got[0], [soft[0][0, 0], soft[0][1, 1]], rtol=1e-6)
    np.testing.assert_allclose(got[1], [soft[1][1, 1], soft[1][0, 0]], rtol=1e-6)
