"""Scores of every attack on every target: each model of the plan plays the target in turn, its partner left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from locard.attacks.protocol import Attack
from locard.data.records import Records
from locard.observe.observations import Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import Population, References
from locard.observe.target import Target
from locard.plan.plan import Plan, Role
from locard.seeds import Seed
from locard.types import Access


@dataclass(frozen=True, eq=False)
class Audited:
    """What scoring reads: the audited records, the plan, and what its models said.

    ``population`` holds what the same models said about records that are in none of them. ``learners`` are the
    models that serve as references, where they are fewer than the plan allows. ``elsewhere`` are models of other data
    sets, by name, for attacks that learn there.
    """

    records: Records
    plan: Plan
    observations: Observations
    population: Observations | None
    seed: Seed
    access: Access = Access.LOGITS
    learners: np.ndarray | None = None
    population_features: np.ndarray | None = None
    elsewhere: Mapping[str, Audited] = field(default_factory=dict)
    _views: dict[int, References] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, what was computed here stays here."""
        given = [getattr(self, f.name) for f in fields(self) if f.init]
        return Audited, tuple(given)

    @cached_property
    def pool(self) -> ReferencePool:
        """All models with their mask."""
        return ReferencePool(self.observations, self.plan.member, summed=self._summed)

    @property
    def _summed(self) -> np.ndarray | None:
        """The references, where no target ever is one: their sums must not depend on how many targets there are."""
        return None if "both" in self.plan.role else self.plan.references

    @property
    def had(self) -> dict[str, str]:
        """The traces that are here, as ``Needs.missing`` takes them."""
        return dict.fromkeys(self.observations.traces, "")

    @property
    def _learners(self) -> np.ndarray:
        return self.plan.references if self.learners is None else self.learners

    @cached_property
    def population_pool(self) -> ReferencePool | None:
        """All models on the population, which is in none of them."""
        if self.population is None or self.population.records == 0:
            return None
        nobody = np.zeros((self.population.models, self.population.records), dtype=bool)
        return ReferencePool(self.population, nobody, summed=self._summed)

    @cached_property
    def member(self) -> Bool[np.ndarray, "targets records"]:
        """Which target was trained on which record."""
        out: np.ndarray = self.plan.member[self.plan.targets]
        return out

    @cached_property
    def unit_member(self) -> Bool[np.ndarray, "targets units"]:
        """Which target was trained on which unit (all rows of a unit move together)."""
        return self.unit_member_of(self.plan.targets)

    def unit_member_of(self, models: np.ndarray) -> Bool[np.ndarray, "chosen units"]:
        """Which of these models was trained on which unit."""
        return by_unit(self.plan.member[models].astype(np.float64), self.records) > 0.5

    def with_references(self, learners: np.ndarray) -> Audited:
        """The same audit by an attacker who has only these models as references."""
        return replace(self, learners=np.asarray(learners))

    def only(self, targets: Sequence[int] | np.ndarray, learners: Sequence[int] | np.ndarray) -> Audited:
        """The same models, of which only these play the target and only these may serve as references.

        - a target never has itself or its partner as a reference, whoever the learners are
        - what is learnt from one model is learnt once for all that is made of this audit; sums over a few are not kept
        """
        chosen, few = {int(t) for t in targets}, np.sort(np.asarray(learners, dtype=np.int64))
        role: tuple[Role, ...] = tuple(
            r if m in chosen or r == "reference" else "reference" for m, r in enumerate(self.plan.role)
        )
        made = replace(self, plan=replace(self.plan, role=role), learners=few)
        vars(made).update(pool=self.pool, population_pool=self.population_pool)  # of all models, whoever learns
        if not self.plan.thin:
            made._views.update({t: References(self.pool, few[~np.isin(few, self.plan.left_out(t))]) for t in chosen})
        return made

    def references(self, target: int) -> References:
        """The references that ``target`` is attacked with: neither itself nor its partner, thinned where needed."""
        if target not in self._views:
            view = References(self.pool, self._learners).without(self.plan.left_out(target))
            if self.plan.thin and len(view):
                view = view.thinned(self.seed.child("thin", target).generator())
            self._views[target] = view
        return self._views[target]

    def references_for(self, attack: Attack, target: int) -> References:
        """What this attack learns from: the references of ``target``, or models of the data set that it names."""
        return self.references(target) if attack.needs.elsewhere is None else self.elsewhere_for(attack)

    def elsewhere_for(self, attack: Attack) -> References:
        """Models of the data set that this attack names."""
        other = self.elsewhere[str(attack.needs.elsewhere)]
        return References(other.pool, other.plan.targets)

    def population_for(self, target: int) -> Population | None:
        """What non-members look like to this target and its references."""
        pool = self.population_pool
        if pool is None or self.population is None:
            return None
        view = References(pool, self._learners).without(self.plan.left_out(target))
        return Population(self.population.y, Target(self.population, target), view, self.population_features)

    @cached_property
    def fewest(self) -> tuple[int, int]:
        """Fewest IN and OUT references that any target sees for any record."""
        counts = [
            (int(r.inside.sum(axis=0).min()), int(r.outside.sum(axis=0).min()))
            for r in (self.references(int(t)) for t in self.plan.targets)
        ]
        return min(c[0] for c in counts), min(c[1] for c in counts)

    def part(self, chosen: Int64[np.ndarray, "chosen"]) -> Audited:
        """The same models and plan on some of the records, in memory (the controls' small audits)."""
        plan = replace(self.plan, audited=self.plan.audited[chosen])
        return replace(
            self, records=self.records.select(chosen), plan=plan, observations=self.observations.select(chosen)
        )

    def under(self, plan: Plan) -> Audited:
        """The same outputs as if this plan had made them: what a redrawn plan is judged by."""
        return replace(self, plan=replace(plan, audited=self.plan.audited))


def score_targets(
    attack: Attack, audited: Audited, targets: Sequence[int] | np.ndarray | None = None
) -> Float64[np.ndarray, "targets records"]:
    """``float64[targets, records]``: leave-one-pair-out scores of one attack."""
    chosen = audited.plan.targets if targets is None else np.asarray(targets)
    out = np.empty((len(chosen), len(audited.records)), dtype=np.float64)
    for row, t in enumerate(chosen):
        rng = audited.seed.child("attack", repr(attack), int(t)).generator()
        access = Access.TRAINING if attack.access is Access.TRAINING else audited.access  # the owner's attacks
        target = Target(audited.observations, int(t), access=access)
        population = audited.population_for(int(t)) if attack.needs.population else None
        references = audited.references_for(attack, int(t))
        out[row] = attack.score(target, audited.records, references, population=population, rng=rng)
    return out


def by_unit(values: Float64[np.ndarray, "*rows records"], records: Records) -> Float64[np.ndarray, "*rows units"]:
    """Mean over the rows of each unit; the values themselves where every record is its own unit.

    >>> r = Records(ids=[1, 2, 3], features=np.zeros((3, 1)), labels=[0, 1, 0], unit=["a", "b", "a"])
    >>> by_unit(np.array([[1.0, 5.0, 3.0]]), r).tolist()
    [[2.0, 5.0]]
    """
    if records.n_units == len(records):
        return values
    count = np.bincount(records.units, minlength=records.n_units)
    flat = values.reshape(-1, values.shape[-1])
    sums = np.stack([np.bincount(records.units, weights=row, minlength=records.n_units) for row in flat])
    out: np.ndarray = (sums / count).reshape(*values.shape[:-1], records.n_units)
    return out
