"""Attack models, one a class, that learnt on shadow models what answers to members look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from locard.attacks.fields import Limits, check_fields
from locard.attacks.learned import AttackModel, build_classifier, classifier, mean_log_odds, network, rows_of, teach
from locard.attacks.protocol import Needs, checked
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogOdds
from locard.observe.target import Target
from locard.seeds import Seed
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Shadow models: a classifier for each class, taught by models whose members are known, judges the whole answer.

    Every reference is a shadow model. The score is the mean over shadows of the log-odds of membership that their
    attack models give the target's answer, each calibrated on rows of its shadow that it was not fitted on, so that
    classes can be pooled. A class with fewer than 12 members or non-members in a shadow takes the shadow's attack
    model for all classes.

    In Python, references may also be models of other records of the same classes (``locard.attacks.shadow_data`` makes
    such records), with their answers to those.

    Args:
        classifier: ``"network"`` (one hidden layer), or the import path of a scikit-learn classifier.
        hidden: ReLU units of the network.
        steps: of Adam, over all rows at once.
        seed: of the attack models.

    The variance factor is 2.5: what members look like is learnt from the references' membership.

    Source: Shokri, Stronati, Song, Shmatikov 2017 (S&P, arXiv:1610.05820), sections V and VI; 64 units as there.

    Departs: each shadow teaches attack models of its own, whose calibrated log-odds are averaged, instead of one that
    learns from the rows of all; the network sees log-odds instead of probabilities; scores of classes are calibrated
    to each other. At most 400 members and 400 non-members of a class and shadow are used. Queries are averaged.
    """

    classifier: str = "network"
    hidden: Annotated[int, Limits(least=1)] = 64
    steps: Annotated[int, Limits(least=1)] = 50
    seed: Annotated[int, Limits(least=0)] = 0

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1, anywhere=True)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.classifier != "network":
            build_classifier(self.classifier, Seed(self.seed))

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
        answers = target.observe(LogOdds()).mean(axis=1)
        return mean_log_odds(references, self, lambda k: self._taught(references, k), answers, records.y)

    def _taught(self, references: References, k: int) -> AttackModel:
        seed = Seed(self.seed).child("shadow")
        fit = (
            network(self.hidden, self.steps, seed)
            if self.classifier == "network"
            else classifier(build_classifier(self.classifier, seed))
        )
        return teach(rows_of(references, k, LogOdds(), references.y), references.classes, fit)
