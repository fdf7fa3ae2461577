"""P-values of one record against references: the definitions as loops, closed forms, and the tails that ran off."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.stats import kstest, norm
from scipy.stats import t as student_t

from locard.errors import SettingsError
from locard.stats import (
    log_predictive_tail,
    log_student_tail,
    p_pchip,
    p_rank,
    p_rank_randomised,
    p_tail,
    with_tail_model,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
LOSS = st.sampled_from([0.0, 0.5, 1.0, 1e-9, 3.0]) | st.integers(1, 50_000).map(lambda x: x / 1000)
TABLE = st.integers(1, 9).flatmap(
    lambda k: st.tuples(
        st.lists(LOSS, min_size=4, max_size=4),
        st.lists(st.lists(LOSS, min_size=4, max_size=4), min_size=k, max_size=k),
        st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=k, max_size=k),
    )
)


def pchip_loop(loss: float, others: list[float]) -> float:
    """GMIA's p-value in words: knots (0, 0) and (i-th loss, i / k), the largest height of ties, argument clipped."""
    heights = {0.0: 0.0}
    for i, other in enumerate(sorted(others), 1):
        heights[other] = i / len(others)
    x = sorted(heights)
    if len(x) == 1:
        return heights[0.0]
    cubic = PchipInterpolator(x, [heights[v] for v in x])
    return float(np.clip(cubic(np.clip(loss, 0.0, x[-1])), 0.0, 1.0))


def tail_loop(own: float, others: list[float]) -> float:
    k = len(others)
    if k < 2:
        return math.nan
    if max(others) == min(others):
        return (1 + sum(o >= own for o in others)) / (k + 1)
    z = (own - np.mean(others)) / (np.std(others, ddof=1) * np.sqrt(1 + 1 / k))
    return float(student_t.sf(z, k - 1))


@QUICK
@given(TABLE)
def test_they_equal_their_loops(table):
    """Ties, losses of 0, references left out, one reference and none."""
    own, others, usable = (np.array(x) for x in table)
    for array in (own, others, usable):
        array.flags.writeable = False
    found = {f: f(own, others, usable) for f in (p_rank, p_tail, p_pchip)}
    for r in range(4):
        seen = others[usable[:, r], r].tolist()
        assert found[p_rank][r] == (1 + sum(o >= own[r] for o in seen)) / (1 + len(seen))
        if not (len(seen) > 1 and 0 < np.ptp(seen) < 1e-6):  # a spread of 1e-9 beside 50: the loop itself is rounding
            assert found[p_tail][r] == pytest.approx(tail_loop(own[r], seen), rel=1e-6, abs=1e-12, nan_ok=True)
        expected = pchip_loop(own[r], seen) if seen else math.nan
        assert found[p_pchip][r] == pytest.approx(expected, rel=1e-10, abs=1e-13, nan_ok=True)


def test_pchip_equals_scipy_on_many_records_of_many_sizes():
    """20,000 losses from 1e-30 to 1e30, among 1 to 40 references each, against scipy's interpolator one at a time."""
    rng = np.random.default_rng(0)
    wide = rng.choice([0.1, 1.0, 20.0], size=600)
    others = np.exp(wide * rng.normal(size=(40, 600)))
    others[:, ::3] = np.round(others[:, ::3], 1)
    usable = rng.random((40, 600)) < rng.random(600)
    own = np.where(rng.random(600) < 0.5, others[0] * rng.choice([0.3, 1.0, 3.0], size=600), np.exp(wide))
    found = p_pchip(own, others, usable)
    for r in np.flatnonzero(usable.any(axis=0)):
        assert found[r] == pytest.approx(pchip_loop(own[r], others[usable[:, r], r].tolist()), rel=1e-9, abs=1e-13)


def test_goldens():
    out = np.arange(4.0)[:, None]
    assert p_tail([5.0], out)[0] == pytest.approx(0.0468796, abs=5e-8)
    assert p_rank([5.0], out)[0] == 0.2
    z = (5 - 1.5) / (math.sqrt(5 / 3) * math.sqrt(1.25))
    assert z == pytest.approx(2.424871, abs=5e-7)
    assert log_student_tail(np.array([z]), 3)[0] == pytest.approx(math.log(0.0468796), abs=1e-6)


def test_the_floors_that_the_report_names():
    """No rank p-value below 1 / (k + 1): .0244 and .0099 with 40 and 100 references; and k = 3, one target."""
    for k, floor in ((3, 0.25), (40, 0.0244), (100, 0.0099)):
        assert p_rank([1e9], np.zeros((k, 1)))[0] == pytest.approx(floor, abs=5e-5)
    assert p_pchip([0.0], np.ones((3, 1)))[0] == 0.0
    assert with_tail_model([0.0], [0.3], [3])[0] == 0.25


