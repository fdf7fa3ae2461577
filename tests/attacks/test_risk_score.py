from __future__ import annotations

import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.risk_score import FLOOR, RiskScore
from locard.errors import SettingsError
from locard.observe.signals import ModifiedEntropy


def risk_loop(value: float, inside: np.ndarray, outside: np.ndarray, bins: int) -> float:
    """Song and Mittal's histogram for one record of a class."""
    pooled = np.concatenate([inside, outside])
    edges = np.exp(np.linspace(np.log(pooled.min()), np.log(pooled.max()), bins + 1))
    inner = edges[1:-1]
    bin_of = lambda v: int(np.sum(v >= inner))  # noqa: E731 - out of range falls in the first or last bin
    shares = [np.bincount([bin_of(v) for v in side], minlength=bins) / len(side) for side in (inside, outside)]
    place = bin_of(value)
    for away in range(bins):
        for near in (place - away, place + away):  # the left one first
            if 0 <= near < bins and shares[0][near] + shares[1][near] > 0:
                return float(shares[0][near] / (shares[0][near] + shares[1][near]))
    raise AssertionError("every class has a filled bin")


@pytest.mark.parametrize("bins", [1, 3, 5, 12])
def test_it_equals_the_loop(bins, world):
    w = world(queries=2, seed=2)
    value = w.target().observe(ModifiedEntropy()).mean(axis=-1)
    references = w.references()
    seen = np.maximum([references.signal_of(ModifiedEntropy(), k).mean(axis=-1) for k in references], FLOOR)
    expected = []
    for r in range(20):
        own = w.y == w.y[r]
        inside, outside = (seen[:, own][m[:, own]] for m in (w.member[2:], ~w.member[2:]))
        expected.append(risk_loop(max(value[r], FLOOR), inside, outside, bins))
    np.testing.assert_allclose(w.score(RiskScore(bins=bins)), expected, rtol=1e-12)


def test_the_score_is_a_calibrated_probability(world):
    """Of records with risk near r, about a share r are members: 4 binomial standard errors a bin, flake 1e-3 in all.

    Planted bug: shares of the bin counts swapped (r for 1 - r).
    """
    w = world(records=30_000, models=20, leak=2.0, seed=3)
    risk = w.score(RiskScore())
    assert np.ptp(risk) > 0.4
    for value in np.unique(risk):
        here = risk == value
        if here.sum() >= 100:
            spread = np.sqrt(max(value * (1 - value), 0.01) / here.sum())
            assert abs(w.truth[here].mean() - value) < 4 * spread + 0.01  # the reference histograms' own error


def test_constant_outputs_say_nothing(world):
    w = world(seed=4)
    w = type(w)(w.records, np.zeros_like(w.logits), w.member, w.population_logits, w.population_y)
    assert set(w.score(RiskScore()).tolist()) == {0.5}


def test_settings_are_checked():
    with pytest.raises(SettingsError, match=r"risk_score.bins: a whole number of at least 1 is needed, found 0"):
        attack("risk_score", bins=0)
    with pytest.raises(SettingsError, match=r"a whole number of at least 1 is needed, found 2\.5"):
        attack("risk_score", bins=2.5)
