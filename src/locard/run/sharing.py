"""What goes to workers. The work is pickled once; its arrays lie in memory that all workers map and none copies."""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import IO, Any

from locard.errors import SettingsError

ALIGNED = 64  # bytes: where arrays start


def packed(what: Any, name: str, keep: Callable[[Any], Any] | None = None) -> bytes:
    """Pickled, classes and functions of the user's own script included; large arrays go to ``keep``, where it is given.

    Raises:
        SettingsError: it cannot be pickled.
    """
    import cloudpickle

    try:
        out: bytes = cloudpickle.dumps(what, protocol=5, buffer_callback=keep)
    except Exception as wrong:  # whatever the pickling code of a user's class may raise
        raise SettingsError(
            f"target.estimator: {name} that can be sent to worker processes is needed, but pickling it raised "
            f"{type(wrong).__name__}: {wrong}. Set compute.workers = 1 (backend 'local'), or make it in a function "
            f"of your own."
        ) from wrong
    return out


@dataclass(frozen=True, eq=False)
class Shared:
    """Pickled work: ``head`` says how to put it together, ``file`` (which has no name) holds its arrays.

    - the arrays are in memory once, however many workers open them
    - a worker that writes into them changes a copy of its own
    """

    head: bytes
    places: tuple[tuple[int, int], ...]  # of each array in the file: first byte and number of bytes
    file: IO[bytes]

    def send(self, pipe: Connection, to: int) -> None:
        """To the process ``to`` at the other end, which calls ``receive``."""
        pipe.send_bytes(self.head)
        pipe.send(self.places)
        send_handle(pipe, self.file.fileno(), to)

    @classmethod
    def receive(cls, pipe: Connection) -> Shared:
        """What ``send`` has sent."""
        head, places = pipe.recv_bytes(), pipe.recv()
        return cls(head, places, os.fdopen(recv_handle(pipe), "rb"))

    def open(self) -> Callable[[Any], Any]:
        """The work.

        Raises:
            SettingsError: it cannot be opened here.
        """
        with self.file:
            memory = memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY))
        try:
            work: Callable[[Any], Any] = pickle.loads(
                self.head, buffers=[memory[start : start + size] for start, size in self.places]
            )
        except Exception as wrong:  # importing the user's modules runs whatever is in them
            raise SettingsError(
                f"target.estimator: an estimator that worker processes can open is needed, but one raised "
                f"{type(wrong).__name__}: {wrong}. Set compute.workers = 1, or put its class where it can be imported."
            ) from wrong
        return work


def share(work: Callable[[Any], Any]) -> Shared:
    """Pickle the work; close ``.file`` when nobody will be sent it any more.

    Raises:
        SettingsError: it cannot be pickled.

    >>> shared = share(abs)
    >>> shared.open()(-2)
    2
    """
    arrays: list[pickle.PickleBuffer] = []
    head = packed(work, "an estimator", keep=arrays.append)
    file = _file()
    places, end = [], 0
    for array in arrays:
        raw = array.raw()
        start = -(-end // ALIGNED) * ALIGNED
        file.seek(start)
        file.write(raw)
        places.append((start, raw.nbytes))
        end = start + raw.nbytes
    file.truncate(max(end, 1))  # an empty file cannot be mapped
    file.flush()
    return Shared(head, tuple(places), file)


def _file() -> IO[bytes]:
    """In memory where the system can; never with a name that a killed run would leave behind."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("work"), "w+b")
    return tempfile.TemporaryFile()
