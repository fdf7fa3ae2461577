"""A process that has imported what workers need and forks them, so that libraries are imported once for all of them.

It has one thread and does nothing else, so that forking it is safe; on Linux, because system libraries of macOS do not
survive a fork. A worker forked is a worker like any other: its own process group, its own pipe, its own end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from locard.run import worker
from locard.run.starting import cannot_start, start

FORKS = sys.platform == "linux"
NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pyarrow's allocator has one to tidy up
LOOK = 0.5  # seconds between two looks whether its parent is still there


class Nursery:
    """The process, from its parent's side.

    Args:
        imports: modules that workers are to have imported.

    Raises:
        RunStopped: no process could be started.
    """

    def __init__(self, imports: Sequence[str]) -> None:
        self._process, self._pipe = start(__name__, imports, **NO_THREADS)

    def fork(self, theirs: Connection) -> Forked:
        """A worker at the other end of a pipe; waits until the modules have been imported.

        Raises:
            EOFError: the nursery has ended.
            RunStopped: the system starts no process.
        """
        said = self._asked(("fork",), theirs)
        if isinstance(said, OSError):
            raise cannot_start(said) from said
        return Forked(self, said)

    def ended(self, pid: int, seconds: float) -> int | None:
        """How a worker has ended, as ``Popen.returncode``; None where it goes on."""
        try:
            code: int | None = self._asked(("wait", pid, seconds))
        except EOFError:
            return -signal.SIGKILL  # without a nursery they end themselves so
        return code

    def _asked(self, what: tuple[Any, ...], handle: Connection | None = None) -> Any:
        try:
            self._pipe.send(what)
            if handle is not None:
                send_handle(self._pipe, handle.fileno(), self._process.pid)
            return self._pipe.recv()
        except OSError as ended:
            raise EOFError from ended

    def end(self) -> int:
        """End it; workers that it has still end themselves. What Popen.returncode says of it."""
        self._pipe.close()
        self._process.kill()
        return self._process.wait()


class Forked:
    """A worker that its nursery has started: what ``subprocess.Popen`` says of other workers."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """How it has ended; None where it goes on."""
        return self._within(0.0)

    def wait(self, seconds: float | None = None) -> int:
        """How it has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on after these seconds.
        """
        code = self._within(float("inf") if seconds is None else seconds)
        if code is None:
            raise subprocess.TimeoutExpired("a worker", seconds or 0.0)
        return code

    def _within(self, seconds: float) -> int | None:
        if self._code is None:
            self._code = self._nursery.ended(self.pid, seconds)
        return self._code


def serve(pipe: Connection, parent: int, imports: Sequence[str]) -> None:
    """Import, then fork workers for the process ``parent`` until it closes the pipe, or is gone.

    Returns in every worker when it has served, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.import_all(imports)
    own = os.getpid()
    try:
        while True:
            while not pipe.poll(LOOK):
                if os.getppid() != parent:
                    return
            match pipe.recv():
                case ("fork",):
                    if (theirs := _fork(pipe)) is not None:
                        worker.serve(theirs, own, ())
                        return
                case ("wait", pid, seconds):
                    pipe.send(_ended(pid, seconds))
    except (EOFError, OSError):  # the parent has closed its end
        return


def _fork(pipe: Connection) -> Connection | None:
    """In the worker: its own pipe. In the nursery None, after the worker's number has been told."""
    handle = recv_handle(pipe)
    try:
        pid = os.fork()
    except OSError as wrong:
        os.close(handle)
        pipe.send(wrong)
        return None
    if pid == 0:
        pipe.close()
        os.setpgid(0, 0)
        _other_randomness()
        return Connection(handle)
    os.close(handle)
    os.setpgid(pid, pid)  # whoever comes first: its number is told when it leads its group
    pipe.send(pid)
    return None


def _other_randomness() -> None:
    """Code that seeds nothing must not draw the same numbers in every worker. Python sees to its own generator."""
    if "numpy.random" in sys.modules:
        import numpy as np

        fresh = np.random.MT19937(int.from_bytes(os.urandom(16)))
        np.random.set_state(dict(fresh.state))  # noqa: NPY002 - the global generator, which the fork has copied


def _ended(pid: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.01)
