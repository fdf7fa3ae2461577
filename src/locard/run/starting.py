"""A process of this interpreter that is told through a pipe what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe

from locard.errors import RunStopped

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")

# What the interpreter runs: nothing of the parent's script, and no module from the folder it happens to stand in.
# Names are looked up where the parent looks, and the user's code sees the parent's arguments.
BOOT = """
import sys
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
sys.path[:], sys.argv[:], module, parent, imports = pipe.recv()
__import__(module)
sys.modules[module].serve(pipe, parent, imports)
"""


def start(module: str, imports: Sequence[str], **environment: str) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a process that calls ``module.serve(pipe, parent, imports)``, with one thread.

    It leads a process group of its own: a terminal's Ctrl-C reaches the parent alone, and it ends with all that it has
    started.

    Args:
        module: is imported there.
        imports: given to it.
        environment: variables besides those of this process.

    Returns:
        The process, and the other end of its pipe.

    Raises:
        RunStopped: no process could be started.
    """
    pipe, theirs = Pipe()
    try:
        process = subprocess.Popen(
            # -P: nothing is imported from the folder that happens to be the current one; asserts as they are here
            [sys.executable, *["-O"] * sys.flags.optimize, "-P", "-c", BOOT, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what the work prints must not end up in what this process prints
            pass_fds=(theirs.fileno(),),
            env=os.environ | ONE_THREAD | environment,
            process_group=0,
        )
    except OSError as wrong:
        pipe.close()
        raise cannot_start(wrong) from wrong
    finally:
        theirs.close()
    with suppress(OSError):  # it has ended already: waiting for it will tell
        pipe.send((sys.path, sys.argv, module, os.getpid(), tuple(imports)))
    return process, pipe


def cannot_start(wrong: OSError) -> RunStopped:
    """What is said where the system starts no process."""
    return RunStopped(
        f"Worker processes are needed, but starting one failed ({wrong}). Set compute.workers = 1 or free "
        f"memory, and run the same command again: everything finished so far is kept."
    )
