"""From ``[compute]`` to the processes that work for a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from locard.run.backend import Backend, LocalBackend, staffed
from locard.run.chunks import Grouping
from locard.run.ray_backend import RayBackend, places_of_cluster
from locard.settings import ComputeSettings, Settings

LIBRARIES = (
    "sklearn",
    "xgboost",
    "lightgbm",
    "torch",
)  # they take a second or more to import; others come with the work


def local_workers(settings: Settings, imports: Sequence[str]) -> AbstractContextManager[LocalBackend]:
    """Processes here, for training and everything after it, started while the data are still being read.

    Where training runs elsewhere, they start when there is something to score.

    Args:
        settings: how many, and the library that models are trained with, which they import first.
        imports: more modules that they will need.

    >>> from locard.settings import make_settings
    >>> with local_workers(make_settings({"data": {"source": "digits"}, "compute": {"workers": 1}}), []) as local:
    ...     local
    LocalBackend(workers=1)
    """
    target, compute = settings.target, settings.compute
    library = "torch" if target.recipe == "torch" else target.estimator.rpartition(".")[0]
    slow = target.recipe in ("sklearn", "torch") and library.partition(".")[0] in LIBRARIES
    return staffed(compute.workers, imports=[library, *imports] if slow else imports, now=compute.backend == "local")


def grouping_of(compute: ComputeSettings) -> Grouping:
    """How jobs are grouped: for the processors and the memory of the machines that train.

    >>> grouping_of(ComputeSettings(workers=2, chunk=8))
    Grouping(workers=2, size=8, exact=False, elsewhere=None)
    """
    elsewhere = None
    if compute.backend == "ray":
        elsewhere = partial(places_of_cluster, compute.workers, compute.address)
    return Grouping(workers=compute.workers, size=compute.chunk, exact=compute.exact, elsewhere=elsewhere)


def choose_backend(compute: ComputeSettings, local: LocalBackend | None = None) -> Backend:
    """Where models are trained.

    Args:
        compute: names it.
        local: processes that are there already; without, some are started for every map.

    Raises:
        MissingExtra: Ray is asked for and not installed.

    >>> choose_backend(ComputeSettings(workers=2))
    LocalBackend(workers=2)
    """
    if compute.backend == "ray":
        return RayBackend(compute.workers, compute.address)
    return LocalBackend(compute.workers) if local is None else local
