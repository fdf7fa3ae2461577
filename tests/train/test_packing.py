"""Files of tensors: what is seen at a glance, and what only the checksum sees."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.train.packing import fits, pack, whole

DATA = pack({"logits": np.arange(24, dtype=np.float32).reshape(4, 2, 3), "population": np.zeros((0, 2, 3))})


def at_a_glance(data: bytes) -> bool:
    return fits(lambda count: data[:count], len(data))


def test_what_was_packed_fits_and_is_whole():
    for tensors in ({}, {"a": np.zeros(0)}, {"b": np.ones((2, 3)), "a": np.arange(5)}):
        data = pack(tensors)
        assert at_a_glance(data)
        assert whole(io.BytesIO(data))


@settings(derandomize=True, deadline=None)
@given(st.integers(0, len(DATA) - 1))
def test_a_file_cut_anywhere_is_seen_at_a_glance(end):
    assert not at_a_glance(DATA[:end])
    assert not whole(io.BytesIO(DATA[:end]))


def test_a_longer_file_is_seen_at_a_glance():
    assert not at_a_glance(DATA + b"x")
    assert not whole(io.BytesIO(DATA + b"x"))


def test_content_is_the_checksums_affair_and_memory_stays_at_one_block():
    """A payload read as one piece would be one read of 3 MB."""
    data = bytearray(pack({"a": np.zeros(800_000, dtype=np.float32)}))
    data[-1] ^= 1
    assert at_a_glance(bytes(data))
    asked: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(-1 if size is None else size)
            return super().read(size)

    assert not whole(Counting(bytes(data)))
    assert max(asked) <= 2**20
    assert min(asked) >= 0


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**15) + bytes(100),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 40) + b'{"__metadata__": {"checksum": 1}, "a": 1}'[:40],
        struct.pack("<Q", 6000) + b"[" * 6000,
    ],
)
def test_foreign_content_is_neither(data):
    assert not at_a_glance(data)
    assert not whole(io.BytesIO(data))
