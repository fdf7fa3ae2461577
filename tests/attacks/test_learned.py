"""What learned attackers share: one network, calibration, and what may leave no trace in what is taught."""

from __future__ import annotations

import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.learned import DECAY, LARGEST, RATE, Lesson, build_classifier, classifier, network, rows_of, teach
from locard.errors import SettingsError
from locard.observe.signals import LogOdds
from locard.seeds import Seed

LEARNED = [attack(n) for n in ("shadow", "ml_leaks_1", "truex")]


def rows(n=400, shift=1.5, seed=0):
    rng = np.random.default_rng(seed)
    inside = rng.random(n) < 0.5
    x = rng.normal(size=(n, 2))
    x[:, 0] += shift * inside
    return Lesson(x, inside, rng.integers(2, size=n))


def test_the_network_is_what_torch_makes_of_the_same_start():
    """Twenty steps of Adam with decoupled decay, against torch's own in float64: the definition."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, inside = rng.normal(size=(2, 30, 3)), (rng.random((2, 30)) < 0.4).astype(float)
    weight = rng.random((2, 30))
    weight[1, 20:] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    made = network(5, 20, Seed(3))(x, inside, weight)
    start = network(5, 0, Seed(3))(x, inside, weight)
    for g in range(2):
        (w, b), (v, c) = ((torch.tensor(p[g], requires_grad=True) for p in layer) for layer in start.layers)
        learner = torch.optim.AdamW([w, b, v, c], lr=RATE, weight_decay=DECAY)
        for _ in range(20):
            out = (torch.relu(torch.tensor(x[g]) @ w + b) @ v + c)[:, 0]
            each = torch.nn.functional.binary_cross_entropy_with_logits(out, torch.tensor(inside[g]), reduction="none")
            learner.zero_grad()
            (torch.tensor(weight[g]) * each).sum().backward()
            learner.step()
        for mine, theirs in zip([p for layer in made.layers for p in layer], (w, b, v, c), strict=True):
            np.testing.assert_allclose(mine[g], theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_calibrated_log_odds_are_those_of_a_known_world(bound):
    """Members N(1.5, 1), others N(0, 1): the log-odds are 1.5 x - 1.125, known to a few tenths from 2,000 rows."""
    model = teach(rows(6000), 0, network(64, 50, Seed(0)))
    x = np.linspace(-0.5, 2.0, 6)
    odds = model(np.stack([x, np.zeros(6)], axis=1), np.zeros(6, dtype=int))
    assert np.abs(odds - (1.5 * x - 1.125)).max() < 0.5
    fresh = rows(20_000, seed=5)
    p = 1 / (1 + np.exp(-model(fresh.x, fresh.group)))
    for low in (0.2, 0.4, 0.6):
        chosen = (p > low) & (p < low + 0.2)
        assert fresh.inside[chosen].mean() == pytest.approx(p[chosen].mean(), abs=0.06)


def test_the_order_of_the_rows_leaves_no_trace():
    lesson = rows(100)
    order = np.random.default_rng(2).permutation(100)
    other = Lesson(lesson.x[order], lesson.inside[order], lesson.group[order])
    for fit in (network(8, 20, Seed(0)), classifier(build_classifier("sklearn.tree.DecisionTreeClassifier", Seed(0)))):
        one, two = teach(lesson, 2, fit), teach(other, 2, fit)
        np.testing.assert_array_equal(one(lesson.x, lesson.group), two(lesson.x, lesson.group))


def test_a_class_of_few_rows_takes_the_model_of_all_classes():
    """A class index that a shadow never saw, or saw only on one side, must neither fail nor be guessed at."""
    lesson = rows(300)
    group = np.where(np.arange(300) < 290, 0, 2)
    model = teach(Lesson(lesson.x, lesson.inside, group), 4, network(8, 20, Seed(0)))
    assert model.own.tolist() == [True, False, False, False]
    together = teach(Lesson(lesson.x, lesson.inside, group), 0, network(8, 20, Seed(0)))
    assert np.isfinite(model(lesson.x, group)).all()
    np.testing.assert_allclose(
        np.sign(model(lesson.x[:50], np.full(50, 3))), np.sign(together(lesson.x[:50], np.zeros(50, dtype=int)))
    )


def test_nothing_is_said_where_nothing_was_learnt():
    lesson = rows(50, shift=0.0)
    backwards = Lesson(lesson.x, np.zeros(50, dtype=bool), lesson.group)
    assert not teach(backwards, 2, network(8, 20, Seed(0)))(lesson.x, lesson.group).any()
    empty = Lesson(np.zeros((0, 2)), np.zeros(0, dtype=bool), np.zeros(0, dtype=int))
    assert not teach(empty, 2, network(8, 20, Seed(0)))(lesson.x, lesson.group).any()


def test_no_shadow_decides_alone():
    lesson = rows(200, shift=60.0)
    odds = teach(lesson, 0, network(64, 50, Seed(0)))(1e6 * lesson.x, lesson.group)
    assert np.abs(odds).max() <= LARGEST


def test_members_and_others_weigh_the_same_however_many_there_are():
    """PEERS: a bare 0.5 threshold on unbalanced rows; here 10 % are members, and half of the log-odds stay positive."""
    lesson = rows(4000, shift=3.0)
    few = ~lesson.inside | (np.random.default_rng(3).random(4000) < 0.1)
    for fit in (network(16, 50, Seed(0)), classifier(build_classifier("sklearn.naive_bayes.GaussianNB", Seed(0)))):
        model = teach(Lesson(lesson.x[few], lesson.inside[few], lesson.group[few]), 0, fit)
        odds = model(lesson.x, lesson.group)
        assert (odds[lesson.inside] > 0).mean() == pytest.approx(0.933, abs=0.05)  # Phi(1.5)
        assert (odds[~lesson.inside] < 0).mean() == pytest.approx(0.933, abs=0.05)


@pytest.mark.parametrize("made", LEARNED, ids=repr)
def test_the_target_teaches_nothing(made, world):
    """ML-Leaks' published code trains on the target's answers: then other records' answers would show in a score."""
    w = world(models=8, records=200, leak=3.0, seed=1)
    before = w.score(made)
    logits = w.logits.copy()
    logits[0, 100:] = np.roll(logits[0, 100:], 1, axis=0) + np.float32(0.5)
    after = type(w)(w.records, logits, w.member, w.population_logits, w.population_y).score(made)
    np.testing.assert_array_equal(before[:100], after[:100])
    assert (before[100:] != after[100:]).any()


