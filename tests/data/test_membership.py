"""Who was trained on what, read from files: matched to checkpoints and records, or refused with all that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from locard.data.membership import find_files, mask_of_ids, need_whole_units, read_membership
from locard.errors import LocardError, SettingsError


@pytest.fixture
def mask() -> np.ndarray:
    return np.random.default_rng(0).random((4, 60)) < 0.5


def made(folder: Path, names: list[str]) -> list[Path]:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return [folder / n for n in names]


def names(count: int, suffix: str = "bin") -> list[str]:
    return [f"m-{k:02d}.{suffix}" for k in range(count)]


# -- arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32])
def test_row_k_of_an_array_is_the_kth_checkpoint(records, tmp_path, mask, dtype):
    files = made(tmp_path, names(4))
    np.save(tmp_path / "m.npy", mask.astype(dtype))
    np.savez(tmp_path / "one.npz", whatever=mask.astype(dtype))
    np.savez(tmp_path / "two.npz", member=mask.astype(dtype), other=np.zeros(3))
    for name in ("m.npy", "one.npz", "two.npz"):
        read, remarks = read_membership([name], files, records(60), base=tmp_path)
        assert (read.dtype, remarks) == (bool, ())
        assert np.array_equal(read, mask)


def test_ids_beside_the_array_say_which_column_is_which_record(records, tmp_path, mask):
    """Planted: the columns taken in the order of the data."""
    r = records(60)
    order = np.random.default_rng(1).permutation(60)[:50]
    np.savez(tmp_path / "m.npz", member=mask[:, order], ids=r.ids[order].astype(str))
    read, _ = read_membership(["m.npz"], made(tmp_path, names(4)), r, base=tmp_path)
    expected = np.zeros_like(mask)
    expected[:, order] = mask[:, order]
    assert np.array_equal(read, expected)


def test_names_whose_order_nobody_can_tell_are_refused_with_an_array_alone(records, tmp_path):
    """Row 2 is m-2 for whoever counts, and m-10 for whoever sorts."""
    mask = np.random.default_rng(0).random((12, 60)) < 0.5
    np.save(tmp_path / "m.npy", mask)
    files = find_files(["m-*.bin"], tmp_path, "x") if made(tmp_path, [f"m-{k}.bin" for k in range(12)]) else []
    with pytest.raises(SettingsError, match=r"as text m-10\.bin comes before m-2\.bin\. Write numbers with leading"):
        read_membership(["m.npy"], files, records(60), base=tmp_path)
    counted = [tmp_path / f"m-{k}.bin" for k in range(12)]  # a list in the user's own order
    assert np.array_equal(read_membership(["m.npy"], counted, records(60), base=tmp_path)[0], mask)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"member": np.ones((4, 59), dtype=bool)}, r"shape \(4, 60\) is needed \(checkpoints, records of the data\)"),
        ({"member": np.ones((3, 60), dtype=bool)}, r"found \(3, 60\)"),
        ({"member": np.ones((4, 60)), "ids": np.arange(50)}, r"shape \(4, 50\) is needed \(checkpoints, ids\)"),
        ({"a": np.ones(3), "b": np.ones(3)}, r"an array named member \[checkpoints, records\] is needed, found a, b"),
        ({"member": np.full((4, 60), 0.5)}, "True and False"),
        ({"member": np.ones(60)}, r"found shape \(60,\)"),
        ({"member": np.ones((4, 60)), "ids": np.arange(60)}, "60 of 60 are unknown"),
        ({"member": np.array([None])}, "which are never read"),
    ],
)
def test_arrays_that_do_not_fit_are_one_message_with_the_file(records, tmp_path, arrays, said):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(LocardError, match=said) as wrong:
        read_membership(["m.npz"], made(tmp_path, names(4)), records(60), base=tmp_path)
    assert str(wrong.value).startswith("references.members: m.npz: ")


@pytest.mark.parametrize("name", ["m.npz", "m.npy"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_damaged_arrays_are_one_message(records, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LocardError, match=r"references\.members: m\.np. ?.*Write it again"):
        read_membership([name], made(tmp_path, names(4)), records(60), base=tmp_path)


# -- files of ids ------------------------------------------------------------------------------------------------------


def written(folder: Path, r, mask: np.ndarray, to: list[str]) -> None:
    for row, path in zip(mask, made(folder, to), strict=True):
        path.write_text("\n".join(r.ids[row]) + "\n\n")


def test_files_of_ids_are_matched_in_the_order_of_their_names(records, tmp_path, mask):
    r = records(60)
    written(tmp_path, r, mask, [f"ids/{n}" for n in names(4, "txt")])
    read, remarks = read_membership(["ids/*.txt"], made(tmp_path, names(4)), r, base=tmp_path)
    assert np.array_equal(read, mask)
    assert remarks == ()


def test_folders_may_say_what_belongs_together(records, tmp_path, mask):
    r, folders = records(60), ["a", "b", "c", "d"]
    files = made(tmp_path, [f"runs/{f}/model.bin" for f in folders])
    written(tmp_path, r, mask, [f"runs/{f}/train.txt" for f in folders])
    read, remarks = read_membership(["runs/*/train.txt"], files, r, base=tmp_path)
    assert np.array_equal(read, mask)
    assert remarks == ()


def test_names_that_do_not_belong_together_are_told(records, tmp_path, mask):
    r = records(60)
    written(tmp_path, r, mask, [f"{c}.txt" for c in "wxyz"])
    read, (remark,) = read_membership(["*.txt"], made(tmp_path, names(4)), r, base=tmp_path)
    assert np.array_equal(read, mask)
    assert "matched by their order alone, because their names differ (first: m-00.bin with w.txt)" in remark


def test_another_number_of_files_is_told(records, tmp_path, mask):
    written(tmp_path, records(60), mask, names(4, "txt"))
    with pytest.raises(SettingsError, match=r"a file of ids|one file of ids for each of 5 checkpoints .* found 4"):
        read_membership(["*.txt"], made(tmp_path, names(5)), records(60), base=tmp_path)


def test_all_that_is_wrong_with_the_ids_is_told_at_once(records, tmp_path, mask):
    r = records(60)
    written(tmp_path, r, mask, names(4, "txt"))
    (tmp_path / "m-01.txt").write_text("nobody\n")
    (tmp_path / "m-02.txt").write_text("\n")
    with pytest.raises(SettingsError) as wrong:
        read_membership(["*.txt"], made(tmp_path, names(4)), r, base=tmp_path)
    first, second = wrong.value.problems
    assert "references.members: m-01.txt: ids of the data are needed, but 1 of 1 are unknown (first: 'nobody')" in first
    assert "m-02.txt is empty" in second


def test_arrays_and_ids_together_are_refused(records, tmp_path, mask):
    np.save(tmp_path / "m.npy", mask)
    written(tmp_path, records(60), mask, names(4, "txt"))
    with pytest.raises(SettingsError, match="found 5 files with arrays among them"):
        read_membership(["m*.npy", "*.txt"], made(tmp_path, names(4)), records(60), base=tmp_path)


# -- units and places --------------------------------------------------------------------------------------------------


def test_rows_of_one_unit_are_on_one_side(records):
    r = records(60, rows=3)
    whole = np.zeros(60, dtype=bool)
    whole[r.units < 7] = True
    need_whole_units(np.stack([whole, ~whole]), r, "here")
    torn = whole.copy()
    torn[np.flatnonzero(r.units == 3)[0]] = False
    with pytest.raises(
        SettingsError, match=rf"here: all rows of a unit .* 1 units are on both \(first: {r.unit_names.tolist()[3]!r}\)"
    ):
        need_whole_units(np.stack([~whole, torn]), r, "here")
    with pytest.raises(SettingsError, match="units are on both"):
        mask_of_ids(r, [str(r.ids[np.flatnonzero(r.units == 3)[0]])], "here")


def test_patterns_are_sorted_lists_stay_and_what_is_missing_is_all_told(tmp_path):
    made(tmp_path, ["b.bin", "a.bin", "deep/er/c.bin", "[odd].bin"])
    found = find_files(["*.bin"], tmp_path, "x")
    assert [p.name for p in found] == ["[odd].bin", "a.bin", "b.bin"]
    assert [p.name for p in find_files(["b.bin", "a.bin"], tmp_path, "x")] == ["b.bin", "a.bin"]
    assert [p.name for p in find_files(["**/*.bin"], tmp_path, "x")] == ["[odd].bin", "a.bin", "b.bin", "c.bin"]
    assert [p.name for p in find_files(["[odd].bin"], tmp_path, "x")] == ["[odd].bin"]
    assert all(p.is_absolute() for p in found)
    with pytest.raises(SettingsError) as wrong:
        find_files(["none.bin", "*.pt", "a.bin"], tmp_path, "references.checkpoints")
    assert len(wrong.value.problems) == 2
    assert "none.bin does not exist" in wrong.value.problems[0]
    assert "'*.pt' matches none in" in wrong.value.problems[1]
