"""What many tests share: small records that nobody may change, and settings for audits that take a second."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from locard.data.records import Records

FLAKE = 1e-9  # chance that correct code fails one such test
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def frozen(array: Any) -> np.ndarray:
    """An array that raises when somebody writes into it."""
    out = np.array(array)
    out.flags.writeable = False
    return out


def make_records(n: int = 60, *, seed: int = 0, features: int = 4, classes: int = 2, rows: int = 1) -> Records:
    """``n`` noisy records with shuffled text ids; ``rows`` > 1 gives every unit that many rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    y[:classes] = np.arange(classes)
    x = rng.normal(size=(n, features)) + 0.7 * y[:, None]
    names = np.array([f"r{i}" for i in rng.permutation(10 * n)[:n]], dtype=object)
    unit = None if rows == 1 else frozen(rng.permutation(np.arange(n) // rows))
    return Records(ids=frozen(names), features=frozen(x), labels=frozen(y), unit=unit)


@pytest.fixture
def records() -> Callable[..., Records]:
    """``records(n, seed=, features=, classes=, rows=)``."""
    return make_records


@pytest.fixture
def freeze() -> Callable[[Any], np.ndarray]:
    return frozen


@pytest.fixture
def quick() -> dict[str, Any]:
    """Keyword sections of ``locard.audit`` that keep an audit short."""
    return {"compute": {"workers": 1}, "controls": {"redraws": 0, "blind": False}, "measure": {"fprs": [0.1]}}


@pytest.fixture
def binomial() -> Callable[[int, int, float], None]:
    """``binomial(hits, n, p)``: hits of n independent trials at rate p lie where they must but once in 1e9 runs."""

    def check(hits: int, n: int, p: float) -> None:
        low, high = binom.ppf([FLAKE / 2, 1 - FLAKE / 2], n, p)
        assert low <= hits <= high, f"{hits} of {n} at rate {p}: expected {low} to {high}"

    return check


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """80 records in an .npz file, and the folder that a settings file may stand in."""
    r = make_records(80, seed=5)
    path = tmp_path / "data.npz"
    np.savez(path, features=r.features, labels=r.labels, ids=r.ids.astype(str))
    return path


@pytest.fixture
def environment() -> dict[str, str]:
    """For subprocesses: one thread each."""
    return os.environ | ONE_THREAD
