"""Half of the references choose which records are worth attacking, the other half attacks them: who does which, and
what the screen may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from locard.data.records import Column, Records
from locard.data.split import Split
from locard.data.thumbnail import is_picture
from locard.errors import AccessDenied, NotEnoughReferences
from locard.observe.observations import Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import References
from locard.observe.traces import StoredTraces
from locard.plan.draw import reference_records
from locard.plan.plan import Plan
from locard.result import ScreeningPart
from locard.screen import screen as build_screen
from locard.screen.evidence import Evidence, Observed
from locard.screen.halves import Halves, split_references
from locard.screen.protocol import Above, Fraction, Screen, Selection, Top
from locard.screen.screened import Screened, run_screen
from locard.screen.ties import tie_breaks
from locard.seeds import Seed
from locard.settings_screen import ScreenSettings, SelectSettings
from locard.train.asked import AnswersMany
from locard.train.recipe import table_encoder
from locard.train.store import Store, StoreReader

ANSWERS = ("logits", "population")  # what a model's file holds of the audited records, and of the others


@dataclass(frozen=True, eq=False)
class Screening:
    """A screen, how it selects, who screens and who tests.

    ``pool: int64[reference records]``, places of the reference pool; None where the candidates are it.
    """

    name: str
    screen: Screen
    select: Selection | None
    halves: Halves
    pool: np.ndarray | None

    @property
    def trains(self) -> bool:
        """Whether the screen reads anything of references."""
        return self.screen.reads not in ("features", "nothing")

    @property
    def models(self) -> np.ndarray:
        """The references that screen; none where the screen reads nothing of them."""
        return self.halves.screening if self.trains else self.halves.screening[:0]

    @property
    def testing(self) -> np.ndarray:
        """The references left to test with."""
        both = np.concatenate([self.halves.screening, self.halves.testing])
        return self.halves.testing if self.trains else np.sort(both)


@dataclass(frozen=True, eq=False)
class Tested:
    """The records that a screen selected, and who may test them.

    Attributes:
        screening: how it was done.
        screened: what came of it.
        population: ``bool[population]``, those that the same screen selects; None where they cannot be screened alike.
        targets: models that may play the target: they did not screen.
        near: for each selected record, its nearest reference records as places among all records; -1 for none.
        others: screen values and ids of the population, where it is screened.
        outside: ``int64[population]``, places of the population among all records.
    """

    screening: Screening
    screened: Screened
    population: np.ndarray | None
    targets: np.ndarray
    near: np.ndarray
    others: tuple[np.ndarray, np.ndarray] | None = None
    outside: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def calibrating(self, count: int, most: int, rng: np.random.Generator) -> np.ndarray:
        """Places among all records of at most so many of those ``alike`` to the first ``count``, drawn at random."""
        alike = np.flatnonzero(self.alike(count))
        drawn = alike if len(alike) <= most else np.sort(rng.choice(alike, most, replace=False))
        places: np.ndarray = self.outside[drawn]
        return places

    def alike(self, count: int) -> np.ndarray:
        """``bool[population]``: what the same screen selects where only its first ``count`` records are attacked.

        Those above the first candidate that is left out (swap rule, as ``Screened.would_select``).
        """
        if self.population is None or self.others is None:
            return np.zeros(0 if self.population is None else len(self.population), dtype=bool)
        order = self.screened.order
        if count >= int(self.selected.sum()):
            return self.population
        first_out = order[count]
        ties = tie_breaks(self.screened.ids[first_out : first_out + 1])[0]
        bar = replace(self.screened, bar=(float(self.screened.value[first_out]), float(ties)))
        out: np.ndarray = self.population & bar.would_select(*self.others)
        return out

    @property
    def selected(self) -> np.ndarray:
        """``bool[audited]``."""
        return self.screened.selected

    def part(self) -> ScreeningPart:
        """The node of ``result.json``."""
        done = self.screening
        return ScreeningPart(
            name=done.name,
            settings={f.name: getattr(done.screen, f.name) for f in fields(done.screen)},  # type: ignore[arg-type]
            settled={k: v.item() if isinstance(v, np.generic) else v for k, v in self.screened.settled.items()},
            selected=int(self.selected.sum()),
            screening=len(done.models),
            testing=len(done.testing),
            population=None if self.population is None else int(self.population.sum()),
        )


def plan_screening(
    section: ScreenSettings, plan: Plan, records: Records, split: Split, recipe: Any, *, traces: bool
) -> Screening:
    """Who screens and who tests, before anything is trained.

    Args:
        section: of the settings.
        plan: whose references are shared out.
        records: all records.
        split: which are audited, and which are population.
        recipe: how models are trained.
        traces: whether losses after every epoch are kept.

    Raises:
        SettingsError: an unknown screen, or settings that it does not take; too few pairs.
        NotEnoughReferences: the plan leaves some record with too few screening references.
        AccessDenied: the screen reads what this recipe cannot give.
    """
    built = build_screen(section.name, **section.own)
    halves = split_references(plan.references, plan.partner, share=section.references)
    pool = reference_records(records, split) if plan.design == "out_only" else None
    if built.reads == "loss traces" and not isinstance(recipe, AnswersMany):
        raise AccessDenied(
            f"screen loss_trace: losses from the training loop of the references are needed, but the recipe "
            f"{recipe.name} gives answers of finished models only. Choose another screen."
        )
    if built.reads == "loss traces" and not traces:
        raise AccessDenied(
            "screen loss_trace: losses after every epoch are needed, but they are not kept. Set traces.losses = true."
        )
    fewest = int((~plan.member[halves.screening]).sum(axis=0).min())
    if fewest < built.references:
        raise NotEnoughReferences(
            f"screen: {built.references} screening references trained without each record are needed, but some "
            f"record has {fewest} (of {len(halves.screening)} that screen). Ask for more models, or raise "
            f"screen.references."
        )
    return Screening(section.name, built, _selection(section.select), halves, pool)


def _selection(given: SelectSettings | None) -> Selection | None:
    match given:
        case None:
            return None
        case SelectSettings(top=int(count)):
            return Top(count)
        case SelectSettings(fraction=float(share)):
            return Fraction(share)
    assert given.above is not None  # the settings hold exactly one
    return Above(given.above)


@dataclass(frozen=True, eq=False)
class Answered:
    """Where the models' answers are: the store, and the key of each model that screens, in their order.

    ``asked``: places of the records besides the audited ones that models were asked about, sorted.
    """

    records: Records
    plan: Plan
    split: Split
    asked: np.ndarray
    floor: float | None
    store: Store
    keys: Sequence[str]
    workers: int = 1

    @property
    def _training_size(self) -> float:
        """Records in a target's training set; in a reference's, where the target is somebody else's model."""
        models = self.plan.targets if len(self.plan.targets) else self.plan.references
        return float(np.mean([len(self.plan.train_index[m]) for m in models]))

    def evidence(self, screening: Screening) -> Evidence:
        """All that the screen may look at."""
        pool = None
        if screening.pool is not None:
            pool = self._observed(screening, "population", screening.pool)
        return Evidence(
            candidates=self._observed(screening, "logits", self.split.audited),
            pool=pool,
            training_size=self._training_size,
            traces=StoredTraces(self.store, self.keys, "losses") if screening.screen.reads == "loss traces" else None,
            workers=self.workers,
        )

    def of_population(self, screening: Screening, seen: Evidence) -> Evidence | None:
        """The same for the population; None where it cannot be screened as the candidates, in ``seen``, are.

        - where references hold candidates, a candidate is screened by those that do not, and they are fewer
        - losses over training are kept of the audited records alone
        """
        if screening.pool is None or screening.screen.reads == "loss traces" or not len(self.split.population):
            return None
        return replace(seen, candidates=self._observed(screening, "population", self.split.population))

    def _observed(self, screening: Screening, name: str, wanted: np.ndarray) -> Observed:
        """What the screening references said about the records at ``wanted``, which are among those stored."""
        records = self.records.select(wanted)
        if not len(self.keys):
            learnt_from = self.split.audited if screening.pool is None else screening.pool
            nobody = References.empty(len(records), len(records.classes))
            return Observed(records, nobody, raw_features(self.records, learnt_from, wanted))
        stored = self.split.audited if name == "logits" else self.asked
        reader = StoreReader(self.store, list(self.keys), name)
        said = Observations(reader, self.records.y[stored], probability_floor=self.floor)
        if len(wanted) < len(stored):
            said = said.select(np.searchsorted(stored, wanted))
        models, partner = screening.models, self.plan.partner
        member = np.stack([np.isin(wanted, self.plan.train_index[m]) for m in models])
        pairs = None if (partner[models] < 0).any() else np.searchsorted(models, partner[models])
        return Observed(records, References(ReferencePool(said, member), np.arange(len(models)), pairs=pairs))


