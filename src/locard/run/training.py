"""Train what is missing of a plan: finished jobs are skipped, and that is resuming."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from locard.errors import RunStopped
from locard.run.backend import Backend
from locard.run.chunks import Grouping, plan_chunks
from locard.run.folder import RunFolder
from locard.train.jobs import Job, JobDone, Work
from locard.train.reuse import Answering, reuse

Progress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """Who is told what: ``progress(stage, done, total)`` and ``warn(message)``. Silent unless given."""

    progress: Progress = lambda stage, done, total: None
    warn: Warn = lambda message: None


def train_missing(
    work: Work,
    jobs: list[Job],
    folder: RunFolder,
    backend: Backend,
    watch: Watch,
    grouping: Grouping | None = None,
    *,
    stop_after: float | None = None,
) -> list[str]:
    """Train every job whose file is not there or not whole; afterwards every file is, to the last bit.

    A listing, headers and sizes say what is there, so that training starts at once. What is absent is made from other
    files of the same models where they hold it (``train/reuse.py``). Checksums are read afterwards,
    before anything is computed from a file; one that turns out to be damaged is made again. What the recipe's own code
    warns of is told once, with the number of models, and kept in ``run.json``.

    Args:
        work: what a worker does with a chunk.
        jobs: all that are wanted.
        folder: the run folder.
        backend: where chunks run.
        watch: who is told.
        grouping: how jobs are grouped, for recipes that train many models in one program.
        stop_after: seconds of training after which no further result is waited for.

    Returns:
        Keys without a file, in order: empty unless the time was over.

    Raises:
        SettingsError: the recipe's own code failed on a model.
        RunStopped: the disk is full, workers die again and again, or what they wrote is not there; finished models
            stay.
    """
    wanted = {job.key: job for job in jobs}
    clock, left = Clock(stop_after), set[str]()
    finished: list[JobDone] = []
    todo = _told(folder.store.missing(wanted), watch)
    while True:
        todo = _without_reused(work, [wanted[key] for key in todo], watch)
        left = set(todo)
        if todo:
            watch.progress(work.stage, len(jobs) - len(left), len(jobs))
            for job in _trained(work, list(wanted.values()), todo, folder, backend, grouping or Grouping(), clock):
                finished.append(job)
                left.discard(job.key)
                watch.progress(work.stage, len(jobs) - len(left), len(jobs))
        done = {job.key for job in finished}
        todo = [key for key in _told(folder.store.verify(wanted), watch) if key not in left]
        if done.intersection(todo):
            raise _lost(folder, len(done.intersection(todo)), len(done))
        if not todo:
            break
    reused = len(jobs) - len(done) - len(left)
    folder.timings["models"] = {"total": len(jobs), "reused": reused, "trained": len(done)}
    _note(finished, folder, watch)
    return [key for key in wanted if key in left]


class Clock:
    """How much of the time for training is left, from now on."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds, 0 where it is over; None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether there was a limit, and it is passed."""
        return self._end is not None and time.monotonic() > self._end


def _trained(
    work: Work,
    wanted: list[Job],
    todo: list[str],
    folder: RunFolder,
    backend: Backend,
    grouping: Grouping,
    clock: Clock,
) -> Iterator[JobDone]:
    """The jobs of ``todo`` as they finish, chunk by chunk, until the time is over."""
    chunks, chosen = plan_chunks(wanted, todo, work, grouping, folder.path)
    if chosen:
        folder.timings["chunks"] = {"count": len(chunks), **chosen}
    waited_for = set(todo)
    with closing(backend.map(work, chunks)) as results:  # type: ignore[type-var]
        for chunk in results:
            yield from (job for job in chunk if job.key in waited_for)
            if clock.over:
                return


def _note(finished: list[JobDone], folder: RunFolder, watch: Watch) -> None:
    """How long models took, and what their code warned of."""
    if not finished:
        return
    worked = sum(job.fit_seconds + job.predict_seconds for job in finished)
    folder.timings["worker_seconds"] = round(worked, 3)  # of all workers together, in training and asking
    folder.timings["fit_seconds_median"] = round(median(job.fit_seconds for job in finished), 4)
    folder.timings["predict_seconds_median"] = round(median(job.predict_seconds for job in finished), 4)
    warned = Counter(message for job in finished for message in job.warned)
    folder.timings["warnings"] = dict(sorted(warned.items()))
    for message, count in sorted(warned.items()):
        watch.warn(f"{count} of {len(finished)} models said: {message}")


def _without_reused(work: Work, absent: list[Job], watch: Watch) -> list[str]:
    """The keys that have to be made by the work, after the others were made from what is stored."""
    made: set[str] = set()
    if isinstance(work, Answering):
        made, messages = reuse(work, absent)
        for message in messages:
            watch.warn(message)
    return [job.key for job in absent if job.key not in made]


def _told(found: tuple[list[str], list[str]], watch: Watch) -> list[str]:
    absent, damaged = found
    for message in damaged:
        watch.warn(message)
    return absent


def _lost(folder: RunFolder, lost: int, trained: int) -> RunStopped:
    return RunStopped(
        f"Files that stay as they were written are needed, but {lost} of the {trained} models just trained are gone "
        f"from {folder.store.where}, or damaged. Check that disk, and that every worker writes to this very place (on "
        f"several machines: compute.store); then run the same command again."
    )
