"""What an attack is: settings, what it needs, and one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from locard.data.records import Records
from locard.errors import AccessDenied, NotEnoughReferences
from locard.observe.references import Population, References
from locard.observe.signals import Signal
from locard.observe.target import Target
from locard.observe.traces import KINDS
from locard.types import Access, Claims, Scores, Signals

WORDS = {
    "inside": "trained with each record",
    "outside": "trained without each record",
}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an attack asks for before it can run.

    References holding a record, references not holding it, population records; and traces (``observe/traces.py``) by
    name, of the target and of every reference that is asked for.

    ``elsewhere`` names a data set: the references are then models of that set, which know nothing of these records.
    ``anywhere``: what references teach is not about single records, so that they may also be models of other records,
    with answers to those.

    >>> Needs(inside=2, outside=2).missing(inside=1, outside=5, population=0)
    'needs 2 reference models trained with each record, found 1'
    """

    inside: int = 0
    outside: int = 0
    population: int = 0
    traces: tuple[str, ...] = ()
    elsewhere: str | None = None
    anywhere: bool = False

    def missing(
        self, *, inside: int, outside: int, population: int, traces: Mapping[str, str] | None = None
    ) -> str | None:
        """What is too little, in words; None where the attack can run.

        ``traces``: those that can be had (with no text), and why others cannot, where more is known than the kind.
        """
        had = {} if traces is None else traces
        short = [
            f"needs {models(wanted)} {WORDS[side]}, found {found}"
            for side, wanted, found in (("inside", self.inside, inside), ("outside", self.outside, outside))
            if found < wanted
        ]
        if population < self.population:
            short.append(f"needs {self.population} population records (in no model), found {population}")
        short += [
            f"needs {KINDS[name].words}, which cannot be had here: {had.get(name) or KINDS[name].hint}"
            for name in self.traces
            if had.get(name) != ""
        ]
        return "; ".join(short) or None

    @property
    def words(self) -> str:
        """Which references are learnt from, and whether a population is."""
        sides = {(False, False): "none", (False, True): "OUT", (True, False): "IN", (True, True): "IN and OUT"}
        text = sides[self.inside > 0, self.outside > 0]
        if self.elsewhere is not None:
            text = f"of {self.elsewhere}"
        more = ["population"] if self.population else []
        return "; ".join([text, *more, *(KINDS[name].words for name in self.traces)])


def models(count: int) -> str:
    """A number of reference models, in words.

    >>> models(1), models(2)
    ('1 reference model', '2 reference models')
    """
    return f"{count} reference model{'' if count == 1 else 's'}"


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of settings; ``score`` is pure and never trains or queries on its own.

    - ``access``: what the target must give
    - ``discrete``: True where scores take a handful of values, so that small FPRs cannot be resolved
    - ``variance_factor``: 1 without references or for a contrast whose sign and equal IN and OUT weights are fixed,
      1.5 with OUT references only, 2.5 where direction or threshold is learnt from reference membership (the factor
      of the interval over pairs, docs/estimands.md)
    - ``needs``: fewest references a record, and population records, that it runs with

    Each is a plain class attribute, or a property where it depends on the settings.
    """

    @property
    def access(self) -> Access:
        """What the target must give."""
        ...

    @property
    def discrete(self) -> bool:
        """True where scores take a handful of values."""
        ...

    @property
    def variance_factor(self) -> float:
        """The factor c of the interval over pairs."""
        ...

    @property
    def needs(self) -> Needs:
        """Fewest references and population records."""
        ...

    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, higher = more likely a member, never NaN."""
        ...


@runtime_checkable
class ReadsSignals(Protocol):
    """An attack that says which signals are all it reads of answers, so that nothing else need be stored."""

    @property
    def reads(self) -> tuple[Signal, ...] | None:
        """All signals of target, references and population that ``score`` and ``claim`` read; None: whole answers."""
        ...


def signals_of(attack: Attack) -> tuple[Signal, ...] | None:
    """All signals that the attack reads; None where it reads whole answers, or does not say."""
    return attack.reads if isinstance(attack, ReadsSignals) else None


@runtime_checkable
class Claiming(Protocol):
    """An attack that also makes claims about single records: ``claim`` gives p-values, and claims or abstains."""

    def claim(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
        selected: Any = None,
        population_selected: Any = None,
        non_member: Any = None,
    ) -> Claims:
        """One row a record."""
        ...


