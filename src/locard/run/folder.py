"""A run folder: one writer at a time, everything in it written whole, and enough in it to repeat the run."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from locard import __version__
from locard.errors import StoreMismatch
from locard.files import cannot_write, write_file
from locard.plan.plan import Plan
from locard.settings import to_toml
from locard.train.store import Store

PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "safetensors")


class RunFolder:
    """The folder of one audit, held by a lock while a run writes to it.

    - a second process is told so at once and changes nothing
    - finished models stay, whatever happens to the run

    Raises:
        StoreMismatch: another process holds it.
        RunStopped: it cannot be made or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.store = Store(self.path / "observations")
        self._lock: IO[str] | None = None
        self._started = time.time()
        self.timings: dict[str, Any] = {}

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
        except OSError as problem:
            raise cannot_write(self.path, 0, problem) from problem
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            self._lock.seek(0)
            who = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise StoreMismatch(
                f"A run folder has one writer, but process {who} is writing to {self.path}. Wait until it has ended, "
                f"or choose another folder with --out."
            ) from held
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        self.store.clean()
        for left in self.path.glob(".*.part"):
            left.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def begin(self, settings: Mapping[str, Any], plan: Plan, fingerprints: Mapping[str, str]) -> None:
        """Write what identifies the run: resolved settings, environment, plan."""
        write_file(self.path / "settings.toml", to_toml(settings).encode())
        write_file(self.path / "environment.json", _json(environment(settings.get("seed"), fingerprints)))
        write_file(self.path / "plan.safetensors", plan.to_bytes())

    def end(self) -> None:
        """Write ``run.json``: timings and choices, which are no part of the result."""
        self.timings["total_seconds"] = round(time.time() - self._started, 3)
        write_file(self.path / "run.json", _json(self.timings))


def environment(seed: Any, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Versions, seed and fingerprints: what a repeat needs besides the settings."""
    from importlib.metadata import version

    return {
        "locard": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "platform": sys.platform,
        "packages": {name: version(name) for name in PACKAGES},
        "seed": seed,
        "fingerprints": dict(fingerprints),
    }


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()
