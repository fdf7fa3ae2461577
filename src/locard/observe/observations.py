"""``Observations``: what models said about records, read model by model, turned into signals once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from threading import RLock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import ArrayLike

from locard.errors import DataError, SettingsError
from locard.observe.signals import Derived, Signal
from locard.observe.traces import SomeRecords, Traces, with_axes
from locard.train.answers import ROUNDING
from locard.types import ClassIndex, Logits

CACHE_BYTES = 2**30  # signals kept in memory; the oldest goes first
DEFAULT_FLOOR = 1e-6
UNSAID = 100.0  # nats below the largest logit: where a true logit of -inf is put


@runtime_checkable
class Reader(Protocol):
    """Where the logits are: an array, or a store on disk."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(models, records, queries, classes)."""
        ...

    def read(self, model: int) -> Logits:
        """``float32[records, queries, classes]`` of one model; -inf stands for probability zero."""
        ...


@runtime_checkable
class SignalReader(Protocol):
    """Where signals are that were read off the logits already, because nothing else was kept of them."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(models, records, queries, classes) of the logits that there were."""
        ...

    def signal(self, signal: Signal, floor: float | None, model: int) -> np.ndarray:
        """``float64[records, queries, ...]`` of one model, as read at this probability floor.

        Raises:
            SettingsError: it was not kept.
        """
        ...

    def floored(self, floor: float, model: int) -> int:
        """How many of this model's values the floor raised.

        Raises:
            SettingsError: that was not kept.
        """
        ...

    def select(self, records: np.ndarray) -> SignalReader:
        """A part of the records."""
        ...


class ArrayReader:
    """Logits that are already in memory (or memory-mapped)."""

    def __init__(self, logits: Float32[np.ndarray, "models records queries classes"]) -> None:
        self._logits = logits
        models, records, queries, classes = logits.shape
        self.shape = (models, records, queries, classes)

    def read(self, model: int) -> Logits:
        """One model's logits."""
        return np.asarray(self._logits[model], dtype=np.float32)


