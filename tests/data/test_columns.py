from __future__ import annotations

import datetime
import decimal

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from locard.data.columns import FEWEST_FOR_IDS, encode
from locard.errors import DataError

numbers = st.one_of(st.none(), st.floats(-1e38, 1e38), st.integers(-(2**53), 2**53))
whole = st.integers(-(2**40), 2**40)
texts = st.one_of(st.none(), st.text(max_size=8))
mixed = st.one_of(st.none(), st.text(max_size=3), st.integers(0, 3), st.sampled_from([2.5, "1", "2.5"]))


@st.composite
def frames(draw):
    n = draw(st.integers(1, FEWEST_FOR_IDS - 1))  # below this many distinct texts none is taken for ids
    kinds = draw(
        st.lists(st.sampled_from(["number", "whole", "text", "mixed", "bool", "category"]), min_size=1, max_size=4)
    )
    columns = {}
    for j, kind in enumerate(kinds):
        source = {
            "number": numbers,
            "whole": whole,
            "text": texts,
            "mixed": mixed,
            "bool": st.booleans(),
            "category": texts,
        }
        values = draw(st.lists(source[kind], min_size=n, max_size=n))
        if kind == "number":
            columns[f"c{j}"] = pd.Series([np.nan if v is None else float(v) for v in values], dtype=float)
        elif kind in ("whole", "bool"):
            columns[f"c{j}"] = pd.Series(values)
        else:
            columns[f"c{j}"] = pd.Series(values, dtype="category" if kind == "category" else object)
    return pd.DataFrame(columns)


@settings(max_examples=150, deadline=None)
@given(frames())
def test_the_coding_loses_nothing(frame):
    """Each cell can be read back from its code, cell by cell; missing stays missing."""
    if all(frame[c].isna().all() for c in frame):
        with pytest.raises(DataError, match="at least one usable column"):
            encode(frame)
        return
    before = frame.copy(deep=True)
    features, columns, _ = encode(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert features.dtype == np.float64
    assert [c.name for c in columns] == [c for c in frame if not frame[c].isna().all()]
    for j, column in enumerate(columns):
        assert list(column.levels) == sorted(set(column.levels))
        seen = {}
        for cell, code in zip(frame[column.name].tolist(), features[:, j].tolist(), strict=True):
            if cell is None or cell != cell:
                assert np.isnan(code)
            elif column.kind == "number":
                assert code == float(cell)
            else:
                level = column.levels[int(code)]
                assert level in (str(cell), repr(cell))
                assert seen.setdefault(level, cell) == cell  # no two different values share a level


def test_levels_that_look_alike_are_told_apart():
    _, (column,), _ = encode(pd.DataFrame({"a": pd.Series([1, "1", 2], dtype=object)}))
    assert column.levels == ("'1'", "1", "2")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.array([1, None, 3], dtype="Int64"), [1.0, np.nan, 3.0]),
        (pd.array([1.5, None, 3], dtype="Float64"), [1.5, np.nan, 3.0]),
        (pd.Series([decimal.Decimal("1.5"), None, 2], dtype=object), [1.5, np.nan, 2.0]),
        (pd.to_timedelta(["36h", None, "24h"]), [1.5, np.nan, 1.0]),
        (np.array([1, 2, 3], dtype=np.uint8), [1.0, 2.0, 3.0]),
        (pd.arrays.SparseArray([0.0, 1.0, 0.0]), [0.0, 1.0, 0.0]),
    ],
)
def test_every_kind_of_number_becomes_float64(values, expected):
    features, (column,), _ = encode(pd.DataFrame({"a": values}))
    assert column.kind == "number"
    np.testing.assert_array_equal(features[:, 0], expected)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([True, False, True], ("False", "True")),
        (pd.array([True, None, False], dtype="boolean"), ("False", "True")),
        (pd.Series([True, None, False], dtype=object), ("False", "True")),
        (pd.Categorical(["b", "a", None], categories=["b", "a", "never seen"]), ("a", "b")),
        (pd.Series(["b", "a", None], dtype="string"), ("a", "b")),
    ],
)
def test_every_kind_of_category_gets_sorted_levels(values, levels):
    _, (column,), _ = encode(pd.DataFrame({"a": values}))
    assert column.levels == levels


