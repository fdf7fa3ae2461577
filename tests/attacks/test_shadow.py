import numpy as np
import pytest

from locard.attacks import attack


def test_the_defaults_are_the_papers():
    made = attack("shadow")
    assert (made.classifier, made.hidden) == ("network", 64)


def test_classes_are_comparable(world, auc):
    """Two classes whose answers differ in level by far more than by membership: pooled, they rank as within a class.

    Planted: classes that keep a shift of their own, for want of calibration: .72 pooled, .84 within. The loss itself,
    which knows no classes, stays .15 below for good.
    """
    w = world(models=16, records=2000, classes=2, leak=0.0, seed=1)
    logits = np.array(w.logits, copy=True)
    own = (np.arange(2) == w.y[:, None])[None, :, None, :]
    rng = np.random.default_rng(0)
    logits[:] = rng.normal(size=logits.shape)
    leak = 2.0 * (w.member[:, :, None, None] & own)
    logits += leak + own * np.where(w.y == 1, 12.0, 0.0)[None, :, None, None]
    other = type(w)(w.records, logits.astype(np.float32), w.member, w.population_logits, w.population_y)
    scores = other.score(attack("shadow"))
    within = np.mean([auc(scores[w.y == c], w.truth[w.y == c]) for c in (0, 1)])
    assert auc(scores, w.truth) == pytest.approx(within, abs=0.03)
    assert within > 0.8  # one of two noises is the label's: Phi(1) = .84
    assert auc(other.score(attack("loss")), w.truth) < within - 0.15


def test_any_scikit_learn_classifier_can_be_the_attack_model(world, auc):
    w = world(models=12, records=600, leak=4.0, seed=2)
    for path in ("sklearn.linear_model.LogisticRegression", "sklearn.neighbors.KNeighborsClassifier"):
        assert auc(w.score(attack("shadow", classifier=path)), w.truth) > 0.7
