"""``AskableTarget``: a live model that may only be asked, with a budget and a log of what it was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from locard.check import Problems
from locard.data.records import Records
from locard.data.shared_rows import row_fingerprints
from locard.errors import AccessDenied, DataError, SettingsError
from locard.observe.meter import Meter
from locard.observe.models import ReleasedModel
from locard.observe.observations import DEFAULT_FLOOR, UNSAID
from locard.observe.signals import log_softmax
from locard.train.answers import AnswerKind, stored_answers
from locard.types import Access

_KIND = np.dtype(np.float32)  # rows that agree so far count as the same row: a copy in another number type is found


class QueryLog:
    """Which rows a model was asked: how many, and 16 bytes of each, never the rows themselves.

    - ``holds(row)`` is True for every row that was asked, whatever type its numbers had, and for a row that differs
      from such a one only beyond the seventh digit
    - False proves that the row was not asked through this target

    >>> log = QueryLog()
    >>> log.add(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    >>> log.holds([1.0, 2.0]), log.holds([2.0, 1.0]), log.asked, log.distinct
    (True, False, 3, 2)
    """

    def __init__(self) -> None:
        self.asked = 0
        self._seen: set[bytes] = set()
        self._chain = hashlib.sha256()

    def add(self, features: np.ndarray) -> None:
        """These rows were asked, in this order."""
        for digest in row_fingerprints(features, _KIND):
            self._seen.add(digest)
            self._chain.update(digest)
        self.asked += len(features)

    def holds(self, row: Any) -> bool:
        """Whether this row (the features of one record) was asked."""
        return next(iter(row_fingerprints(np.asarray(row)[None], _KIND))) in self._seen

    def any_of(self, features: np.ndarray) -> np.ndarray:
        """``bool[rows]``: ``holds`` of each."""
        return np.array([digest in self._seen for digest in row_fingerprints(features, _KIND)], dtype=np.bool_)

    @property
    def distinct(self) -> int:
        """How many different rows were asked."""
        return len(self._seen)

    @property
    def digest(self) -> str:
        """sha256 of all rows in their order: two logs with the same digest say the same."""
        return self._chain.copy().hexdigest()

    def __repr__(self) -> str:
        return f"QueryLog({self.asked} asked, {self.distinct} different)"


class AskableTarget:
    """A model that an outsider may only ask: nothing is known of its training, and every question is counted.

    - answers only what ``access`` allows; else ``AccessDenied``, and nothing is asked
    - a question that does not fit the budget is not asked: ``QueryBudgetSpent``
    - ``log`` knows every row that was asked, and no other

    Args:
        predict: features ``[rows, ...]`` -> ``float[rows, classes]``, probabilities or logits.
        classes: how many.
        answers: what ``predict`` gives.
        access: what the attacker sees of that.
        budget: most rows that may be asked; None for no limit.
        floor: the smallest probability that the model can tell from zero; smaller ones are raised to it. None for
            logits.

    Raises:
        SettingsError: settings that cannot be used.

    >>> target = AskableTarget(lambda x: np.full((len(x), 2), 0.5), classes=2, budget=3)
    >>> target.log_probabilities(np.zeros((2, 4))).round(3).tolist(), target.queries
    ([[-0.693, -0.693], [-0.693, -0.693]], 2)
    >>> target.log.holds(np.zeros(4)), target.log.holds(np.ones(4))
    (True, False)
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], Any],
        *,
        classes: int,
        answers: AnswerKind = "probabilities",
        access: Access = Access.PROBABILITIES,
        budget: int | None = None,
        floor: float | None = None,
    ) -> None:
        problems = Problems()
        if classes < 2:
            problems.add(f"classes: at least 2 are needed, found {classes}.")
        if answers not in ("probabilities", "logits"):
            problems.add(f"answers: 'probabilities' or 'logits' is needed, found {answers!r}.")
        if budget is not None and budget < 0:
            problems.add(f"budget: a number of queries is needed (None for no limit), found {budget}.")
        if floor is not None and not 0.0 < floor < 1.0:
            problems.add(f"floor: a probability between 0 and 1 is needed, found {floor}.")
        problems.settle(SettingsError)
        self._predict, self.classes, self._answers, self.access = predict, classes, answers, access
        self.floor = DEFAULT_FLOOR if floor is None and answers == "probabilities" else floor
        self._meter = Meter(budget)
        self.log = QueryLog()

    @classmethod
    def of_model(
        cls, model: ReleasedModel, like: Records, *, access: Access = Access.PROBABILITIES, budget: int | None = None
    ) -> AskableTarget:
        """A finished model, asked with features that are laid out as those of ``like``.

        Raises:
            SettingsError: the model's classes are not those of ``like``.
        """
        some = like.classes[0]

        def predict(features: np.ndarray) -> np.ndarray:
            rows = Records(
                ids=np.arange(len(features)),
                features=features,
                labels=np.full(len(features), some),
                columns=like.columns,
                known_classes=like.classes,
            )
            return model.log_probabilities(rows)[:, 0]

        floor = None if model.answers == "logits" else model.floor
        return cls(predict, classes=len(like.classes), answers="logits", access=access, budget=budget, floor=floor)

    @property
    def queries(self) -> int:
        """How many rows were asked."""
        return self._meter.spent

    @property
    def budget(self) -> int | None:
        """Most rows that may be asked; None for no limit."""
        return self._meter.budget

    @property
    def left(self) -> int | None:
        """How many rows may still be asked; None for no limit."""
        return None if self.budget is None else self.budget - self.queries

    def labels(self, features: np.ndarray) -> Int64[np.ndarray, "rows"]:
        """The predicted class of each row, its place among the classes.

        Raises:
            AccessDenied, QueryBudgetSpent, SettingsError: as for ``log_probabilities``.
        """
        said: np.ndarray = self._ask(features, Access.LABELS, "labels").argmax(axis=1).astype(np.int64)
        return said

    def log_probabilities(self, features: np.ndarray) -> Float64[np.ndarray, "rows classes"]:
        """Natural logarithms of the class probabilities, finite. Of a model that gives logits no more is shown.

        Raises:
            AccessDenied: the access gives labels only.
            QueryBudgetSpent: more rows than are left.
            SettingsError: ``predict`` answers with something else than it should.
            DataError: features that are no rows of finite or missing numbers.
        """
        said: np.ndarray = log_softmax(self._ask(features, Access.PROBABILITIES, "class probabilities"))
        return said if self.floor is None else np.maximum(said, np.log(self.floor))

    def logits(self, features: np.ndarray) -> Float64[np.ndarray, "rows classes"]:
        """Logits as the model gives them (of probabilities their logarithms), finite.

        Raises:
            AccessDenied, QueryBudgetSpent, SettingsError: as for ``log_probabilities``.
        """
        said = self._ask(features, Access.LOGITS, "logits")
        return said if self.floor is None else np.maximum(said, np.log(self.floor))

    def _ask(self, features: np.ndarray, needed: Access, what: str) -> np.ndarray:
        if not self.access.allows(needed):
            raise AccessDenied(
                f"This attack asks for {what}, but this target gives {self.access.words}. Choose an attack for that "
                f"access, or attack with more."
            )
        rows = np.asarray(features)
        if rows.ndim < 2 or rows.dtype.kind not in "biuf" or np.isinf(rows).any():
            raise DataError(
                f"features: rows of numbers are needed (NaN where missing), found shape {rows.shape} of type "
                f"{rows.dtype}{'' if rows.dtype.kind not in 'f' else ', or infinite ones'}. Mend the queries."
            )
        self._meter.spend(len(rows))
        self.log.add(rows)
        if not len(rows):
            return np.zeros((0, self.classes))
        kept = rows.copy()  # what the model does with it is not ours to know
        said = stored_answers(
            self._predict(kept), len(rows), np.arange(self.classes), self.classes, kind=self._answers, where="target"
        ).astype(np.float64)
        least = np.where(np.isneginf(said), np.inf, said).min(axis=1, keepdims=True)
        return np.where(np.isneginf(said), np.minimum(said.max(axis=1, keepdims=True) - UNSAID, least), said)

    def __repr__(self) -> str:
        return f"AskableTarget(access={self.access.name}, queries={self.queries}, budget={self.budget})"


__all__ = ["AskableTarget", "QueryLog"]
