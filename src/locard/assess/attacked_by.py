"""The same audit with fewer targets and other references: halves of the models, and few references for a curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from locard.assess.scoring import Audited, score_targets
from locard.attacks.protocol import Attack


def missing(attack: Attack, audited: Audited) -> str | None:
    """What these targets have too little of for the attack, in words."""
    inside, outside = audited.fewest
    population = 0 if audited.population is None else audited.population.records
    return attack.needs.missing(inside=inside, outside=outside, population=population)


def units_of(audited: Audited) -> tuple[list[list[int]], list[list[int]]]:
    """What is drawn and split: the targets by pair, and the references by pair (or alone, where they have no partner).

    In the order of the plan, which is an order of independent draws.
    """
    plan = audited.plan
    targets = [[int(t) for t in plan.targets[plan.pair == p]] for p in np.unique(plan.pair)]
    references: list[list[int]] = []
    for m in (int(r) for r in plan.references):
        partner = int(plan.partner[m])
        if partner < 0 or m < partner:
            references.append([m] if partner < 0 else [m, partner])
    return targets, references


def halves(audited: Audited) -> list[Audited]:
    """Two audits of half of the models each, by pairs: they have no model in common, neither target nor reference."""
    targets, references = units_of(audited)
    own = np.array_equal(audited.plan.targets, audited.plan.references)  # the same models do both
    out = []
    for first in (True, False):
        part = _half(targets, first)
        out.append(audited.only(part, part if own else _half(references, first)))
    return out


def _half(units: list[list[int]], first: bool) -> list[int]:
    middle = len(units) - len(units) // 2
    return [m for unit in (units[:middle] if first else units[middle:]) for m in unit]


def score_each(attack: Attack, parts: Sequence[Audited]) -> np.ndarray:
    """``float64[targets, records]`` where every part has one target, with references of its own."""
    return np.concatenate([score_targets(attack, part) for part in parts])


__all__ = ["halves", "missing", "score_each", "units_of"]
