"""``ReferencePool``: all models that may serve as references, and sums over them that every target's view shares.

Sums are kept as whole numbers of a unit small against each record's spread, so that float64 adds them exactly. Taking
a target out of a sum then gives, to the last bit, the sum of the others in any order. Rounding dust left behind by the
target would otherwise decide between records that tie, and it depends on whether the target was a member.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike

from locard.errors import DataError, SettingsError
from locard.observe.observations import Observations
from locard.observe.once import Once
from locard.observe.signals import Signal
from locard.types import MemberMask

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """How the values of one signal become whole numbers: ``(value - shift) / size``, of at most 2**bits.

    Shift and size are a record's own for a scalar signal (its centre, and its largest deviation over all models that
    are ever added up), so they know nothing of membership; for a vector of probabilities they are 0 and 2**-bits.
    """

    shift: np.ndarray
    size: np.ndarray
    bits: int

    def whole(self, values: np.ndarray) -> np.ndarray:
        """The nearest whole numbers, as float64."""
        out: np.ndarray = values * (1.0 / self.size) if self.shift.ndim == 0 else (values - self.shift) / self.size
        np.rint(out, out=out)
        return out

    def squares(self, whole: np.ndarray) -> np.ndarray:
        """Squares of whole numbers, as whole numbers of 2**bits."""
        out: np.ndarray = whole * whole
        out *= 2.0**-self.bits
        np.rint(out, out=out)
        return out


@dataclass
class Sums:
    """Whole-number sums of one signal over some models: over those that hold the record, and over all of them."""

    inside: np.ndarray
    every: np.ndarray
    inside_squares: np.ndarray | None
    every_squares: np.ndarray | None

    def side(self, inside: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The sum and sum of squares over the IN (or OUT) models; exact, so that OUT is all minus IN."""
        if inside:
            return self.inside, self.inside_squares
        squares = None
        if self.every_squares is not None and self.inside_squares is not None:
            squares = self.every_squares - self.inside_squares
        return self.every - self.inside, squares


class ReferencePool:
    """All models that may serve as references, with their mask; shared by the views of all targets.

    ``summed``: the models that sums are ever made of, where they are not all of them. Then what is added up does not
    depend on the others, to the last bit: targets that come later change nothing.

    Raises:
        DataError: a mask that does not have the axes of the observations.
    """

    def __init__(self, observations: Observations, member: MemberMask, *, summed: np.ndarray | None = None) -> None:
        if member.shape != (observations.models, observations.records):
            raise DataError(
                f"member: a mask [{observations.models} models, {observations.records} records] is needed, found "
                f"{member.shape}. It must have the axes of the observations."
            )
        self.observations = observations
        self.member = member
        self.summed = np.arange(observations.models) if summed is None else np.asarray(summed, dtype=np.int64)
        self.latest: dict[Signal, tuple[object, Sums]] = {}  # of the view that asked last: attacks ask for IN, then OUT
        self._once = Once()

    def __len__(self) -> int:
        return self.observations.models

    def labelled(self, y: np.ndarray) -> ReferencePool:
        """This pool with the true classes of its records, where it was made without them (made once)."""
        observations = self.observations.labelled(y)
        if observations is self.observations:
            return self
        key = ("labelled", np.asarray(y, dtype=np.int64).tobytes())
        return self._once.get(key, lambda: ReferencePool(observations, self.member, summed=self.summed))

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, called once for each key. Keys must name everything that the value depends on."""
        return self._once.get(("memo", key), make)

    def count(self) -> np.ndarray:
        """``int64[records]``: how many models hold each record."""
        return self._once.get("count", lambda: self.member.sum(axis=0))

    def unit(self, signal: Signal) -> Unit:
        """The unit in which this signal is added up."""
        return self._once.get(("unit", signal), lambda: self._find_unit(signal))

    def sums(self, signal: Signal, models: np.ndarray) -> Sums:
        """Sums over these models, kept: for sets that many views are made of by leaving a few out."""
        return self._once.get(("sums", signal, models.tobytes()), lambda: self.sums_over(signal, models))

    def sums_over(self, signal: Signal, models: np.ndarray, usable: np.ndarray | None = None) -> Sums:
        """Sums over these models, O(records) each; ``usable: bool[models, records]`` leaves entries out."""
        unit = self.unit(signal)
        vector = unit.shift.ndim == 0
        shape = self._shape(signal)
        total = Sums(
            np.zeros(shape),
            np.zeros(shape),
            None if vector else np.zeros(shape),
            None if vector else np.zeros(shape),
        )
        axes = (-1, *([1] * (len(shape) - 1)))
        for k, m in enumerate(models):
            whole = unit.whole(self.observations.of_model(signal, int(m)))
            if usable is not None:
                whole *= usable[k].reshape(axes)
            weight = self.member[m].reshape(axes)
            total.every += whole
            np.add(total.inside, whole, out=total.inside, where=weight)
            if total.every_squares is not None and total.inside_squares is not None:
                squares = unit.squares(whole)
                total.every_squares += squares
                np.add(total.inside_squares, squares, out=total.inside_squares, where=weight)
        return total

    def _shape(self, signal: Signal) -> tuple[int, ...]:
        if not len(self):
            return (self.observations.records, self.observations.queries)
        return self.observations.of_model(signal, 0).shape

    def _find_unit(self, signal: Signal) -> Unit:
        models = self.summed.tolist()
        bits = 52 - len(models).bit_length()
        shape = self._shape(signal)
        if len(shape) > 2:
            first = self.observations.of_model(signal, 0) if len(self) else np.zeros(shape)
            if first.size and not 0.0 <= float(first.min()) <= float(first.max()) <= 1.0:
                raise SettingsError(
                    f"{signal!r}: a vector signal must hold probabilities (values in [0, 1]), found others. Read the "
                    f"model by signal_of instead."
                )
            return Unit(np.zeros(()), np.array(2.0**-bits), bits)
        low, high, centre = np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape)
        for m in models:
            values = self.observations.of_model(signal, m)
            np.minimum(low, values, out=low)
            np.maximum(high, values, out=high)
            centre += values
        if models:
            centre /= len(models)
        largest = np.maximum(high - centre, centre - low) if models else np.zeros(shape)
        exponent = np.where(largest > 0, np.frexp(largest)[1], 0)
        return Unit(centre, np.ldexp(1.0, np.maximum(exponent - bits, -1000)), bits)


def partners_of(pairs: ArrayLike, models: int) -> Int64[np.ndarray, "all"]:
    """The partner of each model.

    Raises:
        DataError: they do not name each other.
    """
    given = np.asarray(pairs)
    whole = given.dtype.kind in "iu" and given.shape == (models,) and given.size > 0
    if not (whole and 0 <= int(given.min()) <= int(given.max()) < models and (given[given] == np.arange(models)).all()):
        raise DataError(
            f"pairs: the partner of each of {models} models is needed (partners name each other), found "
            f"{given.tolist() if given.size <= 12 else given.shape}."
        )
    out: np.ndarray = given.astype(np.int64)
    return out


def of_pool(models: np.ndarray, pool: int) -> Int64[np.ndarray, "chosen"]:
    """Numbers of models, checked to be of the pool.

    Raises:
        SettingsError: a number that no model has.
    """
    out = np.asarray(models, dtype=np.int64)
    if out.size and not 0 <= int(out.min()) <= int(out.max()) < pool:
        raise SettingsError(
            f"references: model numbers 0..{pool - 1} are needed, found {out.min()} to {out.max()}. They count the "
            f"models of the pool."
        )
    return out
