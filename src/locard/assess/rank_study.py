"""All attacks on the same models: the tasks, done by whoever is free, and the study that they make."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from locard.assess.assemble import comparison_parts
from locard.assess.attacked_by import Scorer, halves
from locard.assess.parts import Assessor, Case, Run, Task, measured
from locard.assess.rank_curves import Point, curve, curves_part, draw, no_curves, no_curves_part
from locard.assess.rank_picks import Picked, pick_records, picks_part
from locard.assess.scoring import Audited, score_targets
from locard.attacks.protocol import Attack
from locard.rank_result import CostPart, CurvesPart, RankRow, StudyPart
from locard.result import AttackPart, ComparisonPart, NotRun, ReferenceCount
from locard.settings import MeasureSettings
from locard.settings_rank import RankSettings
from locard.stats import Comparison, adjusted_together
from locard.stats.ranking import compare_pairs, letters, told_apart, unbeaten

BENCHMARK = "lira"  # what curves are held against, where it runs
Kind = Literal["attack", "target", "data"]


@runtime_checkable
class Auxiliary(Protocol):
    """An attack that needs models besides the references."""

    @property
    def auxiliary(self) -> int:
        """How many."""
        ...


@dataclass(frozen=True)
class RankTask:
    """One part of a study."""

    kind: Kind
    label: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """All about one attack: estimates, statistics on every target, seconds of scoring one, picks, and its curve."""

    part: AttackPart
    auc: np.ndarray
    tpr: np.ndarray
    seconds: float
    picked: Picked | str
    points: list[Point]


@dataclass(frozen=True, eq=False)
class Ranker:
    """Does the tasks of one study, in any order; whoever does several computes what they share once."""

    audited: Audited
    case: Case

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, what was computed here stays here."""
        return Ranker, (self.audited, self.case)

    @property
    def rank(self) -> RankSettings:
        """How attacks are compared."""
        return self.case.settings.rank or RankSettings()

    def __call__(self, task: RankTask) -> tuple[RankTask, Any]:
        """The task, and what came of it."""
        return task, self._done(task)

    def _done(self, task: RankTask) -> Any:
        if task.kind == "attack":
            return self._measured(self.case.chosen.attacks[task.label], task.label)
        return Assessor(self.audited, self.case)(Task("target" if task.kind == "target" else "data"))[1]

    def _measured(self, attack: Attack, label: str) -> Measured:
        """Nothing that another attack has left behind makes this one look cheaper; what it learns it learns once."""
        alone, measure, name = replace(self.audited), self.case.settings.measure, self.case.chosen.names[label]
        start = time.perf_counter()
        scores = score_targets(attack, alone)
        seconds = (time.perf_counter() - start) / len(scores)
        scored, part = measured(scores, label, alone, self.case)
        rates = np.stack([scored.tpr(i) for i in range(len(measure.fprs))])
        scorer = Scorer.of(attack, alone, scores)
        picked = pick_records(scorer, halves(alone), measure.fprs[0])
        points: list[Point] = []
        if no_curves(alone, self.rank) is None:
            points = curve(scorer, name, label, draw(alone, self.rank), self.rank, measure)
        return Measured(part, scored.auc, rates, seconds, picked, points)


def tasks_of(case: Case) -> list[RankTask]:
    """Everything that there is to do."""
    return [*(RankTask("attack", label) for label in case.chosen.attacks), RankTask("target"), RankTask("data")]


def study(
    audited: Audited, case: Case, run: Run, progress: Callable[[str, int, int], None]
) -> tuple[StudyPart, dict[str, Picked]]:
    """All attacks of a case on its models.

    Args:
        audited: what the models said.
        case: what is asked.
        run: who does the tasks: the ``map`` of a backend, or ``in_threads``. Only ``seconds`` depends on it.
        progress: who hears of it.

    Returns:
        The study, and what each attack picks.
    """
    ranker = Ranker(audited, case)
    settings, rank = case.settings, ranker.rank
    tasks, done = tasks_of(case), dict[RankTask, Any]()
    progress("ranking attacks", 0, len(tasks))
    for task, result in run(ranker, tasks):
        done[task] = result
        progress("ranking attacks", len(done), len(tasks))
    found: dict[str, Measured] = {label: done[RankTask("attack", label)] for label in case.chosen.attacks}
    judged = judge(found, audited.plan.pair, settings.measure)
    picked = {label: found[label].picked for label in judged.order}
    data, target = done[RankTask("data")], done[RankTask("target")]
    made = StudyPart(
        name=settings.name,
        seed=settings.seed,
        verdict=judged.verdict(f"{data.source}, {target.estimator}"),
        data=data,
        target=target,
        fpr=settings.measure.fprs[0],
        statistic=judged.statistic,
        confidence=settings.measure.confidence,
        headline=case.chosen.headline,
        best=judged.best,
        unbeaten=judged.unbeaten,
        rows=_rows(found, judged, audited, case),
        comparisons=judged.comparisons,
        picks=picks_part(picked, halves(audited), settings.measure.fprs[0]),
        curves=_curves({label: found[label].points for label in judged.order}, audited, case, rank),
        not_run=[NotRun(name=n.name, reason=n.reason) for n in case.chosen.not_run],
        caveats=list(case.caveats),
        settings=settings.without_compute(),
    )
    return made, {label: f for label, f in picked.items() if isinstance(f, Picked)}


