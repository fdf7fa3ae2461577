"""Many answers about one record as one p-value, and the paper's combination beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """P-values of one record by all its queries.

    ``p_rank``: the sum of standardised signals, by rank among the test references. ``p_tail``: Student's tail of that
    sum. ``p_kost``: Kost's combination of the queries' smoothed p-values. ``score``: -log of the tail, nats.
    """

    p_rank: float
    p_tail: float
    p_kost: float
    score: float


NOTHING = Verdict(p_rank=1.0, p_tail=1.0, p_kost=1.0, score=0.0)  # no query, no evidence


def both_ways(first: Verdict, second: Verdict) -> Verdict:
    """Of two halves of the references, each of which chose the queries that the other one tested: p_1 + p_2.

    - at most u with probability at most u, if this holds of both, however they depend on each other

    A half that found no query to ask says 1, and then so do both.

    >>> some = Verdict(p_rank=0.2, p_tail=0.1, p_kost=0.3, score=2.0)
    >>> both_ways(some, some).p_rank, both_ways(some, NOTHING).p_rank
    (0.4, 1.0)
    """
    from locard.stats import half_swapped

    p = {
        name: float(half_swapped(getattr(first, name), getattr(second, name)))
        for name in ("p_rank", "p_tail", "p_kost")
    }
    return Verdict(**p, score=first.score + second.score)


def verdict(target: Float64[np.ndarray, "queries"], references: Float64[np.ndarray, "references queries"]) -> Verdict:
    """The test of one record.

    - ``p_rank`` is at most u with probability at most u, for this record and these queries and however they depend on
      each other, if the target is exchangeable with these references and they had no part in choosing the queries

    Args:
        target: the label's scaled logit for each query, as the target says it.
        references: the same of two or more test references.

    Source: Long et al. 2018 (arXiv:1802.04889), 4.5, for Kost's combination of p-values of losses.

    Departs: the claim is made by ranks, since Kost's polynomial holds for normal statistics alone.

    >>> verdict(np.array([2.0, 2.0]), np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])).p_rank
    0.25
    """
    from locard.stats import combined_by_permutation, kost, p_pchip, query_correlation
    from locard.stats.tails import log_predictive_tail

    if not len(target):
        return NOTHING
    combined = combined_by_permutation(target, references)
    own, others = np.array([combined.target]), combined.references[:, None]
    log_tail = np.zeros(1)
    if np.ptp(others) > 0:
        spread, count = others.std(axis=0, ddof=1), np.array([len(others)])
        log_tail = log_predictive_tail(own, mean=others.mean(axis=0), spread=spread, count=count)
    loss, losses = np.logaddexp(0.0, -target), np.logaddexp(0.0, -references)
    raw = p_pchip(loss, losses)
    return Verdict(
        p_rank=combined.p,
        p_tail=float(np.exp(log_tail[0])),
        p_kost=kost(raw, query_correlation(losses), floor=1 / (10 * len(losses))),
        score=-float(log_tail[0]),
    )
