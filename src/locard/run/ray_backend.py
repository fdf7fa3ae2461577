"""``RayBackend``: chunks as tasks on a Ray cluster, one that is there already or one started here for the run."""

from __future__ import annotations

import io
import logging
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from locard.errors import MissingExtra, RemoteUnavailable, RunStopped, SettingsError
from locard.run.backend import ATTEMPTS
from locard.run.memory import available_bytes
from locard.run.probe import Probe, Storing, probing
from locard.run.sharing import packed
from locard.run.starting import ONE_THREAD
from locard.run.worker import DONE, RAISED, packed_error, packed_result

AHEAD = 2  # chunks handed out for each CPU: one that runs, one that waits for its place
LOOK = 1.0  # seconds between two looks at the size of the cluster
ANSWER = 10.0  # seconds for a cluster's head to take a connection
ENDING = 5.0  # seconds for cancelled tasks to end
PATIENCE = 600.0  # seconds without any CPU in the cluster: nodes may be starting up
# Never telemetry; a wrong address is given up after one try, not twenty
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_server_port_wait_time_s": "1",
}
CHANGED = ("RAY_AUTH_MODE", "RAY_CLIENT_MODE", "PYTHONBREAKPOINT")  # by Ray, in this process's environment
LOOPBACK = "127.0.0.2"  # 127.0.0.1 is turned into the machine's outward address by Ray