def screen_records(screening: Screening, answered: Answered, seed: Seed) -> tuple[Screened, Evidence]:
    """What the screen selects, and what it looked at."""
    evidence = answered.evidence(screening)
    rng = seed.child("screen").generator()
    return run_screen(screening.screen, evidence, select=screening.select, rng=rng), evidence


def select_to_test(screening: Screening, answered: Answered, seed: Seed) -> Tested:
    """The records to attack one by one, and the population records that the same screen selects."""
    screened, seen = screen_records(screening, answered, seed)
    alike, others = None, None
    population = answered.of_population(screening, seen)
    if population is not None:
        valued = screening.screen.value(population, rng=seed.child("screen", "population").generator())
        others = valued.value, population.candidates.records.ids
        alike = screened.would_select(*others)
    plan = answered.plan
    return Tested(
        screening=screening,
        screened=screened,
        population=alike,
        targets=plan.targets[~np.isin(plan.targets, screening.models)],
        near=nearest_places(screening, answered.split, screened),
        others=others,
        outside=answered.split.population,
    )


def nearest_places(screening: Screening, split: Split, screened: Screened) -> np.ndarray:
    """``int64[selected, neighbours]``: places of the nearest reference records among all records; -1 for none."""
    pool = split.audited if screening.pool is None else screening.pool
    near = screened.nearest.places
    places: np.ndarray = np.where(near < 0, -1, pool[np.maximum(near, 0)])
    return places


def raw_features(records: Records, learnt_from: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """``float32[wanted, encoded]``: categories one-hot, numbers imputed and standardised; pictures by one scale.

    Args:
        records: all records.
        learnt_from: places of those from which medians, scales and levels are learnt: the reference pool.
        wanted: places of those to encode.
    """
    flat = records.features.reshape(len(records), -1)
    if is_picture(records.features.shape[1:]):
        known = flat[learnt_from].astype(np.float64)
        scale = float(known.std()) or 1.0
        return np.asarray((flat[wanted] - known.mean(axis=0)) / scale, dtype=np.float32)
    columns = records.columns or tuple(Column(f"feature {i}", "number") for i in range(flat.shape[1]))
    encoder = table_encoder(columns).fit(flat[learnt_from])
    return np.asarray(encoder.transform(flat[wanted]), dtype=np.float32)
