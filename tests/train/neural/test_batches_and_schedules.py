"""Batches, learning rates, held-out records and orders of many models, each against its slow sentence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.train.asked import Run
from locard.train.neural.batches import Length, epoch_order
from locard.train.neural.early import Patience, held_out
from locard.train.neural.orders import Orders
from locard.train.neural.recipe import TorchRecipe
from locard.train.neural.schedules import SCHEDULES, schedule


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 4), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_length_equals_the_loop(records, batch, amount, drop, by_steps):
    length = Length(
        records=records,
        batch=batch,
        epochs=None if by_steps else amount,
        steps=7 * amount if by_steps else None,
        drop_last=drop,
    )
    walked, epoch = [], 0
    while len(walked) < 7 * amount if by_steps else epoch < amount:
        starts = [s for s in range(0, records, batch) if not drop or s + batch <= records] or [0]
        walked += [(epoch, s, s == starts[-1]) for s in starts]
        epoch += 1
    walked = walked[: 7 * amount] if by_steps else walked
    assert length.total == len(walked)
    assert length.epochs_begun == walked[-1][0] + 1
    for step, (e, start, last) in enumerate(walked):
        assert length.place(step) == (e, start)
        assert length.ends_epoch(step) == (last or step + 1 == len(walked))


def test_an_epochs_order_is_a_shuffle_of_its_own():
    index = np.array([5, 5, 2, 9])
    orders = [epoch_order(index, seed, epoch, variants=1, records=10) for seed in (0, 1) for epoch in range(6)]
    assert all(sorted(o) == [2, 5, 5, 9] for o in orders)
    assert len({tuple(o) for o in orders}) > 4
    forms = epoch_order(np.arange(1000), 0, 0, variants=3, records=1000)
    assert sorted(forms % 1000) == list(range(1000))
    assert np.bincount(forms // 1000).min() > 250  # 333 expected, 15 is one standard deviation


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    batch=st.integers(1, 12),
    drop=st.booleans(),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_batches_of_many_models_equal_each_ones_own(sizes, batch, drop, seed, numbers):
    data = TorchRecipe(module="logistic").data(numbers(), "cpu")
    rng = np.random.default_rng(seed)
    indices = [rng.integers(40, size=s) for s in sizes]
    lengths = [Length(records=s, batch=batch, epochs=3, drop_last=drop) for s in sizes]
    seeds = rng.integers(2**31, size=len(sizes))
    orders = Orders(indices, lengths, seeds, data)
    for step in range(max(n.total for n in lengths)):
        models = [m for m, n in enumerate(lengths) if step < n.total]
        rows, valid = orders.batch(models, step)
        for k, m in enumerate(models):
            epoch, start = lengths[m].place(step)
            own = epoch_order(indices[m], int(seeds[m]), epoch, variants=1, records=40)
            assert rows[k][valid[k]].tolist() == own[start : start + batch].tolist()
            assert set(rows[k]) <= set(indices[m])  # padding is the model's own, too


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_start_at_one_and_never_become_negative(name):
    length = Length(records=30, batch=10, epochs=4)
    factor = schedule(name, {}, length)
    values = [factor(s) for s in range(length.total + 20)]
    assert values[0] == 1
    assert min(values) >= 0
    assert all(a >= b for a, b in pairwise(values))


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("cosine", {"stop": 1}, "settings of the schedule 'cosine' are needed"),
        ("step", {"epochs": 0}, "at least 1 is needed, found 0"),
        ("step", {"gamma": "a"}, "schedule_params"),
        ("exponential", {"gamma": -0.5}, "gamma: a number of at least 0 is needed, found -0.5"),
        ("linear", {"end": -1}, "end: a number of at least 0"),
        ("cosine", {"end": float("nan")}, "end: a number of at least 0"),
    ],
)
def test_settings_that_make_no_schedule_are_refused(name, params, said):
    with pytest.raises(SettingsError, match=said):
        schedule(name, params, Length(records=1, batch=1, epochs=1))


@given(st.integers(1, 60), st.sampled_from([0.01, 0.1, 0.5, 0.99]), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_held_out_records_are_no_training_records(size, share, seed):
    index = np.random.default_rng(seed).integers(40, size=size)
    kept, held = held_out(TorchRecipe(patience=2, validation=share), Run(index, seed))
    assert sorted([*kept, *held]) == sorted(index)
    assert not set(kept) & set(held)
    assert len(kept) >= 1
    assert len(held) >= 1 or len(set(index)) == 1
    same, nothing = held_out(TorchRecipe(), Run(index, seed))
    assert same is index
    assert len(nothing) == 0


def test_patience_counts_epochs_without_a_better_weighted_loss(numbers):
    weight = np.zeros(40)
    weight[3] = 1.0
    records = numbers(weight=weight)
    data = TorchRecipe(module="logistic").data(records, "cpu")

    class Says:
        def __init__(self, right):
            self.right = right

        def logits(self, x):
            z = torch.zeros(1, len(x), 3)
            z[0, 1, data.y[3]] = self.right  # the only record with weight
            z[0, 0] = torch.randn(3)
            yield slice(0, len(x)), z

    patience = Patience(2)
    said = [patience.enough(0, Says(r), data, np.array([2, 3]), None) for r in (1.0, 2.0, 1.5, 3.0, 2.9, 2.8)]
    assert said == [False, False, False, False, False, True]
    assert patience.best_of(0, None).right == 3.0
    assert patience.best_of(1, "last") == "last"
