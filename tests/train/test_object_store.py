"""Stores on shared folders and object stores keep the promises of a store in the run folder."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locard.errors import MissingExtra, RunStopped, SettingsError
from locard.train import object_store
from locard.train.object_store import ObjectStore, opened
from locard.train.packing import HEAD, pack
from locard.train.store import DamagedFile, Store, StoreReader, open_store

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'locard[s3]'")

TENSORS = {
    "logits": np.arange(24, dtype=np.float32).reshape(4, 2, 3),
    "population": np.zeros((0, 2, 3), dtype=np.float32),
}
FILE = pack(TENSORS)
S3 = all(find_spec(name) for name in ("s3fs", "moto", "flask", "flask_cors"))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 service on this machine's loopback: ``s3://bucket``."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        opened("s3://bucket")[0].mkdir("bucket")
        yield "s3://bucket"
    opened.cache_clear()
    server.stop()


KINDS = [
    "folder",
    "memory",
    pytest.param("s3", marks=pytest.mark.skipif(not S3, reason="s3fs, moto, flask or flask-cors is not installed")),
]


def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of the kind that the test is run for."""
    own = secrets.token_hex(4)
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{own}"
    return f"memory://{own}" if request.param == "memory" else str(tmp_path / "shared")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty(request, tmp_path)


@pytest.fixture(params=KINDS[1:])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore(empty(request, tmp_path))


@pytest.fixture
def fresh(place: str, tmp_path: Path) -> Callable[[], Store]:
    """``fresh()``: the store as another process, in a run folder of its own, sees it."""
    return lambda: open_store(tmp_path / secrets.token_hex(4), place, tmp_path)


@pytest.fixture
def content(place: str) -> Callable[..., Any]:
    """``content()``: what lies there; ``content(name, data)``: put that there, whatever was."""

    def of(name: str | None = None, data: bytes | None = None) -> Any:
        if "://" not in place:
            if name is None:
                return {p.name: p.read_bytes() for p in Path(place).iterdir()}
            return (Path(place) / name).write_bytes(data or b"")
        files, root = opened(place)
        if name is not None:
            return files.pipe_file(f"{root}/{name}", data or b"")
        return {n: ObjectStore(place).get(n) for n in ObjectStore(place).sizes()}

    return of


def tried(store: Store) -> None:
    with store.marked():
        pass


def test_what_is_written_reads_back_and_a_try_leaves_nothing(fresh, content):
    tried(fresh())
    assert content() == {}
    fresh().write("key", TENSORS)
    assert content() == {"key.safetensors": FILE}
    for name, tensor in TENSORS.items():
        again = fresh().read("key", name)
        assert again.dtype == tensor.dtype
        assert np.array_equal(again, tensor)
        assert fresh().shape("key", name) == tensor.shape
    assert np.array_equal(StoreReader(fresh(), ["key"], "logits").read(0), TENSORS["logits"])


def test_missing_keys_come_in_the_order_asked(fresh):
    for key in ("c", "a"):
        fresh().write(key, TENSORS)
    assert fresh().missing(["d", "c", "b", "a"]) == (["d", "b"], [])
    assert fresh().verify(["d", "c", "b", "a"]) == (["d", "b"], [])


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1])
def test_a_cut_file_is_found_at_the_start_named_and_set_aside(fresh, content, cut):
    tried(fresh())  # makes the place
    content("key.safetensors", FILE[:cut])
    absent, (message,) = fresh().missing(["key"])
    assert absent == ["key"]
    assert message.endswith("key.safetensors is damaged; it was moved to key.damaged-1 and will be made again.")
    assert content() == {"key.damaged-1": FILE[:cut]}


def test_a_flipped_bit_is_found_on_reading_named_and_set_aside(fresh, content):
    flipped = FILE[:-1] + b"\xff"
    for number in (1, 2):
        fresh().write("key", TENSORS)
        content("key.safetensors", flipped)
        store = fresh()
        assert store.missing(["key"]) == ([], [])
        absent, (message,) = store.verify(["key"])
        assert absent == ["key"]
        assert message.endswith(f"is damaged; it was moved to key.damaged-{number} and will be made again.")
    assert content() == {"key.damaged-1": flipped, "key.damaged-2": flipped}
    fresh().write("key", TENSORS)
    content("key.safetensors", flipped)
    with pytest.raises(DamagedFile, match=r"moved to key\.damaged-3"):
        fresh().read("key", "logits")
    with pytest.raises(DamagedFile, match=r"is needed, but it is gone. Run the same command again"):
        fresh().read("key", "logits")


def test_a_header_longer_than_what_is_fetched_at_once(fresh):
    many = {f"{'tensor' * 20}-{n}": np.zeros(1) for n in range(100)}
    assert len(pack(many)) > HEAD
    fresh().write("key", many)
    assert fresh().missing(["key"]) == ([], [])
    assert fresh().verify(["key"]) == ([], [])


def test_a_mark_is_seen_by_who_sees_the_store_and_goes(fresh, content, tmp_path):
    with fresh().marked() as mark:
        assert fresh().sees(mark)
        assert not Store(tmp_path / "elsewhere").sees(mark)
        assert not Store(tmp_path, ObjectStore("memory://elsewhere")).sees(mark)
    assert not fresh().sees(mark)
    assert content() == {}


# -- object stores alone -----------------------------------------------------------------------------------------------


