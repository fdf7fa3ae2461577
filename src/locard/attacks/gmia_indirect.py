"""GMIA, indirect: whether a record was in the training data, found out without ever asking about the record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int64

from locard.attacks.claiming import mask_of, refuse_known
from locard.attacks.fields import Limits, Positive, Share, check_fields
from locard.attacks.indirect.chain import BothWays, Questions, questions
from locard.attacks.indirect.found import Found, IndirectClaims, claims_of
from locard.data.records import Records
from locard.errors import AccessDenied, DataError, NotEnoughReferences, QueryBudgetSpent
from locard.observe.asking import AskableTarget, QueryLog
from locard.seeds import Seed
from locard.train.influence import MOST, ChainWork, Lesson, TeachableReferences
from locard.types import Access

FEWEST = 3  # references: one chooses, two test


@dataclass(frozen=True, kw_only=True)
class GMIAIndirect:
    """Membership of a record by queries that it influences; the record itself is never asked about.

    1. random queries, far from the record
    2. references that go on training with the record in every batch, and twins that go on without it
    3. queries whose probability of the record's label the record raises in nearly all references, the strongest of them
    4. of these, few that the references answer differently; where these are very few, others are moved until the record
       does raise their probability
    5. the target is asked these, and its answers are ranked among those of other references

    Some references choose and shape the queries, the others test: queries that were picked by what the testing
    references say make small p-values too frequent.

    Args:
        generation: of random queries: "uniform" (every valid value as likely), "mixed" (features of the record and of
            reference records), "noise" (the record with Gaussian noise); "auto": mixed for tables, noise for arrays.
        queries: random ones.
        keep: of "mixed": the share of features that stay the record's.
        noise: of "noise": its standard deviation, a share of the features' range.
        apart: no query is nearer to the record than this multiple of the distance of the nearest reference record.
        first: "influence": queries are selected, and then clustered; "clusters": the other way about, as in the paper.
        strongest: of "influence": so many accepted queries are clustered, those whose rise is largest beside how the
            references differ anyway.
        clusters: queries after clustering.
        lesson_steps: further steps with the record in every batch; None for the passes of training, at most 100.
        lesson_like: a reference stops before, once the record's label is as probable as this quantile of its training
            records' labels.
        lesson_rate: learning rate of these steps; None for the mean of training's.
        against: positive references are compared with the "control" branch, or with the "original" ones as in the
            paper.
        theta: a query is accepted if the record raises its label in more than this share of the references.
        fewest: with fewer accepted queries the rejected ones are optimised.
        optimise: steps of gradient descent on rejected queries; 0 for none.
        step: the first of these, a share of a feature's range.
        share: of the references that choose; the others test. (In an audit those that screen choose.)
        swap: two halves of the references, whatever ``share`` is, each of which chooses the queries that the other one
            tests: p = p_1 + p_2. For few references; twice the time and the queries.
        records: in an audit or attack, so many of the selected records are tested, first those that the screen puts
            first; each takes as long as teaching the references one record.
        calibration: in an audit or attack, so many population records that the same screen selects have queries of
            their own and calibrate, as far as there are so many. Each takes as long as a record, and asks the target as
            much; 9 are the fewest for p up to .1, 99 for .01. In an audit the other tested records calibrate anyway.
        fdr: the false discovery rate of claims.

    Source: Long et al. 2018 (arXiv:1802.04889), 4.5, Figure 5 and Algorithm 1.

    Departs: references are split; the control branch; queries mixed from the record and from reference records, where
    the paper draws tables uniformly; selection before clustering, which by itself keeps the queries least like all
    others, and those say least of the record; ranks instead of Kost's combination, which stands beside them. What the
    paper does not say (linkage, steps, gamma, projection) is told in ``indirect/``.
    """

    generation: Literal["auto", "uniform", "mixed", "noise"] = "auto"
    queries: Annotated[int, Limits(least=2, most=10_000)] = 5000
    keep: Share = 0.5
    noise: Positive = 0.3
    apart: Annotated[float, Limits(least=0.0)] = 1.0
    first: Literal["influence", "clusters"] = "influence"
    strongest: Annotated[int, Limits(least=1)] = 300
    clusters: Annotated[int, Limits(least=1, most=10_000)] = 50
    lesson_steps: Annotated[int, Limits(least=1)] | None = None
    lesson_like: Share | None = 0.5
    lesson_rate: Positive | None = None
    against: Literal["control", "original"] = "control"
    theta: Annotated[float, Limits(least=0.0, most=0.999)] = 0.9
    fewest: Annotated[int, Limits(least=0)] = 10
    optimise: Annotated[int, Limits(least=0)] = 50
    step: Positive = 0.1
    share: Annotated[float, Limits(above=0.0, most=0.9)] = 1 / 3
    swap: bool = False
    records: Annotated[int, Limits(least=1)] = 5
    calibration: Annotated[int, Limits(least=0)] = 0
    fdr: Annotated[float, Limits(above=0.0, most=0.5)] = 0.1

    access: ClassVar[Access] = Access.PROBABILITIES

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def lesson(self) -> Lesson:
        """How references are taught the record."""
        return Lesson(most=self.lesson_steps, like=self.lesson_like, rate=self.lesson_rate)

    def choosing(self, references: int) -> Int64[np.ndarray, "choosing"]:
        """Which of so many references choose and shape queries; a screen may use these as well, and no others.

        >>> GMIAIndirect().choosing(9).tolist(), GMIAIndirect().choosing(3).tolist()
        ([0, 4, 8], [0])
        """
        share = 0.5 if self.swap else self.share
        wanted = min(max(1, round(references * share)), references - 2)
        return np.unique(np.linspace(0, references - 1, wanted).astype(np.int64))

    def work(self, choosing: int, testing: int, *, passes: int, steps: int) -> ChainWork:
        """What one record takes at most, but for ``optimising`` queries, which many records do without.

        Args:
            choosing: references that choose; both branches of each are taught.
            testing: references that test.
            passes: over its records, in training one.
            steps: of the optimiser, in training one.
        """
        most = min(MOST, passes) if self.lesson_steps is None else self.lesson_steps
        asked = 3 * (self.queries + self.clusters) + min(self.strongest, self.queries)
        ways, chosen, tested = (2, choosing + testing, choosing + testing) if self.swap else (1, choosing, testing)
        return ChainWork(
            fits=2 * chosen * most / steps,
            optimising=2 * chosen * self.optimise / steps,
            random=ways * self.queries,
            answered=chosen * asked + tested * self.clusters,
            queries=ways * self.clusters,
        )

    def prepare(
        self,
        record: Records,
        references: TeachableReferences,
        *,
        rng: np.random.Generator,
        avoid: QueryLog | None = None,
        choosing: Int64[np.ndarray, "choosing"] | None = None,
    ) -> Questions | BothWays:
        """All that is done without the target, for one record. ``Questions.ask(target)`` does the rest.

        Args:
            record: one.
            references: an attacker's own; none was trained on the record.
            rng: draws the random queries.
            avoid: rows that must not be asked about, besides this record.
            choosing: which references choose; default: ``self.choosing``.

        Raises:
            NotEnoughReferences: fewer than three; with ``swap`` fewer than two in a half.
            DataError: some reference was trained on the record; not one record.
        """
        if len(record) != 1:
            raise DataError(f"record: one is needed at a time, found {len(record)}. Prepare them one after the other.")
        if len(references) < FEWEST:
            raise NotEnoughReferences(
                f"gmia_indirect needs {FEWEST} reference models, one to choose queries and two to test, found "
                f"{len(references)}. Train more."
            )
        refuse_known(record, np.ones(1, dtype=np.bool_), references.pool)
        taboo = QueryLog() if avoid is None else avoid
        taboo.add(record.features)
        chosen = self.choosing(len(references)) if choosing is None else choosing
        if not self.swap:
            return questions(self, record, references, chosen, taboo, rng=rng)
        others = np.setdiff1d(np.arange(len(references)), chosen)
        if min(len(chosen), len(others)) < 2:
            raise NotEnoughReferences(
                f"gmia_indirect with swap needs 2 reference models in each half, found {len(chosen)} and "
                f"{len(others)}. Train more."
            )
        ways = zip((chosen, others), rng.spawn(2), strict=True)
        return BothWays(*(questions(self, record, references, half, taboo, rng=draws) for half, draws in ways))

    def claim(
        self,
        target: AskableTarget,
        records: Records,
        references: TeachableReferences,
        *,
        rng: np.random.Generator,
        selected: Any = None,
        population: Records | None = None,
        non_member: Any = None,
        choosing: Int64[np.ndarray, "choosing"] | None = None,
    ) -> IndirectClaims:
        """P-values and claims of all selected records. Nothing is asked before all queries are known and fit.

        Every calibration record takes as long as a record: it has a chain of its own.

        Args:
            target: may only be asked.
            records: candidates.
            references: an attacker's own, trained as the target is thought to be; none on a candidate.
            rng: what is drawn for a record depends on this and on the record, not on the other records.
            selected: bool[records], by a screen that saw neither the target nor the testing references; None for all.
            population: known non-members that calibrate, selected by the same screen, and in no reference.
            non_member: bool[records], known non-members among the records; those selected calibrate the others.
            choosing: which references choose queries; default: ``self.choosing``.

        Raises:
            AccessDenied: the target gives labels only.
            DataError: a candidate was asked directly before, or stands among the records that references were trained
                on; masks that do not fit.
            NotEnoughReferences: fewer than three.
            QueryBudgetSpent: all queries together do not fit; nothing was asked.
        """
        if not target.access.allows(self.access):
            raise AccessDenied(
                f"gmia_indirect needs {self.access.words}, but this target gives {target.access.words}. Choose another "
                f"attack, or attack with more access."
            )
        tested = mask_of("selected", selected, len(records))
        among = mask_of("non_member", non_member, len(records), default=False)
        everyone = [records.select([int(i)]) for i in np.flatnonzero(tested)]
        calibrating = [] if population is None else [population.select([i]) for i in range(len(population))]
        _never_asked(target, [*everyone, *calibrating])
        if everyone:
            refuse_known(records, tested, references.pool)
        if population is not None:
            refuse_known(population, np.ones(len(population), dtype=np.bool_), references.pool)
        seed = Seed(int(rng.integers(2**31)))
        avoid = QueryLog()
        for kept_away in (records, *([] if population is None else [population])):
            avoid.add(kept_away.features)
        prepared = []
        for one in [*everyone, *calibrating]:
            draws = seed.child("record", one.fingerprint).generator()
            prepared.append(self.prepare(one, references, rng=draws, avoid=avoid, choosing=choosing))
        _fits(target, prepared)
        found = [_answered(asked, target) for asked in prepared]
        _never_asked(target, [*everyone, *calibrating])
        mine, others = found[: len(everyone)], found[len(everyone) :]
        claims = claims_of(
            records, tested, mine, others, among=among & tested, fdr=self.fdr, screened=selected is not None
        )
        return IndirectClaims(claims, mine, others)


def claim_indirectly(
    target: AskableTarget,
    records: Records,
    references: TeachableReferences,
    *,
    rng: np.random.Generator,
    **settings: Any,
) -> IndirectClaims:
    """``GMIAIndirect(**settings).claim`` of all records, without calibration.

    Raises:
        as ``GMIAIndirect`` and its ``claim``.
    """
    return GMIAIndirect(**settings).claim(target, records, references, rng=rng)


def _answered(asked: Questions | BothWays, target: AskableTarget) -> Found:
    start, before = time.perf_counter(), target.queries
    verdict = asked.ask(target)
    return Found(asked, verdict, target.queries - before, time.perf_counter() - start + asked.seconds)


def _never_asked(target: AskableTarget, records: list[Records]) -> None:
    for one in records:
        if target.log.holds(one.features[0]):
            raise DataError(
                f"record {one.ids.tolist()[0]!r}: an indirect attack must never ask about the record itself, but this "
                f"target was. Attack directly through another AskableTarget, so that this one's log stays a proof."
            )


def _fits(target: AskableTarget, prepared: list[Questions | BothWays]) -> None:
    needed, left = sum(len(q) for q in prepared), target.left
    if left is not None and needed > left:
        raise QueryBudgetSpent(
            f"{needed} queries are needed for {len(prepared)} records, but only {left} of {target.budget} are left; "
            f"none was asked. Raise the budget, select fewer records, or lower clusters."
        )
