"""Where jobs run. A backend has one method; no result may depend on who computed it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Protocol, runtime_checkable

from locard.errors import RunStopped
from locard.run import worker as from_scratch
from locard.run.nursery import FORKS, Forked, Nursery
from locard.run.sharing import Shared, packed, share
from locard.run.starting import start
from locard.run.worker import CHUNK, RAISED, READY, WORK

ATTEMPTS = 3  # a chunk whose worker dies runs this many times in all
GRACE = 2.0  # seconds for a worker to leave by itself


@runtime_checkable
class Backend(Protocol):
    """``map(work, chunks)`` yields ``work(chunk)`` for every chunk as it finishes, in any order."""

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish; ``work`` is sent to each worker once.

        Raises:
            RunStopped: a chunk's worker died ``ATTEMPTS`` times, or workers do not start.
            SettingsError: ``work`` cannot be sent to workers.
        """
        ...


@dataclass(frozen=True)
class LocalBackend:
    """Processes on this machine, one thread each. Workers never are forks of this process, and need no main guard.

    - a worker that dies is replaced, and the chunk that it had runs again; no other chunk pays for it
    - what the work raises comes back as it is
    - what the work prints goes to stderr
    - when the results are closed, finished or not, no worker is left, but those of ``staffed``
    - with one worker everything runs in this process

    >>> sorted(LocalBackend(workers=1).map(abs, [-2, 1]))
    [1, 2]
    """

    workers: int
    crew: Crew | None = field(default=None, compare=False, repr=False)

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish."""
        if self.workers == 1 or len(chunks) == 0:
            yield from _here(work, chunks)
        elif self.crew is not None and not self.crew.busy:
            yield from self.crew.map(work, chunks, self.workers)
        else:
            with Crew() as crew:
                yield from crew.map(work, chunks, self.workers)

    def let_go(self) -> None:
        """There will be no more work: workers of ``staffed`` may leave, before the end of its block waits for them."""
        if self.crew is not None:
            self.crew.let_go()


@contextmanager
def staffed(workers: int, *, imports: Sequence[str] = (), now: bool = True) -> Iterator[LocalBackend]:
    """A backend whose workers serve every ``map`` until the end of the block, when none is left.

    Args:
        workers: processes; one means this process, and none is started.
        imports: modules that workers are to import as soon as they start.
        now: start them at once, to be ready when the work is; otherwise the first ``map`` does.

    Raises:
        RunStopped: no process could be started.

    >>> with staffed(1) as backend:
    ...     sorted(backend.map(abs, [-2, 1]))
    [1, 2]
    """
    with Crew(imports) as crew:
        if now and workers > 1:
            crew.get_ready(workers)
        yield LocalBackend(workers, crew)


def _here(work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
    from threadpoolctl import threadpool_limits

    for chunk in chunks:
        with threadpool_limits(limits=1), redirect_stdout(sys.stderr):
            done = work(chunk)
        yield done


@dataclass(eq=False)
class _Task:
    chunk: Any
    attempt: int = 1


class _Worker:
    """A process and the pipe to it. It has one task at most, so that its death is that task's alone."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, pipe: Connection) -> None:
        self.ready = False
        self.work: Shared | None = None
        self.task: _Task | None = None
        self.process, self.pipe = process, pipe

    @classmethod
    def started(cls, imports: Sequence[str]) -> _Worker:
        """From scratch.

        Raises:
            RunStopped: no process could be started.
        """
        return cls(*start(from_scratch.__name__, imports))

    @classmethod
    def forked(cls, nursery: Nursery) -> _Worker:
        """By a process that has imported what it needs.

        Raises:
            EOFError: that process has ended.
            RunStopped: no process could be started.
        """
        pipe, theirs = Pipe()
        try:
            return cls(nursery.fork(theirs), pipe)
        except BaseException:
            pipe.close()
            raise
        finally:
            theirs.close()

    def give(self, task: _Task, work: Shared) -> None:
        """Hand over a task, and before it the work where that is new. It waits for both: this never blocks long."""
        chunk, self.task = packed(task.chunk, "a job"), task
        with suppress(OSError):  # it has ended meanwhile: waiting for it will tell
            if self.work is not work:
                self.pipe.send_bytes(WORK)
                work.send(self.pipe, self.process.pid)
                self.work = work
            self.pipe.send_bytes(CHUNK)
            self.pipe.send_bytes(chunk)

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def hear(self) -> tuple[bytes, bytes]:
        """What it says, and the payload.

        Raises:
            EOFError: it has ended, between two messages or within one.
        """
        try:
            said = self.pipe.recv_bytes()
            return said, b"" if said == READY else self.pipe.recv_bytes()
        except OSError as ended:
            raise EOFError from ended

    def end(self, grace: float = 0.0) -> str:
        """Make it leave with everything that it has started; how it ended, in words."""
        self.pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        with suppress(ProcessLookupError, PermissionError):  # nobody left in its group
            os.killpg(self.process.pid, signal.SIGKILL)
        return _in_words(self.process.wait())


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


