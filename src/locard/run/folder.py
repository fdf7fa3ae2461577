"""A run folder: one writer at a time, everything in it written whole, and enough in it to repeat the run."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from locard import __version__
from locard.errors import StoreMismatch
from locard.files import cannot_write, remove, write_file
from locard.plan.plan import Plan
from locard.settings_text import to_toml
from locard.train.store import Store, open_store

LOCK = ".lock"
WRITTEN = (
    "environment.json",
    "settings.toml",
    "plan.safetensors",
    "scores.safetensors",
    "records.parquet",
    "claims.csv",
    "result.json",
    "report.html",
    "run.json",
    "rank.json",
    "rank.html",
    "rank.parquet",
)
STALE = ("result.json", "report.html", "claims.csv", "rank.json", "rank.html", "rank.parquet")
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "safetensors")


class RunFolder:
    """The folder of one audit, held by a lock while a run writes to it.

    - a second process is told so at once and changes nothing
    - finished models stay, whatever happens to the run
    - the result of another audit does not: what is in the folder belongs together
    - a folder that no run has made keeps its files: one that would be written over is refused

    Raises:
        StoreMismatch: another process holds it, or it holds files of the user's own that a run would write over.
        RunStopped: it cannot be made or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.store = Store(self.path / "observations")
        self.weights = Store(self.path / "weights")
        self._lock: IO[str] | None = None
        self._started = time.time()
        self.timings: dict[str, Any] = {}

    def __enter__(self) -> RunFolder:
        refuse_foreign(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("a+")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()
        except BlockingIOError as held:
            raise StoreMismatch(self._held()) from held
        except (FileExistsError, NotADirectoryError) as taken:
            raise StoreMismatch(_taken(self.path)) from taken
        except OSError as problem:
            raise cannot_write(self.path, 0, problem) from problem
        self.store.clean()
        self.weights.clean()
        for left in self.path.glob(".*.part"):
            left.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def begin(self, settings: Mapping[str, Any], plan: Plan, fingerprints: Mapping[str, str], base: Path) -> None:
        """Write what identifies the run: resolved settings, environment, plan. Open the store that they name.

        Args:
            settings: the resolved tree.
            plan: the drawn plan.
            fingerprints: of data, recipe and plan.
            base: the folder from which the settings' relative paths are looked up (for ``--like``).

        Raises:
            RunStopped: the folder, or the store that ``compute.store`` names, cannot be written.
        """
        place = settings.get("compute", {}).get("store")
        if place is not None:
            self.store = open_store(self.path / "observations", place, base)
            self.weights = open_store(self.path / "weights", f"{place.rstrip('/')}/weights", base)
            with self.store.marked():  # it can be written, or that is said before anything is trained
                pass
        around = environment(settings.get("seed"), fingerprints)
        claims = any(str(a.get("name")).startswith("gmia") for a in settings.get("attack", ()))
        aside = ("compute", "rank") if claims else ("compute", "rank", "screen")  # no result depends on them
        same = {k: v for k, v in settings.items() if k not in aside}
        around["identity"] = hashlib.sha256(_json({"settings": same, "environment": around})).hexdigest()
        around["base"] = str(base.resolve())
        if read_environment(self.path).get("identity") != around["identity"]:
            for stale in (*STALE, "screen.json", "screen.parquet"):
                remove(self.path / stale)
        write_file(self.path / "environment.json", _json(around))
        write_file(self.path / "settings.toml", to_toml(settings).encode())
        write_file(self.path / "plan.safetensors", plan.to_bytes())

    def _held(self) -> str:
        assert self._lock is not None  # opened before it was found to be held
        self._lock.seek(0)
        who = self._lock.read().strip() or "unknown"
        self._lock.close()
        return (
            f"A run folder has one writer, but process {who} is writing to {self.path}. Wait until it has ended, or "
            f"choose another folder with --out."
        )

    def end(self, stages: Stages | None = None) -> None:
        """Write ``run.json``: timings and choices, which are no part of the result."""
        if stages is not None:
            self.timings["stage_seconds"] = {name: round(took, 3) for name, took in stages.seconds.items()}
        self.timings["total_seconds"] = round(time.time() - self._started, 3)
        write_file(self.path / "run.json", _json(self.timings))


def refuse_foreign(path: Path) -> None:
    """Refuse a folder in which a run would write over files that no run has made. Changes nothing.

    Raises:
        StoreMismatch: with their names; or there is a file in the folder's place.
    """
    if path.exists() and not path.is_dir():
        raise StoreMismatch(_taken(path))
    found = [name for name in WRITTEN if (path / name).exists()]
    if not found or (path / LOCK).exists() or "fingerprints" in read_environment(path):
        return
    raise StoreMismatch(
        f"A folder of its own is needed for the run, but {path.resolve()} holds {', '.join(found)}, which no run has "
        f"made and this one would write over. Choose another with --out."
    )


def _taken(path: Path) -> str:
    return f"A folder is needed for the run, but {path} is a file or lies below one. Choose another with --out."


class Stages:
    """How long each stage of a run took, in seconds.

    >>> stages = Stages()
    >>> with stages("training"):
    ...     pass
    >>> list(stages.seconds)
    ['training']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


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


def read_environment(folder: Path) -> dict[str, Any]:
    """``environment.json`` of a run folder; empty where there is none that can be read."""
    try:
        tree = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()
