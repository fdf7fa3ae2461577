"""How far models owe what they say of a record to having been trained on it: the memorisation score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

from locard.assess.exposure import LEAST_PAIRS, ROUNDING, partners
from locard.assess.scoring import Audited
from locard.observe.signals import Correct, Probability
from locard.stats import clopper_pearson

CONFIDENCE = 0.95


def memorisation(audited: Audited) -> dict[str, Float64[np.ndarray, "records"]]:
    """Columns of ``records.parquet``, each with the ends of its 95 % interval; NaN where there are no pairs of twins.

    - ``memorisation``: share of pairs in which the model trained on the record is right and its twin is not, minus the
      share of the opposite. Its interval is exact for any number of pairs and wide: two Clopper-Pearson intervals, each
      at half the level.
    - ``probability_gain``: the true label's probability under the model trained on the record minus its twin's, mean
      over pairs; t over pairs [A], from 4 pairs on. Where all pairs are alike the interval says how much a kind of pair
      that has not been seen may hide.

    It is not a membership attack: it needs models with and without the record and never looks at a target. It says how
    much there is to find.

    Source: Feldman and Zhang 2020 (NeurIPS, arXiv:2008.03703); Feldman 2020 (STOC, arXiv:1906.05271).

    Departs: the authors draw subsets of 70 % and compare means of two groups of models; twins differ in membership
    alone, and are compared pair by pair.
    """
    pairs = partners(audited.plan)
    right, sure = (_gains(audited, signal, pairs) for signal in (Correct(), Probability()))
    alpha = (1 - CONFIDENCE) / 2
    nothing = np.full(len(audited.records), np.nan)
    out = {f"memorisation{end}": nothing for end in ("", "_low", "_high")}
    out |= {f"probability_gain{end}": nothing for end in ("", "_low", "_high")}
    if not pairs:
        return out
    count = len(pairs)
    up, down = ((sign * right > 0).sum(axis=0) for sign in (1, -1))
    gained, lost = (clopper_pearson(k, count, confidence=1 - alpha) for k in (up, down))
    mean = right.mean(axis=0)  # of several queries: each pair's gain is a share
    if audited.observations.queries == 1:
        out |= {"memorisation": mean, "memorisation_low": gained[0] - lost[1], "memorisation_high": gained[1] - lost[0]}
    elif count >= LEAST_PAIRS:
        low, high = _over_pairs(right)
        out |= {"memorisation": mean, "memorisation_low": low, "memorisation_high": high}
    if count >= LEAST_PAIRS:
        low, high = _over_pairs(sure)
        out |= {"probability_gain": sure.mean(axis=0), "probability_gain_low": low, "probability_gain_high": high}
    return out


def _gains(
    audited: Audited, signal: Correct | Probability, pairs: list[tuple[int, int]]
) -> Float64[np.ndarray, "pairs records"]:
    """The signal under the model of each pair that holds the record, minus that under its twin."""
    out = np.empty((len(pairs), len(audited.records)))
    for row, (first, second) in enumerate(pairs):
        one, other = (audited.observations.of_model(signal, m).mean(axis=-1) for m in (first, second))
        out[row] = np.where(audited.plan.member[first], one - other, other - one)
    return out


def _over_pairs(gains: Float64[np.ndarray, "pairs records"]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval of the mean of numbers between -1 and 1."""
    count, mean = len(gains), gains.mean(axis=0)
    spread = gains.std(axis=0, ddof=1)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * spread / np.sqrt(count)
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / count)  # the largest share of other pairs that may well show none
    alike = spread <= ROUNDING
    low = np.where(alike, mean - unseen * (1 + mean), mean - half)
    high = np.where(alike, mean + unseen * (1 - mean), mean + half)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)
