"""Several attacks as one: named by any of them, by most, by all, or by a combination learnt on references."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import expit, ndtri
from scipy.stats import rankdata

from locard.attacks import attack_of
from locard.attacks.fields import Limits, check_fields
from locard.attacks.protocol import Attack, Needs, checked, signals_of
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.references import Population, References
from locard.observe.signals import ScaledLogit, Signal
from locard.observe.target import Target
from locard.seeds import Seed
from locard.types import Access, Scores

RIDGE = 1e-3
NEWTON = 30


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A committee of attacks. Each one's scores become normal scores of their ranks among the records of one target.

    The score is the largest of a record's normal scores (``"union"``: named by any attack), the middle one
    (``"majority"``), the smallest (``"intersection"``: named by all), or their weighted sum (``"learned"``): weights
    are a logistic regression's that tells the members of references from non-members, each reference playing the
    target against the others, itself and its complement left out.

    Args:
        attacks: names, tables of a name and settings, or attack objects; at least two.
        how: one of the four.
        play: how many references play the target (for ``"learned"``).
        seed: draws which references are left out where masks are not pairs.

    The variance factor is 2.5: weights and members learn from the references' membership.

    Source: Wang, Zhang, Chen, Baracaldo, Kadhe, Yu 2025 (CCS, arXiv:2506.13972): attacks of the same AUC name different
    records; union for coverage, intersection for stability.

    Departs: scores are joined, not decisions, so that any false positive rate can be asked for; the learned
    combination is ours. Ranks are taken among the audited records of the target.
    """

    attacks: Any = ("lira", "rmia", "mentr", "confidence")
    how: Literal["learned", "union", "majority", "intersection"] = "learned"
    play: Annotated[int, Limits(least=1)] = 8
    seed: Annotated[int, Limits(least=0)] = 0

    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5

    def __post_init__(self) -> None:
        given = (self.attacks,) if isinstance(self.attacks, str | Mapping) else tuple(self.attacks)
        object.__setattr__(self, "attacks", tuple(i if isinstance(i, str) else attack_of(i) for i in given))
        check_fields(self)
        names = [repr(a) for a in self.inner]
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingsError(
                f"ensemble: at least two attacks, each once, are needed, found {', '.join(names) or 'none'}. Name more."
            )
        if any(isinstance(a, Ensemble) or a.needs.elsewhere is not None for a in self.inner):
            raise SettingsError(
                "ensemble: attacks on this target's references are needed, found an ensemble or an attack that learns "
                "on another data set. Leave it out."
            )

    @property
    def inner(self) -> tuple[Attack, ...]:
        """The attacks."""
        return tuple(attack_of(i) for i in self.attacks)

    @property
    def access(self) -> Access:
        """The most that any attack needs."""
        return max((a.access for a in self.inner), key=lambda access: access.value)

    @property
    def needs(self) -> Needs:
        """The most that any attack needs; learning takes one more of each, since one pair plays the target."""
        own = [a.needs for a in self.inner]
        more = 1 if self.how == "learned" else 0
        return Needs(
            inside=max(1, *(n.inside for n in own)) + more,
            outside=max(1, *(n.outside for n in own)) + more,
            population=max(n.population for n in own),
        )

    @property
    def reads(self) -> tuple[Signal, ...] | None:
        """What its attacks read, and what orders the references; whole answers where one of them does."""
        found = [signals_of(a) for a in self.inner]
        some = [signals for signals in found if signals is not None]
        return (ScaledLogit(), *chain.from_iterable(some)) if len(some) == len(found) else None

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, normal scores, or log-odds up to a constant."""
        own = self._normal(target, records, references, population, rng)
        if self.how != "learned":
            ordered = np.sort(own, axis=0)
            middle = 0.5 * (ordered[(len(own) - 1) // 2] + ordered[len(own) // 2])
            joined: Scores = {"union": ordered[-1], "majority": middle, "intersection": ordered[0]}[self.how]
            return joined
        players = _players(references)[: self.play]
        shown, inside = [], []
        for place, k in enumerate(players):
            usable = references.inside_of(int(k)) | references.outside_of(int(k))
            others = self._without(references, int(k), place)
            people = None
            if population is not None and self.needs.population:
                people = _population_of(population, references, int(k), others)
            played = self._normal(references.as_target(int(k)), records, others, people, rng)
            shown.append(played[:, usable])
            inside.append(references.inside_of(int(k))[usable])
        out: Scores = _logistic(np.concatenate(shown, axis=1), np.concatenate(inside)) @ own
        return out

    def _normal(
        self,
        target: Target,
        records: Records,
        references: References,
        population: Population | None,
        rng: np.random.Generator | None,
    ) -> Float64[np.ndarray, "attacks records"]:
        rows = []
        for attack in self.inner:
            score = attack.score(target, records, references, population=population, rng=rng)
            rows.append(ndtri((rankdata(score) - 0.5) / len(score)))
        return np.stack(rows)

    def _without(self, references: References, k: int, place: int) -> References:
        """The references without ``k`` and its complement, each record with as many IN as OUT."""
        held = references.member
        apart = np.flatnonzero((held ^ held[k]).all(axis=1))
        gone = references.models[[k, *apart]]
        left = np.setdiff1d(references.models, gone)
        if len(apart) and not references.is_thinned:
            return references.without(gone)
        return references.only(left).thinned(Seed(self.seed).child("ensemble", place).generator())


def _players(references: References) -> Int64[np.ndarray, "references"]:
    """Positions of the references in an order that depends on their answers alone."""

    def digest(k: int) -> str:
        values = np.sort(references.signal_of(ScaledLogit(), k), axis=None)
        return hashlib.sha256(values.tobytes()).hexdigest()

    known = [references.memo("ensemble order", k, lambda k=k: digest(k), uses_membership=False) for k in references]  # type: ignore[misc]
    return np.argsort(np.array(known), kind="stable").astype(np.int64)


def _logistic(x: Float64[np.ndarray, "attacks rows"], inside: np.ndarray) -> Float64[np.ndarray, "attacks"]:
    """Weights of a logistic regression, members and non-members weighing one half each, with a small ridge."""
    weight = np.where(inside, 0.5 / max(1, inside.sum()), 0.5 / max(1, (~inside).sum()))
    shown = np.concatenate([x, np.ones((1, x.shape[1]))])
    found = np.zeros(len(shown))
    for _ in range(NEWTON):
        p = expit(found @ shown)
        slope = shown @ (weight * (p - inside)) + RIDGE * found
        curve = (shown * (weight * p * (1 - p))) @ shown.T + RIDGE * np.eye(len(shown))
        change = np.linalg.solve(curve, slope)
        found = found - change
        if np.abs(change).max() < 1e-13:
            break
    out: np.ndarray = found[:-1]
    return out


def _population_of(population: Population, references: References, k: int, others: References) -> Population:
    """The population as the reference that plays the target and those left see it (in the order of the references)."""
    here = population.references
    left = np.isin(references.models, others.models)
    return replace(population, target=here.as_target(k), references=here.only(here.models[left]))
