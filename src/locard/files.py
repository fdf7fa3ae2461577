"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from locard.errors import RunStopped


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, never sees half of it.

    Raises:
        RunStopped: the disk is full or the folder cannot be written; no partial file stays under the final name.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as sink:
            sink.write(data)
            sink.flush()
            os.fsync(sink.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as problem:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise cannot_write(path, len(data), problem) from problem
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it is not there.

    Raises:
        RunStopped: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(path, 0, problem) from problem
    return path


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        RunStopped: the folder cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise cannot_write(path, 0, problem) from problem


def cannot_write(path: Path, size: int, problem: OSError) -> RunStopped:
    """The message for a file that could not be written."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunStopped(
            f"{size:,} bytes are needed for {path.name}, but the disk that holds {path.parent} is full. "
            f"Free some space and run the same command again: everything finished so far is kept."
        )
    return RunStopped(
        f"{path} must be writable, but writing failed ({problem.strerror or problem}). "
        f"Mend that, or choose another folder with --out, and run the same command again: everything finished so far "
        f"is kept."
    )
