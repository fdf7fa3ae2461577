"""All that is measured on one target, from one sort of its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from locard.stats.sorting import sort_scores
from locard.types import Membership, Scores


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetSummary:
    """One target's points. ``tpr``, ``thresholds`` and the two counts have one value a nominal FPR.

    Claims are the scores above the conformal threshold (``rates.conformal_threshold``); ``grid_tpr`` follows the ROC's
    vertices instead and is for drawing only. ``balanced_accuracy`` is NaN below two members or two non-members.
    """

    auc: float
    balanced_accuracy: float
    tpr: Float64[np.ndarray, "fprs"]
    thresholds: Float64[np.ndarray, "fprs"]
    claimed_members: Int64[np.ndarray, "fprs"]
    claimed_non_members: Int64[np.ndarray, "fprs"]
    grid_tpr: Float64[np.ndarray, "points"]
    members: int
    non_members: int

    @property
    def realised_fpr(self) -> Float64[np.ndarray, "fprs"]:
        """The share of this target's own non-members that is claimed, for each nominal FPR."""
        return self.claimed_non_members / self.non_members


def summarise(
    scores: Scores,
    member: Membership,
    *,
    fprs: Sequence[float],
    grid: Float64[np.ndarray, "points"],
    rng: np.random.Generator,
) -> TargetSummary:
    """One target's AUC, balanced accuracy, TPR at each nominal FPR, and ROC on a grid.

    Args:
        scores: higher = more likely a member; infinite allowed.
        member: who was in the target's training set.
        fprs: nominal false positive rates, strictly between 0 and 1.
        grid: false positive rates at which the ROC figure wants its TPR (``log_grid``).
        rng: halves the records for the balanced accuracy.

    Raises:
        SettingsError: a NaN, different lengths, no member or no non-member, an FPR outside (0, 1).

    >>> s = summarise(np.array([2.0, 2.0, 1.0, 1.0]), np.array([True, True, False, False]), fprs=[0.4],
    ...               grid=np.array([0.5, 1.0]), rng=np.random.default_rng(0))
    >>> s.auc, s.balanced_accuracy, s.tpr.tolist(), s.claimed_members.tolist(), s.grid_tpr.tolist()
    (1.0, 1.0, [1.0], [2], [1.0, 1.0])
    """
    ordered = sort_scores(scores, member)
    area = ordered.auc
    members, non_members = ordered.members.size, ordered.non_members.size
    thresholds = [ordered.conformal_threshold(fpr) for fpr in fprs]
    claimed = np.array([ordered.members_above(t) for t in thresholds], dtype=np.int64)
    false = np.array([ordered.non_members_above(t) for t in thresholds], dtype=np.int64)
    return TargetSummary(
        auc=area,
        balanced_accuracy=ordered.balanced_accuracy(rng=rng) if min(members, non_members) > 1 else math.nan,
        tpr=claimed / members,
        thresholds=np.array(thresholds, dtype=np.float64),
        claimed_members=claimed,
        claimed_non_members=false,
        grid_tpr=ordered.vertex_tpr(grid),
        members=members,
        non_members=non_members,
    )
