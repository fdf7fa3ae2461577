"""The variance factor that a learned attack declares, against the one that its mean AUC has: measured, not assumed.

Each repetition is a new null world of 8 pairs and 120 records, attacked leave-one-pair-out by the product's own code.
"""

from __future__ import annotations

import pytest

from locard.assess.scoring import score_targets
from locard.assess.selftest import world
from locard.attacks import attack
from locard.seeds import Seed
from locard.stats import auc_many, t_over_pairs

WORLDS = 200
ATTACKS = [
    ("shadow", {}),
    ("ml_leaks_1", {}),
    ("truex", {}),
    ("quantile", {}),
    ("ensemble", {}),
    ("ensemble", {"how": "union", "attacks": ("lira", "loss")}),
    ("trajectory", {}),
    ("attack_d", {}),
    ("loss_trace", {}),
]


def pair_values(made, repetition):
    w = world(Seed(1000 + repetition), models=16, records=120)
    areas = auc_many(score_targets(made, w), w.plan.member[w.plan.targets])
    return areas.reshape(-1, 2).mean(axis=1)


@pytest.mark.statistics
@pytest.mark.parametrize(("name", "settings"), ATTACKS, ids=[n + ("-union" if s else "") for n, s in ATTACKS])
def test_intervals_with_the_declared_factor_cover_one_half(name, settings):
    """Coverage of .95 at least .89: a right factor fails with chance 2e-4; lira declared 1 covers .83, caught .99.

    Measured over 150 worlds, as the factor that would be exact (a standard error is about a seventh of it): shadow 1.6,
    ml_leaks_1 1.8, truex 1.1, quantile .9, ensemble 2.3, its union 2.0; loss .8 and lira 3.0 beside them.
    """
    made = attack(name, **settings)
    hit = 0
    for repetition in range(WORLDS):
        e = t_over_pairs(pair_values(made, repetition), factor=made.variance_factor, bounds=(0.0, 1.0))
        hit += e.value is None or e.low <= 0.5 <= e.high
    assert hit / WORLDS >= 0.89
