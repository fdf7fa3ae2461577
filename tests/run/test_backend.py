"""The local backend: equal results whatever the number of workers, and no worker lost is a job lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from locard.errors import RunStopped, SettingsError
from locard.run.backend import ATTEMPTS, Backend, LocalBackend, staffed


class Square:
    def __call__(self, chunk: int) -> tuple[int, str | None]:
        return chunk**2, os.environ.get("OMP_NUM_THREADS")


class DiesOnce:
    """Kills its own worker at chunk 3, unless the marker says that it did before."""

    def __init__(self, marker: Path, times: int) -> None:
        self.marker, self.times = marker, times

    def __call__(self, chunk: int) -> int:
        if chunk == 3:
            died = len(self.marker.read_text()) if self.marker.exists() else 0
            if died < self.times:
                self.marker.write_text("x" * (died + 1))
                os.kill(os.getpid(), signal.SIGKILL)
        return chunk * 10


class SomeDieOnce:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: int) -> int:
        marker = self.folder / str(chunk)
        if chunk % 6 == 0 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk


class DyingBeside:
    """Chunk 0 is slow; every other chunk kills its first two workers meanwhile. Each run of a chunk leaves a mark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: int) -> int:
        (self.folder / f"{chunk}-{os.getpid()}").touch()
        if chunk == 0:
            wait_until(lambda: len(list(self.folder.iterdir())) == 10, seconds=30)
        elif len(list(self.folder.glob(f"{chunk}-*"))) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk


class Raises:
    def __call__(self, chunk: int) -> int:
        raise SettingsError(f"chunk {chunk} is wrong")


class Odd(Exception):
    """Pickles, but cannot be opened again: its arguments are not those of its constructor."""

    def __init__(self, chunk: int, why: str) -> None:
        super().__init__(f"{why} at {chunk}")


class RaisesOdd:
    def __call__(self, chunk: int) -> int:
        raise Odd(chunk, "strange")


class Leaves:
    def __call__(self, chunk: int) -> int:
        raise SystemExit(7)


class Locked:
    def __call__(self, chunk: int) -> object:
        return threading.Lock()


