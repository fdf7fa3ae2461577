from __future__ import annotations

import gzip
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from locard.data.tables import from_frame, read_table
from locard.errors import DataError

CSV = "who,age,sex,ill\nb7,31,f,no\na1,52,m,yes\n007,44,f,no\n"
IDS = ["007", "b-9", "10", "naïve 数据", "<script>alert(1)</script>", "a,b", 'say "x"', "NA", "1e5", "0x10", " lead"]


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problem(path: Path, **settings) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **({"label": "ill"} | settings))
    return str(caught.value)


def table(ids: list, unit: list | None = None) -> pd.DataFrame:
    n = len(ids)
    return pd.DataFrame(
        {"id": ids, "x": np.arange(n) % 3, "unit": ids if unit is None else unit, "y": np.arange(n) % 2}
    )


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_ids_and_units_come_back_letter_by_letter(tmp_path, ending):
    """Peers line 11: shuffled, non-contiguous text ids."""
    order = np.random.default_rng(3).permutation(len(IDS))
    ids = [IDS[i] for i in order]
    path = tmp_path / f"t{ending}"
    frame = table(ids)
    frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    r = read_table(path, label="y", id="id", unit="unit")
    assert r.ids.tolist() == ids
    assert r.unit.tolist() == ids
    assert [c.name for c in r.columns] == ["x"]
    np.testing.assert_array_equal(r.features[:, 0], frame["x"])


def test_digits_stay_text_in_a_csv(tmp_path):
    """Planted bugs: cells that are all digits read as numbers; "NA" and "null" taken for "missing"."""
    path = write(tmp_path, "id,unit,x,y\n007,1.0,1,0\n0010,1.50,2,1\n10,1.5,3,0\n")
    r = read_table(path, label="y", id="id", unit="unit")
    assert r.ids.tolist() == ["007", "0010", "10"]
    assert r.unit.tolist() == ["1.0", "1.50", "1.5"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=6), min_size=2, max_size=9, unique=True
    )
)
def test_any_text_is_an_id(tmp_path_factory, ids):
    ids = [i for i in ids if i.strip()]
    if len(ids) < 2:
        return
    path = tmp_path_factory.mktemp("ids") / "t.csv"
    table(ids).to_csv(path, index=False)
    assert read_table(path, label="y", id="id", drop=["unit"]).ids.tolist() == ids


def test_whole_numbers_of_parquet_stay_whole_numbers(tmp_path):
    big = [2**62 + 1, 5, 2**62 - 1, 900]  # floating point would round these
    table(big).to_parquet(tmp_path / "t.parquet")
    r = read_table(tmp_path / "t.parquet", label="y", id="id", drop=["unit"])
    assert r.ids.tolist() == big
    assert r.ids.dtype == np.int64


def test_missing_ids_are_named_and_never_turn_whole_numbers_into_floats(tmp_path):
    frame = table([1, 2, 3, 4])
    frame["id"] = pd.array([1, 2, None, 4], dtype="Int64")
    frame.to_parquet(tmp_path / "t.parquet")
    said = problem(tmp_path / "t.parquet", label="y", id="id", drop=["unit"])
    assert "ids: every record needs one, found 1 missing (first in row 2)" in said
    assert "floating" not in said
    write(tmp_path, "id,x,y\n1,1,0\n,2,1\n  ,3,1\n")
    said = problem(tmp_path / "t.csv", label="y", id="id")
    assert "ids: every record needs one, found 2 missing (first in row 1)" in said
    assert "floating" not in said


def test_ids_in_floating_point_are_refused(tmp_path):
    table([1.0, 2.0, 3.0]).to_parquet(tmp_path / "t.parquet")
    said = problem(tmp_path / "t.parquet", label="y", id="id", unit="unit")
    assert "id: text or whole numbers are needed in column 'id', found floating point" in said
    assert "unit: text or whole numbers are needed in column 'unit'" in said


def test_an_index_that_pandas_stored_is_a_column_again(tmp_path):
    table(["a", "b"]).set_index("id").to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", label="y", id="id", drop=["unit"]).ids.tolist() == ["a", "b"]


def test_without_an_id_column_row_numbers_are_ids_and_that_is_said(tmp_path):
    r = read_table(write(tmp_path, CSV), label="ill", drop=["who"])
    assert r.ids.tolist() == [0, 1, 2]
    assert r.ids.dtype.kind == "i"
    assert any("row numbers, from 0 on" in n for n in r.notes)


