"""``Target``: one audited model behind an access level, counting queries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from locard.errors import AccessDenied
from locard.observe.meter import Meter
from locard.observe.observations import DEFAULT_FLOOR, ArrayReader, Observations, as_logits
from locard.observe.signals import Signal
from locard.types import Access

Predict = Callable[[np.ndarray], np.ndarray]


class Target:
    """One audited model, seen through ``access``.

    - gives only signals that its access allows; else ``AccessDenied``
    - counts queries: each (record, query) once, however often its answer is read; ``QueryBudgetSpent`` beyond budget
    - ``query(features)`` asks the live model, where there is one

    Args:
        observations: what models said about the audited records.
        model: which of them is the target.
        access: what the attacker sees.
        budget: most queries allowed; None for no limit.
        predict: features -> class probabilities, for attacks that choose their own queries.

    >>> from locard.observe.signals import Correct
    >>> target = Target.from_arrays(logits=np.zeros((5, 3)), labels=[0, 1, 2, 0, 1], access=Access.LABELS)
    >>> target.observe(Correct()).shape, target.queries
    ((5, 1), 5)
    """

    def __init__(
        self,
        observations: Observations,
        model: int = 0,
        *,
        access: Access = Access.LOGITS,
        budget: int | None = None,
        predict: Predict | None = None,
    ) -> None:
        self._observations = observations
        self._model = model
        self.access = access
        self._predict = predict
        self._meter = Meter(budget)

    @classmethod
    def from_arrays(
        cls,
        *,
        logits: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        probability_floor: float = DEFAULT_FLOOR,
        access: Access = Access.LOGITS,
        budget: int | None = None,
        predict: Predict | None = None,
    ) -> Target:
        """A target from saved outputs ``float[records, queries, classes]`` or ``float[records, classes]``.

        ``labels`` (class index a record) may be left out when an attack's ``records`` bring them. ``predict`` (features
        to class probabilities) is the live model, for attacks that choose their own queries.

        Raises:
            DataError: outputs or labels that cannot be used (see ``as_logits``).
        """
        array = as_logits(logits, probabilities, models=False)
        floor = probability_floor if probabilities is not None else None
        said = Observations(ArrayReader(array), labels, probability_floor=floor)
        return cls(said, access=access, budget=budget, predict=predict)

    @property
    def queries(self) -> int:
        """How many queries were spent."""
        return self._meter.spent

    @property
    def budget(self) -> int | None:
        """Most queries allowed; None for no limit."""
        return self._meter.budget

    @property
    def records(self) -> int:
        """How many records were observed."""
        return self._observations.records

    def labelled(self, y: np.ndarray) -> Target:
        """This target with the true classes of its records, where it was made without them; one query count for both.

        Raises:
            DataError: labels that do not fit its records, or that differ from those it has.
        """
        observations = self._observations.labelled(y)
        if observations is self._observations:
            return self
        out = Target(observations, self._model, access=self.access, predict=self._predict)
        out._meter = self._meter
        return out

    def observe(self, signal: Signal) -> np.ndarray:
        """``float64[records, queries, ...]``: this signal on the audited records, read-only.

        Raises:
            AccessDenied: the signal needs more than ``access``.
            QueryBudgetSpent: asking all records would exceed ``budget``.
        """
        if not self.access.allows(signal.access):
            raise AccessDenied(
                f"{type(signal).__name__} needs {signal.access.words}, but this target gives {self.access.words}. "
                f"Choose an attack for that access, or audit with more."
            )
        if not self._meter.asked:
            self._meter.spend(self._observations.records * self._observations.queries)
            self._meter.asked = True
        return self._observations.of_model(signal, self._model)

    def query(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities ``float64[rows, classes]`` of the live model for rows of the attacker's choice.

        Raises:
            AccessDenied: only saved outputs are here, or the target gives labels only.
            QueryBudgetSpent: more rows than the budget has left.
        """
        if self._predict is None:
            raise AccessDenied(
                "This attack asks the model new questions, but only saved outputs are here. Give the model itself."
            )
        if not self.access.allows(Access.PROBABILITIES):
            raise AccessDenied(
                f"query() gives class probabilities, but this target gives {self.access.words}. "
                f"Choose an attack for that access."
            )
        self._meter.spend(len(features))
        return np.asarray(self._predict(features), dtype=np.float64)

    def __repr__(self) -> str:
        return f"Target(access={self.access.name}, queries={self.queries})"


__all__ = ["Predict", "Target"]
