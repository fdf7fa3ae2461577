"""``References``: what one target's attacker may learn from, the pool without the target and its partner."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Int64
from numpy.typing import ArrayLike

from locard.errors import DataError, SettingsError
from locard.observe.observations import DEFAULT_FLOOR, ArrayReader, Observations, as_logits
from locard.observe.pool import ReferencePool, Sums, Unit, of_pool, partners_of
from locard.observe.signals import Signal
from locard.observe.target import Target
from locard.observe.traces import trace_arrays
from locard.types import Logits, MemberMask

T = TypeVar("T")


@dataclass(frozen=True)
class Moments:
    """A signal over references, a record and query: how many, their mean, their sum of squared deviations.

    ``count: int64[records]``; ``mean`` and ``squares``: ``float64[records, queries]``; the mean of none is NaN.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


class References:
    """The reference models one attack may learn from.

    - ``member: bool[models, records]``: which reference holds which record
    - ``inside`` / ``outside``: IN and OUT references a record *that may be used* (thinning leaves some out)
    - a view costs nothing: sums are the pool's, minus the few models left out
    - never holds the target or its partner, where it was made by ``without([target, partner])``

    >>> rng = np.random.default_rng(0)
    >>> mask = np.array([[True, False], [False, True]])
    >>> refs = References.from_arrays(logits=rng.normal(size=(2, 2, 3)), member=mask, labels=[0, 1])
    >>> len(refs), refs.inside_count.tolist()
    (2, [1, 1])
    """

    def __init__(
        self,
        pool: ReferencePool,
        models: Int64[np.ndarray, "chosen"],
        *,
        thin: Bool[np.ndarray, "chosen records"] | None = None,
        pairs: Int64[np.ndarray, "all"] | None = None,
        whole: Int64[np.ndarray, "more"] | None = None,
    ) -> None:
        self._pool = pool
        self._models = of_pool(models, len(pool))
        self._thin = thin
        self._whole = whole  # what ``without`` left models out of: its sums are kept, for all views made of it
        self.pairs = pairs

    @classmethod
    def from_arrays(
        cls,
        *,
        member: ArrayLike,
        logits: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        pairs: ArrayLike | None = None,
        traces: Mapping[str, ArrayLike] | None = None,
        probability_floor: float = DEFAULT_FLOOR,
    ) -> References:
        """References from outputs: ``float[models, records, queries, classes]`` or ``[models, records, classes]``.

        Args:
            member: ``bool[models, records]``.
            pairs: ``int64[models]``, the partner of each model, where the mask was drawn in pairs.
            labels: ``int64[records]`` class indices; may be left out when an attack's ``records`` bring them.
            traces: by name, ``float[models, records, epochs]`` or with metrics behind (see ``Target.trace``).

        Raises:
            DataError: outputs, mask, pairs or labels that cannot be used.
        """
        array = as_logits(logits, probabilities, models=True)
        mask = np.asarray(member)
        if mask.dtype != np.bool_:
            if mask.dtype.kind not in "iuf" or not np.isin(mask, (0, 1)).all():
                raise DataError("member: a mask of True and False (or 0 and 1) is needed, found other values.")
            mask = mask.astype(bool)
        partner = None if pairs is None else partners_of(pairs, len(array))
        floor = probability_floor if probabilities is not None else None
        kept = trace_arrays(traces, array.shape[1], len(array))
        pool = ReferencePool(Observations(ArrayReader(array), labels, probability_floor=floor, traces=kept), mask)
        return cls(pool, np.arange(array.shape[0]), pairs=partner)

    @classmethod
    def empty(cls, records: int, classes: int = 2) -> References:
        """No reference models for so many records of so many classes: what attacks that need none are given."""
        nothing = np.zeros((0, records, 1, classes), dtype=np.float32)
        member = np.zeros((0, records), dtype=bool)
        return cls(ReferencePool(Observations(ArrayReader(nothing), None), member), np.arange(0))

    def labelled(self, y: np.ndarray) -> References:
        """These references with the true classes of their records, where they were made without them.

        Raises:
            DataError: labels that do not fit the records, or that differ from those already there.
        """
        pool = self._pool.labelled(y)
        return (
            self
            if pool is self._pool
            else References(pool, self._models, thin=self._thin, pairs=self.pairs, whole=self._whole)
        )

    def without(self, models: Sequence[int] | np.ndarray) -> References:
        """A view that leaves these models (numbers of the pool) out.

        Raises:
            SettingsError: the view is thinned already; thinning must see the models that are left.
        """
        if self._thin is not None:
            raise SettingsError("references: leave models out first, then thin; found it the other way round.")
        gone = of_pool(np.asarray(models, dtype=np.int64), len(self._pool))
        whole = self._models if self._whole is None else self._whole
        return References(self._pool, self._models[~np.isin(self._models, gone)], pairs=self.pairs, whole=whole)

    def only(self, models: Sequence[int] | np.ndarray) -> References:
        """A view of these models (numbers of the pool) alone."""
        return References(self._pool, np.sort(np.asarray(models, dtype=np.int64)), pairs=self.pairs)

    def thinned(self, rng: np.random.Generator) -> References:
        """Each record keeps equal numbers of IN and OUT references, drawn at random.

        For masks that are not pairs: otherwise the number of IN references may give the target's answer away.
        """
        inside, outside = self.inside_count, self.outside_count
        wanted = np.minimum(inside, outside)
        left = {True: inside.copy(), False: outside.copy()}
        owed = {True: wanted.copy(), False: wanted.copy()}
        keep = np.zeros((len(self), len(wanted)), dtype=bool)
        for k in self:  # selection sampling: every subset of the wanted size is as likely as any other
            draw = rng.random(len(wanted))
            member = self._pool.member[self._models[k]]
            for side, mask in ((True, member), (False, ~member)):
                chosen = mask & (draw * left[side] < owed[side])
                left[side] -= mask
                owed[side] -= chosen
                keep[k] |= chosen
        return References(self._pool, self._models, thin=keep, pairs=self.pairs)

    def restricted(self, usable: Bool[np.ndarray, "models records"]) -> References:
        """A view that uses reference k (position in this view) for record r only where ``usable[k, r]``.

        Raises:
            DataError: a mask of another shape.
        """
        mask = np.asarray(usable, dtype=np.bool_)
        if mask.shape != (len(self), self.records):
            raise DataError(
                f"usable: a mask [{len(self)} references, {self.records} records] is needed, found {mask.shape}."
            )
        keep = mask if self._thin is None else mask & self._thin
        return References(self._pool, self._models, thin=keep, pairs=self.pairs)

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[int]:
        """Positions 0..len-1, for loops model by model: ``references.signal_of(signal, k)``."""
        return iter(range(len(self)))

    @property
    def is_thinned(self) -> bool:
        """Whether some references may be used for some records only."""
        return self._thin is not None

    @property
    def models(self) -> Int64[np.ndarray, "chosen"]:
        """The numbers that the references in this view have in the pool (a copy)."""
        return self._models.copy()

    @property
    def records(self) -> int:
        """How many records were observed."""
        return self._pool.observations.records

    @property
    def queries(self) -> int:
        """How many queries (augmentations) a record has."""
        return self._pool.observations.queries

    @property
    def classes(self) -> int:
        """How many classes an answer has."""
        return self._pool.observations.classes

    @property
    def probability_floor(self) -> float | None:
        """Smallest probability where logits are logarithms of probabilities; None for true logits."""
        return self._pool.observations.probability_floor

    @property
    def y(self) -> np.ndarray:
        """``int64[records]``, the true class of each record."""
        return self._pool.observations.y

    @property
    def member(self) -> MemberMask:
        """``bool[models, records]`` of the references in this view (a copy)."""
        out: np.ndarray = self._pool.member[self._models]
        return out

    @property
    def inside(self) -> MemberMask:
        """``bool[models, records]``: usable references that hold the record (a copy; see ``inside_of``)."""
        return self.member if self._thin is None else self.member & self._thin

    @property
    def outside(self) -> MemberMask:
        """``bool[models, records]``: usable references that do not hold the record (a copy; see ``outside_of``)."""
        return ~self.member if self._thin is None else ~self.member & self._thin

    def inside_of(self, k: int) -> Bool[np.ndarray, "records"]:
        """Which records reference ``k`` (position in this view) holds and may be used for."""
        row: np.ndarray = self._pool.member[self._models[k]]
        return row if self._thin is None else row & self._thin[k]

    def outside_of(self, k: int) -> Bool[np.ndarray, "records"]:
        """Which records reference ``k`` (position in this view) does not hold and may be used for."""
        row: np.ndarray = ~self._pool.member[self._models[k]]
        return row if self._thin is None else row & self._thin[k]

    @cached_property
    def inside_count(self) -> Int64[np.ndarray, "records"]:
        """How many usable references hold each record; read-only."""
        out: np.ndarray
        if self._thin is not None or self._few_left():
            out = self.inside.sum(axis=0)
        else:
            out = self._pool.count() - self._pool.member[self._left_out()].sum(axis=0)
        out.flags.writeable = False
        return out

    @property
    def outside_count(self) -> Int64[np.ndarray, "records"]:
        """How many usable references do not hold each record."""
        out: np.ndarray = len(self) - self.inside_count if self._thin is None else self.outside.sum(axis=0)
        return out

    def observe(self, signal: Signal) -> np.ndarray:
        """``float64[models, records, queries, ...]`` of all references in this view (a copy; prefer the others)."""
        out: np.ndarray = self._pool.observations.signal(signal)[self._models]
        return out

    def signal_of(self, signal: Signal, k: int) -> np.ndarray:
        """``float64[records, queries, ...]`` of reference ``k`` (position in this view), without a copy."""
        return self._pool.observations.of_model(signal, int(self._models[k]))

    def moments(self, signal: Signal, *, inside: bool) -> Moments:
        """Count, mean and sum of squared deviations of a scalar signal over the IN (or OUT) references, a record."""
        unit, (first, second), count = self._side(signal, inside)
        if second is None:
            raise SettingsError(f"{signal!r}: moments need a scalar signal, found a vector. Use mean().")
        k = np.maximum(count, 1)[:, None]
        squares = unit.size * (unit.size * 2.0**unit.bits * second - unit.size * first * (first / k))
        squares = np.where(count[:, None] > 1, np.maximum(squares, 0.0), 0.0)
        return Moments(count, _mean(unit, first, count), squares)

    def mean(self, signal: Signal, *, inside: bool) -> np.ndarray:
        """Mean of a signal (vectors too) over the IN (or OUT) references: ``float64[records, queries, ...]``.

        NaN where a record has none.
        """
        unit, (first, _), count = self._side(signal, inside)
        return _mean(unit, first, count)

    def memo(self, key: Hashable, k: int, make: Callable[[], T], *, uses_membership: bool) -> T:
        """What reference ``k`` (position in this view) teaches, made once for the views of all targets.

        Args:
            key: names what is made, with every setting it depends on.
            uses_membership: True where ``make`` reads ``inside_of(k)`` or ``outside_of(k)``; in a thinned view, whose
                masks are its own, it is then made anew.
        """
        if uses_membership and self._thin is not None:
            return make()
        return self._pool.memo((key, int(self._models[k])), make)

    def together(self, key: Hashable, make: Callable[[References], Sequence[T]]) -> list[T]:
        """What each reference teaches, in order, where all are made in one go: ``make(view)[k]`` reads ``k`` alone.

        Made once for the views of all targets; in a thinned view, whose masks are its own, it is made anew.
        """
        if self._thin is not None:
            return list(make(self))
        whole = self._models if self._whole is None else self._whole
        every = References(self._pool, whole, pairs=self.pairs)
        made = self._pool.memo((key, whole.tobytes()), lambda: make(every))
        return [made[int(np.flatnonzero(whole == m)[0])] for m in self._models]

    @property
    def traces(self) -> tuple[str, ...]:
        """Names of the traces that are here."""
        return tuple(self._pool.observations.traces)

    def trace_of(self, name: str, k: int) -> np.ndarray:
        """``float64[records, epochs, metrics]`` of reference ``k`` (position in this view): see ``Target.trace``."""
        return self._pool.observations.trace(name, int(self._models[k]))

    def logits_of(self, k: int) -> Logits:
        """``float32[records, queries, classes]`` of reference ``k`` (position in this view), floored, not kept."""
        return self._pool.observations.logits(int(self._models[k]))

    def as_target(self, k: int) -> Target:
        """One reference (position in this view) playing the target."""
        return Target(self._pool.observations, int(self._models[k]))

    def _side(
        self, signal: Signal, inside: bool
    ) -> tuple[Unit, tuple[np.ndarray, np.ndarray | None], Int64[np.ndarray, "records"]]:
        count = self.inside_count if inside else self.outside_count
        return self._pool.unit(signal), self._sums(signal).side(inside), count

    def _sums(self, signal: Signal) -> Sums:
        owner, found = self._pool.latest.get(signal, (None, None))
        if found is None or owner is not self:
            found = self._added_up(signal)
            self._pool.latest[signal] = (self, found)
        return found

    def _added_up(self, signal: Signal) -> Sums:
        if self._thin is not None:
            return self._pool.sums_over(signal, self._models, self._thin)
        if self._whole is None or 2 * len(self) < len(self._whole):
            return self._pool.sums_over(signal, self._models)
        every = self._pool.sums(signal, self._whole)
        gone = self._pool.sums_over(signal, self._left_out(self._whole))
        return Sums(
            every.inside - gone.inside,
            every.every - gone.every,
            _minus(every.inside_squares, gone.inside_squares),
            _minus(every.every_squares, gone.every_squares),
        )

    def _left_out(self, of: np.ndarray | None = None) -> Int64[np.ndarray, "others"]:
        """Models of the pool (or of these) that are not in this view."""
        left = np.zeros(len(self._pool), dtype=np.bool_)
        left[slice(None) if of is None else of] = True
        left[self._models] = False
        return np.flatnonzero(left)

    def _few_left(self) -> bool:
        """Whether adding this view up is cheaper than taking the others away."""
        return 2 * len(self) < len(self._pool)

    def __repr__(self) -> str:
        return f"References(models={len(self)}, records={self.records})"


@dataclass(frozen=True)
class Population:
    """Records that are in no model, seen by target and references: what non-members look like.

    The records of ``target`` and ``references`` here are the population's, and every reference is OUT. ``features`` are
    theirs too, for attacks that learn from them.
    """

    y: np.ndarray
    target: Target
    references: References
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def labelled(self) -> Population:
        """This population with the classes of its records, where its outputs were made without them."""
        return replace(self, target=self.target.labelled(self.y), references=self.references.labelled(self.y))


def _minus(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else a - b


def _mean(unit: Unit, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    axes = (-1, *([1] * (first.ndim - 1)))
    k = np.maximum(count, 1).reshape(axes)
    out: np.ndarray = np.where(count.reshape(axes) > 0, unit.shift + first / k * unit.size, np.nan)
    return out