@dataclass(frozen=True)
class RayBackend:
    """Tasks on a Ray cluster, one CPU and one thread each.

    - a chunk whose worker or node dies runs again, ``ATTEMPTS`` times in all; no other chunk pays for it
    - what the work raises comes back as it is, and is not tried again
    - the work is put into the cluster once, its arrays are in each machine's memory once
    - a machine that does not see the store, or has other versions or other code, is told by its first chunk
    - when the results are closed, finished or not, nothing of the run goes on; a Ray that was started for it has ended,
      a cluster that was there before is left as it was
    - nothing is reported to anybody: no usage statistics, no dashboard

    Args:
        workers: CPUs of the Ray that is started on this machine; on a cluster that is there, all of its CPUs are used.
        address: ``host:port`` of a cluster's head, to be joined from one of its machines; none starts a Ray here. A
            process that is connected to a cluster already uses that.

    Raises:
        MissingExtra: Ray is not installed.

    >>> RayBackend(workers=2, address="127.0.0.1:6379")
    RayBackend(workers=2, address='127.0.0.1:6379')
    """

    workers: int
    address: str | None = None

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise MissingExtra("ray", "ray", 'compute.backend = "ray"')

    def map(self, work: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        """Results as they finish.

        Raises:
            RemoteUnavailable: no cluster answers at the address.
            RunStopped: a chunk's worker died ``ATTEMPTS`` times, or Ray cannot be started here.
            SettingsError: ``work`` cannot be sent to workers, or a machine of the cluster cannot work for this run.
        """
        if len(chunks) == 0:
            return
        arrays: list[pickle.PickleBuffer] = []
        head = packed(work, "an estimator", keep=arrays.append)
        with probing(work) as probe, _connected(self.workers, self.address) as ray:
            tasks = _Tasks(ray, _parcel(ray, head, arrays, probe), chunks)
            del arrays
            try:
                yield from tasks.results()
            finally:
                tasks.cancel()


def places_of_cluster(workers: int, address: str | None) -> tuple[int, int]:
    """How many CPUs work for a run, and the bytes of memory that each can count on: its share of the tightest machine.

    Args:
        workers: as for ``RayBackend``; where a Ray is still to be started here, they share this machine's memory.
        address: as for ``RayBackend``.

    Raises:
        MissingExtra: Ray is not installed.
        RemoteUnavailable: no cluster answers at the address.
    """
    if find_spec("ray") is None:
        raise MissingExtra("ray", "ray", 'compute.backend = "ray"')
    if address is None and not import_module("ray").is_initialized():
        return workers, available_bytes() // workers
    with _connected(workers, address) as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not machines:  # they have yet to come
        return workers, available_bytes() // workers
    cpus = sum(int(machine["CPU"]) for machine in machines)
    return cpus, min(int(machine.get("memory", available_bytes()) / machine["CPU"]) for machine in machines)


class _Tasks:
    """The tasks of one map."""

    def __init__(self, ray: Any, parcel: _Parcel, chunks: Sequence[Any]) -> None:
        self.ray, self.parcel = ray, parcel
        self.waiting = deque((chunk, 1) for chunk in chunks)
        self.running: dict[Any, tuple[Any, int]] = {}
        self.cpus, self.looked, self.empty_since = 0, -LOOK, time.monotonic()
        self.run = ray.remote(_run).options(
            num_cpus=1, max_retries=0, scheduling_strategy="SPREAD", runtime_env={"env_vars": ONE_THREAD}
        )

    def results(self) -> Iterator[Any]:
        """Results as they finish; what a finished chunk leaves free is handed out before its result is passed on."""
        answers: list[tuple[bytes, bytes]] = []
        while True:
            self._hand_out()
            for said, answer in answers:
                result = pickle.loads(answer)
                if said == RAISED:
                    raise result
                yield result
            if not self.waiting and not self.running:
                return
            answers = self._listen()

    def cancel(self) -> None:
        """End what runs, and wait a little until it has. The latest first, so that none starts in another's place."""
        left, until = list(reversed(self.running)), time.monotonic() + ENDING
        while left and time.monotonic() < until:
            for task in left:
                self.ray.cancel(task, force=True)
            _, left = self.ray.wait(left, num_returns=len(left), timeout=1.0)

    def _hand_out(self) -> None:
        """As many chunks as the cluster, which may grow or shrink, can be busy with; two where it has yet to grow."""
        now = time.monotonic()
        if now - self.looked >= LOOK:
            self.cpus, self.looked = int(self.ray.cluster_resources().get("CPU", 0)), now
        if self.cpus:
            self.empty_since = now
        elif now - self.empty_since > PATIENCE:
            raise RunStopped(
                f"compute.address: a machine with a free CPU is needed, but the cluster has had none for "
                f"{PATIENCE / 60:.0f} minutes. Add machines to it (ray start --address=...), and run the same command "
                f"again: everything finished so far is kept."
            )
        while self.waiting and len(self.running) < AHEAD * max(1, self.cpus):
            chunk, attempt = self.waiting.popleft()
            self.running[self.run.remote(self.parcel, packed(chunk, "a job"))] = (chunk, attempt)

    def _listen(self) -> list[tuple[bytes, bytes]]:
        """Wait a little for tasks to end; those whose worker is lost wait again, in front."""
        ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=LOOK)
        answers = []
        for task in ended:
            chunk, attempt = self.running.pop(task)
            try:
                answers.append(self.ray.get(task))
            except self.ray.exceptions.RayTaskError as wrong:  # the work's own errors come as answers
                if isinstance(wrong.cause, self.ray.exceptions.RayError):
                    self._lost(chunk, attempt, wrong.cause)
                    continue
                raise SettingsError(
                    f"compute.address: machines on which this version of locard runs are needed, but a worker failed "
                    f"before the work began ({_last_line(wrong)}). Install the same there as here."
                ) from wrong
            except self.ray.exceptions.RayError as wrong:
                self._lost(chunk, attempt, wrong)
        return answers

    def _lost(self, chunk: Any, attempt: int, how: BaseException) -> None:
        """The worker, its machine or the way to it is lost: the chunk is the next to run again.

        Raises:
            RunStopped: it has been lost ``ATTEMPTS`` times.
        """
        if attempt == ATTEMPTS:
            raise RunStopped(
                f"Workers that live to the end are needed, but one of the jobs left lost theirs {ATTEMPTS} times (the "
                f"last one: {type(how).__name__}; often: out of memory). Use machines with more memory or start Ray "
                f"with fewer CPUs on each (--num-cpus), and run the same command again: everything finished so far is "
                f"kept."
            ) from how
        self.waiting.appendleft((chunk, attempt + 1))


# -- in the workers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parcel:
    """Where the work is in the cluster: in a list, so that Ray fetches it when it is asked to, not for every task."""

    name: str
    content: list[Any]


_OPEN: dict[str, Callable[[Any], Any]] = {}  # in a worker: the work by its parcel's name, the latest one


def _parcel(ray: Any, head: bytes, arrays: list[pickle.PickleBuffer], probe: Probe | None) -> _Parcel:
    import numpy as np

    content = ray.put((head, [np.frombuffer(array.raw(), dtype=np.uint8) for array in arrays], probe))
    return _Parcel(content.hex(), [content])


