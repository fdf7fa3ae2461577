"""Random queries, before anything is known of what the record does to them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from locard.attacks.indirect.domain import Domain
from locard.data.records import Records

Generation = Literal["auto", "uniform", "mixed", "noise"]


def generate(
    kind: Generation,
    record: np.ndarray,
    reference: Records,
    domain: Domain,
    *,
    count: int,
    keep: float,
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """``[count, ...]``, valid queries.

    - uniform: every number uniform over its range, every category over its levels (the paper, for small spaces)
    - mixed: every feature is the record's with probability ``keep``, else that of a reference record, drawn anew for
      each feature
    - noise: the record plus Gaussian noise (the paper, for large spaces), clipped to the range
    - auto: mixed for tables, noise for arrays

    Args:
        kind: which of these.
        record: ``[1, ...]``.
        reference: records whose values are mixed in.
        domain: what is valid.
        count: how many.
        keep: of mixed.
        noise: of noise, standard deviations as a share of the range.
        rng: draws them.
    """
    chosen = ("mixed" if domain.table else "noise") if kind == "auto" else kind
    flat = record.reshape(1, -1).astype(np.float64)
    features = flat.shape[1]
    if chosen == "mixed":
        theirs = np.stack(
            [
                reference.features.reshape(len(reference), -1)[rng.integers(len(reference), size=count), j]
                for j in range(features)
            ],
            axis=1,
        )
        mine = rng.random((count, features)) < keep
        return domain.shaped(np.where(mine, _valid(flat, domain), theirs))
    if chosen == "noise":
        shaken = flat + noise * (domain.high - domain.low) * rng.normal(size=(count, features))
        category = np.array([levels is not None for levels in domain.levels])
        return domain.shaped(np.where(category, uniform(domain, count, rng), shaken))
    return domain.shaped(uniform(domain, count, rng))


def uniform(domain: Domain, count: int, rng: np.random.Generator) -> np.ndarray:
    """``float64[count, features]``: every number uniform over its range, every category over its levels."""
    out = np.empty((count, len(domain.levels)))
    for j, levels in enumerate(domain.levels):
        if levels is not None:
            out[:, j] = levels[rng.integers(len(levels), size=count)]
        elif domain.whole[j]:
            out[:, j] = rng.integers(int(domain.low[j]), int(domain.high[j]) + 1, size=count)
        else:
            out[:, j] = rng.uniform(domain.low[j], domain.high[j], size=count)
    return out


def _valid(flat: np.ndarray, domain: Domain) -> np.ndarray:
    """The record's own values, where the reference records know such: else the nearest, or the first level."""
    out: np.ndarray = np.clip(flat, domain.low, domain.high)
    for j, levels in enumerate(domain.levels):
        v = flat[0, j]
        if levels is not None:
            known = (levels == v).any() or (np.isnan(v) and np.isnan(levels).any())
            out[0, j] = v if known else levels[0]
        elif np.isnan(v):
            out[0, j] = v if domain.gaps[j] else domain.low[j]
    return out
