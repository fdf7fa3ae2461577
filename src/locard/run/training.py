"""Train what is missing of a plan: finished jobs are skipped, and that is resuming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from locard.errors import RunStopped
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
    """Train every job whose file is not there or not whole; afterwards every file is, to the last bit.

    A listing, headers and sizes say what is there, so that training starts at once. Checksums are read afterwards,
    before anything is computed from a file; one that turns out to be damaged is made again. What the recipe's own code
    warns of is told once, with the number of models, and kept in ``run.json``.

    Raises:
        SettingsError: the recipe's own code failed on a model.
        RunStopped: the disk is full, workers die again and again, or what they wrote is not there; finished models
            stay.
    """
    wanted = {job.key: job for job in jobs}
    fits, predictions, trained = [], [], set[str]()
    warned: Counter[str] = Counter()
    todo = _told(folder.store.missing(wanted), watch)
    while True:
        done = len(jobs) - len(todo)
        if todo:
            watch.progress("training models", done, len(jobs))
        for finished in backend.map(work, [wanted[key] for key in todo]):
            done += 1
            fits.append(finished.fit_seconds)
            predictions.append(finished.predict_seconds)
            warned.update(finished.warned)
            watch.progress("training models", done, len(jobs))
        trained.update(todo)
        todo = _told(folder.store.verify(wanted), watch)
        if trained.intersection(todo):
            raise _lost(folder, len(trained.intersection(todo)), len(trained))
        if not todo:
            break
    folder.timings["models"] = {"total": len(jobs), "reused": len(jobs) - len(trained), "trained": len(trained)}
    if not trained:
        return
    folder.timings["fit_seconds_median"] = round(median(fits), 4)
    folder.timings["predict_seconds_median"] = round(median(predictions), 4)
    folder.timings["warnings"] = dict(sorted(warned.items()))
    for message, count in sorted(warned.items()):
        watch.warn(f"{count} of {len(trained)} models said: {message}")


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
