import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.ml_leaks_3 import MLLeaks3
from locard.data.records import Records
from locard.errors import AccessDenied, NotEnoughReferences, SettingsError
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import References
from locard.observe.target import Target
from locard.types import Access


def live(predict, **settings):
    return Target(
        Observations(ArrayReader(np.zeros((1, 2, 1, 3), dtype=np.float32)), [0, 1]), predict=predict, **settings
    )


@pytest.mark.parametrize("name", ["ml_leaks_1", "ml_leaks_2", "ml_leaks_3"])
def test_labels_are_not_read(name, world):
    """An attack that is said to need no label gives the same scores under any labels."""
    w = world(models=8, records=80, leak=3.0, seed=1)
    other_y = np.roll(w.y, 1)
    other = Records(ids=w.records.ids, features=w.records.features, labels=other_y)
    relabelled = type(w)(other, w.logits, w.member, w.population_logits, w.population_y)
    np.testing.assert_allclose(relabelled.score(attack(name)), w.score(attack(name)), rtol=1e-12)


def test_answers_whose_probability_rounds_to_one_stay_apart():
    """In float32 both are 1.0; the published code ties them."""
    logits = np.array([[[20.0, 0.0]], [[30.0, 0.0]], [[40.0, 0.0]]], dtype=np.float32)
    records = Records(ids=range(3), features=np.zeros((3, 1)), labels=[0, 1, 0])
    scores = MLLeaks3().score(Target.from_arrays(logits=logits), records, None)
    np.testing.assert_allclose(scores, [20.0, 30.0, 40.0], rtol=1e-6)


def test_random_points_decide_as_in_the_paper():
    """1,000 random points whose largest probabilities are known: the surest tenth of them is the threshold."""
    rng = np.random.default_rng(0)

    def predict(x):
        p = 1 / 3 + (2 / 3 - 1e-9) * x[:, 0]
        return np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1)

    points = rng.random((1000, 1))
    threshold = np.sort(points[:, 0])[-100]
    candidates = np.array([[threshold - 1e-4], [threshold + 1e-4], [0.99], [0.1]])
    target = live(predict)
    assert MLLeaks3().claims(target, candidates, points).tolist() == [False, True, True, False]
    assert target.queries == 1004
    for statistic in ("entropy", "spread"):
        assert MLLeaks3(statistic=statistic).claims(target, candidates, points).tolist() == [False, True, True, False]
    with pytest.raises(SettingsError, match="at least one random point"):
        MLLeaks3().claims(target, candidates, points[:0])
    with pytest.raises(AccessDenied):
        MLLeaks3().claims(live(predict, access=Access.LABELS), candidates, points)


def test_an_attack_learnt_on_other_data_of_other_classes_finds_members(world, auc):
    shadows, target = world(models=6, records=800, classes=5, leak=5.0, seed=3), world(records=600, leak=5.0, seed=4)
    scores = attack("ml_leaks_2").score(target.target(), target.records, shadows.references())
    assert auc(scores, target.truth) > 0.6


def test_shadows_of_several_types_together_are_the_combining_attack(world, auc):
    one, other = (world(models=6, records=500, leak=4.0, seed=5) for _ in range(2))
    noisy = (0.7 * other.logits).astype(np.float32)
    both = References.from_arrays(
        logits=np.concatenate([one.logits[2:], noisy[2:]]),
        member=np.concatenate([one.member[2:], other.member[2:]]),
        labels=one.y,
    )
    scores = attack("ml_leaks_1").score(one.target(), one.records, both)
    assert auc(scores, one.truth) > 0.6


def test_without_shadows_it_is_refused(world):
    w = world()
    with pytest.raises(NotEnoughReferences, match="1 model trained on another data set"):
        attack("ml_leaks_2").score(w.target(), w.records, References.empty(len(w.records)))
