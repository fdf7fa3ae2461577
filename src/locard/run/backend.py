"""Where jobs run. A backend has one method; no result may depend on who computed it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from locard.errors import RunStopped, SettingsError

ATTEMPTS = 3  # a chunk whose worker dies runs this many times in all
QUEUED = 2  # chunks a worker has been handed at any time
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


@runtime_checkable
class Backend(Protocol):
    """``map(work, chunks)`` yields ``work(chunk)`` for every chunk as it finishes, in any order."""

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish; ``work`` is sent to each worker once.

        Raises:
            RunStopped: a chunk's worker died ``ATTEMPTS`` times.
            SettingsError: ``work`` cannot be sent to workers.
        """
        ...


@dataclass(frozen=True)
class LocalBackend:
    """Processes on this machine, one thread each. Workers start from scratch (never by fork), and need no main guard.

    - a worker that dies is replaced, and its chunk runs again
    - with one worker everything runs in this process

    >>> sorted(LocalBackend(workers=1).map(abs, [-2, 1]))
    [1, 2]
    """

    workers: int

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish."""
        if self.workers == 1 or len(chunks) == 0:
            yield from _here(work, chunks)
            return
        packed, waiting = _packed(work), deque((chunk, 1) for chunk in chunks)
        while waiting:
            lost: list[tuple[Any, int]] = []
            yield from _pooled(packed, waiting, min(self.workers, len(waiting)), lost)
            given_up = sum(attempt == ATTEMPTS for _, attempt in lost)
            if given_up:
                raise RunStopped(
                    f"Workers that live to the end are needed, but {given_up} of the jobs left lost theirs {ATTEMPTS} "
                    f"times (often: out of memory). Set compute.workers = 1 or free memory, and run the same command "
                    f"again: everything finished so far is kept."
                )
            waiting.extendleft((chunk, attempt + 1) for chunk, attempt in reversed(lost))


def _here(work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
    from threadpoolctl import threadpool_limits

    for chunk in chunks:
        with threadpool_limits(limits=1):
            done = work(chunk)
        yield done


def _packed(work: Callable[[Any], Any]) -> bytes:
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(work)
    except Exception as wrong:  # whatever the pickling code of a user's class may raise
        raise SettingsError(
            f"target.estimator: an estimator that can be sent to worker processes is needed, but pickling it raised "
            f"{type(wrong).__name__}: {wrong}. Set compute.workers = 1, or make it in a function of your own."
        ) from wrong
    return packed


def _pooled(packed: bytes, waiting: deque[tuple[Any, int]], workers: int, lost: list[tuple[Any, int]]) -> Iterator[Any]:
    """Results of the waiting chunks until none is left, or until a worker dies: then ``lost`` says what ran."""
    from concurrent.futures import FIRST_COMPLETED, wait
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=_start_worker, initargs=(packed, os.getpid()), env=ONE_THREAD
    )
    running: dict[Any, tuple[Any, int]] = {}
    finished = False
    try:
        while (waiting or running) and not lost:
            while waiting and len(running) < QUEUED * workers:  # few at a time: a pool is killed cleanly while it works
                future = pool.submit(_run, waiting[0][0])
                running[future] = waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    done = future.result()
                except BrokenProcessPool:
                    lost += running.values()
                    break
                del running[future]
                yield done
        finished = not lost
    except BrokenProcessPool:  # while handing out
        lost += running.values()
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


_PACKED = b""
_WORK: Callable[[Any], Any] | None = None


def _start_worker(packed: bytes, parent: int) -> None:
    global _PACKED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    _PACKED = packed
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed must not go on alone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run(chunk: Any) -> Any:
    global _WORK
    if _WORK is None:
        _WORK = _unpacked(_PACKED)
    return _WORK(chunk)


def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    import pickle

    try:
        work: Callable[[Any], Any] = pickle.loads(packed)
    except Exception as wrong:  # importing the user's modules runs whatever is in them
        raise SettingsError(
            f"target.estimator: an estimator that worker processes can open is needed, but one raised "
            f"{type(wrong).__name__}: {wrong}. Set compute.workers = 1, or put its class where it can be imported."
        ) from wrong
    return work