def _run(parcel: _Parcel, chunk: bytes) -> tuple[bytes, bytes]:
    """One task: what the work gives, or what it raises. Not being able to fetch the work is the cluster's failure."""
    fetched = None if parcel.name in _OPEN else import_module("ray").get(parcel.content[0])
    try:
        if fetched is not None:
            _open(parcel.name, *fetched)
        return DONE, packed_result(_OPEN[parcel.name](pickle.loads(chunk)))
    except BaseException as raised:  # noqa: BLE001 - whatever the user's code raises is the caller's to handle
        return RAISED, packed_error(raised)


def _open(name: str, head: bytes, arrays: list[Any], probe: Probe | None) -> None:
    """Once a process. The work's arrays are the ones in the machine's shared memory, and read-only."""
    try:
        work: Callable[[Any], Any] = pickle.loads(head, buffers=arrays)
    except Exception as wrong:  # importing the user's modules runs whatever is in them
        raise SettingsError(
            f"target.estimator: an estimator that every machine of the cluster can open is needed, but on "
            f"{socket.gethostname()} one raised {type(wrong).__name__}: {wrong}. Put its class where it can be "
            f"imported there."
        ) from wrong
    if probe is not None and isinstance(work, Storing):
        probe(work)
    _OPEN.clear()
    _OPEN[name] = work


# -- the connection ----------------------------------------------------------------------------------------------------


@contextmanager
def _connected(workers: int, address: str | None) -> Iterator[Any]:
    """Ray, connected; afterwards as it was before."""
    ray: Any = import_module("ray")
    if ray.is_initialized():
        found = ray.get_runtime_context().gcs_address
        if address not in (None, found):
            raise SettingsError(
                f"compute.address: this process is connected to the Ray cluster at {found} already, found {address}. "
                f"Leave the address out to use that one, or call ray.shutdown() first."
            )
        yield ray
        return
    folder = None
    with _surroundings(ray):
        try:
            if address is None:
                folder = tempfile.mkdtemp(prefix="locard-ray-", dir="/tmp")  # sockets: a long path does not do
                _start(ray, workers, folder)
            else:
                _join(ray, address)
            yield ray
        finally:
            with redirect_stdout(_Logged()):  # what it has not printed yet
                ray.shutdown(wait_for_processes=True)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, workers: int, folder: str) -> None:
    own = {} if os.uname().sysname == "Darwin" else {"_node_ip_address": LOOPBACK}
    try:
        ray.init(
            "local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            _temp_dir=folder, **own,
        )  # fmt: skip
    except Exception as wrong:  # its many processes fail in many ways
        raise RunStopped(
            f"A Ray of its own is needed on this machine, but starting it failed ({type(wrong).__name__}: "
            f'{_last_line(wrong)}). Mend that, or set compute.backend = "local", which needs none.'
        ) from wrong


def _join(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except Exception as wrong:  # a wrong host, a closed port, another service, another version of Ray or Python
        raise RemoteUnavailable(
            f"compute.address: a Ray cluster is needed at {address}, but joining it failed ({type(wrong).__name__}: "
            f"{_last_line(wrong)}). Start one (ray start --head), run this command on one of its machines, with the "
            f"versions of Python and Ray that the cluster has, and give the address that ray start prints."
        ) from wrong


class _Logged(io.TextIOBase):
    """Takes what would be printed to Ray's logger, which is silent unless somebody listens."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.getLogger("ray").info(text.rstrip())
        return len(text)


class _Stdout:
    """Standard output, but Ray's own threads, which print there what they hear from machines, get its logger."""

    def __init__(self, stdout: Any) -> None:
        self._stdout, self._logged = stdout, _Logged()

    def write(self, text: str) -> int:
        by_ray = threading.current_thread().name.startswith("ray_")
        return int((self._logged if by_ray else self._stdout).write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


@contextmanager
def _surroundings(ray: Any) -> Iterator[None]:
    """What a Ray started here is to find in the environment; afterwards all that it changes is as it was before."""
    before = {name: os.environ.get(name) for name in (*QUIET, *CHANGED)}
    here = threading.current_thread() is threading.main_thread()
    handler, stdout = signal.getsignal(signal.SIGTERM) if here else None, sys.stdout
    os.environ.update(QUIET)
    sys.stdout = quiet = _Stdout(stdout)
    try:
        yield
    finally:
        if sys.stdout is quiet:
            sys.stdout = stdout
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        with suppress(AttributeError):  # a Ray started here asks for a token; a cluster joined later may know of none
            ray._raylet.Config.initialize("")
            ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _last_line(wrong: BaseException) -> str:
    return (str(wrong).strip().splitlines() or [type(wrong).__name__])[-1]
