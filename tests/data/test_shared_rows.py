"""Rows that stand in two sets: found by content, whatever their number type, order and ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.data.records import Records
from locard.data.shared_rows import rows_in_both
from locard.errors import DataError

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=12)


def people(rows, dtype=np.float64):
    x = np.array([r[:2] for r in rows], dtype=dtype)
    return Records(ids=range(len(rows)), features=x, labels=[r[2] for r in rows], known_classes=[0, 1])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(ROWS, ROWS, st.sampled_from([np.float32, np.float64, np.int8]))
def test_it_equals_the_loop(a, b, dtype):
    expected = [[i, b.index(row)] for i, row in enumerate(a) if row in b]
    assert rows_in_both(people(a), people(b, dtype)).tolist() == expected


def test_missing_values_signs_of_zero_and_coarser_numbers():
    x = np.array([[0.1, np.nan], [-0.0, 2.0], [0.1, 3.0]])
    a = Records(ids=list("abc"), features=x, labels=[0, 1, 0])
    y = np.array([[0.0, 2.0], [0.1, np.nan], [0.1000001, 3.0]], dtype=np.float32)
    b = Records(ids=list("xyz"), features=y, labels=[1, 0, 0])
    assert rows_in_both(a, b).tolist() == [[0, 1], [1, 0]]
    assert rows_in_both(b, a).tolist() == [[0, 1], [1, 0]]


def test_pictures_are_rows_too_and_shapes_must_agree():
    x = np.random.default_rng(0).integers(0, 255, size=(5000, 3, 2), dtype=np.uint8)
    a = Records(ids=range(5000), features=x, labels=np.arange(5000) % 2)
    assert rows_in_both(a.select([4999, 7]), a).tolist() == [[0, 4999], [1, 7]]
    with pytest.raises(DataError, match=r"rows of one shape are needed in both sets, found \(3, 2\) and \(6,\)"):
        rows_in_both(a, Records(ids=[1, 2], features=np.zeros((2, 6)), labels=[0, 1]))
