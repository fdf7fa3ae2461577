"""Audits whose models lie on a shared folder or in an object store: the same bytes, and nothing trained twice."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from locard.pipeline import Watch, audit_settings
from locard.settings import read_settings
from locard.train.jobs import Training
from locard.train.object_store import opened


@pytest.fixture
def fits(monkeypatch) -> list[int]:
    """The models that are trained in this process."""
    trained: list[int] = []
    real = Training.__call__

    def counted(self, chunk):
        trained.extend(job.model for job in chunk.jobs)
        return real(self, chunk)

    monkeypatch.setattr(Training, "__call__", counted)
    return trained


def audit(config: Path, out: Path, *sets: str, watch: Watch | None = None) -> None:
    audit_settings(read_settings(config, sets), base=config.parent, out=out, watch=watch)


def models(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("*")}


def test_a_shared_folder_holds_the_models_and_serves_every_run(tiny, tmp_path, fits, bytes_of):
    config, shared = tiny(), tmp_path / "shared"
    audit(config, tmp_path / "plain")
    audit(config, tmp_path / "one", "compute.store=shared")
    assert models(shared) == models(tmp_path / "plain" / "observations")
    assert not (tmp_path / "one" / "observations").exists()
    assert len(fits) == 16
    audit(config, tmp_path / "two", f"compute.store=file://{shared}", 'attack=["loss", "lira"]')
    audit(config, tmp_path / "three", f"compute.store={shared}")
    assert len(fits) == 16  # another run, and another audit of the same models, trained nothing
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "three") == bytes_of(tmp_path / "plain")


def test_an_object_store_holds_the_models_and_the_run_folder_what_was_read(tiny, tmp_path, fits, bytes_of):
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'locard[s3]'")
    config, place = tiny(), f"memory://{secrets.token_hex(4)}"
    audit(config, tmp_path / "plain")
    audit(config, tmp_path / "one", f"compute.store={place}")
    plain = models(tmp_path / "plain" / "observations")
    files, root = opened(place)
    assert {n.rsplit("/", 1)[-1]: files.cat_file(n) for n in files.ls(root, detail=False)} == plain
    assert models(tmp_path / "one" / "observations") == plain
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "plain")
    fits.clear()
    said: list[str] = []
    name = sorted(plain)[0]
    files.pipe_file(f"{root}/{name}", plain[name][:-1] + bytes([plain[name][-1] ^ 1]))
    audit(config, tmp_path / "two", f"compute.store={place}", watch=Watch(warn=said.append))
    assert len(fits) == 1  # the damaged one, in the same run
    assert [s.split()[0] for s in said] == [f"{place}/{name}"]
    assert files.cat_file(f"{root}/{name}") == plain[name]
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "plain")


def test_two_runs_at_once_on_one_shared_folder(tiny, tmp_path, environment, bytes_of):
    """Each trains what it does not find; the same key has the same bytes, so it does not matter who was first."""
    config = tiny()
    code = "from locard.cli.main import run; run()"
    words = ["audit", str(config), "--set", "compute.store=shared", "--out"]
    runs = [
        subprocess.Popen([sys.executable, "-c", code, *words, str(tmp_path / out)], env=environment)
        for out in ("one", "two")
    ]
    assert [r.wait(timeout=120) for r in runs] == [0, 0]
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert all(name.endswith(".safetensors") for name in models(tmp_path / "shared"))
    assert len(models(tmp_path / "shared")) == 8
