"""``Kept``: signals that are stored in place of a model's whole answers, and the reader that gives them back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from locard.observe.observations import Observations, SignalReader, finite, not_kept, raised_by
from locard.observe.signals import Correct, Derived, Signal
from locard.observe.traces import Traces
from locard.train.store import Store, StoreReader
from locard.types import Logits

VERSION = 1  # raised when the code below, or a signal's, may give other numbers for the same logits
CLASSES = "classes"  # the tensor that says how many the answers had
BLOCK = 20_000  # records whose signals are computed at once
OTHER_FLOOR = 10.0  # the headline is shown again with the probability floor this many times higher


def other_floor(floor: float, classes: int) -> float:
    """The probability floor at which the headline is shown again.

    >>> other_floor(0.005, 2), other_floor(0.005, 20)
    (0.05, 0.025)
    """
    return min(OTHER_FLOOR * floor, 0.5 / classes)


def root(signal: Signal) -> Signal:
    """The signal that this one is computed from in the end.

    >>> from locard.observe.signals import LogLoss, OverQueries
    >>> root(OverQueries(LogLoss()))
    ScaledLogit(temperature=1.0)
    """
    while isinstance(signal, Derived):
        signal = signal.source
    return signal


@dataclass(frozen=True)
class Kept:
    """What is stored of a model's answers: some signals, each read at one probability floor.

    - signals are float64, as computed from float32 logits: no bit of a result depends on what is stored
    - whether an answer is right is one byte
    - which signals are in a file is said by the names of its tensors, and by its key

    Attributes:
        signals: each with its floor; none of them computed from another one.
        classes: how many the answers have.
    """

    signals: tuple[tuple[Signal, float | None], ...]
    classes: int

    @classmethod
    def of(cls, signals: Iterable[Signal], floor: float | None, classes: int, *, again: Iterable[Signal] = ()) -> Kept:
        """The fewest from which all of these can be had, in an order of their own.

        Args:
            signals: what is read.
            floor: the probability floor at which it is; None for logits.
            classes: of the answers.
            again: what is read at ``other_floor`` as well; nothing where there is no floor.
        """
        found = {(root(s), floor) for s in signals}
        if floor is not None:
            found |= {(root(s), other_floor(floor, classes)) for s in again}
        return cls(tuple(sorted(found, key=repr)), classes)

    def key(self, model: str) -> str:
        """The key of the file that holds this of a model, by the key that names the model itself."""
        told = "|".join([str(VERSION), str(self.classes), *(_name("", s, floor) for s, floor in self.signals)])
        return f"{model}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    @property
    def words(self) -> tuple[str, ...]:
        """What is stored, for people."""
        return tuple(_name("", s, floor).removeprefix("/") for s, floor in self.signals)

    @property
    def answer_bytes(self) -> int:
        """Bytes for one record and query, where every signal is one number."""
        return sum(np.dtype(_type(s)).itemsize for s, _ in self.signals)

    def missing(self, names: Iterable[str], parts: Iterable[str]) -> list[str]:
        """What of this a file with these tensors does not hold; nothing where it holds whole answers."""
        there, wanted = set(names), list(parts)
        if there.issuperset(wanted):
            return []
        return [
            word
            for word, (signal, floor) in zip(self.words, self.signals, strict=True)
            if not there.issuperset(_name(part, signal, floor) for part in wanted)
        ]

    def __call__(self, tensors: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is stored of these tensors: of each part that has labels its signals, everything else as it is.

        Args:
            tensors: whole answers ``float32[records, queries, classes]`` by part, or what was stored of them, with no
                less than this.
            labels: ``int64[records]``, the true classes, by part.
        """
        signals = {_name(p, s, f): (p, s, f) for p in labels for s, f in self.signals}
        floors = {f for _, f in self.signals if f is not None}
        counts = {_count(p, f): (p, f) for p in labels for f in floors}
        whole = set(labels).issubset(tensors)
        other = {name: t for name, t in tensors.items() if "/" not in name and name not in labels}
        if not whole:
            return other | {name: tensors[name] for name in (*signals, *counts)}
        read = {name: _computed(signal, floor, tensors[p], labels[p]) for name, (p, signal, floor) in signals.items()}
        raised = {name: np.array([raised_by(floor, tensors[p])]) for name, (p, floor) in counts.items()}
        return other | read | raised | {CLASSES: np.array([self.classes])}


