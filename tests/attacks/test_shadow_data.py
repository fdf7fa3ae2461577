import numpy as np
import pytest

from locard.attacks.indirect.domain import Domain
from locard.attacks.shadow_data import ModelBased, from_marginals, noisy_real
from locard.data.records import Records
from locard.errors import QueryBudgetSpent, SettingsError
from locard.observe.observations import ArrayReader, Observations
from locard.observe.target import Target

WIDTH = 40


def real(count=300, seed=0):
    """Binary features; class 1 has the first half mostly set, class 0 the second half."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    chance = np.where((np.arange(WIDTH) < WIDTH // 2)[None] == (y == 1)[:, None], 0.8, 0.2)
    return Records(ids=range(count), features=(rng.random((count, WIDTH)) < chance).astype(np.uint8), labels=y)


def live(budget=None):
    def predict(x):
        half = x[:, : WIDTH // 2].sum(axis=1, dtype=float) - x[:, WIDTH // 2 :].sum(axis=1, dtype=float)
        p = 1 / (1 + np.exp(-half / 2))
        return np.stack([1 - p, p], axis=1)

    said = Observations(ArrayReader(np.zeros((1, 2, 1, 2), dtype=np.float32)), [0, 1])
    return Target(said, predict=predict, budget=budget)


def test_climbing_finds_records_that_the_target_is_sure_of_and_counts_every_question():
    target = live()
    made = ModelBased(sure=0.9).make(target, Domain.of(real()), 30, 2, np.random.default_rng(0))
    assert len(made.features) == 30
    assert made.queries == target.queries
    assert made.queries >= 30
    p = target.query(made.features)
    assert (p[np.arange(30), made.y] > 0.9).all()
    assert np.bincount(made.y).tolist() == [15, 15]
    assert set(np.unique(made.features)) <= {0, 1}
    again = ModelBased(sure=0.9).make(live(), Domain.of(real()), 30, 2, np.random.default_rng(0))
    assert (again.features == made.features).all()


def test_classes_that_the_climb_never_reaches_are_given_up():
    made = ModelBased(tries=3, sure=0.999).make(live(), Domain.of(real()), 10, 2, np.random.default_rng(0))
    assert len(made.features) < 10
    assert made.queries <= 30


def test_a_budget_is_kept():
    with pytest.raises(QueryBudgetSpent):
        ModelBased(sure=0.99).make(live(budget=25), Domain.of(real()), 20, 2, np.random.default_rng(0))


def test_marginals_are_kept_and_nothing_else():
    """Each mean within 4.5 standard errors (.05 of 2,000 draws); the features that go together no longer do."""
    records = real(2000)
    made = from_marginals(records, Domain.of(records), live(), 2000, np.random.default_rng(1))
    assert np.abs(made.features.mean(axis=0) - records.features.mean(axis=0)).max() < 0.05 + 0.02
    assert abs(np.corrcoef(records.features[:, 0], records.features[:, 1])[0, 1]) > 0.25
    assert abs(np.corrcoef(made.features[:, 0], made.features[:, 1])[0, 1]) < 0.1
    assert made.queries == 2000
    assert (made.y == live().query(made.features).argmax(axis=1)).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_noise_flips_the_share_of_binary_features_that_it_says(share):
    """12,000 coins: 4.5 standard errors are .012 at .1; the paper flips 10 and 20 %."""
    records = real()
    made = noisy_real(records, Domain.of(records), share, np.random.default_rng(2))
    assert (made.features != records.features).mean() == pytest.approx(share, abs=0.017)
    assert made.queries == 0
    assert (made.y == records.y).all()
    with pytest.raises(SettingsError, match=r"share: .*found 1\.5"):
        noisy_real(records, Domain.of(records), 1.5, np.random.default_rng(2))
