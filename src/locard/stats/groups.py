"""The same statistic for every group of records, with intervals that hold for all groups at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.intervals import LEAST_TRUE_POSITIVES, pair_means, t_over_pairs
from locard.types import Estimate

LEAST_OF_EACH_KIND = 10


def group_estimates(
    values: Float64[np.ndarray, "targets groups"],
    pair: Int64[np.ndarray, "targets"],
    names: Sequence[str],
    *,
    members: Int64[np.ndarray, "targets groups"],
    non_members: Int64[np.ndarray, "targets groups"],
    factor: float,
    true_positives: Int64[np.ndarray, "targets groups"] | None = None,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> dict[str, Estimate]:
    """One estimate a group, at level (1 - confidence) / groups each: all hold at once with the stated confidence.

    Args:
        values: a statistic (AUC, or TPR at the target's own threshold) of every target inside every group.
        pair: each target's pair.
        names: the groups' names, in the order of the columns.
        members, non_members: how many of each the group has in each target.
        factor: the attack's variance factor.
        true_positives: for TPRs, the counts behind them.
        confidence, bounds: of all intervals together; the statistic's range.

    Undefined, with the reason: a group with fewer than 10 members or 10 non-members in some target (such groups are
    known before any score and are not paid for), fewer than 10 true positives in all, all pairs equal.

    Raises: SettingsError where shapes differ.

    >>> values = np.array([[0.6, 0.5], [0.7, 0.5], [0.65, 0.4], [0.6, 0.6]] * 2)
    >>> size = np.full((8, 2), [50, 5])
    >>> found = group_estimates(values, np.arange(8) // 2, ["a", "b"], members=size, non_members=size, factor=1.0)
    >>> found["a"]
    0.6375 [0.6145, 0.6605]
    >>> found["b"]
    undefined: a group needs 10 members and 10 non-members in every target, found 5 and 5
    """
    table, inside, outside = np.asarray(values, dtype=np.float64), np.asarray(members), np.asarray(non_members)
    if table.ndim != 2 or not table.shape == inside.shape == outside.shape or table.shape[1] != len(names):
        raise SettingsError(
            f"values, members, non_members: targets x groups for {len(names)} names are needed, found shapes "
            f"{table.shape}, {inside.shape} and {outside.shape}."
        )
    check_level("confidence", confidence)
    large = np.minimum(inside, outside).min(axis=0, initial=LEAST_OF_EACH_KIND) >= LEAST_OF_EACH_KIND
    each = 1 - (1 - confidence) / max(1, int(large.sum()))
    out = {}
    for column, name in enumerate(names):
        if not large[column]:
            out[name] = Estimate.undefined(
                f"a group needs {LEAST_OF_EACH_KIND} members and {LEAST_OF_EACH_KIND} non-members in every target, "
                f"found {inside[:, column].min()} and {outside[:, column].min()}"
            )
        elif true_positives is not None and (found := int(true_positives[:, column].sum())) < LEAST_TRUE_POSITIVES:
            out[name] = Estimate.undefined(
                f"a group's TPR needs {LEAST_TRUE_POSITIVES} true positives over all targets, found {found}"
            )
        else:
            means = pair_means(table[:, column], pair)
            out[name] = t_over_pairs(means, factor=factor, confidence=each, bounds=bounds)
    return out
