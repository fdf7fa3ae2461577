from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks.loss import Loss
from locard.data.records import Records
from locard.observe.target import Target


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)
    np.testing.assert_allclose(w.score(Loss()), s.scores(lambda r, q: np.log(s.own(0, r, q))), rtol=1e-6)


def test_losses_of_very_sure_models_do_not_tie():
    """In float64 1 - exp(-50) is 1: a softmax of these logits would call both losses 0."""
    records = Records(ids=[1, 2, 3], features=np.zeros((3, 1)), labels=[0, 0, 1])
    scores = Loss().score(Target.from_arrays(logits=[[50.0, 0.0], [60.0, 0.0], [0.0, 1.0]]), records, None)
    assert scores[:2] == pytest.approx([-np.exp(-50), -np.exp(-60)], rel=1e-12)
    assert scores[0] < scores[1] < 0


@pytest.mark.parametrize("delta", [0.5, 1.5])
def test_a_known_shift_is_found_as_much_as_theory_says(delta, shifted, auc, bound):
    """Equal difficulty: members' scaled logit ~ N(delta, 1), so AUC = Phi(delta / sqrt 2). A flipped sign gives .14."""
    w = shifted(delta, models=4, records=20_001)
    assert auc(w.score(Loss())[1:], w.truth[1:]) == pytest.approx(norm.cdf(delta / np.sqrt(2)), abs=bound(20_000))
