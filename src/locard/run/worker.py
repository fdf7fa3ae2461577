"""The other end of ``run.backend``: a process that works for its parent, one chunk at a time, until their pipe ends."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from locard.errors import SettingsError
from locard.run.sharing import Shared

READY, DONE, RAISED = b"ready", b"done", b"raised"  # what a worker says; a result follows, or what was raised
WORK, CHUNK = b"work", b"chunk"  # what it is told; the work follows, or the chunk


def serve(pipe: Connection, parent: int, imports: Sequence[str]) -> None:
    """Work for the process ``parent`` until it closes the pipe, or is gone; first, import what the work will need."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    os.register_at_fork(after_in_child=pipe.close)  # else a child of the user's code hides this worker's death
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    import_all(imports)
    try:
        _work(pipe)
    except (EOFError, OSError):  # the parent has closed its end
        return


def import_all(imports: Sequence[str]) -> None:
    """Import these modules, for good; those that cannot be imported are passed over."""
    atexit.register(gc.freeze)  # else the process takes all libraries apart before it ends
    gc.disable()  # what libraries make stays: looking through it again and again is a fifth of the time
    for name in imports:
        with suppress(Exception):  # whatever importing raises, it will be said when the work is opened
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _work(pipe: Connection) -> None:
    shared: Shared | None = None
    work: Callable[[Any], Any] | None = None
    pipe.send_bytes(READY)
    while True:
        if pipe.recv_bytes() == WORK:
            shared, work = Shared.receive(pipe), None
            continue
        chunk = pipe.recv_bytes()
        try:
            if work is None:
                assert shared is not None  # sent before the first chunk
                work = shared.open()
            said, answer = DONE, packed_result(work(pickle.loads(chunk)))
        except BaseException as raised:  # noqa: BLE001 - whatever the user's code raises is the parent's to handle
            said, answer = RAISED, packed_error(raised)
        pipe.send_bytes(said)
        pipe.send_bytes(answer)
        del chunk, answer  # large ones, before the wait for the next


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed must not go on alone, nor what its user's code has started."""
    while os.getppid() == parent:
        time.sleep(0.5)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def packed_result(result: Any) -> bytes:
    """Pickled.

    Raises:
        SettingsError: it cannot be pickled.
    """
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(result)
    except Exception as wrong:  # whatever the pickling code of a user's class may raise
        raise SettingsError(
            f"Results that can be sent back from worker processes are needed, but pickling a {type(result).__name__} "
            f"raised {type(wrong).__name__}: {wrong}. Set compute.workers = 1 (backend 'local'), or return plain "
            f"values."
        ) from wrong
    return packed


def packed_error(raised: BaseException) -> bytes:
    """The exception with the worker's traceback as a note; where it does not survive the pipe, one that says so."""
    import cloudpickle

    note = "Raised in a worker process:\n" + "".join(traceback.format_exception(raised)).rstrip()
    try:
        raised.add_note(note)
        packed: bytes = cloudpickle.dumps(raised)
        pickle.loads(packed)
    except Exception as wrong:  # noqa: BLE001 - whatever the pickling code of a user's exception may raise
        said = traceback.format_exception_only(raised)[0].strip()
        unsaid = SettingsError(
            f"Exceptions that can be sent back from worker processes are needed, but the work raised {said}, and "
            f"pickling that raised {type(wrong).__name__}: {wrong}. Mend what it complains of; compute.workers = 1 "
            f"(backend 'local') shows it as it is."
        )
        unsaid.add_note(note)
        packed = cloudpickle.dumps(unsaid)
    return packed
