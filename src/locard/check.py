"""Checks that happen before any work: all problems are gathered and told at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from locard.errors import LocardError, SettingsError


class Problems:
    """Gathers what is wrong, so that the caller hears all of it at once.

    >>> problems = Problems()
    >>> with problems.gather():
    ...     raise SettingsError("seed: too odd")
    >>> problems.found
    ['seed: too odd']
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keep the messages of any ``LocardError`` raised inside."""
        try:
            yield
        except SettingsError as wrong:
            self.found += wrong.problems
        except LocardError as wrong:
            self.found.append(str(wrong))

    def add(self, message: str) -> None:
        """Keep one message."""
        self.found.append(message)

    def settle(self, kind: Callable[[list[str]], SettingsError] = SettingsError) -> None:
        """Raise everything gathered, if anything.

        Raises:
            SettingsError: with all messages.
        """
        if self.found:
            raise kind(list(dict.fromkeys(self.found)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them.

    >>> nearest("lyra", ["lira", "rmia"])
    "did you mean 'lira'?"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}."