def test_roles_of_columns(tmp_path):
    path = write(tmp_path, "who,site,age,sex,w,zip,ill\na,s1,31,f,1,9,no\nb,s1,52,m,2,8,yes\nc,s2,44,,0.5,7,no\n")
    r = read_table(path, label="ill", id="who", unit="site", weight="w", groups=["sex", "zip"], drop=["zip"])
    assert [c.name for c in r.columns] == ["age", "sex"]  # a group stays a feature unless it is dropped
    assert r.groups["sex"].tolist() == ["f", "m", "(missing)"]
    assert r.groups["zip"].tolist() == [9, 8, 7]
    assert r.weight.tolist() == [1.0, 2.0, 0.5]
    assert r.n_units == 2


def test_one_column_may_be_id_and_unit(tmp_path):
    path = write(tmp_path, "who,x,y\np1,1,a\np1,2,b\np2,3,a\n")
    r = read_table(path, label="y", id="who", unit="who")
    assert r.ids.tolist() == ["p1", "p1", "p2"]
    assert r.n_units == 2
    assert "Name the privacy unit" in problem(path, label="y", id="who")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes", "no"], ["no", "yes"]),
        ([3, 1, 2], [1, 2, 3]),
        ([1.5, 2.5, 1.5], [1.5, 2.5]),
        ([True, False, True], [False, True]),
        (["ä", "z", "ß"], ["z", "ß", "ä"]),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_labels_of_any_type(tmp_path, labels, classes, ending):
    path = tmp_path / f"t{ending}"
    frame = pd.DataFrame({"x": [1, 2, 3], "y": labels})
    frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    r = read_table(path, label="y")
    assert r.classes.tolist() == classes
    assert r.labels.tolist() == labels


def test_categorical_nullable_and_date_labels():
    x = [1, 2, 3]
    assert from_frame(pd.DataFrame({"x": x, "y": pd.Categorical(["b", "a", "b"])}), label="y").classes.tolist() == [
        "a",
        "b",
    ]
    assert (
        from_frame(pd.DataFrame({"x": x, "y": pd.array([1, 2, 1], dtype="Int64")}), label="y").labels.dtype.kind == "i"
    )
    dates = pd.to_datetime(["2020-01-01", "2021-01-01", "2020-01-01"])
    assert from_frame(pd.DataFrame({"x": x, "y": dates}), label="y").classes.tolist()[0].startswith("2020-01-01")


def test_unknown_columns_are_all_named_with_the_nearest(tmp_path):
    path = write(tmp_path, CSV)
    said = problem(path, label="il", id="whom", groups=["sexx"], drop=["aeg"], weight="w", keep=["qqqqqq"])
    assert "label: a column of the table is needed, found 'il'. Nearest: ill." in said
    assert "id: a column of the table is needed, found 'whom'. Nearest: who." in said
    assert "groups: a column of the table is needed, found 'sexx'. Nearest: sex." in said
    assert "drop: a column of the table is needed, found 'aeg'. Nearest: age." in said
    assert "weight: a column of the table is needed, found 'w'." in said
    assert "keep: a column of the table is needed, found 'qqqqqq'. There are: who, age, sex, ill." in said
    assert len(said.splitlines()) == 6


def test_data_problems_come_all_at_once(tmp_path):
    path = write(tmp_path, "who,x,w,ill\na,inf,one,no\na,2,two,\n")
    said = problem(path, id="who", weight="w")
    assert "column 'x': finite numbers that float32 can hold are needed" in said
    assert "weight: numbers are needed in column 'w'" in said
    assert "labels: every record needs one, found 1 missing" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "ill"}, "column 'ill': one role is needed, found label and id"),
        ({"drop": ["ill"]}, "column 'ill': one role is needed, found label and drop"),
        ({"keep": ["age"], "drop": ["age"]}, "column 'age': it stands in keep and in drop"),
        ({"weight": "age", "unit": "age"}, "column 'age': one role is needed, found unit and weight"),
        ({"groups": "sex"}, "groups: a list of column names is needed, found one text. Write ['sex']."),
    ],
)
def test_roles_that_exclude_each_other(tmp_path, settings, message):
    assert message in problem(write(tmp_path, CSV), **settings)