def test_the_same_name_is_put_once(far):
    far.put("a", b"first")
    far.put("a", b"second")
    assert far.get("a") == b"first"
    far.remove("a")
    far.remove("a")
    assert far.get("a") is None
    assert far.sizes() == {}


def test_the_beginnings_of_files_come_together_and_without_those_that_cannot_be_read(far):
    far.put("short", b"abc")
    far.put("long", bytes(HEAD + 5))
    assert far.heads(["short", "none", "long"]) == {"short": b"abc", "long": bytes(HEAD)}
    assert far.get("long", 3) == bytes(3)
    assert far.heads([]) == {}


def test_what_others_put_there_later_is_seen(far):
    assert far.sizes() == {}
    files, root = opened(far.url)
    files.pipe_file(f"{root}/later", b"xy")
    assert far.sizes() == {"later": 2}


class Old:
    """A driver that does not know the condition: its ``pipe_file`` takes a path and data."""

    def __init__(self, files: Any) -> None:
        self.files = files

    def pipe_file(self, path: str, value: bytes) -> None:
        self.files.pipe_file(path, value)


def test_a_file_that_is_there_stays_whether_it_is_whole_or_not(fresh, content):
    """A chunk that comes again writes what is missing of it; ``verify`` finds what is damaged, outside the workers."""
    tried(fresh())
    content("key.safetensors", b"damaged")
    store = fresh()
    if not store.holds("key"):
        store.write("key", TENSORS)
    assert content() == {"key.safetensors": b"damaged"}
    assert fresh().verify(["key"])[0] == ["key"]


def test_drivers_that_cannot_put_on_condition_put_all_the_same(monkeypatch):
    far = ObjectStore(f"memory://{secrets.token_hex(4)}")
    files, root = opened(far.url)
    with monkeypatch.context() as patch:
        patch.setattr(object_store, "opened", lambda url: (Old(files), root))
        far.put("a", b"one")
    assert far.get("a") == b"one"


def test_a_file_is_fetched_once_and_a_damaged_copy_again(monkeypatch, tmp_path):
    place = f"memory://{secrets.token_hex(4)}"
    open_store(tmp_path, place, tmp_path).write("key", TENSORS)
    fetched: list[str] = []
    real = ObjectStore.get
    monkeypatch.setattr(ObjectStore, "get", lambda self, name, end=None: fetched.append(name) or real(self, name, end))
    store = Store(tmp_path / "run", ObjectStore(place))
    for _ in range(3):
        assert store.verify(["key"]) == ([], [])
        assert np.array_equal(store.read("key", "logits"), TENSORS["logits"])
    assert fetched == ["key.safetensors"]
    store.path("key").write_bytes(FILE[:-1] + b"\xff")
    again = Store(tmp_path / "run", ObjectStore(place))
    absent, messages = again.verify(["key"])
    assert absent == []  # it need not be trained
    assert messages == ["key.safetensors is damaged; it was moved to key.damaged-1 and will be made again."]
    assert again.path("key").read_bytes() == FILE
    assert fetched == ["key.safetensors"] * 2


def test_a_start_asks_for_one_listing_and_not_for_every_file(monkeypatch, tmp_path):
    place = f"memory://{secrets.token_hex(4)}"
    for n in range(20):
        ObjectStore(place).put(f"k{n}.safetensors", FILE)
    asked: list[str] = []
    for name in ("sizes", "heads", "get"):
        real = getattr(ObjectStore, name)
        monkeypatch.setattr(ObjectStore, name, lambda *a, n=name, real=real: asked.append(n) or real(*a))
    assert Store(tmp_path, ObjectStore(place)).missing([f"k{n}" for n in range(21)]) == (["k20"], [])
    assert asked == ["sizes", "heads"]


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_without_fsspec_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtra, match=r"pip install 'locard\[s3\]'"):
        ObjectStore("memory://never-opened").sizes()


@pytest.mark.parametrize("url", ["nosuchkind://bucket/run", "dropbox://run"])
def test_an_address_of_no_known_kind_or_without_its_driver_is_said(url, tmp_path):
    with pytest.raises(SettingsError, match=rf"compute\.store: an address that fsspec can open .* found '{url}'"):
        open_store(tmp_path, url, tmp_path).missing([])


def test_a_store_that_does_not_answer_or_cannot_be_written_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunStopped, match=r"Not a directory|File exists"):
        tried(open_store(tmp_path / "own", str(tmp_path / "file"), tmp_path))
    files, _ = opened("memory://x")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("no such key")

    monkeypatch.setattr(files, "pipe_file", refused)
    with pytest.raises(RunStopped, match=r"memory://x could not be given \.seen-.* \(PermissionError: no such key\)"):
        tried(open_store(tmp_path / "own", "memory://x", tmp_path))


def test_places_are_paths_from_the_settings_file_or_urls(tmp_path):
    base = tmp_path / "config"
    assert open_store(tmp_path / "own", "shared/run1", base).folder == base / "shared" / "run1"
    assert open_store(tmp_path / "own", f"file://{tmp_path}/two%20words", base).folder == tmp_path / "two words"
    far = open_store(tmp_path / "own", "memory://bucket/run1/", base)
    assert (far.where, far.folder) == ("memory://bucket/run1", tmp_path / "own")


def test_in_a_shared_folder_only_what_is_a_day_old_is_cleaned(tmp_path):
    new, old = tmp_path / ".a.safetensors.x.part", tmp_path / ".b.safetensors.x.part"
    for path in (new, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    open_store(tmp_path / "own", str(tmp_path), tmp_path)
    assert new.exists()
    assert not old.exists()
