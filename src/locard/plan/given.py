"""Masks that users bring: find out what design they follow, so that the right remedy against leaks is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from locard.data.membership import true_or_false
from locard.errors import DataError
from locard.plan.plan import Plan, Role
from locard.types import MemberMask


def from_mask(
    member: np.ndarray,
    *,
    pairs: np.ndarray | None = None,
    audited: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> Plan:
    """A plan for models that were trained elsewhere.

    - exact complements (among the audited records) are found and treated as partners, whoever drew them
    - every other mask gets thinned references: a balanced mask tells the target's answer by its counts
    - partners that the user names never serve as references; where they are no exact complements, the rest is thinned

    Args:
        member: ``bool[models, records]`` (or zeros and ones).
        pairs: ``int64[models]``, the partner of each model, where the user knows.
        audited: ``int64[audited]``, places of the audited records among the mask's columns; default: all of them.
        names: what messages call the models; default: their numbers.

    Raises:
        DataError: the mask is not a table of True and False, a row is all or nothing, two models hold the same
            records, or ``pairs`` is not a pairing.

    >>> from_mask(np.array([[True, False, True], [False, True, False]])).design
    'pairs'
    """
    whole = true_or_false(np.asarray(member), "member")
    places = np.arange(whole.shape[1], dtype=np.int64) if audited is None else np.asarray(audited, dtype=np.int64)
    mask = whole[:, places]
    models = len(mask)
    called = [f"model {k}" for k in range(models)] if names is None else list(names)
    size = mask.sum(axis=1)
    one_sided = np.flatnonzero((size == 0) | (size == mask.shape[1]))
    if len(one_sided):
        row, more = int(one_sided[0]), len(one_sided) - 1
        raise DataError(
            f"member: every model needs members and non-members among the records, but {called[row]} holds "
            f"{int(size[row])} of {mask.shape[1]}{f' (and {more} more are like it)' if more else ''}. Leave it out, or "
            f"add records."
        )
    _refuse_twins(mask, called)
    partner = _given(pairs, models) if pairs is not None else _complements(mask)
    exact = (partner >= 0).all() and bool((mask ^ mask[partner]).all())
    design = "pairs" if exact else "coin_flips"
    rows = tuple(np.flatnonzero(row).astype(np.int64) for row in whole)
    role: Role = "both"
    return Plan(design, places, rows, (role,) * models, partner)


def _refuse_twins(mask: MemberMask, called: Sequence[str]) -> None:
    """Two models with the same training records know each other's answer: neither may be the other's reference."""
    seen: dict[bytes, int] = {}
    for model, row in enumerate(mask):
        twin = seen.setdefault(row.tobytes(), model)
        if twin != model:
            raise DataError(
                f"member: every model needs training records of its own draw, but {called[twin]} and {called[model]} "
                f"hold the same ones, so either would tell the other's answer. Keep one of them."
            )


def _given(pairs: np.ndarray, models: int) -> np.ndarray:
    partner = np.asarray(pairs)
    numbers = np.arange(models)
    valid = partner.shape == (models,) and partner.dtype.kind in "iu" and np.isin(partner, numbers).all()
    if not valid or (partner[partner] != numbers).any() or (partner == numbers).any():
        raise DataError(
            f"pairs: the partner's number for each of {models} models is needed, each the partner of its partner, "
            f"found something else. For models 0 and 1 as partners write [1, 0, ...]."
        )
    return partner.astype(np.int64)


def _complements(mask: np.ndarray) -> np.ndarray:
    place = {row.tobytes(): model for model, row in enumerate(mask)}
    return np.array([place.get((~row).tobytes(), -1) for row in mask], dtype=np.int64)
