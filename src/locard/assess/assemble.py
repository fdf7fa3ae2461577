"""From what models said to an ``AuditResult``: scores, estimates, exposure, controls, policy, verdict."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from locard import __version__
from locard.assess.choose import Chosen
from locard.assess.controls import Redraw, blind_baseline, redrawn_plan
from locard.assess.estimates import Scored, attack_part, auc_estimate, summarise_targets, tpr_at
from locard.assess.exposure import expose
from locard.assess.groups import group_parts
from locard.assess.policy import settle
from locard.assess.released import Released
from locard.assess.scoring import Audited, score_targets
from locard.assess.table import records_table
from locard.assess.verdict import next_steps, unresolved, verdict
from locard.attacks import list_attacks
from locard.data.duplicates import Duplicates, across
from locard.observe.signals import Correct
from locard.result import (
    AttackPart,
    AuditResult,
    ClassCount,
    ComparisonPart,
    ControlPart,
    DataPart,
    FloorPart,
    FloorTpr,
    Number,
    Result,
    TargetPart,
)
from locard.result import Duplicates as DuplicatesPart
from locard.settings import Settings
from locard.stats import compare_all, pair_means, t_over_pairs
from locard.types import Estimate

OTHER_FLOOR = 10.0  # the headline is shown again with the probability floor this many times higher

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Case:
    """What is being assessed, besides the models' answers."""

    settings: Settings
    chosen: Chosen
    estimator: str
    saved_outputs: bool
    redraw: Redraw | None
    duplicates: Duplicates | None
    released: Callable[[Audited], Released] | None
    progress: Progress
    caveats: tuple[str, ...] = ()


def assess(audited: Audited, case: Case) -> AuditResult:
    """The whole result of an audit."""
    settings = case.settings
    scored = _score_all(audited, case)
    headline = scored[0]
    case.progress("grading records", 0, 1)
    with ThreadPoolExecutor(max_workers=settings.compute.workers) as threads:  # they share signals, and only read
        exposing = threads.submit(expose, headline.attack, audited, settings.exposure)
        controlling = threads.submit(_released_and_controls, audited, case, headline)
        measuring = threads.submit(_attack_parts, scored, audited, case)
        describing = threads.submit(lambda: (_target_part(audited, case), _data_part(audited, case)))
        exposure, parts = exposing.result(), measuring.result()
        released, controls = controlling.result()
        target, data = describing.result()
    policy = settle(settings.policy, scored, exposure, audited, settings.measure)
    near = None if case.duplicates is None else case.duplicates.group >= 0
    case.progress("grading records", 1, 1)
    summary = Result(
        locard_version=__version__,
        name=settings.name,
        seed=settings.seed,
        verdict=verdict(parts[0], exposure.part, policy, data, released.part if released else None),
        data=data,
        target=target,
        attacks=parts,
        groups=group_parts(headline, audited, exposure, settings.measure),
        comparisons=_comparisons(scored, audited, settings),
        controls=controls,
        exposed=exposure.part,
        not_run=list(case.chosen.not_run),
        released=released.part if released else None,
        policy=policy,
        unresolved=[*unresolved(parts, exposure.part, list(case.chosen.not_run), target, data), *case.caveats],
        next_steps=next_steps(parts[0], exposure.part, policy, target, data),
        settings=settings.without_compute(),
    )
    scores: dict[str, np.ndarray] = {s.label: s.scores for s in scored} | {"member": audited.member}
    table = records_table(audited, scored, exposure, released, near)
    return AuditResult(summary, table, scores)


def _score_all(audited: Audited, case: Case) -> list[Scored]:
    """Every attack on every target. Attacks share the observations' signals; NumPy lets threads run side by side."""
    attacks = list(case.chosen.attacks.items())
    done = 0

    def one(item: tuple[str, Any]) -> Scored:
        nonlocal done
        label, attack = item
        scores = score_targets(attack, audited)
        fprs = case.settings.measure.fprs
        out = summarise_targets(attack, case.chosen.names[label], label, scores, audited, fprs)
        done += 1
        case.progress("scoring attacks", done, len(attacks))
        return out

    case.progress("scoring attacks", 0, len(attacks))
    with ThreadPoolExecutor(max_workers=case.settings.compute.workers) as threads:
        return list(threads.map(one, attacks))


def _released_and_controls(audited: Audited, case: Case, headline: Scored) -> tuple[Released | None, list[ControlPart]]:
    released = case.released(audited) if case.released else None
    return released, _controls(audited, case, headline, released)


def _attack_parts(scored: list[Scored], audited: Audited, case: Case) -> list[AttackPart]:
    catalogue = list_attacks().set_index("name")["source"].to_dict()
    parts = [
        attack_part(
            s,
            audited,
            case.settings.measure,
            headline=i == 0,
            design_known=not case.saved_outputs,
            source=str(catalogue.get(s.name, (type(s.attack).__doc__ or "").strip().split("\n")[0])),
        )
        for i, s in enumerate(scored)
    ]
    floor = audited.observations.probability_floor
    if floor is not None and audited.observations.floored():
        parts[0] = parts[0].model_copy(update={"at_other_floor": _other_floor(scored[0], audited, case, floor)})
    return parts


