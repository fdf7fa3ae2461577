"""Augmentation by a fixed list of forms: training draws one for each record and pass, questioning asks all of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from locard.check import nearest
from locard.errors import SettingsError
from locard.seeds import Seed

NAMES = ("identity", "flip", "shift(down, right)", "noise(sd)")
_CALL = re.compile(r"(\w+)(?:\((.*)\))?")

Form = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def form(text: str) -> Form:
    """The function behind one entry of the list.

    - ``identity``: the record as it is
    - ``flip``: mirrored left to right (last axis)
    - ``shift(down, right)``: moved by whole pixels, zeros at the edges (last two axes)
    - ``noise(sd)``: Gaussian noise, drawn once a record and the same for all models

    Raises:
        SettingsError: an unknown name, or numbers that it does not take.

    >>> form("shift(0, 1)")(np.array([[[1, 2], [3, 4]]]), np.random.default_rng(0)).tolist()
    [[[0, 1], [0, 3]]]
    """
    name, inside = _taken_apart(text)
    if name == "identity" and not inside:
        return lambda x, rng: x
    if name == "flip" and not inside:
        return lambda x, rng: x[..., ::-1]
    if name == "shift" and len(inside) == 2 and all(v == int(v) for v in inside):
        return lambda x, rng: _shifted(x, int(inside[0]), int(inside[1]))
    if name == "noise" and len(inside) == 1 and inside[0] > 0:
        return lambda x, rng: x + inside[0] * rng.standard_normal(x.shape).astype(x.dtype)
    raise SettingsError(
        f"target.augment: forms of the list {', '.join(NAMES)} are needed, found {text!r}. {nearest(name, NAMES)}"
    )


def augmented(x: np.ndarray, forms: tuple[str, ...]) -> np.ndarray:
    """All forms below each other: ``[forms * records, ...]``, contiguous. Noise is part of the recipe: always the same.

    Raises:
        SettingsError: forms of images for records that are none.
    """
    parts = []
    for place, text in enumerate(forms):
        if _taken_apart(text)[0] in ("flip", "shift") and x.ndim < 3:
            raise SettingsError(
                f"target.augment: {text!r} is for images, found records of shape {list(x.shape[1:])}. Use "
                f"noise(sd), or leave it out."
            )
        used = x if np.issubdtype(x.dtype, np.floating) or text == "identity" else x.astype(np.float32)
        parts.append(form(text)(used, Seed(0).child("augment", place, text).generator()))
    return np.ascontiguousarray(np.concatenate(parts)) if len(parts) > 1 else np.ascontiguousarray(parts[0])


def _taken_apart(text: str) -> tuple[str, list[float]]:
    found = _CALL.fullmatch(text.replace(" ", ""))
    try:
        return (found[1], [float(v) for v in (found[2] or "").split(",") if v]) if found else (text, [])
    except ValueError:
        return text, []


def _shifted(x: np.ndarray, down: int, right: int) -> np.ndarray:
    out = np.zeros_like(x)
    height, width = x.shape[-2:]
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    top, left = max(0, down), max(0, right)
    out[..., top : top + rows, left : left + columns] = x[
        ..., max(0, -down) : max(0, -down) + rows, max(0, -right) : max(0, -right) + columns
    ]
    return out
