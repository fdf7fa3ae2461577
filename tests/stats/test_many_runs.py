"""Bounds from true and false positives of independent runs: goldens, definitions, and false at most 5 % of the time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from locard.errors import SettingsError
from locard.stats import (
    clopper_pearson,
    credible_epsilon,
    epsilon_from_rates,
    epsilon_of_gdp,
    epsilon_over_thresholds,
    gdp_from_rates,
    gdp_over_thresholds,
)
from locard.stats.many_runs import _bands


@pytest.mark.parametrize(
    ("tp", "fp", "epsilon"), [(60, 1, 2.1150837), (500, 100, 1.3597314), (100, 0, 3.1044023), (0, 0, 0.0)]
)
def test_clopper_pearson_golden(tp, fp, epsilon):
    found = epsilon_from_rates(tp, 1_000, fp, 1_000, delta=1e-5)
    assert found.value == found.low == pytest.approx(epsilon, abs=1e-6)
    assert found.one_sided


@pytest.mark.parametrize(("tn", "fn", "epsilon"), [(60, 1, 2.1150837), (100, 0, 3.1044023)])
def test_the_other_side_counts_as_well(tn, fn, epsilon):
    """Non-members found for sure tell as much as members found for sure."""
    found = epsilon_from_rates(1_000 - fn, 1_000, 1_000 - tn, 1_000, delta=1e-5)
    assert found.value == pytest.approx(epsilon, abs=1e-6)


@pytest.mark.parametrize(
    ("tp", "fp", "mu", "epsilon"),
    [(60, 1, 0.855016, 3.654633), (500, 100, 1.094631, 4.861870), (100, 0, 1.288863, 5.888331)],
)
def test_gdp_golden(tp, fp, mu, epsilon):
    found = gdp_from_rates(tp, 1_000, fp, 1_000)
    assert found.value == pytest.approx(mu, abs=1e-6)
    assert epsilon_of_gdp(found, delta=1e-5).value == pytest.approx(epsilon, abs=1e-6)
    assert gdp_from_rates(0, 1_000, 0, 1_000).value == 0


@pytest.mark.parametrize(("tp", "fp"), [(60, 1), (500, 100), (0, 0), (3, 700)])
def test_credible_bound_is_the_quantile_of_its_posterior(tp, fp):
    """Against 400,000 draws of the posterior: the smallest epsilon whose region holds a draw, its 5 % quantile."""
    rng = np.random.default_rng(81)
    fnr = rng.beta(0.5 + 1_000 - tp, 0.5 + tp, size=400_000)
    fpr = rng.beta(0.5 + fp, 1_000.5 - fp, size=400_000)
    delta = 1e-5
    sides = [(1 - fnr - delta, fpr), (1 - fpr - delta, fnr), (fpr - delta, 1 - fnr), (fnr - delta, 1 - fpr)]
    least = np.max([np.log(np.maximum(a, 1e-300)) - np.log(b) for a, b in sides], axis=0)
    found = credible_epsilon(tp, 1_000, fp, 1_000, delta=delta)
    assert found.value == pytest.approx(max(0.0, np.quantile(least, 0.05)), abs=0.02)
    assert "credible" in found.method
    assert found.value >= epsilon_from_rates(tp, 1_000, fp, 1_000, delta=delta).value


def test_over_thresholds_is_its_definition():
    rng = np.random.default_rng(82)
    member = rng.random(300) < 0.4
    scores = np.round(2 * member + rng.normal(size=300), 1)  # ties
    best = 0.0
    for threshold in scores:
        tp, fp = int((scores[member] >= threshold).sum()), int((scores[~member] >= threshold).sum())
        low = float(clopper_pearson(tp, int(member.sum()), confidence=1 - 0.05 / member.sum())[0])
        high = float(clopper_pearson(fp, int((~member).sum()), confidence=1 - 0.05 / (~member).sum())[1])
        first = math.log((low - 1e-3) / high) if low > 1e-3 else 0.0
        second = math.log((1 - high - 1e-3) / (1 - low)) if 1 - high > 1e-3 else 0.0
        best = max(best, first, second)
    assert epsilon_over_thresholds(scores, member, delta=1e-3).value == pytest.approx(best, abs=1e-9)
    assert best > 0.5


def test_every_threshold_is_paid_for():
    """The bands hold at all thresholds at once: 1,500 audits of 60 members and 60 others, uniform scores, so that the
    chance to lie above t is 1 - t on both sides. Each band fails in at most 2.5 % (flake below 2e-3).

    The planted bug, the level of one fixed threshold at every threshold, fails in .2 (power above .999).
    """
    rng = np.random.default_rng(83)
    failed, unpaid, bounds = np.zeros(2), np.zeros(2), 0
    member = np.arange(120) < 60
    for _ in range(1_500):
        scores = rng.random(120)
        above = 1 - np.unique(scores)
        low, high = _bands(scores, member, 0.95)
        failed += [(low > above).any(), (high < above).any()]
        tp = (scores[:60] >= 1 - above[:, None]).sum(axis=1)
        fp = (scores[60:] >= 1 - above[:, None]).sum(axis=1)
        low, high = clopper_pearson(tp, 60)[0], clopper_pearson(fp, 60)[1]
        unpaid += [(low > above).any(), (high < above).any()]
        bounds += bool(epsilon_over_thresholds(scores, member).value or gdp_over_thresholds(scores, member).value)
    allowed = binom.ppf(1 - 1e-3, 1_500, 0.025)
    assert failed.max() <= allowed < unpaid.min()
    assert bounds <= binom.ppf(1 - 1e-3, 1_500, 0.05)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="true_positives"):
        epsilon_from_rates(11, 10, 0, 10)
    with pytest.raises(SettingsError, match="at least one member"):
        epsilon_from_rates(0, 0, 0, 10)
    with pytest.raises(SettingsError, match="delta"):
        epsilon_from_rates(1, 10, 0, 10, delta=1.0)
