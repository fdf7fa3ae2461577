"""Looking after every pair: goldens, wrong ever at most as often as stated, and how many pairs it takes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from locard.errors import SettingsError
from locard.stats import (
    Track,
    confidence_sequence,
    fewest_pairs_to_pass,
    log_bets,
    mixture_t_width,
    paid_confidence,
    settled,
)

GOLDEN = np.array([0.012, 0.008, 0.011, 0.009, 0.013, 0.010, 0.007, 0.010])


def always(values) -> np.ndarray:
    return np.ones(len(values), dtype=bool)


@pytest.mark.parametrize(
    ("pairs", "width"), [(5, 3.78038), (8, 1.502918), (16, 0.876582), (32, 0.590393), (64, 0.415421)]
)
def test_width_golden(pairs, width):
    assert mixture_t_width(pairs) == pytest.approx(width, abs=1e-6)


def test_golden():
    assert mixture_t_width(16, confidence=0.995) == pytest.approx(1.194586, abs=1e-6)
    found = confidence_sequence(GOLDEN)
    assert (found.low[-1], found.high[-1]) == (pytest.approx(0.0069942, abs=1e-7), pytest.approx(0.0130058, abs=1e-7))
    assert [fewest_pairs_to_pass(c) for c in (0.01, 0.05, 0.1)] == [368, 72, 36]


def test_each_look_is_the_interval_of_the_values_so_far():
    for n in range(5, 9):
        one, all_of_them = confidence_sequence(GOLDEN[:n]), confidence_sequence(GOLDEN)
        half = mixture_t_width(n) * GOLDEN[:n].std(ddof=1)
        assert all_of_them.high[n - 1] - all_of_them.mean[n - 1] == pytest.approx(half, rel=1e-9)
        assert all_of_them.low[: n - 1].tolist() == one.low[: n - 1].tolist()


@pytest.mark.parametrize("values", [np.full(30, 0.3), np.zeros(20), np.array([0.2, 0.4])])
def test_values_that_are_all_equal_or_too_few_say_nothing(values):
    found = confidence_sequence(values)
    assert np.isinf(found.high).all()
    assert np.isinf(found.low).all()
    assert settled([Track(name="AUC", attack="a", limit=0.9, values=values, ready=always(values))])[1] == "inconclusive"


def test_shift_and_scale():
    one, two = confidence_sequence(GOLDEN), confidence_sequence(0.5 + 10 * GOLDEN)
    np.testing.assert_allclose(two.high[4:], 0.5 + 10 * one.high[4:], rtol=1e-9)


def test_missing_and_impossible_values_are_refused():
    with pytest.raises(SettingsError, match="one finite number a pair"):
        confidence_sequence(np.array([0.1, np.nan]))
    with pytest.raises(SettingsError, match="numbers from 0 to 1"):
        log_bets(np.array([1.1]), 0.5)
    with pytest.raises(SettingsError, match="at least one limit"):
        settled([])


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.8])
def test_capital_is_one_on_average_whatever_came_before(limit):
    """Every path of 7 values that are 0 or 1 with mean at the limit: the mean capital is exactly 1 (Ville's condition).

    Planted bug: stakes that look at the present value as well make it 1.5 to 3.
    """
    for side in (0, 1):
        total = 0.0
        for path in itertools.product((0.0, 1.0), repeat=7):
            chance = math.prod(limit if x else 1 - limit for x in path)
            total += chance * math.exp(log_bets(np.array(path), limit)[side][-1])
        assert total == pytest.approx(1.0, abs=1e-12)


def test_capital_never_runs_out():
    """At most .75 of it can be lost to one value."""
    for limit in (0.01, 0.5, 0.99):
        for values in (np.r_[np.ones(20), 0.0], np.r_[np.zeros(20), 1.0]):
            for side in log_bets(values, limit):
                assert np.diff(side, prepend=0.0).min() >= math.log(0.25) - 1e-12


def test_a_pass_needs_all_and_a_fail_one_paid_for():
    low, high = GOLDEN, GOLDEN + 0.01
    tracks = [Track(name="TPR", attack=a, limit=0.025, values=v, ready=always(v)) for a, v in (("a", low), ("b", high))]
    assert settled(tracks[:1])[1] == "pass"
    pairs, outcome = settled(tracks)
    assert outcome == "inconclusive" or confidence_sequence(high).high[pairs - 1] < 0.025
    failing = [Track(name="TPR", attack=str(k), limit=0.007, values=low, ready=always(low)) for k in range(12)]
    paid = confidence_sequence(low, confidence=paid_confidence(12)).low
    first = np.flatnonzero(paid > 0.007)
    assert settled(failing) == ((int(first[0]) + 1, "fail") if first.size else (8, "inconclusive"))
    assert settled(failing[:1])[1] == "inconclusive" or settled(failing[:1])[0] <= settled(failing)[0]


def test_nothing_is_decided_before_it_is_ready():
    ready = np.arange(8) >= 6
    assert settled([Track(name="TPR", attack="a", limit=0.1, values=GOLDEN, ready=always(GOLDEN))]) == (5, "pass")
    assert settled([Track(name="TPR", attack="a", limit=0.1, values=GOLDEN, ready=ready)]) == (7, "pass")


# -- rates ------------------------------------------------------------------------------------------------------------


def _medians(runs: int, seed: int) -> dict[float, tuple[float, float]]:
    """Median and 90 % quantile of the pairs until values are settled, by (limit - mean) / sd."""
    rng = np.random.default_rng(seed)
    out = {}
    for gap, most in ((0.25, 400), (0.5, 150), (1.0, 60), (2.0, 30)):
        taken = []
        for _ in range(runs):
            values = rng.normal(size=most)
            high = confidence_sequence(values).high
            below = np.flatnonzero(high < gap)
            taken.append(below[0] + 1 if below.size else most + 1)
        out[gap] = (float(np.median(taken)), float(np.quantile(taken, 0.9)))
    return out


PUBLISHED = {0.25: (143, 312), 0.5: (37, 80), 1.0: (12, 22), 2.0: (7, 9)}


def test_how_many_pairs_it_takes():
    """Medians within 10 % (or one pair) of the published ones over 400 runs; standard error 4 %: flakes about .01,
    but the seed is fixed."""
    for gap, (median, _) in _medians(400, seed=121).items():
        assert median == pytest.approx(PUBLISHED[gap][0], rel=0.1, abs=1)


@pytest.mark.statistics
def test_how_many_pairs_it_takes_long():
    """Medians and 90 % quantiles within 10 % over 4,000 runs (standard error 1.5 %)."""
    for gap, found in _medians(4_000, seed=122).items():
        assert found == (pytest.approx(PUBLISHED[gap][0], rel=0.1), pytest.approx(PUBLISHED[gap][1], rel=0.1, abs=1))


@pytest.mark.parametrize(
    ("mean", "sd", "limit", "side", "median"), [(0.5, 0.01, 0.55, 1, 47), (0.002, 0.0, 0.01, 1, 611)]
)
def test_how_many_pairs_bets_take(mean, sd, limit, side, median):
    """60 runs, within 10 % of the published medians; they hardly vary."""
    rng = np.random.default_rng(123)
    taken = []
    for _ in range(60):
        values = rng.normal(mean, sd, 900) if sd else rng.binomial(1_000, mean, 900) / 1_000
        taken.append(np.flatnonzero(log_bets(values, limit)[1] >= math.log(40))[0] + 1)
    assert np.median(taken) == pytest.approx(median, rel=0.1)


def ridge_signals(rng, seen, rows):
    """What ridge regressions on random features say: float[models, rows], each trained on the rows it has ``seen``."""
    x = np.tanh(rng.normal(size=(rows, 6)) @ rng.normal(size=(6, 24)))
    y = np.where(rng.random(rows) < 0.5, 1.0, -1.0)
    gram = np.einsum("mr,ri,rj->mij", seen.astype(float), x, x, optimize=True) + 0.3 * np.eye(24)
    weights = np.linalg.solve(gram, ((seen * y) @ x)[..., None])[..., 0]
    return y * (weights @ x.T)


def _coins(rng, pairs, rows):
    coin = rng.random((pairs, rows)) < 0.5
    return np.stack([coin, ~coin], axis=1).reshape(2 * pairs, rows)


def _lira(signal, member, mean_in, mean_out):
    return (mean_in - mean_out) * (signal - (mean_in + mean_out) / 2)


def _auc(scores, member):
    ranks = np.argsort(np.argsort(scores, axis=1), axis=1) + 1
    inside = member.sum(axis=1)
    return ((ranks * member).sum(axis=1) - inside * (inside + 1) / 2) / (inside * (member.shape[1] - inside))


def _means(signal, member):
    held = member.sum(axis=0)
    return (signal * member).sum(axis=0) / held, (signal * ~member).sum(axis=0) / (len(member) - held)


def _null_run(rng, burn_in: int, most: int, rows: int = 100) -> tuple[np.ndarray, list[np.ndarray]]:
    """A real learner that has not seen the coins: values of the target pairs, and the re-scored tables beside them.

    Models are trained on coins of their own, so that the AUC of every attack on the recorded coins is .5 exactly.
    """
    member = _coins(rng, burn_in + most, rows)
    signal = ridge_signals(rng, _coins(rng, burn_in + most, rows), rows)
    first = slice(0, 2 * burn_in)
    mean_in, mean_out = _means(signal[first], member[first])
    later = slice(2 * burn_in, None)
    values = _auc(_lira(signal[later], member[later], mean_in, mean_out), member[later]).reshape(-1, 2).mean(axis=1)
    tables = []
    for pairs in range(5, most + 1):  # leave one pair out, all scored again whenever a pair arrives
        s, m = signal[: 2 * pairs], member[: 2 * pairs]
        sums_in, sums_out = (s * m).sum(axis=0), (s * ~m).sum(axis=0)
        own_in, own_out = ((s * k).reshape(pairs, 2, rows).sum(axis=1).repeat(2, axis=0) for k in (m, ~m))
        a, b = (sums_in - own_in) / (pairs - 1), (sums_out - own_out) / (pairs - 1)
        tables.append(_auc(_lira(s, m, a, b), m).reshape(-1, 2).mean(axis=1))
    return values, tables


def _ever(runs: int, seed: int) -> tuple[int, int, int]:
    """Runs in which .5 was ever excluded: by the sequence, by bets, and by the sequence over re-scored tables."""
    rng = np.random.default_rng(seed)
    sequence = bets = rescored = 0
    for _ in range(runs):
        values, tables = _null_run(rng, 8, 24)
        found = confidence_sequence(values)
        sequence += bool(((found.low > 0.5) | (found.high < 0.5)).any())
        bets += bool((np.maximum(*log_bets(values, 0.5)) >= math.log(40)).any())
        ends = [confidence_sequence(t) for t in tables]
        rescored += any(e.low[-1] > 0.5 or e.high[-1] < 0.5 for e in ends)
    return sequence, bets, rescored


def test_peeking_after_every_pair_is_hardly_ever_wrong():
    """200 null runs of a real learner, 8 pairs of references, up to 24 of targets, a look after each.

    Flakes 1e-3 if ever wrong in exactly 5 % (truth .01-.03). The planted bug, re-scoring all pairs leave-one-pair-out
    whenever one arrives, is ever wrong in about .24 and must be caught (power above .999).
    """
    allowed = binom.ppf(1 - 1e-3, 200, 0.05)
    sequence, bets, rescored = _ever(200, seed=124)
    assert sequence <= allowed
    assert bets <= allowed
    assert rescored > allowed


@pytest.mark.statistics
def test_peeking_after_every_pair_is_hardly_ever_wrong_long():
    """2,000 runs: at most 131 ever wrong flakes 1e-3 at exactly 5 %; power .99 against .08; the bug is caught."""
    assert binom.ppf(1 - 1e-3, 2_000, 0.05) == 131
    sequence, bets, rescored = _ever(2_000, seed=125)
    assert sequence <= 131
    assert bets <= 131
    assert rescored > 131


@pytest.mark.statistics
def test_ever_missing_over_128_looks():
    """2,000 runs each: normal values and TPRs of 400 members miss at most as stated; rare spikes miss far more, which
    is why the values are shown."""
    rng = np.random.default_rng(126)
    missed = {}
    for law, mean in (("normal", 0.0), ("binomial", 0.01), ("spikes", 0.05)):
        count = 0
        for _ in range(2_000):
            values = {
                "normal": lambda: rng.normal(size=128),
                "binomial": lambda: rng.binomial(400, 0.01, 128) / 400,
                "spikes": lambda: 1.0 * (rng.random(128) < 0.05) + 0.001 * rng.normal(size=128),
            }[law]()
            found = confidence_sequence(values)
            late = slice(7, None)
            count += bool(((found.low[late] > mean) | (found.high[late] < mean)).any())
        missed[law] = count
    assert missed["normal"] <= 131
    assert missed["binomial"] <= 131
    assert missed["spikes"] > 400
