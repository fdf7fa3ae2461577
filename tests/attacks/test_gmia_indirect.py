"""The indirect attack: nothing found on noise, a planted leak found, and a log that proves how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from locard.attacks.gmia_indirect import GMIAIndirect, claim_indirectly
from locard.attacks.indirect.combine import Verdict, both_ways
from locard.data.records import Records
from locard.errors import AccessDenied, DataError, NotEnoughReferences, QueryBudgetSpent, SettingsError
from locard.observe.asking import AskableTarget
from locard.seeds import Seed
from locard.stats import p_calibrated
from locard.train.asked import Run
from locard.train.neural.networks import ReferenceNetworks
from locard.train.neural.recipe import TorchRecipe
from locard.types import Access

FLAKE = 1e-6  # chance that correct code fails one statistical test
SMALL = {"queries": 60, "clusters": 8, "strongest": 20, "fewest": 0}
FEW = {"queries": 100, "clusters": 2, "strongest": 2, "fewest": 0, "apart": 0.0, "generation": "uniform"}
D = 3


class Cloud:
    """References whose weights are normal draws, and which learn a record by a step towards it: no training needed."""

    classes = 2

    def __init__(self, weights, pool, rate=0.3):
        self.weights, self.pool, self.rate = weights, pool, rate

    def __len__(self):
        return len(self.weights)

    def of(self, models):
        return Cloud(self.weights[models], self.pool, self.rate)

    def logits(self, x):
        z = self.weights @ x.T
        return np.stack([np.zeros_like(z), z], axis=-1)

    def taught(self, features, label, lesson):
        step = self.rate * (1 if label else -1) * features[0]
        return Taught(self.weights + step, self.weights, label)


class Taught:
    def __init__(self, positive, original, label):
        self.label, self.steps = label, np.ones(len(original), dtype=np.int64)
        self._positive, self._original = Cloud(positive, None), Cloud(original, None)

    def positive(self, x):
        return self._positive.logits(x)

    def control(self, x):
        return self._original.logits(x)

    def original(self, x):
        return self._original.logits(x)

    def hinge(self, x, *, gamma, against):
        raise AssertionError("not asked for")


def pool_of(rng, n=40):
    return Records(ids=np.arange(n), features=rng.normal(size=(n, D)), labels=np.arange(n) % 2)


def one(x, label=1):
    return Records(ids=["r"], features=np.asarray(x)[None], labels=[label], known_classes=[0, 1])


def target_of(weights, **more):
    return AskableTarget(Cloud(weights[None], None).logits_of_one, classes=2, answers="logits", **more)


Cloud.logits_of_one = lambda self, x: self.logits(x)[0]


def null_p(trials, k=8, seed=0):
    """p_rank of targets that are drawn as the references are, each with references and a record of its own."""
    method, out = GMIAIndirect(**FEW), np.empty(trials)
    pool = pool_of(np.random.default_rng(99))
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        scale = np.exp(rng.normal(size=D))
        weights = rng.normal(size=(k + 1, D)) * scale + rng.exponential(size=(k + 1, 1))
        made = method.prepare(one(rng.normal(size=D)), Cloud(weights[1:], pool), rng=rng)
        out[trial] = made.ask(target_of(weights[0])).p_rank
    return out


def test_p_values_of_a_target_without_the_record_are_super_uniform():
    """8 references, 5 of them test: P(p <= j / 6) = j / 6 at most, over 1,000 targets of their own.

    Seen to fail where the references that test are those that choose the queries (.25 at 1 / 6; power .97).
    """
    p = null_p(1000)
    for j in (1, 2, 3):
        assert (p <= j / 6 + 1e-9).sum() <= binom.ppf(1 - FLAKE / 3, len(p), j / 6), j
    assert (p <= 1 / 6 + 1e-9).sum() >= binom.ppf(FLAKE, len(p), 1 / 6)  # continuous answers: it is exact


def test_calibrated_p_values_hold_where_the_target_is_not_made_like_its_references():
    """The target's answers vary 2.5 times as much as those of references. 300 targets, each with 9 known non-members.

    P(p_cal <= u) <= u at u = .1, .2, .3, flake rate 1e-6. Two ways of being wrong are kept, and found at a level of
    1e-3: ranks among references (.3 at 1/6; power .98), and calibration records judged by what a model like the
    references says of them (.28 at .1; power > .999).
    """
    method, ranks, calibrated, wrong = GMIAIndirect(**FEW), [], [], []
    pool = pool_of(np.random.default_rng(98))
    for trial in range(300):
        rng = np.random.default_rng([7, trial])
        weights = rng.normal(size=(10, D))
        x, known = rng.normal(size=D), rng.normal(size=(9, D))
        others = Records(ids=[f"k{i}" for i in range(9)], features=known, labels=[1] * 9, known_classes=[0, 1])
        theirs, references = target_of(2.5 * weights[0]), Cloud(weights[2:], pool)
        found = method.claim(theirs, one(x), references, rng=rng, population=others)
        ranks.append(found.claims.p_rank[0])
        calibrated.append(found.claims.p_cal[0])
        like_them = [f.questions.ask(target_of(weights[1])).score for f in found.calibration]
        wrong.append(p_calibrated([found.found[0].verdict.score], like_them)[0])
    p = np.array(calibrated)
    for u in (0.1, 0.2, 0.3):
        assert (p <= u + 1e-9).sum() <= binom.ppf(1 - FLAKE / 3, 300, u), u
    assert (np.array(ranks) <= 1 / 6 + 1e-9).sum() > binom.ppf(1 - 1e-3, 300, 1 / 6)
    assert (np.array(wrong) <= 0.1 + 1e-9).sum() > binom.ppf(1 - 1e-3, 300, 0.1)


def test_a_record_that_moves_the_target_is_found_as_often_as_its_shift_says():
    """The target has taken the step that references take when they are taught: 4 standard deviations of each query."""
    rng, method = np.random.default_rng(3), GMIAIndirect(**SMALL)
    pool, record = pool_of(rng), np.array([1.0, 1.0, 1.0])
    found = []
    for _ in range(40):
        weights = rng.normal(size=(31, D))
        made = method.prepare(one(record), Cloud(weights[1:], pool), rng=rng)
        found.append(made.ask(target_of(weights[0] + 4 * record)).p_rank)
    assert np.mean(np.array(found) <= 1 / 21 + 1e-9) > 0.9
    backwards = [method.prepare(one(record), Cloud(w[1:], pool), rng=rng).ask(target_of(w[0] - 4 * record)).p_rank
                 for w in rng.normal(size=(10, 31, D))]  # fmt: skip
    assert min(backwards) > 0.9


# -- real networks -----------------------------------------------------------------------------------------------------

RECIPE = TorchRecipe(module="logistic", learning_rate=0.3, batch_size=10, epochs=15)


@pytest.fixture(scope="module")
def world():
    """20 references of 30 records, and targets of 30 records of the same pool, 25 of them with a strange record."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = rng.normal(size=(300, 4)) + 1.2 * y[:, None]
    x[-1], y[-1] = [4.0, 4.0, 4.0, 4.0], 0  # labelled against all others
    records = Records(ids=[f"r{i}" for i in range(300)], features=x, labels=y)
    pool, seed = records.select(np.arange(290)), Seed(5)

    def draw(name, i):
        return seed.child(name, i).generator().choice(290, size=30, replace=False)

    runs = [Run(draw("reference", i), seed.child("r", i).integer()) for i in range(30)]
    with_record = [
        Run(np.append(draw("target", i)[i < 25 :], [299] if i < 25 else []).astype(int), seed.child("t", i).integer())
        for i in range(50)
    ]
    references = ReferenceNetworks.trained(RECIPE, pool, runs)
    targets = ReferenceNetworks.trained(RECIPE, records, with_record)
    return references, targets, records