def _other_floor(headline: Scored, audited: Audited, case: Case, floor: float) -> FloorPart:
    other = min(OTHER_FLOOR * floor, 0.5 / audited.observations.classes)
    population = None if audited.population is None else audited.population.at_floor(other)
    again = replace(audited, observations=audited.observations.at_floor(other), population=population)
    measure = case.settings.measure
    scores = score_targets(headline.attack, again)
    scored = summarise_targets(headline.attack, headline.name, headline.label, scores, again, measure.fprs)
    rates = [
        FloorTpr(fpr=fpr, estimate=tpr_at(scored, again, measure, place).estimate)
        for place, fpr in enumerate(measure.fprs)
    ]
    area = auc_estimate(scored, again, measure.confidence)
    return FloorPart(floor=other, auc=Number.of(area), tpr=rates)


def _comparisons(scored: list[Scored], audited: Audited, settings: Settings) -> list[ComparisonPart]:
    """Every attack against the headline: TPR at the first FPR, on the same targets, Holm over comparisons."""
    if len(scored) < 2 or audited.plan.pairs < 4:
        return []
    names = {s.label: s for s in scored}
    out = []
    statistics = {"AUC": {k: s.auc for k, s in names.items()}}
    statistics[f"TPR at FPR {settings.measure.fprs[0]:g}"] = {k: s.tpr(0) for k, s in names.items()}
    for statistic, values in statistics.items():
        compared = compare_all(
            values,
            audited.plan.pair,
            {k: s.attack.variance_factor for k, s in names.items()},
            headline=scored[0].label,
            confidence=settings.measure.confidence,
        )
        out += [
            ComparisonPart(
                first=c.first,
                second=c.second,
                statistic=statistic,
                difference=Number.of(c.difference),
                p=c.p,
                p_adjusted=c.p_adjusted,
            )
            for c in compared
        ]
    return out


def _controls(audited: Audited, case: Case, headline: Scored, released: Released | None) -> list[ControlPart]:
    settings = case.settings.controls
    out = []
    if case.redraw is not None and settings.redraws > 1:
        out.append(redrawn_plan(headline.attack, headline.label, audited, settings, case.redraw))
    if settings.blind and audited.records.features.size:
        first = audited.member[0]
        out.append(
            blind_baseline(audited.records, first, settings, audited.seed, what="the first target's training set")
        )
        if released is not None:
            out.append(
                blind_baseline(
                    audited.records,
                    released.member,
                    settings,
                    audited.seed.child("released"),
                    what=f"the training set of {released.part.model}",
                    name="blind baseline, released model",
                )
            )
    return out


def _target_part(audited: Audited, case: Case) -> TargetPart:
    plan = audited.plan
    correct = audited.observations.signal(Correct())[plan.targets].mean(axis=-1)
    member = audited.member
    inside = np.array([c[m].mean() for c, m in zip(correct, member, strict=True)])
    outside = np.array([c[~m].mean() for c, m in zip(correct, member, strict=True)])
    sizes = np.array([len(plan.train_index[t]) for t in plan.targets], dtype=np.float64)
    return TargetPart(
        kind="saved outputs" if case.saved_outputs else "procedure",
        estimator=case.estimator,
        design=plan.design,
        models=len(plan),
        targets=len(plan.targets),
        pairs=plan.pairs,
        train_records=Number(
            value=float(sizes.mean()),
            low=float(sizes.min()),
            high=float(sizes.max()),
            confidence=1.0,
            method="counted: mean, smallest and largest",
            n=len(sizes),
        ),
        train_accuracy=Number.of(_mean(inside, plan.pair)),
        test_accuracy=Number.of(_mean(outside, plan.pair)),
        gap=Number.of(_mean(inside - outside, plan.pair, bounds=(-1.0, 1.0))),
    )


def _mean(values: np.ndarray, pair: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Mean over targets with t over pairs; counted, with the range, where pairs are too few or all equal."""
    estimate = t_over_pairs(pair_means(values, pair), factor=1.0, bounds=bounds)
    if estimate.value is not None:
        return estimate
    return Estimate(
        value=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
        confidence=1.0,
        method="counted: mean, smallest and largest",
        n=len(values),
    )


def _data_part(audited: Audited, case: Case) -> DataPart:
    records, observations = audited.records, audited.observations
    counts = np.bincount(records.y, minlength=len(records.classes))
    floored = observations.floored()
    answers = observations.models * observations.records * observations.queries * observations.classes
    return DataPart(
        source=case.settings.data.source,
        n=len(records),
        units=records.n_units,
        unit=case.settings.data.unit or (None if records.unit is None else "unit"),
        classes=[ClassCount(label=str(c), records=int(k)) for c, k in zip(records.classes, counts, strict=True)],
        features=int(np.prod(records.features.shape[1:])),
        fingerprint=records.fingerprint,
        population=0 if audited.population is None else audited.population.records,
        probability_floor=observations.probability_floor,
        floored=floored,
        floored_share=floored / max(1, answers),
        duplicates=_duplicates_part(case.duplicates, audited),
        notes=list(records.notes),
    )


def _duplicates_part(found: Duplicates | None, audited: Audited) -> DuplicatesPart | None:
    if found is None:
        return None
    return DuplicatesPart(
        exact_records=found.exact_records,
        near_records=found.near_records,
        conflicting_labels=found.conflicting_labels,
        across=across(found, audited.member),
        rule=found.rule,
    )
