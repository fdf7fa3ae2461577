"""What is asked of trained models, and what one model answers: tensors by name, as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from locard.data.records import Records


@dataclass(frozen=True, eq=False)
class Run:
    """One model to train: its training records (a multiset of places among all records) and its seed."""

    index: np.ndarray
    seed: int


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What is stored of a model besides its answers.

    Args:
        losses: the loss of every audited record after every epoch, ``float32[records, epochs]``.
        penultimate: the last linear layer's input on the audited records, ``float32[records, width]``.
        weights: the final weights.
        snapshots: epochs (counted from 1) after which the weights are stored.
    """

    losses: bool = False
    penultimate: bool = False
    weights: bool = False
    snapshots: tuple[int, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether more than answers is stored."""
        return self != Keep()


@runtime_checkable
class Condenses(Protocol):
    """What is stored of a model's answers in place of all of them."""

    @property
    def words(self) -> tuple[str, ...]:
        """What that is, for people."""
        ...

    @property
    def answer_bytes(self) -> int:
        """Bytes for one record and query."""
        ...

    def key(self, model: str) -> str:
        """The key of a file that holds this, by the key that names the model itself (``Job.trained``)."""
        ...

    def missing(self, names: Iterable[str], parts: Iterable[str]) -> list[str]:
        """What of this a file with these tensors does not hold, in words; ``parts`` are the parts of the records."""
        ...

    def __call__(self, tensors: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is stored of these tensors, with ``int64[records]``, the true classes, of each part."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What every model of a run is asked, and how models are trained."""

    audited: np.ndarray
    population: np.ndarray
    keep: Keep = field(default_factory=Keep)
    way: Literal["one", "many"] = "many"
    device: str = "cpu"


@dataclass(eq=False)
class Answers:
    """One model's answers, ready to be stored.

    Args:
        tensors: ``logits`` and ``population`` (``float32[records, queries, classes]``), ``losses``, ``penultimate``.
        weights: name of a state ("final", "epoch-3") -> its tensors.
        fit_seconds: this model's share of the training time.
        ask_seconds: its share of the questions.
    """

    tensors: dict[str, np.ndarray]
    weights: dict[str, dict[str, np.ndarray]]
    fit_seconds: float
    ask_seconds: float


@dataclass(frozen=True, kw_only=True)
class Room:
    """What there is to train in.

    Args:
        workers: processes that share the models.
        memory: bytes for each of them.
        device: where tensors live.
        size: models a chunk where the user has said so.
    """

    workers: int = 1
    memory: int = 2**30
    device: str = "cpu"
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How models are best trained here.

    Args:
        way: one at a time, or many in one program.
        size: models a chunk.
        reason: in words, with the times that decided it.
        seconds: what training one model will take of one worker's time; NaN where nothing was timed.
        ask_seconds: what asking one model about one record takes; NaN where nothing was timed.
        bytes: memory that one chunk needs.
    """

    way: Literal["one", "many"]
    size: int
    reason: str
    seconds: float
    ask_seconds: float
    bytes: int


@runtime_checkable
class AnswersMany(Protocol):
    """A recipe that can train several models in one program."""

    def answer(self, records: Records, runs: Sequence[Run], asked: Asked) -> Iterator[Answers]:
        """What each model answers, in order."""
        ...

    def choose(self, records: Records, runs: Sequence[Run], room: Room) -> Choice:
        """One at a time, or many in one program, and how many: measured."""
        ...
