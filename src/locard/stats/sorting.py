"""Scores sorted once a target: everything that is measured on one target is then a search in two sorted arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64

from locard.errors import SettingsError
from locard.stats.inputs import check_both_kinds, check_level, checked
from locard.types import Membership, Scores

_Mask: TypeAlias = Bool[np.ndarray, "_places"]


def floor_product(rate: float, count: int) -> int:
    """``floor(rate * count)`` where .001 * 10,000 is 10, although the nearest float is a little less.

    >>> floor_product(0.29, 100), 0.29 * 100
    (29, 28.999999999999996)
    """
    return math.floor(rate * count * (1 + 1e-12))


def conformal_rank(non_members: int, fpr: float) -> int:
    """k = floor(fpr (non_members + 1)): claims lie above the k-th largest non-member score; 0 means no claims.

    >>> conformal_rank(9_999, 0.001), conformal_rank(9_998, 0.001), conformal_rank(98, 0.01)
    (10, 9, 0)
    """
    return min(floor_product(check_level("fpr", fpr), non_members + 1), non_members)


@dataclass(frozen=True, eq=False)
class SortedScores:
    """One target's scores, members and non-members each sorted upwards. Made by ``sort_scores``.

    - the order of the records leaves no trace: every result is the same for any order of the rows
    - tied scores are never told apart
    """

    members: Float64[np.ndarray, "members"]
    non_members: Float64[np.ndarray, "non_members"]

    @cached_property
    def _non_members_below(self) -> Int64[np.ndarray, "members"]:
        """For each member, how many non-members score below it."""
        return np.searchsorted(self.non_members, self.members, "left")

    @cached_property
    def auc(self) -> float:
        """Chance that a member outscores a non-member, ties half (Mann-Whitney)."""
        check_both_kinds(self.members.size, self.non_members.size)
        below = self._non_members_below
        inside = below < self.non_members.size
        tied = self.members[inside][self.non_members[below[inside]] == self.members[inside]]
        ties = np.searchsorted(self.non_members, tied, "right") - np.searchsorted(self.non_members, tied, "left")
        wins = 2 * int(below.sum(dtype=np.int64)) + int(ties.sum(dtype=np.int64))
        return wins / (2 * self.members.size * self.non_members.size)

    def kth_non_member(self, k: int) -> float:
        """The k-th largest non-member score; +inf for k = 0, -inf beyond the last."""
        if k <= 0:
            return math.inf
        return float(self.non_members[-k]) if k <= self.non_members.size else -math.inf

    def members_above(self, threshold: float, *, or_equal: bool = False) -> int:
        """How many members score above the threshold (or at it)."""
        side: Literal["left", "right"] = "left" if or_equal else "right"
        return int(self.members.size - np.searchsorted(self.members, threshold, side))

    def non_members_above(self, threshold: float) -> int:
        """How many non-members score above the threshold."""
        return int(self.non_members.size - np.searchsorted(self.non_members, threshold, "right"))

    def conformal_threshold(self, fpr: float) -> float:
        """The threshold that a fresh non-member exceeds with chance ``fpr`` at most."""
        return self.kth_non_member(conformal_rank(self.non_members.size, fpr))

    def vertex_tpr(self, grid: Float64[np.ndarray, "points"]) -> Float64[np.ndarray, "points"]:
        """TPR of the largest ROC vertex whose FPR does not exceed each value of ``grid``, for drawing."""
        check_both_kinds(self.members.size, self.non_members.size)
        allowed = np.array([floor_product(float(rate), self.non_members.size) for rate in grid], dtype=np.int64)
        bounded = allowed < self.non_members.size  # otherwise every record may be claimed
        out = np.ones(len(allowed))
        ceilings = self.non_members[self.non_members.size - 1 - allowed[bounded]]
        out[bounded] = (self.members.size - np.searchsorted(self.members, ceilings, "right")) / self.members.size
        return out

    def right_by_halves(self, *, rng: np.random.Generator) -> tuple[int, int]:
        """Members and non-members judged rightly, each by the threshold that the *other* random half chose.

        Members and non-members are halved separately, at random.

        Raises:
            SettingsError: fewer than two members or two non-members.
        """
        if min(self.members.size, self.non_members.size) < 2:
            raise SettingsError(
                "member: balanced accuracy needs two members and two non-members, found "
                f"{self.members.size} and {self.non_members.size}. Audit more records."
            )
        member_half, other_half = _half(self.members.size, rng), _half(self.non_members.size, rng)
        right_members = right_non_members = 0
        for chosen, others in ((member_half, other_half), (~member_half, ~other_half)):
            threshold = self._best_threshold(chosen, others)
            below = int(np.searchsorted(self.members, threshold, "left"))
            rejected = int(np.searchsorted(self.non_members, threshold, "left"))
            right_members += int((~chosen[below:]).sum())
            right_non_members += int((~others[:rejected]).sum())
        return right_members, right_non_members

    def _best_threshold(self, chosen: _Mask, others: _Mask) -> float:
        """The t with the largest TPR - FPR among the chosen, where scores >= t are claimed."""
        rejected = np.concatenate([[0], np.cumsum(others)])[self._non_members_below[chosen]]
        # Only a member's score can be best, and of tied members the first counts fewest as missed. In whole numbers,
        # so that equal gains are equal and the lowest such threshold wins.
        gain = rejected * int(chosen.sum()) - np.arange(rejected.size) * int(others.sum())
        return float(self.members[chosen][np.argmax(gain)])

    def balanced_accuracy(self, *, rng: np.random.Generator) -> float:
        """(TPR + TNR) / 2 where each record is judged by the threshold that the other half chose."""
        members, non_members = self.right_by_halves(rng=rng)
        return (members / self.members.size + non_members / self.non_members.size) / 2


def sort_scores(scores: Scores, member: Membership) -> SortedScores:
    """One target's scores, sorted once; may lack members or non-members.

    Raises:
        SettingsError: a NaN, or scores and memberships of different lengths.

    >>> sort_scores(np.array([0.3, 0.9, 0.1]), np.array([False, True, False])).auc
    1.0
    """
    values, inside = checked(scores, member)
    return SortedScores(np.sort(values[inside]), np.sort(values[~inside]))


def _half(count: int, rng: np.random.Generator) -> _Mask:
    """A random half of ``count`` sorted places: halving after sorting makes the row order irrelevant."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[: count // 2] = True
    rng.shuffle(mask)
    return mask