LONG = "who,age,sex,ill\n" + "".join(f"p{i},{i % 70},f,{'yes' if i % 2 else 'no'}\n" for i in range(500))


def test_damaged_files_give_one_clear_message(tmp_path):
    whole = tmp_path / "whole.parquet"
    table(list(range(300))).to_parquet(whole)
    cases = {
        "empty.csv": (b"", "found an empty file of 0 bytes"),
        "header.csv": (b"who,age,sex,ill\n", "found a header (4 columns) and none"),
        "blank.csv": (b"\n\n", "found no columns"),
        "cut.csv": (LONG.encode()[: LONG.index("p400,") + 8], "the file seems cut short"),
        "wide.csv": (
            b"a,ill\n1,no\n1,2,yes\n",
            "reading stopped: Error tokenizing data. C error: Expected 2 fields in line 3",
        ),
        "wider.csv": (b"a,ill\n1,no,3\n1,yes,3\n", "lines with as many fields as the header are needed"),
        "quote.csv": (b'a,ill\n1,no\n"2,yes\n', "a file cut short while it was written must be written again"),
        "latin.csv": ("a,ill\nä,no\nb,yes\n".encode("latin-1"), "text in UTF-8 is needed"),
        "cut.csv.gz": (gzip.compress(LONG.encode())[:300], "a whole file is needed, but it cannot be read"),
        "not.csv.gz": (LONG.encode(), "a whole file is needed, but it cannot be read"),
        "cut.parquet": (whole.read_bytes()[:-200], "a whole file is needed, but it cannot be read"),
        "not.parquet": (LONG.encode(), "a whole file is needed, but it cannot be read"),
        "empty.parquet": (b"", "found an empty file of 0 bytes"),
        "t.xlsx": (b"x", "a table file (.csv, .csv.gz, .parquet) is needed, found another ending"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        said = problem(tmp_path / name)
        assert message in said, (name, said)
        assert name in said
        assert len(said.splitlines()) == 1


def test_a_file_that_is_not_there_names_the_nearest(tmp_path):
    write(tmp_path, CSV, "patients.csv")
    assert "a file is needed here, found none. Nearest: patients.csv." in problem(tmp_path / "patient.csv")
    assert "found a folder" in problem(tmp_path)
    assert "Its folder does not exist either" in problem(tmp_path / "no" / "t.csv")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_recognised_and_said(tmp_path, separator):
    r = read_table(write(tmp_path, CSV.replace(",", separator)), label="ill", id="who")
    assert r.ids.tolist() == ["b7", "a1", "007"]
    assert any(n.startswith("fields are separated by") for n in r.notes)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV.encode("utf-8-sig"))
    assert read_table(tmp_path / "t.csv", label="ill", id="who").ids.tolist() == ["b7", "a1", "007"]


def test_repeated_names_in_a_file_are_said(tmp_path):
    r = read_table(write(tmp_path, "a,a,y\n1,2,0\n3,4,1\n"), label="y")
    assert [c.name for c in r.columns] == ["a", "a.1"]
    assert any("('a') got .1, .2" in n for n in r.notes)


def test_a_column_with_a_role_must_not_stand_twice(tmp_path):
    """The first of two label columns was once taken, and the other one became a feature that gives the label away."""
    (tmp_path / "d.csv").write_text("k,y,a,y,g,g\n1,no,2,yes,u,v\n2,yes,3,no,u,v\n")
    with pytest.raises(DataError) as wrong:
        read_table(tmp_path / "d.csv", label="y", id="k", groups=["g"])
    assert [p.split(": ", 1)[1] for p in wrong.value.problems] == [
        "one column 'g' is needed, found 2. Rename them.",
        "one column 'y' is needed, found 2. Rename them.",
    ]


def test_line_breaks_inside_quotes_are_no_damage(tmp_path):
    r = read_table(write(tmp_path, 'a,y\n"x\nz",0\n"u\nv",1\n'), label="y")
    assert r.columns[0].levels == ("u\nv", "x\nz")


def test_the_frame_is_not_changed():
    frame = table(["a", "b", "c"])
    before = frame.copy(deep=True)
    from_frame(frame, label="y", id="id", unit="unit")
    pd.testing.assert_frame_equal(frame, before)
