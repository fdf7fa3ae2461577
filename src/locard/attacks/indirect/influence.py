"""Which queries a record moves: the references that were taught it against those that were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from locard.observe.signals import ScaledLogit, log_softmax
from locard.train.influence import Influenced

Against = Literal["control", "original"]


@dataclass(frozen=True, eq=False)
class Influence:
    """What a record does to queries: ``float64[queries]``, shares of the references where it raises its label.

    Attributes:
        positive: I(r, q), taught against ``against``.
        control: the control branch against the references as they were: what further training alone does.
        gain: the mean rise of the label's scaled logit, in nats.
        spread: its standard deviation over the references as they were.
    """

    positive: Float64[np.ndarray, "queries"]
    control: Float64[np.ndarray, "queries"]
    gain: Float64[np.ndarray, "queries"]
    spread: Float64[np.ndarray, "queries"]


def influence(taught: Influenced, features: np.ndarray, *, against: Against) -> Influence:
    """Equation 1 of each query: in which share of the references is the label more probable after the lesson?

    Probabilities are compared by their scaled logits, which order them alike and do not pile up at 1.

    Args:
        taught: references that were taught the record.
        features: the queries.
        against: what positive references are compared with.

    Source: Long et al. 2018 (arXiv:1802.04889), Equation 1 and Algorithm 1.

    Departs: against the control branch. The paper compares with the references as they were, and then takes for the
    record's influence also what the further batches did; that is ``against="original"``.
    """
    positive, control, original = (
        signal(said, taught.label)
        for said in (taught.positive(features), taught.control(features), taught.original(features))
    )
    other = control if against == "control" else original
    return Influence(
        positive=(positive > other).mean(axis=0),
        control=(control > original).mean(axis=0),
        gain=(positive - other).mean(axis=0),
        spread=original.std(axis=0),
    )


def signal(
    logits: Float64[np.ndarray, "models queries classes"], label: int, floor: float | None = None
) -> Float64[np.ndarray, "models queries"]:
    """The label's scaled logit, of probabilities that are at least ``floor``."""
    said = logits if floor is None else np.maximum(log_softmax(logits), np.log(floor))
    out: np.ndarray = ScaledLogit()(said, np.full(len(said), label))
    return out
