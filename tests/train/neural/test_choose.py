"""The faster way is taken, and looking for it costs little beside the training."""

from __future__ import annotations

import numpy as np
import pytest

from locard.train.asked import Room, Run
from locard.train.neural import choose as module
from locard.train.neural.choose import _Timed
from locard.train.neural.recipe import TorchRecipe


@pytest.fixture
def chosen(numbers, monkeypatch):
    """``chosen(one, many, models, steps)``: the choice, and the sizes looked at, where steps take as long as told."""

    def run(one, many, models, steps):
        looked = []

        def time_many(recipe, data, runs):
            looked.append(len(runs))
            clock[0] += (1 + module.STEPS) * many(len(runs))
            return _Timed("many", len(runs), 0.0, many(len(runs)), 2**20)

        clock = [0.0]
        monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(module, "_time_one", lambda *_: _Timed("one", 1, 0.0, one, 2**20))
        monkeypatch.setattr(module, "_time_many", time_many)
        monkeypatch.setattr(module, "_time_asking", lambda *_: 0.0)
        recipe = TorchRecipe(module="logistic", steps=steps)
        runs = [Run(np.arange(20), i) for i in range(models)]
        return recipe.choose(numbers(), runs, Room(workers=2)), looked

    return run


def test_the_size_that_is_fastest_is_taken(chosen):
    best, looked = chosen(one=1e-3, many=lambda n: 1e-3 + 1e-5 * n + 1e-7 * n * n, models=512, steps=10_000)
    assert looked == [8, 16, 32, 64, 128, 256]
    assert (best.way, best.size) == ("many", 64)  # 32 microseconds a model and step; 31 at 128: not worth its memory


def test_slower_together_is_seen_at_once(chosen):
    best, looked = chosen(one=0.02, many=lambda n: 0.03 * n, models=64, steps=10_000)
    assert (best.way, looked) == ("one", [8])


@pytest.mark.parametrize(("steps", "sizes"), [(20, []), (10_000, [8])])
def test_looking_costs_at_most_a_tenth_of_the_training(chosen, steps, sizes):
    """16 models of 20 steps: 3.2 s in all, and looking at 8 would take 0.8 s."""
    best, looked = chosen(one=0.02, many=lambda n: 0.02 * n, models=16, steps=steps)
    assert looked == sizes
    assert best.way == "one"


@pytest.mark.parametrize(("start", "step"), [(0.004, 2e-5), (0.02, 1e-4), (0.3, 2e-5), (0.01, 0.01)])
def test_a_step_is_not_thought_free_because_its_time_drowns_in_the_start(numbers, monkeypatch, start, step):
    """The start takes long and is uneven: a step was once called 1 microsecond, and took 60."""
    uneven = iter([0.0] + 20 * [-0.001, 0.0])

    def seconds(recipe, data, run):
        from locard.train.neural.one_model import train_one

        return start + recipe.steps * step + next(uneven), train_one(recipe, data, run)

    monkeypatch.setattr(module, "_seconds", seconds)
    recipe = TorchRecipe(module="logistic", steps=1000)
    records = numbers()
    timed = module._time_one(recipe, recipe.data(records, "cpu"), Run(np.arange(20), 0))
    assert 0.5 * step < timed.step
