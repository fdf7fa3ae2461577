"""The policy gate: wrong passes and wrong fails at 2.5 % each, and never a pass from nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from locard.errors import SettingsError
from locard.stats import (
    AttackEvidence,
    ExposedLimit,
    LimitCheck,
    gate,
    max_interval,
    paid_confidence,
    pairs_to_settle,
)
from locard.types import Estimate

GOLDEN = np.array([0.031, 0.027, 0.042, 0.036, 0.029, 0.033, 0.025, 0.041])


def _attack(values, factor=1.0, **kwargs):
    return AttackEvidence(name=kwargs.pop("name", "loss"), values=np.asarray(values, float), factor=factor, **kwargs)


def _box(low, value, high, confidence=0.95):
    return Estimate(value=value, low=low, high=high, confidence=confidence, method="one target, exact", n=2_000)


def _gate(limit, *attacks, **kwargs):
    return gate([LimitCheck(name="max_tpr", limit=limit, attacks=attacks, **kwargs)])


def test_lower_end_pays_for_all_looks_and_upper_end_for_none():
    """t_31 at ten attacks: 3.022 below, 2.040 above."""
    values = np.random.default_rng(80).normal(size=32)
    values = 0.5 + 0.01 * (values - values.mean()) / values.std(ddof=1)
    low, high, method = max_interval([_attack(values)] * 10, looks=10)
    assert (0.5 - low) / 0.01 * math.sqrt(32) == pytest.approx(3.022, abs=5e-4)
    assert (high - 0.5) / 0.01 * math.sqrt(32) == pytest.approx(2.040, abs=5e-4)
    assert method == "maximum of 10 attacks: t over 32 pairs, c=1; lower end paid for 10 looks"


def test_maximum_takes_the_largest_end_of_either_side():
    tight, wide = _attack(GOLDEN), _attack(GOLDEN, factor=2.5)
    low, high, _ = max_interval([tight, wide], looks=1)
    assert (low, high) == pytest.approx((0.0277695, 0.0412702), abs=5e-8)


def test_fail_at_the_limit_in_at_most_2_5_percent():
    """Ten attacks at the limit, 32 pairs, 2,000 runs: fails <= 2.5 % + 3 se (flakes 1e-3). Uncorrected: 22 %."""
    rng = np.random.default_rng(81)
    fails = naive = 0
    for _ in range(2_000):
        table = 0.05 + 0.01 * rng.normal(size=(10, 32))
        fails += _gate(0.05, *(_attack(row) for row in table)).outcome == "fail"
        naive += max_interval([_attack(row) for row in table], looks=1)[0] > 0.05
    assert fails <= 2_000 * (0.025 + 3 * math.sqrt(0.025 * 0.975 / 2_000))
    assert naive >= 0.17 * 2_000


def test_pass_at_the_limit_is_neither_too_frequent_nor_too_rare():
    """One attack at the limit, nine far below, 2,000 runs: passes 2.5 % +- 4 se. Paying on both sides gives .2 %."""
    rng = np.random.default_rng(82)
    below = [_attack(0.01 + 0.001 * rng.normal(size=32)) for _ in range(9)]
    passes = sum(
        _gate(0.05, *below, _attack(0.05 + 0.01 * rng.normal(size=32))).outcome == "pass" for _ in range(2_000)
    )
    assert abs(passes / 2_000 - 0.025) <= 4 * math.sqrt(0.025 * 0.975 / 2_000)


def test_several_limits_pay_together():
    check = LimitCheck(name="max_tpr", limit=0.03, attacks=(_attack(GOLDEN),) * 2)
    result = gate([check, LimitCheck(name="max_auc", limit=0.9, attacks=(_attack(GOLDEN),))])
    assert "lower end paid for 4 looks" in result.limits[0].method
    assert "lower end paid for 2 looks" in result.limits[1].method
    assert [limit.outcome for limit in result.limits] == ["inconclusive", "pass"]
    assert result.outcome == "inconclusive"


def test_worst_outcome_wins():
    fail = LimitCheck(name="a", limit=0.01, attacks=(_attack(GOLDEN),))
    ok = LimitCheck(name="b", limit=0.5, attacks=(_attack(GOLDEN),))
    open_ = LimitCheck(name="c", limit=0.033, attacks=(_attack(GOLDEN),))
    assert gate([ok]).outcome == "pass"
    assert gate([ok, open_]).outcome == "inconclusive"
    assert gate([ok, open_, fail]).outcome == "fail"
    assert len(gate([ok, open_, fail]).reasons) == 3
    with pytest.raises(SettingsError, match="at least one limit"):
        gate([])


@pytest.mark.parametrize("values", [np.zeros(32), np.full(32, 0.001), np.full(32, 0.1 + 0.2)])
def test_a_pass_never_comes_from_pairs_that_are_all_equal(values):
    """Bug seen to fail: S = 0 left in the t formula passes at any limit."""
    assert _gate(0.5, _attack(values)).outcome == "inconclusive"
    assert _gate(0.5, _attack(values, fallback=Estimate.undefined("no"))).outcome == "inconclusive"
    assert _gate(0.5, _attack(values, fallback=_box(0.0, 0.001, 0.6))).outcome == "inconclusive"
    assert _gate(0.5, _attack(values, fallback=_box(0.0, 0.001, 0.4))).outcome == "pass"


def test_few_true_positives_use_the_fallback_even_where_pairs_differ():
    varied = np.linspace(0, 0.002, 32)
    box = _box(0.0, 0.001, 0.02)
    assert _gate(0.01, _attack(varied)).outcome == "pass"
    assert _gate(0.01, _attack(varied, true_positives=9)).outcome == "inconclusive"
    assert _gate(0.01, _attack(varied, true_positives=9, fallback=box)).outcome == "inconclusive"
    assert _gate(0.01, _attack(varied, fallback=box)).outcome == "inconclusive"  # no count: the careful reading
    assert _gate(0.01, _attack(varied, true_positives=10, fallback=box)).outcome == "pass"
    assert _gate(0.03, _attack(varied, true_positives=9, fallback=box)).outcome == "pass"
    assert "more records" in _gate(0.01, _attack(varied, fallback=box)).needed


def test_the_fallbacks_lower_end_must_pay_for_the_looks():
    """All targets found entirely: S = 0, and one target's exact interval fails the policy."""
    ones = np.ones(32)
    strict = _box(0.97, 1.0, 1.0, confidence=paid_confidence(2))
    one = _attack(ones, fallback=_box(0.98, 1.0, 1.0))
    assert _gate(0.5, one).outcome == "fail"  # a single look: the 95 % box is paid
    assert _gate(0.5, one, one).outcome == "inconclusive"
    paid = _attack(ones, fallback=_box(0.98, 1.0, 1.0), fallback_low=strict)
    assert _gate(0.5, paid, paid).outcome == "fail"
    weak = _attack(np.zeros(32), fallback=_box(0.0, 0.0, 0.01, confidence=0.9))
    assert _gate(0.5, weak).outcome == "inconclusive"


