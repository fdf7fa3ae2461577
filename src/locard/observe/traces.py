"""Traces: what a model's history says of each record, model by model.

Three of them, by name: the losses during its own training, which only the owner has; and what its answers taught to
students, which anybody can have who may ask it about records of his own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from locard.errors import DataError
from locard.train.store import Store
from locard.types import Access


@dataclass(frozen=True)
class Kind:
    """One kind of trace: who may see it, what it is in words, and how to get it."""

    access: Access
    words: str
    hint: str


ASKED = "They need a population, and a recipe whose students can learn soft labels (recipe 'torch', or scikit-learn)"
KINDS: dict[str, Kind] = {
    "training": Kind(
        Access.TRAINING,
        "losses after every epoch of training",
        "Only models that are trained here epoch by epoch (recipe 'torch') have them",
    ),
    "distilled": Kind(Access.PROBABILITIES, "snapshots of a student distilled from every model", ASKED),
    "students": Kind(Access.PROBABILITIES, "several students distilled from every target", ASKED),
}


@runtime_checkable
class Traces(Protocol):
    """Where the traces of some models are: an array, or a store on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(models, records, epochs), or (models, records, epochs, metrics)."""
        ...

    def read(self, model: int) -> np.ndarray:
        """``float32[records, epochs]`` or ``float32[records, epochs, metrics]`` of one model."""
        ...


@dataclass(frozen=True, eq=False)
class TraceArray:
    """Traces that are already in memory: ``float[models, records, epochs]``, or with metrics behind."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    def read(self, model: int) -> np.ndarray:
        """One model's."""
        return np.asarray(self.values[model])


class StoredTraces:
    """One tensor of each model's file, read model by model."""

    def __init__(self, store: Store, keys: Sequence[str], name: str) -> None:
        self._store, self._keys, self._name = store, list(keys), name
        self.shape: tuple[int, ...] = (len(self._keys), *store.shape(self._keys[0], name))

    def read(self, model: int) -> np.ndarray:
        """One model's.

        Raises:
            DamagedFile: the file is damaged or gone.
        """
        return self._store.read(self._keys[model], self._name)


class StoredStudents:
    """What several students of each model say of the records, one file a student; they stand where epochs do."""

    def __init__(self, store: Store, keys: Sequence[Sequence[str]], name: str) -> None:
        self._store, self._keys, self._name = store, [list(k) for k in keys], name
        first = next(k for k in self._keys if k)
        self.shape: tuple[int, ...] = (len(self._keys), *store.shape(first[0], name)[:1], len(first))

    def read(self, model: int) -> np.ndarray:
        """``float32[records, students]``.

        Raises:
            DamagedFile: a file is damaged or gone.
            DataError: this model has no students (it is never a target).
        """
        if not self._keys[model]:
            raise DataError(f"traces: students of model {model} are needed, found none: only targets have them.")
        return np.concatenate([self._store.read(key, self._name) for key in self._keys[model]], axis=1)


@dataclass(frozen=True, eq=False)
class SomeRecords:
    """A part of the records of other traces."""

    of: Traces
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """With fewer records."""
        shape = self.of.shape
        return (shape[0], len(self.places), *shape[2:])

    def read(self, model: int) -> np.ndarray:
        """One model's."""
        part: np.ndarray = self.of.read(model)[self.places]
        return part


def with_axes(values: np.ndarray, name: str, model: int) -> Float64[np.ndarray, "records epochs metrics"]:
    """One model's trace with its three axes.

    Raises:
        DataError: a value is no number.
    """
    out = values.astype(np.float64)
    out = out[:, :, None] if out.ndim == 2 else out
    if not np.isfinite(out).all():
        row, epoch = (int(i) for i in np.argwhere(~np.isfinite(out))[0, :2])
        raise DataError(
            f"traces: numbers are needed, found {out[row, epoch].tolist()} in the trace {name!r} (model {model}, "
            f"record {row}, epoch {epoch + 1}). Models that stop early (target.patience) have no losses afterwards; "
            f"otherwise mend the training."
        )
    return out


def trace_arrays(given: Mapping[str, ArrayLike] | None, records: int, models: int | None) -> dict[str, Traces]:
    """User arrays as traces: ``float[models, records, epochs(, metrics)]``; without models for a target.

    Raises:
        DataError: an unknown name, values that are not numbers, other axes.
    """
    out: dict[str, Traces] = {}
    for name, values in (given or {}).items():
        if name not in KINDS:
            raise DataError(f"traces: one of {', '.join(KINDS)} is needed, found {name!r}.")
        array = np.asarray(values)
        array = array[None] if models is None else array
        lead = (1 if models is None else models, records)
        if array.dtype.kind not in "fiu" or array.ndim not in (3, 4) or array.shape[:2] != lead or not array.shape[2]:
            axes = "records, epochs" if models is None else "models, records, epochs"
            raise DataError(
                f"traces: numbers [{axes}] or [{axes}, metrics] for {records} records"
                f"{'' if models is None else f' and {models} models'} are needed for {name!r}, found {array.dtype} of "
                f"shape {np.shape(values)}. Check their order."
            )
        out[name] = TraceArray(array)
    return out
