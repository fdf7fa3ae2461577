"""What the statistics accept: scores without NaN beside one membership each, levels inside (0, 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Shaped

from locard.errors import SettingsError
from locard.types import Membership, Scores

Numbers: TypeAlias = int | float | Sequence[int | float] | Shaped[np.ndarray, "..."]


def checked(scores: Any, member: Any) -> tuple[Scores, Membership]:
    """The scores as float64[records] and the memberships as bool[records].

    Infinite scores are allowed: they rank like any other.

    Raises:
        SettingsError: lengths differ, a score is NaN, or a membership is neither true nor false.
    """
    values = np.asarray(scores, dtype=np.float64)
    inside = np.asarray(member)
    problems = []
    if values.ndim != 1 or inside.shape != values.shape:
        problems.append(
            f"scores, member: one score and one membership a record are needed, found shapes {values.shape} and "
            f"{inside.shape}. Give both for the same records."
        )
    elif inside.dtype != np.bool_ and not np.isin(inside, (0, 1)).all():
        problems.append("member: true or false for every record is needed, found other values. Give a bool array.")
    missing = np.flatnonzero(np.isnan(values.ravel()))
    if missing.size:
        problems.append(
            f"scores: a number for every record is needed, found {missing.size} NaN (the first at position "
            f"{missing[0]}). Leave such records out, or mend the attack that made them."
        )
    if problems:
        raise SettingsError(problems)
    return values, inside.astype(np.bool_)


def check_level(name: str, value: float) -> float:
    """``value``, which must lie strictly between 0 and 1.

    Raises:
        SettingsError: it does not.
    """
    if not 0.0 < value < 1.0:
        raise SettingsError(f"{name}: a number between 0 and 1 (both excluded) is needed, found {value}.")
    return float(value)


def check_both_kinds(members: int, non_members: int) -> None:
    """Nothing, where there is at least one member and one non-member.

    Raises:
        SettingsError: one kind is missing.
    """
    if not members or not non_members:
        raise SettingsError(
            f"member: at least one member and one non-member are needed, found {members} and {non_members}. "
            "Audit records of both kinds."
        )
