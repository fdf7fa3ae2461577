"""What a worker on another machine must see and have before it works: found out by its first job, not by the last."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from locard import __version__
from locard.errors import LocardError, SettingsError
from locard.run.sharing import packed
from locard.train.jobs import versions
from locard.train.recipe import Recipe
from locard.train.store import Store


@runtime_checkable
class Storing(Protocol):
    """Work that trains by a recipe and leaves its answers in a store."""

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        ...

    @property
    def store(self) -> Store:
        """Where it writes."""
        ...


@dataclass(frozen=True)
class Probe:
    """What the run's own process has and sees; called in a worker, it compares.

    - a store that is not the same one there is found
    - so are other versions of Python, of this package, of numerical libraries, and of the user's own code, any of
      which may give other numbers under the same key
    """

    machine: str
    mark: str
    versions: str
    fingerprint: str | None  # of the recipe; none where its code travels with it

    def __call__(self, work: Storing) -> None:
        """Pass where a worker may work.

        Raises:
            SettingsError: it does not see the store, or would train something else.
        """
        here = socket.gethostname()
        if everything_versioned() != self.versions:
            raise SettingsError(
                f"compute.address: the same versions are needed on every machine, but {here} has "
                f"({everything_versioned()}) and {self.machine}, where the run was started, ({self.versions}). Install "
                f"the same there, or start the run from a machine with those."
            )
        if not work.store.sees(self.mark):
            raise SettingsError(
                f"compute.store: a place that every machine sees is needed, but {here} does not see what "
                f"{self.machine} has just written to {work.store.where}. Set compute.store to a folder that all "
                f"machines share, or to an object store such as s3://bucket/folder."
            )
        if self.fingerprint is not None and self.fingerprint != _fingerprint(work.recipe, here):
            raise SettingsError(
                f"compute.address: the same training code is needed on every machine, but on {here} the recipe "
                f"{work.recipe.name} is not the one of {self.machine}: your module there, or a package that it uses, "
                f"is another version. Keep it in a folder that all machines share, or install the same."
            )


@contextmanager
def probing(work: object) -> Iterator[Probe | None]:
    """A probe for this work as long as this lasts; none for work without a store.

    Raises:
        RunStopped: the store cannot be written.
        SettingsError: the recipe cannot be sent to workers.
    """
    if not isinstance(work, Storing):
        yield None
        return
    by_name = b"cloudpickle" not in packed(work.recipe, "a recipe")  # else it holds code of a script or notebook
    with work.store.marked() as mark:
        yield Probe(socket.gethostname(), mark, everything_versioned(), work.recipe.fingerprint if by_name else None)


def everything_versioned() -> str:
    """Versions that may change numbers, this package's included."""
    return f"locard {__version__};{versions()}"


def _fingerprint(recipe: Recipe, here: str) -> str:
    try:
        return recipe.fingerprint
    except LocardError as wrong:
        raise SettingsError(f"On {here}: {wrong}") from wrong
