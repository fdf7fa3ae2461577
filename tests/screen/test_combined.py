"""The combination: its parts, its weights, and what the candidates' own effect adds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from locard.errors import NotEnoughReferences
from locard.screen import combined, screen
from locard.screen.combined import Effects, fit, measured_effects, surprises


def scaled_logit(z, y):
    return z[y] - np.log(np.exp(np.delete(z, y)).sum())


def test_effects_are_the_loop(evidence):
    """Mean IN minus mean OUT, in standard deviations of OUT; not measured without IN or with one OUT reference."""
    e = evidence(records=30, models=6, leak=1.0, grid=False)
    seen = e.candidates
    found = measured_effects(seen)
    for i in range(30):
        phi = np.array(
            [scaled_logit(seen.references.logits_of(k)[i, 0].astype(float), seen.records.y[i]) for k in range(6)]
        )
        inside, outside = phi[seen.references.member[:, i]], phi[~seen.references.member[:, i]]
        size = np.clip((inside.mean() - outside.mean()) / outside.std(ddof=1), -8, 8)
        assert found.size[i] == pytest.approx(size, rel=1e-6)
        assert found.variance[i] == pytest.approx(1 / 3 + 1 / 3)


def test_effects_of_records_that_no_reference_holds_are_not_known(evidence):
    e = evidence(records=5, pool=40)
    assert np.isinf(measured_effects(e.candidates).variance).all()
    found, member = measured_effects(e.pool), e.pool.references.member
    known = (member.sum(axis=0) >= 1) & ((~member).sum(axis=0) >= 2)
    np.testing.assert_array_equal(np.isfinite(found.variance), known)


def test_surprises_are_the_loop():
    rng = np.random.default_rng(0)
    reference, parts = np.sort(rng.integers(0, 6, size=(20, 3)), axis=0), rng.integers(-1, 8, size=(9, 3))
    loop = [[-np.log((1 + sum(r >= p for r in reference[:, j])) / 21) for j, p in enumerate(row)] for row in parts]
    np.testing.assert_allclose(surprises(parts, reference), loop, atol=1e-12)


def test_weights_are_the_weighted_least_squares_that_are_not_negative():
    rng = np.random.default_rng(1)
    parts, noise = rng.gamma(2.0, size=(400, 3)), rng.uniform(0.05, 0.5, size=400)
    scores = surprises(parts, np.sort(parts, axis=0))
    size = 0.2 + scores @ [0.7, 0.0, 0.3] - 0.2 * scores[:, 1] + rng.normal(size=400) * np.sqrt(noise)
    learnt = fit(parts, Effects(size, noise))
    design = np.column_stack([np.ones(400), scores])
    slow = lsq_linear(design / np.sqrt(noise)[:, None], size / np.sqrt(noise), bounds=(0, np.inf), tol=1e-12).x
    np.testing.assert_allclose(learnt.weights, slow, atol=1e-5)
    assert learnt.weights[2] == 0  # the part that goes the wrong way is left out, not turned round
    np.testing.assert_allclose(learnt.predict(parts), design @ slow, atol=1e-4)


def test_known_effects_are_learnt_back():
    """Effects that are 0.5 x the surprise of the second part, with known noise: the weight is within 5 standard errors
    (flake 6e-7), and the excess variance within 5 of its own. Power against weighting by the variance instead of the
    precision: the noisy half then decides, seen to fail."""
    rng = np.random.default_rng(2)
    n = 4000
    parts = rng.normal(size=(n, 3))
    noise = np.where(np.arange(n) % 2, 0.1, 9.0)
    scores = surprises(parts, np.sort(parts, axis=0))
    size = 0.5 * scores[:, 1] + rng.normal(size=n) * np.sqrt(noise + 0.25)
    learnt = fit(parts, Effects(size, noise))
    se = np.sqrt((noise + 0.25) / noise**2).mean() ** 0.5 / np.sqrt((1 / noise).sum())
    assert learnt.weights[2] == pytest.approx(0.5, abs=5 * 0.6 / np.sqrt(n / 2))
    assert se < 0.05
    assert learnt.variance == pytest.approx(0.25, abs=5 * 0.35 * np.sqrt(2 / (n / 2)) + 0.02)


def test_the_own_effect_weighs_what_its_error_leaves_it(evidence):
    """value = prediction + v / (v + error variance) x (own effect - prediction), v learnt from all."""
    e = evidence(records=80, models=12, leak=1.0, grid=False)
    found = screen("combined").value(e)
    own = measured_effects(e.candidates)
    share = found.columns["own_weight"]
    ratio = share / (1 - share) * own.variance
    assert ratio.min() == pytest.approx(ratio.max())  # one v for all
    predicted = found.columns["predicted"]
    np.testing.assert_allclose(found.value, predicted + share * (own.size - predicted))
    outside = screen("combined").value(evidence(records=10, pool=200, models=12))
    assert (outside.columns["own_weight"] == 0).all()
    np.testing.assert_array_equal(outside.value, outside.columns["predicted"])


def test_it_learns_from_the_pool_and_not_from_the_candidates(evidence):
    """The same pool gives the same weights whatever the candidates: calibration records are valued by the same rule."""
    from dataclasses import replace

    one, two = evidence(records=10, pool=200), evidence(records=33, pool=200, seed=9)
    swapped = replace(one, candidates=two.candidates)
    a, b = screen("combined").value(one), screen("combined").value(swapped)
    assert a.settled == b.settled
    assert a.value.shape != b.value.shape


def test_only_so_many_records_are_learnt_from_and_which_do_not_depend_on_their_order(evidence, observed, monkeypatch):
    monkeypatch.setattr(combined, "MOST", 60)
    from dataclasses import replace

    e = evidence(records=10, pool=200)
    order = np.random.default_rng(0).permutation(200)
    refs = e.pool.references
    z = np.stack([refs.logits_of(k) for k in refs])
    again = observed(z[:, order], e.pool.records.y[order], refs.member[:, order])
    records = e.pool.records.select(order)
    moved = replace(e, pool=type(again)(records, again.references))
    a, b = screen("combined").value(e), screen("combined").value(moved)
    assert a.settled["learnt_from"] == 60
    np.testing.assert_allclose(a.value, b.value, rtol=1e-6)


def test_too_few_records_to_learn_from_are_said(evidence):
    with pytest.raises(NotEnoughReferences, match="at least 50 reference records"):
        screen("combined").value(evidence(records=10, pool=20))
