from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks import attack
from locard.attacks.mentr import Mentr, thresholds_of
from locard.errors import SettingsError


def mentr_loop(p: np.ndarray, y: int) -> float:
    others = sum(float(p[c]) * float(np.log(1 - p[c])) for c in range(len(p)) if c != y)
    return -(1 - float(p[y])) * float(np.log(p[y])) - others


def threshold_loop(values: np.ndarray, member: np.ndarray) -> float:
    """Song and Mittal, all candidates in turn: members are those at most v; the strictest of the best."""
    if not member.any() or member.all():
        return np.nan
    best, chosen = -1.0, np.nan
    for v in sorted(values):
        accuracy = 0.5 * (np.mean(values[member] <= v) + np.mean(values[~member] > v))
        if accuracy > best + 1e-12:
            best, chosen = accuracy, v
    return float(chosen)


def values_of(w, s, model: int) -> np.ndarray:
    return s.scores(lambda r, q: mentr_loop(s.p(model, r, q), w.y[r]))


def test_it_equals_the_loop(world, slow):
    w = world(queries=2, seed=4)
    s = slow(w)
    learnt = []
    for k in range(2, 8):
        values = values_of(w, s, k)
        learnt.append([threshold_loop(values[w.y == c], w.member[k, w.y == c]) for c in range(3)])
    assert np.isfinite(learnt).any()
    expected = np.nanmedian(learnt, axis=0)[w.y] - values_of(w, s, 0)
    np.testing.assert_allclose(w.score(Mentr()), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(w.score(Mentr(thresholds="none")), -values_of(w, s, 0), rtol=1e-9)


def test_a_class_without_members_or_non_members_takes_no_threshold_from_that_reference(world, slow):
    w = world(records=12, classes=3, seed=5)
    member = w.member.copy()
    member[2:, w.y == 2] = [[True]] * 3 + [[False]] * 3  # no reference can tell: the other classes' median stands in
    w = type(w)(w.records, w.logits, member, w.population_logits, w.population_y)
    s = slow(w)
    references = w.references()
    assert np.isnan([thresholds_of(references, k, 3)[2] for k in references]).all()
    others = []
    for c in range(2):
        found = [threshold_loop(values_of(w, s, k)[w.y == c], member[k, w.y == c]) for k in range(2, 8)]
        others.append(np.nanmedian(found))
    expected = np.array([*others, np.median(others)])[w.y] - values_of(w, s, 0)
    np.testing.assert_allclose(w.score(Mentr()), expected, rtol=1e-9, atol=1e-12)


def test_ties_are_taken_together(world):
    """Six equal values, three of them members: no threshold splits them."""
    w = world(records=6, classes=2, seed=1)
    w = type(w)(w.records, np.zeros_like(w.logits), w.member, w.population_logits[:, :0], w.population_y[:0])
    assert len(set(w.score(Mentr()).tolist())) == 1


def test_within_a_class_thresholds_leave_the_order_alone(world):
    w = world(records=90, seed=6)
    plain, learnt = w.score(Mentr(thresholds="none")), w.score(Mentr())
    for c in range(3):
        np.testing.assert_allclose(np.ptp((learnt - plain)[w.y == c]), 0, atol=1e-9)


def test_a_known_shift_is_found_as_much_as_theory_says(shifted, auc, bound):
    """Binary: the modified entropy falls with the scaled logit, so AUC = Phi(delta / sqrt 2) in both modes."""
    w = shifted(1.0, models=6, records=20_001)
    for made in (Mentr(), Mentr(thresholds="none")):
        assert auc(w.score(made)[1:], w.truth[1:]) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=bound(20_000))


def test_thresholds_help_where_classes_differ(world, auc):
    """Class 0 is easy for all models: without thresholds its non-members look like members."""
    w = world(records=4_000, models=10, leak=1.5, seed=9)
    logits = w.logits + 6.0 * (w.y == 0)[:, None, None] * (np.arange(3) == 0)
    w = type(w)(w.records, logits.astype(np.float32), w.member, w.population_logits, w.population_y)
    plain, learnt = (auc(w.score(a), w.truth) for a in (Mentr(thresholds="none"), Mentr()))
    assert learnt > plain + 0.01


def test_settings_are_checked():
    with pytest.raises(SettingsError, match="'references' or 'none' is needed, found 'some'"):
        attack("mentr", thresholds="some")
