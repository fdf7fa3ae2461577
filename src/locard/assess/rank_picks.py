"""Which records an attack picks, in two halves of the models that have nothing in common but the records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from locard.assess.attacked_by import Scorer, missing
from locard.assess.scoring import Audited, by_unit
from locard.rank_result import OverlapPart, PickedAttack, PicksPart
from locard.result import NotRun
from locard.stats import conformal_threshold

MORE = 0.5  # by how much more often a record is hit where it was trained on
LEAST = 2  # pairs in a half


@dataclass(frozen=True, eq=False)
class Picked:
    """``bool[halves, units]``: what one attack picks in each half, and what meets the rule the wrong way round."""

    picked: Bool[np.ndarray, "halves units"]
    wrong_way: Bool[np.ndarray, "halves units"]


def rule(fpr: float) -> str:
    """The definition, in words."""
    return (
        f"The pairs of models are split in two halves. In each half by itself (targets and references of that half "
        f"alone), a record is hit by a target if its score is above the transferred threshold: the median of the "
        f"conformal thresholds, for FPR {fpr:g}, of the other pairs' targets in that half. It is picked if the share "
        f"of hits among targets trained on it is at least {MORE:g} above the share among the others."
    )


def pick_records(scorer: Scorer, parts: list[Audited], fpr: float) -> Picked | str:
    """What the attack picks in each of two halves (``halves``); in words why not, where it cannot run on them.

    - a contrast: an easy record that is hit whether it was trained on or not is not picked
    - a threshold comes of other targets: a record's own membership does not move it
    - the halves share no model, so that a record of no effect picked in one is picked in the other by accident only
    """
    for part in parts:
        pairs = part.plan.pairs
        if pairs < LEAST:
            return f"needs {LEAST} pairs of targets in each half of the models, found {pairs}"
        short = missing(scorer.attack, part)
        if short is not None:
            return f"{short} in half of the models"
    more = np.stack([_more_hits(scorer, part, fpr) for part in parts])
    return Picked(more >= MORE - 1e-9, more <= -MORE + 1e-9)


def _more_hits(scorer: Scorer, part: Audited, fpr: float) -> np.ndarray:
    """Share of hits among targets that hold a unit minus the share among the others; 0 where there is only one kind."""
    scores, member = by_unit(scorer.scores(part), part.records), part.unit_member
    pair = part.plan.pair
    own = np.array([conformal_threshold(s[~m], fpr) for s, m in zip(scores, member, strict=True)])
    transferred = np.array([np.median(own[pair != p]) for p in pair])
    hit = scores > transferred[:, None]
    inside, outside = member.sum(axis=0), (~member).sum(axis=0)
    share_in = (hit & member).sum(axis=0) / np.maximum(inside, 1)
    share_out = (hit & ~member).sum(axis=0) / np.maximum(outside, 1)
    out: np.ndarray = np.where((inside > 0) & (outside > 0), share_in - share_out, 0.0)
    return out


def picks_part(found: dict[str, Picked | str], parts: list[Audited], fpr: float) -> PicksPart:
    """How many records each attack picks, which it alone picks, and how far two attacks (or one with itself) agree.

    Overlaps are across the halves, for two attacks as for one with itself: attacks on the same models would share the
    models' accidents, and seem to agree more than either agrees with itself.
    """
    sets = {label: f.picked for label, f in found.items() if not isinstance(f, str)}
    wrong = {label: f.wrong_way for label, f in found.items() if not isinstance(f, str)}
    attacks = []
    for label, mine in sets.items():
        others = [s for other, s in sets.items() if other != label]
        alone = mine & ~np.any(others, axis=0) if others else mine
        attacks.append(
            PickedAttack(
                label=label,
                first=int(mine[0].sum()),
                second=int(mine[1].sum()),
                again=int((mine[0] & mine[1]).sum()),
                wrong_way=int(wrong[label].sum()),
                alone=int(alone.sum()),
                alone_again=int((alone[0] & alone[1]).sum()),
            )
        )
    labels = list(sets)
    return PicksPart(
        rule=rule(fpr),
        pairs=[part.plan.pairs for part in parts],
        units=parts[0].records.n_units,
        attacks=attacks,
        overlaps=[overlap(a, b, sets[a], sets[b]) for i, a in enumerate(labels) for b in labels[i:]],
        not_run=[NotRun(name=label, reason=f) for label, f in found.items() if isinstance(f, str)],
    )


def overlap(first: str, second: str, a: np.ndarray, b: np.ndarray) -> OverlapPart:
    """Of ``bool[halves, units]``: one attack's records of one half against the other's of the other half, both ways.

    >>> a, b = np.array([[1, 1, 0], [1, 0, 0]], bool), np.array([[0, 0, 1], [0, 1, 1]], bool)
    >>> overlap("a", "a", a, a).share, overlap("a", "b", a, b).share
    (0.5, 0.2)
    """
    swapped = b[::-1]
    return OverlapPart(first=first, second=second, both=int((a & swapped).sum()), either=int((a | swapped).sum()))