def _curves(points: dict[str, list[Point]], audited: Audited, case: Case, rank: RankSettings) -> CurvesPart:
    benchmark = BENCHMARK if BENCHMARK in points else case.chosen.headline
    measure, reason = case.settings.measure, no_curves(audited, rank)
    if reason is not None:
        return no_curves_part(reason, benchmark, measure.fprs[0])
    return curves_part(points, case.chosen.attacks, draw(audited, rank), benchmark, measure)


@dataclass(frozen=True, eq=False)
class Judged:
    """What the comparisons of all attacks with each other say."""

    statistic: str
    order: list[str]
    places: dict[str, int]
    beats: set[tuple[str, str]]
    comparisons: list[ComparisonPart]

    @property
    def unbeaten(self) -> list[str]:
        """In the order of the table."""
        return unbeaten(self.order, self.beats)

    @property
    def best(self) -> str | None:
        """The only one that is not beaten."""
        left = self.unbeaten
        return left[0] if len(left) == 1 and len(self.order) > 1 else None

    def verdict(self, what: str) -> str:
        """One sentence or two."""
        left, many = self.unbeaten, len(self.order)
        by = f"by {self.statistic}"
        if many == 1:
            return f"{what}: there is one attack, {left[0]}, and nothing to compare it with."
        if self.best is not None:
            return f"{what}: {self.best} is the best of {many} attacks {by}."
        if len(left) == many:
            return f"{what}: no attack is shown to be better than another {by}."
        return (
            f"{what}: no single attack is shown to be the best {by}. The best is among these {len(left)} of {many}: "
            f"{', '.join(left)}{' (equal on all targets)' if {self.places[label] for label in left} == {1} else ''}."
        )


def judge(found: Mapping[str, Measured], pair: np.ndarray, measure: MeasureSettings) -> Judged:
    """Compare every two attacks, by AUC and by TPR at the declared FPR where it is resolved; p pays for all of it."""
    parts = {label: m.part for label, m in found.items()}
    factors = {label: p.variance_factor for label, p in parts.items()}
    resolved = all(p.tpr[0].resolution != "not resolvable" for p in parts.values())
    rate = f"TPR at FPR {measure.fprs[0]:g}"
    statistics = {"AUC": {label: m.auc for label, m in found.items()}}
    if resolved:
        statistics = {rate: {label: m.tpr[0] for label, m in found.items()}} | statistics
    made: list[tuple[str, Comparison]] = []
    for name, values in statistics.items():
        made += [(name, c) for c in compare_pairs(values, pair, factors, confidence=measure.confidence)]
    paid = list(zip([name for name, _ in made], adjusted_together([c for _, c in made]), strict=True))
    sorts = next(iter(statistics))
    beats = told_apart([c for name, c in paid if name == sorts], 1 - measure.confidence)
    means = {label: tuple(float(v[label].mean()) for v in statistics.values()) for label in found}
    order = sorted(found, key=lambda label: means[label], reverse=True)
    places = {label: 1 + sum(means[other] > means[label] for other in found) for label in found}
    return Judged(sorts, order, places, beats, comparison_parts(paid))


def _rows(found: Mapping[str, Measured], judged: Judged, audited: Audited, case: Case) -> list[RankRow]:
    signs = letters(judged.order, judged.beats)
    rows = []
    for label in judged.order:
        attack, p = case.chosen.attacks[label], found[label].part
        told = {b for a, b in judged.beats if a == label} | {a for a, b in judged.beats if b == label}
        rows.append(
            RankRow(
                place=judged.places[label],
                label=label,
                name=p.name,
                headline=p.headline,
                settings=p.settings,
                access=p.access,
                uses=attack.needs.words,
                source=p.source,
                auc=p.auc,
                tpr=p.tpr,
                balanced_accuracy=p.balanced_accuracy,
                variance_factor=p.variance_factor,
                discrete=p.discrete,
                cost=_cost(attack, found[label], audited),
                letters=signs[label],
                alike=[other for other in judged.order if other != label and other not in told],
            )
        )
    return rows


def _cost(attack: Attack, m: Measured, audited: Audited) -> CostPart:
    needs = attack.needs
    return CostPart(
        references=m.part.references,
        least=ReferenceCount(inside=needs.inside, outside=needs.outside),
        population=needs.population,
        queries=audited.observations.queries,
        auxiliary=_auxiliary(attack, audited),
        seconds=m.seconds,
    )


def _auxiliary(attack: Attack, audited: Audited) -> int:
    own = attack.auxiliary if isinstance(attack, Auxiliary) else 0
    return own + (0 if attack.needs.elsewhere is None else len(audited.elsewhere[attack.needs.elsewhere].plan))
