"""From what models said to an ``AuditResult``: scores, estimates, exposure, controls, policy, verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from locard import __version__
from locard.assess.estimates import Scored
from locard.assess.exposure import Exposure
from locard.assess.groups import group_parts
from locard.assess.looks_at_pairs import allowing_for_looks
from locard.assess.one_run import one_run_part
from locard.assess.parts import Assessor, Case, Part, Run, Task, tasks_of
from locard.assess.policy import Excess, no_pass_without, settle
from locard.assess.scoring import Audited
from locard.assess.selected import OnSelected, compared_at, pairs_of
from locard.assess.table import records_table
from locard.assess.verdict import next_steps, unresolved, verdict
from locard.attacks.protocol import Claiming
from locard.result import AttackPart, AuditResult, CanariesPart, ComparisonPart, NotRun, Number, PolicyPart, Result
from locard.settings import Settings
from locard.stats import Comparison, adjusted_together, compare_all

Progress = Callable[[str, int, int], None]


def assess(audited: Audited, case: Case, run: Run, progress: Progress) -> AuditResult:
    """The whole result of an audit.

    Args:
        audited: what the models said.
        case: what is asked.
        run: who does the tasks: the ``map`` of a backend, or ``in_threads``. The result does not depend on it.
        progress: who hears of it.
    """
    done = _all_done(audited, case, run, progress)
    progress("grading records", 0, 1)
    settings = case.settings
    scored, parts = _attacks(done, case)
    exposure: Exposure = done[Task("exposure")]
    released, target, data = done.get(Task("released")), done[Task("target")], done[Task("data")]
    one_run = None if case.saved_outputs else one_run_part(scored[0], audited, settings.one_run, settings.measure)
    looks = case.sequential
    policy, excesses, parts = _decided(case, scored, parts, exposure, audited)
    near = None if case.duplicates is None else case.duplicates.group >= 0
    controls: tuple[Part, ...] = ("redrawn plan", "blind baseline", "blind, released")
    selected = {task.label: found for task, found in done.items() if task.part == "selected"}
    silent = [(label, found.reason) for label, found in selected.items() if found.reason]
    not_run = [*case.chosen.not_run, *(NotRun(name=f"{name} on selected records", reason=why) for name, why in silent)]
    summary = Result(
        locard_version=__version__,
        name=settings.name,
        seed=settings.seed,
        verdict=verdict(
            parts,
            exposure.part,
            policy,
            data,
            excesses=excesses,
            released=released.part if released else None,
            one_run=one_run,
        ),
        data=data,
        target=target,
        attacks=parts,
        groups=[] if looks else group_parts(scored[0], audited, exposure, settings.measure),
        comparisons=[] if looks else _comparisons(scored, audited, settings, _recalls(selected, audited, case)),
        controls=[done[Task(part)] for part in controls if Task(part) in done],
        exposed=exposure.part,
        cards=next((found.cards for found in selected.values() if found.cards), []),
        not_run=not_run,
        released=released.part if released else None,
        one_run=one_run,
        canaries=_canaries(case),
        sequential=looks.part(settings.policy, settings.measure.confidence) if looks else None,
        policy=policy,
        unresolved=[*unresolved(parts, exposure.part, not_run, target, data), *case.caveats],
        next_steps=next_steps(
            *(parts[0], exposure.part, policy, target, data),
            plain_run=one_run is not None and case.planted is None,
            looked=looks is not None,
        ),
        settings=settings.without_compute(),
    )
    scores: dict[str, np.ndarray] = {s.label: s.scores for s in scored} | {"member": audited.member}
    table = records_table(audited, scored, exposure, released, near)
    progress("grading records", 1, 1)
    return AuditResult(summary, table, scores)


def _decided(
    case: Case, scored: list[Scored], parts: list[AttackPart], exposure: Exposure, audited: Audited
) -> tuple[PolicyPart, list[Excess], list[AttackPart]]:
    """The policy's outcome, who exceeds it, and the attacks' nodes: in a sequential audit with intervals that allow for
    having looked.
    """
    settings, looks = case.settings, case.sequential
    if looks is None:
        policy, excesses = settle(settings.policy, scored, exposure, audited, settings.measure)
        return no_pass_without(policy, case.chosen.late), excesses, parts
    pair, confidence = audited.plan.pair, settings.measure.confidence
    again = [allowing_for_looks(p, s, pair, confidence) for p, s in zip(parts, scored, strict=True)]
    return *looks.policy(settings.policy, confidence), again


def _all_done(audited: Audited, case: Case, run: Run, progress: Progress) -> dict[Task, Any]:
    """What came of every task."""
    tasks = tasks_of(case, audited)
    done: dict[Task, Any] = {}
    progress("scoring attacks", 0, len(tasks))
    for task, result in run(Assessor(audited, case), tasks):
        done[task] = result
        progress("scoring attacks", len(done), len(tasks))
    return done


def _attacks(done: dict[Task, Any], case: Case) -> tuple[list[Scored], list[AttackPart]]:
    """Every attack's scores and node, the headline first and with the other floor beside it."""
    both = [done[Task("attack", label)] for label in case.chosen.attacks]
    scored, parts = [s for s, _ in both], [p for _, p in both]
    if case.tested is not None:
        screening = case.tested.part()
        for place, part in enumerate(parts):
            found: OnSelected = done[Task("selected", part.label)]
            more = {"screening": screening, "claims": found.rows, "promises": found.promises}
            parts[place] = part.model_copy(update=more if found.rows else {})
    floor = done.get(Task("other floor"))
    if floor is not None:
        parts[0] = parts[0].model_copy(update={"at_other_floor": floor})
    return scored, [*parts, *(done[Task("indirect", label)] for label in case.indirect if case.tested is not None)]


