"""The trap of balanced designs, through the whole of scoring: on a target that leaks nothing every AUC is one half.

Every case is the mean over independent worlds, within 4 standard errors over worlds: a right program fails one with
chance 6e-5. Seeds are fixed. ``PlainMean`` is an attack that reads how many references hold a record, so that it finds
the target's answer wherever a design gives it away; in the planted cases it is off by more than 4 standard errors.
"""

from __future__ import annotations

import numpy as np
import pytest

from locard.assess.choose import fewest_references
from locard.assess.scoring import score_targets
from locard.attacks import attack
from locard.plan.given import from_mask
from locard.plan.plan import Plan
from locard.stats import auc_many

WORLDS, RECORDS = 50, 160


def balanced(models: int, seed: int) -> np.ndarray:
    """Every record in exactly half the models; no row is another's complement."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(models) < models // 2 for _ in range(RECORDS)], axis=1)


def standard_errors_from_half(chosen, worlds) -> float:
    areas = []
    for audited in worlds:
        scores = score_targets(chosen, audited)
        areas.append(auc_many(scores, audited.member).mean())
    return float((np.mean(areas) - 0.5) / (np.std(areas, ddof=1) / np.sqrt(len(areas))))


def pair_worlds(world, models):
    return [world(seed=i, models=models, records=RECORDS) for i in range(WORLDS)]


def mask_worlds(world, models):
    return [world(from_mask(balanced(models, i)), seed=i) for i in range(WORLDS)]


@pytest.fixture(params=["lira", "plain mean"])
def chosen(request, plain_mean):
    return plain_mean if request.param == "plain mean" else attack(request.param)


def runs(chosen, audited) -> bool:
    inside, outside = fewest_references(audited.plan)
    return chosen.needs.missing(inside=inside, outside=outside, population=0) is None


@pytest.mark.parametrize("models", [4, 8, 16])
def test_a_null_target_scores_one_half_for_pairs(world, chosen, models):
    worlds = pair_worlds(world, models)
    if not runs(chosen, worlds[0]):
        pytest.skip("too few references: this attack is refused there")
    assert abs(standard_errors_from_half(chosen, worlds)) <= 4


@pytest.mark.parametrize("models", [4, 8, 16])
def test_a_null_target_scores_one_half_for_balanced_masks_that_users_bring(world, chosen, models):
    worlds = mask_worlds(world, models)
    if not runs(chosen, worlds[0]):
        pytest.skip("too few references: this attack is refused there")
    assert abs(standard_errors_from_half(chosen, worlds)) <= 4


@pytest.mark.parametrize("models", [4, 8, 16])
def test_planted_keeping_the_partner_is_caught(world, plain_mean, monkeypatch, models):
    monkeypatch.setattr(Plan, "left_out", lambda self, target: [target])
    assert abs(standard_errors_from_half(plain_mean, pair_worlds(world, models))) > 8


@pytest.mark.parametrize("models", [4, 8, 16])
def test_planted_not_thinning_a_balanced_mask_is_caught(world, plain_mean, monkeypatch, models):
    monkeypatch.setattr(Plan, "thin", property(lambda self: False))
    assert abs(standard_errors_from_half(plain_mean, mask_worlds(world, models))) > 8


def test_planted_trusting_a_users_pairing_that_is_none_is_caught(world, plain_mean):
    """What ``from_mask`` did before it looked: the design 'pairs' for whatever the user called partners."""
    named = np.arange(8) ^ 1
    worlds = [world(from_mask(balanced(8, i), pairs=named), seed=i) for i in range(WORLDS)]
    assert all(w.plan.thin for w in worlds)
    assert abs(standard_errors_from_half(plain_mean, worlds)) <= 4
