from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks.entropy import Entropy
from locard.data.records import Records
from locard.observe.target import Target


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)
    loop = s.scores(lambda r, q: sum(float(p) * float(np.log(p)) for p in s.p(0, r, q)))
    np.testing.assert_allclose(w.score(Entropy()), loop, rtol=1e-9)


def test_it_does_not_look_at_the_label():
    records = [Records(ids=range(3), features=np.zeros((3, 1)), labels=labels) for labels in ([0, 1, 2], [2, 0, 1])]
    target = np.random.default_rng(0).normal(size=(3, 3))
    scores = [Entropy().score(Target.from_arrays(logits=target), r, None) for r in records]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_golden():
    """p = (.7, .2, .1): entropy .8018185525."""
    records = Records(ids=range(2), features=np.zeros((2, 1)), labels=[0, 1])
    target = Target.from_arrays(probabilities=[[0.7, 0.2, 0.1], [0.1, 0.7, 0.2]])
    assert Entropy().score(target, records, None) == pytest.approx([-0.8018185525] * 2, abs=1e-6)


def test_a_known_shift_is_found_as_much_as_theory_says(shifted, auc, bound):
    """Binary, scaled logit s ~ N(1, 1) or N(3, 1): the entropy falls with |s|, so AUC = P(|N(3,1)| > |N(1,1)|)."""
    w = shifted(2.0, models=4, records=20_001)
    x = np.linspace(-9, 12, 200_001)
    below = norm.cdf(np.abs(x) - 1) - norm.cdf(-np.abs(x) - 1)
    theory = np.trapezoid(norm.pdf(x - 3) * below, x)
    assert auc(w.score(Entropy())[1:], w.truth[1:]) == pytest.approx(theory, abs=bound(20_000))
