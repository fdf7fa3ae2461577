"""Train what is missing of a plan: finished jobs are skipped, and that is resuming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from locard.run.backend import Backend
from locard.run.folder import RunFolder
from locard.train.jobs import Job, Training

Progress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """Who is told what: ``progress(stage, done, total)`` and ``warn(message)``. Silent unless given."""

    progress: Progress = lambda stage, done, total: None
    warn: Warn = lambda message: None


def train_missing(work: Training, jobs: list[Job], folder: RunFolder, backend: Backend, watch: Watch) -> None:
    """Train every job whose file is not there or not whole.

    What the recipe's own code warns of is told once, with the number of models, and kept in ``run.json``.

    Raises:
        SettingsError: the recipe's own code failed on a model.
        RunStopped: the disk is full, or workers die again and again; finished models stay.
    """
    wanted = {job.key: job for job in jobs}
    absent, damaged = folder.store.missing(wanted)
    for message in damaged:
        watch.warn(message)
    todo = [wanted[key] for key in absent]
    done = len(jobs) - len(todo)
    folder.timings["models"] = {"total": len(jobs), "reused": done, "trained": len(todo)}
    if not todo:
        return
    watch.progress("training models", done, len(jobs))
    fits, predictions = [], []
    warned: Counter[str] = Counter()
    for finished in backend.map(work, todo):
        done += 1
        fits.append(finished.fit_seconds)
        predictions.append(finished.predict_seconds)
        warned.update(finished.warned)
        watch.progress("training models", done, len(jobs))
    folder.timings["fit_seconds_median"] = round(median(fits), 4)
    folder.timings["predict_seconds_median"] = round(median(predictions), 4)
    folder.timings["warnings"] = dict(sorted(warned.items()))
    for message, count in sorted(warned.items()):
        watch.warn(f"{count} of {len(todo)} models said: {message}")
