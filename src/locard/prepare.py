"""From settings to a case that can be run: everything is loaded and checked before any model is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from locard.assess.choose import Chosen, build_attacks, label, runnable
from locard.assess.keeping import what_to_keep
from locard.assess.released import member_mask, need_both_sides
from locard.assess.screening import Screening, plan_screening
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.attacks.protocol import Attack, Claiming
from locard.check import Problems
from locard.data.canaries import Planted
from locard.data.duplicates import Duplicates, near_duplicates
from locard.data.membership import read_ids
from locard.data.records import Records
from locard.data.source import load_source
from locard.data.split import Split
from locard.design import Designed, check_design, design
from locard.errors import LocardError, SettingsError
from locard.observe.checkpoints import Asking, Checkpoints
from locard.observe.kept import Kept
from locard.observe.models import Opening, ReleasedModel, load_model
from locard.observe.offered import offered
from locard.plan.plan import Plan
from locard.result import NotRun
from locard.screen import screen as build_screen
from locard.seeds import Seed
from locard.settings import Settings
from locard.settings_screen import ScreenSettings
from locard.train.asked import Keep
from locard.train.choose_recipe import recipe_of
from locard.train.influence import ChainWork
from locard.train.jobs import Job, Training, Work, kept_of, plan_jobs
from locard.train.recipe import Recipe, SklearnRecipe
from locard.train.store import Store
from locard.trained_elsewhere import named_in, read_checkpoints, with_checkpoints


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
    indirect: Mapping[str, GMIAIndirect] = field(default_factory=dict)
    planted: Planted | None = None
    kept: Kept | None = None  # of models' answers; None: all

    @property
    def seed(self) -> Seed:
        """The root of all randomness."""
        return Seed(self.settings.seed)

    @property
    def trains(self) -> Recipe | None:
        """The recipe, where models are trained; None where they were trained elsewhere."""
        return None if isinstance(self.recipe, Checkpoints) else self.recipe

    @property
    def offered(self) -> dict[str, str]:
        """The traces that can be had with no text, others with the reason."""
        return offered(self.recipe, len(self.split.population), self.settings.distil)

    @property
    def students(self) -> dict[str, int]:
        """How many students will be distilled, by kind of trace."""
        wanted, targets = self.chosen.traces, len(self.plan.targets)
        counts = {"distilled": len(self.plan), "students": targets * self.settings.distil.students}
        return {kind: count for kind, count in counts.items() if kind in wanted}

    @property
    def chains(self) -> tuple[tuple[str, int, int, ChainWork], ...]:
        """Indirect attacks: name, records, calibration records, and what one of these takes."""
        if not self.indirect:
            return ()
        from locard.train.neural.one_model import length_of

        assert self.screening is not None  # they are asked of selected records alone
        halves, recipe = self.screening.halves, cast(Any, self.recipe)  # networks: others cannot be taught
        length = length_of(recipe, max(len(self.plan.train_index[m]) for m in halves.screening))
        sizes = len(halves.screening), len(halves.testing)
        return tuple(
            (label, m.records, m.calibration, m.work(*sizes, passes=length.epochs_begun, steps=length.total))
            for label, m in self.indirect.items()
        )

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
            asking = Asking(self.recipe, self.records, audited, population, store, kept=self.kept)
            return asking, kept_of(jobs, self.kept)
        keep = Keep(**self.settings.traces.model_dump())
        if "training" in self.chosen.traces:
            keep = replace(keep, losses=True)
        if self.indirect:  # its references go on training, and its targets are asked new questions
            keep = replace(keep, weights=True)
        jobs = plan_jobs(self.recipe, self.records, self.plan, population, self.seed, keep=keep)
        work = Training(self.recipe, self.records, audited, population, store, keep=keep, weights=weights)
        work = replace(work, device=self.settings.compute.device, kept=self.kept)
        return work, kept_of(jobs, self.kept)


def prepare(settings: Settings, base: Path, problems: Problems | None = None, *, screens: bool = False) -> Prepared:
    """Load and check what the settings name, telling all problems at once.

    Args:
        settings: the tree.
        base: where its relative paths start.
        problems: what is known to be wrong already.
        screens: whether records are screened also where no attack asks for it.

    Raises:
        SettingsError: everything that is wrong with settings or data.
        NotEnoughReferences: the headline attack cannot run on this plan.
    """
    problems = Problems() if problems is None else problems
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
    built: list[tuple[str, Attack]] = []
    with problems.gather():
        built = build_attacks(settings.attack)
    asked: tuple[ReleasedModel, list[str]] | None = None
    if settings.released is not None:
        released, ids = None, None
        with problems.gather():
            given = settings.released
            opening = Opening(trust_pickle=given.trust_pickle, trust_types=given.trust_types)
            released = load_model(given.model, base=base, opening=opening)
        with problems.gather():
            ids = read_ids(base / settings.released.members)
        asked = None if released is None or ids is None else (released, ids)
    if records is None:
        with problems.gather():
            check_design(settings)
        problems.settle()
    assert records is not None  # else there were problems
    return prepare_records(
        settings,
        records,
        recipe,
        built,
        released=asked,
        member=member,
        base=base,
        screens=screens,
        problems=problems,
    )


def prepare_records(
    settings: Settings,
    records: Records,
    recipe: Recipe | Checkpoints | None,
    built: list[tuple[str, Attack]],
    *,
    released: tuple[ReleasedModel, list[str]] | None = None,
    member: np.ndarray | None = None,
    base: Path = Path(),
    screens: bool = False,
    problems: Problems | None = None,
) -> Prepared:
    """The same from objects in memory.

    Args:
        settings: the tree.
        records: the data.
        recipe: what trains the models, or the models; None where ``problems`` say what is wrong with it.
        built: the attacks, by name.
        released: one more model, with the ids of its training records.
        member: ``bool[models, records]`` where ``recipe`` is models trained elsewhere.
        base: where the settings' relative paths start.
        screens: whether records are screened also where no attack asks for it.
        problems: what is known to be wrong already: told together with what is found here.

    Raises:
        SettingsError: everything that is wrong.
        NotEnoughReferences: the headline attack cannot run on this plan, and nothing else is wrong.
    """
    problems = Problems() if problems is None else problems
    built, indirect = _apart(built)
    if indirect:
        with problems.gather():
            _check_indirect(settings, recipe, built)
    if isinstance(recipe, SklearnRecipe):
        with problems.gather():
            recipe.check_missing(records)
    designed: Designed | None = None
    with problems.gather():
        designed = design(settings, records, recipe, member)
    pair = None
    if released is not None:
        with problems.gather():
            mask = member_mask(records, released[1])
            need_both_sides(mask, "in the data")
            if designed is not None:
                need_both_sides(mask[designed.split.audited], "among the audited records")
            pair = (released[0], mask)
        with problems.gather():
            released[0].check(records)
    if released is not None and settings.canaries is not None and settings.canaries.plants:
        problems.add(
            f"released: records as the released model saw them are needed, found canaries.kind = "
            f"{settings.canaries.kind!r}, which replaces some. Leave [released] or [canaries] out."
        )
    if problems.found and designed is not None and built:
        with problems.gather():
            population = len(designed.split.population)
            runnable(built, designed.plan, population, offered(recipe, population, settings.distil))
    problems.settle()
    assert designed is not None  # else there were problems
    assert designed.recipe is not None
    records, split, plan = designed.records, designed.split, designed.plan
    had = offered(designed.recipe, len(split.population), settings.distil)
    chosen = runnable(built, plan, len(split.population), had)
    near = near_duplicates(records.select(split.audited))
    made = Prepared(
        *(settings, records, split, designed.recipe, plan, chosen, pair, near, designed.redraw, base),
        indirect=indirect,
        planted=designed.planted,
    )
    return _with_kept(with_screening(made, wanted=screens))


def _with_kept(prepared: Prepared) -> Prepared:
    """The case with what is kept of models' answers.

    Raises:
        SettingsError: signals alone are to be kept, and something reads whole answers.
    """
    if prepared.settings.compute.keep == "logits":
        return prepared
    floor, classes = prepared.recipe.probability_floor, len(prepared.records.classes)
    asking = tuple(prepared.indirect)
    kept = what_to_keep(prepared.chosen, floor, classes, screening=prepared.screening, asking=asking)
    return replace(prepared, kept=kept)


def with_screening(prepared: Prepared, *, wanted: bool = False) -> Prepared:
    """The case with a screening, where an attack makes claims about single records (or one is wanted anyhow).

    A screen that the settings do not name is one that this plan can serve, or none: then the reason is listed.

    Raises:
        SettingsError, NotEnoughReferences, AccessDenied: the screen that was asked for cannot be had.
    """
    settings = prepared.settings
    if not (_claiming(prepared) or wanted):
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
        return without_claims(prepared, str(wrong))
    swapping = [name for name, method in prepared.indirect.items() if method.swap]
    if swapping and made.trains:
        raise SettingsError(
            f"screen: {swapping[0]} tests by all references, none of which may have chosen the records, but the "
            f"screen {made.name} asks them. Set screen.name = 'random', or 'neighbours' with features = 'raw', or "
            f"leave swap out."
        )
    return replace(prepared, screening=made, reference_pool=made.pool)


def part_of(prepared: Prepared, models: list[int]) -> Prepared:
    """The same case with these models of its plan alone.

    Raises:
        NotEnoughReferences: the headline attack cannot run with them.
    """
    plan, drawn = prepared.plan.part(models), prepared.redraw
    built = [(prepared.chosen.names[label], attack) for label, attack in prepared.chosen.attacks.items()]
    chosen = runnable(built, plan, len(prepared.split.population), prepared.offered)

    def redraw(at: Seed) -> Plan:
        assert drawn is not None  # only used where there is one
        return drawn(at).part(models)

    return with_screening(replace(prepared, plan=plan, chosen=chosen, redraw=redraw if drawn else None))


def _apart(
    built: list[tuple[str, Any]],
) -> tuple[list[tuple[str, Attack]], dict[str, GMIAIndirect]]:
    """Attacks that score records, and by label those that only make claims."""
    found: list[tuple[str, Any]] = [(name, a) for name, a in built if isinstance(a, GMIAIndirect)]
    indirect: dict[str, GMIAIndirect] = {label(name, a): a for name, a in found}
    return [(name, a) for name, a in built if not isinstance(a, GMIAIndirect)], indirect


def _check_indirect(settings: Settings, recipe: Any, scoring: list[tuple[str, Attack]]) -> None:
    """Refuse the indirect attack where it has no references to teach, or is the only one.

    Raises:
        SettingsError: what is needed.
    """
    problems = Problems()
    if settings.references.plan != "out_only":
        problems.add(
            f"attack: gmia_indirect needs references that hold none of the audited records, found the plan "
            f"{settings.references.plan!r}. Set references.plan = 'out_only' and target.models."
        )
    if recipe is not None and settings.target.recipe != "torch":
        problems.add(
            "attack: gmia_indirect needs networks, which it trains on, found target.recipe = "
            f"{settings.target.recipe!r}. Use gmia, the direct attack, or recipe = 'torch'."
        )
    if not scoring:
        problems.add(
            "attack: one that scores every record is needed besides gmia_indirect, which makes claims about a few. Put "
            "gmia before it."
        )
    problems.settle()


def without_claims(prepared: Prepared, reason: str) -> Prepared:
    """The case with no screening, and the reason among what was not run."""
    said = NotRun(name=f"claims of {', '.join(_claiming(prepared))}", reason=reason)
    chosen = replace(prepared.chosen, not_run=(*prepared.chosen.not_run, said))
    return replace(prepared, chosen=chosen, screening=None)


def without_late(prepared: Prepared, labels: Sequence[str], reason: str) -> Prepared:
    """The case without attacks for which the time was not enough, and the reason among what was not run."""
    chosen = prepared.chosen
    attacks = {label: attack for label, attack in chosen.attacks.items() if label not in labels}
    said = (*chosen.not_run, *(NotRun(name=label, reason=reason) for label in labels))
    return replace(prepared, chosen=replace(chosen, attacks=attacks, not_run=said, late=tuple(labels)))


def _claiming(prepared: Prepared) -> list[str]:
    direct = [name for name, attack in prepared.chosen.attacks.items() if isinstance(attack, Claiming)]
    return [*direct, *prepared.indirect]


def describe(prepared: Prepared) -> dict[str, Any]:
    """What identifies a run, for ``environment.json``."""
    return {
        "data": prepared.records.fingerprint,
        "recipe": prepared.recipe.fingerprint,
        "plan": prepared.plan.fingerprint,
    }
