import numpy as np
import pytest

from locard.attacks import attack
from locard.data.records import Records
from locard.errors import NotEnoughReferences
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import Population, References
from locard.observe.target import Target


def binary(margin):
    return np.stack([np.zeros_like(margin), margin], axis=-1)[:, None, :].astype(np.float32)


def people(rng, count, shift=0.0):
    """Margins N(3 x, (.5 + |x|)^2), members higher by ``shift``: what is unusual depends on the features."""
    x = rng.uniform(-2, 2, size=(count, 2))
    noise = rng.normal(size=count) * (0.5 + np.abs(x[:, 0]))
    return x, 3 * x[:, 0] + noise + shift


def case(seed, count=2000, known=1500, shift=0.0):
    rng = np.random.default_rng(seed)
    x, margin = people(rng, count)
    inside = rng.random(count) < 0.5
    margin = margin + shift * inside * (0.5 + np.abs(x[:, 0]))
    labels = np.ones(count, dtype=int)
    labels[0] = 0
    records = Records(ids=range(count), features=x, labels=labels)
    other_x, other = people(rng, known)
    y = np.ones(known, dtype=int)
    population = Population(y, Target.from_arrays(logits=binary(other), labels=y), References.empty(known), other_x)
    return records, Target.from_arrays(logits=binary(margin), labels=labels), population, inside


@pytest.mark.parametrize("head", ["gaussian", "pinball"])
def test_it_sees_through_what_the_features_explain(head, auc):
    """A shift of 1.5 own spreads: the margin has an AUC of .65; knowing mean and spread it is Phi(1.06) = .856."""
    records, target, population, inside = case(1, shift=1.5)
    made = attack("quantile", head=head)
    scores = made.score(target, records, None, population=population)
    plain = auc(attack("confidence").score(target, records, None)[1:], inside[1:])
    assert plain < 0.72
    assert auc(scores[1:], inside[1:]) > 0.79


@pytest.mark.parametrize("head", ["gaussian", "pinball"])
def test_p_values_hold_their_rate(head):
    """Four populations, 2,000 non-members each: realised rates at .1 and .01 within 4 standard errors of at most u.

    The spread of a rate over calibration sets of 750 is sqrt(u (1 - u) / 751); flake 6e-5 each. Planted: calibrating on
    the records that the regressor learnt from gives .20 (gaussian) and .16 (pinball) at .1.
    """
    made = attack("quantile", head=head)
    p = np.stack([made.p_values(*(case(seed)[i] for i in (1, 0, 2))) for seed in range(4)])
    for u in (0.1, 0.01):
        se = np.sqrt(u * (1 - u) * (1 / 751 + 1 / 2000) / 4)
        assert (p <= u).mean() < u + 4 * se
    assert (p <= 0.1).mean() > 0.1 - 4 * np.sqrt(0.09 * (1 / 751 + 1 / 2000) / 4) - 1 / 751
    assert p.min() >= 1 / 751


def test_quantiles_that_cross_are_put_in_order():
    records, target, population, _ = case(2, known=60)
    scores = attack("quantile", head="pinball").score(target, records, None, population=population)
    assert np.isfinite(scores).all()


def test_pictures_take_the_network(auc):
    pytest.importorskip("torch")
    rng = np.random.default_rng(4)

    def pictures(count):
        bright = rng.random(count)
        x = np.clip(bright[:, None, None] * 255 + rng.normal(size=(count, 8, 8)) * 10, 0, 255).astype(np.uint8)
        return x, 8 * bright + rng.normal(size=count)

    x, margin = pictures(800)
    inside = rng.random(800) < 0.5
    labels = np.arange(800) % 2
    margin = np.where(labels == 1, 1, -1) * (margin + 1.5 * inside)
    records = Records(ids=range(800), features=x, labels=labels)
    other, theirs = pictures(1000)
    y = np.arange(1000) % 2
    theirs = np.where(y == 1, 1, -1) * theirs
    population = Population(y, Target.from_arrays(logits=binary(theirs), labels=y), References.empty(1000), other)
    target = Target.from_arrays(logits=binary(margin), labels=labels)
    made = attack("quantile")
    one = made.score(target, records, None, population=population)
    assert one.tobytes() == made.score(target, records, None, population=population).tobytes()
    assert auc(one, inside) > auc(attack("confidence").score(target, records, None), inside) + 0.08


def test_a_population_without_features_is_refused():
    records, target, population, _ = case(3)
    bare = Population(population.y, population.target, population.references)
    with pytest.raises(NotEnoughReferences, match="features of the population"):
        attack("quantile").score(target, records, None, population=bare)
    nobody = Observations(ArrayReader(np.zeros((1, 3, 1, 2), dtype=np.float32)), [0, 1, 0])
    few = Population(nobody.y, Target(nobody), References.empty(3), np.zeros((3, 2)))
    with pytest.raises(NotEnoughReferences, match="8 population records"):
        attack("quantile").score(target, records, None, population=few)


def test_wide_tables_are_narrowed_to_what_goes_with_the_margin(auc):
    """300 columns, of which one explains the margin: it is among the 200 that are kept, whatever its place."""
    rng = np.random.default_rng(6)
    records, target, population, inside = case(1, count=1000, known=600, shift=1.5)

    def wide(x):
        return np.concatenate([rng.normal(size=(len(x), 298)), x], axis=1)

    other = Records(ids=records.ids, features=wide(records.features), labels=records.labels)
    people = Population(population.y, population.target, population.references, wide(population.features))
    scores = attack("quantile").score(target, other, None, population=people)
    assert auc(scores[1:], inside[1:]) > 0.75
