"""One class for each reaction of the caller. Every message says what was needed, what was found, where, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class LocardError(Exception):
    """Something that could not be done. The command line prints it without a traceback and exits 2."""


class SettingsError(LocardError):
    """Settings or arguments that cannot be used: mend them and start again. Holds *all* problems found.

    >>> SettingsError("models: needs an even number, found 5").problems
    ('models: needs an even number, found 5',)
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(SettingsError):
    """Records that cannot be used: mend the data and start again."""


class AccessDenied(LocardError):
    """The attack asked for more than the threat model gives."""


class QueryBudgetSpent(LocardError):
    """The target may not be asked again."""


class NotEnoughReferences(LocardError):
    """Too few reference models for this attack: train more, or choose another attack."""


class StoreMismatch(LocardError):
    """A run folder or file holds something else than what is asked for."""


class RunStopped(LocardError):
    """The run could not go on (disk full, workers lost), but what is done is kept: run the same command again."""


class RemoteUnavailable(LocardError):
    """A download or served model did not answer."""


class MissingExtra(LocardError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        self.package, self.extra, self.what = package, extra, what
        super().__init__(
            f"{what} needs the package '{package}', which is not installed. Run: pip install 'locard[{extra}]'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """From a worker process it comes back as it is."""
        return type(self), (self.package, self.extra, self.what), self.__dict__
