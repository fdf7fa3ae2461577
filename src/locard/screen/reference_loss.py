"""Records that models which never saw them get most wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from locard.observe.signals import LogProbability
from locard.screen.evidence import Evidence, Observed
from locard.screen.protocol import Reads, Valued


@dataclass(frozen=True, kw_only=True)
class ReferenceLoss:
    """The mean loss of a record under references that do not hold it, in nats; the mean over queries.

    What is hard to predict without the record leaves the most for training on it to change. It is also the control that
    tells whether neighbours find more than hard records.

    Source: a control of ours for Long et al. 2018 (arXiv:1802.04889), whose selected records are often misread by the
    references (their figure 12).
    """

    reads: ClassVar[Reads] = "losses"
    references: ClassVar[int] = 1

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, nats.

        Raises:
            NotEnoughReferences: a record has too few OUT references.
        """
        evidence.candidates.need_outside(1, "reference_loss")
        loss = mean_loss(evidence.candidates)
        return Valued(
            loss,
            {"mean_loss": loss, "references": evidence.candidates.references.outside_count},
            words="mean loss {mean_loss:.3g} nats under {references} references that never saw it",
        )


def mean_loss(seen: Observed) -> Float64[np.ndarray, "records"]:
    """The mean loss over OUT references and queries, nats; NaN where there is none."""
    out: np.ndarray = -seen.references.mean(LogProbability(), inside=False).mean(axis=-1)
    return out