def asking(targets, i, **more):
    model = targets.of(np.array([i]))
    return AskableTarget(lambda x: model.logits(x)[0], classes=2, answers="logits", **more)


def test_a_planted_record_is_found_without_asking_about_it_and_the_log_proves_it(world):
    references, targets, records = world
    made = GMIAIndirect(queries=400).prepare(records.select([299]), references, rng=np.random.default_rng(0))
    assert len(made) >= 10
    assert (made.influence > 0.9).all()
    assert made.distance.min() >= made.nearest > 0
    p = []
    for i in range(50):
        target = asking(targets, i)
        p.append(made.ask(target).p_rank)
        assert target.log.asked == target.queries == len(made)
        assert not target.log.holds(records.features[299])
        assert not target.log.any_of(records.features).any()
    members, others = np.array(p[:25]), np.array(p[25:])
    assert (members <= 0.1).mean() > 0.8
    assert (others <= 0.1).sum() <= binom.ppf(1 - FLAKE, 25, 2 / 21)  # the same pool: exchangeable


def test_claims_columns_and_calibration(world):
    (references, targets, records), nine = world, np.arange(9)
    references = references.of(nine)
    candidates, held_out = records.select([299, 295, 296]), records.select(np.arange(290, 293))
    method = GMIAIndirect(queries=120, clusters=10, lesson_steps=5, optimise=0)
    target = asking(targets, 0)
    found = method.claim(
        target, candidates, references, rng=np.random.default_rng(1), population=held_out, selected=[True, True, False]
    )
    claims, columns = found.claims, found.columns()
    assert claims.tested.tolist() == [True, True, False]
    assert columns["id"].tolist() == ["r299", "r295"]
    assert claims.calibration == 3
    assert claims.p_cal[0] == pytest.approx(1 / 4)  # the surest of four, and no smaller p_cal is possible
    assert claims.p_rank[0] == pytest.approx(1 / 7)
    assert np.isnan(claims.p_rank[2])
    assert claims.references.tolist() == [6, 6, 0]
    assert target.queries == columns["queries"].sum() + sum(f.queries for f in found.calibration)
    assert not target.log.any_of(records.features).any()
    assert "Kost" in claims.promises["p_raw"]
    assert "none of a record itself" in repr(found)
    owner = method.claim(
        asking(targets, 0), candidates, references, rng=np.random.default_rng(1), non_member=[False, True, True]
    )
    assert owner.claims.calibration == 2
    alone = claim_indirectly(
        asking(targets, 0), records.select([299]), references, rng=np.random.default_rng(1), queries=120, clusters=10,
        lesson_steps=5, optimise=0,
    )  # fmt: skip
    assert alone.claims.p_rank[0] == claims.p_rank[0]  # what is drawn for a record depends on no other record
    assert np.isnan(alone.claims.p_cal[0])


