"""``measure``: one target, a procedure, and the words for what cannot be had."""

from __future__ import annotations

import numpy as np
import pytest

from locard.errors import SettingsError
from locard.stats import auc, epsilon_lower_bound, measure, one_target_box, pair_means, t_over_pairs
from locard.types import Estimate

MEMBER = np.arange(4_000) % 2 == 0


def _scores(seed=0, shift=1.0):
    return np.random.default_rng(seed).normal(size=4_000) + shift * MEMBER


def test_one_target():
    scores = _scores()
    scores.flags.writeable = False
    found = measure(scores, MEMBER, fprs=[0.01, 0.001])
    assert found.auc.value == auc(scores, MEMBER)
    assert found.auc.value == pytest.approx(0.76, abs=0.03)
    assert found.tpr[0.01] == one_target_box(scores, MEMBER, 0.01)
    assert "not resolvable" in found.tpr[0.001].reason
    assert found.balanced_accuracy.value == pytest.approx(0.69, abs=0.03)
    assert "coin_flips=True" in found.epsilon.reason
    audited = measure(scores, MEMBER, fprs=[0.01], all_members_audited=True).tpr[0.01]
    assert found.tpr[0.01].low <= audited.low <= audited.value <= audited.high <= found.tpr[0.01].high


def test_epsilon_only_for_coin_flips():
    found = measure(_scores(), MEMBER, coin_flips=True).epsilon
    assert found.one_sided
    assert 0.5 < found.value < 2.5
    assert found.to_json()["high"] is None


def test_same_seed_same_numbers_another_seed_others():
    scores = _scores().round(1)
    one, again, other = (measure(scores, MEMBER, coin_flips=True, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one.balanced_accuracy != other.balanced_accuracy
    assert one.auc == other.auc


def test_row_order_and_lists_change_nothing():
    scores = _scores().round(1)
    order = np.random.default_rng(1).permutation(4_000)
    one = measure(scores, MEMBER, coin_flips=True)
    assert measure(scores[order], MEMBER[order], coin_flips=True) == one
    assert measure(scores.tolist(), MEMBER.tolist(), coin_flips=True) == one


def test_sign():
    """PEERS 3."""
    one, turned = measure(_scores(), MEMBER).auc, measure(-_scores(), MEMBER).auc
    assert one.value + turned.value == pytest.approx(1)
    assert (one.low, one.high) == pytest.approx((1 - turned.high, 1 - turned.low))


def test_several_targets_speak_about_the_procedure():
    rng = np.random.default_rng(2)
    coin = rng.random((8, 1_000)) < 0.5
    member = np.stack([coin, ~coin], axis=1).reshape(16, 1_000)
    scores = rng.normal(size=(16, 1_000)) + member
    pair = np.arange(16) // 2
    found = measure(scores, member, fprs=[0.01, 0.001], pair=pair, factor=1.0)
    assert found.auc.method == found.tpr[0.01].method == found.balanced_accuracy.method == "t over 8 pairs, c=1"
    each = np.array([auc(s, m) for s, m in zip(scores, member, strict=True)])
    assert found.auc == t_over_pairs(pair_means(each, pair), factor=1.0)
    assert found.tpr[0.01].reason.startswith("bounded only")
    assert "not resolvable" in found.tpr[0.001].reason
    assert "no epsilon bound" in found.epsilon.reason
    assert "c=2.5" in measure(scores, member, pair=pair).auc.method
    few = measure(scores[:6], member[:6], pair=pair[:6])
    assert "at least 4 pairs" in few.auc.reason
    swapped = scores.reshape(8, 2, -1)[::-1, ::-1].reshape(16, -1)
    turned = measure(swapped, member.reshape(8, 2, -1)[::-1, ::-1].reshape(16, -1), fprs=[0.01], pair=pair, factor=1.0)
    assert turned.auc.value == pytest.approx(found.auc.value)


def test_equal_targets_fall_back_to_the_first():
    member = np.tile(np.arange(2_000) < 1_000, (8, 1))
    scores = member.astype(float)
    found = measure(scores, member, fprs=[0.01], pair=np.arange(8) // 2)
    assert found.tpr[0.01].method == "one target, exact"
    assert found.auc.method.startswith("one target")
    assert found.auc.low < found.auc.value == 1.0
    assert found.balanced_accuracy.method.startswith("one target")


def test_everything_of_nothing_is_undefined_with_a_reason():
    found = measure(np.zeros(5), np.ones(5, dtype=bool), fprs=[0.1])
    for estimate in (found.auc, found.tpr[0.1], found.balanced_accuracy, found.epsilon):
        assert estimate.value is None
        assert estimate.reason
    assert measure([], [], coin_flips=True).epsilon.reason


@pytest.mark.parametrize(
    ("scores", "member", "pair", "words"),
    [
        ([np.nan, 1.0], [True, False], None, "NaN"),
        ([[1.0, 2.0]], [[True, False]], None, "pair="),
        ([1.0, 2.0], [True, False], [0, 0], "pair="),
        ([[1.0, 2.0]] * 2, [[True, False]] * 2, [0], "pair"),
        (np.zeros((0, 3)), np.zeros((0, 3), dtype=bool), [], "pair"),
        ([1.0, 2.0, 3.0], [True, False], None, "shapes"),
    ],
)
def test_unusable_input_is_refused_in_words(scores, member, pair, words):
    with pytest.raises(SettingsError, match=words):
        measure(scores, member, pair=pair)


@pytest.mark.parametrize("records", [50, 1_000])
@pytest.mark.parametrize("decimals", [None, 0])
def test_on_noise_every_claim_is_false_at_most_5_percent_of_the_time(records, decimals):
    """PEERS 1: 500 audits of pure noise, with ties and n = 50: each claim false in at most 5 % + 4 sd (44 of 500).

    Flakes 5e-5 each at exactly .05. Claims: AUC and balanced accuracy intervals off .5, TPR interval off FPR, epsilon
    above 0. AUC is approximate: its true rate is .04-.06, flakes 1e-2 at .06, so the limit is 50. Power above .99
    against .15.
    """
    rng = np.random.default_rng(90)
    wrong = np.zeros(4)
    for seed in range(500):
        member = rng.random(records) < 0.5
        scores = rng.normal(size=records)
        scores = scores if decimals is None else scores.round(decimals)
        found = measure(scores, member, fprs=[0.1], coin_flips=True, seed=seed)
        for i, (estimate, truth) in enumerate(
            ((found.auc, 0.5), (found.balanced_accuracy, 0.5), (found.tpr[0.1], 0.1), (found.epsilon, 0.0))
        ):
            if estimate.value is not None:
                wrong[i] += not estimate.low <= truth <= (np.inf if estimate.one_sided else estimate.high)
    assert (wrong <= [50, 44, 44, 44]).all()


def test_one_sided_estimates_are_consistent():
    with pytest.raises(ValueError, match="its own low end"):
        Estimate(value=1.0, low=0.5, method="lower bound")
    with pytest.raises(ValueError, match="must contain"):
        Estimate(value=1.0, low=1.0, method="t over 8 pairs")
    bound = epsilon_lower_bound(np.arange(50.0), np.arange(50) >= 25, rng=np.random.default_rng(0))
    assert repr(bound) == ">= 2.367"
