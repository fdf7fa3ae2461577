"""Masks that users bring: partners found, balanced masks flagged, nonsense refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import DataError
from locard.plan.given import from_mask


def balanced(models: int, records: int, seed: int) -> np.ndarray:
    """Every record in exactly half the models, rows not in pairs."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(models) < models // 2 for _ in range(records)], axis=1)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(12, 30), st.integers(0, 10**6))
def test_complements_are_found_in_any_order(half, records, seed):
    rng = np.random.default_rng(seed)
    coins = rng.random((half, records)) < 0.5
    coins[:, 0], coins[:, 1] = True, False
    if len({r.tobytes() for r in coins}) < half:
        return
    order = rng.permutation(2 * half)
    mask = np.concatenate([coins, ~coins])[order]
    mask.flags.writeable = False
    plan = from_mask(mask)
    assert plan.design == "pairs"
    assert not plan.thin
    assert np.array_equal(plan.member, mask)
    for model in range(2 * half):
        assert (mask[model] ^ mask[plan.partner[model]]).all()
    assert plan.pairs == half


@pytest.mark.parametrize("models", [4, 8, 16])
def test_a_balanced_mask_that_is_not_pairs_is_thinned(models):
    plan = from_mask(balanced(models, 200, models))
    assert plan.design == "coin_flips"
    assert plan.thin
    assert (plan.partner == -1).all()


def test_a_mixture_keeps_the_partners_it_has_and_is_thinned():
    mask = balanced(4, 100, 0)
    mixed = np.concatenate([mask, ~mask[2:3]])
    plan = from_mask(mixed)
    assert plan.thin
    assert plan.left_out(2) == [2, 4]
    assert plan.left_out(0) == [0]


def test_partners_that_the_user_names_are_left_out_even_where_they_are_no_complements():
    mask = balanced(4, 100, 1)
    plan = from_mask(mask, pairs=np.array([1, 0, 3, 2]))
    assert plan.left_out(0) == [0, 1]
    assert plan.thin  # planted: trusting the name made it the design 'pairs', which is not thinned


def test_partners_that_the_user_names_rightly_are_pairs():
    coins = np.random.default_rng(0).random((2, 50)) < 0.5
    mask = np.stack([coins[0], coins[1], ~coins[1], ~coins[0]])
    plan = from_mask(mask, pairs=np.array([3, 2, 1, 0]))
    assert (plan.design, plan.thin) == ("pairs", False)


def test_zeros_and_ones_are_a_mask_too():
    assert from_mask(np.array([[1, 0, 1], [0, 1, 0]])).member.dtype == bool


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones(4, dtype=bool), r"\[models, records\] is needed, found shape \(4,\)"),
        (np.zeros((0, 4), dtype=bool), r"found shape \(0, 4\)"),
        (np.zeros((2, 2, 2), dtype=bool), r"found shape \(2, 2, 2\)"),
        (np.array([[True, True], [True, False]]), "model 0 holds 2 of 2"),
        (np.array([[True, False], [False, False]]), "model 1 holds 0 of 2"),
        (np.array([[0.2, 0.8], [0.5, 0.1]]), "True and False .* found float64"),
        (np.array([[2, 0], [0, 1]]), "True and False"),
        (np.array([["True", "False"], ["False", "True"]]), "True and False"),
        (np.array([[1, 0, 1], [0, 1, 1], [1, 0, 1]], dtype=bool), "model 0 and model 2 hold the same"),
    ],
)
def test_nonsense_is_refused(mask, said):
    with pytest.raises(DataError, match=said):
        from_mask(mask)


@pytest.mark.parametrize("pairs", [[1, 0], [1, 0, 3, 3], [0, 1, 2, 3], [1, 0, 3, 9], [-1, -1, -1, -1], [1.0, 0, 3, 2]])
def test_a_pairing_that_is_none_is_refused(pairs):
    with pytest.raises(DataError, match="each the partner of its partner"):
        from_mask(balanced(4, 30, 2), pairs=np.array(pairs))


def test_only_the_audited_records_decide_what_is_a_pair_and_all_of_them_are_trained_on():
    """Complements on the pool that share other training records are partners all the same."""
    coins = np.random.default_rng(0).random((3, 50)) < 0.5
    mask = np.repeat(coins, 2, axis=0)
    mask[1::2] = ~coins
    mask[:, 40:] = True  # in every model: not audited
    audited = np.arange(0, 40)
    assert from_mask(mask).design == "coin_flips"
    plan = from_mask(mask, audited=audited)
    assert (plan.design, plan.partner.tolist()) == ("pairs", [1, 0, 3, 2, 5, 4])
    assert np.array_equal(plan.member, mask[:, :40])
    for row, index in zip(mask, plan.train_index, strict=True):
        assert index.tolist() == np.flatnonzero(row).tolist()
    with pytest.raises(DataError, match="model 0 holds 10 of 10"):
        from_mask(mask, audited=np.arange(40, 50))


def test_messages_call_the_models_by_their_names():
    mask = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)
    with pytest.raises(DataError, match=r"a\.skops and c\.skops hold the same"):
        from_mask(mask, names=["a.skops", "b.skops", "c.skops"])
    mask[1] = mask[2] = True
    with pytest.raises(DataError, match=r"b\.skops holds 3 of 3 \(and 1 more are like it\)"):
        from_mask(mask, names=["a.skops", "b.skops", "c.skops"])
