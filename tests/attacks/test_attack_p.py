from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from locard.attacks.attack_p import AttackP
from locard.attacks.loss import Loss


def test_it_equals_the_loop(world, slow):
    w = world(population=9)
    s = slow(w)
    population = [
        -np.log(np.exp(z[0].astype(float))[y] / np.exp(z[0].astype(float)).sum())
        for z, y in zip(w.population_logits[0], w.population_y, strict=True)
    ]
    known = sorted(population)

    def formula(r: int, q: int) -> float:
        loss = -np.log(s.own(0, r, q))
        under, ties = sum(o < loss - 1e-12 for o in known), sum(abs(o - loss) <= 1e-12 for o in known)
        place = under + (ties + 1) / 2 if ties else np.interp(loss, [0.0, *known], range(10))
        f = 1 - known[-1] / loss / 10 if under == 9 else place / 10
        return float(np.log((1 - f) / f))

    np.testing.assert_allclose(w.score(AttackP()), s.scores(formula), rtol=1e-6, atol=1e-9)


def test_its_order_is_that_of_the_loss(world):
    w = world(records=400, population=30)
    order = np.argsort(w.score(Loss()))
    assert (np.diff(w.score(AttackP())[order]) >= -1e-9).all()


def test_its_scale_is_a_p_value_for_records_like_the_population(shifted, auc):
    """Records and population of one distribution: F is uniform (one-sample KS; seeded, about 1 in 1,000 to fail).

    Planted bug: places counted from the wrong end (F for 1 - F) passes this, and fails the sign test beside it.
    """
    w = shifted(0.0, models=4, records=3_001)
    part, z, zy = w.records.select(np.arange(1, 1_501)), w.logits[:, 1_501:], w.y[1_501:]
    scored = type(w)(part, w.logits[:, 1:1_501], w.member[:, 1:1_501], z, zy)
    share = 1 / (1 + np.exp(scored.score(AttackP())))
    assert kstest(share, "uniform").pvalue > 1e-3
    leaking = shifted(1.5, models=4, records=3_001)
    leaking = type(w)(leaking.records, leaking.logits, leaking.member, z, zy)
    assert auc(leaking.score(AttackP())[1:], leaking.truth[1:]) > 0.8


def test_one_population_record_is_enough_to_run(world):
    assert np.isfinite(world(population=1).score(AttackP())).all()


@pytest.mark.parametrize("queries", [1, 3])
def test_queries_are_averaged_first(queries, world):
    w = world(queries=queries, population=25)
    assert w.score(AttackP()).shape == (20,)
