"""Five metrics of a record while students learn what the target says of other records, read as a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from locard.attacks.fields import Whole, check_fields
from locard.attacks.protocol import Needs, checked
from locard.attacks.recurrent import Recurrent, recurrent_logit, train_recurrent
from locard.attacks.stacked import SEED, Class, mean_log_odds, taught
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import Metrics
from locard.observe.target import Target
from locard.types import Access, Scores

STEPS, BATCH = 80, 128  # of training an attack network


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """SeqMIA: five metrics of a record under snapshots of a student distilled from the target, in their order.

    Loss, largest probability, spread of the probabilities, entropy and modified entropy, after every epoch in which a
    student learns the target's answers on records that are in no model, and of the target itself last. Every reference
    is distilled alike; each trains a recurrent network with attention on its own members and non-members, and the score
    is the mean of what these networks say, in log-odds (nats). Besides one query a record the target is asked once
    about every auxiliary record.

    Args:
        hidden: width of the network's state (the paper: 50).
        snapshots: at most so many are read, evenly spread, the last among them: each costs time at every reference.
        differences: the changes from one snapshot to the next stand beside the metrics.

    The variance factor is 2.5: the direction is learnt from who was in the references.

    Source: Li, Li, Wu, Hu et al. 2024 (CCS, arXiv:2407.15098).

    Departs: their released code asks students in training mode, member after member and then the others, feeds metrics
        on their own scales, and reads the TPR off a straight line between points. Here students answer in evaluation
        mode, and metrics are standardised on each reference's own records after loss and modified entropy were
        compressed, log(1 + x). Many references instead of one shadow model; a gated recurrent unit instead of an
        LSTM; a narrower state, fewer snapshots, and a fixed number of steps. Where a record has several forms, the
        first alone is read.
    """

    hidden: Whole = 16
    snapshots: Whole = 10
    differences: bool = False

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
        own = self._sequence(target.trace("distilled"), target.observe(Metrics()))
        return mean_log_odds(own, taught(references, self, self._of_reference, self._train), recurrent_logit)

    def _of_reference(self, references: References, k: int) -> np.ndarray:
        return self._sequence(references.trace_of("distilled", k), references.signal_of(Metrics(), k))

    def _sequence(self, trace: np.ndarray, own: np.ndarray) -> Float64[np.ndarray, "records steps metrics"]:
        """Snapshots, then the model itself; every second column block the step from the one before."""
        epochs = trace.shape[1]
        kept = np.unique(np.linspace(epochs, 1, min(self.snapshots, epochs)).round().astype(int)) - 1
        out = np.concatenate([trace[:, kept], own[:, :1]], axis=1)
        for column in (0, 4):  # losses without a bound above
            out[..., column] = np.log1p(np.maximum(out[..., column], 0.0))
        if self.differences:
            out = np.concatenate([out, np.diff(out, axis=1, prepend=out[:, :1])], axis=-1)
        return out

    def _train(self, lessons: Class) -> list[Recurrent]:
        batches = lessons.batches(STEPS, np.random.default_rng(SEED), BATCH)
        return train_recurrent(lessons, batches, hidden=self.hidden, rate=0.01, decay=0.01)