def test_every_usable_row_is_taught_with_its_own_membership(world):
    """Shokri's early code gave a whole batch of ones to the last, smaller one."""
    w = world(models=8, records=37, seed=2, design="balanced")
    references = w.references()
    for k in references:
        lesson = rows_of(references, k, LogOdds(), references.y)
        usable = references.inside_of(k) | references.outside_of(k)
        assert len(lesson.x) == usable.sum()
        assert (lesson.inside == references.member[k][usable]).all()
        np.testing.assert_allclose(lesson.x, LogOdds()(references.logits_of(k), references.y).mean(axis=1)[usable])


@pytest.mark.parametrize("path", ["nothing", "sklearn.ensemble.Nothing", "sklearn.svm.LinearSVC", "math.pi"])
def test_a_classifier_that_cannot_serve_is_refused_when_it_is_named(path):
    with pytest.raises(SettingsError, match="classifier: "):
        attack("shadow", classifier=path)


def test_what_a_reference_teaches_is_learnt_once_for_all_targets(world, monkeypatch):
    import locard.attacks.shadow as module

    w = world(models=12, records=60, seed=4)
    calls = []
    monkeypatch.setattr(module, "teach", lambda *a: calls.append(1) or teach(*a))
    view = w.references()
    attack("shadow").score(w.target(), w.records, view)
    attack("shadow").score(w.target(), w.records, view.without([4, 5]))
    assert len(calls) == 10
