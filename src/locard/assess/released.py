"""One released model, attacked with the references of the plan: it measures this model, not the procedure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from locard.assess.scoring import Audited, by_unit
from locard.attacks.protocol import Attack
from locard.data.membership import mask_of_ids
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.models import ReleasedModel
from locard.observe.observations import ArrayReader, Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import Population, References
from locard.observe.target import Target
from locard.result import Number, ReleasedAttack, ReleasedPart, TprAt
from locard.settings import MeasureSettings
from locard.stats import auc_one_target, clopper_pearson, conformal_threshold, one_target_box, precision, resolution
from locard.train.recipe import Recipe, SklearnRecipe, last_step
from locard.types import Estimate, Index, Logits

SIZE_TOLERANCE = 0.05  # a training size that differs by more is said in the verdict
NO_RECIPE = ("random_state", "n_jobs", "verbose")  # parameters that do not say how a model is made


@dataclass(frozen=True, eq=False)
class Released:
    """A released model's scores, and its part of ``result.json``."""

    part: ReleasedPart
    scores: dict[str, np.ndarray]
    member: Bool[np.ndarray, "audited"]


def member_mask(records: Records, ids: list[str]) -> Bool[np.ndarray, "records"]:
    """Which records the released model was trained on, from their ids (as text).

    Raises:
        SettingsError: an id that no record has, or a unit on both sides.
    """
    return mask_of_ids(records, ids, "released.members")


