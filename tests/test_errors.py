"""Errors keep what they say and what they are, also when a worker sends them back."""

from __future__ import annotations

import pickle

import pytest

from locard import errors
from locard.errors import DataError, LocardError, MissingExtra, SettingsError
from locard.run.worker import packed_error

EVERY = [
    MissingExtra("torch", "torch", "Training networks") if kind is MissingExtra else kind("needed a, found b")
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LocardError)
]


@pytest.mark.parametrize("error", [*EVERY, DataError(["one", "two"]), SettingsError(["one", "two"])], ids=repr)
def test_every_error_comes_back_from_a_worker_as_it_is(error):
    """Planted: without ``MissingExtra.__reduce__`` the worker says that the exception cannot be sent back."""
    error.add_note("a note of its own")
    for back in (pickle.loads(pickle.dumps(error)), pickle.loads(packed_error(error))):
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert back.__notes__[0] == "a note of its own"
        assert getattr(back, "problems", None) == getattr(error, "problems", None)
