"""The stage between training and attacking: students of every model, where an attack reads what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from locard.errors import RunStopped
from locard.observe.distilling import Distilling, auxiliary, student_jobs
from locard.observe.traces import StoredStudents, StoredTraces, Traces
from locard.prepare import Prepared, without_late
from locard.run.backend import Backend, LocalBackend
from locard.run.choose_backend import choose_backend, grouping_of
from locard.run.chunks import Grouping
from locard.run.folder import RunFolder
from locard.run.training import Clock, Watch, train_missing
from locard.train.distil import student_recipe
from locard.train.jobs import Job


def distil_in_time(
    prepared: Prepared, folder: RunFolder, jobs: list[Job], local: LocalBackend | None, watch: Watch, clock: Clock
) -> tuple[Prepared, dict[str, Traces]]:
    """The case and its traces; where the time was over, without the attacks whose students are missing.

    Raises:
        RunStopped: one of them is the headline; or as ``distil_missing``.
        SettingsError: as ``distil_missing``.
    """
    traces = distil_missing(prepared, folder, jobs, local, watch, clock)
    missing = prepared.chosen.traces - traces.keys()
    if not missing:
        return prepared, traces
    again = "The same command with more time goes on where it stopped."
    late = [label for label, attack in prepared.chosen.attacks.items() if missing & set(attack.needs.traces)]
    if prepared.chosen.headline in late:
        raise RunStopped(
            f"The students that the headline attack {late[0]} reads are needed, but they were not finished when the "
            f"time was over (compute.stop_after). {again}"
        )
    part = without_late(prepared, late, f"its students were not finished when the time was over. {again}")
    said = f"Time was over before all students were trained (compute.stop_after): some attacks were not run. {again}"
    watch.warn(said)
    return replace(part, caveats=(*part.caveats, said)), traces


def distil_missing(
    prepared: Prepared,
    folder: RunFolder,
    jobs: list[Job],
    local: LocalBackend | None,
    watch: Watch,
    clock: Clock | None = None,
) -> dict[str, Traces]:
    """The traces that the chosen attacks read, after the students that are missing were trained.

    Where the clock's time is over before, those of which a student is missing are left out.

    Every model of the plan is distilled once, because each plays the target and serves as a reference; for ``students``
    the targets alone are, several times. A student's file lies beside the models', and is skipped where it is whole.
    ``run.json`` says under ``distillations`` how many there were and how long workers took.

    Raises:
        SettingsError: the recipe's own code failed on a student.
        RunStopped: the disk is full, or workers die again and again.
    """
    wanted, compute = prepared.chosen.traces, prepared.settings.compute
    if not wanted:
        return {}
    how, clock = (choose_backend(compute, local), grouping_of(compute), watch), clock or Clock(None)
    traces: dict[str, Traces] = {}
    keys = [job.key for job in jobs]
    if "training" in wanted:
        traces["training"] = StoredTraces(folder.store, keys, "losses")
    others = auxiliary(prepared.split.population, prepared.settings.distil, prepared.seed)
    if "distilled" in wanted:
        made = _done(prepared, folder, jobs, [others], "distilled", how, clock)
        if made is not None:
            traces["distilled"] = StoredTraces(folder.store, [made[key][0] for key in keys], "distilled")
    if "students" in wanted:
        targets = [jobs[t] for t in prepared.plan.targets]
        parts = np.array_split(others, prepared.settings.distil.students)
        made = _done(prepared, folder, targets, parts, "student", how, clock)
        if made is not None:
            traces["students"] = StoredStudents(folder.store, [made.get(key, []) for key in keys], "student")
    return traces


def _done(
    prepared: Prepared,
    folder: RunFolder,
    teachers: list[Job],
    parts: list[np.ndarray],
    kind: str,
    how: tuple[Backend, Grouping, Watch],
    clock: Clock,
) -> dict[str, list[str]] | None:
    """Keys of each teacher's students, by the teacher's key, all there; None where the time was over before."""
    backend, grouping, watch = how
    settings = prepared.settings
    recipe = student_recipe(prepared.recipe, settings.distil.epochs)
    students, taught_by = student_jobs(kind, recipe, teachers, parts, settings.distil, prepared.seed)
    work = Distilling(
        recipe=recipe,
        records=prepared.records,
        audited=prepared.split.audited,
        asked=prepared.asked,
        store=folder.store,
        teachers=taught_by,
        settings=settings.distil,
        snapshots=kind == "distilled",
        floor=prepared.recipe.probability_floor,
        device=settings.compute.device,
    )
    with _noted_apart(folder, kind):
        left = train_missing(work, students, folder, backend, watch, grouping, stop_after=clock.left)
    if left:
        return None
    found: dict[str, list[str]] = {}
    for student in students:
        found.setdefault(taught_by[student.key], []).append(student.key)
    return found


@contextmanager
def _noted_apart(folder: RunFolder, kind: str) -> Iterator[None]:
    """What ``train_missing`` notes down of students does not take the place of what it noted of models."""
    models, folder.timings = folder.timings, {}
    try:
        yield
    finally:
        noted, folder.timings = folder.timings, models
        folder.timings.setdefault("distillations", {})[kind] = noted
