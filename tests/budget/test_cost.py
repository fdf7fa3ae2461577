"""What an audit will cost and can resolve: arithmetic that can be redone by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import locard.budget.probe as module
from locard.budget.cost import cost_text, predict_cost
from locard.data.records import Records
from locard.data.split import choose_pool
from locard.plan.draw import draw_plan
from locard.seeds import Seed
from locard.settings import make_settings
from locard.train.recipe import SklearnRecipe

TREE = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 2})


@dataclass(frozen=True)
class Timed:
    """A recipe that takes as long as it says, on a clock that it moves itself."""

    clock: list
    name = fingerprint = "timed"
    probability_floor = None

    def fit(self, records, index, seed):
        self.clock[0] += 3.0

        def predict(features):
            self.clock[0] += 0.5
            return np.zeros((len(features), 2), dtype=np.float32)

        return predict


def predicted(r: Records, recipe=TREE, **sections):
    tree = {"data": {"source": "x"}, "compute": {"workers": 1}} | sections
    settings = make_settings(tree)
    split = choose_pool(r, settings.data.pool, settings.data.population, seed=Seed(0))
    plan = draw_plan(settings.references, r, split, seed=Seed(0), targets=settings.target.models)
    return predict_cost(settings, r, split, plan, recipe, attacks=("lira", "loss"), not_run=("rmia: no",))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("models", "workers", "rounds"), [(8, 1, 8), (8, 2, 4), (10, 4, 3), (4, 64, 1)])
def test_time_is_rounds_of_fit_and_predict(records, clock, models, workers, rounds):
    cost = predicted(records(80), Timed(clock), references={"models": models}, compute={"workers": workers})
    assert (cost.fit_seconds, cost.predict_seconds) == (3.0, 0.5)
    assert cost.train_seconds == rounds * 3.5 + (module.START_SECONDS if min(workers, models) > 1 else 0)
    assert cost.total_seconds == cost.train_seconds + cost.score_seconds
    assert cost.workers == min(workers, models)


def test_the_design_is_counted(records):
    cost = predicted(records(100), data={"source": "x", "pool": 80, "population": 10}, references={"models": 12})
    assert (cost.models, cost.pairs, cost.audited, cost.units, cost.population) == (12, 6, 80, 80, 10)
    assert cost.train_records == 40.0  # a pair holds every record once
    assert cost.disk_bytes == 12 * 4 * 2 * 90
    assert cost.memory_bytes > 2**20


def test_units_are_what_is_counted_behind_a_rate(records):
    cost = predicted(records(400, rows=4), data={"source": "x", "pool": 400}, measure={"fprs": [0.1]})
    assert cost.units == 100
    assert 30 <= cost.fprs[0].non_members <= 50


@pytest.mark.parametrize(("n", "said"), [(60, "not resolvable"), (1_600, "bounded only"), (4_000, "resolved")])
def test_what_each_rate_can_resolve_is_said_before_anything_is_spent(records, n, said):
    r = records(n)
    cost = predicted(r, data={"source": "x", "pool": n}, references={"models": 4}, measure={"fprs": [0.01]})
    assert cost.fprs[0].resolution == said
    text = cost_text(cost)
    assert said in text
    assert ("audit 2,200 records" in text) is (said != "resolved")


@pytest.mark.parametrize(("models", "named"), [(4, False), (6, False), (64, True)])
def test_how_many_records_the_design_can_name_is_said(records, models, named):
    cost = predicted(records(80), references={"models": models})
    text = cost_text(cost)
    assert (cost.nameable_rate is not None) is named
    assert ("is named with 90 % chance" in text) is named
    assert ("no record can be named" in text) is not named


@pytest.mark.parametrize("plan", ["subsample", "coin_flips"])
def test_a_design_without_pairs_names_nobody(records, plan):
    cost = predicted(records(80), references={"models": 64, "plan": plan})
    assert cost.named_from is None
    assert "no record can be named" in cost_text(cost)


def test_attacks_that_will_not_run_are_listed(records):
    text = cost_text(predicted(records(80)))
    assert "lira, loss" in text
    assert "rmia: no" in text


def test_the_prediction_is_plain_values(records):
    tree = predicted(records(80)).to_json()
    assert json.loads(json.dumps(tree)) == tree | {"attacks": ["lira", "loss"], "not_run": ["rmia: no"], "kept": []}


def test_probes_change_nothing(records):
    r = records(80)  # read-only
    before = r.fingerprint
    predicted(r)
    assert r.fingerprint == before
