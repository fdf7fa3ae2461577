"""Train what is missing of a plan: finished jobs are skipped, and that is resuming."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from statistics import median

from locard.run.backend import Backend
from locard.run.chunks import Grouping, plan_chunks
from locard.run.folder import RunFolder
from locard.train.jobs import Job, JobDone, Training

Progress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """Who is told what: ``progress(stage, done, total)`` and ``warn(message)``. Silent unless given."""

    progress: Progress = lambda stage, done, total: None
    warn: Warn = lambda message: None


def train_missing(
    work: Training,
    jobs: list[Job],
    folder: RunFolder,
    backend: Backend,
    watch: Watch,
    grouping: Grouping | None = None,
    *,
    stop_after: float | None = None,
) -> list[str]:
    """Train every job whose file is not there or not whole.

    What the recipe's own code warns of is told once, with the number of models, and kept in ``run.json``.

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
        RunStopped: the disk is full, or workers die again and again; finished models stay.
    """
    wanted = {job.key: job for job in jobs}
    absent, damaged = folder.store.missing(wanted)
    for message in damaged:
        watch.warn(message)
    done = len(jobs) - len(absent)
    folder.timings["models"] = {"total": len(jobs), "reused": done, "trained": len(absent)}
    if not absent:
        return []
    watch.progress("training models", done, len(jobs))
    begun = time.monotonic()
    chunks, chosen = plan_chunks(list(wanted.values()), absent, work, grouping or Grouping(), folder.path)
    folder.timings["chunks"] = {"count": len(chunks), **chosen}
    left, finished = set(absent), []
    results = backend.map(work, chunks)
    for chunk in results:
        finished += [job for job in chunk if job.key in left]
        left -= {job.key for job in chunk}
        watch.progress("training models", len(jobs) - len(left), len(jobs))
        if left and stop_after is not None and time.monotonic() - begun > stop_after:
            break
    if isinstance(results, Generator):
        results.close()
    _note(finished, folder, watch)
    return [key for key in absent if key in left]


def _note(finished: list[JobDone], folder: RunFolder, watch: Watch) -> None:
    """How long models took, and what their code warned of."""
    folder.timings["models"]["trained"] = len(finished)
    if finished:
        folder.timings["fit_seconds_median"] = round(median(job.fit_seconds for job in finished), 4)
        folder.timings["predict_seconds_median"] = round(median(job.predict_seconds for job in finished), 4)
    warned = Counter(message for job in finished for message in job.warned)
    folder.timings["warnings"] = dict(sorted(warned.items()))
    for message, count in sorted(warned.items()):
        watch.warn(f"{count} of {len(finished)} models said: {message}")
