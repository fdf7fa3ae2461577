from __future__ import annotations

import numpy as np
import pytest

from locard.errors import AccessDenied, DataError, QueryBudgetSpent
from locard.observe.observations import ArrayReader, Observations
from locard.observe.signals import Correct, Entropy, LogProbability, ScaledLogit
from locard.observe.target import Target
from locard.types import Access


@pytest.fixture
def seen():
    z = np.random.default_rng(0).normal(size=(4, 6, 2, 3)).astype(np.float32)
    return Observations(ArrayReader(z), np.arange(6) % 3)


def test_it_shows_one_model_of_many(seen):
    for m in range(4):
        np.testing.assert_array_equal(Target(seen, m).observe(Entropy()), seen.of_model(Entropy(), m))


def test_it_gives_only_what_its_access_allows(seen):
    labels = Target(seen, access=Access.LABELS)
    assert labels.observe(Correct()).shape == (6, 2)
    with pytest.raises(AccessDenied, match="ScaledLogit needs class probabilities, but this target gives predicted"):
        labels.observe(ScaledLogit())
    assert labels.queries == 12  # the refused question was not asked
    for access in (Access.PROBABILITIES, Access.LOGITS, Access.WHITE_BOX):
        assert Target(seen, access=access).observe(ScaledLogit()).shape == (6, 2)
    with pytest.raises(AccessDenied, match="the training loop"):
        Target(seen, access=Access.TRAINING).observe(Correct())


def test_each_answer_is_paid_once_however_often_it_is_read(seen):
    target = Target(seen, budget=12)
    for signal in (Entropy(), LogProbability(), Entropy()):
        target.observe(signal)
    assert target.queries == 12
    assert repr(target) == "Target(access=LOGITS, queries=12)"


def test_a_budget_that_is_too_small_is_not_touched(seen):
    target = Target(seen, budget=11)
    with pytest.raises(QueryBudgetSpent, match="12 more queries are needed, but only 11 of 11 are left"):
        target.observe(Entropy())
    assert target.queries == 0


def test_live_queries_count_too(seen):
    def predict(features):
        return np.full((len(features), 3), 1 / 3)

    target = Target(seen, predict=predict, budget=15)
    assert target.query(np.zeros((2, 5))).shape == (2, 3)
    target.observe(Entropy())
    assert target.queries == 14
    with pytest.raises(QueryBudgetSpent, match="2 more queries are needed, but only 1 of 15"):
        target.query(np.zeros((2, 5)))
    with pytest.raises(AccessDenied, match="only saved outputs are here"):
        Target(seen).query(np.zeros((2, 5)))
    with pytest.raises(AccessDenied, match=r"query\(\) gives class probabilities"):
        Target(seen, predict=predict, access=Access.LABELS).query(np.zeros((2, 5)))


def test_a_labelled_copy_shares_the_count_the_budget_and_the_model():
    """Planted bug: a copy with a count of its own, so that a budget could be spent twice."""
    target = Target.from_arrays(logits=np.zeros((5, 3)), budget=7)
    labelled = target.labelled(np.zeros(5, dtype=int))
    labelled.observe(Entropy())
    labelled.labelled(np.zeros(5, dtype=int)).observe(Entropy())
    assert target.queries == labelled.queries == 5
    assert labelled.budget == 7
    target.labelled(np.zeros(5, dtype=int)).observe(Entropy())
    assert target.queries == 5
    live = Target(Observations(ArrayReader(np.zeros((1, 5, 1, 3), dtype=np.float32)), None), predict=lambda x: x)
    assert live.labelled(np.zeros(5, dtype=int)).query(np.ones((1, 3))).tolist() == [[1, 1, 1]]


def test_from_arrays():
    z = np.random.default_rng(1).normal(size=(6, 3))
    target = Target.from_arrays(logits=z, labels=[0, 1, 2, 0, 1, 2])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    other = Target.from_arrays(probabilities=p, labels=[0, 1, 2, 0, 1, 2])
    np.testing.assert_allclose(target.observe(ScaledLogit()), other.observe(ScaledLogit()), rtol=1e-4, atol=1e-5)
    floored = Target.from_arrays(probabilities=[[1.0, 0.0]], labels=[1], probability_floor=1e-2)
    assert floored.observe(LogProbability())[0, 0] == pytest.approx(np.log(0.01 / 1.01), rel=1e-6)
    with pytest.raises(DataError, match="given without labels"):
        Target.from_arrays(logits=z).observe(Entropy())
    with pytest.raises(DataError, match="6 are needed"):
        Target.from_arrays(logits=z, labels=[0, 1])
