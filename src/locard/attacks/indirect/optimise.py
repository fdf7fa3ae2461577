"""Queries that the record does not move enough are moved themselves, down the hinge loss, and stay valid."""

from __future__ import annotations

import numpy as np

from locard.attacks.indirect.domain import Domain
from locard.attacks.indirect.influence import Against
from locard.train.influence import Influenced


def optimise(
    queries: np.ndarray, domain: Domain, taught: Influenced, *, against: Against, steps: int, size: float
) -> np.ndarray:
    """Each query at the best place that was passed, ``[queries, ...]``.

    Projected gradient descent on Equation 3: the sum over references of max(0, gamma - rise of the label's
    probability). gamma is the largest mean rise among the queries given, so that each is to become as good as the best
    of them. The target has no part in it.

    Args:
        queries: valid ones.
        domain: what is valid.
        taught: references that were taught the record.
        against: what positive references are compared with.
        steps: of descent.
        size: of the first step, a share of a number's range; later ones shrink in a straight line to a tenth.

    Source: Long et al. 2018 (arXiv:1802.04889), Equations 2 and 3. Departs: it names neither gamma, nor the step, nor
    how queries are kept valid; here numbers are clipped and categories take the level with the highest score.
    """
    gamma = _margin(queries, taught, against)
    points, best = domain.points(queries), queries
    least, gradient = taught.hinge(queries, gamma=gamma, against=against)
    for step in range(steps):
        points = points.moved(gradient, size * (1 - 0.9 * step / max(1, steps - 1)))
        here = points.features()
        loss, gradient = taught.hinge(here, gamma=gamma, against=against)
        better = loss < least
        least = np.where(better, loss, least)
        best = np.where(better.reshape(-1, *(1 for _ in here.shape[1:])), here, best)
    return best


def _margin(queries: np.ndarray, taught: Influenced, against: Against) -> float:
    """The largest mean rise of the label's probability."""
    other = taught.control(queries) if against == "control" else taught.original(queries)
    rise = (_probability(taught.positive(queries), taught.label) - _probability(other, taught.label)).mean(axis=0)
    return max(float(rise.max(initial=0.0)), 1e-6)


def _probability(logits: np.ndarray, label: int) -> np.ndarray:
    from locard.observe.signals import log_softmax

    out: np.ndarray = np.exp(log_softmax(logits)[..., label])
    return out
