"""One attack model for all classes, taught by shadows of another data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from locard.attacks.fields import Limits, check_fields
from locard.attacks.learned import mean_log_odds
from locard.attacks.ml_leaks_1 import MLLeaks1
from locard.attacks.protocol import Needs, enough_access
from locard.data.records import Records
from locard.errors import NotEnoughReferences
from locard.observe.references import Population, References
from locard.observe.signals import LogOdds
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class MLLeaks2:
    """ML-Leaks, adversary 2: an attack model taught on another data set. Nothing is known of the target's data.

    As ``ml_leaks_1``, but the shadows are models of the same recipe trained on the data set ``source``; an audit trains
    four of them. In Python, ``score`` takes shadows of any data set as ``references``: their records need not be the
    target's. Of the answers as many of the largest probabilities are read as both have classes.

    Args:
        source: a data set that ``locard data list`` knows; not the audited one.
        top: how many probabilities, the largest first.
        hidden: ReLU units of the attack model.
        steps: of Adam, over all rows at once.
        seed: of the attack model.

    The variance factor is 1: what is learnt is the same for every target, and knows nothing of their records.

    Source: Salem, Zhang, Humbert, Berrang, Fritz, Backes 2019 (NDSS, arXiv:1806.01246), section IV.

    Departs: as ``ml_leaks_1``; an audit trains four shadows.
    """

    source: str = "digits"
    top: Annotated[int, Limits(least=1)] = 3
    hidden: Annotated[int, Limits(least=1)] = 64
    steps: Annotated[int, Limits(least=1)] = 50
    seed: Annotated[int, Limits(least=0)] = 0

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def needs(self) -> Needs:
        """Shadows of the other data set."""
        return Needs(elsewhere=self.source)

    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, log-odds of membership under even odds.

        Raises:
            AccessDenied: the target gives labels only.
            NotEnoughReferences: there is no shadow.
        """
        enough_access(self, target)
        if not len(references):
            raise NotEnoughReferences(
                "MLLeaks2 needs 1 model trained on another data set, found 0. Give its answers as references."
            )
        signal = LogOdds(top=min(self.top, len(records.classes), references.classes))
        answers = target.labelled(records.y).observe(signal).mean(axis=1)
        together = np.zeros(len(records), dtype=np.int64)
        teacher = MLLeaks1(top=self.top, hidden=self.hidden, steps=self.steps, seed=self.seed)
        return mean_log_odds(
            references, (teacher, signal), lambda k: teacher.taught(references, k, signal), answers, together
        )