class Interrupts:
    """Sends itself what Ctrl-C sends."""

    def __call__(self, chunk: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return chunk


class Writes:
    """Large work that is written into, and large answers."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self, chunk: np.ndarray) -> tuple[bool, float, np.ndarray]:
        before, shared = float(self.array.sum()), self.array.base is not None
        self.array += chunk[0]
        return shared, before, self.array


class LeavesChildren:
    """Starts a process that goes on for a minute, by fork (with all that is open) and from scratch; then it may die."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: int) -> int:
        dies = chunk == 1 and not (self.folder / "died").exists()
        forked = os.fork()
        if forked == 0:
            time.sleep(60)
            os._exit(0)
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        for pid in (forked, other.pid):
            (self.folder / str(pid)).touch()
        if dies:
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk


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


def test_results_are_the_same_whatever_the_number_of_workers():
    results = {w: sorted(LocalBackend(workers=w).map(Square(), range(7))) for w in (1, 3)}
    assert [r for r, _ in results[1]] == [r for r, _ in results[3]] == [n**2 for n in range(7)]
    assert {threads for _, threads in results[3]} == {"1"}  # one thread a worker
    assert isinstance(LocalBackend(workers=1), Backend)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_chunks_no_results(workers):
    assert list(LocalBackend(workers=workers).map(Square(), [])) == []


def test_a_worker_that_dies_is_replaced_and_its_chunk_runs_again(tmp_path):
    work = DiesOnce(tmp_path / "marker", times=1)
    assert sorted(LocalBackend(workers=2).map(work, range(6))) == [0, 10, 20, 30, 40, 50]
    assert (tmp_path / "marker").read_text() == "x"


def test_workers_that_always_die_stop_the_run_with_a_message_and_what_was_done(tmp_path):
    work, done = DiesOnce(tmp_path / "marker", times=99), []

    def run() -> None:
        done.extend(LocalBackend(workers=2).map(work, range(6)))

    with pytest.raises(RunStopped, match=r"lost theirs 3 times.*Set compute\.workers = 1.*run the same command again"):
        run()
    assert (tmp_path / "marker").read_text() == "xxx"


def test_deaths_of_different_jobs_are_not_added_up(tmp_path):
    """Four deaths in one run. Planted: counting every death, whatever its worker worked on, stops it at the third."""
    assert sorted(LocalBackend(workers=2).map(SomeDieOnce(tmp_path), range(24))) == list(range(24))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_job_beside_dying_ones_runs_once(tmp_path):
    """Six deaths beside chunk 0. Planted: ending all workers with the one that died, as a pool does, stops the run."""
    assert sorted(LocalBackend(workers=2).map(DyingBeside(tmp_path), range(4))) == [0, 1, 2, 3]
    assert len(list(tmp_path.glob("0-*"))) == 1
    assert len(list(tmp_path.iterdir())) == 1 + 3 * 3


def test_what_a_job_raises_comes_back_as_it_is_and_is_not_tried_again():
    with pytest.raises(SettingsError, match="chunk 5 is wrong"):
        list(LocalBackend(workers=2).map(Raises(), [5]))


def test_work_that_cannot_be_sent_to_workers_is_said_at_once():
    with pytest.raises(SettingsError, match=r"pickling it raised TypeError.*Set compute\.workers = 1"):
        list(LocalBackend(workers=2).map(NotForTheRoad(), [1]))
    assert list(LocalBackend(workers=1).map(NotForTheRoad(), [1])) == [1]


def test_what_a_job_raises_says_where_it_was_raised():
    with pytest.raises(SettingsError) as raised:
        list(LocalBackend(workers=2).map(Raises(), [5]))
    assert "in __call__" in raised.value.__notes__[0]
    with pytest.raises(SystemExit) as left:
        list(LocalBackend(workers=2).map(Leaves(), [5]))
    assert left.value.code == 7


def test_exceptions_results_and_jobs_that_cannot_be_sent_are_said():
    with pytest.raises(SettingsError, match=r"the work raised .*Odd: strange at 5, and pickling that raised TypeError"):
        list(LocalBackend(workers=2).map(RaisesOdd(), [5]))
    with pytest.raises(SettingsError, match=r"pickling a lock raised TypeError: .*Set compute\.workers = 1"):
        list(LocalBackend(workers=2).map(Locked(), [5]))
    with pytest.raises(SettingsError, match=r"a job that can be sent to worker processes is needed.*TypeError"):
        list(LocalBackend(workers=2).map(Square(), [threading.Lock()]))


def test_workers_do_not_hear_an_interrupt():
    assert sorted(LocalBackend(workers=2).map(Interrupts(), range(4))) == [0, 1, 2, 3]


def test_large_work_jobs_and_results_pass_and_a_worker_that_writes_into_the_work_changes_its_own_copy():
    """32 MB of work, in memory once, to each of two workers; 8 MB a job; 32 MB a result."""
    work, chunk = Writes(np.ones(4_000_000)), np.ones(1_000_000)
    said = list(LocalBackend(workers=2).map(work, [chunk] * 4))
    assert all(shared for shared, _, _ in said)
    assert sorted(before for _, before, _ in said)[0] == 4_000_000
    assert {before for _, before, _ in said} <= {4e6 * n for n in range(1, 5)}  # what its own jobs before have added
    for _, before, array in said:
        assert array.sum() == before + 4_000_000
    assert work.array.sum() == 4_000_000


def test_what_the_users_code_has_started_ends_with_its_worker_and_does_not_hide_its_death(tmp_path, processes):
    start = time.monotonic()
    assert sorted(LocalBackend(workers=2).map(LeavesChildren(tmp_path), [1, 2])) == [1, 2]
    assert time.monotonic() - start < 30
    started = {int(p.name) for p in tmp_path.iterdir() if p.name != "died"}
    assert len(started) == 6  # one worker died after starting two
    wait_until(lambda: not started & {p["pid"] for p in processes()}, seconds=3)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("/bin/false", r"3 in a row ended before they could work \(the last by exit code 1"),
        ("/no/such/python", r"starting one failed \(.*No such file.*compute\.workers = 1"),
    ],
)
def test_workers_that_do_not_start_are_said(monkeypatch, program, message):
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(RunStopped, match=message):
        list(LocalBackend(workers=2).map(Square(), range(5)))


