"""Saved outputs of models that were trained elsewhere: records, shapes and masks, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from locard.assess.released import need_both_sides
from locard.data.records import Records
from locard.errors import DataError


def saved_records(shape: tuple[int, ...], ids: Sequence[Any] | None, labels: Any) -> Records:
    """Records without features: what is known of them is their ids and labels.

    Raises:
        DataError: they do not fit outputs of this shape.
    """
    count, columns = shape[1], shape[-1]
    names = list(range(count)) if ids is None else list(ids)
    given = np.asarray(labels)
    if given.ndim != 1 or not len(names) == len(given) == count:
        raise DataError(
            f"ids, labels: {count} of each are needed (one a record observed), found {len(names)} ids and labels of "
            f"shape {given.shape}. Check that the files belong together."
        )
    classes = _classes_of_columns(given, columns)
    return Records(ids=names, features=np.zeros((count, 0)), labels=labels, known_classes=classes)


def of_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array, which must have the shape of the models' outputs.

    Raises:
        DataError: it has another.
    """
    if array.shape != shape:
        raise DataError(
            f"{name}: an array of shape {shape} is needed, like the models' outputs, found {array.shape}. Check that "
            f"the files belong together."
        )
    return array


def mask_of_target(member: Any, records: int) -> np.ndarray:
    """One more target's mask, ``bool[records]``.

    Raises:
        DataError: it is none, or all are on one side.
    """
    mask = of_shape("target member", np.asarray(member), (records,))
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise DataError("target member: True and False (or 1 and 0) are needed, found others. Save a bool array.")
    need_both_sides(mask.astype(bool), "among the records observed")
    return mask.astype(bool)


def _classes_of_columns(labels: np.ndarray, columns: int) -> np.ndarray:
    """The class that each column of saved outputs stands for: its number, or the sorted labels."""
    if labels.dtype.kind in "iu" and labels.min(initial=0) >= 0 and labels.max(initial=0) < columns:
        return np.arange(columns)
    classes = np.unique(labels)
    if len(classes) != columns:
        raise DataError(
            f"labels: class numbers 0 to {columns - 1}, or {columns} distinct labels (one a column of the outputs) are "
            f"needed, found {len(classes)} distinct labels. Save class numbers."
        )
    return classes
