"""ROC, AUC, balanced accuracy and precision of one target's scores. Points only: intervals are in ``intervals``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from locard.errors import SettingsError
from locard.stats.inputs import check_both_kinds
from locard.stats.sorting import sort_scores
from locard.types import Membership, Scores


@dataclass(frozen=True, eq=False)
class Roc:
    """A receiver operating curve: one vertex a distinct score, tied scores together.

    Vertex i claims every score >= ``thresholds[i]``; vertex 0, at +inf, claims nothing (an infinite score, if there
    is one, has its own vertex after it).
    """

    fpr: Float64[np.ndarray, "vertices"]
    tpr: Float64[np.ndarray, "vertices"]
    thresholds: Float64[np.ndarray, "vertices"]


def roc(scores: Scores, member: Membership) -> Roc:
    """All (FPR, TPR) that a threshold can reach, from (0, 0) to (1, 1).

    Infinite scores are ordinary largest and smallest values.

    Raises:
        SettingsError: a NaN, different lengths, or no member or no non-member.

    >>> curve = roc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    >>> curve.fpr.tolist(), curve.tpr.tolist(), curve.thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 3.0, 2.0, 1.0])
    """
    ordered = sort_scores(scores, member)
    members, non_members = ordered.members, ordered.non_members
    check_both_kinds(members.size, non_members.size)
    values = np.unique(np.concatenate([members, non_members]))[::-1]
    claimed = members.size - np.searchsorted(members, values, "left")
    false = non_members.size - np.searchsorted(non_members, values, "left")
    return Roc(
        fpr=np.concatenate([[0.0], false / non_members.size]),
        tpr=np.concatenate([[0.0], claimed / members.size]),
        thresholds=np.concatenate([[math.inf], values]),
    )


def auc(scores: Scores, member: Membership) -> float:
    """Area under the ROC: the chance that a member outscores a non-member, ties counted half.

    Raises:
        SettingsError: a NaN, different lengths, or no member or no non-member.

    >>> auc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    0.875
    """
    return sort_scores(scores, member).auc


def auc_many(
    scores: Float64[np.ndarray, "targets records"], member: Bool[np.ndarray, "targets records"]
) -> Float64[np.ndarray, "targets"]:
    """The AUC of every target; NaN for a target without members or without non-members (of a small group, say).

    >>> auc_many(np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0]]), np.array([[True, False]] * 2 + [[True, True]]))
    array([ 1.,  0., nan])
    """
    out = np.full(len(scores), np.nan)
    for target, (row, inside) in enumerate(zip(scores, member, strict=True)):
        ordered = sort_scores(row, inside)
        if ordered.members.size and ordered.non_members.size:
            out[target] = ordered.auc
    return out


def balanced_accuracy(scores: Scores, member: Membership, *, rng: np.random.Generator) -> float:
    """(TPR + TNR) / 2 where each record is judged by the threshold that the other random half chose.

    Departs: the usual "best balanced accuracy" picks its threshold on the records it then counts, and is above .5 on
    pure noise.

    Raises:
        SettingsError: a NaN, different lengths, fewer than two members or two non-members.

    >>> scores, member = np.repeat([2.0, 1.0], 4), np.repeat([True, False], 4)
    >>> balanced_accuracy(scores, member, rng=np.random.default_rng(0))
    1.0
    """
    return sort_scores(scores, member).balanced_accuracy(rng=rng)


def precision(tpr: float, fpr: float, prior: float) -> float:
    """Share of right claims where a share ``prior`` of the candidates are members; NaN where nothing is claimed.

    Raises:
        SettingsError: a rate outside [0, 1].

    >>> round(precision(0.1, 0.001, 0.01), 4)
    0.5025
    """
    for name, value in (("tpr", tpr), ("fpr", fpr), ("prior", prior)):
        if not 0.0 <= value <= 1.0:
            raise SettingsError(f"{name}: a number from 0 to 1 is needed, found {value}.")
    claims = prior * tpr + (1 - prior) * fpr
    return prior * tpr / claims if claims > 0 else math.nan


def log_grid(non_members: int, *, points: int = 60) -> Float64[np.ndarray, "points"]:
    """FPR values at which a log-log ROC is drawn: from half a non-member to 1, evenly spaced in the logarithm.

    >>> log_grid(500, points=4).round(3).tolist()
    [0.001, 0.01, 0.1, 1.0]
    """
    if non_members < 1:
        raise SettingsError(f"non_members: at least 1 is needed to draw an ROC, found {non_members}.")
    return np.geomspace(1 / (2 * non_members), 1.0, points)