class _Kept:
    """One signal of all models, filled model by model."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.values = np.empty(shape, dtype=np.float64)
        self.done = np.zeros(shape[0], dtype=bool)
        self.lock = RLock()

    def put(self, model: int, values: np.ndarray) -> None:
        self.values[model] = values
        self.done[model] = True


class Observations:
    """What ``models`` said about ``records``: ``logits: float32[models, records, queries, classes]``.

    - read model by model: memory holds signals, never the logits of all models
    - a signal of a model is computed once and kept (up to ``CACHE_BYTES``), whichever thread asks first
    - ``probability_floor`` is applied on reading, so that another floor needs no new training

    Args:
        reader: where the logits are, or what was kept of them; then only those signals can be had.
        y: ``int64[records]``, the true class of each record; None where an attack's records will bring them.
        probability_floor: smallest probability where logits are logarithms of probabilities; None for true logits
            (then a logit of -inf is put ``UNSAID`` nats below the row's largest, or at its smallest finite one).
        traces: what the models' history says of the same records, by name (``traces.KINDS``).

    Raises:
        DataError: labels of another length, or that are not class numbers.
        SettingsError: a floor that is not between 0 and 1.
    """

    def __init__(
        self,
        reader: Reader | SignalReader,
        y: ArrayLike | None,
        *,
        probability_floor: float | None = None,
        traces: Mapping[str, Traces] | None = None,
    ) -> None:
        self.models, self.records, self.queries, self.classes = reader.shape
        self._y = None if y is None else _class_numbers(y, self.records, self.classes)
        if probability_floor is not None and not 0.0 < probability_floor < 1.0:
            raise SettingsError(
                f"probability_floor: a number between 0 and 1 is needed, found {probability_floor}. Leave it out for "
                f"{DEFAULT_FLOOR:g}."
            )
        self.probability_floor = probability_floor
        self.traces: Mapping[str, Traces] = {} if traces is None else dict(traces)
        self._reader = reader
        self._cache: OrderedDict[Signal, _Kept] = OrderedDict()
        self._guard = RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, the signals kept here stay here."""
        made = partial(Observations, probability_floor=self.probability_floor, traces=self.traces)
        return made, (self._reader, self._y)

    @property
    def y(self) -> ClassIndex:
        """``int64[records]``, the true class of each record.

        Raises:
            DataError: these outputs were given without labels.
        """
        if self._y is None:
            raise DataError(
                "labels: the true class of each record is needed, but these outputs were given without labels. Give "
                "labels= to from_arrays, or call labelled(records.y)."
            )
        return self._y

    def labelled(self, y: ArrayLike) -> Observations:
        """These observations with the true classes of their records, where they were made without them.

        Raises:
            DataError: labels of another length, or other than those already there.
        """
        if self._y is None:
            return Observations(self._reader, y, probability_floor=self.probability_floor, traces=self.traces)
        given = np.asarray(y)
        if given is self._y or np.array_equal(given, self._y):
            return self
        if len(given) != self.records:
            raise DataError(_wrong_length(self.records, len(given)))
        raise DataError(
            f"labels: the outputs and the records must agree, but {int((given != self._y).sum())} of {self.records} "
            f"labels differ. Check that both are in the same order."
        )

    def logits(self, model: int) -> Logits:
        """``float32[records, queries, classes]`` of one model, floored.

        Raises:
            SettingsError: signals alone were kept.
        """
        if isinstance(self._reader, SignalReader):
            raise not_kept("whole answers")
        return finite(self._reader.read(model), self.probability_floor)

    def of_model(self, signal: Signal, model: int) -> np.ndarray:
        """One model's signal, ``float64[records, queries, ...]``, read-only, computed once where it can be kept."""
        kept = self._cache.get(signal)
        if kept is None:
            first = self._compute(signal, model)
            if first.nbytes * self.models > CACHE_BYTES // 2:
                return first
            kept = self._keep(signal, first.shape)
            with kept.lock:
                kept.put(model, first)
        if not kept.done[model]:
            with kept.lock:
                if not kept.done[model]:
                    kept.put(model, self._compute(signal, model))
        out: np.ndarray = kept.values[model]
        out.flags.writeable = False
        return out

    def trace(self, name: str, model: int) -> np.ndarray:
        """``float64[records, epochs, metrics]`` of one model, not kept.

        Raises:
            DataError: a value is no number.
        """
        return with_axes(self.traces[name].read(model), name, model)

    def signal(self, signal: Signal) -> np.ndarray:
        """``float64[models, records, queries, ...]``, read-only. Prefer ``of_model``, which needs no more memory."""
        rows = [self.of_model(signal, m) for m in range(self.models)]
        kept = self._cache.get(signal)
        if kept is not None and kept.done.all():
            out = kept.values.view()
        else:
            out = np.stack(rows) if rows else np.zeros((0, self.records, self.queries))
        out.flags.writeable = False
        return out

    def _compute(self, signal: Signal, model: int) -> np.ndarray:
        if isinstance(signal, Derived):
            return signal.of(self.of_model(signal.source, model))
        if isinstance(self._reader, SignalReader):
            return self._reader.signal(signal, self.probability_floor, model)
        return signal(self.logits(model), self.y)

    def _keep(self, signal: Signal, shape: tuple[int, ...]) -> _Kept:
        with self._guard:
            if signal not in self._cache:
                self._cache[signal] = _Kept((self.models, *shape))
                while len(self._cache) > 1 and sum(k.values.nbytes for k in self._cache.values()) > CACHE_BYTES:
                    self._cache.popitem(last=False)
            return self._cache[signal]

    def floored(self) -> int:
        """How many values the probability floor raised."""
        if self.probability_floor is None:
            return 0
        if isinstance(self._reader, SignalReader):
            return sum(self._reader.floored(self.probability_floor, m) for m in range(self.models))
        return sum(raised_by(self.probability_floor, self._reader.read(m)) for m in range(self.models))

    def at_floor(self, probability_floor: float) -> Observations:
        """The same observations with another floor (only upwards changes anything that was not zero)."""
        return Observations(self._reader, self._y, probability_floor=probability_floor, traces=self.traces)

    def select(self, records: Int64[np.ndarray, "chosen"]) -> Observations:
        """A part of the records; logits are copied into memory."""
        chosen = np.asarray(records, dtype=np.int64)
        y = None if self._y is None else self._y[chosen]
        traces = {name: SomeRecords(trace, chosen) for name, trace in self.traces.items()}
        reader: Reader | SignalReader
        if isinstance(self._reader, SignalReader):
            reader = self._reader.select(chosen)
        else:
            part = np.empty((self.models, len(chosen), self.queries, self.classes), dtype=np.float32)
            for m in range(self.models):
                part[m] = self._reader.read(m)[chosen]
            reader = ArrayReader(part)
        return Observations(reader, y, probability_floor=self.probability_floor, traces=traces)


def finite(logits: Logits, floor: float | None) -> Logits:
    """Logits without -inf: no lower than the floor, or without one ``UNSAID`` nats below the row's largest."""
    if floor is not None:
        raised: Logits = np.maximum(logits, np.float32(np.log(floor)))
        return raised
    unsaid = np.isneginf(logits)
    if not unsaid.any():
        return logits
    top = logits.max(axis=-1, keepdims=True)
    low = np.minimum(np.where(unsaid, np.inf, logits).min(axis=-1, keepdims=True), top - np.float32(UNSAID))
    out: Logits = np.where(unsaid, low, logits).astype(np.float32)
    return out


def raised_by(floor: float, logits: Logits) -> int:
    """How many values lie below the floor."""
    return int((logits < np.float32(np.log(floor))).sum())


def not_kept(what: str) -> SettingsError:
    """The error for reading what was not stored."""
    return SettingsError(
        f"compute.keep: {what} must be stored to be read here, found compute.keep = 'signals', which stores only what "
        f"the attacks say they read. Set compute.keep = 'logits'."
    )


def _wrong_length(needed: int, found: int) -> str:
    return f"labels: {needed} are needed (one a record observed), found {found}. Check their order."


def _class_numbers(y: ArrayLike, records: int, classes: int) -> ClassIndex:
    given = np.asarray(y)
    if given.ndim != 1 or len(given) != records:
        raise DataError(_wrong_length(records, given.size if given.ndim < 2 else len(given)))
    if given.dtype.kind not in "iub" and given.size:
        raise DataError(
            f"labels: class numbers 0..{classes - 1} are needed, found values of type {given.dtype}. Records.y holds "
            f"them for labels of any type."
        )
    if given.size and not 0 <= int(given.min()) <= int(given.max()) < classes:
        raise DataError(
            f"labels: class numbers 0..{classes - 1} are needed (the outputs have {classes} classes), found "
            f"{given.min()} to {given.max()}. Check the order and number of the classes."
        )
    out: ClassIndex = np.asarray(given, dtype=np.int64)
    return out


def as_logits(
    logits: ArrayLike | None, probabilities: ArrayLike | None, *, models: bool
) -> Float32[np.ndarray, "models records queries classes"]:
    """User arrays in the four axes of ``Observations``; a target (``models=False``) gets a models axis of one.

    ``[models, records, classes]`` gets one query; a single column (binary models with one logit, or the probability
    of class 1) becomes two classes. Probabilities are converted once, in float64; zero becomes -inf, for the floor
    to catch.

    Raises:
        DataError: both or none given, NaN or +inf, wrong number of axes, probabilities outside [0, 1] or rows that
            do not sum to 1.
    """
    if (logits is None) == (probabilities is None):
        raise DataError("observations: either logits= or probabilities= is needed, found both or none. Give one.")
    name = "logits" if logits is not None else "probabilities"
    array = _four_axes(name, logits if logits is not None else probabilities, models)
    if logits is None:
        return _log_of_probabilities(array)
    if _look_like_probabilities(array):
        raise DataError(
            "logits: unnormalised outputs are needed, found probabilities (every row lies in [0, 1] and sums to 1). "
            "Give them as probabilities= (--probabilities on the command line)."
        )
    if array.shape[-1] == 1:
        array = np.concatenate([np.zeros_like(array), array], axis=-1)
    with np.errstate(over="ignore"):
        out = np.asarray(array, dtype=np.float32)
    if np.isposinf(out).any() or (out.size and np.isneginf(out).all(axis=-1).any()):
        raise DataError(
            "logits: finite float32 numbers are needed (-inf for some classes of a row), found +inf or a row of -inf. "
            "Clip them before saving."
        )
    return out


def _look_like_probabilities(array: np.ndarray) -> bool:
    """Whether "logits" were normalised already: attacks would take a softmax of a softmax, in silence."""
    if array.shape[-1] < 2 or array.size == 0:
        return False
    return all(bool((m >= 0).all() and (m <= 1).all() and np.abs(m.sum(axis=-1) - 1).max() < 1e-3) for m in array)


def _four_axes(name: str, given: object, models: bool) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as ragged:
        raise DataError(f"{name}: rows of one length are needed ({ragged}). Check how they were saved.") from ragged
    if not models:
        array = array[None]
    if array.ndim not in (3, 4) or array.shape[-1] == 0:
        lead = "models, records" if models else "records"
        raise DataError(
            f"{name}: an array [{lead}, queries, classes] or [{lead}, classes] is needed, found shape "
            f"{array.shape if models else array.shape[1:]}. Add the missing axis."
        )
    if array.dtype.kind not in "fiu":
        raise DataError(f"{name}: numbers are needed, found values of type {array.dtype}. Save them as float32.")
    if gone := int(np.isnan(array).sum()):
        raise DataError(f"{name}: numbers without NaN are needed, found {gone:,} NaN. Mend the rows that failed.")
    return array[:, :, None, :] if array.ndim == 3 else array


def _log_of_probabilities(array: np.ndarray) -> Float32[np.ndarray, "models records queries classes"]:
    out = np.empty((*array.shape[:-1], max(array.shape[-1], 2)), dtype=np.float32)
    for m, given in enumerate(array):  # model by model: no float64 copy of everything
        p = given.astype(np.float64)
        if p.size and (p.min() < -ROUNDING or p.max() > 1 + ROUNDING):
            raise DataError(
                f"probabilities: values in [0, 1] are needed, found {p.min():.4g} to {p.max():.4g}. If these are "
                f"logits, give them as logits=."
            )
        if p.shape[-1] == 1:
            p = np.concatenate([1 - p, p], axis=-1)
        total = p.sum(axis=-1)
        if p.size and np.abs(total - 1).max() > 0.01:
            raise DataError(
                f"probabilities: rows that sum to 1 are needed, found sums from {total.min():.4g} to "
                f"{total.max():.4g}. Normalise them, or give logits=."
            )
        with np.errstate(divide="ignore"):
            out[m] = np.log(np.clip(p, 0.0, 1.0))
    return out
