"""The store: whole files or none; whatever is damaged is named, set aside and made again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import RunStopped
from locard.train.store import DamagedFile, Store, StoreReader

TENSORS = {
    "logits": np.arange(24, dtype=np.float32).reshape(4, 2, 3),
    "population": np.zeros((0, 2, 3), dtype=np.float32),
}


def stored(folder) -> Store:
    store = Store(folder / "observations")
    store.write("key", TENSORS)
    return store


def fresh(store: Store) -> Store:
    """As another process would see it: nothing is known to be sound."""
    return Store(store.folder)


def test_what_is_written_reads_back(tmp_path):
    store = stored(tmp_path)
    for name, tensor in TENSORS.items():
        again = fresh(store).read("key", name)
        assert again.dtype == tensor.dtype
        assert np.array_equal(again, tensor)
        assert fresh(store).shape("key", name) == tensor.shape
    assert StoreReader(store, ["key"], "logits").shape == (1, 4, 2, 3)
    assert np.array_equal(StoreReader(store, ["key"], "logits").read(0), TENSORS["logits"])


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    first = stored(tmp_path).path("key").read_bytes()
    store = Store(tmp_path / "two")
    store.write("key", dict(reversed(TENSORS.items())))
    assert store.path("key").read_bytes() == first


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_the_checksum_catches_a_flipped_bit_anywhere(tmp_path_factory, where, bit):
    """In the header too: a changed shape of an empty tensor, or a changed name, was not seen before it was summed."""
    store = stored(tmp_path_factory.mktemp("store"))
    path = store.path("key")
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedFile, match=r"key\.safetensors is damaged; it was moved to key\.damaged-1"):
        fresh(store).sound("key")
    assert not path.exists()
    assert path.with_name("key.damaged-1").read_bytes() == bytes(data)


@pytest.mark.parametrize("old", [b'"shape":[0,2,3]', b'"logits"', b'"F32"'])
def test_a_changed_header_is_damage_even_where_it_still_reads(tmp_path, old):
    store = stored(tmp_path)
    data = store.path("key").read_bytes()
    assert old in data
    store.path("key").write_bytes(data.replace(old, old.replace(b"2", b"1").replace(b"g", b"f")))
    assert fresh(store).verify(["key"])[0] == ["key"]


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1])
def test_truncated_files_are_named_and_set_aside(tmp_path, cut):
    store = stored(tmp_path)
    whole = store.path("key").read_bytes()
    store.path("key").write_bytes(whole[:cut])
    absent, messages = fresh(store).missing(["key", "other"])
    assert absent == ["key", "other"]
    assert messages == ["key.safetensors is damaged; it was moved to key.damaged-1 and will be made again."]


@pytest.mark.parametrize(
    "content", [b"\xff" * 40, b"[1]" * 30, (12).to_bytes(8, "little") + b"[1, 2, 3, 4]" + bytes(9)]
)
def test_foreign_files_under_a_stores_name_are_damage(tmp_path, content):
    store = stored(tmp_path)
    store.path("key").write_bytes(content)
    assert fresh(store).missing(["key"])[0] == ["key"]


def test_a_second_damaged_file_does_not_overwrite_the_first(tmp_path):
    store = stored(tmp_path)
    for number in (1, 2):
        store.path("key").write_bytes(b"x" * number)
        fresh(store).missing(["key"])
        store.write("key", TENSORS)
    assert [store.path("key").with_name(f"key.damaged-{n}").read_bytes() for n in (1, 2)] == [b"x", b"xx"]
    assert fresh(store).sound("key")


def test_a_file_that_is_gone_or_damaged_when_it_is_read_stops_the_run_with_what_to_do(tmp_path):
    store = stored(tmp_path)
    with pytest.raises(RunStopped, match=r"none\.safetensors is needed, but it is gone. Run the same command again"):
        store.read("none", "logits")
    store.path("key").write_bytes(b"")
    with pytest.raises(RunStopped, match=r"is damaged; it was moved"):
        fresh(store).shape("key", "logits")


def test_what_crashed_writers_left_is_cleaned_and_nothing_else(tmp_path):
    store = stored(tmp_path)
    (store.folder / ".key.safetensors.abc.part").write_bytes(b"half")
    (store.folder / "notes.txt").write_bytes(b"mine")
    store.clean()
    assert sorted(p.name for p in store.folder.iterdir()) == ["key.safetensors", "notes.txt"]


def test_what_cannot_be_read_is_set_aside_like_what_is_damaged(tmp_path):
    store = Store(tmp_path)
    store.path("key").mkdir(parents=True)
    assert store.missing(["key"]) == (
        ["key"],
        ["key.safetensors is damaged; it was moved to key.damaged-1 and will be made again."],
    )
    assert (tmp_path / "key.damaged-1").is_dir()
