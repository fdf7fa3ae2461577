"""A record that is a picture, as a small PNG inside a page: no image library, no file."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from locard.errors import DataError

LARGEST = 96  # pixels a side; larger pictures are thinned out
COLOURS = {1: 0, 3: 2}  # channels -> PNG colour type
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether features of this shape (without the axis of records) are a picture: [h, w], [1, h, w] or [3, h, w].

    >>> is_picture((28, 28)), is_picture((3, 32, 32)), is_picture((64,)), is_picture((2, 28, 28))
    (True, True, False, False)
    """
    return (len(shape) == 2 and min(shape) > 0) or (len(shape) == 3 and shape[0] in COLOURS and min(shape) > 0)


def thumbnail(image: np.ndarray, *, low: float | None = None, high: float | None = None) -> str:
    """A picture as a ``data:image/png;base64,...`` address of at most 96 pixels a side.

    Args:
        image: ``[height, width]`` grey, or ``[channels, height, width]`` with 1 or 3 channels. 8-bit integers are shown
            as they are; other numbers from ``low`` (black) to ``high`` (white), beyond them clipped.
        low: default: the picture's smallest number. Give that of all pictures to compare them.
        high: default: the picture's largest number.

    Raises:
        DataError: another shape, or numbers that are not finite.

    >>> thumbnail(np.zeros((2, 2), dtype=np.uint8))[:40]
    'data:image/png;base64,iVBORw0KGgoAAAANSU'
    """
    pixels = np.asarray(image)
    if not is_picture(pixels.shape) or pixels.dtype.kind not in "biuf":
        raise DataError(
            f"thumbnail: numbers [height, width] or [1 or 3, height, width] are needed, found {pixels.dtype} "
            f"{pixels.shape}. Show the columns instead."
        )
    if not np.isfinite(pixels).all():
        raise DataError("thumbnail: finite numbers are needed, found others. Mend the picture.")
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    step = max(1, -(-max(pixels.shape[1:]) // LARGEST))
    pixels = _bytes(pixels[:, ::step, ::step], low, high)
    return "data:image/png;base64," + base64.b64encode(_png(np.moveaxis(pixels, 0, -1))).decode("ascii")


def _bytes(pixels: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    if pixels.dtype == np.uint8 and low is None and high is None:
        return pixels
    values = pixels.astype(np.float64)
    bottom = float(values.min()) if low is None else low
    top = float(values.max()) if high is None else high
    scaled = (values - bottom) / (top - bottom) if top > bottom else np.zeros_like(values)
    return np.rint(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    """``uint8[height, width, channels]`` as a PNG file: each row without a filter, all rows in one stream."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
