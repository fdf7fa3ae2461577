"""``Once``: what several attacks, threads and targets need is computed by the first that asks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock, RLock
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """A value a key, made once and kept; threads that ask for the same key wait for it, others do not.

    >>> kept, made = Once(), []
    >>> [kept.get("k", lambda: made.append(1) or len(made)) for _ in range(3)]
    [1, 1, 1]
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[Hashable, RLock] = {}
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``key``; ``make()`` is called where there is none."""
        if key not in self._values:
            with self._guard:
                lock = self._locks.setdefault(key, RLock())
            with lock:
                if key not in self._values:
                    self._values[key] = make()
        value: T = self._values[key]
        return value
