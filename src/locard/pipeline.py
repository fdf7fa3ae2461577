"""The whole of it: records -> plan -> models -> observations -> scores -> estimates and claims -> report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from locard.assess import parts
from locard.assess.assemble import assess
from locard.assess.choose import build_attacks, runnable, tree_given
from locard.assess.indirect import Networks
from locard.assess.looks_at_pairs import Sequential
from locard.assess.parts import Case, in_threads
from locard.assess.released import Answers, ask
from locard.assess.saved_outputs import mask_of_target, of_shape, saved_records
from locard.assess.scoring import Audited
from locard.assess.screening import Answered, Tested, select_to_test
from locard.attacks.protocol import Attack
from locard.check import Problems
from locard.data.records import Records
from locard.distilling import distil_in_time, distil_missing
from locard.elsewhere import nothing_elsewhere, with_elsewhere
from locard.errors import DataError
from locard.observe.checkpoints import Checkpoints
from locard.observe.models import load_model
from locard.observe.observations import DEFAULT_FLOOR, ArrayReader, Observations, as_logits
from locard.observed import observed
from locard.plan.given import from_mask
from locard.prepare import Prepared, describe, prepare, prepare_records, without_claims
from locard.result import AuditResult
from locard.run.backend import LocalBackend
from locard.run.choose_backend import choose_backend, grouping_of, local_workers
from locard.run.folder import RunFolder, Stages
from locard.run.training import Clock, Watch, train_missing
from locard.seeds import Seed
from locard.settings import Settings, make_settings
from locard.stopped import only_finished
from locard.train.asked import Run
from locard.train.choose_recipe import recipe_given, written_down
from locard.train.jobs import Job
from locard.train.recipe import Recipe
from locard.trained_elsewhere import checkpoints_given, coins_elsewhere, one_of
from locard.until_settled import Batches, until_settled


def run_audit(settings: Settings, prepared_by: Callable[[], Prepared], out: Path, watch: Watch) -> AuditResult:
    """One audit, from settings to a finished run folder. Run again, it skips what is finished."""
    seconds = Stages()
    with local_workers(settings, imports=[parts.__name__]) as local:
        with seconds("preparing"):
            prepared, others = with_elsewhere(prepared_by())
        with RunFolder(out) as folder:
            tree = prepared.settings.model_dump(mode="json", exclude_none=True)
            folder.begin(tree, prepared.plan, describe(prepared), prepared.base)
            with seconds("training"):
                elsewhere = {k: _elsewhere(v, folder.path / "elsewhere" / k, local, watch) for k, v in others.items()}
                clock = Clock(prepared.settings.compute.seconds)
                finished, jobs, looks = _trained(prepared, folder, local, watch, elsewhere)
            with seconds("distilling"):
                finished, traces = distil_in_time(finished, folder, jobs, local, watch, clock)
            with seconds("assessing"):
                finished, tested = _to_test(finished, folder, jobs, watch)
                case = replace(_case(finished, tested, _networks(finished, folder, jobs)), sequential=looks)
                said = replace(observed(finished, folder, jobs, traces), elsewhere=elsewhere)
                result = assess(said, case, local.map, watch.progress)
            local.let_go()
            with seconds("writing"), ThreadPoolExecutor(max_workers=1) as threads:  # the disk, and the page
                saved = threads.submit(result.save, folder.path)
                result.report(folder.path / "report.html")
                saved.result()
            folder.end(seconds)
    return result


def _trained(
    prepared: Prepared, folder: RunFolder, local: LocalBackend, watch: Watch, elsewhere: Mapping[str, Audited]
) -> tuple[Prepared, list[Job], Sequential | None]:
    """Train what is missing; the case and its jobs, or what was finished of them when the time was over.

    Where pairs come until the policy is settled: what it took, and what was seen.
    """
    compute = prepared.settings.compute
    work, jobs = prepared.work(folder.store, folder.weights)
    grouping = grouping_of(compute)
    backend, seconds = choose_backend(compute, local), compute.seconds

    def train(some: list[Job], rest: float | None) -> set[str]:
        return set(train_missing(work, some, folder, backend, watch, grouping, stop_after=rest))

    if prepared.settings.references.until == "settled":

        def observe(case: Prepared, some: list[Job]) -> Audited:
            traces = distil_missing(case, folder, some, local, watch)
            return replace(observed(case, folder, some, traces), elsewhere=elsewhere)

        return until_settled(
            prepared, jobs, train=Batches(train, folder.timings, seconds), observe=observe, watch=watch
        )
    left = train(jobs, seconds)
    if not left:
        return prepared, jobs, None
    part, models = only_finished(prepared, [job.model for job in jobs if job.key not in left])
    watch.warn(part.caveats[-1])
    return part, [jobs[m] for m in models], None


def _elsewhere(prepared: Prepared, out: Path, local: LocalBackend, watch: Watch) -> Audited:
    """Models of another data set, in a run folder of their own."""
    with RunFolder(out) as folder:
        tree = prepared.settings.model_dump(mode="json", exclude_none=True)
        folder.begin(tree, prepared.plan, describe(prepared), prepared.base)
        finished, jobs, _ = _trained(prepared, folder, local, watch, {})
        folder.end()
        return observed(finished, folder, jobs)


def _to_test(prepared: Prepared, folder: RunFolder, jobs: list[Job], watch: Watch) -> tuple[Prepared, Tested | None]:
    """The records that are attacked one by one, where an attack makes claims.

    A screen may find only now that these answers do not tell records apart. Everything else is still worth having, so
    this is listed among what was not run.
    """
    screening = prepared.screening
    if screening is None:
        return prepared, None
    watch.progress("screening records", 0, 1)
    keys = [jobs[m].key for m in screening.models]
    floor, workers = prepared.recipe.probability_floor, prepared.settings.compute.workers
    answered = Answered(
        prepared.records, prepared.plan, prepared.split, prepared.asked, floor, folder.store, keys, workers
    )
    try:
        tested = select_to_test(screening, answered, prepared.seed)
    except DataError as wrong:
        watch.warn(f"No claims about single records: {wrong}")
        return without_claims(prepared, str(wrong)), None
    watch.progress("screening records", 1, 1)
    return prepared, tested


def _networks(prepared: Prepared, folder: RunFolder, jobs: list[Job]) -> Networks | None:
    """All networks of the run, where an attack trains on or asks new questions."""
    if not prepared.indirect:
        return None
    from locard.train.neural.stored import StoredNetworks

    runs, keys = [Run(job.index, job.seed) for job in jobs], [job.key for job in jobs]
    device = prepared.settings.compute.device
    return StoredNetworks(prepared.recipe, prepared.records, runs, folder.weights, keys, device)


def _case(prepared: Prepared, tested: Tested | None, networks: Networks | None) -> Case:
    released = None
    if prepared.released is not None:
        model, member = prepared.released
        audited, population = prepared.split.audited, prepared.split.population
        released = (ask(model, member, prepared.records, audited, population), member[audited])
    return Case(
        settings=prepared.settings,
        chosen=prepared.chosen,
        estimator=prepared.recipe.name,
        saved_outputs=prepared.trains is None,
        redraw=prepared.redraw,
        duplicates=prepared.duplicates,
        released=released,
        recipe=prepared.trains,
        caveats=(*getattr(prepared.recipe, "caveats", ()), *prepared.caveats),
        tested=tested,
        everyone=prepared.records,
        indirect=prepared.indirect,
        networks=networks,
        planted=prepared.planted,
    )


def trained_case(
    prepared: Prepared, others: Mapping[str, Prepared], folder: RunFolder, local: LocalBackend, watch: Watch
) -> tuple[Prepared, Audited, Case]:
    """Train what is missing, for whoever asks other questions of the models than an audit; nothing is screened.

    Returns:
        The case, or what was finished of it when the time was over; what its models said; what is asked.
    """
    elsewhere = {k: _elsewhere(v, folder.path / "elsewhere" / k, local, watch) for k, v in others.items()}
    clock = Clock(prepared.settings.compute.seconds)
    finished, jobs, _ = _trained(prepared, folder, local, watch, elsewhere)
    finished = replace(finished, screening=None, reference_pool=prepared.reference_pool)  # what they answered for
    finished, traces = distil_in_time(finished, folder, jobs, local, watch, clock)
    said = replace(observed(finished, folder, jobs, traces), elsewhere=elsewhere)
    return finished, said, _case(finished, None, None)


def audit_settings(
    settings: Settings, *, base: Path, out: Path, watch: Watch | None = None, problems: Problems | None = None
) -> AuditResult:
    """``locard audit CONFIG``: prepare (telling ``problems`` found so far with all others), run, write the folder."""
    return run_audit(settings, partial(prepare, settings, base, problems), out, watch or Watch())


def audit(
    records: Records,
    recipe: Any = None,
    *,
    models: int = 64,
    attacks: Sequence[Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    released: tuple[Any, Sequence[Any]] | None = None,
    checkpoints: Sequence[Any] | None = None,
    member: np.ndarray | None = None,
    watch: Watch | None = None,
    **sections: Any,
) -> AuditResult:
    """Audit a training recipe on these records: leave-one-pair-out over ``models`` reference models.

    Args:
        records: the records; a part is audited, the rest is population.
        recipe: a scikit-learn classifier (unfitted), a training function (see ``FunctionRecipe``), or a ``Recipe``.
        models: reference models in all, targets included; even for the plan ``pairs``.
        attacks: names or attack objects; the first is the declared headline. Default: the six of the settings.
        seed: the same seed gives the same bytes.
        out: the run folder; without one, nothing is kept but the result.
        released: ``(model, ids of its training records)`` for a model that will really be released.
        checkpoints: instead of a recipe, models trained elsewhere: files, or objects with ``predict_proba``.
        member: ``bool[checkpoints, records]``, which record is in which of them.
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
    (4, 456)
    """
    tree = tree_given("audit", seed, attacks, sections, models=models if checkpoints is None else None)
    problems = Problems()
    used: Recipe | Checkpoints | None = None
    trained_here = True
    with problems.gather():
        trained_here = one_of(recipe, checkpoints, member)
        if trained_here:
            used = recipe_given(recipe, tree["target"], weights=records.weight is not None)
            tree["target"] |= written_down(used)
    model = None
    if released is not None:
        with problems.gather():
            model = (load_model(released[0], base=Path()), [str(i) for i in released[1]])
    settings: Settings | None = None
    with problems.gather():
        settings = make_settings(tree, problems)
    built: list[tuple[str, Attack]] = []
    with problems.gather():
        given = attacks if attacks is not None else settings.attack if settings is not None else ()
        built = build_attacks(list(given))
    if settings is None:
        problems.settle()
    assert settings is not None  # else there were problems
    if not trained_here:
        assert checkpoints is not None  # one_of has seen to it
        with problems.gather():
            settings, used = checkpoints_given(settings, checkpoints, records)
    prepared_by = partial(
        prepare_records, settings, records, used, built, released=model, member=member, problems=problems
    )
    if out is not None:
        return run_audit(settings, prepared_by, Path(out), watch or Watch())
    with tempfile.TemporaryDirectory(prefix="locard-") as folder:
        return run_audit(settings, prepared_by, Path(folder), watch or Watch())


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
    audited, case = saved_case(member, labels, logits, probabilities, ids, pairs, settings, target)
    run = in_threads(case.settings.compute.workers)  # the arrays are in this process
    return assess(audited, case, run, (watch or Watch()).progress)


def saved_case(
    member: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray | None,
    probabilities: np.ndarray | None,
    ids: Sequence[Any] | None,
    pairs: np.ndarray | None,
    settings: Mapping[str, Any] | None,
    target: SavedTarget | None = None,
) -> tuple[Audited, Case]:
    """Saved outputs, checked, as what is assessed and what is asked of them (arguments as in ``audit_saved``).

    Raises:
        DataError: arrays that do not fit together.
    """
    problems = Problems()
    array: np.ndarray | None = None
    with problems.gather():
        array = as_logits(logits, probabilities, models=True)
    with problems.gather():
        mask = np.asarray(member)
        plan = from_mask(mask if array is None else of_shape("member", mask, array.shape[:2]), pairs=pairs)
    with problems.gather():
        tree = {"name": "saved outputs", **dict(settings or {}), "data": {"source": "saved outputs"}}
        chosen_settings = make_settings(tree, problems)
        for wrong in coins_elsewhere(chosen_settings, "saved outputs"):
            problems.add(wrong)
        built = build_attacks(list(chosen_settings.attack))
    said: np.ndarray | None = None
    if target is not None:
        with problems.gather():
            given = (target.outputs, None) if probabilities is None else (None, target.outputs)
            said = as_logits(*given, models=False)[0]
    if array is not None:
        with problems.gather():
            records = saved_records(array.shape, ids, labels)
        if said is not None:
            with problems.gather():
                of_shape("target", said, array.shape[1:])
        if target is not None:
            with problems.gather():
                inside = mask_of_target(target.member, array.shape[1])
    problems.settle(DataError)
    assert array is not None  # else there were problems
    floor = DEFAULT_FLOOR if probabilities is not None else None
    observations = Observations(ArrayReader(array), records.y, probability_floor=floor)
    chosen = nothing_elsewhere(runnable(built, plan, 0))
    seed = Seed(chosen_settings.seed)

    nothing = np.zeros(0, dtype=np.int64)
    case = Case(
        settings=chosen_settings,
        chosen=chosen,
        estimator="models trained elsewhere",
        saved_outputs=True,
        redraw=None,
        duplicates=None,
        released=None if said is None else (Answers("saved target", said, nothing, None, None), inside),
        recipe=None,
    )
    return Audited(records, plan, observations, None, seed), case
