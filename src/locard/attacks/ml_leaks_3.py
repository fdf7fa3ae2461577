"""How sure the answer is, whatever it says: no label, no shadow, no training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from locard.attacks.fields import check_fields
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.errors import DataError, SettingsError
from locard.observe.references import Population, References
from locard.observe.signals import Entropy, LogOdds, Posteriors, Signal
from locard.observe.target import Target
from locard.types import Access, Membership, Scores


@dataclass(frozen=True, kw_only=True)
class MLLeaks3:
    """ML-Leaks, adversary 3: a sure answer suggests membership. Neither labels nor references are used.

    The score is the log-odds of the largest probability, or minus the entropy, or the standard deviation of the
    probabilities; the mean over queries.

    Args:
        statistic: ``"max"``, ``"entropy"`` or ``"spread"``.

    Source: Salem, Zhang, Humbert, Berrang, Fritz, Backes 2019 (NDSS, arXiv:1806.01246), section V.

    Departs: log-odds instead of the probability itself, which orders records in the same way and keeps those apart
    whose probability rounds to 1. ``claims`` is the paper's decision by random points.
    """

    statistic: Literal["max", "entropy", "spread"] = "max"

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def reads(self) -> tuple[Signal, ...] | None:
        """One number an answer; the spread is taken over whole answers."""
        read: dict[str, tuple[Signal, ...]] = {"max": (LogOdds(top=1),), "entropy": (Entropy(),)}
        return read.get(self.statistic)

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
        """``float64[records]``: log-odds, nats, or a standard deviation."""
        if self.statistic == "max":
            return over_queries(target.observe(LogOdds(top=1))[..., 0])
        if self.statistic == "entropy":
            return -over_queries(target.observe(Entropy()))
        return over_queries(target.observe(Posteriors()).std(axis=-1))

    def claims(
        self, target: Target, records: np.ndarray, random_points: np.ndarray, *, share: float = 0.1
    ) -> Membership:
        """Who is called a member: answers at least as sure as the surest ``share`` of answers to random points.

        The target is asked about both. Random points tell what the model says where it has learnt nothing; nothing is
        promised about how many non-members are called members.

        Args:
            target: a live model.
            records: features of the candidates ``[records, ...]``.
            random_points: features drawn at random ``[points, ...]``; the paper takes 1,000.
            share: the paper's t, 10 %.

        Raises:
            SettingsError: a share outside (0, 1), or no random points.
            AccessDenied: the target cannot be asked new questions.
        """
        if not 0 < share < 1 or not len(random_points):
            raise SettingsError(
                f"ml_leaks_3: a share between 0 and 1 and at least one random point are needed, found {share} and "
                f"{len(random_points)}. The paper takes 0.1 and 1,000."
            )
        unsure = np.sort(self._of(target.query(random_points)))[::-1]
        out: Membership = self._of(target.query(records)) >= unsure[max(0, int(np.ceil(share * len(unsure))) - 1)]
        return out

    def _of(self, probabilities: np.ndarray) -> np.ndarray:
        if probabilities.ndim != 2 or probabilities.shape[1] < 2:
            raise DataError(f"query: probabilities [rows, classes] are needed, found shape {probabilities.shape}.")
        with np.errstate(divide="ignore"):
            logits = np.log(probabilities)[:, None]
        nobody = np.zeros(len(probabilities), dtype=np.int64)
        if self.statistic == "max":
            return LogOdds(top=1)(logits, nobody)[:, 0, 0]
        if self.statistic == "entropy":
            return -Entropy()(logits, nobody)[:, 0]
        out: np.ndarray = probabilities.std(axis=-1)
        return out