def need_both_sides(member: np.ndarray, where: str) -> None:
    """Refuse a released model without known members or non-members among these records.

    Raises:
        SettingsError: with the way out.
    """
    if member.all():
        raise SettingsError(
            f"released.members: known non-members {where} are needed to measure a released model, found none (all "
            f"{len(member)} were in its training). Add records it has not seen, or leave [released] out: the audit "
            f"then measures the training procedure on this data."
        )
    if not member.any():
        raise SettingsError(
            f"released.members: members {where} are needed, found none. Check released.members and data.pool."
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What a released model said: about the audited records, and about population records it has not seen.

    ``unseen``: places of the latter among the population. ``trained``: its number of training records, where known.
    """

    name: str
    logits: Logits
    unseen: Index
    population: Logits | None
    trained: int | None
    kind: str | None = None
    parameters: dict[str, Any] | None = None


def ask(model: ReleasedModel, member: np.ndarray, records: Records, audited: Index, population: Index) -> Answers:
    """Query a released model once about every audited record and every population record it was not trained on."""
    unseen = np.flatnonzero(~member[population])
    return Answers(
        name=model.name,
        logits=model.log_probabilities(records.select(audited)),
        unseen=unseen,
        population=model.log_probabilities(records.select(population[unseen])) if len(unseen) else None,
        trained=int(member.sum()),
        kind=model.kind,
        parameters=model.parameters,
    )


def assess_released(
    answers: Answers,
    inside: Bool[np.ndarray, "audited"],
    attacks: dict[str, Attack],
    audited: Audited,
    recipe: Recipe | None,
    settings: MeasureSettings,
) -> Released:
    """Score one released model with every attack.

    Args:
        answers: what it said.
        inside: which audited records it was trained on.
        attacks: label -> attack.
        audited: the references.
        recipe: how the references were trained; None for saved outputs.
        settings: what is measured.
    """
    need_both_sides(inside, "among the audited records")
    floor = audited.observations.probability_floor
    observations = Observations(ArrayReader(answers.logits[None]), audited.records.y, probability_floor=floor)
    references = References(audited.pool, audited.plan.references)
    if audited.plan.thin:
        references = references.thinned(audited.seed.child("thin", "released").generator())
    population = _population(answers, audited)
    warnings = _warnings(answers, audited, recipe)
    fewest = {
        "inside": int(references.inside_count.min()),
        "outside": int(references.outside_count.min()),
        "population": 0 if population is None else len(population),
    }
    scores, parts = {}, []
    for label, attack in attacks.items():
        missing = attack.needs.missing(**fewest)
        if missing is not None:
            warnings.append(f"The attack {label} was not run on the released model: it {missing}.")
            continue
        target = Target(observations, 0, access=audited.access)
        rng = audited.seed.child("released", repr(attack)).generator()
        learnt_from = references if attack.needs.elsewhere is None else audited.elsewhere_for(attack)
        scores[label] = attack.score(target, audited.records, learnt_from, population=population, rng=rng)
        shared = audited.plan.design != "out_only"
        parts.append(_attack(label, scores[label], inside, audited.records, settings, shared_pool=shared))
    correct = observations.logits(0)[:, 0].argmax(axis=-1) == audited.records.y
    part = ReleasedPart(
        model=answers.name,
        members=int(inside.sum()),
        non_members=int((~inside).sum()),
        train_accuracy=Number.of(_share(correct[inside])),
        test_accuracy=Number.of(_share(correct[~inside])),
        attacks=parts,
        warnings=warnings,
        statement="These numbers are about this model with this reference set; they say nothing of a retraining.",
    )
    return Released(part, scores, inside)


def _population(answers: Answers, audited: Audited) -> Population | None:
    """Population records that the released model has not seen either."""
    if audited.population is None or answers.population is None:
        return None
    seen_by_references = audited.population.select(answers.unseen)
    floor = audited.population.probability_floor
    answered = Observations(ArrayReader(answers.population[None]), seen_by_references.y, probability_floor=floor)
    nobody = np.zeros((seen_by_references.models, len(answers.unseen)), dtype=bool)
    references = References(ReferencePool(seen_by_references, nobody), audited.plan.references)
    features = audited.population_features
    features = None if features is None else features[answers.unseen]
    return Population(seen_by_references.y, Target(answered, 0), references, features)


def _attack(
    label: str,
    scores: np.ndarray,
    inside: np.ndarray,
    records: Records,
    settings: MeasureSettings,
    *,
    shared_pool: bool,
) -> ReleasedAttack:
    """One attack on the released model. Exact only if no reference was trained on the audited records."""
    unit_scores = by_unit(scores, records)
    member = by_unit(inside.astype(np.float64), records) > 0.5
    outside = unit_scores[~member]
    rates = []
    for fpr in settings.fprs:
        estimate = one_target_box(unit_scores, member, fpr, confidence=settings.confidence)
        if shared_pool and estimate.method:
            estimate = replace(estimate, method="one target, approximate (references share its pool)")
        claimed = unit_scores > conformal_threshold(outside, fpr)
        value = estimate.value
        rates.append(
            TprAt(
                fpr=fpr,
                estimate=Number.of(estimate),
                realised_fpr=None,
                non_members=len(outside),
                true_positives=int((claimed & member).sum()),
                resolution=resolution(len(outside), fpr, confidence=settings.confidence),
                precision={
                    f"{p:g}": None if value is None or value + fpr == 0 else precision(value, fpr, p)
                    for p in settings.priors
                },
            )
        )
    epsilon = Estimate.undefined("the released model's memberships were not drawn as fair coins by this audit")
    return ReleasedAttack(
        name=label.split("(")[0],
        label=label,
        auc=Number.of(auc_one_target(unit_scores, member, confidence=settings.confidence)),
        tpr=rates,
        epsilon=Number.of(epsilon),
    )


def _warnings(answers: Answers, audited: Audited, recipe: Recipe | None) -> list[str]:
    usual = float(np.mean([len(audited.plan.train_index[m]) for m in audited.plan.references]))
    out = []
    if answers.trained is not None and abs(answers.trained - usual) > SIZE_TOLERANCE * answers.trained:
        out.append(
            f"The released model was trained on {answers.trained:,} records, the references on {usual:,.0f} on "
            f"average, so their answers are not quite comparable. [references] plan = 'subsample' with a fitting "
            f"fraction (and data.pool) trains references of the released size."
        )
    if isinstance(recipe, SklearnRecipe) and answers.kind:
        out += _recipe_warnings(answers.kind.rsplit(".", 1)[-1], answers.parameters, last_step(recipe.build()))
    return out


def _recipe_warnings(kind: str, parameters: dict[str, Any] | None, ours: Any) -> list[str]:
    """Where a released model of this kind and these parameters was made in another way than the references."""
    if kind != type(ours).__name__:
        return [
            f"The released model is a {kind}, the references are {type(ours).__name__}: an attacker who knows the "
            f"recipe would do better than these numbers."
        ]
    theirs, known = parameters or {}, ours.get_params(deep=False)
    differing = sorted(k for k in theirs if k in known and k not in NO_RECIPE and repr(theirs[k]) != repr(known[k]))
    if not differing:
        return []
    return [
        "The released model's settings differ from the references' in: "
        + ", ".join(f"{k} ({theirs[k]!r}, not {known[k]!r})" for k in differing)
        + ". [target] params of the released model would make references that tell more."
    ]


def _share(values: np.ndarray) -> Estimate:
    low, high = clopper_pearson(int(values.sum()), len(values))
    return Estimate(
        value=float(values.mean()),
        low=float(low),
        high=float(high),
        confidence=0.95,
        method="Clopper-Pearson",
        n=len(values),
    )