def test_the_log_tail_is_scipys_and_goes_on_beyond_it():
    t = np.array([-1e200, -30.0, -1.0, 0.0, 1.0, 30.0, 1e6])
    for freedom in (1, 2, 19, 99):
        known = student_t.logsf(t[1:], freedom)
        held = np.isfinite(known)  # scipy's is -inf where the tail is below 1e-308
        np.testing.assert_allclose(log_student_tail(t, freedom)[1:][held], known[held], rtol=1e-7)
    far = log_student_tail(np.logspace(3, 149, 50), 40)
    assert (np.diff(far) < 0).all()
    np.testing.assert_allclose(np.diff(far) / np.diff(np.log(np.logspace(3, 149, 50))), -40, rtol=1e-3)
    assert log_student_tail(np.array([math.inf, -math.inf]), 5).tolist()[1] == 0.0
    z = log_predictive_tail(np.array([3.0]), mean=np.zeros(1), spread=np.ones(1), count=np.array([10**9]))
    assert z[0] == pytest.approx(norm.logsf(3.0), abs=1e-6)


def test_the_tail_model_starts_where_the_references_end():
    """p falls with the loss through the joint, never exceeds the floor below it, and inside the sample is the cubic."""
    rng = np.random.default_rng(1)
    others = np.exp(rng.normal(size=(40, 1))) * np.ones((1, 500))
    own = np.sort(np.exp(rng.normal(-1, 3, size=500)))
    smooth = p_pchip(own, others)
    tail = p_tail(-np.log(own), -np.log(others))
    p = with_tail_model(smooth, tail, np.full(500, 40))
    assert (np.diff(p) >= 0).all()
    inside = smooth >= 1 / 41
    assert (p[inside] == smooth[inside]).all()
    assert (p[~inside] <= 1 / 41).all()
    assert p[0] == pytest.approx(tail[0])


def test_the_randomised_rank_is_uniform_where_the_plain_one_is_a_grid():
    """4,000 records with ties, k = 9: flake 1e-3 (fixed seed). The plain one is not uniform: planted as its control."""
    rng = np.random.default_rng(2)
    values = rng.integers(0, 4, size=(10, 4_000)).astype(float)
    p = p_rank_randomised(values[0], values[1:], rng=rng)
    assert kstest(p, "uniform").pvalue > 1e-3
    plain = p_rank(values[0], values[1:])
    assert (plain >= p).all()
    assert kstest(plain, "uniform").pvalue < 1e-9
    assert p_rank_randomised([0.0], np.zeros((0, 1)), rng=rng)[0] < 1


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_pchip_is_right_at_its_knots_and_only_there(sigma):
    """P(p_pchip <= i / k) = i / (k + 1) whatever the losses' spread; below 1 / k it depends on it.

    20,000 lognormal records, k = 100, 4 standard deviations (flake 3e-4 in all). Planted and seen to fail: heights
    (i - 1) / k, which give .0198 at .01.
    """
    rng = np.random.default_rng(3)
    losses = np.exp(sigma * rng.normal(size=(101, 20_000)))
    p = p_pchip(losses[0], losses[1:])
    for i in (1, 5, 10, 50):
        exact = i / 101
        assert (p <= i / 100).mean() == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    assert ((p >= 0) & (p <= 1)).all()
    below = (p <= 0.001).mean()
    assert below < 0.002 if sigma < 2 else below > 0.002  # an anchor, not data: why it is never reported there


def test_the_rates_that_the_anchor_gives_where_the_tail_model_gives_the_stated_one():
    """Normal log losses of spread 4, k = 40: at .01 the bare cubic claims too many, with the tail model it does not."""
    rng = np.random.default_rng(4)
    phi = 4.0 * rng.normal(size=(41, 40_000))
    smooth = p_pchip(np.exp(-phi[0]), np.exp(-phi[1:]))
    p = with_tail_model(smooth, p_tail(phi[0], phi[1:]), np.full(40_000, 40))
    sd = math.sqrt(0.01 * 0.99 / 40_000)
    assert (smooth <= 0.01).mean() > 0.01 + 4 * sd
    assert (p <= 0.01).mean() == pytest.approx(0.01, abs=4 * sd)


def test_an_interpolator_that_extrapolates_is_caught():
    """The public code's p-value, for a target below all reference losses: negative or large. Ours never exceeds 1 / k.

    1,000 lognormal targets under the smallest of 100 losses.
    """
    rng = np.random.default_rng(5)
    losses = np.exp(rng.normal(size=(100, 1_000)))
    own = losses.min(axis=0) * rng.random(1_000)
    naive = []
    for r in range(1_000):
        x = np.sort(losses[:, r])
        naive.append(float(PchipInterpolator(x, np.arange(1, 101) / 100)(own[r])))
    naive = np.array(naive)
    assert (naive < 0).mean() > 0.05
    assert (naive > 0.01).mean() > 0.3
    ours = p_pchip(own, losses)
    assert ((ours > 0) & (ours <= 0.01)).all()


