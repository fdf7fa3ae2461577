"""The same audit with fewer targets and other references: halves of the models, and few references for a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False)
class Scorer:
    """An attack, and its scores on all targets where they do not depend on who the references are."""

    attack: Attack
    known: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, attack: Attack, audited: Audited, scores: np.ndarray) -> Scorer:
        """Args: its scores on all targets of ``audited``."""
        needs = attack.needs
        alike = not needs.inside and not needs.outside
        return cls(attack, dict(zip(audited.plan.targets.tolist(), scores, strict=True)) if alike else {})

    def scores(self, part: Audited) -> np.ndarray:
        """``float64[targets, records]`` of the targets and references of this part."""
        if self.known:
            return np.stack([self.known[int(t)] for t in part.plan.targets])
        return score_targets(self.attack, part)


__all__ = ["Scorer", "halves", "missing", "units_of"]
