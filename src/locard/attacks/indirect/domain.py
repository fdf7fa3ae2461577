"""What a valid query is, learnt from reference records; and queries as points that a gradient can move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from locard.data.records import Column, Records
from locard.data.shared_rows import row_fingerprints
from locard.errors import SettingsError

_CELLS = 1 << 22  # numbers compared at a time
HELD = 0.3  # by how much the present level of a category leads the others before a gradient has moved it


@dataclass(frozen=True, eq=False)
class Domain:
    """Where queries may lie: every number within the range of the reference records, every category at a known level.

    - a column of whole numbers stays one; a value may be missing only where some reference record misses it
    - columns that all reference records share stay as they are

    Args:
        columns: meanings of the columns; None for arrays, all of whose features are numbers.
        shape: of one record.
        low, high, whole, gaps: of every feature, flat.
        levels: of every feature, the codes that a category may have, sorted, NaN last; None for a number.
        spread: standard deviation of a number among the reference records, 1 where it never varies.
        dtype: of the features.
    """

    columns: tuple[Column, ...] | None
    shape: tuple[int, ...]
    low: Float64[np.ndarray, "features"]
    high: Float64[np.ndarray, "features"]
    whole: Bool[np.ndarray, "features"]
    gaps: Bool[np.ndarray, "features"]
    levels: tuple[np.ndarray | None, ...]
    spread: Float64[np.ndarray, "features"]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, records: Records) -> Domain:
        """The domain that these records span. For arrays without columns (pictures) one range for all features."""
        x = records.features.reshape(len(records), -1)
        kinds = [None] * x.shape[1] if records.columns is None else records.columns
        columns = [_Column.of(x[:, j]) for j in range(x.shape[1])]
        low, high, spread = (np.array([getattr(c, name) for c in columns]) for name in ("low", "high", "spread"))
        whole, gaps = (np.array([getattr(c, name) for c in columns]) for name in ("whole", "gaps"))
        if records.columns is None:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
            whole = np.full_like(whole, whole.all())
        levels = tuple(
            np.unique(x[:, j].astype(np.float64)) if c is not None and c.kind == "category" else None
            for j, c in enumerate(kinds)
        )
        return cls(
            columns=records.columns,
            shape=records.features.shape[1:],
            low=low,
            high=high,
            whole=whole,
            gaps=gaps,
            levels=levels,
            spread=spread,
            dtype=records.features.dtype,
        )

    @property
    def table(self) -> bool:
        """Whether features are columns with meanings of their own."""
        return self.columns is not None

    def holds(self, features: np.ndarray) -> Bool[np.ndarray, "rows"]:
        """Which rows are valid queries."""
        x = features.reshape(len(features), len(self.levels)).astype(np.float64)
        out = np.ones(len(x), dtype=np.bool_)
        for j, levels in enumerate(self.levels):
            v = x[:, j]
            if levels is not None:
                out &= (v[:, None] == levels[None]).any(axis=1) | (np.isnan(v) & np.isnan(levels).any())
                continue
            inside = (v >= self.low[j]) & (v <= self.high[j]) & ((v % 1 == 0) | ~self.whole[j])
            out &= inside | (np.isnan(v) & self.gaps[j])
        return out

    def shaped(self, flat: np.ndarray) -> np.ndarray:
        """Rows of all features as records have them: clipped to the range, whole where they must be."""
        x = np.clip(flat, self.low, self.high)
        x = np.where(self.whole, np.round(x), x)
        for j, levels in enumerate(self.levels):
            if levels is not None:
                x[:, j] = flat[:, j]
        out: np.ndarray = x.reshape(len(x), *self.shape).astype(self.dtype)
        return out

    def distance(self, features: np.ndarray, record: np.ndarray) -> Float64[np.ndarray, "rows"]:
        """Euclidean, numbers in standard deviations of the reference records, 1 for another level or a gap.

        Args:
            features: ``[rows, ...]``.
            record: ``[1, ...]``.
        """
        width = len(self.levels)
        x, r = features.reshape(len(features), width), record.reshape(1, width).astype(np.float64)
        category = np.array([levels is not None for levels in self.levels])
        out = np.empty(len(x))
        block = max(1, _CELLS // max(1, width))
        for start in range(0, len(x), block):
            some = x[start : start + block].astype(np.float64)
            apart = np.where(category, some != r, np.abs(some - r) / self.spread)
            missing = np.isnan(some)
            apart = np.where(missing | np.isnan(r), missing ^ np.isnan(r), apart)
            out[start : start + block] = np.sqrt((apart**2).sum(axis=1))
        return out

    def points(self, features: np.ndarray) -> Points:
        """These queries as points that a gradient can move."""
        x = features.reshape(len(features), len(self.levels)).astype(np.float64)
        width = np.where(self.high > self.low, self.high - self.low, 1.0)
        scores = []
        for j, levels in enumerate(self.levels):
            if levels is not None:
                v = x[:, j]
                scores.append(HELD * ((v[:, None] == levels) | (np.isnan(v)[:, None] & np.isnan(levels))))
        numbers = [j for j, levels in enumerate(self.levels) if levels is None]
        return Points(self, ((x - self.low) / width)[:, numbers], tuple(scores))


@dataclass(frozen=True)
class _Column:
    """What reference records show of one feature."""

    low: float
    high: float
    whole: bool
    gaps: bool
    spread: float

    @classmethod
    def of(cls, values: np.ndarray) -> _Column:
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if not len(known):
            return cls(0.0, 0.0, True, True, 1.0)
        spread = float(known.std(dtype=np.float64))
        whole, gaps = bool((known % 1 == 0).all()), len(known) < len(values)
        return cls(float(known.min()), float(known.max()), whole, gaps, spread if spread > 0 else 1.0)


def distinct(features: np.ndarray) -> np.ndarray:
    """Each row once, where it stands first."""
    first = {digest: place for place, digest in reversed(list(enumerate(row_fingerprints(features, features.dtype))))}
    return features[np.sort(np.fromiter(first.values(), dtype=np.int64, count=len(first)))]


@dataclass(frozen=True, eq=False)
class Points:
    """Queries between the valid ones: numbers as shares of their range, a score for each level of each category.

    The query that a point stands for is the nearest valid one: numbers clipped (and rounded where they are whole), of
    each category the level with the highest score. Gradients are taken there and move the point (straight-through).

    Args:
        domain: where they lie.
        numbers: ``float64[rows, number columns]``.
        scores: ``float64[rows, levels]`` of each category.
    """

    domain: Domain
    numbers: Float64[np.ndarray, "rows numbers"]
    scores: Sequence[np.ndarray]

    def features(self) -> np.ndarray:
        """The valid queries, laid out as records."""
        d = self.domain
        out = np.empty((len(self.numbers), len(d.levels)))
        number, category = 0, 0
        for j, levels in enumerate(d.levels):
            if levels is None:
                out[:, j] = d.low[j] + self.numbers[:, number] * (d.high[j] - d.low[j])
                number += 1
            else:
                out[:, j] = levels[self.scores[category].argmax(axis=1)]
                category += 1
        return d.shaped(out)

    def moved(self, gradient: np.ndarray, size: float) -> Points:
        """One step against the gradient: its steepest coordinate (as a share of its range) moves by ``size``.

        Args:
            gradient: ``float64[rows, ...]`` with respect to what a network is shown: of tables all numbers first, then
                a column for each level of each category and one for "missing".
            size: of the step, a share of a number's range.
        """
        d = self.domain
        flat = gradient.reshape(len(gradient), -1)
        places = [j for j, levels in enumerate(d.levels) if levels is None]
        known = [len(c.levels) for c in d.columns or () if c.kind == "category"]
        needed = len(places) + sum(known) + len(known)
        if flat.shape[1] != needed:
            raise SettingsError(
                f"gmia_indirect: optimising queries needs networks that are shown {needed} columns (numbers, then a "
                f"column a level), found {flat.shape[1]}. Set target.preprocess = 'auto', or optimise = 0."
            )
        width = (d.high - d.low)[places] / (255.0 if d.dtype == np.uint8 else 1.0)
        numbers, start, scores = flat[:, : len(places)] * width, len(places), []
        for levels, count in zip((v for v in d.levels if v is not None), known, strict=True):
            columns = np.where(np.isnan(levels), count, levels).astype(np.int64)
            scores.append(flat[:, start : start + count + 1][:, columns])
            start += count + 1
        steepest = np.max([np.abs(g).max(axis=1, initial=0.0) for g in (numbers, *scores)], axis=0)[:, None]
        share = np.where(steepest > 0, size / np.where(steepest > 0, steepest, 1.0), 0.0)
        return Points(
            d,
            np.clip(self.numbers - share * numbers, 0.0, 1.0),
            tuple(s - share * g for s, g in zip(self.scores, scores, strict=True)),
        )
