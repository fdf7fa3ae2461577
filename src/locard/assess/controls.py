"""Controls: checks that must come out a known way, or no number of the audit means anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from locard.assess.scoring import Audited, by_unit, score_targets
from locard.attacks.protocol import Attack
from locard.data.records import Records
from locard.plan.plan import Plan
from locard.result import ControlPart, Number
from locard.seeds import Seed
from locard.settings import ControlSettings
from locard.stats import auc_many, auc_one_target, permutation_p
from locard.types import Estimate

Redraw = Callable[[Seed], Plan]


def redrawn_plan(
    attack: Attack, label: str, audited: Audited, settings: ControlSettings, redraw: Redraw
) -> ControlPart:
    """The headline attack against plans that trained nothing: the same outputs, scored as if other coins had fallen.

    Under redrawn plans its AUC must be .5; the p-value compares the real plan with them. [E: the whole plan is redrawn
    and every score recomputed.]
    """
    small = _random_part(audited, settings)
    plan = small.plan
    targets = plan.targets[: min(settings.models, len(plan.targets))]

    def statistic(under: Audited) -> float:
        scores = by_unit(score_targets(attack, under, targets), under.records)
        return float(auc_many(scores, under.unit_member_of(targets)).mean())

    real = statistic(small)
    null = np.array([statistic(small.under(redraw(audited.seed.child("redraw", b)))) for b in range(settings.redraws)])
    mean, error = float(null.mean()), float(null.std(ddof=1) / np.sqrt(len(null)))
    estimate = Estimate(
        value=mean,
        low=mean - 4 * error,
        high=mean + 4 * error,
        confidence=0.9999,
        method=f"mean of {len(null)} redrawn plans, 4 standard errors",
        n=len(null),
    )
    return ControlPart(
        name="redrawn plan",
        description=(
            f"{label} on {small.records.n_units:,} random records and {len(targets)} models, scored as if the "
            f"{len(null)} redrawn plans had been the real one. Its AUC there must be 0.5; under the real plan it is "
            f"{real:.3f}."
        ),
        statistic="AUC under redrawn plans",
        value=Number.of(estimate),
        expected="0.5 inside the interval",
        passed=bool(abs(mean - 0.5) <= max(4 * error, 1e-12)),
        p=permutation_p(real, null),
    )


def blind_baseline(
    records: Records, member: np.ndarray, settings: ControlSettings, seed: Seed, *, what: str
) -> ControlPart:
    """A classifier that never asks the model tells members from non-members: it must be at chance.

    If it is not, the two differ in distribution and an attack may have learnt that instead of membership.
    """
    rng = seed.child("blind").generator()
    chosen = np.sort(rng.permutation(len(records))[: max(settings.records, 2000)])
    part, inside = records.select(chosen), member[chosen]
    scores = _blind_scores(part, inside, rng)
    value = (
        Estimate.undefined("fewer than 10 members or non-members among the records used")
        if scores is None
        else auc_one_target(by_unit(scores, part), by_unit(inside.astype(np.float64), part) > 0.5, confidence=0.999)
    )
    return ControlPart(
        name="blind baseline",
        description=f"A logistic regression on features and label alone, no model, predicts membership in {what}.",
        statistic="AUC, cross-fitted",
        value=Number.of(value),
        expected="99.9 % interval not above 0.5",
        passed=None if value.low is None else value.low <= 0.5,
    )


def _random_part(audited: Audited, settings: ControlSettings) -> Audited:
    """Random units, all their rows."""
    rng = audited.seed.child("controls").generator()
    units = rng.permutation(audited.records.n_units)[: settings.records]
    chosen = np.flatnonzero(np.isin(audited.records.units, units))
    return replace(audited.part(chosen))


def _blind_scores(records: Records, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from locard.train.recipe import table_encoder

    if min(inside.sum(), (~inside).sum()) < 10:
        return None
    first = table_encoder(records.columns) if records.columns is not None else StandardScaler()
    flat = records.features.reshape(len(records), -1)
    if records.columns is not None:
        flat = first.fit_transform(flat)
        first = StandardScaler()
    x = np.column_stack([flat, np.eye(len(records.classes))[records.y]])
    model = make_pipeline(first, LogisticRegression(C=0.1, max_iter=200))
    folds = GroupKFold(n_splits=5, shuffle=True, random_state=int(rng.integers(2**31)))
    scores = np.zeros(len(records))
    for train, test in folds.split(x, groups=records.units):
        if len(np.unique(inside[train])) < 2:
            return None
        scores[test] = model.fit(x[train], inside[train]).decision_function(x[test])
    return scores
