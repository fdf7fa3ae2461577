"""The whole chain for one record, up to the queries that the target will be asked. The target has no part in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from locard.attacks.indirect.cluster import medoids
from locard.attacks.indirect.combine import NOTHING, Verdict, both_ways, verdict
from locard.attacks.indirect.domain import Domain, distinct
from locard.attacks.indirect.generate import generate
from locard.attacks.indirect.influence import influence, signal
from locard.attacks.indirect.optimise import optimise
from locard.data.records import Records
from locard.observe.asking import AskableTarget, QueryLog
from locard.observe.signals import log_softmax
from locard.train.influence import Influenced, TeachableReferences

if TYPE_CHECKING:
    from locard.attacks.gmia_indirect import GMIAIndirect


@dataclass(frozen=True, eq=False, kw_only=True)
class Questions:
    """What a target will be asked about one record, and how its answers will be judged.

    Attributes:
        record: the record's id.
        label: its class.
        features: ``[queries, ...]``, the accepted queries.
        testing: ``float64[test references, queries, classes]``, what they say: logits.
        influence: of each accepted query, I(r, q).
        control: the same for the control branch against the references as they were.
        optimised: how many of the accepted queries were random ones that had been rejected and were moved.
        distance: of each accepted query from the record (``Domain.distance``).
        nearest: distance of the nearest reference record.
        steps: how many further steps the references took, on average.
        seconds: what all this took.
    """

    record: object
    label: int
    features: np.ndarray
    testing: Float64[np.ndarray, "references queries classes"]
    influence: Float64[np.ndarray, "queries"]
    control: Float64[np.ndarray, "queries"]
    optimised: int
    distance: Float64[np.ndarray, "queries"]
    nearest: float
    steps: float
    seconds: float

    def __len__(self) -> int:
        return len(self.features)

    @property
    def references(self) -> int:
        """How many test."""
        return len(self.testing)

    def ask(self, target: AskableTarget) -> Verdict:
        """Ask all of them, and judge the answers.

        Raises:
            AccessDenied: the target gives labels only.
            QueryBudgetSpent: they do not fit, and none is asked.
        """
        return self.judged(target.log_probabilities(self.features), target.floor) if len(self) else NOTHING

    def judged(self, said: Float64[np.ndarray, "queries classes"], floor: float | None) -> Verdict:
        """What the target said to them, logarithms of probabilities that are at least ``floor``."""
        if not len(self):
            return NOTHING
        return verdict(signal(said[None], self.label, floor)[0], signal(self.testing, self.label, floor))


@dataclass(frozen=True, eq=False)
class BothWays:
    """Two halves of the references, each choosing the queries that the other half tests: ``Questions`` of both.

    Axes are as there, the queries of the first half before those of the second.
    """

    first: Questions
    second: Questions

    @property
    def record(self) -> object:
        """The record's id."""
        return self.first.record

    @property
    def label(self) -> int:
        """Its class."""
        return self.first.label

    @property
    def features(self) -> np.ndarray:
        """``[queries, ...]``."""
        return self._both("features")

    @property
    def influence(self) -> Float64[np.ndarray, "queries"]:
        """I(r, q), in the half that chose the query."""
        return self._both("influence")

    @property
    def control(self) -> Float64[np.ndarray, "queries"]:
        """The same for the control branch."""
        return self._both("control")

    @property
    def distance(self) -> Float64[np.ndarray, "queries"]:
        """From the record."""
        return self._both("distance")

    @property
    def nearest(self) -> float:
        """Distance of the nearest reference record."""
        return self.first.nearest

    @property
    def optimised(self) -> int:
        """How many were moved."""
        return self.first.optimised + self.second.optimised

    @property
    def references(self) -> int:
        """How many test, in the smaller half."""
        return min(self.first.references, self.second.references)

    @property
    def seconds(self) -> float:
        """What all this took."""
        return self.first.seconds + self.second.seconds

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def ask(self, target: AskableTarget) -> Verdict:
        """Ask all of them, and add up what both halves make of the answers.

        Raises:
            AccessDenied: the target gives labels only.
            QueryBudgetSpent: they do not fit, and none is asked.
        """
        if not len(self):
            return NOTHING
        said = target.log_probabilities(self.features)
        cut = len(self.first)
        return both_ways(self.first.judged(said[:cut], target.floor), self.second.judged(said[cut:], target.floor))

    def _both(self, name: str) -> np.ndarray:
        out: np.ndarray = np.concatenate([getattr(self.first, name), getattr(self.second, name)])
        return out


def questions(
    method: GMIAIndirect,
    record: Records,
    references: TeachableReferences,
    choosing: Int64[np.ndarray, "choosing"],
    avoid: QueryLog,
    *,
    rng: np.random.Generator,
) -> Questions:
    """Generate, cluster, teach, select, optimise.

    Args:
        method: the settings.
        record: one.
        references: all of them.
        choosing: those that choose and shape the queries; the others only answer them.
        avoid: rows that must not be asked, this record among them.
        rng: draws the random queries.
    """
    start = time.perf_counter()
    label, domain = int(record.y[0]), Domain.of(references.pool)
    choosers = references.of(choosing)
    testers = references.of(np.setdiff1d(np.arange(len(references)), choosing))
    nearest = float(domain.distance(references.pool.features, record.features).min())

    def allowed(features: np.ndarray) -> np.ndarray:
        """Those that may be asked, each once."""
        far = domain.distance(features, record.features) >= method.apart * nearest
        return distinct(features[far & ~avoid.any_of(features)])

    random = allowed(
        generate(
            method.generation,
            record.features,
            references.pool,
            domain,
            count=method.queries,
            keep=method.keep,
            noise=method.noise,
            rng=rng,
        )
    )
    taught = choosers.taught(record.features, label, method.lesson)
    features, rejected = _selected(method, choosers, taught, random)
    moved = 0
    if len(features) < method.fewest and method.optimise and len(rejected):
        better = allowed(
            optimise(rejected, domain, taught, against=method.against, steps=method.optimise, size=method.step)
        )
        good = better[influence(taught, better, against=method.against).positive > method.theta]
        together = distinct(np.concatenate([features, good]))
        features, moved = together, len(together) - len(features)
    found = influence(taught, features, against=method.against)
    return Questions(
        record=record.ids[0],
        label=label,
        features=features,
        testing=testers.logits(features),
        influence=found.positive,
        control=found.control,
        optimised=moved,
        distance=domain.distance(features, record.features),
        nearest=nearest,
        steps=float(np.mean(taught.steps)),
        seconds=time.perf_counter() - start,
    )


def _selected(
    method: GMIAIndirect, choosers: TeachableReferences, taught: Influenced, random: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """At most ``clusters`` accepted queries, and as many that were not accepted."""

    def clustered(features: np.ndarray) -> np.ndarray:
        if not len(features):
            return features
        said = np.moveaxis(np.exp(log_softmax(choosers.logits(features))), 0, 1)
        few: np.ndarray = features[medoids(said.reshape(len(features), -1), method.clusters)]
        return few

    few = clustered(random) if method.first == "clusters" else random
    found = influence(taught, few, against=method.against)
    accepted = found.positive > method.theta
    if method.first == "clusters":
        return few[accepted], few[~accepted]
    strength = found.gain / np.where(found.spread > 0, found.spread, np.inf)
    best = np.argsort(-strength, kind="stable")
    yes, no = best[accepted[best]], best[~accepted[best]]
    return clustered(few[np.sort(yes[: method.strongest])]), few[no[: method.clusters]]
