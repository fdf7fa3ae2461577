"""What the settings of an attack or a screen may be: read from the annotations of its fields, checked in one place."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from locard.check import nearest
from locard.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a number must lie; stands in the annotation of a field: ``Annotated[float, Limits(above=0.0)]``."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def allow(self, value: float) -> bool:
        """Whether the value keeps every limit."""
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    @property
    def words(self) -> str:
        """The limits in words."""
        parts = {"above": self.above, "of at least": self.least, "of at most": self.most}
        return " and ".join(f"{k} {v:g}" for k, v in parts.items() if v is not None)


Positive = Annotated[float, Limits(above=0.0)]
Whole = Annotated[int, Limits(least=1)]
Share = Annotated[float, Limits(least=0.0, most=1.0)]


def check_fields(settings: Any) -> None:
    """For ``__post_init__``: every value of a settings dataclass keeps what its field's annotation says.

    Raises:
        SettingsError: with all problems.
    """
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    problems = setting_problems(type(settings), type(settings).__name__, values)
    if problems:
        raise SettingsError(problems)


def setting_problems(made: Callable[..., Any], name: str, settings: Mapping[str, Any]) -> list[str]:
    """Everything wrong with these settings for a dataclass or function: unknown names, values that are not allowed.

    >>> from locard.attacks.lira import LiRA
    >>> for problem in setting_problems(LiRA, "lira", {"varience": "pooled", "offline": "yes"}):
    ...     print(problem)
    lira: unknown setting 'varience'. Nearest: variance.
    lira.offline: True or False is needed, found 'yes'.
    """
    known = list(inspect.signature(made).parameters)
    hints = get_type_hints(made, include_extras=True)
    problems = []
    for key, value in settings.items():
        if key not in known:
            problems.append(f"{name}: unknown setting {key!r}. {nearest(key, known) if known else 'It takes none.'}")
        elif (needed := _not_allowed(hints.get(key), value)) is not None:
            problems.append(f"{name}.{key}: {needed} is needed, found {value!r}.")
    return problems


def _not_allowed(hint: Any, value: Any) -> str | None:
    """What is needed instead of this value; None where it may stand."""
    if get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint):
        return None if value is None else _not_allowed(next(a for a in get_args(hint) if a is not type(None)), value)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return None if value in choices and isinstance(value, str) else " or ".join(repr(c) for c in choices)
    limits = Limits()
    if get_origin(hint) is Annotated:
        hint, limits = get_args(hint)[:2]
    if hint is bool:
        return None if isinstance(value, bool) else "True or False"
    if hint in (int, float):
        kinds = (int,) if hint is int else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        words = " ".join(w for w in ("a whole number" if hint is int else "a number", limits.words) if w)
        return None if fits and limits.allow(float(value)) else words
    return None
