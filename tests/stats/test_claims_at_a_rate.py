"""False discovery rates of claims, what a calibration set can support, and two lists of claims joined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.stats import (
    adjusted,
    benjamini_hochberg,
    benjamini_yekutieli,
    calibration_to_claim,
    check_rate,
    fewest_claims,
    hits_law,
    hits_range,
    merged,
    p_calibrated,
    p_rank,
    same_law,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=80)
PS = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.5, 1.0, math.nan]) | st.floats(0, 1), min_size=1, max_size=9)


@QUICK
@given(st.integers(1, 60), st.integers(0, 80), st.sampled_from([0.05, 0.1, 0.3]))
def test_the_fewest_claims_are_what_benjamini_and_hochberg_can_do(candidates, calibration, q):
    """R of m candidates above every calibration score, the others at p = 1: named, and never fewer than stated."""
    fewest = fewest_claims(candidates, calibration, q)
    for claims in range(1, candidates + 1):
        scores = np.where(np.arange(candidates) < claims, 1.0, -1.0)
        named = (benjamini_hochberg(p_calibrated(scores, np.zeros(calibration))) <= q * (1 + 1e-9)).sum()
        assert named == (claims if fewest is not None and claims >= fewest else 0)
        needed = calibration_to_claim(claims, candidates, q)
        assert (calibration >= needed) == (fewest is not None and claims >= fewest)


def test_goldens():
    assert [fewest_claims(1_000, n, 0.1) for n in (500, 2_000, 10_000)] == [20, 5, 1]
    assert [hits_range(10_000, 10_000, u) for u in (0.001, 0.01, 0.1)] == [(3, 20), (74, 129), (918, 1_084)]
    assert hits_range(1_000, 999, 0.01) == (3, 20)
    for wrong in ({"candidates": 0}, {"calibration": -1}):
        with pytest.raises(SettingsError, match="at least 1 and 0 records"):
            fewest_claims(**({"candidates": 5, "calibration": 5, "q": 0.1} | wrong))
    with pytest.raises(SettingsError, match="claims: a number from 1"):
        calibration_to_claim(6, 5, 0.1)


@QUICK
@given(PS, st.randoms(use_true_random=False), st.sampled_from([0.05, 0.2]))
def test_merged_claims_are_the_union_at_half_the_rate(first, random, q):
    second = [random.choice([*first, math.nan]) for _ in first]
    found = merged(np.array(first), np.array(second))
    union = np.zeros(len(first), dtype=bool)
    for one in (first, second):
        tested = ~np.isnan(one)
        if tested.any():
            union[tested] |= benjamini_hochberg(np.array(one)[tested]) <= q / 2
    with np.errstate(invalid="ignore"):
        assert ((found <= q) == union).all()
    assert (np.isnan(found) == (np.isnan(first) & np.isnan(second))).all()


def test_adjusting_looks_only_at_tested_records():
    p = np.array([0.01, math.nan, 0.02])
    for rule in (benjamini_hochberg, benjamini_yekutieli):
        assert adjusted(p, rule)[[0, 2]].tolist() == rule(np.array([0.01, 0.02])).tolist()
        assert math.isnan(adjusted(p, rule)[1])
    with pytest.raises(SettingsError, match="same records, found 1 and 2"):
        merged([0.1], [0.1, 0.2])


def shared_calibration(rng, m, calibration, shift):
    return p_calibrated(rng.normal(size=m) + shift, rng.normal(size=calibration))


def test_claims_by_calibrated_p_values_keep_the_rate():
    """Section 10, number 9. 400 runs at q = .1, 200 candidates of which none or 30 members leak by 3 sd, |G| = 2,000.

    All null: P(any claim) <= q + 4 se. Mixed: FDR <= q + 4 se, with power. Flake 3e-5 each. The bug, kept: calibration
    without the "+1" and |G| < m / q names somebody in most null runs.
    """
    rng = np.random.default_rng(0)
    allowed = 0.1 + 4 * math.sqrt(0.1 * 0.9 / 400)
    assert np.mean(
        [(benjamini_hochberg(shared_calibration(rng, 200, 2_000, 0.0)) <= 0.1).any() for _ in range(400)]
    ) <= (allowed)
    shift = np.where(np.arange(200) < 30, 3.0, 0.0)
    false, power = [], []
    for _ in range(400):
        claims = benjamini_hochberg(shared_calibration(rng, 200, 2_000, shift)) <= 0.1
        false.append(claims[30:].sum() / max(1, claims.sum()))
        power.append(claims[:30].mean())
    assert np.mean(false) <= allowed
    assert np.mean(power) > 0.4
    bug = [benjamini_hochberg(np.maximum(shared_calibration(rng, 200, 150, 0.0) - 1 / 151, 0.0)) for _ in range(200)]
    assert np.mean([(p <= 0.1).any() for p in bug]) > 0.5


def test_two_lists_of_the_same_records_keep_the_rate_together():
    """400 runs, all null, direct and indirect signals nearly the same or opposite: P(any claim) <= q + 4 se.

    The bug, kept: the union of both lists at q each, independent: 1 - .9^2 = .19 of null runs name somebody.
    """
    rng = np.random.default_rng(1)
    allowed = 0.1 + 4 * math.sqrt(0.1 * 0.9 / 400)
    for sign in (1.0, -1.0, 0.0):
        found, twice = [], []
        for _ in range(400):
            known, new = rng.normal(size=1_000), rng.normal(size=50)
            other_known, other_new = rng.normal(size=1_000), rng.normal(size=50)
            if sign:
                other_known, other_new = sign * known + 0.1 * other_known, sign * new + 0.1 * other_new
            direct, indirect = p_calibrated(new, known), p_calibrated(other_new, other_known)
            found.append((merged(direct, indirect) <= 0.1).any())
            twice.append(min(benjamini_hochberg(direct).min(), benjamini_hochberg(indirect).min()) <= 0.1)
        assert np.mean(found) <= allowed
        if sign == 0.0:
            assert np.mean(twice) > 0.1 + 2 * math.sqrt(0.1 * 0.9 / 400)


def test_ranks_of_one_target_need_the_rule_for_any_dependence():
    """200 records sharing their references' common factor: all p_rank move together. BY: P(any claim) <= q + 4 se."""
    rng = np.random.default_rng(2)
    any_claim = []
    for _ in range(400):
        common = rng.normal(size=(201, 1))
        x = 0.9 * common + 0.44 * rng.normal(size=(201, 50))
        any_claim.append((benjamini_yekutieli(p_rank(x[0], x[1:])) <= 0.1).any())
    assert np.mean(any_claim) <= 0.1 + 4 * math.sqrt(0.1 * 0.9 / 400)


