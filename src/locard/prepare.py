"""From settings to a case that can be run: everything is loaded and checked before any model is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from locard.assess.choose import Chosen, build_attacks, runnable
from locard.assess.released import member_mask, need_both_sides
from locard.assess.screening import Screening, plan_screening
from locard.attacks.protocol import Attack, Claiming
from locard.check import Problems
from locard.data.duplicates import Duplicates, near_duplicates
from locard.data.membership import read_ids
from locard.data.records import Records
from locard.data.source import load_source
from locard.data.split import Split, choose_pool
from locard.errors import LocardError, SettingsError
from locard.observe.checkpoints import Asking, Checkpoints
from locard.observe.models import Opening, ReleasedModel, load_model
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.result import NotRun
from locard.screen import screen as build_screen
from locard.seeds import Seed
from locard.settings import Settings
from locard.settings_screen import ScreenSettings
from locard.train.asked import Keep
from locard.train.choose_recipe import recipe_of
from locard.train.jobs import Job, Training, Work, plan_jobs
from locard.train.recipe import Recipe, SklearnRecipe
from locard.train.store import Store
from locard.trained_elsewhere import given_plan, named_in, read_checkpoints, with_checkpoints

FEWEST_UNITS = 20  # audited units below which no design makes sense


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything an audit needs, loaded and checked."""

    settings: Settings
    records: Records
    split: Split
    recipe: Recipe | Checkpoints
    plan: Plan
    chosen: Chosen
    released: tuple[ReleasedModel, np.ndarray] | None
    duplicates: Duplicates | None
    redraw: Callable[[Seed], Plan] | None
    base: Path
    caveats: tuple[str, ...] = ()
    screening: Screening | None = None
    reference_pool: np.ndarray | None = None

    @property
    def seed(self) -> Seed:
        """The root of all randomness."""
        return Seed(self.settings.seed)

    @property
    def trains(self) -> Recipe | None:
        """The recipe, where models are trained; None where they were trained elsewhere."""
        return None if isinstance(self.recipe, Checkpoints) else self.recipe

    def probe(self) -> Recipe | tuple[float, float]:
        """What a prediction of the cost starts from: the recipe, or the seconds of opening and of asking one model."""
        if not isinstance(self.recipe, Checkpoints):
            return self.recipe
        return self.recipe.probe(self.records, np.concatenate([self.split.audited, self.split.population]))

    @property
    def asked(self) -> np.ndarray:
        """Places of the records besides the audited ones that models are asked about, sorted."""
        population, pool = self.split.population, self.reference_pool
        return population if pool is None else np.union1d(population, pool)

    def work(self, store: Store, weights: Store | None = None) -> tuple[Work, list[Job]]:
        """What workers do with the jobs, and the jobs."""
        audited, population = self.split.audited, self.asked
        if isinstance(self.recipe, Checkpoints):
            jobs = self.recipe.jobs(self.records, self.plan.train_index, (audited, population))
            return Asking(self.recipe, self.records, audited, population, store), jobs
        keep = Keep(**self.settings.traces.model_dump())
        jobs = plan_jobs(self.recipe, self.records, self.plan, population, self.seed, keep=keep)
        device = self.settings.compute.device
        return Training(
            self.recipe, self.records, audited, population, store, keep=keep, weights=weights, device=device
        ), jobs


def prepare(settings: Settings, base: Path, *, screens: bool = False) -> Prepared:
    """Load and check what the settings name, telling all problems at once.

    Args:
        settings: the tree.
        base: where its relative paths start.
        screens: whether records are screened also where no attack asks for it.

    Raises:
        SettingsError: everything that is wrong with settings or data.
        NotEnoughReferences: the headline attack cannot run on this plan.
    """
    problems = Problems()
    records: Records | None = None
    recipe: Recipe | Checkpoints | None = None
    member: np.ndarray | None = None
    with problems.gather():
        records = load_source(**settings.data.model_dump(exclude={"pool", "population"}), base_dir=base)
    with problems.gather():
        if named_in(settings.references):
            recipe, member = read_checkpoints(settings, records, base)
            settings = with_checkpoints(settings, len(recipe))
        else:
            weights = records is not None and records.weight is not None
            recipe = recipe_of(settings.target, base, weights=weights, device=settings.compute.device)
    with problems.gather():
        if settings.screen is not None:
            build_screen(settings.screen.name, **settings.screen.own)
    with problems.gather():
        check_design(settings)
    built: list[tuple[str, Attack]] = []
    with problems.gather():
        built = build_attacks(settings.attack)
    released = None
    if settings.released is not None:
        with problems.gather():
            given = settings.released
            opening = Opening(trust_pickle=given.trust_pickle, trust_types=given.trust_types)
            released = load_model(given.model, base=base, opening=opening)
        with problems.gather():
            ids = read_ids(base / settings.released.members)
    problems.settle()
    assert records is not None  # else there were problems
    assert recipe is not None
    asked = None if released is None else (released, ids)
    return prepare_records(settings, records, recipe, built, released=asked, member=member, base=base, screens=screens)


