"""Per-record tests: signed rank, hits, twin competition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from locard.errors import SettingsError
from locard.stats import competition_threshold, p_hit, signed_rank, twin_competition, wins

QUICK = settings(derandomize=True, deadline=None, max_examples=60)
GOLDEN = np.array([[3, -1, 2, 5, 4, 6, -0.5, 7]])


def test_signed_rank_golden():
    assert signed_rank(GOLDEN).tolist() == [5 / 256]  # W+ = 33


def _by_enumeration(row: np.ndarray) -> float:
    """All sign patterns of the non-zero differences, mid-ranks for ties."""
    values = row[row != 0]
    if not values.size:
        return 1.0
    ranks = rankdata(np.abs(values))
    observed = ranks[values > 0].sum()
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return float(np.mean([s >= observed - 1e-9 for s in sums]))


@QUICK
@given(st.integers(1, 5), st.integers(1, 8), st.randoms(use_true_random=False))
def test_signed_rank_counts_every_sign_pattern(records, pairs, random):
    table = np.array(
        [[random.choice([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0]) for _ in range(pairs)] for _ in range(records)]
    )
    table.flags.writeable = False
    expected = [_by_enumeration(row) for row in table]
    assert signed_rank(table) == pytest.approx(expected, rel=1e-12)
    assert signed_rank(table[:, ::-1]) == pytest.approx(expected, rel=1e-12)
    assert signed_rank(4 * table) == pytest.approx(expected, rel=1e-12)


def test_signed_rank_equals_scipy_without_ties():
    """Peer: scipy.stats.wilcoxon, exact, one-sided; it has no exact form for ties."""
    rng = np.random.default_rng(30)
    table = rng.normal(size=(40, 32)) + 0.2
    expected = wilcoxon(table, alternative="greater", axis=1, method="exact").pvalue
    assert signed_rank(table) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("pairs", [8, 16, 32, 128])
def test_the_smallest_p_is_two_to_the_minus_pairs(pairs):
    """Also at 128 pairs, where 2^128 patterns are counted."""
    up = np.arange(1.0, pairs + 1)
    table = np.array([up, np.ones(pairs), -up, np.zeros(pairs)])
    assert signed_rank(table) == pytest.approx([2.0**-pairs, 2.0**-pairs, 1.0, 1.0], rel=1e-12, abs=0)


def test_signed_rank_with_infinite_differences_and_none():
    assert signed_rank(np.array([[math.inf, math.inf, 1.0]])).tolist() == [1 / 8]
    assert signed_rank(np.zeros((0, 4))).shape == (0,)
    assert signed_rank(np.zeros((2, 0))).tolist() == [1.0, 1.0]
    with pytest.raises(SettingsError, match="found 1 NaN"):
        signed_rank(np.array([[math.nan, 1.0]]))


@QUICK
@given(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_wins_leave_out_pairs_without_a_difference(records, pairs, random):
    table = np.array([[random.choice([-1.0, 0.0, 2.0]) for _ in range(pairs)] for _ in range(records)])
    won, counted = wins(table)
    assert won.tolist() == [sum(x > 0 for x in row) for row in table]
    assert counted.tolist() == [sum(x != 0 for x in row) for row in table]


def _null_differences(rng: np.random.Generator, records: int, pairs: int, world: str) -> np.ndarray:
    """signal(with) - signal(without) where membership does nothing; the sign comes from a coin-flip plan."""
    signs = np.where(rng.random((records, pairs)) < 0.5, 1.0, -1.0)
    if world == "common":  # low-rank noise shared by all records of a model
        gap = rng.normal(size=(records, 3)) @ rng.normal(size=(3, pairs)) + 0.5 * rng.normal(size=(records, pairs))
    elif world == "mask":  # noise that is linear in who else is a member
        gap = (rng.normal(size=(records, records)) / math.sqrt(records)) @ signs + 0.3 * rng.normal(
            size=(records, pairs)
        )
    elif world == "unequal":
        gap = rng.normal(size=(records, pairs)) * np.exp(rng.normal(size=(records, 1)))
    else:
        gap = rng.normal(size=(records, pairs))
    return signs * gap


@pytest.mark.parametrize("models", [16, 64])
def test_p_flip_is_valid_on_null_records(models):
    """2,000 null records x 20 plans, low-rank common noise and ties: sizes at .05, .01, .001 <= nominal + 4 sd.

    Flakes 3e-5 each. Power 1 against testing hits against the nominal FPR (1.9 % at .001) and against sign errors
    (planted: ">" for ">=" in the tail, which gives .002 at .001 with 16 models).
    """
    rng = np.random.default_rng(31)
    p = []
    for plan in range(20):
        table = _null_differences(rng, 2_000, models // 2, "common")
        p.append(signed_rank(table.round(1) if plan % 2 else table))
    p = np.concatenate(p)
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() <= level + 4 * math.sqrt(level * (1 - level) / p.size)
    assert (p <= 0.05).mean() >= 0.04  # and not needlessly careful


def test_signed_rank_finds_a_shift_as_often_as_theory_says():
    """Power at shift .5, 32 pairs, level .05: that of a t-test with .955 times as many pairs, .855 (se .005)."""
    rng = np.random.default_rng(32)
    p = signed_rank(rng.normal(size=(5_000, 32)) + 0.5)
    assert (p <= 0.05).mean() == pytest.approx(0.855, abs=0.025)


def test_p_hit_golden():
    assert p_hit([6, 7, 8], 16) == pytest.approx([0.0032968, 5.045e-4, 6.13e-5], abs=5e-8)
    assert p_hit([5, 6], 8) == pytest.approx([4.32e-4, 2.34e-5], abs=5e-7)
    assert p_hit([0, 0], [8, 0]).tolist() == [1.0, 1.0]
    with pytest.raises(SettingsError):
        p_hit([9], 8)


def test_p_hit_of_a_record_at_exactly_one_in_ten():
    """R = 5,000: P(p <= .01) <= .01 + 4 sd (flakes 3e-5).

    Power 1 against counting hits of leave-one-out targets, whose references share the record's labels (.11 at 64
    models). That over-dispersion is planted here as a beta-binomial with variance 4.7 times the binomial's.
    """
    rng = np.random.default_rng(33)
    allowed = 0.01 + 4 * math.sqrt(0.01 * 0.99 / 5_000)
    for trials in (8, 16, 32):
        assert (p_hit(rng.binomial(trials, 0.1, size=5_000), trials) <= 0.01).mean() <= allowed
    spread = (32 - 1) / (4.7 - 1) - 1  # a + b of the beta with that dispersion
    shared = rng.binomial(32, rng.beta(0.1 * spread, 0.9 * spread, size=5_000))
    assert (p_hit(shared, 32) <= 0.01).mean() > allowed


def test_competition_golden():
    w = np.array([*range(11, 31), -10, 5], dtype=float)
    assert competition_threshold(w, 0.05) == 11
    assert (w >= 11).sum() == 20
    assert math.isnan(competition_threshold(w[1:], 0.05))
    assert math.isnan(competition_threshold(np.zeros(5), 0.05))


@QUICK
@given(st.lists(st.integers(-4, 12), max_size=40), st.sampled_from([0.05, 0.1, 0.2, 0.5]))
def test_competition_threshold_is_its_definition(values, q):
    w = np.array(values, dtype=float)
    good = [t for t in sorted({abs(x) for x in values if x}) if (1 + (w <= -t).sum()) <= q * (w >= t).sum() + 1e-9]
    found = competition_threshold(w, q)
    assert found == good[0] if good else math.isnan(found)


WORLDS = ["plain", "unequal", "common", "mask"]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("exposed", [0, 60])
def test_twin_competition_keeps_its_false_discovery_rate(world, exposed):
    """400 runs, 8 models, 300 records: mean false discovery proportion <= .05 + 4 se (flakes 3e-5).

    Planted: without the "+1" the all-null worlds name somebody in half of the runs.
    """
    rng = np.random.default_rng(34 + exposed)
    shares = []
    for _ in range(400):
        table = _null_differences(rng, 300, 4, world)
        table[:exposed] += 4.0
        named = twin_competition(table)
        shares.append(named[exposed:].sum() / max(1, named.sum()))
    assert np.mean(shares) <= 0.05 + 4 * max(np.std(shares, ddof=1), 0.05) / 20


def test_twin_competition_has_power_where_signed_rank_has_none():
    """1 % exposed of 10,000, differences shifted by 3 sd: .93 of them named at 8 models, 1.0 at 16 (sd .04 a run).

    The signed rank with Benjamini-Hochberg names none: its smallest p is 1/16 or 1/256.
    """
    rng = np.random.default_rng(35)
    for pairs, power in ((4, 0.93), (8, 1.0)):
        found = []
        for _ in range(5):
            table = rng.normal(size=(10_000, pairs))
            table[:100] += 3
            named = twin_competition(table)
            found.append(named[:100].mean())
        assert np.mean(found) == pytest.approx(power, abs=0.08 if pairs == 4 else 0.01)


def test_twin_competition_does_not_depend_on_order_or_units():
    rng = np.random.default_rng(36)
    table = rng.normal(size=(400, 6)) + np.where(np.arange(400)[:, None] < 50, 3.0, 0.0)
    named = twin_competition(table)
    order = rng.permutation(400)
    assert named.sum() >= 20
    assert np.array_equal(twin_competition(table[order]), named[order])
    assert np.array_equal(twin_competition(7 * table[:, ::-1]), named)


def test_twin_competition_edges():
    assert twin_competition(np.zeros((5, 4))).tolist() == [False] * 5
    assert twin_competition(np.zeros((0, 4))).shape == (0,)
    assert twin_competition(np.zeros((3, 0))).tolist() == [False] * 3
    assert twin_competition(np.ones((30, 1))).all()  # one pair: the sign alone, 30 of 30
    with pytest.raises(SettingsError, match="finite"):
        twin_competition(np.array([[math.inf, 1.0]]))


def test_many_plans_with_ties_are_one_distribution_each():
    """The shared-prefix sweep equals one record at a time, over thousands of tie patterns."""
    rng = np.random.default_rng(37)
    table = rng.integers(-6, 9, size=(3_000, 12)).astype(float)
    together = signed_rank(table)
    alone = np.array([signed_rank(row[None])[0] for row in table[:200]])
    assert np.array_equal(together[:200], alone)