def test_as_in_the_paper_and_with_optimisation(world):
    """Uniform queries, clustered first, compared with the references as they were; all are rejected and moved."""
    references, _, records = world
    method = GMIAIndirect(
        generation="uniform", queries=60, clusters=12, first="clusters", against="original", fewest=99, optimise=15
    )
    made = method.prepare(records.select([299]), references, rng=np.random.default_rng(0))
    without = replace(method, optimise=0).prepare(records.select([299]), references, rng=np.random.default_rng(0))
    assert len(without) < len(made) <= 12
    assert made.optimised == len(made) - len(without) > 0
    assert (made.influence > 0.9).all()


def test_three_references_work_and_two_are_refused(world):
    references, targets, records = world
    three = references.of(np.arange(3))
    made = GMIAIndirect(**SMALL).prepare(records.select([299]), three, rng=np.random.default_rng(0))
    assert made.testing.shape[0] == 2
    assert made.ask(asking(targets, 0)).p_rank >= 1 / 3
    with pytest.raises(NotEnoughReferences, match=r"needs 3 reference models.*found 2"):
        GMIAIndirect().prepare(records.select([299]), references.of(np.arange(2)), rng=np.random.default_rng(0))


def test_no_accepted_query_is_no_evidence():
    rng = np.random.default_rng(0)
    cloud = Cloud(rng.normal(size=(6, D)), pool_of(rng), rate=0.0)  # learns nothing
    made = GMIAIndirect(**{**SMALL, "optimise": 0}).prepare(one(np.ones(D)), cloud, rng=rng)
    target = target_of(np.ones(D))
    assert len(made) == target.queries == 0
    assert made.ask(target).p_rank == made.ask(target).p_kost == 1.0


def test_wrong_uses_are_told_before_anything_is_asked(world):
    references, targets, records = world
    method, rng = GMIAIndirect(queries=60, clusters=5, lesson_steps=2), np.random.default_rng(0)
    asked = asking(targets, 0)
    asked.log_probabilities(records.features[299:])
    with pytest.raises(DataError, match=r"record 'r299': an indirect attack must never ask about the record itself"):
        method.claim(asked, records.select([299]), references, rng=rng)
    inside = int(references.runs[0].index[0])
    with pytest.raises(DataError, match=f"must not be among those that references were trained on.*'r{inside}'"):
        method.claim(asking(targets, 0), records.select([299, inside]), references, rng=rng)
    with pytest.raises(AccessDenied, match="predicted labels only"):
        method.claim(asking(targets, 0, access=Access.LABELS), records.select([299]), references, rng=rng)
    poor = asking(targets, 0, budget=3)
    with pytest.raises(QueryBudgetSpent, match=r"\d+ queries are needed for 1 records, but only 3 of 3"):
        method.claim(poor, records.select([299]), references, rng=rng)
    assert poor.queries == 0
    with pytest.raises(DataError, match="one is needed at a time"):
        method.prepare(records.select([298, 299]), references, rng=rng)
    with pytest.raises(SettingsError, match=r"(?s)generation.*theta"):
        GMIAIndirect(theta=1.5, generation="best")


