"""Coded tables as the numbers an estimator wants: learnt inside every fit, from the training records alone."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from locard.data.records import LARGEST, Column


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Numbers imputed by the median and standardised, then categories one-hot (a missing value is its own level).

    - a level that the training records do not show is all zeros
    - a column of the training records without any value is 0

    The same as scikit-learn's ``SimpleImputer``, ``StandardScaler`` and ``OneHotEncoder(handle_unknown="ignore")`` in a
    ``ColumnTransformer``, several times faster because categories are codes already; a test holds the two together.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns

    def fit(self, x: np.ndarray, y: np.ndarray | None = None) -> TableEncoder:
        """Learn medians, scales and levels."""
        self.numbers_ = [i for i, c in enumerate(self.columns) if c.kind == "number"]
        numbers = np.array(x[:, self.numbers_], dtype=np.float64)
        empty = np.isnan(numbers).all(axis=0)
        numbers[:, empty] = 0.0
        self.median_ = np.nanmedian(numbers, axis=0) if len(self.numbers_) else np.zeros(0)
        numbers = np.where(np.isnan(numbers), self.median_, numbers)
        self.mean_, scale = numbers.mean(axis=0), numbers.std(axis=0)
        self.scale_ = np.where(scale > 10 * np.finfo(np.float64).eps * np.abs(self.mean_), scale, 1.0)
        self.places_: dict[int, np.ndarray] = {}
        width = len(self.numbers_)
        for i, column in enumerate(self.columns):
            if column.kind == "category":
                seen = np.zeros(len(column.levels) + 1, dtype=bool)
                seen[_codes(x[:, i], len(column.levels))] = True
                place = np.full(len(seen), -1, dtype=np.int64)
                place[seen] = width + np.arange(int(seen.sum()))
                self.places_[i] = place
                width += int(seen.sum())
        self.width_ = width
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """``float64[records, encoded]``."""
        out = np.zeros((len(x), self.width_), dtype=np.float64)
        numbers = x[:, self.numbers_]
        numbers = np.where(np.isnan(numbers), self.median_, numbers)
        scaled = (numbers - self.mean_) / self.scale_
        out[:, : len(self.numbers_)] = np.clip(scaled, -LARGEST, LARGEST)  # a scale learnt without an outlier is small
        rows = np.arange(len(x))
        for i, place in self.places_.items():
            at = place[_codes(x[:, i], len(place) - 1)]
            known = at >= 0
            out[rows[known], at[known]] = 1.0
        return out


def _codes(values: np.ndarray, missing: int) -> np.ndarray:
    """Category codes as integers; a missing value gets the code after the last level."""
    codes: np.ndarray = np.where(np.isnan(values), missing, values).astype(np.int64)
    return codes
