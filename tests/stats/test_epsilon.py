"""The epsilon lower bound: false in at most 5 % of audits, for every size, with ties, in any row order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from locard.stats import epsilon_lower_bound, log_e_process
from locard.stats.epsilon import _bound

FLAKE = 1e-3


def _bound_of(right) -> float:
    return _bound(np.cumsum(np.asarray(right, dtype=np.int64)), math.log(20))


@pytest.mark.parametrize(
    ("records", "epsilon"),
    [(6, 0), (7, 0.163080), (8, 0.331672), (10, 0.603616), (50, 2.366941), (100, 3.079075), (1_000, 5.398700)],
)
def test_all_guesses_right_golden(records, epsilon):
    assert _bound_of(np.ones(records)) == pytest.approx(epsilon, abs=1e-6)
    scores = np.arange(float(records))
    found = epsilon_lower_bound(scores, scores >= records // 2, rng=np.random.default_rng(0))
    assert found.value == found.low == pytest.approx(epsilon, abs=1e-6)
    assert found.high is None
    assert "lower bound" in found.method


def test_every_tenth_wrong_golden():
    assert _bound_of(np.arange(1, 201) % 10 != 0) == pytest.approx(1.610234, abs=1e-6)


def test_log_e_golden():
    assert log_e_process(10, 10, 0.5) == pytest.approx(5.226235, abs=1e-6)
    assert log_e_process(10, 10, 0.8) == pytest.approx(1.353164, abs=1e-6)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 25), st.integers(0, 25), st.sampled_from([0.5, 0.6, 0.9]))
def test_e_process_is_an_average_of_likelihood_ratios(v, wrong, q):
    """Definition: the mean over q' in (q, 1) of (q'/q)^v ((1-q')/(1-q))^(r-v)."""
    average, _ = quad(lambda x: (x / q) ** v * ((1 - x) / (1 - q)) ** wrong / (1 - q), q, 1, epsrel=1e-10)
    assert float(log_e_process(v, v + wrong, q)) == pytest.approx(math.log(average), abs=1e-6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=14), st.sampled_from([0.5, 0.7]))
def test_e_process_has_mean_at_most_one_whatever_the_guesses(right, q):
    """One step ahead: with chance q of being right, E does not grow on average (Ville's condition)."""
    v, r = sum(right), len(right)
    now = math.exp(log_e_process(v, r, q))
    ahead = q * math.exp(log_e_process(v + 1, r + 1, q)) + (1 - q) * math.exp(log_e_process(v, r + 1, q))
    assert ahead == pytest.approx(now, rel=1e-9)


def _definition(scores, member, key) -> float:
    """Slow: reveal from both ends, search epsilon on a grid from above."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i], key[i]))
    right, total, seen = [], 0, 0
    low, high = 0, len(order) - 1
    while low <= high:
        top = seen % 2 == 0
        i = order[high] if top else order[low]
        low, high = (low, high - 1) if top else (low + 1, high)
        total += int(member[i] == top)
        seen += 1
        right.append((total, seen))
    for epsilon in np.arange(6, 0, -1e-3):
        q = 1 / (1 + math.exp(-epsilon))
        if any(float(log_e_process(v, r, q)) >= math.log(20) for v, r in right):
            return float(epsilon)
    return 0.0


@pytest.mark.parametrize("records", [9, 14, 31])
def test_bound_is_its_definition(records):
    rng = np.random.default_rng(60 + records)
    member = rng.random(records) < 0.5
    scores = rng.normal(size=records) + 4 * member
    found = epsilon_lower_bound(scores, member, rng=np.random.default_rng(0))
    assert found.value == pytest.approx(_definition(scores, member, np.zeros(records)), abs=1.1e-3)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([-math.inf, 0.0, 1.0, math.inf]), st.booleans()), max_size=30), st.randoms())
def test_row_order_leaves_no_trace(rows, random):
    scores, member = np.array([s for s, _ in rows]), np.array([m for _, m in rows], dtype=bool)
    order = list(range(len(rows)))
    random.shuffle(order)
    one = epsilon_lower_bound(scores, member, rng=np.random.default_rng(1))
    two = epsilon_lower_bound(scores[order], member[order], rng=np.random.default_rng(1))
    assert one == two
    assert (one.value is None) == (not rows)


def _false(scores, member, rng, epsilon: float) -> bool:
    """Whether the bound exceeds the true epsilon: E reaches 20 there (one evaluation, no search)."""
    from locard.stats.epsilon import _right_guesses

    right = _right_guesses(scores, member, rng)
    q = 1 / (1 + math.exp(-epsilon))
    return bool((log_e_process(right, np.arange(1, right.size + 1), q) >= math.log(20)).any())


def _randomised_response(member, epsilon: float, rng):
    """Each membership is reported truthfully with chance e^epsilon / (1 + e^epsilon): exactly (epsilon, 0)-DP."""
    keep = rng.random(member.size) < 1 / (1 + math.exp(-epsilon))
    return np.where(keep, member, ~member).astype(float)


def _audits(runs: int, records: int, ties: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    allowed = binom.ppf(1 - FLAKE, runs, 0.05)
    null = response = 0
    for _ in range(runs):
        member = np.sort(rng.random(records) < 0.5)[::-1]  # members first: row order must not help
        scores = rng.integers(0, 3, size=records).astype(float) if ties else rng.normal(size=records)
        null += _false(scores, member, rng, 0.0)
        reports = _randomised_response(member, 2.0, rng)
        reports = reports if ties else reports + 1e-3 * rng.random(records)
        response += _false(reports, member, rng, 2.0)
    assert null <= allowed
    assert response <= allowed


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("records", [50, 200])
def test_bound_is_false_in_at_most_5_percent_of_audits(records, ties):
    """PEERS 1. 2,000 audits each at epsilon 0 and of randomised response at epsilon 2, members first.

    Flakes 1e-3 if false exactly 5 % of the time (truth .01-.05). Power .93 against .07 here and 1.0 in the long suite;
    an unpaid scan of all thresholds is false in .13-.31 (planted: 1/a replaced by the fixed-r binomial test), ties
    broken by row order in nearly all (planted).
    """
    _audits(2_000, records, ties, seed=61)


@pytest.mark.statistics
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("records", [50, 200, 1_000])
def test_bound_is_false_in_at_most_5_percent_of_audits_long(records, ties):
    """8,000 audits each: at most 461 false at exactly 5 % flakes 1e-3; power 1.0 against .07."""
    assert binom.ppf(1 - FLAKE, 8_000, 0.05) == 461
    _audits(8_000, records, ties, seed=62)


@pytest.mark.parametrize(("noise", "mean"), [(2.0, 0.70), (1.0, 1.72), (0.5, 3.41)])
def test_mean_bound_on_a_known_mechanism(noise, mean):
    """Power: score = membership (0 or 1) + noise, 1,000 records; 60 audits, standard error below .04."""
    rng = np.random.default_rng(63)
    values = []
    for _ in range(60):
        member = rng.random(1_000) < 0.5
        scores = member + noise * rng.normal(size=1_000)
        values.append(epsilon_lower_bound(scores, member, rng=rng).value)
    assert np.mean(values) == pytest.approx(mean, abs=0.15)


def test_reading_the_scores_upside_down_finds_nothing():
    """The sign: inverted scores give 0, not the same bound."""
    scores = np.arange(100.0)
    assert epsilon_lower_bound(-scores, scores >= 50, rng=np.random.default_rng(0)).value == 0.0


def test_more_confidence_means_a_lower_bound():
    scores = np.arange(100.0)
    bounds = [
        epsilon_lower_bound(scores, scores >= 50, rng=np.random.default_rng(0), confidence=c).value
        for c in (0.5, 0.9, 0.95, 0.99)
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert len(set(bounds)) == 4
