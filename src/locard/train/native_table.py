"""Coded tables as pandas DataFrames, for estimators that know categories and missing values themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from locard.data.records import Column

if TYPE_CHECKING:
    import pandas as pd


class NativeTable(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Numbers as float64 (NaN where missing), categories as pandas categories of the levels seen in training.

    - a level that the training records do not show is missing; a category without any is a number that always is
    - nothing is imputed, scaled or one-hot encoded
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns

    def fit(self, x: np.ndarray, y: np.ndarray | None = None) -> NativeTable:
        """Learn which levels there are."""
        self.seen_: dict[int, np.ndarray] = {}
        for i, column in enumerate(self.columns):
            if column.kind == "category":
                known = x[:, i][~np.isnan(x[:, i])]
                self.seen_[i] = np.unique(known).astype(np.int64)
        return self

    def transform(self, x: np.ndarray) -> pd.DataFrame:
        """The table, one row a record."""
        import pandas as pd

        out: dict[str, object] = {}
        for i, column in enumerate(self.columns):
            if column.kind == "number":
                out[column.name] = np.asarray(x[:, i], dtype=np.float64)
                continue
            seen = self.seen_[i]
            if not len(seen):  # XGBoost takes no category without levels
                out[column.name] = np.full(len(x), np.nan)
                continue
            codes = np.full(len(x), -1, dtype=np.int64)
            given = np.flatnonzero(~np.isnan(x[:, i]))
            values = x[given, i].astype(np.int64)
            known = np.isin(values, seen)
            codes[given[known]] = np.searchsorted(seen, values[known])
            levels = pd.Index([column.levels[k] for k in seen], dtype=object)
            out[column.name] = pd.Categorical.from_codes(codes, categories=levels)
        return pd.DataFrame(out)
