from __future__ import annotations

import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.gap import Gap


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    loop = slow(w).scores(lambda r, q: float(np.argmax(w.logits[0, r, q]) == w.y[r]))
    np.testing.assert_array_equal(w.score(Gap()), loop)


def test_its_best_advantage_is_the_generalisation_gap(world, auc):
    w = world(records=500, leak=2.0)
    right = w.score(attack("gap"))
    gap = right[w.truth].mean() - right[~w.truth].mean()
    assert auc(right, w.truth) == pytest.approx(0.5 + gap / 2)  # the area under a ROC of one corner


def test_ties_between_classes_go_to_the_first():
    from locard.data.records import Records
    from locard.observe.target import Target

    records = Records(ids=[1, 2], features=np.zeros((2, 1)), labels=[0, 1])
    assert Gap().score(Target.from_arrays(logits=np.zeros((2, 2))), records, None).tolist() == [1.0, 0.0]
