"""What many tests share: small records that nobody may change, and settings for audits that take a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from locard.cli.main import run
from locard.data.records import Records
from locard.settings_text import to_toml

FLAKE = 1e-9  # chance that correct code fails one such test
RESULT = ("result.json", "records.parquet", "scores.safetensors")
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


def read_processes() -> list[dict[str, Any]]:
    """Every living process here: pid, parent, session and command, from /proc (``ps`` may not be installed)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            found.append({"pid": int(folder.name), "parent": int(parent), "session": int(session), "command": words})
    return found


@pytest.fixture
def processes() -> Callable[[], list[dict[str, Any]]]:
    return read_processes


@pytest.fixture
def environment() -> dict[str, str]:
    """For subprocesses: one thread each."""
    return os.environ | ONE_THREAD


TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "data": {"source": "data.npz"},
    "target": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}},
    "references": {"models": 8},
    "attack": [{"name": "lira"}, {"name": "loss"}],
    "measure": {"fprs": [0.1]},
    "controls": {"redraws": 3, "blind": False},
    "compute": {"workers": 1},
}


@pytest.fixture
def tiny(npz: Path) -> Callable[..., Path]:
    """``tiny(references={"models": 4})``: a settings file beside the data, with these sections changed."""

    def write(**sections: Any) -> Path:
        tree = TINY | {k: TINY.get(k, {}) | v if isinstance(v, dict) else v for k, v in sections.items()}
        path = npz.with_name("audit.toml")
        path.write_text(to_toml({k: v for k, v in tree.items() if v is not None}))
        return path

    return write


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``cli("audit", path, ...)``: exit code, stdout and stderr of the command, run in this process."""

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["locard", *map(str, words)])
        with pytest.raises(SystemExit) as leaving:
            run()
        out, err = capfd.readouterr()
        return int(leaving.value.code or 0), out, err

    return call


@pytest.fixture
def bytes_of() -> Callable[[Path], dict[str, bytes]]:
    """The three files of a result."""
    return lambda folder: {n: (folder / n).read_bytes() for n in RESULT}
