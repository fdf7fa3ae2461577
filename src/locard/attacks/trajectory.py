"""The losses of a record while students learn what the target says of other records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64

from locard.attacks.fields import check_fields
from locard.attacks.protocol import Needs, checked
from locard.attacks.stacked import Class, Layers, layers_logit, mean_log_odds, taught, train_layers
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogProbability
from locard.observe.target import Target
from locard.types import Access, Scores

HIDDEN = {"small": (32, 16), "paper": (512, 128, 32)}


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """TrajectoryMIA: the losses of a record under snapshots of a student distilled from the target, and its own loss.

    A student learns the target's answers on records that are in no model, for some epochs (settings ``[distil]``). The
    record's losses under its snapshots tell how hard the record is for a model like the target that never saw it, and
    the target's own loss comes last. Every reference is distilled alike; each trains an attack network on the losses of
    its own members and non-members, and the score is the mean of what these networks say, in log-odds (nats). Besides
    one query a record the target is asked once about every auxiliary record.

    Args:
        network: ``"small"``: hidden layers of 32 and 16; ``"paper"``: of 512, 128 and 32.

    The variance factor is 2.5: the direction is learnt from who was in the references.

    Source: Liu, Zhao, Backes, Zhang 2022 (CCS, arXiv:2208.14933).

    Departs: their released code asks students in training mode, members in one batch and non-members in another; takes
        the softmax twice; and reports the epoch that did best on the target. Here students answer in evaluation mode,
        the loss is taken of logits, and the length of training is fixed. Losses are compressed, log(1 + loss), and
        standardised on each reference's own records. Many references instead of one shadow model; AdamW.
        Where a record has several forms, the first alone is read.
    """

    network: Literal["small", "paper"] = "small"

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1, traces=("distilled",))

    def __post_init__(self) -> None:
        check_fields(self)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, nats."""
        own = features(target.trace("distilled"), target.observe(LogProbability()))
        return mean_log_odds(own, taught(references, self, _of_reference, self._train), layers_logit)

    def _train(self, lessons: Class) -> list[Layers]:
        return train_layers(lessons, HIDDEN[self.network], steps=200, rate=0.01, decay=0.01)


def features(trace: np.ndarray, own: np.ndarray) -> Float64[np.ndarray, "records epochs"]:
    """Compressed losses under each snapshot, then the model's own.

    Args:
        trace: ``float64[records, epochs, metrics]``, the loss first.
        own: ``float64[records, queries]``, the model's log-probability of the true class.
    """
    losses = np.concatenate([trace[:, :, 0], -own[:, :1]], axis=1)
    out: np.ndarray = np.log1p(np.maximum(losses, 0.0))
    return out


def _of_reference(references: References, k: int) -> np.ndarray:
    return features(references.trace_of("distilled", k), references.signal_of(LogProbability(), k))
