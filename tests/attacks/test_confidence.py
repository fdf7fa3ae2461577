from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks.confidence import Confidence
from locard.attacks.loss import Loss


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)
    np.testing.assert_allclose(w.score(Confidence()), s.scores(lambda r, q: s.phi(0, r, q)), rtol=1e-9, atol=1e-12)


def test_one_query_orders_records_as_the_loss_does(world):
    w = world(records=200)
    assert (np.diff(w.score(Loss())[np.argsort(w.score(Confidence()))]) >= 0).all()


def test_a_known_shift_is_found_as_much_as_theory_says(shifted, auc, bound):
    w = shifted(1.0, models=4, records=20_001)
    assert auc(w.score(Confidence())[1:], w.truth[1:]) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=bound(20_000))