def _canaries(case: Case) -> CanariesPart | None:
    planted = case.planted
    if planted is None:
        return None
    count = planted.records.select(planted.split.audited).n_units
    return CanariesPart(
        kind=planted.kind, count=count, fixed=len(planted.fixed), copies=planted.copies, words=planted.words
    )


@dataclass(frozen=True, eq=False)
class _Recalls:
    """Share of the selected members that attacks claim, on each target, all at one calibrated cut-off."""

    statistic: str
    values: dict[str, np.ndarray]
    factors: dict[str, float]
    pair: np.ndarray


def _recalls(selected: dict[str, OnSelected], audited: Audited, case: Case) -> _Recalls | None:
    """Of the attacks on the selected records, where there is anything to compare."""
    usable = {label: found for label, found in selected.items() if found.recall is not None}
    if case.tested is None or len(usable) < 2:
        return None
    level = compared_at(audited, case.tested)
    values = {label: found.recall for label, found in usable.items() if found.recall is not None}
    pair = pairs_of(audited, case.tested)
    factors = {label: found.factor for label, found in usable.items()}
    return _Recalls(f"recall on selected records at p {level:g}", values, factors, pair)


def _comparisons(
    scored: list[Scored], audited: Audited, settings: Settings, recalls: _Recalls | None
) -> list[ComparisonPart]:
    """Every attack against the headline on the same targets, AUC and TPR at the first FPR; p pays for all of them.

    On selected records, every attack against the first that makes claims about single ones.
    """
    if len(scored) < 2 or audited.plan.pairs < 4:
        return []
    names = {s.label: s for s in scored}
    statistics = {"AUC": {k: s.auc for k, s in names.items()}}
    statistics[f"TPR at FPR {settings.measure.fprs[0]:g}"] = {k: s.tpr(0) for k, s in names.items()}
    compared: list[tuple[str, Comparison]] = []
    for statistic, values in statistics.items():
        found = compare_all(
            values,
            audited.plan.pair,
            {k: s.attack.variance_factor for k, s in names.items()},
            headline=scored[0].label,
            confidence=settings.measure.confidence,
        )
        compared += [(statistic, c) for c in found]
    if recalls is not None and len(np.unique(recalls.pair)) >= 4:
        first = next((s.label for s in scored if isinstance(s.attack, Claiming) and s.label in recalls.values), None)
        if first is not None:
            confidence = settings.measure.confidence
            found = compare_all(recalls.values, recalls.pair, recalls.factors, headline=first, confidence=confidence)
            compared += [(recalls.statistic, c) for c in found]
    return comparison_parts(compared)


def comparison_parts(compared: list[tuple[str, Comparison]]) -> list[ComparisonPart]:
    """Comparisons, each with the name of its statistic, as nodes of the result; p pays for all of them together."""
    return [
        ComparisonPart(
            first=c.first,
            second=c.second,
            statistic=statistic,
            difference=Number.of(c.difference),
            p=c.p,
            p_adjusted=c.p_adjusted,
        )
        for (statistic, _), c in zip(compared, adjusted_together([c for _, c in compared]), strict=True)
    ]
