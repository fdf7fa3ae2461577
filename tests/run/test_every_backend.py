"""What every backend promises: the same results wherever a chunk runs, and no worker lost is a chunk lost.

Each promise is one test, held by each backend: in this process, in processes of our own, on a Ray cluster.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locard.errors import RunStopped, SettingsError
from locard.run.backend import ATTEMPTS, Backend, LocalBackend
from locard.run.ray_backend import RayBackend

NO_RAY = "Ray is not installed: pip install 'locard[ray]'"
with_ray = pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)
HERE = pytest.param("here", id="LocalBackend(1)")
PROCESSES = [
    pytest.param("processes", id="LocalBackend(2)"),
    pytest.param("ray", id="RayBackend(2)", marks=with_ray),
]
EVERY = pytest.mark.parametrize("backend", [HERE, *PROCESSES], indirect=True)
WITH_WORKERS = pytest.mark.parametrize("backend", PROCESSES, indirect=True)  # death would be this process's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for all tests of this file: a backend uses the cluster that its process is connected to."""
    import ray

    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.2",
    )
    yield
    ray.shutdown()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "ray":
        request.getfixturevalue("cluster")
        return RayBackend(workers=2)
    return LocalBackend(workers=1 if request.param == "here" else 2)


class Sum:
    """Adds a chunk of several numbers to an array that every worker has."""

    def __init__(self) -> None:
        self.array = np.arange(200_000, dtype=np.float64)

    def __call__(self, chunk: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
        return chunk, float(self.array[list(chunk)].sum())


class Dies:
    """Kills its own worker at some chunks, a number of times each; leaves a letter for every time it ran."""

    def __init__(self, folder: Path, chunks: set[int], times: int) -> None:
        self.folder, self.chunks, self.times = folder, chunks, times

    def __call__(self, chunk: int) -> int:
        marker = self.folder / str(chunk)
        ran = marker.read_text() if marker.exists() else ""
        marker.write_text(ran + "x")
        if chunk in self.chunks and len(ran) < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk * 10


class Refused(Exception):
    """An exception of the user's own, with something in it."""

    def __init__(self, chunk: int, why: str) -> None:
        super().__init__(chunk, why)
        self.why = why


class Raises:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: int) -> int:
        (self.folder / f"{chunk}-{time.monotonic_ns()}").touch()
        if chunk == 5:
            raise SettingsError([f"chunk {chunk} is wrong", "and so is another"])
        raise Refused(chunk, "too small")


class NotForTheRoad:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, chunk: int) -> int:
        return chunk


class OpensBadly:
    """Pickles, but cannot be opened again: as with a class that workers cannot import."""

    def __reduce__(self):
        return (__import__, ("no_such_module_anywhere",))

    def __call__(self, chunk: int) -> int:
        return chunk


class Lasts:
    """Every chunk but the first takes two minutes, and a file of its own grows meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: int) -> int:
        end = time.monotonic() + (120 if chunk else 0)
        while time.monotonic() < end:
            with (self.folder / str(chunk)).open("a") as file:
                file.write("x")
            time.sleep(0.02)
        return chunk


def one_thread(chunk: int) -> set[str | None]:
    return {os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def at_work(folder: Path) -> bool:
    """Whether any of the files still grows."""
    before = {p: p.stat().st_size for p in folder.iterdir()}
    time.sleep(0.5)
    return before != {p: p.stat().st_size for p in folder.iterdir()}


def wait_until(ready: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


@EVERY
def test_every_chunk_comes_back_once_and_with_the_same_result(backend):
    chunks = [(n, n + 1, 3 * n) for n in range(17)]
    results = list(backend.map(Sum(), chunks))
    assert sorted(results) == [(c, float(sum(c))) for c in chunks]
    assert isinstance(backend, Backend)


@EVERY
def test_no_chunks_no_results(backend):
    assert list(backend.map(Sum(), [])) == []


@EVERY
def test_chunks_and_results_of_any_kind_and_size(backend):
    sent = [np.full((300, 1000), n) for n in range(3)]
    for array in sent:
        array.flags.writeable = False
    back = sorted(backend.map(np.negative, sent), key=lambda a: -a[0, 0])
    assert all(np.array_equal(b, -a) for a, b in zip(sent, back, strict=True))


@WITH_WORKERS
def test_one_thread_a_worker(backend):
    assert list(backend.map(one_thread, [0, 1])) == [{"1"}, {"1"}]


@WITH_WORKERS
def test_a_chunk_whose_worker_dies_half_way_runs_again_and_no_other_does(backend, tmp_path):
    """Told apart from a backend that counts a worker's queued chunks as lost with it: those would run twice."""
    assert sorted(backend.map(Dies(tmp_path, {3}, 1), range(8))) == [n * 10 for n in range(8)]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {str(n): "xx" if n == 3 else "x" for n in range(8)}