LOUD = """
import os, sys
from locard.run.backend import LocalBackend

def work(chunk):
    print("from Python")
    os.write(1, b"from below")
    return chunk

for workers in (1, 2):
    print(sorted(LocalBackend(workers=workers).map(work, [1, 2]) if workers > 1 else
                 LocalBackend(workers=1).map(lambda chunk: print("from Python") or chunk, [1, 2])))
"""


def test_what_the_work_prints_stays_out_of_what_the_program_prints(tmp_path, environment):
    script = tmp_path / "loud.py"
    script.write_text(LOUD)
    out = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60)
    assert out.stdout == "[1, 2]\n[1, 2]\n"
    assert out.stderr.count("from Python") == 4
    assert out.stderr.count("from below") == 2


HERE = """
import sys
sys.path.insert(0, "beside")
import of_mine
from locard.run.backend import LocalBackend

print(sorted(LocalBackend(workers=2).map(of_mine.work, [1, 2])))
"""


def test_workers_find_the_modules_that_the_script_finds_and_no_others(tmp_path, environment):
    """A module beside the script; a folder it added; and none of the current folder's that has a library's name."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "of_mine.py").write_text("import sys\ndef work(chunk): return chunk, sys.argv[1]\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "socket.py").write_text("raise RuntimeError('not me')\n")
    (tmp_path / "elsewhere" / "beside").symlink_to(tmp_path / "beside")
    script = tmp_path / "script.py"
    script.write_text(HERE)
    words = [sys.executable, str(script), "word"]
    done = subprocess.run(
        words, env=environment, cwd=tmp_path / "elsewhere", capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[(1, 'word'), (2, 'word')]\n", done.stderr


def test_work_that_workers_cannot_open_is_said_and_not_taken_for_a_lack_of_memory():
    with pytest.raises(SettingsError, match=r"ModuleNotFoundError: No module named 'no_such_module_anywhere'"):
        list(LocalBackend(workers=2).map(OpensBadly(), [1]))


def test_no_worker_and_no_file_descriptor_is_left_whether_finished_abandoned_or_failed(processes):
    def children() -> list[int]:
        return [p["pid"] for p in processes() if p["parent"] == os.getpid()]

    before, open_before = children(), len(os.listdir("/proc/self/fd"))
    results = LocalBackend(workers=2).map(Square(), range(50))
    next(results)
    assert len(children()) == len(before) + 2
    results.close()
    assert children() == before
    assert len(list(LocalBackend(workers=2).map(Square(), range(3)))) == 3
    assert children() == before
    with pytest.raises(SettingsError, match="chunk"):
        list(LocalBackend(workers=2).map(Raises(), range(5)))
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == open_before


# -- workers that serve many maps --------------------------------------------------------------------------------------


class Where:
    def __call__(self, chunk: int) -> tuple[int, int]:
        time.sleep(0.05)
        return chunk, os.getpid()


class Knows:
    """Which of these modules the worker has imported before it was asked."""

    def __call__(self, names: list[str]) -> list[str]:
        return [name for name in names if name in sys.modules]


def children(processes) -> set[int]:
    return {p["pid"] for p in processes() if p["parent"] == os.getpid()}


def test_staffed_workers_serve_every_map_and_leave_at_the_end(processes):
    before = children(processes)
    with staffed(2) as backend:
        started = children(processes) - before
        assert len(started) == 2  # before there is any work
        for work in (Where(), Where()):
            assert {pid for _, pid in backend.map(work, range(8))} == started
        assert sorted(backend.map(Square(), [3]))[0][0] == 9
        backend.let_go()
        wait_until(lambda: not children(processes) & started, seconds=3)
        assert len({pid for _, pid in backend.map(Where(), range(8))} - started) == 2  # who comes late is served too
    assert children(processes) == before
    with staffed(2, now=False):
        assert children(processes) == before


def test_one_worker_is_this_process_and_starts_none(processes):
    before = children(processes)
    with staffed(1, imports=["wave"]) as backend:
        assert {pid for _, pid in backend.map(Where(), range(2))} == {os.getpid()}
        assert children(processes) == before


def test_staffed_workers_are_ended_when_the_block_fails_however_busy(processes):
    before, begun = children(processes), time.monotonic()

    def run() -> None:
        with staffed(2) as backend:
            for _ in backend.map(time.sleep, [0.0, 60.0, 60.0]):
                raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        run()
    assert time.monotonic() - begun < 30
    assert children(processes) == before


def test_an_abandoned_map_ends_its_busy_workers_and_the_next_map_works():
    with staffed(2) as backend:
        results = backend.map(time.sleep, [0.0, 60.0, 60.0])
        next(results)
        results.close()
        assert sorted(chunk for chunk, _ in backend.map(Where(), range(4))) == [0, 1, 2, 3]


def test_a_map_inside_a_map_has_workers_of_its_own():
    with staffed(2) as backend:
        outer = backend.map(Where(), range(4))
        first = next(outer)
        assert sorted(chunk for chunk, _ in backend.map(Where(), range(4))) == [0, 1, 2, 3]
        assert sorted(chunk for chunk, _ in [first, *outer]) == [0, 1, 2, 3]


def test_a_worker_that_dies_between_two_maps_is_replaced_and_no_job_is_charged(tmp_path):
    """A job that loses all but its last worker stops the run if that death counts. Planted: counting it."""
    with staffed(2) as backend:
        for _, pid in list(backend.map(Where(), range(8))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.2)
        assert sorted(backend.map(DiesOnce(tmp_path / "marker", times=ATTEMPTS - 1), [3])) == [30]


def test_workers_import_what_they_will_need_and_a_module_that_is_not_there_is_passed_over():
    with staffed(2, imports=["wave", "no_such_module_anywhere"]) as backend:
        assert list(backend.map(Knows(), [["wave", "colorsys"]])) == [["wave"]]


SLOW = """
import os, sys, time
from pathlib import Path
from locard.run.backend import LocalBackend