DAYS = [datetime.date(1970, 1, 1) + datetime.timedelta(days=i) for i in range(30)]
DATES = {
    "datetime64": pd.to_datetime(DAYS),
    "with a time zone": pd.to_datetime(DAYS).tz_localize("UTC"),
    "date objects": pd.Series(DAYS, dtype=object),
    "period": pd.Series(pd.period_range("1970-01-01", periods=30, freq="D")),
    "text": [str(d) for d in DAYS],
    "text with a time": [f"{d}T00:00:00" for d in DAYS],
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_left_out_by_name_and_kept_as_days_on_request(kind):
    frame = pd.DataFrame({"when": DATES[kind], "n": range(30)})
    _, columns, notes = encode(frame)
    assert [c.name for c in columns] == ["n"]
    assert any(n.startswith("left out 'when': it holds dates") for n in notes)
    features, columns, notes = encode(frame, keep=["when"])
    np.testing.assert_array_equal(features[:, 0], np.arange(30.0))
    assert "'when': dates, kept as days since 1970-01-01." in notes


def test_dates_in_another_order_are_recognised_but_not_guessed():
    frame = pd.DataFrame({"when": [f"{d}.03.1999" for d in range(1, 31)], "n": range(30)})
    assert any("'when': it holds dates" in n for n in encode(frame)[2])
    with pytest.raises(DataError, match=r"column 'when': dates to keep are needed as YYYY-MM-DD, found '1\.03\.1999'"):
        encode(frame, keep=["when"])


def test_ids_and_free_text_are_left_out_by_name_unless_asked_for():
    words = "the patient says that it hurts where the other doctor had pressed on day"
    frame = pd.DataFrame(
        {"who": [f"p{i:03d}" for i in range(60)], "says": [f"{words} {i}" for i in range(60)], "n": 1.5}
    )
    _, columns, notes = encode(frame)
    assert [c.name for c in columns] == ["n"]
    assert (
        "left out 'who': it looks like ids: 60 different values in 60 records; name it in keep to use it as a category."
        in notes
    )
    assert any(n.startswith("left out 'says': it looks like free text (75 characters") for n in notes)
    assert "constant columns: 'n'." in notes
    assert [len(c.levels) for c in encode(frame, keep=["who", "says"])[1]] == [60, 60, 0]


def test_the_notes_count_what_is_missing_and_point_at_oddities():
    frame = pd.DataFrame(
        {
            "empty": [None] * 300,
            "a": [np.nan, *range(299)],
            "row": np.arange(5, 305),
            "zip": [f"z{i % 150}" for i in range(300)],
            "typed": [str(i % 100) if i else "?" for i in range(300)],
            "huge": 2**60 + np.arange(300) * 3,
        }
    )
    notes = encode(frame)[2]
    assert "left out 'empty': it holds no value at all." in notes
    assert "missing values: a 1." in notes
    assert any(n.startswith("'row': it numbers the records") for n in notes)
    assert any(n.startswith("'zip': a category of 150 levels") for n in notes)
    assert any(n.startswith("'typed': numbers written as text, with '?' among them") for n in notes)
    assert any(n.startswith("'huge': whole numbers beyond 2**53 are rounded") for n in notes)


def test_long_lists_in_notes_are_cut():
    notes = encode(pd.DataFrame({f"c{i}": [1.0, np.nan] for i in range(50)}))[2]
    assert "and 30 columns more" in notes[0]
    assert len(notes[0]) < 400


def test_all_problems_come_at_once():
    frame = pd.DataFrame(
        {"a": [1.0, np.inf], "b": [[1], [2]], "c": [1j, 2j], "d": [-np.inf, np.inf], "e": [1e308, 0.0]}
    )
    with pytest.raises(DataError) as caught:
        encode(frame)
    a, b, c, d, e = caught.value.problems
    assert a == (
        "column 'a': finite numbers that float32 can hold are needed, found 1 infinite (first in row 1). "
        "Replace them, or leave these cells empty."
    )
    assert b == "column 'b': numbers or text are needed in each cell, found list. Flatten it, or drop it."
    assert c.startswith("column 'c': real numbers are needed")
    assert "found 2 infinite (first in row 0)" in d
    assert "found 1 beyond 3.4e+38 (first in row 0)" in e


def test_repeated_column_names_are_refused():
    with pytest.raises(DataError, match="column 'a': each name is needed once, found it 2 times"):
        encode(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]))


def test_no_usable_column_is_refused_with_the_reasons():
    with pytest.raises(DataError, match="'when' \\(it holds dates"):
        encode(pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}))
