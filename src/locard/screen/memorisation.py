"""Records that models answer right because they were trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from locard.errors import NotEnoughReferences
from locard.observe.signals import Probability
from locard.screen.evidence import Evidence
from locard.screen.protocol import Reads, Valued


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Mean probability of the true label under references that hold the record minus that under those that do not.

    The owner's screen: an outsider has no references that hold the target's records. It is not a membership attack,
    because it looks at no target: it says how much an attack could find.

    Source: Feldman and Zhang 2020 (NeurIPS, arXiv:2008.03703).

    Departs: probability instead of accuracy, so that few references give fewer ties.
    """

    reads: ClassVar[Reads] = "losses"
    references: ClassVar[int] = 1

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, a difference of probabilities.

        Raises:
            NotEnoughReferences: a record has no screening reference on one of the sides.
        """
        evidence.candidates.need_outside(1, "memorisation")
        references = evidence.candidates.references
        short = np.flatnonzero(references.inside_count < 1)
        if len(short):
            raise NotEnoughReferences(
                f"screen memorisation: a screening reference trained with each record is needed, but {len(short)} of "
                f"{references.records} records have none (record "
                f"{evidence.candidates.records.ids.tolist()[int(short[0])]!r}). Train more references, or choose "
                f"another screen (plan 'out_only' has none)."
            )
        inside, outside = (references.mean(Probability(), inside=side).mean(axis=-1) for side in (True, False))
        value = inside - outside
        return Valued(
            value,
            {"gain": value, "with_it": inside, "without_it": outside},
            words="its label gets {with_it:.3g} from models trained on it and {without_it:.3g} from the others",
        )
