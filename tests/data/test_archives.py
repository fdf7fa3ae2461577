"""Fetching, with small archives made here and a downloader in place of pip; nothing in this file needs a network."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from locard.data import archives
from locard.data.archives import Archive, Member, cache_folder, download_archive
from locard.data.catalogue import SETS, PublicSet
from locard.data.pickled_table import read_pickled_table
from locard.data.public import fetch, is_cached, load
from locard.errors import DataError, RemoteUnavailable, SettingsError, StoreMismatch

CONTENT = b"".join(b"%d,%d,%s\n" % (i, i * i, b"ab"[i % 2 : i % 2 + 1]) for i in range(50))
PACKED = gzip.compress(b"1,2,a\n3,4,b\n")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def box(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
    return buffer.getvalue()


WHEEL = box({"toy/data/toy.dat": CONTENT, "toy/data/other.csv.gz": PACKED, "toy/__init__.py": b"raise SystemExit"})
TOY = Archive("toy", "1.0", "toy-1.0-py3-none-any.whl", "wheel", 1, sha(WHEEL))


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    """An empty cache, and two sets ``toy`` and ``other`` that come from one archive."""
    monkeypatch.setenv("LOCARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOCARD_ARCHIVES", raising=False)
    for name, member in (
        ("toy", Member("toy/data/toy.dat", sha(CONTENT))),
        ("other", Member("toy/data/other.csv.gz", sha(gzip.decompress(PACKED)))),
    ):
        made = PublicSet(
            name=name,
            title="",
            records=50,
            features=2,
            classes=2,
            licence="",
            label="class",
            archive=TOY,
            members=(member,),
        )
        monkeypatch.setitem(SETS, name, made)


class Fake:
    """A downloader that writes ``data`` in two halves and can die between them."""

    def __init__(self, data: bytes = WHEEL, dies: BaseException | None = None) -> None:
        self.data, self.dies, self.calls = data, dies, 0

    def __call__(self, archive: Archive, folder: Path) -> Path:
        self.calls += 1
        path = folder / archive.file
        path.write_bytes(self.data[: len(self.data) // 2])
        if self.dies:
            raise self.dies
        path.write_bytes(self.data)
        return path


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_only_the_data_is_kept_and_fetched_once_for_all_sets_of_the_archive(capsys):
    fake = Fake()
    assert fetch("toy", download=fake) == cache_folder() / "toy"
    assert files(cache_folder()) == ["other/other.csv.gz", "toy/toy.dat"]
    assert list(cache_folder().glob(".fetch-*")) == []
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("locard: fetching 'toy' once: package toy 1.0, 1 MB, only its data is kept ->")
    fetch("toy", download=fake)
    fetch("other", download=fake)
    assert fake.calls == 1
    assert capsys.readouterr().err == ""
    r = load("toy")
    assert (len(r), r.features.shape, r.classes.tolist()) == (50, (50, 2), ["a", "b"])
    assert load("other").features.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("dies", [RemoteUnavailable("line is cut"), KeyboardInterrupt(), OSError("disk")])
def test_an_interrupted_download_leaves_nothing_behind(dies):
    """Planted bug: the download goes straight into the folder of the set."""
    with pytest.raises(type(dies)):
        fetch("toy", download=Fake(dies=dies))
    assert files(cache_folder()) == []
    assert list(cache_folder().iterdir()) == []
    assert not is_cached(SETS["toy"])
    fetch("toy", download=Fake())
    assert is_cached(SETS["toy"])


def test_another_archive_under_the_name_is_set_aside():
    wrong = Fake(box({"toy/data/toy.dat": CONTENT}))
    with pytest.raises(StoreMismatch) as caught:
        fetch("toy", download=wrong)
    (kept,) = files(cache_folder())
    assert kept.startswith("set-aside/toy-1.0-py3-none-any.whl.damaged-")
    for fact in (TOY.sha256, sha(wrong.data), kept, "Nothing of it was used"):
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no zip file at all", "a whole archive is needed, found one that cannot be opened"),
        (box({"toy/data/toy.dat": CONTENT[:-9]}), "found another content"),
        (box({"other.txt": b""}), "found no such file"),
    ],
)
def test_archives_that_hold_something_else(monkeypatch, data, message):
    """The content of each member is pinned too: here the archive itself is not."""
    chosen = SETS["toy"]
    free = Archive("toy", "1.0", TOY.file, "wheel", 1)
    monkeypatch.setitem(SETS, "free", PublicSet(**{**vars(chosen), "name": "free", "archive": free}))
    with pytest.raises(StoreMismatch, match=message):
        fetch("free", download=Fake(data))
    assert files(cache_folder()) == []


def test_a_damaged_file_in_the_cache_is_set_aside_and_fetched_again(capsys, monkeypatch, tmp_path):
    fetch("toy", download=Fake())
    path = cache_folder() / "toy" / "toy.dat"
    path.write_bytes(CONTENT[:100])
    (tmp_path / TOY.file).write_bytes(WHEEL)
    monkeypatch.setenv("LOCARD_ARCHIVES", str(tmp_path))
    capsys.readouterr()
    assert len(load("toy")) == 50
    assert path.read_bytes() == CONTENT
    assert "toy.dat is damaged; set aside as toy.dat.damaged-" in capsys.readouterr().err
    assert len([f for f in files(cache_folder()) if ".damaged-" in f]) == 1


def test_an_archive_that_the_user_has_is_used_and_left_alone(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / TOY.file).write_bytes(WHEEL)
    never = Fake(dies=AssertionError("must not download"))
    fetch("toy", archive=mine / TOY.file, download=never)
    (cache_folder() / "toy" / "toy.dat").unlink()
    monkeypatch.setenv("LOCARD_ARCHIVES", str(mine))
    fetch("toy", download=never)
    assert is_cached(SETS["toy"])
    (cache_folder() / "toy" / "toy.dat").unlink()
    (mine / TOY.file).write_bytes(WHEEL + b"x")
    with pytest.raises(StoreMismatch, match="it is at"):
        fetch("toy", download=never)
    assert files(mine) == [TOY.file]
    with pytest.raises(StoreMismatch, match="found no file"):
        fetch("toy", archive=mine / "nothing.whl")


def test_several_processes_at_once_do_no_harm():
    barrier, wrong = threading.Barrier(4), []

    def slow(archive: Archive, folder: Path) -> Path:
        barrier.wait(10)
        return Fake()(archive, folder)

    def one() -> None:
        try:
            fetch("toy", download=slow)
        except BaseException as problem:  # noqa: BLE001
            wrong.append(problem)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert files(cache_folder()) == ["other/other.csv.gz", "toy/toy.dat"]


def test_what_a_killed_process_left_is_removed_after_a_day():
    old, new = cache_folder() / ".fetch-old", cache_folder() / ".fetch-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    fetch("toy", download=Fake())
    assert not old.exists()
    assert new.exists()


def test_unknown_names_give_the_nearest():
    with pytest.raises(SettingsError, match=r"found 'adlut'\. Nearest: adult"):
        fetch("adlut")
    with pytest.raises(SettingsError, match=r"found 'Letter'\. Nearest: letter"):
        load("Letter")


def no_network(monkeypatch, folder: Path) -> None:
    """pip's own settings, which are respected: no index, archives from this folder only."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_pip_under_the_users_settings_and_a_message_without_addresses(monkeypatch, tmp_path, capfd):
    no_network(monkeypatch, tmp_path)
    metadata = {
        "toy/data/toy.dat": CONTENT,
        "toy/data/other.csv.gz": PACKED,
        "toy-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\nRequires-Python: <3\n",
        "toy-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toy-1.0.dist-info/RECORD": b"",
    }
    (tmp_path / TOY.file).write_bytes(box(metadata))
    out = tmp_path / "out"
    out.mkdir()
    assert download_archive(TOY, out) == out / TOY.file
    monkeypatch.setenv("PIP_FIND_LINKS", "http://user:secret@127.0.0.1:9/registry")  # nobody answers there
    monkeypatch.setenv("PIP_RETRIES", "0")
    missing = Archive("locard-toy-that-is-nowhere", "1.0", "nowhere-1.0.whl", "wheel", 3)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RemoteUnavailable) as caught:
        download_archive(missing, other)
    said = str(caught.value) + "".join(capfd.readouterr())
    assert "3 MB are needed once" in said
    assert "pip download --no-deps --ignore-requires-python locard-toy-that-is-nowhere==1.0" in said
    assert "LOCARD_ARCHIVES" in said
    assert "registry" not in said
    assert "secret" not in said
    assert "://" not in said