def over_queries(values: Signals) -> Scores:
    """The mean over a record's queries: ``float64[records]`` from ``float64[records, queries]``."""
    out: Scores = values.mean(axis=-1)
    return out


Score = TypeVar("Score", bound=Callable[..., Scores])


def checked(score: Score) -> Score:
    """Put before every attack's ``score``: what all attacks check, so that their own code is the formula alone.

    - outputs that came without labels get those of ``records``
    - access, references of each record and population are checked against what the attack declares
    - the answer is one number a record, none of them NaN

    None for references counts as ``References.empty``: no models.

    Raises:
        AccessDenied: the target gives less than the attack's ``access``.
        NotEnoughReferences: a record has too few references, or the population is too small.
        DataError: target, references and records do not belong together.
    """

    @wraps(score)
    def run(
        self: Attack,
        target: Target,
        records: Records,
        references: References | None,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        name = type(self).__name__
        target, references, population = bound(self, target, records, references, population)
        _enough(name, self.needs, records, references, population)
        _traced(name, self.needs, target, references)
        scores = score(self, target, records, references, population=population, rng=rng)
        if scores.shape != (len(records),) or np.isnan(scores).any():
            raise ArithmeticError(
                f"{name} must give one number for each of {len(records)} records, found shape {scores.shape} with "
                f"{int(np.isnan(scores).sum())} NaN. This is a fault of the attack: please report it."
            )
        return scores

    return cast(Score, run)


def bound(
    attack: Attack,
    target: Target,
    records: Records,
    references: References | None,
    population: Population | None,
) -> tuple[Target, References, Population | None]:
    """Target, references and population with the labels of their records, once the access was found to be enough.

    Raises:
        AccessDenied: the target gives less than the attack's ``access``.
        DataError: target, references and records do not belong together.
    """
    enough_access(attack, target)
    if references is None:
        references = References.empty(len(records))
    elif not _other_records(attack.needs, records, references):
        references = references.labelled(records.y)
    return target.labelled(records.y), references, population if population is None else population.labelled()


def enough_access(attack: Attack, target: Target) -> None:
    """Refuse a target that gives less than the attack needs.

    Raises:
        AccessDenied: what is needed, and what it gives.
    """
    if not target.access.allows(attack.access):
        raise AccessDenied(
            f"{type(attack).__name__} needs {attack.access.words}, but this target gives {target.access.words}. Choose "
            f"an attack for that access, or audit with more."
        )


def _other_records(needs: Needs, records: Records, references: References) -> bool:
    """Whether references were asked about other records than the target, and may have been."""
    return needs.anywhere and len(references) > 0 and references.records != len(records)


def _enough(name: str, needs: Needs, records: Records, references: References, population: Population | None) -> None:
    if _other_records(needs, records, references):
        if references.classes != len(records.classes):
            raise NotEnoughReferences(
                f"{name} needs references with the classes of the records ({len(records.classes)}), found "
                f"{references.classes}. Give models of the same classes, or take ml_leaks_2."
            )
        needs = replace(needs, inside=0, outside=0)
    for side, wanted in (("inside", needs.inside), ("outside", needs.outside)):
        if not wanted:
            continue
        found = references.inside_count if side == "inside" else references.outside_count
        short = np.flatnonzero(found < wanted)
        if len(short):
            worst = int(short[np.argmin(found[short])])
            raise NotEnoughReferences(
                f"{name} needs {models(wanted)} {WORDS[side]}, but {len(short)} of {len(records)} records have fewer "
                f"(record {_shown(records.ids[worst])} has {found[worst]}). Train more references, or use a balanced "
                f"plan."
            )
    held = 0 if population is None else len(population)
    if held < needs.population:
        raise NotEnoughReferences(
            f"{name} needs {needs.population} population records (in no model), found {held}. Keep some records out of "
            f"every model and give them as population=, or choose another attack."
        )


def _traced(name: str, needs: Needs, target: Target, references: References) -> None:
    for trace in needs.traces:
        wanted = [("the target", target.traces)]
        wanted += [("the references", references.traces)] if needs.inside or needs.outside else []
        for whose, found in wanted:
            if trace not in found:
                raise AccessDenied(
                    f"{name} needs {KINDS[trace].words}, but {whose} came without. {KINDS[trace].hint}; or give them "
                    f"as traces={{{trace!r}: array}}."
                )


def _shown(identity: Any) -> str:
    return repr(identity.item() if isinstance(identity, np.generic) else identity)
