"""A picture as a PNG address: an independent reader gets the same pixels back."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from locard.data.thumbnail import LARGEST, is_picture, thumbnail
from locard.errors import DataError


def decoded(address: str) -> np.ndarray:
    """Reads what the PNG specification says: checked chunks, one stream, rows without a filter."""
    head, _, body = address.partition(",")
    assert head == "data:image/png;base64"
    data = base64.b64decode(body, validate=True)
    assert data[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    chunks, at = {}, 8
    while at < len(data):
        (size,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + size]
        (crc,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
        assert crc == zlib.crc32(data[at + 4 : at + 8 + size])
        chunks[name], at = content, at + 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return np.moveaxis(rows[:, 1:].reshape(height, width, channels), -1, 0)


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 4, 9), (1, 1), (28, 28)])
def test_bytes_come_back_as_they_are(shape, freeze):
    image = freeze(np.random.default_rng(0).integers(0, 256, size=shape).astype(np.uint8))
    np.testing.assert_array_equal(decoded(thumbnail(image)), image if image.ndim == 3 else image[None])


def test_other_numbers_are_stretched_from_black_to_white():
    image = np.array([[-1.0, 0.0], [0.5, 1.0]])
    assert decoded(thumbnail(image))[0].tolist() == [[0, 128], [191, 255]]
    assert decoded(thumbnail(image, low=0, high=2))[0].tolist() == [[0, 0], [64, 128]]
    assert decoded(thumbnail(np.full((2, 2), 3.5)))[0].tolist() == [[0, 0], [0, 0]]
    assert decoded(thumbnail(np.eye(2, dtype=bool)))[0].tolist() == [[255, 0], [0, 255]]


def test_large_pictures_are_thinned_out():
    image = np.arange(500 * 300).reshape(500, 300) % 251
    small = decoded(thumbnail(image.astype(np.uint8)))[0]
    assert max(small.shape) <= LARGEST
    np.testing.assert_array_equal(small, image[::6, ::6])
    assert len(thumbnail(np.zeros((28, 28), dtype=np.uint8))) < 250


@pytest.mark.parametrize(
    "wrong", [np.zeros(4), np.zeros((2, 3, 3)), np.zeros((3, 3, 3, 3)), np.zeros((0, 3)), np.array([["a"]])]
)
def test_other_shapes_are_refused(wrong):
    with pytest.raises(DataError, match=r"\[height, width\] or \[1 or 3, height, width\] are needed"):
        thumbnail(wrong)
    assert not is_picture(wrong.shape) or wrong.dtype.kind == "U"


def test_missing_pixels_are_refused():
    with pytest.raises(DataError, match="finite numbers"):
        thumbnail(np.array([[0.0, np.nan]]))
