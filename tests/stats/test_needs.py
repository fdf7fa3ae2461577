"""How many pairs an audit needs: against theory where the law of the pairs is known, and honest about small pilots."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from locard.errors import SettingsError
from locard.stats import looks_to_settle, nameable_rate, pairs_for_width, pairs_to_name, prospect, smallest_nameable

RNG = np.random.default_rng


def known(mean=0.6, sd=0.02, pairs=4_000) -> np.ndarray:
    """A pilot so large that nothing about the law is uncertain."""
    values = RNG(1).normal(size=pairs)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def theory(sd: float, gap: float, factor: float) -> int:
    """(t S sqrt(c) / gap)^2, with the t of that many pairs."""
    return next(p for p in range(4, 100_000) if t.ppf(0.975, p - 1) * sd * np.sqrt(factor / p) <= gap)


@pytest.mark.parametrize("factor", [1.0, 2.5])
@pytest.mark.parametrize("gap", [0.002, 0.005, 0.02])
def test_in_a_known_world_it_is_theory(gap, factor):
    found = pairs_for_width(known(), gap, factor=factor, rng=RNG(2))
    expected = theory(0.02, gap, factor)
    assert found.median == pytest.approx(expected, rel=0.03, abs=1)
    assert found.sure == pytest.approx(expected, rel=0.08, abs=1)
    limit = prospect(known(), factor=factor, pairs=expected, limit=0.6 + gap, rng=RNG(3))
    half = t.ppf(0.975, expected - 1) * 0.02 * np.sqrt(factor / expected)
    assert limit.half_width == pytest.approx(half, rel=0.02)
    assert half <= gap
    assert limit.to_settle.median == pytest.approx(expected, rel=0.1, abs=1)
    assert limit.settled == pytest.approx(0.5, abs=0.12), "at that many pairs it is about a coin"


def test_the_chance_of_settling_is_what_happens():
    """Against 3,000 audits of 12 pairs in the known world: .8 sd away (standard error .01)."""
    rng = RNG(4)
    values = 0.6 + 0.02 * rng.normal(size=(3_000, 12))
    half = t.ppf(0.975, 11) * values.std(axis=1, ddof=1) / np.sqrt(12)
    happened = (np.abs(values.mean(axis=1) - 0.616) > half).mean()
    found = prospect(known(), factor=1.0, pairs=12, limit=0.616, rng=RNG(5))
    assert found.settled == pytest.approx(happened, abs=0.04)


def test_small_pilots_are_enough_as_often_as_they_say():
    """Pilots of 4 pairs in a known world: what they call enough in 9 of 10 cases is enough in .9 of 400 pilots.

    Within .05 (three standard errors). Planted bug: taking the pilot's spread as the truth is enough in about .4.
    """
    truth, rng, enough, naive = theory(0.02, 0.01, 1.0), RNG(6), 0, 0
    for _ in range(400):
        pilot = 0.6 + 0.02 * rng.normal(size=4)
        found = pairs_for_width(pilot, 0.01, factor=1.0, rng=rng)
        enough += found.sure is not None and found.sure >= truth
        naive += theory(float(pilot.std(ddof=1)), 0.01, 1.0) >= truth
    assert enough / 400 == pytest.approx(0.9, abs=0.05)
    assert naive / 400 < 0.6


@pytest.mark.parametrize(("gap", "median", "sure"), [(0.5, 37, 80), (1.0, 12, 22), (2.0, 7, 9)])
def test_looks_of_a_sequential_audit(gap, median, sure):
    """The published pairs of the sequence, within 20 % (400 draws: standard error 5 %)."""
    found, chance = looks_to_settle(known(), 0.6 + 0.02 * gap, factor=1.0, cap=150, rng=RNG(7))
    assert found.median == pytest.approx(median, rel=0.2)
    assert found.sure == pytest.approx(sure, rel=0.2)
    assert chance > 0.98
    few, chance = looks_to_settle(known(), 0.6 + 0.02 * gap, factor=1.0, cap=4, rng=RNG(7))
    assert (few.median, chance) == (None, 0.0)


def test_pairs_to_name_is_the_first_that_can():
    for names, n in ((1, 500), (10, 10_000), (100, 10_000)):
        pairs = pairs_to_name(names, n)
        assert smallest_nameable(pairs, n) <= names
        assert not np.isnan(nameable_rate(pairs // 2, n, share=names / n)[1])
        short = smallest_nameable(pairs - 1, n)
        assert short is None or short > names or np.isnan(nameable_rate((pairs - 1) // 2, n, share=names / n)[1])


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(SettingsError, match="at least 3 pairs"):
        pairs_for_width(np.array([0.1, 0.2]), 0.01, factor=1.0, rng=RNG(0))
    with pytest.raises(SettingsError, match="half_width"):
        pairs_for_width(known(), 0.0, factor=1.0, rng=RNG(0))
    with pytest.raises(SettingsError, match="names: from 1 to 50"):
        pairs_to_name(51, 50)
    assert pairs_for_width(known(), 1e-6, factor=1.0, rng=RNG(0)).median is None