def prepare_records(
    settings: Settings,
    records: Records,
    recipe: Recipe | Checkpoints,
    built: list[tuple[str, Attack]],
    *,
    released: tuple[ReleasedModel, list[str]] | None = None,
    member: np.ndarray | None = None,
    base: Path = Path(),
    screens: bool = False,
) -> Prepared:
    """The same from objects in memory.

    Args:
        settings: the tree.
        records: the data.
        recipe: what trains the models, or the models.
        built: the attacks, by name.
        released: one more model, with the ids of its training records.
        member: ``bool[models, records]`` where ``recipe`` is models trained elsewhere.
        base: where the settings' relative paths start.
        screens: whether records are screened also where no attack asks for it.

    Raises:
        SettingsError: everything that is wrong.
        NotEnoughReferences: the headline attack cannot run on this plan.
    """
    check_design(settings)
    if isinstance(recipe, Checkpoints):
        recipe, split, plan = given_plan(settings, records, recipe, member)
    else:
        seed = Seed(settings.seed).child("pool")
        split = choose_pool(records, settings.data.pool, settings.data.population, seed=seed)
    audited = records.select(split.audited)
    problems = Problems()
    if audited.n_units < FEWEST_UNITS:
        problems.add(
            f"data.pool: at least {FEWEST_UNITS} audited units are needed, found {audited.n_units}. Audit more records."
        )
    if isinstance(recipe, SklearnRecipe):
        with problems.gather():
            recipe.check_missing(records)
    pair = None
    if released is not None:
        with problems.gather():
            mask = member_mask(records, released[1])
            need_both_sides(mask, "in the data")
            need_both_sides(mask[split.audited], "among the audited records")
            released[0].check(records)
            pair = (released[0], mask)
    problems.settle()

    def draw(at: Seed) -> Plan:
        return draw_plan(settings.references, records, split, seed=at, targets=settings.target.models)

    redraw = None if isinstance(recipe, Checkpoints) else draw
    if redraw is not None:
        plan = redraw(Seed(settings.seed).child("plan"))
        _check_classes(plan, records)
    chosen = runnable(built, plan, len(split.population))
    made = Prepared(settings, records, split, recipe, plan, chosen, pair, near_duplicates(audited), redraw, base)
    return with_screening(made, wanted=screens)


def with_screening(prepared: Prepared, *, wanted: bool = False) -> Prepared:
    """The case with a screening, where an attack makes claims about single records (or one is wanted anyhow).

    A screen that the settings do not name is one that this plan can serve, or none: then the reason is listed.

    Raises:
        SettingsError, NotEnoughReferences, AccessDenied: the screen that was asked for cannot be had.
    """
    claiming = [label for label, attack in prepared.chosen.attacks.items() if isinstance(attack, Claiming)]
    settings = prepared.settings
    if not (claiming or wanted):
        return replace(prepared, screening=None)
    section = settings.screen or ScreenSettings()
    try:
        made = plan_screening(
            section,
            prepared.plan,
            prepared.records,
            prepared.split,
            prepared.recipe,
            traces=settings.traces.losses,
        )
    except LocardError as wrong:
        if settings.screen is not None:
            raise
        said = NotRun(name=f"claims of {', '.join(claiming)}", reason=str(wrong))
        chosen = replace(prepared.chosen, not_run=(*prepared.chosen.not_run, said))
        return replace(prepared, chosen=chosen, screening=None)
    return replace(prepared, screening=made, reference_pool=made.pool)


def check_design(settings: Settings) -> None:
    """Refuse numbers of models that the design cannot use.

    Raises:
        SettingsError: odd pairs, odd targets of their own, too few references.
    """
    problems = Problems()
    references = settings.references
    if named_in(references):
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


def describe(prepared: Prepared) -> dict[str, Any]:
    """What identifies a run, for ``environment.json``."""
    return {
        "data": prepared.records.fingerprint,
        "recipe": prepared.recipe.fingerprint,
        "plan": prepared.plan.fingerprint,
    }
