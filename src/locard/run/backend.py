"""Where jobs run. A backend has one method; no result may depend on who computed it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from locard.errors import RunStopped

ATTEMPTS = 3  # a chunk whose worker dies is run again this many times in all
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


@runtime_checkable
class Backend(Protocol):
    """``map(work, chunks)`` yields ``work(chunk)`` for every chunk as it finishes, in any order."""

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish; ``work`` is sent to each worker once.

        Raises:
            RunStopped: a chunk's worker died ``ATTEMPTS`` times.
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
        waiting, attempts = list(chunks), 0
        while waiting:
            attempts += 1
            lost: list[Any] = []
            yield from _pooled(work, waiting, min(self.workers, len(waiting)), lost)
            if lost and attempts == ATTEMPTS:
                raise RunStopped(
                    f"Workers that live to the end are needed, but one died {ATTEMPTS} times, with {len(lost)} jobs "
                    f"left (often: out of memory). Set compute.workers = 1 or free memory, and run the same command "
                    f"again: everything finished so far is kept."
                )
            waiting = lost


def _here(work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
    from threadpoolctl import threadpool_limits

    for chunk in chunks:
        with threadpool_limits(limits=1):
            done = work(chunk)
        yield done


def _pooled(work: Callable[[Any], Any], chunks: list[Any], workers: int, lost: list[Any]) -> Iterator[Any]:
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=_start_worker, initargs=(work, os.getpid()), env=ONE_THREAD
    )
    finished = False
    try:
        futures = {pool.submit(_run, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            try:
                done = future.result()
            except BrokenProcessPool:
                lost.append(futures[future])
                continue
            yield done
        finished = not lost
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


_WORK: Callable[[Any], Any] | None = None


def _start_worker(work: Callable[[Any], Any], parent: int) -> None:
    global _WORK
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    _WORK = work
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed must not go on alone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run(chunk: Any) -> Any:
    if _WORK is None:
        raise RuntimeError("worker used before its start")
    return _WORK(chunk)
