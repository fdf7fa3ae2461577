"""References that screen and references that test: guarantees, one test each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.screen.halves import split_references

QUICK = settings(derandomize=True, deadline=None, max_examples=60)
SHARES = st.sampled_from([0.2, 1 / 3, 0.5, 0.7, 0.75])


@QUICK
@given(st.integers(5, 40), SHARES)
def test_no_pair_is_split_and_no_model_does_both(pairs, share):
    models = np.arange(2 * pairs)
    halves = split_references(models, models ^ 1, share=share)
    assert sorted([*halves.screening, *halves.testing]) == models.tolist()
    assert set(halves.screening ^ 1) == set(halves.screening)
    assert len(halves.screening) == 2 * int(share * pairs + 1e-9)


@QUICK
@given(st.integers(5, 40), SHARES)
def test_models_without_partner_are_split_one_by_one(models, share):
    numbers = np.arange(3, 3 + models)
    halves = split_references(numbers, np.full(99, -1), share=share)
    assert sorted([*halves.screening, *halves.testing]) == numbers.tolist()
    assert len(halves.screening) == int(share * models + 1e-9)


@QUICK
@given(st.integers(5, 30), SHARES)
def test_more_models_leave_the_others_on_their_side(pairs, share):
    few, many = (split_references(np.arange(2 * p), np.arange(2 * p) ^ 1, share=share) for p in (pairs, pairs + 7))
    assert set(few.screening) <= set(many.screening)
    assert set(few.testing) <= set(many.testing)


@pytest.mark.parametrize(("models", "share"), [(2, 0.5), (2, 0.9), (4, 0.1)])
def test_a_side_without_models_is_refused(models, share):
    with pytest.raises(SettingsError, match="at least one pair of models"):
        split_references(np.arange(models), np.arange(models) ^ 1, share=share)