def test_an_unresolvable_limit_is_never_passed():
    blind = _attack(GOLDEN, resolvable=False, name="blind")
    result = _gate(0.5, blind, needs="4380 non-members instead of 500")
    assert result.outcome == "inconclusive"
    assert result.limits[0].high == 1.0
    assert "not resolvable" in result.reasons[0]
    assert result.needed == "max_tpr: 4380 non-members instead of 500"
    assert _gate(0.5, blind, _attack(GOLDEN)).outcome == "inconclusive"
    assert _gate(0.01, blind, _attack(GOLDEN)).outcome == "fail"


@pytest.mark.parametrize(
    ("attacks", "words"),
    [
        ((), "no attack could be measured"),
        ((_attack([0.1, 0.2]),), "fewer than 4 pairs"),
        ((_attack([0.1, 0.2, 0.3, math.nan]),), "without a value"),
    ],
)
def test_what_cannot_be_measured_is_inconclusive(attacks, words):
    result = _gate(0.9, *attacks)
    assert result.outcome == "inconclusive"
    assert words in result.reasons[0]
    assert result.needed


def test_pairs_to_settle_golden_and_in_words():
    """(t_7 S sqrt(2.5) / gap)^2 by hand: (2.364624 * .0062564 * 1.581139 / .003)^2 = 60.8."""
    attack = _attack(GOLDEN, factor=2.5)
    assert pairs_to_settle(attack, 0.036) == 61
    assert pairs_to_settle(attack, float(GOLDEN.mean())) is None
    assert pairs_to_settle(_attack(np.ones(8)), 0.5) is None
    assert _gate(0.036, attack).needed == "max_tpr: about 122 models (61 pairs), if mean and spread stay as they are"
    assert "no number of models" in _gate(float(GOLDEN.mean()), attack).needed
    assert t.ppf(0.975, 7) == pytest.approx(2.364624, abs=1e-6)


def test_a_pass_says_what_it_owes_to_normality():
    reason = _gate(0.5, _attack(GOLDEN)).reasons[0]
    assert "8 pairs alone could not show less than 0.369" in reason


def _exposed(p, limit, named, trials=16, pairs=32):
    return gate([], exposed=ExposedLimit(limit=limit, p=np.asarray(p), named=named, trials=trials, pairs=pairs))


def test_max_exposed_fails_on_a_sure_count_only():
    p = np.full(1_000, 0.5)
    p[:5] = 1e-9
    assert _exposed(p, 4, named=5).outcome == "fail"
    assert "at least 5 of 1000" in _exposed(p, 4, named=5).reasons[0]
    assert _exposed(p, 5, named=5).outcome == "pass"
    assert "65 %" in _exposed(p, 5, named=5).reasons[0]
    p[5:8] = 5e-5  # named by the false discovery rate, not sure one by one
    result = _exposed(p, 5, named=8)
    assert result.outcome == "inconclusive"
    assert result.needed == "max_exposed: more models"


def test_max_exposed_is_not_passed_where_nobody_could_be_named():
    assert _exposed(np.full(1_000, 0.5), 0, named=0, trials=3).outcome == "inconclusive"
    assert _exposed(np.full(1_000, 0.5), 0, named=0, pairs=4).outcome == "inconclusive"
    assert _exposed(np.full(1_000, math.nan), 0, named=0).outcome == "inconclusive"
    assert "32 models" in _exposed(np.full(1_000, math.nan), 0, named=0).needed


def test_max_exposed_fails_wrongly_in_at_most_2_5_percent():
    """2,000 runs, 3 truly exposed of 300, limit 3: fails <= 2.5 % + 3 se. Planted: counting the FDR names (17 %)."""
    rng = np.random.default_rng(83)
    fails = 0
    for _ in range(2_000):
        p = rng.random(300)
        p[:3] = 1e-10
        fails += _exposed(p, 3, named=3).outcome == "fail"
    assert fails <= 2_000 * (0.025 + 3 * math.sqrt(0.025 * 0.975 / 2_000))
