"""What an attacker does with reference models of his own besides asking them: teach them a record, and ask again.

Axes: ``models`` are the references; ``rows`` are queries, features as in the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from locard.data.records import Records

MOST = 100  # further steps, where their number follows from the training


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How references are taught a record: training goes on with the record in every batch.

    Args:
        most: steps after which it ends in any case; None for as many as training showed each record (its passes), up
            to ``MOST``.
        like: a reference has learnt the record, after at least one step, when the label is as probable as this
            quantile of its own training records' labels (0.5: their median). None: all take ``most`` steps.
        rate: learning rate; None for the mean of the rates over the recipe's own schedule.
        block: references taught in one program; None for as many as fit in memory.
    """

    most: int | None = None
    like: float | None = 0.5
    rate: float | None = None
    block: int | None = None


@dataclass(frozen=True, kw_only=True)
class ChainWork:
    """What an indirect attack on one record takes, in what one network takes.

    ``fits``: teaching, in times that one is trained. ``optimising``: the same for moving queries, where that is needed
    at all, at most. ``random``: queries before any is selected. ``answered``: rows that some network is asked about.
    ``queries``: most that a target is asked.
    """

    fits: float
    optimising: float
    random: int
    answered: int
    queries: int


@runtime_checkable
class Influenced(Protocol):
    """References that were taught one record (*positive*), and their twins that were not (*control*).

    Both branches saw the same further batches; the positive one had the record in each of them.
    """

    @property
    def steps(self) -> Int64[np.ndarray, "models"]:
        """How many further steps each reference took."""
        ...

    @property
    def label(self) -> int:
        """The record's class."""
        ...

    def positive(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the positive branch."""
        ...

    def control(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the control branch."""
        ...

    def original(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the references as they were."""
        ...

    def hinge(
        self, features: np.ndarray, *, gamma: float, against: str
    ) -> tuple[Float64[np.ndarray, "rows"], np.ndarray]:
        """Equation 3 of each query, and its gradient with respect to what a network is shown of the query.

        The sum over references of max(0, gamma - (p_positive - p_against)), p the probability of the record's label;
        ``against`` is "control" or "original". The gradient is ``float64[rows, ...]``, laid out as ``shown``.
        """
        ...


@runtime_checkable
class TeachableReferences(Protocol):
    """Reference models of an attacker's own: he may ask them anything, and train them further."""

    def __len__(self) -> int: ...

    @property
    def pool(self) -> Records:
        """Every record that some reference was trained on."""
        ...

    @property
    def classes(self) -> int:
        """How many."""
        ...

    def of(self, models: Int64[np.ndarray, "chosen"]) -> TeachableReferences:
        """Some of them."""
        ...

    def logits(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """What each says of these rows."""
        ...

    def taught(self, features: np.ndarray, label: int, lesson: Lesson) -> Influenced:
        """Copies of all of them that go on training with this record (features of one row) and without it."""
        ...
