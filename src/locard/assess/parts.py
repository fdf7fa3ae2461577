"""What an assessment consists of: tasks that do not need each other, each done by whoever is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from locard.assess.choose import Chosen
from locard.assess.controls import Redraw, blind_baseline, redrawn_plan
from locard.assess.estimates import Scored, attack_part, auc_estimate, summarise_targets, tpr_at
from locard.assess.exposure import Exposure, expose
from locard.assess.indirect import Networks, indirect_part
from locard.assess.looks_at_pairs import Sequential
from locard.assess.released import Answers, Released, assess_released
from locard.assess.scoring import Audited, score_targets
from locard.assess.screening import Tested
from locard.assess.selected import claims_on_selected
from locard.attacks import ATTACKS, paper_of
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.data.canaries import Planted
from locard.data.duplicates import Duplicates, across
from locard.data.records import Records
from locard.observe.kept import other_floor
from locard.observe.signals import Correct
from locard.result import AttackPart, ClassCount, ControlPart, DataPart, FloorPart, FloorTpr, Number, TargetPart
from locard.result import Duplicates as DuplicatesPart
from locard.settings import Settings
from locard.stats import pair_means, t_over_pairs
from locard.train.recipe import Recipe
from locard.types import Estimate

Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]  # results of a work on chunks, in any order
Part = Literal[
    "exposure",
    "redrawn plan",
    "released",
    "attack",
    "selected",
    "indirect",
    "other floor",
    "blind baseline",
    "blind, released",
    "target",
    "data",
]


@dataclass(frozen=True, eq=False)
class Case:
    """What is being assessed, besides the models' answers.

    ``released``: what a released model said, and which audited records it was trained on. ``recipe``: how the
    references were trained, where that is known. ``tested``: the records that are attacked one by one, chosen among
    those of ``everyone``. ``indirect``: attacks that ask other queries about them, of the ``networks``.
    """

    settings: Settings
    chosen: Chosen
    estimator: str
    saved_outputs: bool
    redraw: Redraw | None
    duplicates: Duplicates | None
    released: tuple[Answers, np.ndarray] | None
    recipe: Recipe | None
    caveats: tuple[str, ...] = ()
    tested: Tested | None = None
    everyone: Records | None = None
    indirect: Mapping[str, GMIAIndirect] = field(default_factory=dict)
    networks: Networks | None = None
    planted: Planted | None = None
    sequential: Sequential | None = None


@dataclass(frozen=True)
class Task:
    """One part of an assessment; ``label`` names the attack where there are several."""

    part: Part
    label: str = ""


def tasks_of(case: Case, audited: Audited) -> list[Task]:
    """Everything that there is to do, what takes longest first."""
    controls = case.settings.controls
    blind = controls.blind and audited.records.features.size > 0
    wanted: list[tuple[Part, bool]] = [
        ("exposure", True),
        ("redrawn plan", case.redraw is not None and controls.redraws > 1),
        ("released", case.released is not None),
    ]
    short: list[tuple[Part, bool]] = [
        ("other floor", audited.observations.probability_floor is not None),
        ("blind baseline", blind),
        ("blind, released", blind and case.released is not None),
        ("target", True),
        ("data", True),
    ]
    return [
        *(Task(part) for part, asked in wanted if asked),
        *(Task("indirect", label) for label in case.indirect if case.tested is not None),
        *(Task("selected", label) for label in case.chosen.attacks if case.tested is not None),
        *(Task("attack", label) for label in case.chosen.attacks),
        *(Task(part) for part, asked in short if asked),
    ]


@dataclass(frozen=True, eq=False)
class Assessor:
    """Does the tasks of one case, in any order; whoever does several computes what they share once."""

    audited: Audited
    case: Case

    def __call__(self, task: Task) -> tuple[Task, Any]:
        """The task, and what came of it."""
        return task, self._done(task)

    def _done(self, task: Task) -> Exposure | ControlPart | Released | tuple[Scored, AttackPart] | Any:
        audited, case = self.audited, self.case
        headline, controls = case.chosen.headline, case.settings.controls
        if task.part == "indirect":
            assert case.tested is not None  # else it is no task
            assert case.networks is not None
            method, confidence = case.indirect[task.label], case.settings.measure.confidence
            assert case.everyone is not None
            return indirect_part(method, task.label, audited, case.tested, case.networks, case.everyone, confidence)
        attack = case.chosen.attacks[task.label or headline]
        match task.part:
            case "exposure":
                return expose(attack, audited, case.settings.exposure)
            case "redrawn plan":
                assert case.redraw is not None  # else it is no task
                return redrawn_plan(attack, headline, audited, controls, case.redraw)
            case "released":
                return _released(audited, case)
            case "attack":
                return _attack(task.label, audited, case)
            case "selected":
                assert case.tested is not None  # else it is no task
                assert case.everyone is not None
                confidence = case.settings.measure.confidence
                return claims_on_selected(attack, audited, case.tested, case.everyone, confidence)
            case "other floor":
                return _other_floor(audited, case)
            case "blind baseline":
                said = "the first target's training set"
                return blind_baseline(audited.records, audited.member[0], controls, audited.seed, what=said)
            case "blind, released":
                return _blind_released(audited, case)
            case "target":
                return _target_part(audited, case)
            case "data":
                return _data_part(audited, case)


def in_threads(workers: int) -> Run:
    """Tasks in threads of this process, for answers that are in its memory: NumPy lets them run side by side."""

    def run(work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        with ThreadPoolExecutor(max_workers=workers) as threads:
            for done in as_completed([threads.submit(work, chunk) for chunk in chunks]):
                yield done.result()

    return run


def _attack(label: str, audited: Audited, case: Case) -> tuple[Scored, AttackPart]:
    """One attack on every target, and its node of ``result.json``."""
    return measured(score_targets(case.chosen.attacks[label], audited), label, audited, case)


def measured(scores: np.ndarray, label: str, audited: Audited, case: Case) -> tuple[Scored, AttackPart]:
    """What one attack's scores on all targets say: every estimate of it is made here."""
    attack, name, measure = case.chosen.attacks[label], case.chosen.names[label], case.settings.measure
    scored = summarise_targets(attack, name, label, scores, audited, measure.fprs)
    part = attack_part(
        scored,
        audited,
        measure,
        headline=label == case.chosen.headline,
        design_known=not case.saved_outputs,
        source=paper_of(name) if name in ATTACKS else (type(attack).__doc__ or "").strip().split("\n")[0],
    )
    return scored, part


