"""The two pinned tables that exist only as pickles of pandas, rebuilt without running what a pickle may ask for.

Unpickling may call anything that can be imported. The archives read here are pinned and their hash is checked first,
so their content is known; this reader is the second lock. It knows the few names that such a table is made of, gives
each a plain stand-in, and refuses every other name. No part of pandas takes part, so its version plays no part.
Nothing that a user brings is ever read with it.
"""

from __future__ import annotations

import io
import lzma
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class _Frame:
    """Stands in for a DataFrame: keeps the state it is given."""

    blocks: list[tuple[np.ndarray, Any]]
    axes: list[Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.blocks, self.axes = state["_mgr"]


def _manager(blocks: tuple[Any, ...], axes: list[Any]) -> tuple[list[Any], list[Any]]:
    return list(blocks), list(axes)


def _block(values: np.ndarray, places: Any, ndim: int) -> tuple[np.ndarray, Any]:
    return values, places


def _index(kind: object, state: dict[str, Any]) -> Any:
    return state["data"] if "data" in state else range(state["start"], state["stop"], state["step"])


def _frombuffer(buffer: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: object, shape: tuple[int, ...], dtype: str | bytes) -> np.ndarray:
    return np.ndarray(shape, dtype="b")  # the pickle then sets its content


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.indexes.base", "Index"): object,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.range", "RangeIndex"): object,
    ("pandas.core.internals.managers", "BlockManager"): _manager,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise DataError(f"a pinned table made of numbers and text is needed, found {module}.{name} in it. Refused.")
        return _STAND_INS[module, name]


def read_pickled_table(data: bytes) -> pd.DataFrame:
    """The table in an xz-compressed pickle of a pandas DataFrame; call it on pinned, hash-checked bytes only.

    Raises:
        DataError: the pickle asks for anything but the parts of a plain table.
    """
    import pandas as pd

    frame = _Reader(io.BytesIO(lzma.decompress(data))).load()
    if not isinstance(frame, _Frame):
        raise DataError(f"a pinned table is needed, found a pickle of a {type(frame).__name__}. Refused.")
    names = [str(n) for n in frame.axes[0]]
    columns: dict[str, np.ndarray] = {}
    for values, places in frame.blocks:
        rows = np.arange(len(names))[places]
        columns.update({names[place]: values[i] for i, place in enumerate(rows.tolist())})
    return pd.DataFrame({name: columns[name] for name in names})
