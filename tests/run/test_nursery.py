"""Workers forked by a process that has imported what they need: they live, die and end as workers from scratch do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from locard.errors import RunStopped
from locard.run import nursery
from locard.run.backend import ATTEMPTS, LocalBackend, staffed

pytestmark = pytest.mark.skipif(not nursery.FORKS, reason="forked on Linux alone")
IMPORTS = ["wave", "sklearn.ensemble"]


class Who:
    """The chunk, the worker, who started it, its process group, and what it has imported."""

    def __call__(self, chunk: int) -> tuple[int, int, int, int, bool]:
        time.sleep(0.05)
        return chunk, os.getpid(), os.getppid(), os.getpgrp(), "wave" in sys.modules


class Draws:
    """Without a seed: what two generators that every process has draw."""

    def __call__(self, chunk: int) -> tuple[int, float, float]:
        time.sleep(0.2)
        return os.getpid(), random.random(), float(np.random.random())  # noqa: NPY002


class Dies:
    """Ends its worker, by a signal or by itself, as often as is asked; each time a letter."""

    def __init__(self, marker: Path, times: int, how: str) -> None:
        self.marker, self.times, self.how = marker, times, how

    def __call__(self, chunk: int) -> int:
        died = len(self.marker.read_text()) if self.marker.exists() else 0
        if chunk == 3 and died < self.times:
            self.marker.write_text("x" * (died + 1))
            if self.how == "signal":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(7)
        return chunk


class KillsItsNursery:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, chunk: int) -> int:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return chunk


def ours(processes) -> set[int]:
    """All that this process has started, and what that has started."""
    everybody, found = processes(), {os.getpid()}
    for _ in range(3):
        found |= {p["pid"] for p in everybody if p["parent"] in found}
    return found - {os.getpid()}


def wait_until(ready, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


def test_workers_have_imported_what_they_need_lead_their_groups_and_serve_every_map(processes):
    before = ours(processes)
    with staffed(2, imports=IMPORTS) as backend:
        first, second = (list(backend.map(Who(), range(8))) for _ in range(2))
        assert sorted(chunk for chunk, *_ in first) == list(range(8))
        workers = {pid for _, pid, *_ in first}
        assert len(workers) == 2
        assert {pid for _, pid, *_ in second} == workers
        assert len({parent for _, _, parent, *_ in first} | {os.getpid()}) == 2  # one nursery, and it is not we
        assert all(pid == group and imported for _, pid, _, group, imported in first)
    assert ours(processes) == before


def test_the_nursery_has_one_thread_with_all_libraries_that_are_imported_in_it(processes):
    """Forking a process with more is unsafe. Planted: a thread that watches the parent."""
    modules = ["sklearn.ensemble", "xgboost", "lightgbm", "torch", "locard.assess.parts"]
    with staffed(2, imports=modules) as backend:
        (_, _, parent, *_), *_ = backend.map(Who(), range(2))
        assert len(os.listdir(f"/proc/{parent}/task")) == 1


def test_code_that_seeds_nothing_draws_other_numbers_in_every_worker():
    """Planted: without ``_other_randomness`` NumPy's global generator draws the same in both."""
    with staffed(2, imports=["numpy.random"]) as backend:
        drawn = {pid: (a, b) for pid, a, b in backend.map(Draws(), range(2))}
    assert len(drawn) == 2
    (a, b), (c, d) = drawn.values()
    assert a != c
    assert b != d


@pytest.mark.parametrize(("how", "said"), [("signal", "signal 9"), ("exit", "exit code 7")])
def test_a_worker_that_dies_is_replaced_and_one_that_always_dies_is_said_with_how_it_ended(tmp_path, how, said):
    with staffed(2, imports=IMPORTS) as backend:
        assert sorted(backend.map(Dies(tmp_path / "once", 1, how), range(6))) == list(range(6))
        with pytest.raises(RunStopped, match=rf"lost theirs 3 times \(the last ended by {said};"):
            list(backend.map(Dies(tmp_path / "always", 99, how), range(6)))
        assert (tmp_path / "always").read_text() == "x" * ATTEMPTS
        assert sorted(backend.map(abs, [-1, 2])) == [1, 2]


def test_another_nursery_takes_over_from_one_that_was_killed(tmp_path, processes):
    before = ours(processes)
    with staffed(2, imports=IMPORTS) as backend:
        assert sorted(backend.map(KillsItsNursery(tmp_path / "marker"), range(6))) == list(range(6))
    wait_until(lambda: ours(processes) == before, seconds=3)


def test_a_block_that_fails_leaves_nobody_however_busy_or_early(processes):
    before, begun = ours(processes), time.monotonic()
    with pytest.raises(RuntimeError, match="early"), staffed(2, imports=IMPORTS):
        raise RuntimeError("early")
    assert time.monotonic() - begun < 1.0  # it does not wait for what is being imported

    def run() -> None:
        with staffed(2, imports=IMPORTS) as backend:
            for _ in backend.map(time.sleep, [0.0, 60.0, 60.0]):
                raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        run()
    assert ours(processes) == before


def test_no_file_descriptor_is_left():
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with staffed(2, imports=IMPORTS) as backend:
            list(backend.map(Who(), range(4)))
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_nursery_that_does_not_start_is_said(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        pytest.raises(RunStopped, match=r"3 in a row ended before they could work \(the last by exit code 1"),
        staffed(2, imports=IMPORTS) as backend,
    ):
        list(backend.map(Who(), range(4)))


@pytest.mark.parametrize("forks", [True, False])
def test_results_are_the_same_forked_or_from_scratch(monkeypatch, forks):
    monkeypatch.setattr("locard.run.backend.FORKS", forks)
    with staffed(2, imports=IMPORTS) as backend:
        assert sorted(chunk for chunk, *_ in backend.map(Who(), range(6))) == list(range(6))
        assert all(imported for *_, imported in backend.map(Who(), range(6)))
    assert isinstance(backend, LocalBackend)


SLOW = """
import os, sys, time
from pathlib import Path
from locard.run.backend import staffed

def work(chunk):
    for pid in (os.getpid(), os.getppid()):
        Path(os.environ["PIDS"], str(pid)).touch()
    time.sleep(60)

with staffed(2, imports=["wave"]) as backend:
    for _ in backend.map(work, [1, 2, 3]):
        pass
"""


def test_nursery_and_workers_leave_within_three_seconds_when_their_parent_is_killed(tmp_path, environment, processes):
    script, pids = tmp_path / "slow.py", tmp_path / "pids"
    script.write_text(SLOW)
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script)], env=environment | {"PIDS": str(pids)})
    try:
        wait_until(lambda: len(list(pids.iterdir())) == 3, seconds=30)
        started = {int(p.name) for p in pids.iterdir()}
        assert started <= {p["pid"] for p in processes()}
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not started & {p["pid"] for p in processes()}, seconds=3)