class Crew:
    """Workers that serve one ``map`` after the other, until they are dismissed; replaced where they die.

    Those that have something to import are forked by a nursery, where that can be done.
    """

    def __init__(self, imports: Sequence[str] = ()) -> None:
        self.busy = False
        self._imports = imports
        self._nursery: Nursery | None = None
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
        self._waiting: deque[_Task] = deque()
        self._stillborn = 0  # workers in a row that ended before they could take a task

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.let_go()
        until = time.monotonic() + (GRACE if kind is None else 0.0)
        for worker in self._leaving:
            worker.end(max(0.0, until - time.monotonic()))
        self._leaving.clear()
        if self._nursery is not None:
            self._nursery.end()
            self._nursery = None

    def let_go(self) -> None:
        """Workers that are there may leave by themselves."""
        for worker in self._workers:
            worker.pipe.close()
        self._leaving += self._workers
        self._workers = []

    def get_ready(self, size: int) -> None:
        """Start what takes time to start, to have so many workers soon.

        Raises:
            RunStopped: no process could be started.
        """
        if FORKS and self._imports:
            self._nursery = self._nursery or Nursery(self._imports)
        else:
            self.grow(size)

    def grow(self, size: int) -> None:
        """Start workers until there are so many.

        Raises:
            RunStopped: no process could be started.
        """
        while len(self._workers) < size:
            if not (FORKS and self._imports):
                self._workers.append(_Worker.started(self._imports))
                continue
            self._nursery = self._nursery or Nursery(self._imports)
            try:
                self._workers.append(_Worker.forked(self._nursery))
            except EOFError:
                how, self._nursery = _in_words(self._nursery.end()), None
                self._unborn(how)

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any], size: int) -> Iterator[Any]:
        """Results as they finish, from at most ``size`` workers. One that is not waited for any more is ended."""
        self.busy, self._waiting = True, deque(_Task(chunk) for chunk in chunks)
        try:
            with (shared := share(work)).file:
                yield from self._results(shared, size)
        finally:
            for worker in [w for w in self._workers if w.task is not None]:
                worker.end()
                self._workers.remove(worker)
            self.busy = False

    def _results(self, work: Shared, size: int) -> Iterator[Any]:
        """A worker gets its next task before its result is passed on."""
        heard: list[tuple[bytes, bytes]] = []
        while True:
            for worker in [w for w in self._workers if w.task is None and w.gone]:  # between two maps
                self._bury(worker)
            self.grow(min(size, self._running() + len(self._waiting)))
            for worker in self._workers:
                if worker.ready and worker.task is None and self._waiting:
                    worker.give(self._waiting.popleft(), work)
            for said, answer in heard:
                result = pickle.loads(answer)
                if said == RAISED:
                    raise result
                yield result
            if not self._waiting and not self._running():
                return
            heard = self._listen()

    def _running(self) -> int:
        return sum(w.task is not None for w in self._workers)

    def _listen(self) -> list[tuple[bytes, bytes]]:
        """Wait until somebody says something; finished tasks are returned, those of dead workers wait again."""
        heard = []
        talking = set(wait([w.pipe for w in self._workers]))
        for worker in [w for w in self._workers if w.pipe in talking]:
            try:
                said, answer = worker.hear()
            except EOFError:
                self._bury(worker)
                continue
            if said == READY:
                worker.ready, self._stillborn = True, 0
            else:
                worker.task = None
                heard.append((said, answer))
        return heard

    def _bury(self, worker: _Worker) -> None:
        """Its task, if it had one, is the next to run again.

        Raises:
            RunStopped: the task has cost ``ATTEMPTS`` workers, or as many in a row did not even start.
        """
        how, task = worker.end(GRACE), worker.task
        self._workers.remove(worker)
        if not worker.ready:
            self._unborn(how)
        elif task is not None:
            if task.attempt == ATTEMPTS:
                raise RunStopped(
                    f"Workers that live to the end are needed, but one of the jobs left lost theirs {ATTEMPTS} times "
                    f"(the last ended by {how}; often: out of memory). Set compute.workers = 1 or free memory, and run "
                    f"the same command again: everything finished so far is kept."
                )
            self._waiting.appendleft(_Task(task.chunk, task.attempt + 1))

    def _unborn(self, how: str) -> None:
        """A process has ended before it could take a task.

        Raises:
            RunStopped: it is the last of too many in a row.
        """
        self._stillborn += 1
        if self._stillborn == ATTEMPTS:
            raise RunStopped(
                f"Worker processes are needed, but {ATTEMPTS} in a row ended before they could work (the last by "
                f"{how}; what they said is above). Set compute.workers = 1, or mend what they say."
            )
