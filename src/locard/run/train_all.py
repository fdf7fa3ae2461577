"""Train models that are all needed: for a screening or an attack, part of them is of no use."""

from __future__ import annotations

from locard.errors import RunStopped
from locard.run.choose_backend import choose_backend, grouping_of
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.settings import ComputeSettings
from locard.train.jobs import Job, Work


def train_all(
    work: Work, jobs: list[Job], folder: RunFolder, compute: ComputeSettings, watch: Watch, *, what: str
) -> list[str]:
    """The keys of all these models, after those that are missing were trained.

    Args:
        work: what a worker does with a chunk.
        jobs: all that are needed.
        folder: the run folder.
        compute: where, by how many, and for how long.
        watch: who hears of progress.
        what: what messages call the models.

    Raises:
        RunStopped: the time given was over before all were trained.
    """
    backend, seconds = choose_backend(compute), compute.seconds
    left = train_missing(work, jobs, folder, backend, watch, grouping_of(compute), stop_after=seconds)
    if left:
        raise RunStopped(
            f"All {len(jobs)} {what} are needed, but after compute.stop_after = {compute.stop_after!r} {len(left)} are "
            f"missing. Run the same command again: those that are finished are kept."
        )
    return [job.key for job in jobs]
