"""Whose record is it? The attack of a party of a federation that sees what every party's model answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64, Int64

from locard.attacks.fields import Limits, check_fields
from locard.attacks.learned import Lesson, build_classifier, classifier, teach
from locard.attacks.truex import TYPES
from locard.check import Problems
from locard.errors import DataError
from locard.observe.observations import as_logits
from locard.observe.signals import LogOdds
from locard.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class Insider:
    """Each party trains a model on records of its own; a service answers with the mean, an insider sees every answer.

    The attacker is a party. It knows which records it trained on, and holds some that it kept out; on those it learns
    how a party's answer differs from the mean of the others' where the record is that party's own. Then it asks the
    same of every other party.

    Args:
        attack_model: a type of ``truex``.
        seed: of the attack model.

    Source: Truex, Liu, Gursoy, Yu, Wei 2019 (IEEE TSC, arXiv:1807.09173), insiders in loosely federated systems.

    Departs: the paper says that the attack model sees all answers; here it sees one party's and the mean of the
    others', so that what is learnt on oneself holds for anybody, and for any number of parties. Log-odds instead of
    probabilities.
    """

    attack_model: Literal["tree", "knn", "logistic", "naive_bayes"] = "logistic"
    seed: Annotated[int, Limits(least=0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def score(
        self,
        known: np.ndarray,
        own: np.ndarray,
        asked: np.ndarray,
        *,
        party: int,
    ) -> Float64[np.ndarray, "parties records"]:
        """Log-odds that a record is in each party's training set; -inf for the attacker's own row.

        Args:
            known: probabilities of all parties on the attacker's records ``[parties, known records, classes]``.
            own: ``bool[known records]``: which of these the attacker trained on (the others are in no model).
            asked: probabilities of all parties on the records in question ``[parties, records, classes]``.
            party: the attacker's place.

        Raises:
            DataError: arrays that do not fit together, or too few parties or known records.
        """
        learnt, questions = _odds(known), _odds(asked)
        inside = np.asarray(own)
        self._check(learnt, questions, inside, party)
        lesson = Lesson(_apart(learnt, party), inside.astype(np.bool_), np.zeros(len(inside), dtype=np.int64))
        made = build_classifier(TYPES[self.attack_model], Seed(self.seed).child("insider"))
        model = teach(lesson, 0, classifier(made))
        together = np.zeros(questions.shape[1], dtype=np.int64)
        out = np.full(questions.shape[:2], -np.inf)
        for p in range(len(questions)):
            if p != party:
                out[p] = model(_apart(questions, p), together)
        return out

    def guess(
        self, known: np.ndarray, own: np.ndarray, asked: np.ndarray, *, party: int
    ) -> Int64[np.ndarray, "records"]:
        """The party that each record most likely belongs to, never the attacker; arguments as for ``score``.

        Of parties that score alike the first is named.
        """
        out: np.ndarray = self.score(known, own, asked, party=party).argmax(axis=0)
        return out

    @staticmethod
    def _check(learnt: np.ndarray, questions: np.ndarray, inside: np.ndarray, party: int) -> None:
        problems = Problems()
        if len(learnt) < 3 or len(questions) != len(learnt):
            problems.add(
                f"known, asked: answers of the same 3 or more parties are needed (with two, the record of the other is "
                f"known), found {len(learnt)} and {len(questions)}."
            )
        if learnt.shape[2] != questions.shape[2]:
            problems.add(
                f"known, asked: the same classes are needed, found {learnt.shape[2]} and {questions.shape[2]}."
            )
        if inside.shape != (learnt.shape[1],) or not 4 <= inside.sum() <= len(inside) - 4:
            problems.add(
                f"own: True or False for each of {learnt.shape[1]} known records, at least 4 of each, is needed, found "
                f"shape {inside.shape} with {int(inside.sum())} True."
            )
        if not 0 <= party < len(learnt):
            problems.add(f"party: a place among 0..{len(learnt) - 1} is needed, found {party}.")
        problems.settle(DataError)


def _odds(probabilities: np.ndarray) -> np.ndarray:
    logits = np.maximum(as_logits(None, probabilities, models=True), np.float32(-50))
    nobody = np.zeros(logits.shape[1], dtype=np.int64)
    return np.stack([LogOdds()(z, nobody)[:, 0] for z in logits])


def _apart(odds: np.ndarray, party: int) -> np.ndarray:
    """What one party says, what the others say on average, and the difference."""
    others = np.delete(odds, party, axis=0).mean(axis=0)
    return np.concatenate([odds[party], others, odds[party] - others], axis=1)
