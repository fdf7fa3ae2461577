"""Is the attacked model made like its references? Compared by what all of them say of records that are in none."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from locard.errors import DataError
from locard.observe.signals import log_softmax
from locard.result import ControlPart, Number
from locard.types import Estimate

LEVEL = 0.05
STATISTICS = ("mean loss", "spread of the loss", "mean confidence", "accuracy", "distance from the mean answer")


def answers_alike(
    target: Float64[np.ndarray, "records classes"],
    references: Float64[np.ndarray, "models records classes"],
    y: Int64[np.ndarray, "records"],
) -> ControlPart:
    """Whether the target could be one more reference, by its answers on records that none of them was trained on.

    Five numbers of each model (``STATISTICS``), each as its distance from the median of all models, target included, in
    units of the median distance; a model's distance is its largest one. The p-value is the share of models, the target
    among them, that are as far out: at most u with probability at most u where target and references are made alike.
    [E: the models are exchangeable]

    - it speaks of recipe, training size and population together, and does not say which of them differs
    - not judged below 19 references: no p-value can then be below .05

    Args:
        target: logits, or logarithms of probabilities.
        references: the same of each reference.
        y: true classes.

    Raises:
        DataError: shapes that differ, or no records.

    >>> rng = np.random.default_rng(0)
    >>> z, y = rng.normal(size=(40, 300, 2)), rng.integers(2, size=300)
    >>> answers_alike(z[0], z[1:], y).passed, answers_alike(3 * z[0], z[1:], y).passed
    (True, False)
    """
    if target.shape != references.shape[1:] or target.shape[:1] != y.shape or not len(y):
        raise DataError(
            f"answers: logits of one shape [records, classes] are needed of target and references, with a class for "
            f"each record, found {target.shape}, {references.shape[1:]} and {y.shape}."
        )
    said = log_softmax(np.stack([target, *references]).astype(np.float64))
    middle = said.mean(axis=0)
    numbers = np.stack([_numbers(one, middle, y) for one in said])
    apart = np.abs(numbers - np.median(numbers, axis=0))
    usual = np.median(apart, axis=0)  # not the standard deviation: one wild reference would hide the target
    apart /= np.where(usual > 0, usual, 1.0)
    distance = apart.max(axis=1)
    count = len(references)
    p = float((1 + (distance[1:] >= distance[0] * (1 - 1e-12)).sum()) / (count + 1))
    furthest = STATISTICS[int(apart[0].argmax())]
    judged = 1 / (count + 1) <= LEVEL
    return ControlPart(
        name="target and references answer alike",
        description=(
            f"{', '.join(STATISTICS)} on {len(y):,} records that are in no model, of the target and of {count} "
            f"references. The target stands out most in {furthest}. A small p says that the guess at recipe, training "
            f"size or population is wrong: p_rank and p_tail then promise nothing, p_cal still holds."
        ),
        statistic="distance from the median model, in median distances",
        value=Number.of(_counted(distance)),
        expected=f"p above {LEVEL:g}" if judged else f"not judged: {count} references, 19 are needed",
        passed=p > LEVEL if judged else None,
        p=p,
    )


def _numbers(said: np.ndarray, middle: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "statistics"]:
    loss = -said[np.arange(len(y)), y]
    right = said.argmax(axis=1) == y
    apart = np.abs(np.exp(said) - np.exp(middle)).mean()
    return np.array([loss.mean(), loss.std(), np.exp(said.max(axis=1)).mean(), right.mean(), apart])


def _counted(distance: np.ndarray) -> Estimate:
    """The target's distance, beside the smallest and largest of all models."""
    return Estimate(
        value=float(distance[0]),
        low=float(distance.min()),
        high=float(distance.max()),
        confidence=1.0,
        method="counted: smallest and largest of all models",
        n=len(distance),
    )
