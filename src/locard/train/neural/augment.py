"""Augmentation by a fixed list of forms: training draws one for each record and pass, questioning asks all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np

from locard.check import nearest
from locard.errors import SettingsError
from locard.train.neural.layers import splitmix

NAMES = ("identity", "flip", "shift(down, right)", "noise(sd)")
_CALL = re.compile(r"(\w+)(?:\((.*)\))?")

Form = Callable[[np.ndarray], np.ndarray]


def form(text: str, draw: int = 0) -> Form:
    """The function behind one entry of the list.

    - ``identity``: the record as it is
    - ``flip``: mirrored left to right (last axis)
    - ``shift(down, right)``: moved by whole pixels, zeros at the edges (last two axes)
    - ``noise(sd)``: Gaussian noise, a function of the record's numbers: the same for all models, wherever it is asked

    Args:
        text: as in the recipe.
        draw: which of several noises of the same name it is.

    Raises:
        SettingsError: an unknown name, or numbers that it does not take.

    >>> form("shift(0, 1)")(np.array([[[1, 2], [3, 4]]])).tolist()
    [[[0, 1], [0, 3]]]
    """
    name, inside = _taken_apart(text)
    if name == "identity" and not inside:
        return lambda x: x
    if name == "flip" and not inside:
        return lambda x: x[..., ::-1]
    if name == "shift" and len(inside) == 2 and all(v == int(v) for v in inside):
        return lambda x: _shifted(x, int(inside[0]), int(inside[1]))
    if name == "noise" and len(inside) == 1 and inside[0] > 0:
        return lambda x: x + (inside[0] * _noise(x, f"{inside[0]!r} {draw}")).astype(x.dtype)
    raise SettingsError(
        f"target.augment: forms of the list {', '.join(NAMES)} are needed, found {text!r}. {nearest(name, NAMES)}"
    )


def augmented(x: np.ndarray, forms: tuple[str, ...]) -> np.ndarray:
    """All forms below each other: ``[forms * records, ...]``, contiguous.

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
        parts.append(form(text, forms[:place].count(text))(used))
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


def _noise(x: np.ndarray, name: str) -> np.ndarray:
    """Standard normal ``float64`` of x's shape: each record's own, from a counter under a hash of its numbers."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(len(x), -1) + 0.0  # no negative zeros
    columns = np.arange(1, flat.shape[1] + 1, dtype=np.uint64)
    start = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        content = splitmix(flat.view(np.uint64) + splitmix(columns + start)).sum(axis=1, dtype=np.uint64)
        draws = [splitmix(splitmix(content)[:, None] + splitmix(2 * columns + np.uint64(k) + start)) for k in (0, 1)]
    first, second = ((d >> np.uint64(11)).astype(np.float64) * 2.0**-53 for d in draws)
    normal: np.ndarray = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)  # Box and Muller
    return normal.reshape(x.shape)