def _other_floor(audited: Audited, case: Case) -> FloorPart | None:
    """The headline with a higher probability floor, where the floor has raised anything."""
    floor = audited.observations.probability_floor
    if floor is None or not audited.observations.floored():
        return None
    label, measure = case.chosen.headline, case.settings.measure
    attack, name = case.chosen.attacks[label], case.chosen.names[label]
    other = other_floor(floor, audited.observations.classes)
    population = None if audited.population is None else audited.population.at_floor(other)
    again = replace(audited, observations=audited.observations.at_floor(other), population=population)
    scored = summarise_targets(attack, name, label, score_targets(attack, again), again, measure.fprs)
    rates = [
        FloorTpr(fpr=fpr, estimate=tpr_at(scored, again, measure, place).estimate)
        for place, fpr in enumerate(measure.fprs)
    ]
    area = auc_estimate(scored, again, measure.confidence)
    return FloorPart(floor=other, auc=Number.of(area), tpr=rates)


def _released(audited: Audited, case: Case) -> Released:
    assert case.released is not None  # else it is no task
    answers, inside = case.released
    return assess_released(answers, inside, case.chosen.attacks, audited, case.recipe, case.settings.measure)


def _blind_released(audited: Audited, case: Case) -> ControlPart:
    assert case.released is not None  # else it is no task
    answers, inside = case.released
    return blind_baseline(
        audited.records,
        inside,
        case.settings.controls,
        audited.seed.child("released"),
        what=f"the training set of {answers.name}",
        name="blind baseline, released model",
    )


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
