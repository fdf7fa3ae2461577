from __future__ import annotations

import pickle

import numpy as np
import pytest

from locard.data.arrays import read_npz
from locard.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
Y = np.array(["no", "yes", "no", "yes"])


def problem(path) -> str:
    with pytest.raises(DataError) as caught:
        read_npz(path)
    return str(caught.value)


def test_all_arrays_arrive(tmp_path):
    path = tmp_path / "a.npz"
    ids = np.array(["007", "<script>", "数据", "b"])
    unit, weight = np.array([1, 1, 2, 3]), np.array([1.0, 2.0, 1.0, 0.5])
    np.savez(path, features=X, labels=Y, ids=ids, unit=unit, weight=weight, groups_sex=np.array(["f", "m", "f", "m"]))
    r = read_npz(path)
    assert r.ids.tolist() == ids.tolist()
    assert r.labels.tolist() == Y.tolist()
    assert r.groups["sex"].tolist() == ["f", "m", "f", "m"]
    assert r.n_units == 3
    assert r.weight.tolist() == weight.tolist()
    assert r.features.dtype == np.float32
    np.testing.assert_array_equal(r.features, X)
    assert r.notes == ()


def test_short_names_and_default_ids(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=X, y=Y, fold=np.arange(4))
    r = read_npz(tmp_path / "a.npz")
    assert r.ids.tolist() == [0, 1, 2, 3]
    assert r.notes == ("not used: the array 'fold'", "no ids were given, so the ids are row numbers, from 0 on")


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled!",)


def test_object_arrays_are_refused_and_never_unpickled(tmp_path, capsys):
    """Peers line 14."""
    path = tmp_path / "a.npz"
    np.savez(path, features=X, labels=np.array(["a", Trap(), "b", "a"], dtype=object), allow_pickle=True)
    said = problem(path)
    assert "found arrays of Python objects (labels), which are never read" in said
    assert "dtype=str" in said
    assert capsys.readouterr().out == ""
    path.write_bytes(pickle.dumps(Trap()))
    assert "a whole .npz file is needed" in problem(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": X}, "an array named labels or y is needed, found features. Add it."),
        ({"labels": Y}, "an array named features or X is needed, found labels. Add it."),
        ({"features": X, "X": X, "labels": Y}, "one array of features is needed, found it under two names"),
        ({"features": X, "labels": Y, "unti": Y}, "names of known arrays are needed, found 'unti'. Nearest: unit."),
        ({"features": X, "labels": Y[:3]}, "labels: 4 values are needed (one an id), found 3"),
        ({"features": X, "labels": Y, "ids": ["a", "a", "b", "c"]}, "ids: they repeat"),
        ({"features": X.astype(str), "labels": Y}, "features: a numeric array [records, ...] is needed"),
        ({"features": X, "labels": np.eye(4)}, "labels: one value a record is needed, found an array of shape (4, 4)"),
        ({"features": X, "labels": np.array(1)}, "labels: one value a record is needed, found an array of shape ()"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    said = problem(tmp_path / "a.npz")
    assert message in said
    assert "a.npz" in said


def test_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    assert "a file is needed here, found none" in problem(path)
    path.write_bytes(b"")
    assert "found an empty file of 0 bytes" in problem(path)
    np.savez(path, features=X, labels=Y)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged, cut short or of another kind" in problem(path)
    flipped = bytearray(whole)
    at = whole.index(X.tobytes()) + 5
    flipped[at] ^= 0xFF
    path.write_bytes(bytes(flipped))
    assert "it is damaged" in problem(path)
    np.save(tmp_path / "b.npy", X)
    assert "numpy.savez(path, features=..., labels=...)" in problem(tmp_path / "b.npy")
