"""Grades, their promise, and what a design could have named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from locard.errors import SettingsError
from locard.stats import (
    benjamini_hochberg,
    clopper_pearson,
    fcr_intervals,
    grade,
    nameable_rate,
    p_hit,
    signed_rank,
    smallest_nameable,
    twin_competition,
)

REFUSED_EARLIER = pytest.mark.skipif(
    hasattr(grade, "__wrapped__"), reason="with --jaxtyping-packages wrong shapes never reach our words"
)


def _world(rng, records, pairs, exposed, rates, trials):
    """Differences with ``exposed`` records shifted, hits with the given TPR for these and .01 for the others."""
    differences = rng.normal(size=(records, pairs))
    differences[:exposed] += 3.0
    chance = np.full(records, 0.01)
    chance[:exposed] = rates
    return differences, rng.binomial(trials, chance)


@pytest.mark.parametrize(
    ("trials", "hits", "rate", "chance"), [(8, 5, 0.80, 0.944), (16, 8, 0.65, 0.933), (32, 11, 0.45, 0.918)]
)
def test_nameable_rate_golden(trials, hits, rate, chance):
    """At 32, 64, 128 models (a quarter of them are target pairs), 1 % of 10,000 exposed."""
    assert nameable_rate(trials, 10_000) == (hits, rate)
    assert binom.sf(hits - 1, trials, rate) == pytest.approx(chance, abs=5e-4)


def test_nothing_is_nameable_with_three_trials():
    hits, rate = nameable_rate(3, 10_000)
    assert hits == 4
    assert math.isnan(rate)


@pytest.mark.parametrize(("models", "smallest"), [(16, 0.0039), (32, 1.5e-5), (64, 2.3e-10)])
def test_the_smallest_p_of_a_design_golden(models, smallest):
    """2^-P: every pair's twin with the record scores higher."""
    assert signed_rank(np.ones((1, models // 2)) * np.arange(1, models // 2 + 1))[0] == pytest.approx(
        smallest, rel=0.02
    )


@pytest.mark.parametrize(
    ("pairs", "named", "n"), [(11, 100, 10_000), (15, 10, 10_000), (18, 1, 10_000), (20, 1, 50_000)]
)
def test_smallest_nameable_golden(pairs, named, n):
    assert smallest_nameable(pairs, n) <= named < smallest_nameable(pairs - 1, n)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 24), st.integers(1, 2_000))
def test_smallest_nameable_is_the_first_that_benjamini_hochberg_can_name(pairs, n):
    least = smallest_nameable(pairs, n)
    possible = [r for r in range(1, n + 1) if 2.0**-pairs <= 0.05 * r / n * (1 + 1e-12)]
    assert least == (possible[0] if possible else None)


def test_fcr_golden():
    named = np.arange(10_000) < 100
    assert fcr_intervals(np.full(10_000, 14), 16, named)[0][0] == pytest.approx(0.4219, abs=5e-5)
    assert fcr_intervals(np.full(10_000, 16), 16, named)[0][0] == pytest.approx(0.5955, abs=5e-5)
    assert clopper_pearson(14, 16)[0] == pytest.approx(0.6165, abs=5e-5)
    assert clopper_pearson(16, 16)[0] == pytest.approx(0.7941, abs=5e-5)
    low, high = fcr_intervals(np.full(4, 3), 4, np.zeros(4, dtype=bool))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_grades_are_their_definition_at_32_models_and_more():
    rng = np.random.default_rng(40)
    differences, hits = _world(rng, 2_000, 16, 40, np.linspace(0.1, 1, 40), 8)
    grades = grade(differences, hits, 8)
    flip, hit = signed_rank(differences), p_hit(hits, 8)
    assert grades.p_flip.tolist() == flip.tolist()
    assert grades.p_hit.tolist() == hit.tolist()
    both = np.maximum(flip, hit)
    assert grades.q.tolist() == benjamini_hochberg(both).tolist()
    exposed = benjamini_hochberg(both) <= 0.05
    moved = benjamini_hochberg(flip) <= 0.05
    assert (grades.grade == "exposed").tolist() == exposed.tolist()
    assert (grades.grade == "suspected").tolist() == (moved & ~exposed).tolist()
    assert (grades.exposed, grades.suspected) == (exposed.sum(), (moved & ~exposed).sum())
    assert grades.exposed > 10
    low, high = clopper_pearson(hits, 8)
    assert grades.low.tolist() == low.tolist()
    assert grades.high.tolist() == high.tolist()
    assert np.array_equal(~np.isnan(grades.fcr_low), exposed)
    assert (grades.fcr_low[exposed] <= low[exposed]).all()
    assert "at most 5 % of the names graded exposed are wrong" in grades.rule


