"""What a user's own model answered, as the log-probabilities or logits that are stored; a wrong kind is told."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from locard.errors import SettingsError

AnswerKind = Literal["probabilities", "logits"]
ROUNDING = 1e-4  # how far float32 rounding puts a probability outside [0, 1]: sums of votes, 1 - p
SUM = 1e-3  # by how much the probabilities of a record may miss 1: half precision does
ALIKE = 1e-4  # logits that all lie between 0 and 1, with rows that sum to 1 this closely, are probabilities
ENOUGH = 8  # records from which on that is no accident


def stored_answers(
    said: Any, records: int, seen: np.ndarray, classes: int, *, kind: AnswerKind, where: str = "target.recipe"
) -> np.ndarray:
    """``float32[records, classes]``: natural logarithms of probabilities, or logits as they are.

    - a class that was never seen in training, and for which the model has no column, gets -inf
    - probabilities that are called logits are refused, and logits that are called probabilities

    Args:
        said: what the model answered: ``float[records, classes]``, or one column a class seen in training.
        records: how many were asked about.
        seen: the class numbers in the training records, sorted.
        classes: how many classes the data has.
        kind: what the user says it is.
        where: the setting that named the model.

    Raises:
        SettingsError: another shape, NaN, or another kind of numbers than was said.

    >>> stored_answers([[0.5, 0.5]], 1, np.array([0, 2]), 3, kind="probabilities").round(3).tolist()
    [[-0.6930000185966492, -inf, -0.6930000185966492]]
    """
    values = _numbers(said, where)
    widths = sorted({len(seen), classes})
    if values.ndim != 2 or len(values) != records or values.shape[1] not in widths:
        raise SettingsError(f"{where}: {_shape(values.shape, records, seen, classes)}")
    if np.isnan(values).any() or np.isposinf(values).any():
        count = int((~(np.isfinite(values) | np.isneginf(values))).any(axis=1).sum())
        raise SettingsError(
            f"{where}: numbers are needed from predict(), found NaN or infinite ones for {count:,} of "
            f"{records:,} records. Often the training diverged: lower the learning rate, or scale the features."
        )
    out = np.full((records, classes), -np.inf)
    out[:, seen if values.shape[1] == len(seen) else np.arange(classes)] = (
        _logarithms(values) if kind == "probabilities" else _as_logits(values)
    )
    if np.isneginf(out).all(axis=1).any():
        raise SettingsError(f"{where}: every record needs a class that is possible, found records with none.")
    return out.astype(np.float32)


def _numbers(said: Any, where: str) -> np.ndarray:
    """A plain array, from whatever library."""
    if said is None:
        raise SettingsError(f"{where}: an array of numbers is needed from predict(), found None. Return the answers.")
    if hasattr(said, "detach"):  # a torch tensor may still belong to a graph, or live on another device
        said = said.detach().cpu().double()
    try:
        return np.asarray(said, dtype=np.float64)
    except (TypeError, ValueError) as wrong:
        raise SettingsError(
            f"{where}: an array of numbers is needed from predict(), found a {type(said).__name__} ({wrong}). "
            f"Return float[records, classes]."
        ) from wrong


def _shape(found: tuple[int, ...], records: int, seen: np.ndarray, classes: int) -> str:
    hint = f"Return one row a record and one column a class ({classes}), in the order of the class numbers"
    if classes == 2 and found in ((records,), (records, 1)):
        hint = "For two classes return both columns: numpy.column_stack([1 - p, p])"
    elif len(seen) < classes and len(found) == 2 and found[0] == records:
        hint = (
            f"The training records show {len(seen)} of {classes} classes: take an argument `classes` and return that "
            f"many columns"
        )
    return f"shape {(records, classes)} is needed from predict(), found {found}. {hint}."


def _logarithms(p: np.ndarray) -> np.ndarray:
    low, high = p.min(initial=0), p.max(initial=0)
    if low < -ROUNDING or high > 1 + SUM:
        raise SettingsError(
            f"target.answers: probabilities between 0 and 1 are needed from predict(), found values from {low:g} to "
            f'{high:g}. If these are logits or log-probabilities, set target.answers = "logits".'
        )
    off = np.abs(p.sum(axis=1) - 1)
    if off.size and off.max() > SUM:
        raise SettingsError(
            f"target.answers: probabilities that sum to 1 over the classes are needed from predict(), found a record "
            f"whose sum is {p[off.argmax()].sum():g}. Apply a softmax, or return logits and set target.answers = "
            f'"logits".'
        )
    with np.errstate(divide="ignore"):
        out: np.ndarray = np.log(np.clip(p, 0.0, 1.0))
    return out


def _as_logits(z: np.ndarray) -> np.ndarray:
    if len(z) >= ENOUGH and z.min() >= 0 and z.max() <= 1 and np.abs(z.sum(axis=1) - 1).max() <= ALIKE:
        raise SettingsError(
            'target.answers: logits are needed from predict() (target.answers = "logits"), found values between 0 and '
            "1 that sum to 1 for every record: these are probabilities. Leave target.answers out, or return what comes "
            "before the softmax."
        )
    return z
