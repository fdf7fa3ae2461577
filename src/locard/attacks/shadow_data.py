"""Records for shadow models where the attacker has none: climbed to, drawn from marginals, or real ones with noise.

Source: Shokri, Stronati, Song, Shmatikov 2017 (S&P, arXiv:1610.05820), section V-C; the numbers of the climb
are theirs for 600 binary features, here as shares of the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int64

from locard.attacks.fields import Limits, Share, check_fields
from locard.attacks.indirect.domain import Domain
from locard.attacks.indirect.generate import generate, uniform
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.target import Target


@dataclass(frozen=True, eq=False)
class Synthetic:
    """``features [records, ...]``, the class of each, and how many questions the target was asked."""

    features: np.ndarray
    y: Int64[np.ndarray, "records"]
    queries: int


@dataclass(frozen=True, kw_only=True)
class ModelBased:
    """Hill climbing: change features at random, keep what makes the target surer of the class, accept what is sure.

    Args:
        most, least: the largest and smallest share of features that is changed at once; halved after ``rejected``
            changes in a row that did not help.
        rejected: the paper's rej_max.
        sure: the smallest probability of an accepted record (its conf_min); it is accepted with that probability.
        tries: questions for one record, after which it is given up.
    """

    most: Annotated[float, Limits(above=0.0, most=1.0)] = 128 / 600
    least: Annotated[float, Limits(above=0.0, most=1.0)] = 4 / 600
    rejected: Annotated[int, Limits(least=1)] = 10
    sure: Share = 0.2
    tries: Annotated[int, Limits(least=1)] = 1000

    def __post_init__(self) -> None:
        check_fields(self)

    def make(self, target: Target, domain: Domain, count: int, classes: int, rng: np.random.Generator) -> Synthetic:
        """``count`` records, classes in turn; fewer where a class was given up ``tries`` times in a row.

        All records climb side by side, so that the target is asked in batches; the questions of each are its own.

        Args:
            target: a live model that gives probabilities.
            domain: what a valid record is.
            count: how many records.
            classes: how many classes the target has.
            rng: draws them.

        Raises:
            AccessDenied, QueryBudgetSpent: the target cannot be asked, or no more.
        """
        wanted = np.arange(count, dtype=np.int64) % classes
        done = np.zeros(count, dtype=np.bool_)
        width = len(domain.levels)
        highest = max(1, round(self.most * width))
        lowest = max(1, round(self.least * width))
        x = uniform(domain, count, rng)
        best, sure = x.copy(), np.zeros(count)
        size, failed = np.full(count, highest), np.zeros(count, dtype=np.int64)
        asked = 0
        for _ in range(self.tries):
            left = np.flatnonzero(~done)
            if not len(left):
                break
            p = target.query(domain.shaped(x[left]))
            asked += len(left)
            own = p[np.arange(len(left)), wanted[left]]
            better = own >= sure[left]
            ready = better & (own > self.sure) & (p.argmax(axis=1) == wanted[left])
            accepted = ready & (rng.random(len(left)) < own)
            best[left[better]], sure[left[better]] = x[left[better]], own[better]
            failed[left] = np.where(better, 0, failed[left] + 1)
            tired = left[failed[left] > self.rejected]
            size[tired], failed[tired] = np.maximum(lowest, -(-size[tired] // 2)), 0
            done[left[accepted]] = True
            again = left[~accepted]
            x[again] = _changed(best[again], size[again], domain, rng)
        return Synthetic(domain.shaped(best[done]), wanted[done], asked)


def from_marginals(
    reference: Records, domain: Domain, target: Target, count: int, rng: np.random.Generator
) -> Synthetic:
    """Statistics-based: each feature drawn from its own marginal; the target says the class, one question a record.

    Args:
        reference: records whose marginals are known.
        domain: what a valid record is.
        target: a live model that gives probabilities.
        count: how many records.
        rng: draws them.
    """
    x = generate("mixed", reference.features[:1], reference, domain, count=count, keep=0.0, noise=0.0, rng=rng)
    return Synthetic(x, target.query(x).argmax(axis=1).astype(np.int64), count)


def noisy_real(records: Records, domain: Domain, share: float, rng: np.random.Generator) -> Synthetic:
    """Real records with a ``share`` of their features drawn anew, uniform over their ranges; the target is not asked.

    A two-valued feature that is drawn anew takes its other value, as in the paper (10 % and 20 % of them).

    Raises:
        SettingsError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise SettingsError(f"share: a number from 0 to 1 is needed, found {share}. The paper takes 0.1 and 0.2.")
    flat = records.features.reshape(len(records), -1).astype(np.float64)
    change = rng.random(flat.shape) < share
    return Synthetic(domain.shaped(np.where(change, _other(flat, domain, rng), flat)), records.y.copy(), 0)


def _changed(x: np.ndarray, size: np.ndarray, domain: Domain, rng: np.random.Generator) -> np.ndarray:
    """Rows with ``size`` features each, drawn at random, changed."""
    rank = rng.random(x.shape).argsort(axis=1).argsort(axis=1)
    out: np.ndarray = np.where(rank < size[:, None], _other(x, domain, rng), x)
    return out


def _other(x: np.ndarray, domain: Domain, rng: np.random.Generator) -> np.ndarray:
    """Every feature drawn anew; the other value of features that have two."""
    out = uniform(domain, len(x), rng)
    for j, levels in enumerate(domain.levels):
        two = levels if levels is not None and len(levels) == 2 else None
        if levels is None and domain.whole[j] and domain.high[j] - domain.low[j] == 1:
            two = np.array([domain.low[j], domain.high[j]])
        if two is not None:
            out[:, j] = np.where(x[:, j] == two[0], two[1], two[0])
    return out
