"""How the loss of a record fell while the model was trained, beside models that were trained without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64

from locard.attacks.fields import Share, check_fields
from locard.attacks.protocol import Needs, checked
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.references import Population, References
from locard.observe.signals import Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class LossTrace:
    """The owner's attack: what a record's losses over training say, minus the mean of that over OUT references.

    The score is the difference. Only the owner can run it, who sees the training loop of the target and of the
    references; it says how much an insider, or whoever obtains the training log, learns.

    Args:
        statistic: what is read off the losses after each epoch. ``"probability"``: the mean of exp(-loss), for
            cross-entropy the label's probability. ``"loss"``: minus their mean, the area above the learning curve.
            ``"final"``: minus the last one, which is what ``calibrated`` sees without the loop. ``"range"``: between
            two quantiles over epochs, LT-IQR.
        low: the lower quantile of ``"range"``.
        high: the upper one.

    The variance factor is 1.5: OUT references only.

    Source: Pollock, Shilov, Dodd, de Montjoye 2024 (USENIX Security 2025, arXiv:2411.05743), for losses over training
        and their range.

    Departs: the paper's range is no membership attack: it tells, without any reference, which of the target's *members*
        are vulnerable, and that is what the screen ``loss_trace`` does. Members and non-members are told apart here by
        taking away what models show that never saw the record. The range is large for a member that is hard to learn,
        and as large for a non-member whose loss rises. Of the others the probability did best on the digits, where it
        was chosen; it is the only one in which no hard record outweighs all others.
    """

    statistic: Literal["probability", "loss", "final", "range"] = "probability"
    low: Share = 0.25
    high: Share = 0.75

    access: ClassVar[Access] = Access.TRAINING
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.5
    needs: ClassVar[Needs] = Needs(outside=1, traces=("training",))
    reads: ClassVar[tuple[Signal, ...]] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.low < self.high:
            raise SettingsError(
                f"attack loss_trace.low: a quantile below high = {self.high:g} is needed, found {self.low:g}. Mend it."
            )

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
        """``float64[records]``: probabilities, or nats where losses are read."""
        total = np.zeros(len(records))
        for k in references:
            total += np.where(references.outside_of(k), self._of_reference(references, k), 0.0)
        out: Scores = self._read(target.trace("training")) - total / references.outside_count
        return out

    def _of_reference(self, references: References, k: int) -> Float64[np.ndarray, "records"]:
        return references.memo(self, k, lambda: self._read(references.trace_of("training", k)), uses_membership=False)

    def _read(self, trace: Float64[np.ndarray, "records epochs metrics"]) -> Float64[np.ndarray, "records"]:
        losses = trace[:, :, 0]
        if self.statistic == "range":
            low, high = np.quantile(losses, [self.low, self.high], axis=1)
            width: np.ndarray = high - low
            return width
        if self.statistic == "probability":
            mean: np.ndarray = np.exp(-np.maximum(losses, 0.0)).mean(axis=1)
            return mean
        out: np.ndarray = -losses[:, -1] if self.statistic == "final" else -losses.mean(axis=1)
        return out
