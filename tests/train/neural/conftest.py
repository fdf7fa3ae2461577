"""What tests of networks share: frozen records, runs of many sizes, and the comparison of two trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from locard.data.records import Column, Records
from locard.train.asked import Run
from locard.train.neural.state import Stack


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in a worker."""
    torch.set_num_threads(1)


def freeze(array: Any) -> np.ndarray:
    out = np.array(array)
    out.flags.writeable = False
    return out


@pytest.fixture(scope="session")
def numbers() -> Callable[..., Records]:
    """``numbers(n, shape=, classes=, weight=, dtype=, seed=)``: noisy records of any shape, with a signal."""

    def make(
        n: int = 40,
        *,
        shape: tuple[int, ...] = (5,),
        classes: int = 3,
        weight: Any = None,
        dtype: Any = np.float64,
        seed: int = 0,
    ) -> Records:
        rng = np.random.default_rng(seed)
        y = rng.integers(classes, size=n)
        y[:classes] = np.arange(classes)
        x = rng.normal(size=(n, *shape)) + y.reshape(-1, *(1 for _ in shape))
        if dtype is np.uint8:
            x = np.clip(60 * x + 60, 0, 255)
        w = None if weight is None else freeze(weight)
        return Records(ids=freeze(np.arange(n)), features=freeze(x.astype(dtype)), labels=freeze(y), weight=w)

    return make


@pytest.fixture(scope="session")
def table() -> Callable[..., Records]:
    """``table(n, missing=, seed=)``: numbers (one of size 1e9) and categories; gaps at rate ``missing``."""

    def make(n: int = 60, *, missing: float = 0.1, seed: int = 0, dtype: Any = np.float64) -> Records:
        rng = np.random.default_rng(seed)
        columns = (
            Column("a", "number"),
            Column("colour", "category", ("red", "green", "blue", "rare")),
            Column("b", "number"),
            Column("yes", "category", ("no", "yes")),
            Column("seconds", "number"),
        )
        x = np.column_stack(
            [
                rng.normal(3, 2, n),
                rng.integers(3, size=n),
                rng.exponential(size=n),
                rng.integers(2, size=n),
                rng.normal(1.6e9, 1e3, n),
            ]
        )
        x[0, 1] = 3  # the rare level is seen by models that hold record 0 only
        x[rng.random(x.shape) < missing] = np.nan
        y = (np.nan_to_num(x[:, 0]) + rng.normal(size=n) > 3).astype(int)
        y[:2] = [0, 1]
        return Records(ids=np.arange(n), features=freeze(x.astype(dtype)), labels=freeze(y), columns=columns)

    return make


@pytest.fixture(scope="session")
def runs() -> Callable[..., list[Run]]:
    """``runs(records, sizes, seed=)``: a run for each size, its records drawn with its own seed."""

    def make(records: Records, sizes: Sequence[int], *, seed: int = 0) -> list[Run]:
        out = []
        for i, size in enumerate(sizes):
            index = np.random.default_rng(seed + 1000 + i).integers(len(records), size=size)
            index.flags.writeable = False
            out.append(Run(index, seed + 17 * i))
        return out

    return make


@pytest.fixture(scope="session")
def apart() -> Callable[[Stack, Sequence[Stack]], float]:
    """``apart(many, ones)``: the largest difference between any two tensors of a model."""

    def measure(many: Stack, ones: Sequence[Stack]) -> float:
        assert len(many) == len(ones)
        worst = 0.0
        for model, one in enumerate(ones):
            a, b = many.tensors(model), one.tensors(0)
            assert a.keys() == b.keys()
            for name, value in a.items():
                assert value.dtype == b[name].dtype
                assert torch.isfinite(value.double()).all()
                worst = max(worst, float((value.double() - b[name].double()).abs().max()) if value.numel() else 0.0)
        return worst

    return measure
