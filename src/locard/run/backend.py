"""Where jobs run. A backend has one method; no result may depend on who computed it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from locard.errors import RunStopped, SettingsError

ATTEMPTS = 3  # a chunk whose worker dies is run again this many times in all
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


@runtime_checkable
class Backend(Protocol):
    """``map(work, chunks)`` yields ``work(chunk)`` for every chunk as it finishes, in any order."""

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish; ``work`` is sent to each worker once.

        Raises:
            RunStopped: workers died ``ATTEMPTS`` times.
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
        packed = _packed(work)
        waiting, attempts = list(chunks), 0
        while waiting:
            attempts += 1
            lost: list[Any] = []
            yield from _pooled(packed, waiting, min(self.workers, len(waiting)), lost)
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


def _pooled(packed: bytes, chunks: list[Any], workers: int, lost: list[Any]) -> Iterator[Any]:
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=_start_worker, initargs=(packed, os.getpid()), env=ONE_THREAD
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
