"""Checks that happen before any work: all problems are gathered and told at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from locard.errors import DataError, LocardError, SettingsError


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
        self._in_the_data = True  # whether all of them are

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keep the messages of any ``LocardError`` raised inside."""
        try:
            yield
        except SettingsError as wrong:
            self.found += wrong.problems
            self._in_the_data &= isinstance(wrong, DataError)
        except LocardError as wrong:
            self.add(str(wrong))

    def add(self, message: str) -> None:
        """Keep one message."""
        self.found.append(message)
        self._in_the_data = False

    def settle(self, kind: Callable[[list[str]], SettingsError] | None = None) -> None:
        """Raise everything gathered, if anything.

        Raises:
            SettingsError: with all messages; a ``DataError`` where all are about the data, unless ``kind`` is given.
        """
        if self.found:
            fitting = DataError if self._in_the_data else SettingsError
            raise (kind or fitting)(list(dict.fromkeys(self.found)))


def nearest(word: str, known: Iterable[str]) -> str:
    """A half sentence that names what ``word`` may have meant: the nearest names, else the first few of them.

    >>> nearest("incme", ["age", "income", "sex"])
    'Nearest: income.'
    >>> nearest("zzz", ["age", "income"])
    'There are: age, income.'
    """
    names = [str(k) for k in known]
    lowered: dict[str, str] = {}
    for name in names:
        lowered.setdefault(name.lower(), name)
    close = difflib.get_close_matches(word.lower(), lowered, n=3, cutoff=0.6)
    if close:
        return f"Nearest: {', '.join(lowered[c] for c in close)}."
    if not names:
        return "There are none."
    shown = ", ".join(names[:12])
    return f"There are: {shown}{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
