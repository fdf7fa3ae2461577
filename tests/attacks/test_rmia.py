from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks import attack
from locard.attacks.rmia import RMIA
from locard.data.records import Records
from locard.errors import NotEnoughReferences, SettingsError
from locard.observe.references import Population, References
from locard.observe.target import Target


def binary(p) -> np.ndarray:
    """Probability of class 1 as probabilities of both classes."""
    p = np.asarray(p)
    return np.stack([1 - p, p], axis=-1)


def golden() -> tuple[Target, Records, References, Population]:
    """Three records of class 1 (and one of class 0), two references, four population records; figures of the spec."""
    target = Target.from_arrays(probabilities=binary([0.9, 0.6, 0.3, 0.5]))
    seen = binary([[0.9, 0.2, 0.3, 0.5], [0.5, 0.4, 0.3, 0.5]])
    member = np.array([[True, True, False, True], [False, False, True, False]])
    records = Records(ids=range(4), features=np.zeros((4, 1)), labels=[1, 1, 1, 0])
    z = References.from_arrays(
        probabilities=binary([[0.3, 0.5, 0.7, 0.6], [0.3, 0.5, 0.7, 0.6]]), member=np.zeros((2, 4), dtype=bool)
    )
    population = Population(np.ones(4, dtype=int), Target.from_arrays(probabilities=binary([0.2, 0.5, 0.8, 0.4])), z)
    return target, records, References.from_arrays(probabilities=seen, member=member), population


def test_golden_ratios():
    """Offline, a = .3, with OUT means .5, .4, .3: p(x) = .675, .61, .545 and ratios 1.3333, .98360656, .55045872.

    The spec's table gives both references' values for the first record; its OUT mean is the second's.
    """
    target, records, references, _ = golden()
    offline = np.exp(RMIA(offline=True).score(target, records, references))
    assert offline[:3] == pytest.approx([0.9 / 0.675, 0.98360656, 0.55045872], abs=1e-6)
    online = np.exp(RMIA().score(target, records, references))
    assert online[:3] == pytest.approx([0.9 / 0.7, 0.6 / 0.3, 0.3 / 0.3], abs=1e-6)  # p(x) = .7, .3, .3


@pytest.mark.parametrize(("gamma", "shares"), [(1.0, [1, 0.75, 0.5]), (2.0, [0.5, 0.25, 0])])
def test_golden_pairwise_shares(gamma, shares):
    target, records, references, population = golden()
    made = RMIA(offline=True, pairwise=True, gamma=gamma)
    scores = made.score(target, records, references, population=population)
    assert scores[:3] == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("offline", [False, True])
def test_it_equals_the_loop(offline, temperature, shape, world, slow):
    """PEERS line 4, population points included."""
    w = world(**shape)
    s = slow(w)
    z = slow(type(w)(_records_of(w.population_y), w.population_logits, ~w.member[:, :1] & False, w.logits, w.y))
    a = 0.3

    def log_ratio(r: int, q: int) -> float:
        inside, outside = (np.mean([s.own(k, r, q, temperature) for k in side]) for side in s.sides(r))
        mean = 0.5 * ((1 + a) * outside + 1 - a) if offline else 0.5 * (inside + outside)
        return float(np.log(s.own(0, r, q, temperature) / mean))

    def population_ratio(r: int, q: int) -> float:
        mean = np.mean([z.own(k, r, q, temperature) for k in range(2, len(w.member))])
        mean = 0.5 * ((1 + a) * mean + 1 - a) if offline else mean
        return float(np.log(z.own(0, r, q, temperature) / mean))

    ratios = s.scores(log_ratio)
    made = {"offline": offline, "offline_a": a, "temperature": temperature}
    np.testing.assert_allclose(w.score(RMIA(**made)), ratios, rtol=1e-8, atol=1e-10)
    others = [np.mean([population_ratio(r, q) for q in s.queries]) for r in range(9)]
    for gamma in (0.7, 1.0, 2.0):
        shares = [np.mean([np.exp(x - o) >= gamma for o in others]) for x in ratios]
        np.testing.assert_allclose(w.score(RMIA(**made, pairwise=True, gamma=gamma)), shares, rtol=1e-12)


def _records_of(y: np.ndarray) -> Records:
    return Records(ids=range(len(y)), features=np.zeros((len(y), 1)), labels=y)


def test_the_pairwise_form_never_orders_records_otherwise(world):
    w = world(records=300, population=40, models=12, leak=1.0)
    ratio, share = w.score(RMIA()), w.score(RMIA(pairwise=True))
    assert (np.diff(share[np.argsort(ratio)]) >= 0).all()
    assert RMIA(pairwise=True).discrete
    assert not RMIA().discrete


def test_the_number_of_in_references_does_not_show(world):
    """Every reference gives a record the same probability: 1 IN and 5 OUT scores as 3 IN and 3 OUT does."""
    w = world(records=8, models=8)
    logits = np.broadcast_to(w.logits[2], (8, *w.logits.shape[1:])).copy()
    logits[0] = w.logits[0]
    member = w.member.copy()
    member[2:, :4] = np.arange(6)[:, None] < 1
    other = type(w)(w.records, logits, member, w.population_logits, w.population_y)
    even = type(w)(w.records, logits, w.member, w.population_logits, w.population_y)
    np.testing.assert_allclose(other.score(RMIA()), even.score(RMIA()), atol=1e-12)


def test_offline_with_full_trust_finds_as_much_as_theory_says(auc, bound):
    """log p ~ N(difficulty, .1), members .15 up, a = 1, one OUT reference: AUC = Phi(.15 / sqrt(2 (.01 + .01)))."""
    rng = np.random.default_rng(0)
    n = 20_000
    difficulty, truth = -1.5 + 0.3 * rng.normal(size=n), rng.random(n) < 0.5
    log_p = difficulty + 0.1 * rng.normal(size=(3, n))
    log_p[0] += 0.15 * truth
    p = binary(np.exp(np.minimum(log_p, -0.01)))
    y = np.ones(n, dtype=int)
    y[0] = 0
    records = Records(ids=range(n), features=np.zeros((n, 1)), labels=y)
    member = np.zeros((1, n), dtype=bool)
    references = References.from_arrays(probabilities=p[1:2], member=member)
    scores = RMIA(offline=True, offline_a=1.0).score(Target.from_arrays(probabilities=p[0]), records, references)
    assert auc(scores[1:], truth[1:]) == pytest.approx(norm.cdf(0.15 / 0.2), abs=bound(n))


def test_what_is_refused(world):
    w = world(population=0)
    with pytest.raises(NotEnoughReferences, match="RMIA needs 1 population records"):
        w.score(RMIA(pairwise=True))
    with pytest.raises(SettingsError) as told:
        attack("rmia", offline_a=1.5, temperature=0, gama=2)
    assert len(told.value.problems) == 3
    assert "offline_a: a number of at least 0 and of at most 1 is needed, found 1.5" in str(told.value)
    assert "temperature: a number above 0 is needed, found 0" in str(told.value)
    assert "unknown setting 'gama'. Nearest: gamma." in str(told.value)
