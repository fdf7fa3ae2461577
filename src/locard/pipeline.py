"""The whole of it: records -> plan -> models -> observations -> scores -> estimates and claims -> report."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locard.assess.assemble import Case, assess
from locard.assess.choose import build_attacks, runnable
from locard.assess.released import Answers, Released, ask, assess_released
from locard.assess.scoring import Audited
from locard.data.records import Records
from locard.errors import DataError
from locard.observe.models import load_model
from locard.observe.observations import DEFAULT_FLOOR, ArrayReader, Observations, as_logits
from locard.plan.given import from_mask
from locard.prepare import Prepared, describe, prepare, prepare_records
from locard.result import AuditResult
from locard.run.backend import LocalBackend
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.settings import Settings, make_settings
from locard.train.jobs import Job, Training, plan_jobs
from locard.train.recipe import Recipe, SklearnRecipe
from locard.train.store import StoreReader


def run_audit(prepared: Prepared, out: Path, watch: Watch) -> AuditResult:
    """One audit, from a prepared case to a finished run folder. Run again, it skips what is finished."""
    records, split, plan = prepared.records, prepared.split, prepared.plan
    with RunFolder(out) as folder:
        folder.begin(prepared.settings.model_dump(mode="json", exclude_none=True), plan, describe(prepared))
        jobs = plan_jobs(prepared.recipe, records, plan, split.population, prepared.seed)
        work = Training(prepared.recipe, records, split.audited, split.population, folder.store)
        train_missing(work, jobs, folder, LocalBackend(prepared.settings.compute.workers), watch)
        audited = _observed(prepared, folder, jobs)
        result = assess(audited, _case(prepared, watch))
        result.save(folder.path)
        result.report(folder.path / "report.html")
        folder.end()
    return result


def _observed(prepared: Prepared, folder: RunFolder, jobs: list[Job]) -> Audited:
    records, split, floor = prepared.records, prepared.split, prepared.recipe.probability_floor
    keys = [job.key for job in jobs]
    said = Observations(StoreReader(folder.store, keys, "logits"), records.y[split.audited], probability_floor=floor)
    population = None
    if len(split.population):
        reader = StoreReader(folder.store, keys, "population")
        population = Observations(reader, records.y[split.population], probability_floor=floor)
    return Audited(records.select(split.audited), prepared.plan, said, population, prepared.seed)


def _case(prepared: Prepared, watch: Watch) -> Case:
    def released(audited: Audited) -> Released:
        assert prepared.released is not None  # only called where there is one
        model, member = prepared.released
        split, measure = prepared.split, prepared.settings.measure
        answers = ask(model, member, prepared.records, split.audited, split.population)
        inside = member[split.audited]
        return assess_released(answers, inside, prepared.chosen.attacks, audited, prepared.recipe, measure)

    return Case(
        settings=prepared.settings,
        chosen=prepared.chosen,
        estimator=prepared.recipe.name,
        saved_outputs=False,
        redraw=prepared.redraw,
        duplicates=prepared.duplicates,
        released=released if prepared.released is not None else None,
        progress=watch.progress,
    )


def audit_settings(settings: Settings, *, base: Path, out: Path, watch: Watch | None = None) -> AuditResult:
    """``locard audit CONFIG``: prepare, run, write the run folder."""
    return run_audit(prepare(settings, base), out, watch or Watch())


def audit(
    records: Records,
    recipe: Any,
    *,
    models: int = 64,
    attacks: Sequence[Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    released: tuple[Any, Sequence[Any]] | None = None,
    watch: Watch | None = None,
    **sections: Any,
) -> AuditResult:
    """Audit a training recipe on these records: leave-one-pair-out over ``models`` reference models.

    Args:
        records: the records; a part is audited, the rest is population.
        recipe: a scikit-learn classifier (unfitted), or a ``Recipe``.
        models: reference models in all, targets included; even for the plan ``pairs``.
        attacks: names or attack objects; the first is the declared headline. Default: the six of the settings.
        seed: the same seed gives the same bytes.
        out: the run folder; without one, nothing is kept but the result.
        released: ``(model, ids of its training records)`` for a model that will really be released.
        watch: who hears of progress and warnings.
        sections: the other settings sections by name: ``data={"pool": 5000}``, ``policy={...}``, ``references={...}``.

    Returns:
        The result; ``result.report("report.html")`` writes the report, ``result.records`` is one row a record.

    Raises:
        SettingsError: what cannot be used, all problems at once, before any training.

    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> records = Records(ids=range(len(y)), features=x, labels=y)
    >>> result = audit(records, DecisionTreeClassifier(max_depth=4), models=8, attacks=["lira", "loss"], seed=7,
    ...                compute={"workers": 1}, controls={"redraws": 0})
    >>> result.summary.target.pairs, len(result.records)
    (4, 455)
    """
    given = None if attacks is None else list(attacks)
    tree: dict[str, Any] = {"name": "audit", "seed": seed, "data": {"source": "records in memory"}}
    tree["references"] = {"models": models}
    for name, section in sections.items():
        tree[name] = tree.get(name, {}) | dict(section) if isinstance(section, Mapping) else section
    if given is not None and all(isinstance(a, str | Mapping) for a in given):
        tree["attack"] = given
    settings = make_settings(tree)
    built = build_attacks(list(settings.attack) if given is None or "attack" in tree else given)
    used: Recipe = (
        recipe if isinstance(recipe, Recipe) else SklearnRecipe.of(recipe, preprocess=settings.target.preprocess)
    )
    if isinstance(used, SklearnRecipe):
        used.check(weights=records.weight is not None)
    model = None
    if released is not None:
        model = (load_model(released[0], base=Path()), [str(i) for i in released[1]])
    prepared = prepare_records(settings, records, used, built, released=model)
    if out is not None:
        return run_audit(prepared, Path(out), watch or Watch())
    with tempfile.TemporaryDirectory(prefix="locard-") as folder:
        return run_audit(prepared, Path(folder), watch or Watch())


@dataclass(frozen=True, eq=False)
class SavedTarget:
    """One more target's saved outputs ``[records, classes]`` (the same kind as the models') and ``bool[records]``."""

    outputs: np.ndarray
    member: np.ndarray


def audit_saved(
    *,
    member: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    ids: Sequence[Any] | None = None,
    pairs: np.ndarray | None = None,
    target: SavedTarget | None = None,
    settings: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> AuditResult:
    """Audit saved outputs of models that were trained elsewhere, leave-one-pair-out: no model, no training.

    Args:
        member: ``bool[models, records]``.
        labels: one label a record; integers 0..classes-1 are class indices, other values are sorted into classes.
        logits: ``float[models, records, queries, classes]`` or ``[models, records, classes]``.
        probabilities: the same, as probabilities.
        ids: one id a record; default 0, 1, 2, ...
        pairs: each model's partner, where the mask was drawn in pairs; found by itself where exact.
        target: one more target, attacked with all models as references.
        settings: other sections (``attack``, ``policy``, ``measure``, ...).
        watch: who hears of progress.

    Raises:
        DataError: arrays that do not fit together.
    """
    array = as_logits(logits, probabilities, models=True)
    names = list(range(array.shape[1])) if ids is None else list(ids)
    if len(names) != array.shape[1] or len(labels) != array.shape[1]:
        raise DataError(
            f"ids, labels: {array.shape[1]} of each are needed (one a record observed), found {len(names)} ids and "
            f"{len(labels)} labels. Check that the files belong together."
        )
    records = Records(
        ids=names,
        features=np.zeros((len(names), 0)),
        labels=labels,
        known_classes=_classes_of_columns(np.asarray(labels), array.shape[-1]),
    )
    plan = from_mask(np.asarray(member).astype(bool), pairs=pairs)
    chosen_settings = make_settings(
        {"name": "saved outputs", **dict(settings or {}), "data": {"source": "saved outputs"}}
    )
    floor = DEFAULT_FLOOR if probabilities is not None else None
    observations = Observations(ArrayReader(array), records.y, probability_floor=floor)
    chosen = runnable(build_attacks(list(chosen_settings.attack)), plan, 0)
    seed = Seed(chosen_settings.seed)

    def released(audited: Audited) -> Released:
        assert target is not None  # only called where there is one
        extra = as_logits(
            target.outputs if probabilities is None else None,
            None if probabilities is None else target.outputs,
            models=False,
        )[0]
        if extra.shape != array.shape[1:] or target.member.shape != (len(names),):
            raise DataError(
                f"target: outputs of shape {array.shape[1:]} and a mask of {len(names)} are needed, like the models' "
                f"own, found {extra.shape} and {target.member.shape}. Check that the files belong together."
            )
        nothing = np.zeros(0, dtype=np.int64)
        answers = Answers("saved target", extra, nothing, None, None)
        return assess_released(answers, target.member, chosen.attacks, audited, None, chosen_settings.measure)

    case = Case(
        settings=chosen_settings,
        chosen=chosen,
        estimator="models trained elsewhere",
        saved_outputs=True,
        redraw=None,
        duplicates=None,
        released=released if target is not None else None,
        progress=(watch or Watch()).progress,
    )
    return assess(Audited(records, plan, observations, None, seed), case)


def _classes_of_columns(labels: np.ndarray, columns: int) -> np.ndarray:
    """The class that each column of saved outputs stands for: its number, or the sorted labels."""
    if labels.dtype.kind in "iu" and labels.min(initial=0) >= 0 and labels.max(initial=0) < columns:
        return np.arange(columns)
    classes = np.unique(labels)
    if len(classes) != columns:
        raise DataError(
            f"labels: class numbers 0 to {columns - 1}, or {columns} distinct labels (one a column of the outputs) are "
            f"needed, found {len(classes)} distinct labels. Save class numbers."
        )
    return classes
