"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from locard.errors import RunStopped
from locard.files import make_folder, remove, write_file


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.bin"
    write_file(path, b"one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert left(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.chmod"])
@pytest.mark.parametrize(
    ("problem", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RunStopped, "disk that holds .* is full. Free some space"),
        (OSError(errno.EDQUOT, "Quota exceeded"), RunStopped, "disk that holds .* is full"),
        (OSError(errno.EACCES, "Permission denied"), RunStopped, r"must be writable.*Permission denied"),
        (OSError(errno.EFBIG, "File too large"), RunStopped, r"File too large.*run the same command again"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (MemoryError(), MemoryError, None),
    ],
)
def test_a_failure_anywhere_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call, problem, raised, said):
    path = tmp_path / "a.bin"
    write_file(path, b"old")

    def fail(*_: object) -> None:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(raised, match=said):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == ["a.bin"]


def test_a_disk_that_fills_while_writing_leaves_nothing(tmp_path):
    """The system's own limit on file sizes stands for the full disk: the write itself fails half way."""
    code = (
        "import resource, sys; from pathlib import Path; from locard.files import write_file\n"
        "from locard.errors import RunStopped\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_file(Path(sys.argv[1]), bytes(1_000_000))\n"
        "except RunStopped as stopped: print(stopped)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True, check=True
    )
    assert "must be writable" in out.stdout
    assert left(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10_000


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path):
    with pytest.raises(RunStopped, match="No such file"):
        write_file(tmp_path / "no" / "a", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunStopped, match=r"Not a directory|File exists"):
        make_folder(tmp_path / "file" / "below")
    assert make_folder(tmp_path / "x" / "y").is_dir()


def test_removing_what_is_not_there_is_fine_and_a_failure_is_said(tmp_path, monkeypatch):
    remove(tmp_path / "none")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", fail)
    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(RunStopped, match="Read-only file system"):
        remove(tmp_path / "none")


def test_everyone_may_read_what_was_written(tmp_path):
    write_file(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
