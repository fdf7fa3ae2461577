"""The combination: its parts, its weights, what it learns from, and that it takes what serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from locard.errors import NotEnoughReferences
from locard.screen import combined, screen
from locard.screen.combined import best_mixture, measured_effect, mixtures
from locard.screen.surprise import surprises


def scaled_logit(z, y):
    return z[y] - np.log(np.exp(np.delete(z, y)).sum())


def test_effects_are_the_loop(evidence):
    """Mean IN minus mean OUT, in standard deviations of OUT."""
    seen = evidence(records=30, models=6, leak=1.0, grid=False).candidates
    found = measured_effect(seen)
    for i in range(30):
        phi = np.array(
            [scaled_logit(seen.references.logits_of(k)[i, 0].astype(float), seen.records.y[i]) for k in range(6)]
        )
        inside, outside = phi[seen.references.member[:, i]], phi[~seen.references.member[:, i]]
        size = np.clip((inside.mean() - outside.mean()) / outside.std(ddof=1), -8, 8)
        assert found[i] == pytest.approx(size, rel=1e-6)


def test_effects_that_were_not_measured_are_zero(evidence):
    e = evidence(records=5, pool=40)
    assert not measured_effect(e.candidates).any()
    found, member = measured_effect(e.pool), e.pool.references.member
    known = (member.sum(axis=0) >= 1) & ((~member).sum(axis=0) >= 2)
    np.testing.assert_array_equal(found != 0, known)


def test_surprises_are_the_loop():
    rng = np.random.default_rng(0)
    reference, parts = np.sort(rng.integers(0, 6, size=(20, 3)), axis=0), rng.integers(-1, 8, size=(9, 3))
    loop = [[-np.log((1 + sum(r >= p for r in reference[:, j])) / 21) for j, p in enumerate(row)] for row in parts]
    np.testing.assert_allclose(surprises(parts, reference), loop, atol=1e-12)


def test_all_quarters_that_add_up_to_one_are_tried():
    for parts in (1, 3, 4):
        rules = mixtures(parts)
        quarters = np.stack(np.meshgrid(*[np.arange(5)] * parts), axis=-1).reshape(-1, parts)
        wanted = {tuple(q / 4) for q in quarters if q.sum() == 4}
        assert {tuple(r) for r in rules} == wanted
        assert len(rules) == len(wanted)


def test_the_weights_are_the_mean_of_the_rules_within_one_standard_error_of_the_best():
    """As a loop, recalls of each share being relative to the best of that share."""
    rng = np.random.default_rng(3)
    rules = mixtures(3)
    recall = rng.uniform(0.1, 0.3, size=(2, 12, 15)) * np.array([1.0, 5.0])[:, None, None]
    relative = sum(recall[s] / max(recall[s, :, r].mean() for r in range(15)) for s in range(2)) / 2
    best = max(range(15), key=lambda r: relative[:, r].mean())
    near = []
    for r in range(15):
        behind = relative[:, best] - relative[:, r]
        if behind.mean() <= behind.std(ddof=1) / np.sqrt(12):
            near.append(rules[r])
    assert 1 < len(near) < 15
    recall[:, :, 14] = 0.0  # mean loss alone, clearly worse
    kept = [r for r in near if r[0] < 1]
    np.testing.assert_allclose(best_mixture(rules, recall), np.mean(kept, axis=0))


def test_a_clear_winner_stands_alone():
    rules, clear = mixtures(3), np.zeros((2, 10, 15))
    clear[:, :, 4] = 0.5
    np.testing.assert_array_equal(best_mixture(rules, clear), rules[4])


def test_half_stays_with_mean_loss_where_it_is_not_clearly_worse():
    """Without any claim all rules are alike: half of their mean, a third each, and half of mean loss."""
    rules = mixtures(3)
    np.testing.assert_allclose(best_mixture(rules, np.zeros((2, 10, 15))), [2 / 3, 1 / 6, 1 / 6])
    recall = np.zeros((2, 10, 15))
    recall[:, :, 4] = 0.5
    recall[:, :, 14] = 0.5 - 0.1 * (np.arange(10) % 2)  # 3 standard errors behind
    np.testing.assert_array_equal(best_mixture(rules, recall), rules[4])
    recall[:, :, 14] = 0.5 + np.array([0.1, -0.12] * 5)  # hardly behind: both are near
    np.testing.assert_allclose(best_mixture(rules, recall), ((rules[4] + rules[14]) / 2 + rules[14]) / 2)


@pytest.mark.parametrize("shape", [{"records": 80}, {"records": 60, "pool": 120}])
def test_the_value_never_falls_in_any_part(evidence, shape):
    """A candidate at least as far out in every part as another is valued at least as high."""
    found = screen("combined").value(evidence(models=8, leak=1.0, grid=False, **shape))
    names = ["mean_loss", "loss_spread", "isolation"] + ["own_effect"] * ("own_effect" in found.columns)
    assert len(names) == (4 if "pool" not in shape else 3)
    parts = np.column_stack([found.columns[n] for n in names])
    above = (parts[:, None] >= parts[None]).all(axis=-1)
    assert above.sum() > len(parts)  # beyond each record with itself
    assert (found.value[:, None] >= found.value[None] - 1e-12)[above].all()
    weights = np.array(list(found.settled["weights"].values()))
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)


def test_it_learns_from_the_pool_and_not_from_the_candidates(evidence):
    """The same pool gives the same weights whatever the candidates: calibration records are valued by the same rule,
    and what was learnt is what a pool of its own would teach."""
    one, two = evidence(records=10, pool=200, models=8), evidence(records=33, pool=200, models=8, seed=9)
    swapped = replace(one, candidates=two.candidates)
    a, b = screen("combined").value(one), screen("combined").value(swapped)
    assert a.settled == b.settled
    assert a.value.shape != b.value.shape
    afresh = screen("combined").value(evidence(records=10, pool=200, models=8))
    np.testing.assert_array_equal(afresh.value, a.value)


def test_only_so_many_records_are_learnt_from_and_which_do_not_depend_on_their_order(evidence, observed, monkeypatch):
    monkeypatch.setattr(combined, "MOST", 60)
    e = evidence(records=10, pool=200, models=10)
    order = np.random.default_rng(0).permutation(200)
    refs = e.pool.references
    z = np.stack([refs.logits_of(k) for k in refs])
    again = observed(z[:, order], e.pool.records.y[order], refs.member[:, order])
    records = e.pool.records.select(order)
    moved = replace(e, pool=type(again)(records, again.references))
    plain = replace(e, pool=type(again)(e.pool.records, observed(z, e.pool.records.y, refs.member).references))
    a, b = screen("combined").value(plain), screen("combined").value(moved)
    assert a.settled["learnt_from"] <= 60
    assert a.settled == b.settled
    np.testing.assert_allclose(a.value, b.value, rtol=1e-6)


def test_too_few_references_to_learn_from_are_said(evidence):
    with pytest.raises(NotEnoughReferences, match="at least 50 over all references, found 0"):
        screen("combined").value(evidence(records=60, models=4))
