"""Bounds from one run at a fixed number of guesses and on a fixed grid: goldens, validity, and how much they find."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from locard.errors import SettingsError
from locard.stats import (
    epsilon_from_guesses,
    epsilon_lower_bound,
    epsilon_of_gdp,
    epsilon_on_grid,
    gdp_from_guesses,
    gdp_on_grid,
    gdp_rejected,
    guess_grid,
    steinke_p,
)
from locard.stats.epsilon import _right_guesses
from locard.stats.one_run import right_on_grid

FLAKE = 1e-3


@pytest.mark.parametrize(
    ("coins", "guesses", "right", "pure", "approximate"),
    [
        (1_000, 1_000, 1_000, 5.809068, 5.782283),
        (1_000, 1_000, 550, 0.094224, 0.093988),
        (1_000, 200, 180, 1.798865, 1.796285),
        (1_000, 100, 100, 3.492965, 3.465376),
        (100, 10, 10, 1.051873, 1.048237),
    ],
)
def test_steinke_golden(coins, guesses, right, pure, approximate):
    for delta, expected in ((0.0, pure), (1e-5, approximate)):
        found = epsilon_from_guesses(right, guesses, coins=coins, delta=delta)
        assert found.value == found.low == pytest.approx(expected, abs=1e-6)
        assert found.one_sided
        assert found.n == coins


@pytest.mark.parametrize(
    ("guesses", "right", "mu", "epsilon", "steinke"),
    [
        (1_000, 550, 0.057264, 0.185570, 0.0940),
        (1_000, 700, 0.357211, 1.371979, 0.7317),
        (200, 180, 0.698201, 2.901243, 1.7963),
        (1_000, 950, 1.137346, 5.083982, 2.7008),
    ],
)
def test_gdp_golden(guesses, right, mu, epsilon, steinke):
    found = gdp_from_guesses(right, guesses, coins=1_000)
    assert found.value == pytest.approx(mu, abs=1e-6)
    assert epsilon_of_gdp(found, delta=1e-5).value == pytest.approx(epsilon, abs=1e-6)
    assert epsilon_of_gdp(found, delta=1e-5).one_sided
    assert epsilon_from_guesses(right, guesses, coins=1_000, delta=1e-5).value == pytest.approx(steinke, abs=5e-5)


@pytest.mark.parametrize(("mu", "epsilon"), [(2.0, 9.997), (1.0, 4.377), (0.5, 1.993), (0.25, 0.926)])
def test_epsilon_of_a_gaussian_mechanism_golden(mu, epsilon):
    assert epsilon_of_gdp(mu, delta=1e-5).value == pytest.approx(epsilon, abs=5e-4)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 60), st.data())
def test_p_value_is_its_definition(guesses, data):
    right = data.draw(st.integers(0, guesses))
    epsilon = data.draw(st.sampled_from([0.0, 0.3, 1.0, 4.0]))
    delta = data.draw(st.sampled_from([0.0, 1e-5, 1e-3]))
    coins = guesses + data.draw(st.integers(0, 50))
    law = binom(guesses, 1 / (1 + np.exp(-epsilon)))
    beta = law.sf(right - 1)
    alpha = max([(law.sf(right - i - 1) - beta) / i for i in range(1, right + 1)], default=0.0)
    found = steinke_p(right, guesses, coins=coins, epsilon=epsilon, delta=delta)
    assert found == pytest.approx(min(1.0, beta + 2 * coins * delta * alpha), abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 300), st.data())
def test_no_smaller_epsilon_is_kept(guesses, data):
    """Validity hangs on it: a bound above the truth must mean that the truth was rejected."""
    right = data.draw(st.integers((guesses + 1) // 2, guesses))
    bound = epsilon_from_guesses(right, guesses, coins=1_000, delta=1e-4).value
    for epsilon in np.linspace(0, bound, 40)[:-1] if bound else ():
        assert steinke_p(right, guesses, coins=1_000, epsilon=float(epsilon), delta=1e-4) <= 0.05
    after = steinke_p(right, guesses, coins=1_000, epsilon=bound + 1e-6, delta=1e-4)
    assert after > 0.05


def test_the_grid_is_fixed_by_the_number_of_records_alone():
    assert guess_grid(1_000) == (8, 16, 32, 64, 128, 256)
    assert guess_grid(16) == (8,)
    assert guess_grid(15) == ()
    few = epsilon_on_grid(np.arange(15.0), np.arange(15) > 7, rng=np.random.default_rng(0))
    assert few.value is None
    assert "16" in str(few.reason)


@pytest.mark.parametrize("bound", [epsilon_on_grid, gdp_on_grid])
def test_row_order_and_sign_of_the_grid(bound):
    rng = np.random.default_rng(5)
    member = rng.random(200) < 0.5
    scores = np.round(member + rng.normal(size=200), 1)  # ties
    order = rng.permutation(200)
    one = bound(scores, member, rng=np.random.default_rng(1))
    two = bound(scores[order], member[order], rng=np.random.default_rng(1))
    assert one == two
    assert bound(scores * 3 + 2, member, rng=np.random.default_rng(1)).value == one.value > 0
    assert bound(-scores, member, rng=np.random.default_rng(1)).value == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingsError, match="right <= guesses <= coins"):
        epsilon_from_guesses(5, 4, coins=10)
    with pytest.raises(SettingsError, match="delta"):
        epsilon_from_guesses(4, 4, coins=10, delta=1.0)
    with pytest.raises(SettingsError, match="delta"):
        epsilon_of_gdp(1.0, delta=0.0)
    assert epsilon_from_guesses(0, 0, coins=10).value is None
    assert gdp_from_guesses(0, 0, coins=10).value is None
    assert epsilon_of_gdp(0.0, delta=1e-5).value == 0


@cache
def _steinke_false(right: int, guesses: int, coins: int, epsilon: float, level: float) -> bool:
    return steinke_p(right, guesses, coins=coins, epsilon=epsilon) <= level


@cache
def _gdp_false(right: int, guesses: int, coins: int, mu: float, level: float) -> bool:
    return gdp_rejected(right, guesses, coins=coins, mu=mu, level=level)


def _audits(runs: int, records: int, ties: bool, seed: int) -> dict[str, int]:
    """How many of ``runs`` audits are false: bound above the truth. Members stand first in every one."""
    rng = np.random.default_rng(seed)
    points = len(guess_grid(records))
    looks = np.arange(1, records + 1)
    unpaid = binom.isf(0.05, looks, 0.5)  # the planted bug: every number of guesses tested as if it were the only one
    q = 1 / (1 + np.exp(-2.0))
    false = dict.fromkeys(("null", "response", "gaussian", "unpaid"), 0)
    for _ in range(runs):
        member = np.sort(rng.random(records) < 0.5)[::-1]
        scores = rng.integers(0, 3, size=records).astype(float) if ties else rng.normal(size=records)
        right = right_on_grid(scores, member, rng=rng)
        false["null"] += any(_steinke_false(v, r, records, 0.0, 0.05 / points) for r, v in right.items())
        false["unpaid"] += bool((_right_guesses(scores, member, rng) > unpaid).any())
        told = np.where(rng.random(records) < q, member, ~member).astype(float)
        right = right_on_grid(told if ties else told + 1e-3 * rng.random(records), member, rng=rng)
        false["response"] += any(_steinke_false(v, r, records, 2.0, 0.05 / points) for r, v in right.items())
        noisy = member + rng.normal(size=records)  # 1-GDP, exactly
        right = right_on_grid(np.round(noisy, 1) if ties else noisy, member, rng=rng)
        false["gaussian"] += any(_gdp_false(v, r, records, 1.0, 0.05 / points) for r, v in right.items())
    return false


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("records", [50, 200])
def test_grid_is_false_in_at_most_5_percent_of_audits(records, ties):
    """1,000 audits each of no leak, of randomised response at epsilon 2 and of a 1-GDP mechanism, members first.

    Flakes 1e-3 if false exactly 5 % of the time (truth below .04). The planted bug, a scan of all numbers of guesses
    that is not paid for, is counted beside it (.13-.21) and must be caught (power above .999).
    """
    false = _audits(1_000, records, ties, seed=71)
    allowed = binom.ppf(1 - FLAKE, 1_000, 0.05)
    assert max(false[k] for k in ("null", "response", "gaussian")) <= allowed
    assert false["unpaid"] > allowed


@pytest.mark.statistics
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("records", [50, 200, 1_000])
def test_grid_is_false_in_at_most_5_percent_of_audits_long(records, ties):
    """8,000 audits each: at most 461 false at exactly 5 % flakes 1e-3; the unpaid scan must be caught (power 1.0)."""
    false = _audits(8_000, records, ties, seed=72)
    assert max(false[k] for k in ("null", "response", "gaussian")) <= 461
    assert false["unpaid"] > 461


@pytest.mark.parametrize("delta", [1e-4, 1e-3])
def test_a_mechanism_that_fails_with_probability_delta(delta):
    """Randomised response at epsilon 1 that tells the truth for sure with chance delta, 200 records: (1, delta)-DP.

    1,500 audits; flakes 1e-3 at exactly 5 %. A bound that left delta out would be false here in .06 at delta = 1e-3
    (not told apart by this test; the golden values do that).
    """
    rng = np.random.default_rng(73)
    q = 1 / (1 + np.exp(-1.0))
    points = len(guess_grid(200))
    false = 0
    for _ in range(1_500):
        member = rng.random(200) < 0.5
        told = np.where(rng.random(200) < q, member, ~member)
        sure = rng.random(200) < delta
        scores = np.where(sure, np.where(member, 9.0, -9.0), told)
        right = right_on_grid(scores, member, rng=rng)
        false += any(steinke_p(v, r, coins=200, epsilon=1.0, delta=delta) <= 0.05 / points for r, v in right.items())
    assert false <= binom.ppf(1 - FLAKE, 1_500, 0.05)


FOUND = [(1_000, 2.0, 0.678, 0.63), (1_000, 1.0, 1.72, 1.61), (1_000, 0.5, 3.41, 3.18), (50, 0.5, 1.48, 1.42)]


def _means(records: int, noise: float, runs: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    every, grid = [], []
    for _ in range(runs):
        member = rng.random(records) < 0.5
        scores = member + noise * rng.normal(size=records)
        every.append(epsilon_lower_bound(scores, member, rng=rng).value)
        grid.append(epsilon_on_grid(scores, member, rng=rng).value)
    return float(np.mean(every)), float(np.mean(grid))


@pytest.mark.parametrize(("records", "noise", "every", "grid"), FOUND)
def test_mean_bounds_on_a_known_mechanism(records, noise, every, grid):
    """Power, roughly: score = membership + noise, 40 audits (standard error below .06, so .2 flakes below 1e-3)."""
    found = _means(records, noise, 40, seed=74)
    assert found == (pytest.approx(every, abs=0.2), pytest.approx(grid, abs=0.2))


@pytest.mark.statistics
@pytest.mark.parametrize(("records", "noise", "every", "grid"), FOUND)
def test_mean_bounds_on_a_known_mechanism_long(records, noise, every, grid):
    """Within 3 %: 1,500 audits, standard error .3 to 1 %. The first figure is of 5,000 audits (.678, error .003)."""
    found = _means(records, noise, 1_500, seed=75)
    assert found == (pytest.approx(every, rel=0.03), pytest.approx(grid, rel=0.03))


def test_gdp_finds_more_than_steinke_where_a_gaussian_mechanism_is_audited():
    """20,000 coins, noise 1, delta 1e-5: theory 4.38, the best fixed number of guesses 3.61 (their table, more coins).

    Here the grid is paid for: 2.62, Steinke 1.91.
    """
    rng = np.random.default_rng(76)
    member = rng.random(20_000) < 0.5
    scores = member + rng.normal(size=20_000)
    gdp = epsilon_of_gdp(gdp_on_grid(scores, member, rng=rng), delta=1e-5).value
    pure = epsilon_on_grid(scores, member, rng=rng, delta=1e-5).value
    assert 1.2 * pure < gdp < epsilon_of_gdp(1.0, delta=1e-5).value
