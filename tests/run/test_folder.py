"""The run folder: one writer, and everything that a repeat needs."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest

from locard.errors import RunStopped, StoreMismatch
from locard.plan.designs import pairs
from locard.plan.plan import Plan
from locard.run.folder import RunFolder, read_environment
from locard.seeds import Seed

SETTINGS = {"name": "a", "seed": 7, "data": {"source": "x.csv"}, "compute": {"workers": 2}}
PRINTS = {"data": "d", "recipe": "r", "plan": "p"}


@pytest.fixture
def plan(records) -> Plan:
    return pairs(records(20), np.arange(20), models=4, seed=Seed(0))


def begin(folder: RunFolder, plan: Plan, base, **changed) -> None:
    folder.begin(SETTINGS | changed, plan, PRINTS, base)


def test_a_folder_has_one_writer_and_is_free_again_afterwards(tmp_path):
    with RunFolder(tmp_path / "run"):
        for _ in range(2):
            with pytest.raises(StoreMismatch, match="one writer"):
                RunFolder(tmp_path / "run").__enter__()
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "run"):
        1 / 0
    with RunFolder(tmp_path / "run"):
        pass


def test_the_folder_says_what_a_repeat_needs(tmp_path, plan):
    base = tmp_path / "config"
    base.mkdir()
    with RunFolder(tmp_path / "run") as folder:
        begin(folder, plan, base)
    assert tomllib.loads((tmp_path / "run" / "settings.toml").read_text()) == SETTINGS
    told = read_environment(tmp_path / "run")
    assert told["seed"] == 7
    assert told["fingerprints"] == PRINTS
    assert told["base"] == str(base)
    assert {"numpy", "scipy", "scikit-learn", "pandas"} <= set(told["packages"])
    assert Plan.from_file(str(tmp_path / "run" / "plan.safetensors")).fingerprint == plan.fingerprint


@pytest.mark.parametrize(("changed", "kept"), [({"compute": {"workers": 1}}, True), ({"seed": 8}, False), ({}, True)])
def test_an_old_result_stays_only_where_nothing_that_changes_it_has_changed(tmp_path, plan, changed, kept):
    with RunFolder(tmp_path) as folder:
        begin(folder, plan, tmp_path)
        for name in ("result.json", "report.html"):
            (tmp_path / name).write_text("old")
        begin(folder, plan, tmp_path / "moved", **changed)
    assert (tmp_path / "result.json").exists() is kept
    assert (tmp_path / "report.html").exists() is kept


def test_a_damaged_environment_file_is_no_obstacle(tmp_path, plan):
    with RunFolder(tmp_path):
        pass
    for content in (b"", b"[1]", b"\xff\xfe", b"{"):
        (tmp_path / "environment.json").write_bytes(content)
        assert read_environment(tmp_path) == {}
        with RunFolder(tmp_path) as folder:
            begin(folder, plan, tmp_path)


def test_timings_are_beside_the_result(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.timings["models"] = {"total": 3}
        folder.end()
    said = json.loads((tmp_path / "run.json").read_text())
    assert said["models"] == {"total": 3}
    assert said["total_seconds"] >= 0


def test_a_new_writer_cleans_what_a_killed_one_left(tmp_path):
    (tmp_path / "observations").mkdir()
    left = [tmp_path / ".result.json.q1.part", tmp_path / "observations" / ".k.safetensors.q2.part"]
    kept = tmp_path / "notes.part"
    for path in [*left, kept]:
        path.write_bytes(b"half")
    with RunFolder(tmp_path):
        pass
    assert not any(p.exists() for p in left)
    assert kept.exists()


@pytest.mark.parametrize("name", ["settings.toml", "records.parquet", "report.html", "result.json"])
def test_a_users_own_files_are_never_written_over(tmp_path, plan, name):
    """``--out .`` beside a settings file called settings.toml once replaced it by the resolved settings."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(StoreMismatch, match=rf"holds {name}, which no run has made .*--out"):
        RunFolder(tmp_path).__enter__()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_are_no_obstacle_and_a_copied_run_is_still_one(tmp_path, plan):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.md").write_text("mine")
    with RunFolder(tmp_path / "run") as folder:
        begin(folder, plan, tmp_path)
    (tmp_path / "run" / ".lock").unlink()  # as after cp run/* copy
    with RunFolder(tmp_path / "run"):
        pass


@pytest.mark.parametrize("given", ["shared", "file://{base}/shared/", "{base}/shared"])
def test_models_and_weights_are_where_the_settings_say_and_that_is_tried_out(tmp_path, plan, given):
    place = given.format(base=tmp_path)
    with RunFolder(tmp_path / "run") as folder:
        begin(folder, plan, tmp_path)
        assert folder.store.folder == tmp_path / "run" / "observations"
        begin(folder, plan, tmp_path, compute={"store": place})
        assert folder.store.folder == tmp_path / "shared"
        assert folder.weights.folder == tmp_path / "shared" / "weights"
        assert list((tmp_path / "shared").iterdir()) == []
        (tmp_path / "shared").rmdir()
        (tmp_path / "shared").touch()
        with pytest.raises(RunStopped, match="shared"):
            begin(folder, plan, tmp_path, compute={"store": place})
