"""Students that are no networks: what they are taught, and what a snapshot of them is."""

from __future__ import annotations

import numpy as np
import pytest

from locard.data.records import Records
from locard.train.asked import Run
from locard.train.distil import Teaching, distil, soft_labels, student_recipe, why_no_students
from locard.train.function_recipe import FunctionRecipe
from locard.train.neural.recipe import TorchRecipe
from locard.train.recipe import SklearnRecipe

FOREST = SklearnRecipe(estimator="sklearn.ensemble.RandomForestClassifier", params={"n_estimators": 6})
TREE = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 3})
LOGISTIC = SklearnRecipe(estimator="sklearn.linear_model.LogisticRegression", params={"C": 1e6, "max_iter": 2000})


def snapshots(recipe, people, index, soft, **teaching):
    asked = Teaching(audited=np.arange(len(people)), **({"epochs": 3} | teaching))
    found = {}
    distil(recipe, people, [Run(index, 5)], [soft[:, None]], asked, lambda s, e, z: found.__setitem__((s, e), z.copy()))
    return found


def test_soft_labels_are_the_softmax_at_the_temperature():
    z = np.array([[[2.0, 0.0, -np.inf]]], dtype=np.float32)
    asked = Teaching(audited=np.arange(0), epochs=1, temperature=2.0)
    e = np.exp(1.0)
    np.testing.assert_allclose(soft_labels(z, asked)[0, 0], [e / (1 + e), 1 / (1 + e), 0], rtol=1e-7)


def test_a_student_of_probabilities_answers_them_on_average(records):
    """Logistic regression with an intercept: its mean answer is the mean of what it was taught (score equations)."""
    people = records(80, classes=3)
    soft = np.random.default_rng(1).dirichlet([1.0, 2.0, 3.0], size=80)
    said = snapshots(LOGISTIC, people, np.arange(80), soft, epochs=1)[0, 1]
    np.testing.assert_allclose(np.exp(said).mean(axis=0), soft.mean(axis=0), atol=2e-3)


def test_taught_the_labels_a_student_is_the_plain_model(records):
    people, index = records(60), np.random.default_rng(0).permutation(60)[:40]
    taught = snapshots(TREE, people, index, np.eye(2)[people.y[index]], epochs=1, label_only=True)[0, 1]
    np.testing.assert_array_equal(taught, TREE.fit(people, index, 5)(people.features))


def test_a_forest_grows_by_its_trees(records):
    """Each snapshot is the fit with so many trees: the first trees of the grown one."""
    people, index = records(60), np.random.default_rng(0).permutation(60)[:40]
    taught = snapshots(FOREST, people, index, np.eye(2)[people.y[index]])
    for epoch, trees in ((1, 2), (2, 4), (3, 6)):
        part = SklearnRecipe(estimator=FOREST.estimator, params={"n_estimators": trees})
        np.testing.assert_array_equal(taught[0, epoch], part.fit(people, index, 5)(people.features))


def test_what_does_not_grow_sees_more_and_more_records(records):
    people, index = records(60), np.random.default_rng(0).permutation(60)[:40]
    taught = snapshots(TREE, people, index, np.eye(2)[people.y[index]])
    for epoch, seen in ((1, 14), (2, 27), (3, 40)):
        np.testing.assert_array_equal(taught[0, epoch], TREE.fit(people, index[:seen], 5)(people.features))


def test_a_first_share_of_one_class_waits_for_the_second(records):
    people = records(30)
    index = np.argsort(people.y, kind="stable")
    taught = snapshots(LOGISTIC, people, index, np.eye(2)[people.y[index]], epochs=10)
    assert len(taught) == 10


def test_weights_of_the_data_count_besides_the_teachers(records):
    people = records(40)
    weight = np.random.default_rng(2).gamma(2.0, size=40)
    heavy = Records(ids=people.ids, features=people.features, labels=people.labels, weight=weight)
    soft = np.random.default_rng(1).dirichlet([1.0, 2.0], size=40)
    said = snapshots(LOGISTIC, heavy, np.arange(40), soft, epochs=1)[0, 1]
    wanted = (weight[:, None] * soft).sum(axis=0) / weight.sum()
    np.testing.assert_allclose((weight[:, None] * np.exp(said)).sum(axis=0) / weight.sum(), wanted, atol=2e-3)


def test_only_the_end_is_asked_where_that_is_all_that_is_wanted(records):
    people = records(40)
    found = snapshots(TREE, people, np.arange(40), np.eye(2)[people.y], every=False)
    assert list(found) == [(0, 3)]


def test_who_has_no_students_says_why():
    neighbours = SklearnRecipe(estimator="sklearn.neighbors.KNeighborsClassifier")
    assert "takes no sample_weight. Set distil.label_only = true" in why_no_students(neighbours)
    assert why_no_students(neighbours, label_only=True) == ""
    assert why_no_students(FOREST) == why_no_students(TorchRecipe()) == ""
    assert "only recipes 'torch' and 'sklearn'" in why_no_students(FunctionRecipe(path="a:b"))


def test_a_students_recipe_is_its_teachers_but_for_what_it_learns_from():
    assert student_recipe(FOREST, 9) is FOREST
    own = TorchRecipe(module="mlp", epochs=3, patience=2, label_smoothing=0.1, learning_rate=0.3)
    student = student_recipe(own, 9)
    assert (student.passes, student.patience, student.label_smoothing, student.learning_rate) == (9, None, 0.0, 0.3)


@pytest.mark.parametrize("estimator", ["sklearn.ensemble.HistGradientBoostingClassifier"])
def test_boosting_grows_by_its_rounds(records, estimator):
    people = records(60)
    boosted = SklearnRecipe(estimator=estimator, params={"max_iter": 3, "min_samples_leaf": 5, "random_state": 0})
    taught = snapshots(boosted, people, np.arange(60), np.eye(2)[people.y])
    part = SklearnRecipe(estimator=estimator, params={"max_iter": 1, "min_samples_leaf": 5, "random_state": 0})
    np.testing.assert_allclose(taught[0, 1], part.fit(people, np.arange(60), 5)(people.features), atol=1e-6)
