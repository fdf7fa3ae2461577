"""Estimates per group, and attacks against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from locard.errors import SettingsError
from locard.stats import (
    adjusted_together,
    compare_all,
    group_estimates,
    holm,
    pair_means,
    paired_difference,
    t_over_pairs,
)

PAIR = np.arange(16) // 2
REFUSED_EARLIER = pytest.mark.skipif(
    hasattr(group_estimates, "__wrapped__"), reason="with --jaxtyping-packages wrong shapes never reach our words"
)


def _groups(values, size=50, **kwargs):
    count = np.full(values.shape, size)
    return group_estimates(
        values, PAIR, [f"g{i}" for i in range(values.shape[1])], members=count, non_members=count, factor=1.5, **kwargs
    )


def test_each_group_is_t_over_pairs_at_its_share_of_the_error():
    values = np.random.default_rng(70).uniform(0.4, 0.6, size=(16, 3))
    found = _groups(values)
    for column, estimate in enumerate(found.values()):
        alone = t_over_pairs(pair_means(values[:, column], PAIR), factor=1.5, confidence=1 - 0.05 / 3)
        assert estimate == alone


def test_small_groups_are_undefined_and_not_paid_for():
    values = np.random.default_rng(71).uniform(0.4, 0.6, size=(16, 3))
    members = np.full((16, 3), 50)
    members[4, 1] = 9
    found = group_estimates(
        values, PAIR, ["a", "b", "c"], members=members, non_members=np.full((16, 3), 50), factor=1.0
    )
    assert found["b"].value is None
    assert "10 members and 10 non-members in every target, found 9 and 50" in found["b"].reason
    assert found["a"].confidence == pytest.approx(0.975)


def test_a_group_without_true_positives_has_no_interval():
    values = np.zeros((16, 2))
    values[:, 1] = np.random.default_rng(72).uniform(size=16)
    counts = (values * 50).astype(int)
    found = _groups(values, true_positives=counts)
    assert "10 true positives over all targets, found 0" in found["g0"].reason
    assert found["g1"].value is not None
    assert "same value" in _groups(values)["g0"].reason


def test_all_groups_hold_at_once():
    """1,000 runs of 20 groups: any interval misses in at most 5 % + 4 sd. Planted: each at 95 % misses in 34 %."""
    rng = np.random.default_rng(73)
    wrong = 0
    for _ in range(1_000):
        found = _groups(0.5 + 0.02 * rng.normal(size=(16, 20)))
        wrong += any(not e.low <= 0.5 <= e.high for e in found.values())
    assert wrong <= 78


@REFUSED_EARLIER
def test_shapes_that_differ_are_refused():
    with pytest.raises(SettingsError, match="targets x groups"):
        group_estimates(
            np.zeros((4, 2)), PAIR[:4], ["a"], members=np.ones((4, 2)), non_members=np.ones((4, 2)), factor=1
        )
    assert (
        group_estimates(np.zeros((4, 0)), PAIR[:4], [], members=np.ones((4, 0)), non_members=np.ones((4, 0)), factor=1)
        == {}
    )


def test_paired_difference_is_t_over_differences_and_changes_sign():
    rng = np.random.default_rng(74)
    a, b = rng.uniform(size=(2, 16))
    one, two = paired_difference(a, b, PAIR, factor=2.5), paired_difference(b, a, PAIR, factor=2.5)
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))
    assert one.value == pytest.approx(a.mean() - b.mean())
    assert "same value" in paired_difference(a, a, PAIR, factor=1.0).reason


def test_p_values_equal_the_paired_t_test_and_agree_with_the_intervals():
    """Peer: scipy.stats.ttest_rel on pair means, at c = 1."""
    rng = np.random.default_rng(75)
    values = {name: rng.uniform(size=16) * 0.1 + shift for name, shift in (("a", 0.5), ("b", 0.46), ("c", 0.5))}
    found = compare_all(values, PAIR, dict.fromkeys(values, 1.0), headline="a")
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c")]
    for c in found:
        expected = ttest_rel(pair_means(values["a"], PAIR), pair_means(values[c.second], PAIR)).pvalue
        assert c.p == pytest.approx(expected)
        assert (c.p < 0.05) == (not c.difference.low <= 0 <= c.difference.high)
    assert sorted(c.p_adjusted for c in found) == pytest.approx(
        sorted(min(1, f * c.p) for f, c in zip((2, 1), sorted(found, key=lambda c: c.p), strict=True))
    )


def test_the_larger_factor_of_the_two_counts():
    rng = np.random.default_rng(76)
    values = {"a": rng.uniform(size=16), "b": rng.uniform(size=16)}
    found = compare_all(values, PAIR, {"a": 1.0, "b": 2.5}, headline="a")[0]
    assert "c=2.5" in found.difference.method


def test_an_undefined_difference_is_still_counted():
    rng = np.random.default_rng(77)
    a = rng.uniform(size=16)
    found = compare_all({"a": a, "same": a, "b": a * 0.9}, PAIR, {"a": 1.0, "same": 1.0, "b": 1.0}, headline="a")
    same, other = found
    assert same.difference.value is None
    assert same.p is None
    assert same.p_adjusted is None
    assert other.p_adjusted == pytest.approx(2 * other.p)


def test_a_missing_headline_or_factor_is_named():
    with pytest.raises(SettingsError, match="found none for lira"):
        compare_all({"a": np.zeros(16)}, PAIR, {"a": 1.0, "lira": 1.0}, headline="lira")
    with pytest.raises(SettingsError, match="found none for b"):
        compare_all({"a": np.zeros(16), "b": np.zeros(16)}, PAIR, {"a": 1.0}, headline="a")


def test_p_values_of_several_statistics_pay_for_all_of_them():
    """Planted: adjusting each statistic by itself, which pays for 2 comparisons where 4 were made."""
    rng = np.random.default_rng(78)
    factors = {"a": 1.0, "b": 1.0, "c": 2.5}
    made = [
        c
        for _ in range(2)
        for c in compare_all({k: rng.uniform(size=16) for k in factors}, PAIR, factors, headline="a")
    ]
    found = adjusted_together(made)
    assert [replace(c, p_adjusted=None) for c in found] == [replace(c, p_adjusted=None) for c in made]
    assert [c.p_adjusted for c in found] == pytest.approx(holm(np.array([c.p for c in made])).tolist())
    assert min(c.p_adjusted for c in found) == pytest.approx(4 * min(c.p for c in made))