def test_references_that_test_have_no_part_in_the_queries(world):
    """Other test references, the same queries."""
    references, _, records = world
    method = GMIAIndirect(**SMALL)
    choosing = method.choosing(30)
    others = np.setdiff1d(np.arange(30), choosing)
    order = np.arange(30)
    order[others] = others[::-1]
    made, again = (
        method.prepare(records.select([299]), references.of(o), rng=np.random.default_rng(0))
        for o in (np.arange(30), order)
    )
    np.testing.assert_array_equal(made.features, again.features)
    np.testing.assert_array_equal(made.testing, again.testing[::-1])


# -- few references: two halves that choose for each other -----------------------------------------------------------


def test_two_halves_that_choose_for_each_other_add_up_to_a_valid_p_value():
    """8 references, 4 test each way: P(p <= u) <= u at .4, .6, .8, flake rate 1e-6, over 600 targets of their own.

    Two bugs are kept. The better half (not the sum) is at its floor of 1/5 more often than that, at a level of 1e-3.
    The mean (no doubling) is wrong where halves err apart, as in the second test of this part.
    """
    method, found, better = GMIAIndirect(**FEW, swap=True), [], []
    pool = pool_of(np.random.default_rng(97))
    for trial in range(600):
        rng = np.random.default_rng([11, trial])
        weights = rng.normal(size=(9, D)) + rng.exponential(size=(9, 1))
        made = method.prepare(one(rng.normal(size=D)), Cloud(weights[1:], pool), rng=rng)
        target = target_of(weights[0])
        found.append(made.ask(target).p_rank)
        assert target.queries == len(made) == len(made.first) + len(made.second)
        halves = [half.ask(target_of(weights[0])).p_rank for half in (made.first, made.second)]
        assert found[-1] == pytest.approx(min(1.0, sum(halves)))
        better.append(min(halves))
    p = np.array(found)
    for u in (0.4, 0.6, 0.8):
        assert (p <= u + 1e-9).sum() <= binom.ppf(1 - FLAKE / 3, len(p), u), u
    assert p.min() == pytest.approx(2 / 5)
    assert (np.array(better) <= 0.2 + 1e-9).sum() > binom.ppf(1 - 1e-3, len(p), 0.2)


def test_halves_that_err_apart_need_the_sum():
    """Each half's p is uniform, and very small where the other's is less so: P(p_1 + p_2 <= .1) <= .1.

    The bug, kept: their mean is at most .1 twice as often (power > .999 at 2,000 draws).
    """
    rng = np.random.default_rng(0)
    first = rng.random(2000)
    second = np.where(first <= 0.2, 0.2 - first, first)  # uniform as well
    p = np.array([both_ways(verdict_of(a), verdict_of(b)).p_rank for a, b in zip(first, second, strict=True)])
    assert (p <= 0.1 + 1e-9).sum() <= binom.ppf(1 - FLAKE, 2000, 0.1)
    assert ((first + second) / 2 <= 0.1 + 1e-9).sum() > binom.ppf(1 - 1e-6, 2000, 0.1)


def verdict_of(p):
    return Verdict(p_rank=p, p_tail=p, p_kost=p, score=-np.log(p))


def test_a_planted_record_is_found_by_few_references_that_swap(world):
    references, targets, records = world
    few = references.of(np.arange(10))
    made = GMIAIndirect(queries=400, swap=True).prepare(records.select([299]), few, rng=np.random.default_rng(0))
    assert made.references == made.first.references == made.second.references == 5
    assert len(made.distance) == len(made.influence) == len(made.control) == len(made.features) == len(made)
    p = np.array([made.ask(asking(targets, i)).p_rank for i in range(50)])
    assert p.min() == pytest.approx(2 / 6)
    assert (p[:25] <= 2 / 6 + 1e-9).mean() > 0.6
    assert np.median(p[25:]) > 0.6
    poor = asking(targets, 0, budget=len(made) - 1)
    with pytest.raises(QueryBudgetSpent):
        made.ask(poor)
    assert poor.queries == 0  # both halves or neither
    with pytest.raises(NotEnoughReferences, match="with swap needs 2 reference models in each half, found 1 and 2"):
        GMIAIndirect(swap=True).prepare(
            records.select([299]), references.of(np.arange(3)), rng=np.random.default_rng(0)
        )
    claims = (
        GMIAIndirect(queries=120, clusters=10, swap=True)
        .claim(asking(targets, 0), records.select([299]), few, rng=np.random.default_rng(0))
        .claims
    )
    assert claims.references.tolist() == [5]
    assert "each of which chose the queries that the other tested" in claims.promises["p_rank"]
