"""A target that may only be asked: access, budget, and a log that proves what was and was not asked."""

from __future__ import annotations

import numpy as np
import pytest

from locard.data.records import Column, Records
from locard.errors import AccessDenied, DataError, QueryBudgetSpent, SettingsError
from locard.observe.asking import AskableTarget, QueryLog
from locard.observe.models import load_model
from locard.observe.signals import log_softmax
from locard.types import Access


def linear(features):
    return np.stack([features[:, 0], features[:, 1], np.zeros(len(features))], axis=1)


def softmax(features):
    z = linear(features)
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


@pytest.fixture
def rows():
    x = np.random.default_rng(0).normal(size=(20, 2))
    x.flags.writeable = False
    return x


def test_probabilities_and_logits_answer_alike(rows):
    wanted = log_softmax(linear(rows))
    for predict, kind in ((linear, "logits"), (softmax, "probabilities")):
        target = AskableTarget(predict, classes=3, answers=kind, access=Access.LOGITS)
        np.testing.assert_allclose(target.log_probabilities(rows), wanted, atol=1e-6)
        np.testing.assert_array_equal(target.labels(rows), linear(rows).argmax(axis=1))
        assert target.queries == target.log.asked == 40
    logits = AskableTarget(linear, classes=3, answers="logits", access=Access.LOGITS)
    np.testing.assert_allclose(logits.logits(rows), linear(rows), atol=1e-6)


def test_no_more_is_shown_than_access_allows(rows):
    labels = AskableTarget(softmax, classes=3, access=Access.LABELS)
    with pytest.raises(AccessDenied, match="asks for class probabilities, but this target gives predicted labels only"):
        labels.log_probabilities(rows)
    probabilities = AskableTarget(linear, classes=3, answers="logits")
    with pytest.raises(AccessDenied, match="logits"):
        probabilities.logits(rows)
    assert labels.queries == probabilities.queries == probabilities.log.asked == 0
    shifted = AskableTarget(lambda x: linear(x) + 7, classes=3, answers="logits")  # the sum of logits is not shown
    np.testing.assert_allclose(shifted.log_probabilities(rows), probabilities.log_probabilities(rows), atol=1e-6)


def test_what_does_not_fit_the_budget_is_not_asked(rows):
    said = []
    target = AskableTarget(lambda x: said.append(len(x)) or softmax(x), classes=3, budget=30)
    target.log_probabilities(rows)
    with pytest.raises(QueryBudgetSpent, match="20 more queries are needed, but only 10 of 30"):
        target.log_probabilities(rows)
    assert said == [20]
    assert target.queries == 20
    assert target.left == 10
    assert target.log.asked == 20


def test_the_log_tells_what_was_asked(rows):
    target = AskableTarget(softmax, classes=3)
    target.log_probabilities(rows[:10])
    assert target.log.any_of(rows).tolist() == [True] * 10 + [False] * 10
    assert target.log.holds(rows[3].astype(np.float32))  # a copy in another number type is the same row
    assert target.log.holds(rows[3] + 1e-12)
    assert not target.log.holds(rows[3] + 1e-3)
    same, other = QueryLog(), QueryLog()
    same.add(rows[:4])
    same.add(rows[4:10])
    other.add(rows[:10][::-1])
    assert same.digest == target.log.digest != other.digest
    holes = QueryLog()
    holes.add(np.array([[np.nan, 0.0]]))
    assert holes.holds([np.nan, -0.0])
    assert not holes.holds([0.0, 0.0])


def test_a_question_that_failed_counts_as_asked(rows):
    target = AskableTarget(lambda x: np.full((len(x), 3), np.nan), classes=3)
    with pytest.raises(SettingsError, match="found NaN"):
        target.log_probabilities(rows)
    assert target.queries == 20
    assert target.log.holds(rows[0])


def test_wrong_questions_and_wrong_answers_are_told(rows):
    target = AskableTarget(linear, classes=3)
    with pytest.raises(DataError, match="rows of numbers"):
        target.log_probabilities(rows[0])
    with pytest.raises(DataError, match="infinite"):
        target.log_probabilities(np.full((1, 2), np.inf))
    assert target.queries == 0
    with pytest.raises(SettingsError, match="probabilities between 0 and 1"):
        target.log_probabilities(rows)
    with pytest.raises(SettingsError, match=r"(?s)classes: .*answers: .*budget: .*floor: "):
        AskableTarget(linear, classes=1, answers="both", budget=-1, floor=2.0)


def test_zero_probabilities_are_raised_to_the_floor_and_the_question_is_a_copy(rows):
    def sure(x):
        x[:] = 0  # a model may use its input as it likes
        return np.tile([1.0, 0.0], (len(x), 1))

    given = np.array(rows)
    assert AskableTarget(sure, classes=2, floor=0.01).log_probabilities(given).min() == pytest.approx(np.log(0.01))
    np.testing.assert_array_equal(given, rows)
    bottomless = AskableTarget(lambda x: np.tile([0.0, -np.inf], (len(x), 1)), classes=2, answers="logits")
    assert np.isfinite(bottomless.log_probabilities(rows)).all()


def test_a_released_model_is_asked_with_the_table_it_knows(tmp_path):
    seen = []

    class Model:
        classes_ = np.array(["no", "yes"])

        def predict_proba(self, frame):
            seen.append(frame)
            return np.tile([0.25, 0.75], (len(frame), 1))

    like = Records(
        ids=[0, 1],
        features=[[1.0, 0.0], [2.0, 1.0]],
        labels=["no", "yes"],
        columns=(Column("age", "number"), Column("sex", "category", ("f", "m"))),
    )
    target = AskableTarget.of_model(load_model(Model(), base=tmp_path), like, budget=2)
    said = target.log_probabilities(np.array([[30.0, 1.0], [np.nan, 0.0]]))
    np.testing.assert_allclose(np.exp(said), [[0.25, 0.75]] * 2, atol=1e-6)
    assert list(seen[0].columns) == ["age", "sex"]
    assert seen[0]["sex"].tolist() == ["m", "f"]
    assert target.left == 0