def _computed(signal: Signal, floor: float | None, logits: Logits, y: np.ndarray) -> np.ndarray:
    """In equal blocks, so that memory stays bounded and none has a single record, whose classes add up otherwise."""
    edges = np.linspace(0, len(y), max(1, math.ceil(len(y) / BLOCK)) + 1).round().astype(np.int64)
    parts = [signal(finite(logits[a:b], floor), y[a:b]).astype(_type(signal)) for a, b in pairwise(edges.tolist())]
    return np.concatenate(parts)


def _type(signal: Signal) -> type[np.generic]:
    return np.uint8 if isinstance(signal, Correct) else np.float64


def _name(part: str, signal: Signal, floor: float | None) -> str:
    """What a tensor is called: the part of the records, the signal, the floor where there is one."""
    return f"{part}/{signal!r}" + ("" if floor is None else f" at floor {floor!r}")


def _count(part: str, floor: float) -> str:
    return f"{part}/raised by floor {floor!r}"


class StoredSignals:
    """Signals of one part of the records (``logits`` or ``population``), read from the store model by model."""

    def __init__(self, store: Store, keys: list[str], part: str) -> None:
        self._store, self._keys, self._part = store, keys, part
        names = store.names(keys[0])
        first = next(n for n in names if n.startswith(f"{part}/") and "(" in n)
        records, queries = store.shape(keys[0], first)[:2]
        self._names = frozenset(names)
        self.shape = (len(keys), records, queries, int(store.read(keys[0], CLASSES)[0]))

    def signal(self, signal: Signal, floor: float | None, model: int) -> np.ndarray:
        """``float64[records, queries, ...]`` of one model."""
        name = _name(self._part, signal, floor)
        if name not in self._names:
            raise not_kept(name.partition("/")[2])
        return self._store.read(self._keys[model], name).astype(np.float64, copy=False)

    def floored(self, floor: float, model: int) -> int:
        """How many of this model's values the floor raised."""
        return int(self._store.read(self._keys[model], _count(self._part, floor))[0])

    def select(self, records: np.ndarray) -> SignalReader:
        """A part of the records."""
        return _Selected(self, records)


@dataclass(frozen=True, eq=False)
class _Selected:
    """Signals of some of the records."""

    of: SignalReader
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        models, _, queries, classes = self.of.shape
        return models, len(self.places), queries, classes

    def signal(self, signal: Signal, floor: float | None, model: int) -> np.ndarray:
        values: np.ndarray = self.of.signal(signal, floor, model)[self.places]
        return values

    def floored(self, floor: float, model: int) -> int:
        raise not_kept("which values the probability floor raised")

    def select(self, records: np.ndarray) -> SignalReader:
        return _Selected(self.of, self.places[records])


def stored_observations(
    store: Store,
    keys: list[str],
    part: str,
    y: np.ndarray,
    *,
    floor: float | None,
    traces: Mapping[str, Traces] | None = None,
) -> Observations:
    """What these models said about one part of the records, whatever is stored of it.

    Args:
        store: where the models' files are.
        keys: of the models, in their order; all files hold the same.
        part: ``logits`` (the audited records) or ``population``.
        y: ``int64[records]``, the true classes.
        floor: the smallest probability; None for logits.
        traces: what the models' history says of the same records.
    """
    reader = StoreReader(store, keys, part) if part in store.names(keys[0]) else StoredSignals(store, keys, part)
    return Observations(reader, y, probability_floor=floor, traces=traces)