def test_the_law_of_hits_is_that_of_ranks():
    """Two exchangeable samples: the number of tests above the k-th largest calibration score, by counting orders."""
    law = hits_law(3, 4, 0.4)  # k = 2 of 4
    counts = np.zeros(4)
    for order in range(1 << 7):
        bits = [order >> i & 1 for i in range(7)]  # from the largest down: 1 = calibration
        if sum(bits) == 4:
            seen, hits = 0, 0
            for bit in bits:
                seen += bit
                hits += (not bit) and seen < 2
            counts[hits] += 1
    np.testing.assert_allclose(law, counts / 35, rtol=1e-12)
    assert hits_law(5, 8, 0.1).tolist() == [1, 0, 0, 0, 0, 0]
    assert hits_law(1_000, 50, 0.3).sum() == pytest.approx(1.0)


def test_a_rate_over_several_targets_is_clustered_by_pair():
    """200 audits of 10 pairs whose common noise moves all records of a target: refuted in at most 2.5 % + 4 se.

    The bug, kept: a binomial of all tests pooled refutes a right method in far more.
    """
    from scipy.stats import binom

    rng = np.random.default_rng(3)
    wrong = pooled = 0
    pair = np.repeat(np.arange(10), 2)
    for _ in range(200):
        shift = 0.5 * rng.normal(size=(20, 1))
        score = rng.normal(size=(20, 300)) + shift
        p = score > 1.2816 * math.sqrt(1.25)  # .1 on average over targets
        check = check_rate(p.sum(axis=1), np.full(20, 300), 0.1, pair=pair)
        wrong += check.holds is False
        pooled += p.sum() > binom.ppf(0.975, 6_000, 0.1)
    assert wrong / 200 <= 0.025 + 4 * math.sqrt(0.025 * 0.975 / 200)
    assert pooled / 200 > 0.15


def test_checks_say_when_they_cannot_judge():
    few = check_rate([1, 2], [100, 100], 0.01, pair=[0, 0])
    assert few.holds is None
    assert few.realised.value == 0.015
    assert "counted" in few.realised.reason
    assert (few.hits, few.tests, few.p) == (3, 200, None)
    assert check_rate([0] * 10, [50] * 10, 0.01, pair=np.arange(10)).holds is True
    with pytest.raises(SettingsError, match="pair, calibration: the pair of each of 2 targets"):
        check_rate([1, 2], [100, 100], 0.01)
    with pytest.raises(SettingsError, match="numbers are needed in both"):
        same_law([], [1.0])
