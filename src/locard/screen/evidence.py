"""``Evidence``: all that a screen may look at. There is no target in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from locard.check import Problems
from locard.data.records import Records
from locard.errors import DataError, NotEnoughReferences
from locard.observe.once import Once
from locard.observe.references import References
from locard.observe.traces import TraceArray, Traces
from locard.screen.cosine import Apart
from locard.screen.ties import tie_breaks


@dataclass(frozen=True, eq=False)
class Observed:
    """Records, and what the screening references said about them.

    Args:
        records: ids, labels and units are read.
        references: the screening references alone, on these records.
        raw: ``float[records, features]``, standardised and one-hot, for screens that do not read answers.
    """

    records: Records
    references: References
    raw: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", self.references.labelled(self.records.y))
        rows = len(self.records) if self.raw is None else len(self.raw)
        if not self.references.records == rows == len(self.records):
            raise DataError(
                f"screening: answers and raw features for each of {len(self.records)} records are needed, found "
                f"answers for {self.references.records} and raw features for {rows}. Check their order."
            )

    @cached_property
    def once(self) -> Once:
        """What is computed of these records alone, kept for all evidence that they are part of."""
        return Once()

    @cached_property
    def ties(self) -> Float64[np.ndarray, "records"]:
        """A number between 0 and 1 for each record, from its id alone, to order records that tie."""
        return tie_breaks(self.records.ids)

    def need_outside(self, count: int, screen: str) -> None:
        """Refuse records with fewer references that do not hold them.

        Raises:
            NotEnoughReferences: with the number of such records, and the id of the worst.
        """
        found = self.references.outside_count
        short = np.flatnonzero(found < count)
        if len(short):
            worst = int(short[np.argmin(found[short])])
            raise NotEnoughReferences(
                f"screen {screen}: {count} screening references trained without each record are needed, but "
                f"{len(short)} of {len(found)} records have fewer (record {self.records.ids.tolist()[worst]!r} has "
                f"{found[worst]}). Train more references, or raise screen.references."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Candidates, reference records, and what the screening references said about both.

    - the screening references are the models of ``candidates.references``, and no others. A target is never among
      them, nor its partner, nor a model that will serve to test: choosing records by a reference and testing them
      with it makes small p-values too frequent
    - both models of a pair screen, or none: the number of IN references then says nothing of anybody's membership

    Args:
        candidates: the records among which to choose.
        pool: the reference pool, in which neighbours are counted, seen by the same models. None: the candidates
            themselves, each without the records of its own unit.
        training_size: records in the target's training set, N.
        traces: losses over training, ``float[models, candidates, epochs]``, or where to read them.
        workers: threads; changes nothing but the time.

    Raises:
        DataError: parts that do not belong together, a candidate that is in the reference pool (with its id), half of
            a pair among the screening references.
    """

    candidates: Observed
    pool: Observed | None = None
    training_size: float
    traces: Traces | np.ndarray | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        problems = Problems()
        if not self.training_size > 0:
            problems.add(f"training_size: a number above 0 is needed, found {self.training_size}.")
        if self.pool is not None:
            _same_models(problems, self.candidates.references, self.pool.references)
            _strangers(problems, self.candidates.records, self.pool.records)
        _whole_pairs(problems, self.candidates.references)
        if isinstance(self.traces, np.ndarray):
            object.__setattr__(self, "traces", _trace_array(problems, self.traces))
        wanted = (len(self.candidates.references), len(self.candidates.records))
        if isinstance(self.traces, Traces) and self.traces.shape[:2] != wanted:
            problems.add(
                f"traces: losses [{wanted[0]} models, {wanted[1]} records, epochs] are needed, found shape "
                f"{tuple(self.traces.shape)}. Give those of the screening references on the candidates."
            )
        problems.settle(DataError)

    @property
    def reference_records(self) -> Observed:
        """The records in which neighbours are counted."""
        return self.candidates if self.pool is None else self.pool

    @property
    def ratio(self) -> float:
        """N / N': the expected number of records of the target's training set for each record of the pool."""
        return self.training_size / len(self.reference_records.records)

    @property
    def own(self) -> Apart | None:
        """Pairs of a candidate and a reference record that are one unit; None where they never are."""
        return None if self.pool is not None else Apart(self.candidates.records.units, self.candidates.records.units)

    @property
    def own_of_pool(self) -> Apart:
        """The same for reference records among themselves (leave-one-out)."""
        units: Int64[np.ndarray, "records"] = self.reference_records.records.units
        return Apart(units, units)


def _same_models(problems: Problems, candidates: References, pool: References) -> None:
    if len(candidates) != len(pool) or not np.array_equal(candidates.models, pool.models):
        problems.add(
            f"screening: candidates and pool must be seen by the same references, found {len(candidates)} and "
            f"{len(pool)} models. Give both views of the same models, in the same order."
        )


def _strangers(problems: Problems, candidates: Records, pool: Records) -> None:
    """A candidate in the pool may be in references that pass for OUT."""
    shared = _among(candidates.ids, pool.ids)
    if not len(shared) and candidates.unit is not None and pool.unit is not None:
        shared = _among(candidates.unit, pool.unit)
    if len(shared):
        first = candidates.ids.tolist()[int(shared[0])]
        problems.add(
            f"screening: candidates that are not in the reference pool are needed, but {len(shared)} are in both "
            f"(record {first!r}). Take them out of the pool, and train the references without them."
        )


def _among(values: Any, others: Any) -> Int64[np.ndarray, "found"]:
    known = set(others.tolist())
    return np.array([i for i, v in enumerate(values.tolist()) if v in known], dtype=np.int64)


def _whole_pairs(problems: Problems, references: References) -> None:
    if references.pairs is None:
        return
    models = references.models
    alone = models[~np.isin(references.pairs[models], models)]
    if len(alone):
        problems.add(
            f"screening: both models of a pair, or none, are needed, but {len(alone)} have lost their partner (model "
            f"{int(alone[0])}). Leave a target out together with its partner."
        )


def _trace_array(problems: Problems, losses: np.ndarray) -> TraceArray | None:
    if losses.ndim != 3 or losses.dtype.kind != "f":
        problems.add(f"traces: numbers [models, records, epochs] are needed, found {losses.dtype} {losses.shape}.")
        return None
    return TraceArray(losses)
