from __future__ import annotations

import numpy as np
import pytest

from locard.attacks.instance_vector import InstanceVector
from locard.data.records import Records
from locard.errors import NotEnoughReferences
from locard.observe.references import References
from locard.observe.target import Target


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return sum(float(a) * float(np.log(a / b)) for a, b in zip(p, q, strict=True) if a > 0)


def test_it_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)

    def formula(r: int, q: int) -> float:
        inside, outside = (np.mean([s.p(k, r, q) for k in side], axis=0) for side in s.sides(r))
        return divergence(outside, s.p(0, r, q)) - divergence(inside, s.p(0, r, q))

    np.testing.assert_allclose(w.score(InstanceVector()), s.scores(formula), rtol=1e-8, atol=1e-10)


def test_closed_form():
    """Target = IN mean (.8, .2), OUT mean (.5, .5): the score is KL((.5, .5) || (.8, .2)) = log 1.25."""
    records = Records(ids=range(2), features=np.zeros((2, 1)), labels=[0, 1])
    seen = np.array([[[0.8, 0.2]] * 2, [[0.5, 0.5]] * 2])
    references = References.from_arrays(probabilities=seen, member=[[True] * 2, [False] * 2])
    score = InstanceVector().score(Target.from_arrays(probabilities=seen[0]), records, references)
    assert score == pytest.approx([np.log(1.25)] * 2, rel=1e-6)
    turned = References.from_arrays(probabilities=seen, member=[[False] * 2, [True] * 2])
    score = InstanceVector().score(Target.from_arrays(probabilities=seen[0]), records, turned)
    assert score == pytest.approx([-np.log(1.25)] * 2, rel=1e-6)


def test_swapping_in_and_out_turns_every_sign(world):
    w = world(models=12, records=50)
    turned = type(w)(w.records, w.logits, ~w.member, w.population_logits, w.population_y)
    np.testing.assert_allclose(turned.score(InstanceVector()), -w.score(InstanceVector()), atol=1e-10)


def test_certain_models_give_finite_scores():
    records = Records(ids=range(2), features=np.zeros((2, 1)), labels=[0, 1])
    sure = np.array([[[5e3, 0.0]] * 2, [[0.0, 5e3]] * 2])
    references = References.from_arrays(logits=sure, member=[[True] * 2, [False] * 2])
    score = InstanceVector().score(Target.from_arrays(logits=sure[0]), records, references)
    assert score == pytest.approx([-np.log(1e-12)] * 2)


def test_a_leak_is_found_and_grows_with_references(world, auc):
    """No closed form: .5 at no leak (test_null), and more with 15 references a side than with 1."""
    few, many = (world(models=m, records=4_000, leak=2.0, seed=3) for m in (4, 32))
    found = [auc(w.score(InstanceVector()), w.truth) for w in (few, many)]
    assert 0.58 < found[0] < found[1] - 0.02


def test_records_without_one_side_are_refused(world):
    w = world(models=4)
    member = w.member.copy()
    member[2:, 7] = True
    with pytest.raises(NotEnoughReferences, match="InstanceVector needs 1 reference model trained without each record"):
        type(w)(w.records, w.logits, member, w.population_logits, w.population_y).score(InstanceVector())
