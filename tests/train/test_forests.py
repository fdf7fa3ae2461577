"""Forests asked in another order: the bytes of ``predict_proba``."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from locard.train.forests import probabilities


def drawn(records, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(records, 6)).round(1)  # many ties
    return x, rng.integers(0, classes, records)


@pytest.mark.parametrize("trees", [1, 2, 30])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("before", [[], [StandardScaler()]])
def test_a_forest_says_what_predict_proba_says_to_the_last_bit(kind, trees, before):
    """Planted: answers left in the order of the leaves; every case fails."""
    x, y = drawn(300)
    model = make_pipeline(*before, kind(n_estimators=trees, random_state=1)).fit(x[:150], y[:150])
    assert np.array_equal(probabilities(model, x), model.predict_proba(x))


def test_missing_values_and_float32_go_the_same_ways():
    x, y = drawn(200)
    x[::7, 2] = np.nan
    model = make_pipeline(RandomForestClassifier(n_estimators=10, random_state=1)).fit(x, y)
    assert np.array_equal(probabilities(model, x), model.predict_proba(x))
    assert np.array_equal(probabilities(model, x.astype(np.float32)), model.predict_proba(x))


@pytest.mark.parametrize("records", [0, 1])
def test_no_record_and_one_record(records):
    x, y = drawn(50)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    forest = make_pipeline(RandomForestClassifier(n_estimators=3, random_state=1)).fit(x, y)
    for one in (model, forest):
        if records == 0:
            with pytest.raises(ValueError, match="0 sample"):
                probabilities(one, x[:0])
        else:
            assert np.array_equal(probabilities(one, x[:1]), one.predict_proba(x[:1]))


def test_the_features_are_left_as_they_are():
    x, y = drawn(60)
    x.flags.writeable = False
    model = make_pipeline(RandomForestClassifier(n_estimators=3, random_state=1)).fit(x, y)
    probabilities(model, x)


class Together(RandomForestClassifier):
    """Answers about all records together."""

    def predict_proba(self, x):
        return super().predict_proba(x) + np.arange(len(x))[:, None]


def test_another_kind_of_model_and_other_features_are_asked_as_they_come():
    """A subclass may look at all its records; sparse features have no rows to sort cheaply."""
    x, y = drawn(80)
    own = make_pipeline(Together(n_estimators=3, random_state=1)).fit(x, y)
    assert np.array_equal(probabilities(own, x), own.predict_proba(x))
    sparse = Pipeline(
        [("code", OneHotEncoder(handle_unknown="ignore")), ("model", RandomForestClassifier(5, random_state=1))]
    ).fit(x, y)
    assert np.array_equal(probabilities(sparse, x), sparse.predict_proba(x))


def test_values_beyond_float32_are_refused_as_by_the_forest():
    x, y = drawn(60)
    model = make_pipeline(RandomForestClassifier(n_estimators=3, random_state=1)).fit(x, y)
    x[3, 1] = 1e300
    with pytest.raises(ValueError, match="infinity"):
        probabilities(model, x)
