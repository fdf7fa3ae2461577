"""A target that was trained on no candidate: the whole chain, from trained trees to claims, claims hardly anything."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.tree import DecisionTreeClassifier

from locard.attacks.gmia import GMIA
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.target import Target
from locard.stats import selected_alike

CANDIDATES, HELD_OUT, TRAINING, SCREEN, TEST = 60, 180, 80, 8, 16


def drawn(rng, n):
    """Records whose labels hang on their features in part; a few lie far out, where trees disagree."""
    x = rng.normal(size=(n, 3)) * np.where(rng.random((n, 1)) < 0.15, 3.0, 1.0)
    y = (x[:, 0] + 0.7 * rng.normal(size=n) > 0).astype(np.int64)
    return x, y


def world(seed, *, alike=True, fdr=0.2):
    """Claims of one independent world: fresh records, references, target, candidates, held-out records."""
    rng = np.random.default_rng(seed)
    pool_x, pool_y = drawn(rng, 240)
    asked_x, asked_y = drawn(rng, CANDIDATES + HELD_OUT)
    asked_y[:2] = (0, 1)

    def answers(x, y):
        y[:2] = (0, 1)
        tree = DecisionTreeClassifier(max_depth=5, min_samples_leaf=2, random_state=int(rng.integers(2**31)))
        p = (tree.fit(x, y).predict_proba(asked_x) * 10 + 0.5) / 11  # votes smoothed, so that no answer is certain
        return np.log(p)

    bags = [rng.integers(len(pool_x), size=TRAINING) for _ in range(SCREEN + TEST)]
    said = np.stack([answers(pool_x[b], pool_y[b].copy()) for b in bags] + [answers(*drawn(rng, TRAINING))])
    loss = -said[:SCREEN, np.arange(len(asked_y)), asked_y].mean(axis=0)
    order = np.argsort(-loss[:CANDIDATES], kind="stable")
    selected = np.zeros(CANDIDATES, dtype=bool)
    selected[order[:25]] = True
    like, covered = selected_alike(selected, loss[:CANDIDATES], loss[CANDIDATES:])
    if not alike:
        like = np.ones(HELD_OUT, dtype=bool)
    records = Records(
        ids=np.arange(CANDIDATES), features=asked_x[:CANDIDATES], labels=asked_y[:CANDIDATES], known_classes=[0, 1]
    )

    def seen(part):
        z = said[:, part].astype(np.float32)
        nobody = np.zeros((TEST, z.shape[1]), dtype=bool)
        return Target.from_arrays(logits=z[-1]), References.from_arrays(logits=z[SCREEN:-1], member=nobody)

    target, references = seen(slice(0, CANDIDATES))
    population = Population(asked_y[CANDIDATES:], *seen(slice(CANDIDATES, None)))
    return GMIA(fdr=fdr).claim(
        target, records, references, population=population, selected=covered, population_selected=like
    )


@pytest.mark.statistics
def test_a_target_that_knows_nobody_is_hardly_ever_accused():
    """240 independent targets: any claim at all is a false one, in at most a fifth of the worlds at fdr .2.

    - no member is among the candidates, so the false discovery rate is the share of worlds with a claim
    - fails by chance once in 1e9 runs; seen to fail: calibration on held-out records whatever the screen says of them
    """
    claims = [world(seed) for seed in range(240)]
    assert all(c.calibration >= 20 for c in claims)
    assert sum(bool(c.claimed.any()) for c in claims) <= binom.isf(1e-9, 240, 0.2)
    unlike = [world(seed, alike=False) for seed in range(120)]  # the planted fault must be seen
    assert sum(bool(c.claimed.any()) for c in unlike) > binom.isf(1e-4, 120, 0.2)
