"""A scikit-learn classifier of any of four types, taught by shadows of any type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from locard.attacks.fields import Limits, check_fields
from locard.attacks.learned import AttackModel, Lesson, build_classifier, classifier, mean_log_odds, rows_of, teach
from locard.attacks.protocol import Needs, checked
from locard.data.records import Records
from locard.observe.references import Population, References
from locard.observe.signals import LogOdds
from locard.observe.target import Target
from locard.seeds import Seed
from locard.types import Access, Scores

TYPES = {
    "tree": "sklearn.tree.DecisionTreeClassifier",
    "knn": "sklearn.neighbors.KNeighborsClassifier",
    "logistic": "sklearn.linear_model.LogisticRegression",
    "naive_bayes": "sklearn.naive_bayes.GaussianNB",
}


@dataclass(frozen=True, kw_only=True)
class Truex:
    """Target, shadows and attack model each of a type of their own: which of them matters?

    References are the generators of attack data; they may be of another type than the target (give their outputs).
    Each teaches one attack model of type ``attack_model`` on the whole answer; the score is the mean over references
    of its calibrated log-odds of membership.

    Args:
        attack_model: ``"tree"``, ``"knn"``, ``"logistic"`` or ``"naive_bayes"``.
        label: whether the attack model also sees the record's true class.
        seed: of the attack models.

    The variance factor is 2.5: what members look like is learnt from the references' membership.

    Source: Truex, Liu, Gursoy, Yu, Wei 2019 (IEEE TSC, arXiv:1807.09173); ``locard.attacks.insider`` has their
    attack by a party of a federation, examples/truex_grid.py the grid of types.

    Departs: each reference teaches an attack model of its own, and their log-odds are averaged; the attack model sees
    log-odds instead of probabilities; members and non-members weigh the same. Queries are averaged.
    """

    attack_model: Literal["tree", "knn", "logistic", "naive_bayes"] = "tree"
    label: bool = False
    seed: Annotated[int, Limits(least=0)] = 0

    access: ClassVar[Access] = Access.PROBABILITIES
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1, anywhere=True)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def discrete(self) -> bool:
        """True for trees and neighbours, which answer with few values."""
        return self.attack_model in ("tree", "knn")

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
        answers = self._shown(target.observe(LogOdds()).mean(axis=1), records.y)
        together = np.zeros(len(records), dtype=np.int64)
        return mean_log_odds(references, self, lambda k: self._taught(references, k), answers, together)

    def _taught(self, references: References, k: int) -> AttackModel:
        rows = rows_of(references, k, LogOdds(), references.y)
        lesson = Lesson(self._shown(rows.x, rows.group), rows.inside, rows.group)
        return teach(lesson, 0, classifier(self.build()))

    def build(self) -> Any:
        """The attack model, not fitted."""
        return build_classifier(TYPES[self.attack_model], Seed(self.seed).child("truex"))

    def _shown(self, odds: np.ndarray, y: np.ndarray) -> np.ndarray:
        if not self.label:
            return odds
        return np.concatenate([odds, np.eye(odds.shape[1])[y]], axis=1)
