"""The columns in which two records differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from locard.data.differing import column_spread, differing_columns
from locard.data.records import Records


def table() -> Records:
    frame = pd.DataFrame(
        {
            "age": [30.0, 31.0, 60.0, np.nan],
            "sex": ["f", "m", "f", None],
            "hours": [40.0, 40.0, 10.0, 40.0],
            "empty": [np.nan] * 4,
        }
    )
    return Records(ids=list("abcd"), features=frame, labels=[0, 1, 0, 1])


def told(r, a, b, **more):
    return [(d.column, d.value, d.other) for d in differing_columns(r, a, b, spread=column_spread(r), **more)]


def test_categories_come_first_then_numbers_by_how_far_they_are():
    r = table()
    assert told(r, 0, 1) == [("sex", "f", "m"), ("age", "30", "31")]
    assert told(r, 0, 2) == [("hours", "40", "10"), ("age", "30", "60")]
    assert told(r, 1, 1) == []


def test_a_missing_value_differs_from_any_other_and_not_from_another_missing_one():
    r = table()
    assert told(r, 0, 3) == [("sex", "f", "missing"), ("age", "30", "missing")]
    assert "empty" not in {c for i in range(4) for c, _, _ in told(r, i, 3)}


def test_only_so_many_are_named():
    assert told(table(), 0, 1, most=1) == [("sex", "f", "m")]


def test_arrays_have_numbered_features_and_any_shape():
    x = np.zeros((3, 2, 2), dtype=np.uint8)
    x[1, 1, 0] = 7
    r = Records(ids=range(3), features=x, labels=[0, 1, 0])
    assert told(r, 0, 1) == [("feature 2", "0", "7")]


def test_the_spread_is_that_of_the_values_that_are_there():
    r = table()
    expected = pd.DataFrame(r.features).std(ddof=0).to_numpy()
    np.testing.assert_allclose(column_spread(r), expected)
