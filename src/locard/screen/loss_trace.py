"""Records whose loss moves most while models learn them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from locard.errors import AccessDenied, DataError, NotEnoughReferences
from locard.fields import Limits, check_fields
from locard.observe.traces import Traces
from locard.screen.evidence import Evidence
from locard.screen.protocol import Reads, Valued

Level = Annotated[float, Limits(least=0.0, most=1.0)]


@dataclass(frozen=True, kw_only=True)
class LossTrace:
    """LT-IQR: the range between two quantiles of a record's loss over the epochs of training, averaged over models.

    The owner's screen: it needs losses from inside the training loop of the references.

    Args:
        low: the lower quantile.
        high: the upper one.
        side: which references count for a record: ``"in"``, those trained on it; ``"out"``, the others; ``"both"``.

    Source: Pollock, Shilov, Dodd, de Montjoye 2024 (USENIX Security 2025, arXiv:2411.05743).

    Departs: the traces of several references instead of the audited model's own, so that the audited model is not
    touched; with one model that holds every record it is the paper's value.
    """

    low: Level = 0.25
    high: Level = 0.75
    side: Literal["in", "out", "both"] = "in"

    reads: ClassVar[Reads] = "loss traces"
    references: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, nats.

        Raises:
            AccessDenied: there are no traces.
            NotEnoughReferences: a record has no reference on the wanted side.
            DataError: a loss is not a number.
        """
        traces = evidence.traces
        if not isinstance(traces, Traces):
            raise AccessDenied(
                "screen loss_trace: losses from the training loop of the references are needed, but there are none: "
                "only recipes that train here epoch by epoch can give them. Choose another screen."
            )
        references, records = evidence.candidates.references, evidence.candidates.records
        total, count = np.zeros(len(records)), np.zeros(len(records), dtype=np.int64)
        for k in references:
            losses = traces.read(k).astype(np.float64)
            if np.isnan(losses).any():
                row = int(np.argwhere(np.isnan(losses))[0, 0])
                raise DataError(
                    f"traces: losses that are numbers are needed, found NaN (model {int(references.models[k])}, record "
                    f"{records.ids.tolist()[row]!r}). Mend the training that made them."
                )
            width = np.quantile(losses, self.high, axis=1) - np.quantile(losses, self.low, axis=1)
            counts = {"in": references.inside_of(k), "out": references.outside_of(k)}.get(self.side, True)
            total += np.where(counts, width, 0.0)
            count += counts
        if (count == 0).any():
            where = int(np.flatnonzero(count == 0)[0])
            raise NotEnoughReferences(
                f"screen loss_trace: a reference on side {self.side!r} of each record is needed, but "
                f"{int((count == 0).sum())} records have none (record {records.ids.tolist()[where]!r}). Set side."
            )
        value = total / count
        return Valued(
            value,
            {"range": value, "references": count},
            words="the loss moves by {range:.3g} nats between its quantiles over training, in {references} references",
        )