@pytest.mark.parametrize(
    ("draw", "at_01", "at_001"),
    [("normal", 0.010, 0.001), ("t4", 0.017, 0.006), ("exponential", 0.039, 0.019), ("second mode", 0.065, 0.019)],
)
def test_what_the_tail_model_costs_where_signals_are_not_normal(draw, at_01, at_001):
    """Realised rates with k = 100 and 50,000 records, within 5 sd and a fifth: why p_tail is called a model."""
    rng = np.random.default_rng(6)
    shape = (101, 50_000)
    x = {
        "normal": lambda: rng.normal(size=shape),
        "t4": lambda: rng.standard_t(4, size=shape),
        "exponential": lambda: rng.exponential(size=shape),
        "second mode": lambda: rng.normal(size=shape) + 5.0 * (rng.random(shape) < 0.1),
    }[draw]()
    p = p_tail(x[0], x[1:])
    for level, rate in ((0.01, at_01), (0.001, at_001)):
        slack = 5 * math.sqrt(rate * (1 - rate) / 50_000) + (0 if draw == "normal" else 0.2 * rate)
        assert (p <= level).mean() == pytest.approx(rate, abs=slack)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_the_tail_is_exact_for_normal_signals_with_any_number_of_references(k):
    """100,000 records with means and spreads of their own: P(p_tail <= u) = u, 4 sd (flake 4e-4 in all).

    Planted and seen to fail: s without sqrt(1 + 1/k); a normal tail in the place of Student's.
    """
    rng = np.random.default_rng(8)
    x = rng.normal(size=100_000) + np.exp(rng.normal(size=100_000)) * rng.normal(size=(k + 1, 100_000))
    p = p_tail(x[0], x[1:])
    for level in (0.2, 0.01, 0.001):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 100_000))


def test_p_values_of_each_record_stand_alone():
    """Order of records and references, unit and origin of the signal, and other records change nothing."""
    rng = np.random.default_rng(7)
    own, others = rng.normal(size=30), rng.normal(size=(12, 30))
    order, shuffled = rng.permutation(30), rng.permutation(12)
    for f in (p_rank, p_tail):
        p = f(own, others)
        np.testing.assert_allclose(f(own[order], others[:, order]), p[order], rtol=1e-12)
        np.testing.assert_allclose(f(own, others[shuffled]), p, rtol=1e-9)
        np.testing.assert_allclose(f(3 * own - 7, 3 * others - 7), p, rtol=1e-9)
        np.testing.assert_allclose(f(own[:5], others[:, :5]), p[:5], rtol=1e-12)
    loss = np.exp(others)
    p = p_pchip(np.exp(own), loss)
    np.testing.assert_allclose(p_pchip(np.exp(own[order]), loss[shuffled][:, order]), p[order], rtol=1e-12)
    np.testing.assert_allclose(p_pchip(1e-5 * np.exp(own), 1e-5 * loss), p, rtol=1e-9)  # nats or bits
    assert p_rank(own, others).tolist() == p_rank(np.exp(own), np.exp(others)).tolist()


def test_losses_that_floats_can_hardly_hold():
    rows = [1e-320, 1e-300, 1e-12, 1.0, 1e12, 1e300]
    others = np.array(rows)[:, None] * np.ones(8)
    own = np.array([0.0, 1e-321, 1e-310, 1e-200, 0.5, 1e200, 1e305, math.inf])
    p = p_pchip(own, others)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()
    assert p[-1] == p[-2] == 1.0
    assert p_pchip([0.0, 1.0], np.zeros((5, 2))).tolist() == [1.0, 1.0]  # all references certain: no evidence
    assert p_pchip([0.0, 0.5], [[0.0, 0.0], [1.0, 1.0]]).tolist() == [0.5, 0.75]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0], [[1.0]]), r"one number a record.*found shapes \(2,\) and \(1, 1\)"),
        (([1.0], [[1.0]], [[True, False]]), r"usable: \(1, 2\)"),
        (([1.0], [[1.0]], [[1]]), "usable: True or False"),
        (([math.nan], [[1.0]]), "found 1 NaN. Leave such records out by their ids"),
        (([1.0], [[math.nan]]), "found 1 NaN"),
    ],
)
def test_what_is_refused(arguments, words):
    for f in (p_rank, p_tail, p_pchip):
        with pytest.raises(SettingsError, match=words):
            f(*arguments)


def test_what_only_some_refuse():
    with pytest.raises(SettingsError, match="numbers of at least 0"):
        p_pchip([-1.0], [[1.0]])
    with pytest.raises(SettingsError, match="numbers of at least 0"):
        p_pchip([1.0], [[math.inf]])
    with pytest.raises(SettingsError, match="finite numbers are needed"):
        p_tail([1.0], [[math.inf]])
    assert p_rank([1.0], [[math.inf], [-math.inf]])[0] == 2 / 3
    assert p_pchip([1.0], [[math.nan], [2.0]], [[False], [True]])[0] == pytest.approx(0.5)
