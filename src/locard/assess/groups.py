"""The headline attack by class and by the groups that the user named, with intervals that hold together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from locard.assess.estimates import Scored
from locard.assess.exposure import Exposure
from locard.assess.scoring import Audited
from locard.data.records import Records
from locard.result import GroupPart, Number
from locard.settings import MeasureSettings
from locard.stats import auc, group_estimates
from locard.types import Estimate

MOST_VALUES = 40  # of one group column; the largest are shown
BINNED_ABOVE = 12  # distinct numbers in a group column before quartiles are used instead
MIXED = "(mixed)"  # a unit whose rows differ


def group_parts(headline: Scored, audited: Audited, exposure: Exposure, settings: MeasureSettings) -> list[GroupPart]:
    """One node a class and group value. TPR is at the whole target's threshold for the first stated FPR."""
    records = audited.records
    out = []
    for by, values in [("class", records.labels.astype(str)), *records.groups.items()]:
        of_unit = unit_values(values, records)
        names, counts = np.unique(of_unit, return_counts=True)
        names = names[np.argsort(-counts, kind="stable")][:MOST_VALUES]
        masks = np.stack([of_unit == name for name in sorted(names)])
        out += _parts(by, sorted(names), masks, headline, audited, exposure, settings)
    return out


def unit_values(values: np.ndarray, records: Records) -> np.ndarray:
    """The group of each unit, as text; numbers with many values become quartiles; rows that differ make it mixed."""
    if values.dtype.kind in "if" and len(np.unique(values)) > BINNED_ABOVE:
        finite = values[np.isfinite(values)]
        cuts = np.unique(np.quantile(finite, [0.25, 0.5, 0.75]))
        edges = [float(finite.min()), *cuts.tolist(), float(finite.max())]
        names = np.array([*_between(edges), "missing"])
        place = np.where(np.isfinite(values), np.searchsorted(cuts, values), len(names) - 1)
        text = names[place].astype(object)
    else:
        text = np.array([str(v) for v in values.tolist()], dtype=object)
    first = np.full(records.n_units, None, dtype=object)
    first[records.units[::-1]] = text[::-1]
    mixed = np.bincount(records.units, weights=(text != first[records.units]), minlength=records.n_units) > 0
    return np.where(mixed, MIXED, first).astype(str)


def _between(edges: list[float]) -> list[str]:
    """What to call the bins between these edges, with as many digits as tell them apart."""
    for digits in range(6, 17):
        names = [f"{a:.{digits}g} to {b:.{digits}g}" for a, b in pairwise(edges)]
        if len({f"{e:.{digits}g}" for e in edges}) == len(set(edges)):
            break
    return names


def _parts(
    by: str,
    names: list[str],
    masks: np.ndarray,
    headline: Scored,
    audited: Audited,
    exposure: Exposure,
    settings: MeasureSettings,
) -> list[GroupPart]:
    members, scores, pair = audited.unit_member, headline.unit_scores, audited.plan.pair
    inside = members.astype(np.int64) @ masks.T.astype(np.int64)
    outside = (~members).astype(np.int64) @ masks.T.astype(np.int64)
    thresholds = np.array([s.thresholds[0] for s in headline.summaries])
    claimed = ((scores > thresholds[:, None]) & members).astype(np.int64) @ masks.T.astype(np.int64)
    areas = np.full(inside.shape, np.nan)
    for g, mask in enumerate(masks):
        for t in range(len(scores)):
            if inside[t, g] and outside[t, g]:
                areas[t, g] = auc(scores[t][mask], members[t][mask])
    factor, confidence = headline.attack.variance_factor, settings.confidence

    def estimates(values: np.ndarray, counts: np.ndarray | None) -> dict[str, Estimate]:
        return group_estimates(
            values,
            pair,
            names,
            members=inside,
            non_members=outside,
            factor=factor,
            true_positives=counts,
            confidence=confidence,
        )

    auc_of, tpr_of = estimates(areas, None), estimates(claimed / np.maximum(inside, 1), claimed)
    return [
        GroupPart(
            by=by,
            name=name,
            records=int(mask.sum()),
            auc=Number.of(auc_of[name]),
            tpr=Number.of(tpr_of[name]),
            fpr=settings.fprs[0],
            exposed=int((exposure.grades.grade[mask] == "exposed").sum()),
            suspected=int((exposure.grades.grade[mask] == "suspected").sum()),
        )
        for name, mask in zip(names, masks, strict=True)
    ]
