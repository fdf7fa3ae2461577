"""``NativeTable``: what stands in the DataFrame that an estimator is trained on and asked with."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from locard.data.records import Column
from locard.train.native_table import NativeTable

COLUMNS = (Column("age", "number"), Column("town", "category", ("a", "b", "c")), Column("sex", "category", ("f", "m")))
NAN = np.nan


def test_numbers_and_levels_come_back_and_what_is_missing_stays_missing():
    x = np.array([[31.0, 2, 0], [NAN, 0, NAN], [40.0, NAN, 1]])
    frame = NativeTable(COLUMNS).fit(x).transform(x)
    assert frame.columns.tolist() == ["age", "town", "sex"]
    assert frame["age"].dtype == np.float64
    assert frame["age"].isna().tolist() == [False, True, False]
    assert frame["town"].tolist()[:2] == ["c", "a"]
    assert frame["town"].isna().tolist() == [False, False, True]
    assert frame["sex"].isna().tolist() == [False, True, False]


def test_a_level_that_the_training_records_do_not_show_is_missing_and_unknown():
    """Planted: all levels of the data; the model would know of a level that none of its records has."""
    table = NativeTable(COLUMNS).fit(np.array([[1.0, 0, 1], [2.0, 2, 1]]))
    frame = table.transform(np.array([[3.0, 1, 0], [4.0, 2, 1]]))
    assert frame["town"].cat.categories.tolist() == ["a", "c"]
    assert frame["town"].isna().tolist() == [True, False]
    assert frame["sex"].cat.categories.tolist() == ["m"]


def test_a_column_without_any_value_is_missing_throughout(freeze):
    x = freeze([[1.0, NAN, 1], [NAN, NAN, 0]])
    frame = clone(NativeTable(COLUMNS)).fit(x).transform(x)
    assert frame["town"].isna().all()
    assert frame["town"].dtype == np.float64


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows):
    x = np.zeros((1, 3))
    assert NativeTable(COLUMNS).fit(x).transform(x[:rows]).shape == (rows, 3)