def test_no_code_of_a_source_archive_runs(monkeypatch, tmp_path):
    """Planted bug: the audit hook left out (pip then runs setup.py, which leaves its mark)."""
    mark = tmp_path / "ran"
    setup = f"from setuptools import setup\nopen({str(mark)!r}, 'w').close()\nsetup(name='toy', version='1.0')\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in {
            "toy-1.0/setup.py": setup,
            "toy-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
            "toy-1.0/toy.dat": CONTENT.decode(),
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    source = Archive("toy", "1.0", "toy-1.0.tar.gz", "sdist", 1, sha(buffer.getvalue()))
    links = tmp_path / "links"
    links.mkdir()
    (links / source.file).write_bytes(buffer.getvalue())
    no_network(monkeypatch, links)
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "1")
    chosen = PublicSet(
        **{**vars(SETS["toy"]), "archive": source, "members": (Member("toy-1.0/toy.dat", sha(CONTENT)),)}
    )
    monkeypatch.setitem(SETS, "toy", chosen)
    assert len(load("toy")) == 50
    assert not mark.exists()
    assert files(cache_folder()) == ["toy/toy.dat"]


@pytest.mark.parametrize("client", ["deb", "wheel", "sdist"])
def test_without_the_client_the_message_says_how_to_bring_the_archive(monkeypatch, tmp_path, client):
    monkeypatch.setattr(archives.shutil, "which", lambda tool: None)
    monkeypatch.setattr(archives.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RemoteUnavailable) as caught:
        download_archive(Archive("toy", "1.0", "toy.box", client, 1), tmp_path)
    needed = "apt-get and dpkg-deb is needed" if client == "deb" else "pip is needed"
    assert needed in str(caught.value)
    assert "name that in LOCARD_ARCHIVES" in str(caught.value)


