from __future__ import annotations

import numpy as np
import pytest

from locard.attacks.base_attack import BASE
from locard.attacks.rmia import RMIA


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_offline_equals_the_loop(temperature, shape, world, slow):
    """log p - alpha (log-sum-exp of the OUT log-probabilities - log of their number)."""
    w = world(**shape)
    s = slow(w)

    def formula(r: int, q: int) -> float:
        seen = [np.log(s.own(k, r, q, temperature)) for k in s.sides(r)[1]]
        usual = np.logaddexp.reduce(seen) - np.log(len(seen))
        return float(np.log(s.own(0, r, q, temperature)) - 0.33 * usual)

    found = w.score(BASE(offline=True, temperature=temperature))
    np.testing.assert_allclose(found, s.scores(formula), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_online_is_the_log_ratio_of_rmia(temperature, world):
    w = world(queries=2, models=12)
    np.testing.assert_array_equal(w.score(BASE(temperature=temperature)), w.score(RMIA(temperature=temperature)))


def test_equal_numbers_in_and_out_make_it_the_papers_mean(world, slow):
    w = world(models=8)
    s = slow(w)
    expected = s.scores(
        lambda r, q: float(np.log(s.own(0, r, q)) - np.log(np.mean([s.own(k, r, q) for k in range(2, 8)])))
    )
    np.testing.assert_allclose(w.score(BASE()), expected, rtol=1e-8, atol=1e-10)


def test_alpha_runs_from_no_calibration_to_full(world, slow):
    from locard.attacks.loss import Loss

    w = world(queries=2)
    np.testing.assert_allclose(w.score(BASE(offline=True, offline_alpha=0.0)), w.score(Loss()), rtol=1e-12)
    full = w.score(BASE(offline=True, offline_alpha=1.0))
    np.testing.assert_allclose(full, w.score(RMIA(offline=True, offline_a=1.0)), rtol=1e-9, atol=1e-12)


def test_it_finds_a_leak_in_both_forms(world, auc):
    w = world(records=4_000, models=12, leak=1.5)
    assert auc(w.score(BASE()), w.truth) > auc(w.score(BASE(offline=True)), w.truth) > 0.6