def work(chunk):
    Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["PIDS"], str(os.getpid())).touch()
    time.sleep(60)

for _ in LocalBackend(workers=2).map(work, [1, 2, 3]):
    pass
"""


def test_workers_leave_within_three_seconds_when_their_parent_is_killed(tmp_path, environment, processes):
    """From a script without a main guard, too: workers do not import it."""
    script, pids = tmp_path / "slow.py", tmp_path / "pids"
    script.write_text(SLOW)
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script)], env=environment | {"PIDS": str(pids)})
    try:
        wait_until(lambda: len(list(pids.iterdir())) == 2, seconds=30)
        workers = {int(p.name) for p in pids.iterdir()}
        assert workers <= {p["pid"] for p in processes()}
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not workers & {p["pid"] for p in processes()}, seconds=3)


def wait_until(ready, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


MAIN = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
import locard

class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.near_ = x[:, 0].mean()
        return self
    def predict_proba(self, x):
        p = 1 / (1 + np.exp(-(x[:, 0] - self.near_)))
        return np.stack([1 - p, p], axis=1)

rng = np.random.default_rng(0)
records = locard.Records(ids=range(60), features=rng.normal(size=(60, 2)), labels=np.arange(60) % 2)
result = locard.audit(records, Mine(), models=4, attacks=["loss"], compute={"workers": 2},
                      controls={"redraws": 0, "blind": False}, measure={"fprs": [0.1]})
print(result.summary.attacks[0].auc.value)
"""


def test_a_script_without_a_main_guard_may_audit_its_own_estimator_in_many_processes(tmp_path, environment):
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    out = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("\n") == 1  # the script ran once, not once a worker
    assert 0 <= float(out.stdout) <= 1