def test_fashion_mnist_may_be_put_there_by_hand(monkeypatch):
    monkeypatch.setattr(archives.shutil, "which", lambda tool: None)
    monkeypatch.setattr("locard.data.public._SYSTEM", Path("/nowhere"))
    with pytest.raises(
        RemoteUnavailable, match=r"Or put the files train-images-idx3-ubyte\.gz, .* into .*fashion-mnist"
    ):
        fetch("fashion-mnist")


class Trap:
    def __reduce__(self):
        return os.system, ("echo ran",)


def test_the_reader_of_pinned_pickles_knows_only_parts_of_tables(capfd):
    import lzma

    with pytest.raises(DataError, match=r"found (posix|nt)\.system in it\. Refused"):
        read_pickled_table(lzma.compress(pickle.dumps(Trap())))
    with pytest.raises(DataError, match="found a pickle of a dict"):
        read_pickled_table(lzma.compress(pickle.dumps({"a": 1})))
    with pytest.raises(DataError, match="Refused"):
        read_pickled_table(lzma.compress(pickle.dumps(pd.Series([1]))))
    assert capfd.readouterr().out == ""


def test_listing_names_offline_needs_no_heavy_library():
    code = (
        "import sys; from locard.data.public import public_sets; assert len(public_sets()) == 53; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "sklearn", "scipy", "pyarrow", "matplotlib"} & set(loaded)
