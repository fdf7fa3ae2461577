"""Parts that need torch, loaded when somebody asks for them: what may be imported without torch names none of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from locard.errors import MissingExtra


def neural_part(name: str, what: str) -> ModuleType:
    """The module ``locard.train.neural.<name>``.

    Args:
        name: of the module.
        what: needs it, for the message.

    Raises:
        MissingExtra: torch is not installed.
    """
    if find_spec("torch") is None:
        raise MissingExtra("torch", "torch", what)
    return import_module(f"locard.train.neural.{name}")
