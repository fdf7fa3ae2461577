"""Masks that users bring: find out what design they follow, so that the right remedy against leaks is taken."""

from __future__ import annotations

import numpy as np

from locard.errors import DataError
from locard.plan.plan import Plan, Role
from locard.types import MemberMask


def from_mask(member: np.ndarray, *, pairs: np.ndarray | None = None) -> Plan:
    """A plan for models that were trained elsewhere.

    - exact complements are found and treated as partners, whoever drew them
    - every other mask gets thinned references: a balanced mask tells the target's answer by its counts
    - partners that the user names never serve as references; where they are no exact complements, the rest is thinned

    Args:
        member: ``bool[models, records]`` (or zeros and ones).
        pairs: ``int64[models]``, the partner of each model, where the user knows.

    Raises:
        DataError: the mask is not a table of True and False, a row is all or nothing, two models hold the same
            records, or ``pairs`` is not a pairing.

    >>> from_mask(np.array([[True, False, True], [False, True, False]])).design
    'pairs'
    """
    mask = _true_or_false(np.asarray(member))
    size = mask.sum(axis=1)
    if ((size == 0) | (size == mask.shape[1])).any():
        row = int(np.flatnonzero((size == 0) | (size == mask.shape[1]))[0])
        raise DataError(
            f"member: every model needs members and non-members among the records, but model {row} holds "
            f"{int(size[row])} of {mask.shape[1]}. Leave it out, or add records."
        )
    _refuse_twins(mask)
    models = len(mask)
    partner = _given(pairs, models) if pairs is not None else _complements(mask)
    exact = (partner >= 0).all() and bool((mask ^ mask[partner]).all())
    design = "pairs" if exact else "coin_flips"
    audited = np.arange(mask.shape[1], dtype=np.int64)
    rows = tuple(np.flatnonzero(row).astype(np.int64) for row in mask)
    role: Role = "both"
    return Plan(design, audited, rows, (role,) * models, partner)


def _true_or_false(mask: np.ndarray) -> MemberMask:
    if mask.ndim != 2 or mask.size == 0:
        raise DataError(f"member: a mask [models, records] is needed, found shape {mask.shape}. Check what was saved.")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise DataError(
            f"member: a mask of True and False (or 1 and 0) is needed, found {mask.dtype} with other values. Save a "
            f"bool array."
        )
    return mask.astype(bool)


def _refuse_twins(mask: MemberMask) -> None:
    """Two models with the same training records know each other's answer: neither may be the other's reference."""
    seen: dict[bytes, int] = {}
    for model, row in enumerate(mask):
        twin = seen.setdefault(row.tobytes(), model)
        if twin != model:
            raise DataError(
                f"member: every model needs training records of its own draw, but models {twin} and {model} hold the "
                f"same ones, so either would tell the other's answer. Keep one of them."
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
