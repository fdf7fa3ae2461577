from __future__ import annotations

import sys

import numpy as np
import pytest

from locard.data.source import load_source
from locard.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "patients.csv").write_text("who,age,ill\nb,31,no\na,52,yes\n")
    np.savez(tmp_path / "arrays.npz", features=np.zeros((2, 3)), labels=["no", "yes"])
    (tmp_path / "users_source.py").write_text("def load():\n    return [[0.0], [1.0]], ['no', 'yes']\n")
    (tmp_path / "notes.txt").write_text("x")
    yield tmp_path
    sys.modules.pop("users_source", None)


def problem(**settings) -> str:
    with pytest.raises(DataError) as caught:
        load_source(**settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"source": "patients.csv", "label": "ill", "id": "who"}, ["b", "a"]),
        ({"source": "arrays.npz"}, [0, 1]),
        ({"source": "users_source:load"}, [0, 1]),
    ],
)
def test_every_kind_of_source_from_the_folder_of_the_settings(folder, settings, ids):
    r = load_source(base_dir=folder, **settings)
    assert r.ids.tolist() == ids
    assert r.classes.tolist() == ["no", "yes"]


def test_absolute_paths_and_named_sets(folder):
    assert len(load_source(source=str(folder / "arrays.npz"))) == 2
    assert len(load_source(source="digits", base_dir=folder)) == 1797


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("adlut", "found 'adlut', which is neither. Nearest: adult."),
        ("patient", "Nearest: patients.csv"),
        ("patient.csv", "a file is needed here, found none. Nearest: patients.csv."),
        ("notes.txt", "found 'notes.txt', which is a file with another ending."),
        ("users_sorce:load", "found none in"),
        ("", "which is neither"),
    ],
)
def test_unknown_sources_give_the_nearest(folder, source, message):
    assert message in problem(source=source, base_dir=folder, label="ill")


def test_settings_that_do_not_apply_are_all_named(folder):
    said = problem(source="arrays.npz", base_dir=folder, label="y", id="who", groups=["a"]).splitlines()
    assert [line.split(":")[0] for line in said] == ["data.label", "data.id", "data.groups"]
    assert problem(source="users_source:load", base_dir=folder, unit="a").startswith(
        "data.unit: it applies to tables only"
    )
    assert problem(source="digits", drop=["a"]).startswith("data.drop: it applies to tables only")


def test_a_table_without_a_label_lists_its_columns(folder):
    said = problem(source="patients.csv", base_dir=folder)
    assert said.startswith("data.label: the column with the class of each record is needed, found none named.")
    assert said.endswith("There are: who, age, ill.")
