import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.insider import Insider
from locard.errors import DataError


@pytest.mark.parametrize("kind", ["tree", "knn", "logistic", "naive_bayes"])
def test_each_type_of_attack_model_learns(kind, world, auc):
    w = world(models=12, records=800, leak=5.0, seed=1)
    assert auc(w.score(attack("truex", attack_model=kind, label=True)), w.truth) > 0.65


def test_pure_trees_reduce_to_the_gap_attack_and_are_called_discrete(world, auc):
    """Targets that answer 0 or 1 only say whether they are right: nothing is found beyond ``gap``."""
    w = world(models=12, records=1500, leak=3.0, seed=2)
    hard = np.where(np.arange(3) == w.logits.argmax(axis=-1)[..., None], 0.0, -30.0).astype(np.float32)
    pure = type(w)(w.records, hard, w.member, w.population_logits, w.population_y)
    made = attack("truex", label=True)
    assert made.discrete
    gap = auc(pure.score(attack("gap")), w.truth)
    assert gap > 0.6
    assert auc(pure.score(made), w.truth) == pytest.approx(gap, abs=0.02)


def federation(parties=4, seed=0, leak=2.0):
    """Binary answers; a party's is surer by ``leak`` on its own records. 300 records each, 300 in no model."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(parties + 1), 300)  # the last block is nobody's
    z = rng.normal(size=(parties, len(owner))) + rng.normal(size=len(owner)) * 2
    z += leak * (owner == np.arange(parties)[:, None])
    p = 1 / (1 + np.exp(-z))
    return np.stack([1 - p, p], axis=-1), owner


def test_an_insider_names_the_owner_more_often_than_guessing():
    p, owner = federation()
    known = (owner == 0) | (owner == 4)
    asked = ~known
    made = Insider()
    guess = made.guess(p[:, known], owner[known] == 0, p[:, asked], party=0)
    assert (guess == owner[asked]).mean() > 0.75  # guessing among three: 1/3
    scores = made.score(p[:, known], owner[known] == 0, p[:, asked], party=0)
    assert np.isneginf(scores[0]).all()
    assert np.isfinite(scores[1:]).all()


def test_an_insider_finds_nothing_where_nothing_leaks():
    """600 records, three parties: 1/3 within 4 standard errors (.077); flake 6e-5."""
    p, owner = federation(leak=0.0, seed=3)
    known = (owner == 0) | (owner == 4)
    guess = Insider().guess(p[:, known], owner[known] == 0, p[:, ~known], party=0)
    assert (guess == owner[~known]).mean() == pytest.approx(1 / 3, abs=0.077)


def test_an_insider_is_told_everything_that_does_not_fit():
    p, owner = federation(parties=2)
    with pytest.raises(DataError) as wrong:
        Insider().score(p, owner[:5] == 0, p[..., :1], party=7)
    assert len(wrong.value.problems) == 3
