from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from locard.attacks.attack_r import AttackR
from locard.attacks.places import log_odds_above
from locard.errors import NotEnoughReferences


def share_loop(loss: float, others: list[float]) -> float:
    """F: the interpolated share of other losses below this one."""
    others, k = sorted(others), len(others)
    under, ties = sum(o < loss for o in others), sum(o == loss for o in others)
    if ties:
        return (under + (ties + 1) / 2) / (k + 1)
    if under == 0:
        return loss / others[0] / (k + 1)
    if under == k:
        return 1 - others[-1] / loss / (k + 1)
    low, high = others[under - 1], others[under]
    return (under + (loss - low) / (high - low)) / (k + 1)


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)

    def formula(r: int, q: int) -> float:
        f = share_loop(-np.log(s.own(0, r, q)), [-np.log(s.own(k, r, q)) for k in s.sides(r)[1]])
        return float(np.log((1 - f) / f))

    np.testing.assert_allclose(w.score(AttackR()), s.scores(formula), rtol=1e-6, atol=1e-9)


def test_gaussian_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)

    def formula(r: int, q: int) -> float:
        seen = [s.phi(k, r, q) for k in s.sides(r)[1]]
        z = (s.phi(0, r, q) - np.mean(seen)) / np.std(seen, ddof=1)
        return float(norm.logcdf(z) - norm.logsf(z))

    np.testing.assert_allclose(w.score(AttackR(smoothing="gaussian")), s.scores(formula), rtol=1e-7, atol=1e-9)


def odds_of(loss: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Log-odds of many losses among the same others, all as logarithms."""
    known = np.sort(others)
    under, upto = np.searchsorted(known, loss, "left"), np.searchsorted(known, loss, "right")
    return log_odds_above(
        loss,
        under=under,
        over=len(known) - upto,
        below=np.concatenate([[-np.inf], known])[under],
        above=np.concatenate([known, [np.inf]])[upto],
        count=np.full(len(loss), len(known)),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(-300, 50).map(lambda x: x / 10), min_size=1, max_size=9),
    st.lists(st.integers(-600, 90).map(lambda x: x / 10), min_size=1, max_size=9),
)
def test_places_equal_the_loop_and_fall_with_the_loss(others, losses):
    grid = np.unique(np.concatenate([others, losses]))
    found = odds_of(grid, np.array(others))
    shares = np.array([share_loop(float(np.exp(x)), np.exp(others).tolist()) for x in grid])
    assert (np.diff(found) <= 0).all()
    plain = (shares > 1e-9) & (shares < 1 - 1e-9)
    np.testing.assert_allclose(found[plain], np.log((1 - shares) / shares)[plain], rtol=1e-4, atol=1e-4)


def test_beyond_the_ends_nothing_ties():
    """Losses from 1e-300 to 1e300 nats against three of about 1: the log-odds never stop falling."""
    loss = np.linspace(-690, 690, 400)
    outer = loss[np.abs(loss) > 1]
    assert (np.diff(odds_of(outer, np.log([0.5, 1.0, 2.0]))) < 0).all()
    further = np.array([-1e6, -1e5, 1e5, 1e6])  # logarithms of losses that float64 cannot hold
    assert (np.diff(odds_of(further, np.log([0.5, 1.0, 2.0]))) < 0).all()


def test_for_a_record_that_is_like_its_references_the_share_is_uniform(shifted):
    """No shift: F = 1 / (1 + exp(score)) has mean 1/2 and variance near 1/12, as ranks among 20 + 1."""
    w = shifted(0.0, models=42, records=20_001, spread=3.0)
    share = 1 / (1 + np.exp(w.score(AttackR())[1:]))
    assert share.mean() == pytest.approx(0.5, abs=5 * 0.29 / np.sqrt(20_000))
    assert np.mean(share < 0.25) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("smoothing", ["linear", "gaussian"])
def test_a_known_shift_is_found_nearly_as_much_as_theory_says(smoothing, shifted, auc, bound):
    """At most what a known normal would give, Phi(delta / sqrt(2 (1 + 1/K))); at least .03 less, for 40 references."""
    w = shifted(1.5, models=82, records=6_001, spread=5.0)
    found = auc(w.score(AttackR(smoothing=smoothing))[1:], w.truth[1:])
    theory = norm.cdf(1.5 / np.sqrt(2 * (1 + 1 / 40)))
    assert theory - 0.03 < found < theory + bound(6_000)


def test_a_spread_needs_two_references(world):
    w = world(models=4)
    assert np.isfinite(w.score(AttackR())).all()
    with pytest.raises(NotEnoughReferences, match="AttackR needs 2 reference models trained without each record"):
        w.score(AttackR(smoothing="gaussian"))
