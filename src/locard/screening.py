"""``locard screen``: from settings to the records that are worth attacking. No target is trained or asked."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from locard.check import Problems
from locard.data.differing import column_spread, differing_columns
from locard.data.records import Column, Records
from locard.errors import AccessDenied, NotEnoughReferences, RunStopped
from locard.files import remove, write_file
from locard.observe.observations import Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import References
from locard.plan.draw import reference_records
from locard.prepare import Prepared, describe, prepare
from locard.report.thumbnail import is_picture, thumbnail
from locard.run.choose_backend import choose_backend
from locard.run.chunks import Grouping
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.screen import screen as build_screen
from locard.screen.evidence import Evidence, Observed
from locard.screen.halves import Halves, split_references
from locard.screen.protocol import Above, Fraction, Screen, Selection, Top
from locard.screen.screened import Screened, run_screen
from locard.settings import AttackSettings, Settings
from locard.settings_screen import ScreenSettings, SelectSettings
from locard.train.asked import AnswersMany
from locard.train.recipe import table_encoder
from locard.train.store import Store, StoreReader

CARDS = 50  # selected records that are described in screen.json; all are in screen.parquet


@dataclass(frozen=True, eq=False)
class ScreenCase:
    """Everything a screening needs, loaded and checked.

    ``pool: int64[reference records]``, places of the reference pool; None where the candidates are it.
    """

    settings: Settings
    prepared: Prepared
    screen: Screen
    select: Selection | None
    halves: Halves
    pool: np.ndarray | None

    @property
    def trains(self) -> bool:
        """Whether the screen reads anything of references."""
        return self.screen.reads not in ("features", "nothing")

    @property
    def asked(self) -> np.ndarray:
        """Places of the records besides the candidates that references are asked about, sorted."""
        population = self.prepared.split.population
        return population if self.pool is None else np.union1d(population, self.pool)


def prepare_screening(settings: Settings, base: Path) -> ScreenCase:
    """Load and check what the settings name, telling all problems at once. Attacks and released models are left aside.

    Raises:
        SettingsError: everything that is wrong with settings or data.
        NotEnoughReferences: the plan leaves some record with too few screening references.
        AccessDenied: the screen reads what this recipe cannot give.
    """
    section = settings.screen or ScreenSettings()
    problems = Problems()
    built: Screen | None = None
    prepared: Prepared | None = None
    with problems.gather():
        built = build_screen(section.name, **section.own)
    with problems.gather():
        alone = settings.model_copy(update={"attack": (AttackSettings(name="loss"),), "released": None})
        prepared = prepare(alone, base)
    problems.settle()
    assert built is not None  # else there was a problem
    assert prepared is not None
    plan = prepared.plan
    halves = split_references(plan.references, plan.partner, share=section.references)
    pool = reference_records(prepared.records, prepared.split) if plan.design == "out_only" else None
    case = ScreenCase(settings, prepared, built, _selection(section.select), halves, pool)
    _check_references(case)
    return case


def screen_settings(settings: Settings, *, base: Path, out: Path, watch: Watch | None = None) -> dict[str, Any]:
    """``locard screen CONFIG``: prepare, train the screening references that are missing, screen, write.

    Returns:
        The tree of ``screen.json``.
    """
    case = prepare_screening(settings, base)
    with RunFolder(out) as folder:
        remove(out / "screen.json")
        tree = settings.model_dump(mode="json", exclude_none=True)
        folder.begin(tree, case.prepared.plan, describe(case.prepared), case.prepared.base)
        evidence = _evidence(case, folder, watch or Watch())
        rng = case.prepared.seed.child("screen").generator()
        screened = run_screen(case.screen, evidence, select=case.select, rng=rng)
        written = _tree(case, evidence, screened)
        write_file(out / "screen.parquet", _parquet(screened))
        write_file(out / "screen.json", (json.dumps(written, indent=1, ensure_ascii=False) + "\n").encode())
    return written


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


def _check_references(case: ScreenCase) -> None:
    """Refuse, before training, what the screening references cannot give."""
    if case.screen.reads == "loss traces" and not isinstance(case.prepared.recipe, AnswersMany):
        raise AccessDenied(
            f"screen loss_trace: losses from the training loop of the references are needed, but the recipe "
            f"{case.prepared.recipe.name} gives answers of finished models only. Choose another screen."
        )
    if case.screen.reads == "loss traces" and not case.settings.traces.losses:
        raise AccessDenied(
            "screen loss_trace: losses after every epoch are needed, but they are not kept. Set traces.losses = true."
        )
    fewest = int((~case.prepared.plan.member[case.halves.screening]).sum(axis=0).min())
    if fewest < case.screen.references:
        raise NotEnoughReferences(
            f"screen: {case.screen.references} screening references trained without each record are needed, but some "
            f"record has {fewest} (of {len(case.halves.screening)} that screen). Ask for more models, or raise "
            f"screen.references."
        )


def _evidence(case: ScreenCase, folder: RunFolder, watch: Watch) -> Evidence:
    split, plan = case.prepared.split, case.prepared.plan
    keys = _trained(case, folder, watch) if case.trains else []
    pool = None if case.pool is None else _observed(case, folder, keys, "population", case.asked, case.pool)
    return Evidence(
        candidates=_observed(case, folder, keys, "logits", split.audited, split.audited),
        pool=pool,
        training_size=float(np.mean([len(plan.train_index[t]) for t in plan.targets])),
        traces=_StoredTraces(folder.store, keys) if case.screen.reads == "loss traces" else None,
        workers=case.prepared.settings.compute.workers,
    )


def _trained(case: ScreenCase, folder: RunFolder, watch: Watch) -> list[str]:
    """Train the screening references that are missing; the keys of all of them.

    Raises:
        RunStopped: the time given was over before all were trained.
    """
    prepared, compute = case.prepared, case.settings.compute
    work, jobs = prepared.work(folder.store, folder.weights, population=case.asked)
    wanted = [jobs[m] for m in case.halves.screening]
    grouping = Grouping(workers=compute.workers, size=compute.chunk, exact=compute.exact)
    left = train_missing(work, wanted, folder, choose_backend(compute), watch, grouping, stop_after=compute.seconds)
    if left:
        raise RunStopped(
            f"All {len(wanted)} screening references are needed, but after compute.stop_after = "
            f"{compute.stop_after!r} {len(left)} are missing. Run the same command again: those that are finished are "
            f"kept."
        )
    return [job.key for job in wanted]


class _StoredTraces:
    """Losses of the candidates after every epoch, read model by model."""

    def __init__(self, store: Store, keys: list[str]) -> None:
        self._store, self._keys = store, keys
        records, epochs = store.shape(keys[0], "losses")
        self.shape = (len(keys), records, epochs)

    def read(self, model: int) -> np.ndarray:
        return self._store.read(self._keys[model], "losses")


def _observed(
    case: ScreenCase, folder: RunFolder, keys: list[str], name: str, stored: np.ndarray, wanted: np.ndarray
) -> Observed:
    """What the screening references said about the records at ``wanted``, which are among those ``stored``."""
    prepared = case.prepared
    records = prepared.records.select(wanted)
    if not keys:
        learnt_from = prepared.split.audited if case.pool is None else case.pool
        return Observed(records, References.empty(len(records)), raw_features(prepared.records, learnt_from, wanted))
    reader = StoreReader(folder.store, keys, name)
    floor = prepared.recipe.probability_floor
    said = Observations(reader, prepared.records.y[stored], probability_floor=floor)
    if len(wanted) < len(stored):
        said = said.select(np.searchsorted(stored, wanted))
    models, partner = case.halves.screening, prepared.plan.partner
    member = np.stack([np.isin(wanted, prepared.plan.train_index[m]) for m in models])
    pairs = None if (partner[models] < 0).any() else np.searchsorted(models, partner[models])
    return Observed(records, References(ReferencePool(said, member), np.arange(len(models)), pairs=pairs))


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


def _tree(case: ScreenCase, evidence: Evidence, screened: Screened) -> dict[str, Any]:
    """The tree of ``screen.json``."""
    section = case.settings.screen or ScreenSettings()
    own = {f.name: getattr(case.screen, f.name) for f in fields(case.screen)}  # type: ignore[arg-type]
    rule = screened.selection
    return {
        "schema_version": "1.0",
        "screen": {"name": section.name, "settings": own},
        "select": {type(rule).__name__.lower(): next(iter(vars(rule).values()))},
        "settled": dict(screened.settled),
        "candidates": len(screened.ids),
        "reference_records": len(evidence.reference_records.records),
        "training_size": evidence.training_size,
        "models": {
            "screening": case.halves.screening.tolist() if case.trains else [],
            "testing": case.halves.testing.tolist() if case.trains else case.prepared.plan.references.tolist(),
        },
        "selected": int(screened.selected.sum()),
        "records": _cards(case, screened),
    }


def _cards(case: ScreenCase, screened: Screened) -> list[dict[str, Any]]:
    """The most vulnerable of the selected records, each with its nearest reference records and how they differ."""
    audited = case.prepared.split.audited
    pool = audited if case.pool is None else case.pool
    looks = _Looks(case.prepared.records)
    row_of = {int(place): row for row, place in enumerate(np.flatnonzero(screened.selected))}
    cards = []
    for place in screened.order[: min(CARDS, len(row_of))].tolist():
        row, at = row_of[place], int(audited[place])
        near = screened.neighbours_of(row)
        for one, other in zip(near, screened.nearest.places[row].tolist(), strict=False):
            one |= looks.of_neighbour(at, int(pool[other]))
        cards.append(
            {
                "id": _plain(screened.ids[place]),
                "label": _plain(screened.labels[place]),
                "rank": int(screened.rank[place]),
                "value": float(screened.value[place]),
                "reason": screened.reasons[row],
                **looks.of(at),
                "neighbours": near,
            }
        )
    return cards


class _Looks:
    """How a record looks: a picture; or, beside a neighbour, the columns in which the two differ."""

    def __init__(self, records: Records) -> None:
        self.records, self.pictures = records, is_picture(records.features.shape[1:])
        self.ends: dict[str, float] = {}
        if self.pictures and records.features.dtype != np.uint8:
            self.ends = {"low": float(records.features.min()), "high": float(records.features.max())}
        self.spread = np.zeros(0) if self.pictures else column_spread(records)

    def of(self, place: int) -> dict[str, Any]:
        return {"picture": thumbnail(self.records.features[place], **self.ends)} if self.pictures else {}

    def of_neighbour(self, place: int, other: int) -> dict[str, Any]:
        if self.pictures:
            return self.of(other)
        return {"differs": [vars(d) for d in differing_columns(self.records, place, other, spread=self.spread)]}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _parquet(screened: Screened) -> bytes:
    sink = io.BytesIO()
    screened.to_frame().to_parquet(sink, index=False, compression="zstd")
    return sink.getvalue()
