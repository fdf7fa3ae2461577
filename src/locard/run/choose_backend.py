"""From ``[compute]`` to the backend that it names."""

from __future__ import annotations

from locard.run.backend import Backend, LocalBackend
from locard.run.ray_backend import RayBackend
from locard.settings import ComputeSettings


def choose_backend(compute: ComputeSettings) -> Backend:
    """The backend of these settings.

    Raises:
        MissingExtra: Ray is asked for and not installed.

    >>> choose_backend(ComputeSettings(workers=2))
    LocalBackend(workers=2)
    """
    if compute.backend == "ray":
        return RayBackend(compute.workers, compute.address)
    return LocalBackend(compute.workers)
