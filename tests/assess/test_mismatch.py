"""Target and references compared: exact where they are made alike, and seen where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from locard.assess.mismatch import answers_alike
from locard.errors import DataError


def drawn(rng, models, records=150):
    """Answers of models made alike: a common part and each model's own."""
    common, own = rng.normal(size=(1, records, 3)), rng.normal(size=(models, records, 3))
    return common + 0.5 * own, rng.integers(3, size=records)


def test_models_made_alike_are_told_apart_no_more_often_than_said(binomial):
    """p <= 1/8 in an eighth of 2,000 worlds of 8 models (exactly: no ties).

    Seen to fail: the median taken of the references alone, from which the target is then further than they are.
    """
    rng = np.random.default_rng(4)
    p = np.array([answers_alike(z[0], z[1:], y).p for z, y in (drawn(rng, 8, records=30) for _ in range(2000))])
    binomial(int((p <= 1 / 8).sum()), 2000, 1 / 8)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_another_confidence_is_seen(scale):
    """A model that is twice as sure, or half as sure, stands out of 39 in each of 20 worlds."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        z, y = drawn(rng, 40)
        found = answers_alike(scale * z[0], z[1:], y)
        assert found.passed is False
        assert found.p == 1 / 40


def test_few_references_judge_nothing():
    z, y = drawn(np.random.default_rng(6), 15)
    found = answers_alike(9 * z[0], z[1:], y)
    assert found.passed is None
    assert found.expected == "not judged: 14 references, 19 are needed"


def test_shapes_that_do_not_fit():
    z, y = drawn(np.random.default_rng(7), 5)
    with pytest.raises(DataError, match="logits of one shape"):
        answers_alike(z[0, :9], z[1:], y)