def test_below_32_models_twins_compete_and_nobody_is_exposed():
    rng = np.random.default_rng(41)
    differences, hits = _world(rng, 2_000, 8, 60, 0.9, 4)
    grades = grade(differences, hits, 4)
    assert (grades.grade == "suspected").tolist() == twin_competition(differences).tolist()
    assert grades.suspected >= 40
    assert grades.exposed == 0
    assert "needs 32 models, found 16" in grades.rule


def test_without_trials_nothing_is_exposed_and_the_rule_says_why():
    differences = np.ones((100, 16))
    grades = grade(differences, None, None)
    assert grades.grade.tolist() == ["suspected"] * 100
    assert np.isnan([grades.p_hit, grades.p, grades.q, grades.low, grades.high, grades.fcr_low]).all()
    assert "no pairs of models were kept apart" in grades.rule


def test_without_pairs_nothing_is_named_and_the_rule_says_why():
    grades = grade(None, np.array([8, 8]), 8)
    assert grades.grade.tolist() == ["not shown", "not shown"]
    assert np.isnan(grades.p_flip).all()
    assert "No record can be named" in grades.rule
    assert grade(np.zeros((0, 16)), np.zeros(0, dtype=int), 8).exposed == 0


def test_a_record_without_trials_cannot_be_exposed_but_others_can():
    grades = grade(np.ones((20, 16)), np.array([8] * 19 + [0]), np.array([8] * 19 + [0]))
    assert grades.grade.tolist() == ["exposed"] * 19 + ["suspected"]
    assert grades.p_hit[19] == 1.0
    assert np.isnan(grades.low[19])


def test_any_dependence_names_no_more():
    rng = np.random.default_rng(42)
    differences, hits = _world(rng, 3_000, 32, 60, 0.7, 16)
    careful = grade(differences, hits, 16, dependence="any")
    usual = grade(differences, hits, 16)
    assert set(np.flatnonzero(careful.grade == "exposed")) < set(np.flatnonzero(usual.grade == "exposed"))
    assert "any dependence" in careful.rule


def test_grades_follow_the_records_in_any_order():
    rng = np.random.default_rng(43)
    differences, hits = _world(rng, 1_000, 16, 30, 0.9, 8)
    order = rng.permutation(1_000)
    flip = rng.permutation(16)
    assert (grade(differences[order][:, flip], hits[order], 8).grade == grade(differences, hits, 8).grade[order]).all()


def test_null_records_are_exposed_in_fewer_than_one_run_in_twenty():
    """200 runs, membership does nothing, hits at exactly 1 in 10: P(any name) <= .05 + 4 se. Planted: p for q (.6)."""
    rng = np.random.default_rng(44)
    wrong = 0
    for _ in range(200):
        differences, hits = _world(rng, 500, 16, 0, 0.0, 8)
        hits[:] = rng.binomial(8, 0.1, size=500)
        wrong += grade(differences, hits, 8).exposed > 0
    assert wrong <= 200 * (0.05 + 4 * math.sqrt(0.05 * 0.95 / 200))


def test_a_record_found_too_rarely_or_not_moved_is_a_false_name():
    """FDR where half of the records are moved but seldom found, others found often but not moved: <= .05 + 4 se.

    200 runs of 64 models. Planted: p_flip alone (FDR .9).
    """
    rng = np.random.default_rng(45)
    shares = []
    for _ in range(200):
        differences = rng.normal(size=(400, 32))
        differences[:220] += 3.0  # moved: 20 exposed, 200 seldom found
        chance = np.full(400, 0.1)
        chance[:20] = 0.8
        chance[220:240] = 0.8  # found (an easy record), not moved
        grades = grade(differences, rng.binomial(16, chance), 16)
        named = grades.grade == "exposed"
        shares.append(named[20:].sum() / max(1, named.sum()))
        assert named[:20].mean() > 0.5
    assert np.mean(shares) <= 0.05 + 4 * max(float(np.std(shares)), 0.05) / math.sqrt(200)


def test_power_at_the_stated_rate():
    """A record at the printed TPR is named with 90 % chance: 16 trials, rate .65, 1 % of 2,000 exposed, 100 runs.

    Truth .933; at least .90 in 2,000 draws flakes 1e-8.
    """
    rng = np.random.default_rng(46)
    _, rate = nameable_rate(16, 2_000)
    found = [(grade(*_world(rng, 2_000, 32, 20, rate, 16), 16).grade[:20] == "exposed").mean() for _ in range(100)]
    assert np.mean(found) >= 0.90


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones((3, 4)), np.array([1, 2]), 4), "one row for each"),
        ((None, None, None), "one row for each"),
        ((np.ones((2, 4)), np.array([5, 0]), 4), "hits"),
    ],
)
@REFUSED_EARLIER
def test_unusable_input_is_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        grade(*arguments)
    with pytest.raises(SettingsError, match="dependence"):
        grade(np.ones((2, 4)), None, None, dependence="none")  # type: ignore[arg-type]
