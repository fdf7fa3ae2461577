"""What came out for each record, and the claims that are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from locard.attacks.claiming import Evidence, make_claims
from locard.attacks.indirect.chain import BothWays, Questions
from locard.attacks.indirect.combine import Verdict
from locard.data.records import Records
from locard.types import Claims, Membership

PROMISES = {
    "p_raw": "Kost's combination of the queries' smoothed p-values, as in the paper. Not calibrated, and not valid in "
    "general: it holds for normal statistics alone.",
}
SWAPPED = {
    "p_rank": "Two halves of the references, each of which chose the queries that the other tested: the sum of both "
    "ranks' p-values. For this record at most u with probability at most u, if the target was made like its references "
    "and none of them had a part in choosing the record. Never below 1/(k + 1) of both halves, added up.",
    "p_tail": "The sum of both halves' p-values by a model of the tail.",
}


@dataclass(frozen=True, eq=False)
class Found:
    """One record: what was asked, what came out, ``queries`` spent on it, and ``seconds`` in all."""

    questions: Questions | BothWays
    verdict: Verdict
    queries: int
    seconds: float


@dataclass(frozen=True, eq=False)
class IndirectClaims:
    """``claims``, and behind them what was ``found`` of each tested record, and of each calibration record."""

    claims: Claims
    found: Sequence[Found]
    calibration: Sequence[Found] = ()

    def columns(self) -> dict[str, np.ndarray]:
        """One row a tested record: what was done for it and what came out, by name."""
        q = [f.questions for f in self.found]
        rows = np.flatnonzero(self.claims.tested)
        return {
            "id": self.claims.ids[rows],
            "p_rank": self.claims.p_rank[rows],
            "p_tail": self.claims.p_tail[rows],
            "p_kost": self.claims.p_raw[rows],
            "p_cal": self.claims.p_cal[rows],
            "claimed": self.claims.claimed[rows],
            "accepted": np.array([len(x) for x in q], dtype=np.int64),
            "optimised": np.array([x.optimised for x in q], dtype=np.int64),
            "queries": np.array([f.queries for f in self.found], dtype=np.int64),
            "influence": np.array([_mean(x.influence) for x in q]),
            "influence_control": np.array([_mean(x.control) for x in q]),
            "distance": np.array([float(x.distance.min(initial=np.inf)) for x in q]),
            "nearest_reference": np.array([x.nearest for x in q]),
            "seconds": np.array([f.seconds for f in self.found]),
        }

    def __repr__(self) -> str:
        asked = sum(f.queries for f in [*self.found, *self.calibration])
        return f"IndirectClaims({self.claims!r}, {asked} queries, none of a record itself)"


def claims_of(
    records: Records,
    tested: Membership,
    mine: Sequence[Found],
    others: Sequence[Found],
    *,
    among: Membership,
    fdr: float,
    screened: bool,
) -> Claims:
    """Claims at a false discovery rate, of what was found of the tested records.

    Args:
        records: all of them.
        tested: which of them ``mine`` are.
        mine: one a tested record, in order.
        others: calibration records that are no candidates.
        among: bool[records], tested records that are known non-members.
        fdr: false discovery rate.
        screened: whether a screen selected them.
    """

    def column(name: str) -> np.ndarray:
        out = np.full(len(records), np.nan)
        out[tested] = [getattr(f.verdict, name) for f in mine]
        return out

    count = np.zeros(len(records), dtype=np.int64)
    count[tested] = [f.questions.references for f in mine]
    claims = make_claims(
        records,
        Evidence(
            tested=tested,
            score=column("score"),
            p_rank=column("p_rank"),
            p_tail=column("p_tail"),
            p_raw=column("p_kost"),
            references=count,
        ),
        fdr=fdr,
        held_out=np.array([f.verdict.score for f in others]),
        among=among,
        screened=screened,
    )
    swapped = any(isinstance(f.questions, BothWays) for f in mine)
    return replace(claims, promises={**claims.promises, **PROMISES, **(SWAPPED if swapped else {})})


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
