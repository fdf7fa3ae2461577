"""Records that models which never saw them disagree about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from locard.observe.signals import LogProbability
from locard.screen.evidence import Evidence, Observed
from locard.screen.protocol import Reads, Valued


@dataclass(frozen=True, kw_only=True)
class ReferenceSpread:
    """The standard deviation of a record's loss over references that do not hold it, in nats.

    References differ by their training records and their randomness. Where they disagree, few records decide the
    answer, and the record itself would be one of them. Over several queries: the root of the mean variance.

    Source: ours, after Feldman and Zhang 2020 (NeurIPS, arXiv:2008.03703): what few records decide is memorised.

    Departs: the loss, not its logit. On MNIST, Adult and Fashion-MNIST networks the 50 records of largest spread of
    the loss had a mean effect of 2.3 standard deviations, those of largest spread of the scaled logit 1.5: the logit
    spreads most where models are sure and right.
    """

    reads: ClassVar[Reads] = "losses"
    references: ClassVar[int] = 2

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, nats.

        Raises:
            NotEnoughReferences: a record has too few OUT references.
        """
        evidence.candidates.need_outside(2, "reference_spread")
        spread = loss_spread(evidence.candidates)
        return Valued(
            spread,
            {"spread": spread, "references": evidence.candidates.references.outside_count},
            words="losses of {references} references that never saw it spread by {spread:.3g} nats",
        )


def loss_spread(seen: Observed) -> Float64[np.ndarray, "records"]:
    """The standard deviation (n - 1) of the loss over OUT references, nats; NaN where there are fewer than two."""
    moments = seen.references.moments(LogProbability(), inside=False)
    degrees = np.where(moments.count > 1, moments.count - 1.0, np.nan)
    variance = moments.squares / degrees[:, None]
    out: np.ndarray = np.sqrt(variance.mean(axis=-1))
    return out
