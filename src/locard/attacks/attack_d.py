"""Where the target's answer stands among the answers of students that learnt from the target itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from locard.attacks.attack_r import gaussian_odds, odds_among
from locard.attacks.fields import check_fields
from locard.attacks.protocol import Needs, checked
from locard.data.records import Records
from locard.observe.references import Moments, Population, References
from locard.observe.signals import LogLoss, ScaledLogit
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class AttackD:
    """Attack D: attack R among models that were distilled from the target.

    Each of several students learns the target's answers on its own part of records that are in no model (settings
    ``[distil]``: ``students``, ``records``), and so knows what the target knows in general and not what it knows of its
    members alone. With F the share of the students' losses below the target's, the score is log((1 - F) / F). No
    reference model is needed; besides one query a record the target is asked once about every auxiliary record.

    Args:
        smoothing: ``"gaussian"``: F is a normal tail of the scaled logit with the record's mean and variance over
            students. ``"linear"``: F interpolates the students' losses.

    The variance factor is 1: nothing is shared between targets.

    Source: Ye et al. 2022 (CCS, arXiv:2111.09679), attack D.

    Departs: as for attack R; gaussian by default, because students are few; they learn for a fixed number of epochs.
        Where a record has several forms, the first alone is compared.
    """

    smoothing: Literal["linear", "gaussian"] = "gaussian"

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs(traces=("students",))

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
        """``float64[records]``, log-odds."""
        students = target.trace("students")[:, :, 0]  # scaled logits, float64[records, students]
        count = np.full(len(students), students.shape[1])
        if self.smoothing == "gaussian":
            middle = students.mean(axis=1, keepdims=True)
            squares = ((students - middle) ** 2).sum(axis=1, keepdims=True)
            return gaussian_odds(target.observe(ScaledLogit())[:, :1], Moments(count, middle, squares))[:, 0]
        everyone = np.ones((len(students), 1), dtype=np.bool_)
        others = ((LogLoss().of(s)[:, None], everyone) for s in students.T)
        return odds_among(target.observe(LogLoss())[:, :1], others, count[:, None])[:, 0]