@WITH_WORKERS
def test_a_chunk_that_always_kills_its_worker_stops_the_run_after_three_attempts(backend, tmp_path):
    """One attempt more would be four letters; an endless one would never end."""
    with pytest.raises(RunStopped, match=r"lost theirs 3 times .*run the same command again: everything finished"):
        list(backend.map(Dies(tmp_path, {3}, 99), range(6)))
    assert (tmp_path / "3").read_text() == "x" * ATTEMPTS


@WITH_WORKERS
def test_deaths_of_different_chunks_are_not_added_up(backend, tmp_path):
    """Four deaths in one run: counting every death, whatever its worker worked on, would stop it at the third."""
    assert sorted(backend.map(Dies(tmp_path, {0, 6, 12, 18}, 1), range(24))) == [n * 10 for n in range(24)]


@EVERY
def test_what_the_work_raises_comes_back_as_it_is_and_is_not_tried_again(backend, tmp_path):
    with pytest.raises(SettingsError) as told:
        list(backend.map(Raises(tmp_path), [5]))
    assert type(told.value) is SettingsError
    assert told.value.problems == ("chunk 5 is wrong", "and so is another")
    with pytest.raises(Refused) as refused:
        list(backend.map(Raises(tmp_path), [7]))
    assert type(refused.value) is Refused
    assert (refused.value.args, refused.value.why) == ((7, "too small"), "too small")
    assert sorted(p.name[0] for p in tmp_path.iterdir()) == ["5", "7"]


@WITH_WORKERS
def test_results_that_are_closed_leave_nothing_at_work(backend, tmp_path):
    """A backend that leaves its tasks alone would keep the files growing."""
    results = backend.map(Lasts(tmp_path), range(9))
    assert next(results) == 0
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, seconds=60)
    results.close()
    assert not at_work(tmp_path)


class FailsBeside(Lasts):
    """The first chunk raises as soon as another one is at work."""

    def __call__(self, chunk: int) -> int:
        if chunk == 0:
            wait_until(lambda: list(self.folder.iterdir()), seconds=60)
            raise SettingsError("enough")
        return super().__call__(chunk)


@WITH_WORKERS
def test_work_that_raises_ends_what_runs_beside_it(backend, tmp_path):
    with pytest.raises(SettingsError, match="enough"):
        list(backend.map(FailsBeside(tmp_path), range(5)))
    assert not at_work(tmp_path)


@WITH_WORKERS
def test_work_that_cannot_be_sent_to_workers_is_said_at_once(backend):
    with pytest.raises(SettingsError, match=r"pickling it raised TypeError.*Set compute\.workers = 1"):
        list(backend.map(NotForTheRoad(), [1]))


@WITH_WORKERS
def test_work_that_workers_cannot_open_is_said_and_not_taken_for_a_lack_of_memory(backend):
    with pytest.raises(SettingsError, match=r"ModuleNotFoundError: No module named 'no_such_module_anywhere'"):
        list(backend.map(OpensBadly(), [1]))


@EVERY
def test_one_backend_may_be_used_again_for_other_work(backend):
    assert sorted(backend.map(abs, [-1, -2])) == [1, 2]
    assert sorted(backend.map(str, [-1, -2])) == ["-1", "-2"]
    assert repr(backend) == repr(eval(repr(backend)))
