from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from locard.data.records import Records
from locard.errors import DataError


def make(**changes):
    n = len(changes.get("ids", range(4)))
    values = {"ids": list(range(n)), "features": np.zeros((n, 2)), "labels": ([0, 1] * n)[:n]}
    return Records(**(values | changes))


def test_ids_of_mixed_types_stay_as_given():
    assert make(ids=[1, "1a", 2, "x"]).ids.tolist() == [1, "1a", 2, "x"]


def test_bytes_become_text():
    assert make(ids=np.array([b"a", b"b", b"c", b"d"])).ids.tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, None, 1]}, "labels: every record needs one, found 1 missing (first in row 2)"),
        ({"labels": [0.0, np.nan, 1.0, 1.0]}, "labels: every record needs one, found 1 missing (first in row 1)"),
        ({"labels": pd.array([0, 1, pd.NA, 1])}, "labels: every record needs one, found 1 missing (first in row 2)"),
        ({"labels": pd.Series(["a", pd.NaT, "b", "c"])}, "labels: every record needs one"),
        ({"labels": [1, 1, 1, 1]}, "at least two classes are needed, found one (1)"),
        ({"labels": ["a", 1, "a", 1]}, "labels: values of one type are needed, found int, str"),
        ({"ids": ["a", None, "b", "c"]}, "ids: every record needs one"),
        ({"ids": ["a", "b", "a", "c"]}, "ids: they repeat ('a' stands 2 times; 1 ids do). Name the privacy unit"),
        ({"features": np.zeros(4)}, "features: a numeric array [records, ...] is needed"),
        ({"features": [[1.0], [2.0, 3.0], [1.0], [1.0]]}, "arrays are needed, found rows of different lengths"),
        ({"features": np.array([[0.0], [np.inf], [1.0], [-np.inf]])}, "found 2 infinite (first in row 1)"),
        ({"features": np.array([[0.0], [-1e308], [1e39], [1.0]])}, "found 2 beyond 3.4e+38 (first in row 1)"),
        ({"features": np.array([[0], [1], [0], [np.inf]], dtype=np.float16)}, "found 1 infinite (first in row 3)"),
        ({"features": np.zeros((3, 2))}, "features: 4 values are needed (one an id), found 3"),
        ({"weight": [1.0, -1.0, 1.0, 1.0]}, "weight: finite numbers of at least 0 are needed"),
        ({"unit": ["a", None, "a", "b"]}, "unit: every record needs one"),
    ],
)
def test_bad_records_are_refused_with_one_clear_message(changes, message):
    with pytest.raises(DataError) as caught:
        make(**changes)
    assert message in str(caught.value)


def test_a_regression_target_is_refused():
    with pytest.raises(DataError, match="looks like a regression target"):
        Records(ids=np.arange(500), features=np.zeros((500, 1)), labels=np.arange(500) / 7)


def test_repeated_ids_are_fine_with_a_unit():
    r = make(ids=["p1", "p1", "p2", "p3"], unit=["p1", "p1", "p2", "p3"])
    assert r.n_units == 3
    assert r.units.tolist() == [0, 0, 1, 2]
    assert r.unit_names.tolist() == ["p1", "p2", "p3"]


def test_a_data_frame_is_encoded_and_its_notes_kept():
    r = Records(
        ids=[1, 2], features=pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]}), labels=["n", "y"], notes=("first",)
    )
    assert r.columns is not None
    assert [c.kind for c in r.columns] == ["number", "category"]
    assert r.notes[0] == "first"
    assert "missing values: a 1." in r.notes
