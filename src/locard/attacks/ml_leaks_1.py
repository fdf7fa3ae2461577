"""One attack model for all classes, taught by a shadow's largest probabilities; no label is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from locard.attacks.fields import Limits, check_fields
from locard.attacks.learned import AttackModel, mean_log_odds, network, rows_of, teach
from locard.attacks.protocol import Needs, checked
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogOdds
from locard.observe.target import Target
from locard.seeds import Seed
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class MLLeaks1:
    """ML-Leaks, adversary 1: how large the few largest probabilities are, whatever classes they belong to.

    Every reference is a shadow model and teaches one attack model for all classes. The score is the mean over shadows
    of its calibrated log-odds of membership for the target's answer. The label of the record is not used.

    Shadows of several types on the same split (the paper's combining attack) are references like others: give those
    of all types together.

    Args:
        top: how many probabilities, the largest first; two where there are two classes.
        hidden: ReLU units of the attack model.
        steps: of Adam, over all rows at once.
        seed: of the attack models.

    The variance factor is 2.5: what members look like is learnt from the references' membership.

    Source: Salem, Zhang, Humbert, Berrang, Fritz, Backes 2019 (NDSS, arXiv:1806.01246), section III.

    Departs: the paper has one shadow; where there are more, each teaches an attack model and the log-odds are averaged.
    The network sees log-odds instead of probabilities, so that answers of nearly 1 stay apart. The attack learns from
    shadows and is asked about the target, as in the paper; the published code has it the other way round.
    """

    top: Annotated[int, Limits(least=1)] = 3
    hidden: Annotated[int, Limits(least=1)] = 64
    steps: Annotated[int, Limits(least=1)] = 50
    seed: Annotated[int, Limits(least=0)] = 0

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1, anywhere=True)

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
        """``float64[records]``, log-odds of membership under even odds."""
        signal = LogOdds(top=min(self.top, len(records.classes)))
        answers, together = target.observe(signal).mean(axis=1), np.zeros(len(records), dtype=np.int64)
        return mean_log_odds(
            references, (self, signal), lambda k: self.taught(references, k, signal), answers, together
        )

    def taught(self, references: References, k: int, signal: LogOdds) -> AttackModel:
        """The attack model that shadow ``k`` (position in this view) teaches."""
        fit = network(self.hidden, self.steps, Seed(self.seed).child("ml_leaks"))
        return teach(rows_of(references, k, signal, np.zeros(references.records, dtype=np.int64)), 0, fit)
