"""Distillation: students that learn what a model says of records which nobody was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64

from locard.data.records import Records
from locard.train.asked import Run
from locard.train.recipe import SklearnRecipe, takes_weight

Note = Callable[[int, int, np.ndarray], None]  # (student, epoch from 1, float32[audited, classes] logits)


@dataclass(frozen=True, eq=False, kw_only=True)
class Teaching:
    """How students are taught, and what they are asked.

    Args:
        audited: places of the records that every snapshot answers.
        epochs: snapshots of a student.
        temperature: divides logits of teacher and student before they are compared.
        label_only: the teacher gives predicted labels, not probabilities.
        every: ask after each epoch, or after the last alone.
        way: one student at a time, or many in one program.
        device: where tensors live.
    """

    audited: np.ndarray
    epochs: int
    temperature: float = 1.0
    label_only: bool = False
    every: bool = True
    way: Literal["one", "many"] = "many"
    device: str = "cpu"


@runtime_checkable
class Distils(Protocol):
    """A recipe that trains its own students."""

    def student(self, epochs: int) -> Any:
        """The recipe of its students."""
        ...

    def distil(
        self, records: Records, runs: Sequence[Run], soft: Sequence[np.ndarray], teaching: Teaching, note: Note
    ) -> None:
        """One student a run."""
        ...


def why_no_students(recipe: Any, *, label_only: bool = False) -> str:
    """Why students of this recipe cannot be had; no text where they can."""
    if isinstance(recipe, Distils):
        return ""
    if isinstance(recipe, SklearnRecipe):
        if label_only or takes_weight(recipe.build()):
            return ""
        return (
            f"students learn probabilities as weighted rows, but fit() of {recipe.estimator} takes no sample_weight. "
            f"Set distil.label_only = true, or choose another estimator"
        )
    return "only recipes 'torch' and 'sklearn' can be taught what another model says"


def student_recipe(recipe: Any, epochs: int) -> Any:
    """The recipe of a student, which is what its teacher is but for the number of epochs of a network."""
    return recipe.student(epochs) if isinstance(recipe, Distils) else recipe


def soft_labels(
    logits: Float32[np.ndarray, "records queries classes"], teaching: Teaching
) -> Float64[np.ndarray, "records queries classes"]:
    """What a teacher's logits (or log-probabilities; -inf is probability 0) teach.

    >>> z = np.log([[[0.6, 0.3, 0.1]]])
    >>> soft_labels(z, Teaching(audited=np.arange(0), epochs=1)).round(6).tolist()
    [[[0.6, 0.3, 0.1]]]
    >>> soft_labels(z, Teaching(audited=np.arange(0), epochs=1, label_only=True)).tolist()
    [[[1.0, 0.0, 0.0]]]
    """
    z = logits.astype(np.float64)
    if teaching.label_only:
        named: np.ndarray = np.eye(z.shape[-1])[z.argmax(axis=-1)]
        return named
    z = (z - z.max(axis=-1, keepdims=True)) / teaching.temperature
    p = np.exp(z)
    out: np.ndarray = p / p.sum(axis=-1, keepdims=True)
    return out


def distil(
    recipe: Any,
    records: Records,
    runs: Sequence[Run],
    soft: Sequence[Float64[np.ndarray, "index queries classes"]],
    teaching: Teaching,
    note: Note,
) -> None:
    """Train a student a run (``recipe`` from ``student_recipe``); ``note`` hears of each of its snapshots.

    Raises:
        SettingsError: the recipe's own code failed, or a network does not fit the records.
    """
    if isinstance(recipe, Distils):
        recipe.distil(records, runs, soft, teaching, note)
        return
    for i, run in enumerate(runs):
        rows = _rows(records, run, soft[i][:, 0])
        for epoch in range(1 if teaching.every else teaching.epochs, teaching.epochs + 1):
            stage, places = _stage(recipe, rows, epoch / teaching.epochs)
            said = stage.fit(rows.records, places, run.seed)(records.features[teaching.audited])
            note(i, epoch, said)


@dataclass(frozen=True, eq=False)
class _Rows:
    """A table to learn from: each auxiliary record once for each class that its teacher holds possible."""

    records: Records
    of: np.ndarray  # the row's auxiliary record, counted from 0 in the order of the index
    count: int


def _rows(records: Records, run: Run, soft: Float64[np.ndarray, "index classes"]) -> _Rows:
    """Rows weighted by the teacher's probability, so that a fit minimises the expected loss under it."""
    of, label = np.nonzero(soft > 0)
    weight = soft[of, label]
    if records.weight is not None:
        weight = weight * records.weight[run.index[of]]
    made = Records(
        ids=np.arange(len(of)),
        features=records.features[run.index[of]],
        labels=records.classes[label],
        known_classes=records.classes,
        columns=records.columns,
        weight=None if (weight == 1).all() else weight,
    )
    return _Rows(made, of, len(run.index))


def _stage(recipe: SklearnRecipe, rows: _Rows, share: float) -> tuple[SklearnRecipe, np.ndarray]:
    """A student part of the way: with a share of its trees, or of its records where it does not grow by trees.

    Trees are drawn one after the other from the student's own seed, so the first ones are those of the grown student.
    Records come in the order of the index, which is a random one.
    """
    grows = _grows_by(recipe)
    if grows is not None:
        name, number = grows
        return _with_param(recipe, name, max(1, math.ceil(number * share))), np.arange(len(rows.of))
    seen = np.flatnonzero(rows.of < math.ceil(rows.count * share))
    while len(np.unique(rows.records.y[seen])) < 2 and len(seen) < len(rows.of):
        seen = np.arange(len(seen) + 1)
    return recipe, seen


def fits_a_student(
    recipe: Any, teaching: tuple[int, bool], *, records: int, train_records: float, classes: int, snapshots: bool
) -> float:
    """What one student costs, in fits of its teacher: for predictions.

    Args:
        recipe: of the teacher.
        teaching: epochs, and whether only labels are taught.
        records: that it learns from.
        train_records: that its teacher learnt from.
        classes: at most so many rows stand for a record in a table.
        snapshots: whether every epoch is asked, or the last alone.
    """
    epochs, label_only = teaching
    share = records / train_records
    if isinstance(recipe, Distils):
        passes = getattr(recipe, "passes", None)
        if passes is None:
            passes = recipe.steps * recipe.batch_size / train_records  # type: ignore[attr-defined]
        return share * epochs / float(passes)
    return share * (1 if label_only else classes) * ((epochs + 1) / 2 if snapshots else 1.0)


def _grows_by(recipe: SklearnRecipe) -> tuple[str, int] | None:
    """The parameter by which an ensemble grows, and how far; None where it does not."""
    built = recipe.build()
    name = "max_iter" if type(built).__name__.startswith("HistGradientBoosting") else "n_estimators"
    number = built.get_params(deep=False).get(name)
    return (name, int(number)) if isinstance(number, int) else None


def _with_param(recipe: SklearnRecipe, name: str, value: int) -> SklearnRecipe:
    prototype = recipe.prototype
    if prototype is not None:
        from sklearn.base import clone

        prototype = clone(prototype).set_params(**{name: value})
    return replace(recipe, params={**recipe.params, name: value}, prototype=prototype)
