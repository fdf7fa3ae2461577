"""Controls: checks that must come out a known way, or no number of the audit means anything."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from locard.assess.choose import fewest_references
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
FOLDS = 5  # of the blind classifier


def redrawn_plan(
    attack: Attack, label: str, audited: Audited, settings: ControlSettings, redraw: Redraw
) -> ControlPart:
    """The headline attack against plans that trained nothing: the same outputs, scored as if other coins had fallen.

    Under redrawn plans its AUC must be .5; the p-value compares the real plan with them. [E: the whole plan is redrawn
    and every score recomputed; plans that would leave a record too few references are drawn but passed over, as the
    real one would have been refused.]
    """
    small = _random_part(audited, settings)
    targets = small.plan.targets[: min(settings.models, len(small.plan.targets))]

    def statistic(under: Audited) -> float:
        scores = by_unit(score_targets(attack, under, targets), under.records)
        return float(auc_many(scores, under.unit_member_of(targets)).mean())

    drawn = [small.under(redraw(audited.seed.child("redraw", b))) for b in range(settings.redraws)]
    usable = [u for u in (small, *drawn) if _can_run(attack, u, targets)]
    areas = np.array([statistic(u) for u in usable])
    null = areas[1:]
    if len(null) < 2 or usable[0] is not small:
        value = Estimate.undefined(f"only {len(null)} of {settings.redraws} redrawn plans leave enough references")
        said = f"{label} could not be scored as if other plans had been the real one."
    else:
        value = _around(null)
        said = (
            f"{label} on {small.records.n_units:,} random {'records' if _each_alone(small) else 'units'} and "
            f"{len(targets)} models, scored as if the {len(null)} redrawn plans had been the real one. Its AUC there "
            f"must be 0.5; under the real plan it is {areas[0]:.3f}."
        )
    inside = None if value.low is None or value.high is None else value.low - 1e-12 <= 0.5 <= value.high + 1e-12
    return ControlPart(
        name="redrawn plan",
        description=said,
        statistic="AUC under redrawn plans",
        value=Number.of(value),
        expected="0.5 inside the interval",
        passed=inside,
        p=None if value.value is None else permutation_p(float(areas[0]), null),
    )


def _can_run(attack: Attack, audited: Audited, targets: np.ndarray) -> bool:
    """Whether every target has members and non-members, and every record the references that the attack needs."""
    inside, outside = fewest_references(audited.plan)
    population = 0 if audited.population is None else audited.population.records
    if attack.needs.missing(inside=inside, outside=outside, population=population, traces=audited.had) is not None:
        return False
    held = audited.unit_member_of(targets).sum(axis=1)
    return bool(((held > 0) & (held < audited.records.n_units)).all())


def _around(null: np.ndarray) -> Estimate:
    """The mean of the redrawn plans with a t interval so wide that a right attack misses it once in 10,000 audits."""
    mean, error = float(null.mean()), float(null.std(ddof=1) / np.sqrt(len(null)))
    half = float(stdtrit(len(null) - 1, 1 - 0.5e-4)) * error
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        confidence=0.9999,
        method=f"t over {len(null)} redrawn plans",
        n=len(null),
    )


def _each_alone(audited: Audited) -> bool:
    return audited.records.n_units == len(audited.records)


def blind_baseline(
    records: Records,
    member: np.ndarray,
    settings: ControlSettings,
    seed: Seed,
    *,
    what: str,
    name: str = "blind baseline",
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
        name=name,
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


def _folds(records: Records, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fold for every record: all rows of a unit in one, members and non-members spread evenly."""
    member = by_unit(inside.astype(np.float64), records) > 0.5
    fold = np.empty(records.n_units, dtype=np.int64)
    for side in (member, ~member):
        fold[side] = rng.permutation(int(side.sum())) % FOLDS
    of_record: np.ndarray = fold[records.units]
    return of_record


def _blind_scores(records: Records, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from locard.train.recipe import table_encoder

    if min(inside.sum(), (~inside).sum()) < 10:
        return None
    flat = records.features.reshape(len(records), -1)
    if records.columns is not None:
        flat = table_encoder(records.columns).fit_transform(flat)
    x = np.column_stack([flat, np.eye(len(records.classes))[records.y]])
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    model = make_pipeline(fill, StandardScaler(), LogisticRegression(C=0.1, max_iter=200, class_weight="balanced"))
    fold = _folds(records, inside, rng)
    scores = np.zeros(len(records))
    for test, train in ((fold == f, fold != f) for f in range(FOLDS)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a direction is enough
            scores[test] = model.fit(x[train], inside[train]).decision_function(x[test])
    return scores
