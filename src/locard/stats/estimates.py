"""``measure``: what saved scores say, for one target or for a training procedure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from numpy.typing import ArrayLike

from locard.errors import SettingsError
from locard.seeds import Seed
from locard.stats.epsilon import epsilon_lower_bound
from locard.stats.inputs import checked
from locard.stats.intervals import (
    auc_one_target,
    balanced_accuracy_one_target,
    pair_means,
    t_over_pairs,
    tpr_estimate,
)
from locard.stats.rates import one_target_box
from locard.stats.summaries import summarise
from locard.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Estimates of one attack. ``tpr`` maps each nominal FPR to its estimate."""

    auc: Estimate
    tpr: Mapping[float, Estimate]
    balanced_accuracy: Estimate
    epsilon: Estimate


def measure(
    scores: ArrayLike,
    member: ArrayLike,
    fprs: Sequence[float] = (0.001, 0.01),
    *,
    confidence: float = 0.95,
    coin_flips: bool = False,
    all_members_audited: bool = False,
    pair: ArrayLike | None = None,
    factor: float = 2.5,
    seed: int = 0,
) -> Measurement:
    """AUC, TPR at each FPR, balanced accuracy and an epsilon lower bound, each with its interval or a reason.

    Args:
        scores: float[records] of one target: the statement is about *this model*. Or float[targets, records] with
            ``pair``: the statement is about the training procedure on these records, by t over pairs.
        member: bool of the same shape.
        fprs: nominal false positive rates, strictly between 0 and 1.
        confidence: of each interval.
        coin_flips: every membership was an independent fair coin. Only then is there an epsilon bound (one target).
        all_members_audited: one target whose members are all here: its TPR is counted, only its FPR is uncertain. Of
            several targets, this concerns the first where it stands in for all.
        pair: int[targets], the pair of each target; needed for, and only for, several targets.
        factor: the attack's variance factor over pairs; 2.5, the largest, is right or careful for every attack.
        seed: of the random halves and of the order among tied scores.

    Raises:
        SettingsError: NaN scores, shapes that differ, an FPR outside (0, 1), ``pair`` missing or not wanted.

    >>> scores, member = np.arange(2000.0) % 1000, np.arange(2000) >= 900
    >>> result = measure(scores, member, fprs=[0.01])
    >>> result.auc, result.tpr[0.01]
    (0.5909 [0.5661, 0.6153], 0.1891 [0.1581, 0.2256])
    >>> result.epsilon
    undefined: an epsilon bound needs coin_flips=True: memberships drawn as independent fair coins
    """
    values = np.asarray(scores, dtype=np.float64)
    inside = np.asarray(member)
    if values.ndim == 1 and pair is None:
        values, inside = checked(values, inside)
        return _one_target(values, inside, tuple(fprs), confidence, coin_flips, all_members_audited, Seed(seed))
    pairs = np.asarray(() if pair is None else pair)
    if values.ndim != 2 or inside.shape != values.shape or pairs.shape != values.shape[:1] or not pairs.size:
        raise SettingsError(
            "scores: records of one target, or targets x records with pair=, one number a target, are needed, found "
            f"shapes {values.shape} (scores), {inside.shape} (member), {pairs.shape} (pair)."
        )
    _, flat = checked(values.ravel(), inside.ravel())
    member_table = flat.reshape(values.shape)
    first = _one_target(values[0], member_table[0], tuple(fprs), confidence, False, all_members_audited, Seed(seed))
    return _procedure(values, member_table, first, confidence, pairs, factor, Seed(seed))


def _one_target(
    scores: Float64[np.ndarray, "records"],
    member: Bool[np.ndarray, "records"],
    fprs: tuple[float, ...],
    confidence: float,
    coin_flips: bool,
    all_members_audited: bool,
    seed: Seed,
) -> Measurement:
    halves = seed.child("measure", "halves", 0).generator()
    if coin_flips:
        ties = seed.child("measure", "ties").generator()
        epsilon = epsilon_lower_bound(scores, member, rng=ties, confidence=confidence)
    else:
        epsilon = Estimate.undefined(
            "an epsilon bound needs coin_flips=True: memberships drawn as independent fair coins"
        )
    boxes = {
        fpr: one_target_box(scores, member, fpr, confidence=confidence, all_members_audited=all_members_audited)
        for fpr in fprs
    }
    return Measurement(
        auc=auc_one_target(scores, member, confidence=confidence),
        tpr=boxes,
        balanced_accuracy=balanced_accuracy_one_target(scores, member, rng=halves, confidence=confidence),
        epsilon=epsilon,
    )


def _procedure(
    scores: Float64[np.ndarray, "targets records"],
    member: Bool[np.ndarray, "targets records"],
    first: Measurement,
    confidence: float,
    pair: Shaped[np.ndarray, "targets"],
    factor: float,
    seed: Seed,
) -> Measurement:
    """By t over pairs; the first target stands in where all pairs are equal (it was not picked by its result)."""
    grid, fprs = np.ones(1), tuple(first.tpr)
    rows = [
        summarise(row, inside, fprs=fprs, grid=grid, rng=seed.child("measure", "halves", target).generator())
        for target, (row, inside) in enumerate(zip(scores, member, strict=True))
    ]

    def over_pairs(values: list[float], one_target: Estimate) -> Estimate:
        means = pair_means(np.array(values), pair)
        estimate = t_over_pairs(means, factor=factor, confidence=confidence)
        equal = estimate.value is None and means.size > 3 and np.isfinite(means).all()
        return one_target if equal else estimate

    tpr = {
        fpr: tpr_estimate(
            np.array([row.tpr[i] for row in rows]),
            np.array([row.claimed_members[i] for row in rows]),
            pair,
            factor=factor,
            one_target=first.tpr[fpr],
            confidence=confidence,
        )
        for i, fpr in enumerate(fprs)
    }
    return Measurement(
        auc=over_pairs([row.auc for row in rows], first.auc),
        tpr=tpr,
        balanced_accuracy=over_pairs([row.balanced_accuracy for row in rows], first.balanced_accuracy),
        epsilon=Estimate.undefined(
            "targets that share records give no epsilon bound: measure one coin-flip target by itself"
        ),
    )
