"""From settings and records to a design: which records are audited, and which models hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from locard.check import Problems
from locard.data.canaries import Planted, plant
from locard.data.records import Records
from locard.data.split import Split, choose_pool
from locard.errors import SettingsError
from locard.observe.checkpoints import Checkpoints
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import Settings
from locard.stats import audited_for, needed_non_members, resolution
from locard.train.recipe import Recipe
from locard.trained_elsewhere import coins_elsewhere, given_plan, named_in

FEWEST_LOOKS = 8  # pairs of targets before which no rate is settled
FEWEST_UNITS = 20  # audited units below which no design makes sense


@dataclass(frozen=True, eq=False)
class Designed:
    """Which records are audited, and which models hold them; ``records`` with the canaries, where some are planted."""

    recipe: Recipe | Checkpoints | None
    records: Records
    split: Split
    plan: Plan
    redraw: Callable[[Seed], Plan] | None
    planted: Planted | None = None


def design(
    settings: Settings, records: Records, recipe: Recipe | Checkpoints | None, member: np.ndarray | None
) -> Designed | None:
    """Split and plan; None where the models to be audited could not be opened.

    Raises:
        SettingsError: numbers that the design cannot use, too few records, models that would see one class only.
    """
    if isinstance(recipe, Checkpoints):
        recipe, split, plan = given_plan(settings, records, recipe, member)
        _check_units(records, split)
        return Designed(recipe, records, split, plan, None)
    if named_in(settings.references):
        return None
    problems = Problems()
    with problems.gather():
        check_design(settings)
    with problems.gather():
        seed = Seed(settings.seed).child("pool")
        split = choose_pool(records, settings.data.pool, settings.data.population, seed=seed)
        _check_units(records, split)
        planted = None
        if settings.canaries is not None:
            planted = plant(records, split, settings.canaries, seed=Seed(settings.seed).child("canaries"))
            records, split = planted.records, planted.split
    problems.settle()

    def draw(at: Seed) -> Plan:
        plan = draw_plan(settings.references, records, split, seed=at, targets=settings.target.models)
        return plan if planted is None else plan.with_always(planted.fixed, copies=planted.copies)

    plan = draw(Seed(settings.seed).child("plan"))
    _check_classes(plan, records)
    _check_resolved(settings, plan, records, split)
    return Designed(recipe, records, split, plan, draw, planted)


def _check_units(records: Records, split: Split) -> None:
    """Refuse a pool that is too small for any design."""
    units, there = records.select(split.audited).n_units, records.n_units
    if units < FEWEST_UNITS:
        what = "records" if there == len(records) else "units"
        raise SettingsError(
            f"data.pool: at least {FEWEST_UNITS} audited {what} are needed, found {units} of the {there:,} {what} that "
            f"there are. {'Raise data.pool' if there >= FEWEST_UNITS else 'Bring more data'}."
        )


def check_design(settings: Settings) -> None:
    """Refuse numbers of models that the design cannot use.

    Raises:
        SettingsError: odd pairs, odd targets of their own, too few references.
    """
    problems = Problems()
    references = settings.references
    for wrong in (*_about_one_run(settings), *_about_settling(settings)):
        problems.add(wrong)
    if named_in(references):
        problems.settle()
        return
    if references.plan == "pairs" and (references.models < 4 or references.models % 2):
        even = max(4, references.models + references.models % 2)
        problems.add(
            f"references.models: an even number of at least 4 is needed for plan 'pairs' (models and their "
            f"complements), found {references.models}. Ask for {even}."
        )
    if references.plan == "out_only" and settings.target.models % 2:
        problems.add(
            f"target.models: an even number is needed for plan 'out_only' (targets come in pairs), found "
            f"{settings.target.models}. Ask for {settings.target.models + 1}."
        )
    if references.plan == "subsample" and references.models < 2:
        problems.add(f"references.models: at least 2 are needed for plan 'subsample', found {references.models}.")
    problems.settle()


def _about_one_run(settings: Settings) -> list[str]:
    """What is wrong with [one_run] and [canaries] on this plan."""
    plan, found = settings.references.plan, []
    if named_in(settings.references):
        return coins_elsewhere(settings, "references.checkpoints")
    if settings.one_run is not None and plan != "coin_flips":
        found.append(
            f"one_run: memberships of one model by independent coins are needed, found references.plan = {plan!r}. Set "
            f"references.plan = 'coin_flips' (and references.models = 1), or leave [one_run] out."
        )
    if settings.canaries is not None and plan == "out_only":
        found.append(
            "canaries: models that hold all other records are needed, found references.plan = 'out_only', whose "
            "references hold records of their own. Use 'pairs' or 'coin_flips'."
        )
    return found


def _about_settling(settings: Settings) -> list[str]:
    """What is wrong with references.until = 'settled'."""
    references, policy = settings.references, settings.policy
    if references.until != "settled":
        return []
    found, say = [], "references.until = 'settled'"
    if named_in(references) or references.plan != "pairs":
        what = "references.checkpoints" if named_in(references) else f"references.plan = {references.plan!r}"
        found.append(
            f"references.until: pairs that this audit trains one after another are needed for {say}, found "
            f"{what}. Use plan 'pairs', or until = 'all'."
        )
    if policy.max_auc is None and not policy.max_tpr:
        found.append(
            f"policy: a limit that can be settled is needed for {say}, found none. Set policy.max_tpr or "
            f"policy.max_auc."
        )
    if policy.max_exposed is not None:
        found.append(
            f"policy.max_exposed: limits on TPR and AUC are needed for {say}, because records are named from "
            f"a fixed number of pairs. Leave it out, or use until = 'all'."
        )
    if any(attack.name.startswith("gmia") for attack in settings.attack):
        found.append(
            f"attack: attacks that score every record are needed for {say}, found gmia, whose claims about single "
            f"records count a fixed number of pairs. Leave it out, or use until = 'all'."
        )
    least = 2 * (references.burn_in + FEWEST_LOOKS)
    if references.models < least:
        found.append(
            f"references.models: at least {least} are needed for {say} (burn_in = {references.burn_in} pairs "
            f"of references and {FEWEST_LOOKS} of targets, before which nothing is settled), found "
            f"{references.models}. Raise it: it is a cap, and what is not needed is not trained."
        )
    return found


def _check_resolved(settings: Settings, plan: Plan, records: Records, split: Split) -> None:
    """Refuse limits that no number of pairs settles, because a target has too few non-members."""
    if settings.references.until != "settled":
        return
    audited = records.select(split.audited)
    first = np.unique(audited.units, return_index=True)[1]
    fewest = int((~plan.member[plan.targets][:, first]).sum(axis=1).min())
    problems = Problems()
    for fpr in map(float, settings.policy.max_tpr):
        needed = needed_non_members(fpr, confidence=settings.measure.confidence)[1]
        if resolution(fewest, fpr, confidence=settings.measure.confidence) != "resolved":
            problems.add(
                f"policy.max_tpr: {needed:,} non-members of every target are needed to settle a TPR at FPR {fpr:g}, "
                f"found {fewest:,}. Audit {audited_for(needed):,} records (data.pool), or limit a larger FPR."
            )
    problems.settle()


def _check_classes(plan: Plan, records: Records) -> None:
    """Refuse a plan in which some model would see one class only; records of weight 0 are not seen."""
    for model, index in enumerate(plan.train_index):
        used = index if records.weight is None else index[records.weight[index] > 0]
        seen = len(np.unique(records.y[used]))
        if seen < 2:
            weighty = "" if records.weight is None else " of a weight above 0"
            raise SettingsError(
                f"data: training records of at least two classes are needed for every model, but model {model} would "
                f"get {len(used)} records{weighty}, of {seen} {'class' if seen == 1 else 'classes'}. Audit more "
                f"records, or merge rare classes."
            )
