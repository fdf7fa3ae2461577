"""What an audit will cost and can resolve, before anything is spent: two timed probe fits and arithmetic."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from locard.budget.chains import Chain, ChainCost, chain_costs, chain_lines
from locard.budget.probe import Probe, probe
from locard.budget.scale import SCORE_SECONDS, AtScale, at_scale, duration, scale_lines
from locard.data.records import Records
from locard.data.split import Split
from locard.plan.plan import Plan
from locard.settings import Settings
from locard.stats import audited_for, nameable_rate, needed_non_members, resolution, smallest_nameable
from locard.train.asked import Condenses
from locard.train.distil import fits_a_student
from locard.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Resolvable:
    """One stated FPR: what this design can tell about it."""

    fpr: float
    resolution: str
    non_members: int
    needed: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The prediction of ``locard plan``. Times in seconds, memory and disk in bytes."""

    models: int
    pairs: int
    workers: int
    audited: int
    units: int
    population: int
    train_records: float
    fit_seconds: float
    predict_seconds: float
    train_seconds: float
    score_seconds: float
    total_seconds: float
    memory_bytes: int
    disk_bytes: int
    logit_bytes: int
    kept: tuple[str, ...]
    fprs: tuple[Resolvable, ...]
    named_from: int | None
    nameable_rate: float | None
    hits_needed: int | None
    trials: int
    attacks: tuple[str, ...]
    not_run: tuple[str, ...]
    way: str | None
    students: int
    student_records: int
    distil_seconds: float
    at_scale: AtScale
    chains: tuple[ChainCost, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        tree = {k: [vars(r) for r in v] if k == "fprs" else v for k, v in vars(self).items()}
        return tree | {"at_scale": vars(self.at_scale), "chains": [vars(c) for c in self.chains]}


def predict_cost(
    settings: Settings,
    records: Records,
    split: Split,
    plan: Plan,
    recipe: Recipe | tuple[float, float],
    *,
    attacks: tuple[str, ...],
    not_run: tuple[str, ...] = (),
    students: Mapping[str, int] | None = None,
    chains: Sequence[Chain] = (),
    kept: Condenses | None = None,
) -> Cost:
    """Fit the plan's first two models for real, and multiply.

    Where models were trained elsewhere there is no recipe, but the seconds that one takes to open and to ask.

    Students cost what one fit costs, in proportion to their records and epochs (``fits_a_student``).

    Indirect attacks (``chains``) cost what their work is in fits and answers of one network.

    ``kept`` is what is stored of answers; None: all of them, float32.

    Memory is this process's peak after the probes, once for each worker, plus the signals that scoring keeps.

    Raises:
        SettingsError: the recipe's own code failed.
    """
    timed = probe(recipe, records, split, plan, settings)
    fit, predict = timed.fit, timed.predict
    workers, taught = min(settings.compute.workers, len(plan)), dict(students or {})
    units = records.select(split.audited)
    n = len(split.audited)
    training = timed.training(len(plan), workers)
    scoring = SCORE_SECONDS * len(attacks) * len(plan.targets) * n * max(1, len(plan.references)) + 1.0
    distilling = sum(_student(recipe, kind, records, split, plan, settings) * n for kind, n in taught.items())
    distilling *= fit / workers
    trained, logits = float(np.mean([len(i) for i in plan.train_index])), 4 * len(records.classes)
    answers = len(plan) * len(getattr(recipe, "augment", ("identity",))) * (n + len(split.population))
    one, asked = logits if kept is None else kept.answer_bytes, predict / (n + len(split.population))
    indirect = chain_costs(chains, fit_seconds=fit, ask_seconds=asked, targets=len(plan.targets))
    return Cost(
        models=len(plan),
        pairs=plan.pairs,
        workers=workers,
        audited=n,
        units=units.n_units,
        population=len(split.population),
        train_records=trained,
        fit_seconds=fit,
        predict_seconds=predict,
        train_seconds=training,
        score_seconds=scoring,
        total_seconds=training + distilling + scoring + sum(c.total_seconds for c in indirect),
        memory_bytes=_memory(timed, workers, models=len(plan), records=n, attacks=len(attacks)),
        disk_bytes=answers * one,
        logit_bytes=answers * logits,
        kept=() if kept is None else kept.words,
        fprs=_resolvable(settings, plan, units),
        **_nameable(settings, plan, units.n_units),
        attacks=attacks,
        not_run=not_run,
        way=timed.way,
        students=sum(taught.values()),
        student_records=_learnt_from(split, settings) if taught else 0,
        distil_seconds=distilling,
        at_scale=at_scale(
            fit_seconds=fit / trained,
            ask_seconds=asked,
            answer_bytes=one,
            attacks=len(attacks),
        ),
        chains=indirect,
    )


def _nameable(settings: Settings, plan: Plan, units: int) -> dict[str, Any]:
    """Which records this design can name, and how many at once: fields of ``Cost``."""
    complementary = bool((plan.partner[plan.targets] >= 0).all())
    trials = plan.pairs // 2 if complementary and plan.pairs >= 4 else 0
    needed, rate = nameable_rate(trials, units) if trials else (1, math.nan)
    can_name = needed <= trials
    return {
        "named_from": smallest_nameable(plan.pairs, units, q=settings.exposure.fdr) if complementary else None,
        "nameable_rate": rate if can_name else None,
        "hits_needed": needed if can_name else None,
        "trials": trials,
    }


def _learnt_from(split: Split, settings: Settings) -> int:
    had = len(split.population)
    return had if settings.distil.records is None else min(had, settings.distil.records)


def _student(
    recipe: Recipe | tuple[float, float], kind: str, records: Records, split: Split, plan: Plan, settings: Settings
) -> float:
    """What one student of this kind costs, in fits of its teacher."""
    own = settings.distil
    return fits_a_student(
        recipe,
        (own.epochs, own.label_only),
        records=math.ceil(_learnt_from(split, settings) / (own.students if kind == "students" else 1)),
        train_records=float(np.mean([len(i) for i in plan.train_index])),
        classes=len(records.classes),
        snapshots=kind == "distilled",
    )


def _resolvable(settings: Settings, plan: Plan, units: Records) -> tuple[Resolvable, ...]:
    outside = int(_unit_counts(~plan.member[plan.targets], units).min())
    confidence = settings.measure.confidence
    return tuple(
        Resolvable(
            fpr=f,
            resolution=resolution(outside, f, confidence=confidence),
            non_members=outside,
            needed=needed_non_members(f, confidence=confidence)[1],
        )
        for f in settings.measure.fprs
    )


def _memory(probe: Probe, workers: int, *, models: int, records: int, attacks: int) -> int:
    """Bytes of all processes together."""
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    signals = 8 * models * records
    theirs = max(here, probe.bytes) * (workers if workers > 1 else 0)
    return int(theirs + here + min(2**30, 4 * signals) + attacks * signals)


def _unit_counts(mask: np.ndarray, records: Records) -> np.ndarray:
    """How many units are on this side, a target."""
    first = np.unique(records.units, return_index=True)[1]
    counts: np.ndarray = mask[:, first].sum(axis=1)
    return counts


def _stored(cost: Cost) -> list[str]:
    """What is kept of answers, where that is not all of them, against what all would take."""
    if not cost.kept:
        return []
    one, whole = cost.disk_bytes / cost.models / 2**10, cost.logit_bytes / cost.models / 2**10
    ratio = cost.logit_bytes / cost.disk_bytes
    worth = f"{ratio:.1f} times less than" if ratio > 1 else f"nothing is saved: {1 / ratio:.1f} times"
    return [
        f"Stored     {', '.join(cost.kept)}: {one:,.0f} KiB a model, {worth} logits ({whole:,.0f} KiB a model, "
        f"{cost.logit_bytes / 2**20:,.0f} MiB in all)"
    ]


def cost_text(cost: Cost) -> str:
    """The prediction for people."""
    lines = [
        f"Models     {cost.models} ({cost.pairs} pairs) of {cost.train_records:,.0f} training records each",
        f"Records    {cost.audited:,} audited ({cost.units:,} units), {cost.population:,} population",
        f"Time       about {duration(cost.total_seconds)}: training {duration(cost.train_seconds)} on "
        f"{cost.workers} worker{'s' if cost.workers > 1 else ''} (one model: {cost.fit_seconds:.2f} s to fit, "
        f"{cost.predict_seconds:.2f} s to ask{f'; {cost.way}' if cost.way else ''}), scoring "
        f"{duration(cost.score_seconds)}",
        f"Memory     about {cost.memory_bytes / 2**30:.1f} GiB; disk {cost.disk_bytes / 2**20:,.0f} MiB",
        *_stored(cost),
        f"Attacks    {', '.join(cost.attacks)}",
    ]
    if cost.students:
        lines.append(
            f"Students   {cost.students:,} of {cost.student_records:,} records in all, distilled in about "
            f"{duration(cost.distil_seconds)} of the time above"
        )
    lines += chain_lines(cost.chains)
    lines += [f"Not run    {reason}" for reason in cost.not_run]
    for r in cost.fprs:
        more = (
            f" ({r.needed:,} non-members of each target are needed, the fewest are {r.non_members:,}: audit "
            f"{audited_for(r.needed):,} records)"
        )
        lines.append(f"FPR {r.fpr:<7g}{r.resolution}{'' if r.resolution == 'resolved' else more}")
    if cost.trials and cost.nameable_rate is not None:
        lines.append(
            f"Exposed    a record found in {100 * cost.nameable_rate:.0f} % of retrainings is named with 90 % chance "
            f"({cost.hits_needed} of {cost.trials} hits)"
        )
        if cost.named_from is not None:
            lines.append(f"           the contrast over {cost.pairs} pairs can name {cost.named_from} or more records")
    else:
        lines.append("Exposed    no record can be named with so few pairs: 32 models (plan 'pairs') are the fewest")
    return "\n".join([*lines, *scale_lines(cost.at_scale)]) + "\n"
