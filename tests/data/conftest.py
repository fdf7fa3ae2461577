"""Public sets for tests: fetched once into the user's cache; a test skips only where the archive cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from locard.data.public import fetch, load
from locard.data.records import Records
from locard.errors import RemoteUnavailable


@cache
def _fetched(name: str) -> str | None:
    """Why the set cannot be had, or None."""
    try:
        fetch(name)
    except RemoteUnavailable as wrong:
        return str(wrong)
    return None


@cache
def _loaded(name: str) -> Records:
    return load(name)


@pytest.fixture
def public_set() -> Callable[[str], Records]:
    def get(name: str) -> Records:
        if reason := _fetched(name):
            pytest.skip(f"the archive of {name} cannot be fetched here: {reason}")
        return _loaded(name)

    return get
