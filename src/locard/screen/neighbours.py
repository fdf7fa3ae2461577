"""Records that nothing else in the target's training set is likely to resemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float64

from locard.errors import SettingsError
from locard.fields import Limits, Positive, check_fields
from locard.screen.approximate import approximate_nearest
from locard.screen.cosine import TIE, Vectors, Within, count_within
from locard.screen.evidence import Evidence
from locard.screen.features import Centre, Features, feature_vectors
from locard.screen.nearest import Nearest
from locard.screen.neighbour_rule import BETA, allowed, beta_by_rule, delta_by_rule
from locard.screen.protocol import Above, Reads, Valued

FOUND = 16  # neighbours that the approximate search looks for

Distance = Annotated[float, Limits(above=0.0, most=2.0)]
Part = Annotated[float, Limits(above=0.0, most=1.0)]
Count = Annotated[int, Limits(least=1)]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """GMIA's screen: few records of the reference pool answer like this one, so few in the target's training set will.

    Two records are neighbours if the cosine distance of their features is below delta. N'_n of the N' records of the
    reference pool are neighbours of a record; in a training set of N records N'_n x N / N' are expected. A record is
    selected if that is below beta. The value is minus the expected number, minus less than one neighbour's worth for
    the nearest record beyond delta, so that records with equally many neighbours are ordered by how far the next is.

    Args:
        features: ``"logits"``: answers of all screening references, side by side; ``"raw"``: the records' own features.
        centre: which logits (see ``locard.screen.features``).
        delta: the distance; None: by rule, the largest at which ``share`` of the reference pool, leave-one-out, would
            be selected.
        beta: the expected number; None: 0.1, or by rule where delta is given: the least that selects ``share``.
        share: of the reference pool, for the rules.
        search: ``"exact"``, or ``"approximate"``: delta and the selected records are the same, counts of all others are
            counted from below; for more than some 50,000 records.
        dimensions: of the random projection of the approximate search.
        probes: cells that the approximate search looks into.

    Where no reference pool of its own is given, the candidates are it, each without its own unit. All screening
    references are read for all records, those that hold a record and those that do not, because features can only be
    compared model by model; with whole pairs each record has equally many of both.

    Source: Long et al. 2018 (arXiv:1802.04889), section 4.3.

    Departs: N / N', not N' / N as printed (their table 2 agrees with this one); N is the size of the training set, not
    of the target pool as in a public re-implementation; delta by a rule, where the paper gives one number a data set;
    logits known only up to a constant are centred; distances within 1e-9 of delta are not below it.
    """

    features: Features = "logits"
    centre: Centre = "auto"
    delta: Distance | None = None
    beta: Positive | None = None
    share: Part = 0.001
    search: Literal["exact", "approximate"] = "exact"
    dimensions: Count = 64
    probes: Count = 16

    references: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def reads(self) -> Reads:
        """Answers, or the records' own features."""
        return "logits" if self.features == "logits" else "features"

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, expected neighbours in the target's training set, negated.

        Raises:
            NotEnoughReferences: there is no screening reference.
            DataError: no delta can be chosen, or there are no raw features.
            SettingsError: the approximate search without ``rng``.
            MissingExtra: the approximate search without its library.
        """
        candidates = feature_vectors(evidence.candidates, self.features, self.centre)
        pool = candidates
        if evidence.pool is not None:
            pool = feature_vectors(evidence.pool, self.features, self.centre)
        delta, beta, found, chosen = self._counted(evidence, candidates, pool, rng)
        expected = found.count * evidence.ratio
        return Valued(
            neighbour_value(found, delta, evidence.ratio),
            {"count": found.count, "expected": expected, "beyond": found.beyond},
            {
                "delta": delta,
                "beta": beta,
                "chosen": chosen,
                "ratio": evidence.ratio,
                "pool": len(pool) if evidence.pool is not None else len(pool) - 1,
            },
            own=Above(-evidence.ratio * (allowed(beta, evidence.ratio) + 1)),
            words="{count} of {pool} reference records are nearer than {delta:.3g}, so {expected:.3g} are "
            "expected in the target's training set (few: below {beta:.3g}); the next is at {beyond:.3g}",
            compared=(candidates, pool),
        )

    def _counted(
        self, evidence: Evidence, candidates: Vectors, pool: Vectors, rng: np.random.Generator | None
    ) -> tuple[float, float, Within, str]:
        """delta, beta, neighbours, and which of the two were chosen by rule."""
        near, upper = None, None
        beta = BETA if self.beta is None else self.beta
        most = allowed(beta, evidence.ratio)
        if self.search == "approximate":
            near, upper = self._approximately(evidence, candidates, pool, most, rng)
        delta, by_rule, workers = self.delta, "by hand", evidence.workers
        apart = evidence.own_of_pool
        if delta is None:
            by_rule = "delta by rule"
            delta = delta_by_rule(pool, most, self.share, apart=apart, upper=upper, workers=workers)
        elif self.beta is None:
            by_rule = "beta by rule"
            beta = beta_by_rule(pool, delta, self.share, evidence.ratio, apart=apart, workers=workers)
            most = allowed(beta, evidence.ratio)
        if near is None:
            found = count_within(candidates, pool, delta, apart=evidence.own, workers=workers)
        else:
            found = _confirmed(near, candidates, pool, delta, most, evidence)
        return delta, beta, found, by_rule

    def _approximately(
        self, evidence: Evidence, candidates: Vectors, pool: Vectors, most: int, rng: np.random.Generator | None
    ) -> tuple[Nearest, np.ndarray | None]:
        """Neighbours found for the candidates, and bounds on the distances that the rule for delta asks about."""
        if rng is None:
            raise SettingsError("screen neighbours: rng= is needed for search = 'approximate'. Give a NumPy generator.")
        k = max(FOUND, most + 1)

        def look(queries: Vectors, apart: object) -> Nearest:
            return approximate_nearest(
                queries,
                pool,
                k,
                apart=apart,  # type: ignore[arg-type]
                dimensions=self.dimensions,
                probes=self.probes,
                seed=seed,
                workers=evidence.workers,
            )

        seed = int(rng.integers(2**31))
        near = look(candidates, evidence.own)
        if self.delta is not None:
            return near, None
        of_pool = near if evidence.pool is None else look(pool, evidence.own_of_pool)
        return near, of_pool.distance[:, most]


def neighbour_value(found: Within, delta: float, ratio: float) -> Float64[np.ndarray, "records"]:
    """Minus the expected neighbours, each worth ``ratio``, and minus less than one more for the next record.

    A record whose next one is not known (it has very many neighbours) is treated as if that were as near as can be.
    """
    beyond = np.where(np.isnan(found.beyond), delta, np.clip(found.beyond, delta, 2.0))
    out: np.ndarray = -ratio * (found.count + 1.0 - beyond / 2.0)
    return out


def _confirmed(
    near: Nearest, candidates: Vectors, pool: Vectors, delta: float, most: int, evidence: Evidence
) -> Within:
    """Counts from below by what was found; exact where that leaves a record with few neighbours.

    What a search misses can only make a count too small. So a record with many neighbours found has many, and those
    with few are counted again, all pairs: the selected records are those of the exact search.
    """
    count = (near.distance < delta - TIE).sum(axis=1).astype(np.int64)
    beyond = np.full(len(count), np.nan)
    few = np.flatnonzero(count <= most)
    if len(few):
        apart = None if evidence.own is None else evidence.own.at(few)
        exact = count_within(candidates.at(few), pool, delta, apart=apart, workers=evidence.workers)
        count[few], beyond[few] = exact.count, exact.beyond
    return Within(count, beyond)
