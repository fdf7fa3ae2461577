"""What an audit will cost and can resolve, before anything is spent: two timed probe fits and arithmetic."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from locard.data.records import Records
from locard.data.split import Split
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import Settings
from locard.stats import audited_for, nameable_rate, needed_non_members, resolution, smallest_nameable
from locard.train.jobs import explained
from locard.train.recipe import Recipe

START_SECONDS = 2.0  # a worker's start: interpreter, libraries, data
SCORE_SECONDS = 9e-9  # an attack a (target, record, reference); measured, see docs/benchmarks.md
PROBES = 2


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
    fprs: tuple[Resolvable, ...]
    named_from: int | None
    nameable_rate: float | None
    hits_needed: int | None
    trials: int
    attacks: tuple[str, ...]
    not_run: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: [vars(r) for r in v] if k == "fprs" else v for k, v in vars(self).items()}


def predict_cost(
    settings: Settings,
    records: Records,
    split: Split,
    plan: Plan,
    recipe: Recipe,
    *,
    attacks: tuple[str, ...],
    not_run: tuple[str, ...] = (),
) -> Cost:
    """Fit the plan's first two models for real, and multiply.

    Memory is this process's peak after the probes, once for each worker, plus the signals that scoring keeps.

    Raises:
        SettingsError: the recipe's own code failed.
    """
    fit, predict = _probe(recipe, records, split, plan, Seed(settings.seed))
    workers = min(settings.compute.workers, len(plan))
    members = plan.member[plan.targets]
    units = records.select(split.audited)
    n, pairs = len(split.audited), plan.pairs
    outside = int(_unit_counts(~members, units).min())
    fprs = tuple(
        Resolvable(
            fpr=f,
            resolution=resolution(outside, f, confidence=settings.measure.confidence),
            non_members=outside,
            needed=needed_non_members(f, confidence=settings.measure.confidence)[1],
        )
        for f in settings.measure.fprs
    )
    complementary = bool((plan.partner[plan.targets] >= 0).all())
    trials = pairs // 2 if complementary and pairs >= 4 else 0
    needed, rate = nameable_rate(trials, units.n_units) if trials else (1, math.nan)
    can_name = needed <= trials
    training = math.ceil(len(plan) / workers) * (fit + predict) + (START_SECONDS if workers > 1 else 0.0)
    scoring = SCORE_SECONDS * len(attacks) * len(plan.targets) * n * max(1, len(plan.references)) + 1.0
    answers = 4 * len(records.classes) * (n + len(split.population))
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    signals = 8 * len(plan) * n
    return Cost(
        models=len(plan),
        pairs=pairs,
        workers=workers,
        audited=n,
        units=units.n_units,
        population=len(split.population),
        train_records=float(np.mean([len(i) for i in plan.train_index])),
        fit_seconds=fit,
        predict_seconds=predict,
        train_seconds=training,
        score_seconds=scoring,
        total_seconds=training + scoring,
        memory_bytes=int(
            here * (workers if workers > 1 else 0) + here + min(2**30, 4 * signals) + len(attacks) * signals
        ),
        disk_bytes=len(plan) * answers,
        fprs=fprs,
        named_from=smallest_nameable(pairs, units.n_units, q=settings.exposure.fdr) if complementary else None,
        nameable_rate=rate if can_name else None,
        hits_needed=needed if can_name else None,
        trials=trials,
        attacks=attacks,
        not_run=not_run,
    )


def _unit_counts(mask: np.ndarray, records: Records) -> np.ndarray:
    """How many units are on this side, a target."""
    first = np.unique(records.units, return_index=True)[1]
    counts: np.ndarray = mask[:, first].sum(axis=1)
    return counts


def _probe(recipe: Recipe, records: Records, split: Split, plan: Plan, seed: Seed) -> tuple[float, float]:
    """Median seconds of fitting one model and of asking it about all observed records."""
    from threadpoolctl import threadpool_limits

    observed = np.concatenate([split.audited, split.population])
    fits, predictions = [], []
    with threadpool_limits(limits=1):
        for model in range(min(PROBES, len(plan))):
            start = time.perf_counter()
            with explained(f"probe model {model}", len(plan.train_index[model])):
                predict = recipe.fit(records, plan.train_index[model], seed.child("probe", model).integer())
                fitted = time.perf_counter()
                predict(records.features[observed])
            fits.append(fitted - start)
            predictions.append(time.perf_counter() - fitted)
    return float(np.median(fits)), float(np.median(predictions))


def cost_text(cost: Cost) -> str:
    """The prediction for people."""
    lines = [
        f"Models     {cost.models} ({cost.pairs} pairs) of {cost.train_records:,.0f} training records each",
        f"Records    {cost.audited:,} audited ({cost.units:,} units), {cost.population:,} population",
        f"Time       about {_duration(cost.total_seconds)}: training {_duration(cost.train_seconds)} on "
        f"{cost.workers} worker{'s' if cost.workers > 1 else ''} (one model: {cost.fit_seconds:.2f} s to fit, "
        f"{cost.predict_seconds:.2f} s to ask), scoring {_duration(cost.score_seconds)}",
        f"Memory     about {cost.memory_bytes / 2**30:.1f} GiB; disk {cost.disk_bytes / 2**20:,.0f} MiB",
        f"Attacks    {', '.join(cost.attacks)}",
    ]
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
    return "\n".join(lines) + "\n"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
