"""Nothing is lost: whatever stops a run, and wherever, running it again gives the bytes of an uninterrupted run."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from locard.errors import RunStopped, StoreMismatch
from locard.pipeline import Watch, audit_settings
from locard.result import AuditResult
from locard.run.folder import RunFolder
from locard.settings import read_settings
from locard.train.jobs import Training

KILLS = 12

# Imports once, runs once uninterrupted, then runs again and again in a child that is killed at a random moment.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from locard.pipeline import audit_settings
from locard.settings import read_settings

config, whole, cut, kills = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
run = lambda out: audit_settings(read_settings(config), base=config.parent, out=out)
begun = time.monotonic()
run(whole)
begun = time.monotonic()
run(Path(str(whole) + "-warm"))
seconds = time.monotonic() - begun
moments, seen = random.Random(20), []
for i in range(kills):
    child = os.fork()
    if child == 0:
        run(cut)
        os._exit(0)
    time.sleep(moments.uniform(0, seconds if i > kills / 2 else 0.3 * seconds))  # first in training, then anywhere
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.append(len(list((cut / "observations").glob("*.safetensors"))))
run(cut)
print(json.dumps(seen))
"""

SLOW = """
import time
from sklearn.tree import DecisionTreeClassifier

class Slow(DecisionTreeClassifier):
    def fit(self, x, y):
        time.sleep(SECONDS)
        return super().fit(x, y)
"""


def slow(npz: Path, seconds: float) -> dict[str, dict[str, str]]:
    npz.with_name("slow_tree.py").write_text(SLOW.replace("SECONDS", str(seconds)))
    return {"target": {"estimator": "slow_tree.Slow"}}


def run_again(config: Path, out: Path) -> AuditResult:
    return audit_settings(read_settings(config), base=config.parent, out=out)


def test_kill_9_at_random_moments_then_the_same_command_gives_the_same_bytes(
    tiny, npz, tmp_path, environment, bytes_of
):
    config = tiny(**slow(npz, 0.05))
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = [sys.executable, str(script), str(config), str(whole), str(cut), str(KILLS)]
    out = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)
    assert out.returncode == 0, out.stderr
    seen = json.loads(out.stdout.splitlines()[-1])
    assert seen == sorted(seen)  # what was done stayed done
    assert len(set(seen)) > 1  # and the kills hit different moments
    assert bytes_of(cut) == bytes_of(whole)
    assert bytes_of(tmp_path / "whole-warm") == bytes_of(whole)
    assert not list(cut.rglob("*.part"))
    assert not list(cut.rglob("*.damaged-*"))


class Died(BaseException):
    """Stands for the end of the process."""


def test_death_at_every_single_write_leaves_a_folder_that_resumes_to_the_same_bytes(
    tiny, tmp_path, monkeypatch, bytes_of
):
    """At the moment before and after each rename; temporary files stay behind, as after kill -9."""
    config = tiny(references={"models": 4}, controls={"redraws": 0}, attack=[{"name": "loss"}])
    whole = tmp_path / "whole"
    run_again(config, whole)
    real, writes = os.replace, []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: writes.append(b) or real(a, b))
        run_again(config, tmp_path / "count")
    assert len(writes) >= 3 + 4 + 3 + 2  # what the run is, its models, its result, report and timings
    for when in range(len(writes)):
        folder, calls = tmp_path / f"died-{when}", []

        def replace(a, b, when=when, calls=calls):
            calls.append(b)
            if len(calls) - 1 == when:
                if when % 2:
                    real(a, b)
                raise Died
            real(a, b)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
            with pytest.raises(Died):
                run_again(config, folder)
        assert len(list(folder.rglob(".*.part"))) == 1 - when % 2
        run_again(config, folder)
        assert bytes_of(folder) == bytes_of(whole), f"died at write {when} of {writes[when]}"
        assert not list(folder.rglob("*.part"))


def test_a_disk_that_fills_at_any_write_leaves_a_resumable_run_and_a_clear_message(
    tiny, tmp_path, monkeypatch, bytes_of
):
    config = tiny(references={"models": 4}, controls={"redraws": 0}, attack=[{"name": "loss"}])
    run_again(config, tmp_path / "whole")
    real, folder = os.replace, tmp_path / "full"
    for when in (0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7):  # on one folder: every run gets a little further
        calls = []

        def replace(a, b, when=when, calls=calls):
            calls.append(b)
            if len(calls) > when:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(a, b)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            with pytest.raises(RunStopped, match=r"is full\. Free some space and run the same command again"):
                run_again(config, folder)
        assert not list(folder.rglob("*.part"))
    run_again(config, folder)
    assert bytes_of(folder) == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("limit", [1_000, 8_000])
def test_a_full_disk_from_the_command_line(tiny, tmp_path, environment, bytes_of, limit):
    """The system's limit on file sizes stands for the disk: the models' files (1,000) or the scores (8,000) fail."""
    config, folder = tiny(), tmp_path / "run"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)\n"
        "from locard.cli.main import run; run()"
    )
    words = [sys.executable, "-c", code, str(limit), "audit", str(config), "--out", str(folder)]
    out = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert out.returncode == 2
    assert "run the same command again: everything finished so far is kept" in out.stderr
    assert "Traceback" not in out.stderr
    run_again(config, folder)
    run_again(config, tmp_path / "whole")
    assert bytes_of(folder) == bytes_of(tmp_path / "whole")


def test_the_number_of_workers_changes_no_byte(tiny, tmp_path, bytes_of):
    config = tiny()
    run_again(config, tmp_path / "one")
    two = read_settings(config, ["compute.workers=2"])
    audit_settings(two, base=config.parent, out=tmp_path / "two")
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_another_folder_and_process_change_no_byte_and_no_path_of_the_machine_is_in_the_result(
    npz, tiny, tmp_path, bytes_of, environment
):
    config = tiny()
    run_again(config, tmp_path / "one")
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    for name in (npz.name, config.name):
        (elsewhere / name).write_bytes(npz.with_name(name).read_bytes())
    words = [sys.executable, "-m", "locard", "audit", config.name, "--out", "run"]
    other = environment | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(words, env=other, cwd=elsewhere, capture_output=True, check=True)
    assert bytes_of(tmp_path / "one") == bytes_of(elsewhere / "run")
    assert str(tmp_path) not in (tmp_path / "one" / "result.json").read_text()


# -- what is reused, and what never is ------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch) -> list[int]:
    """The numbers of the models that were really trained."""
    trained, real = [], Training.__call__

    def counted(self, chunk):
        trained.extend(job.model for job in chunk.jobs)
        return real(self, chunk)

    monkeypatch.setattr(Training, "__call__", counted)
    return trained


def test_a_finished_run_is_a_full_hit(tiny, tmp_path, fits, bytes_of):
    config = tiny()
    run_again(config, tmp_path / "run")
    before = bytes_of(tmp_path / "run")
    assert fits == list(range(8))
    run_again(config, tmp_path / "run")
    assert fits == list(range(8))
    assert bytes_of(tmp_path / "run") == before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["models"] == {"reused": 8, "total": 8, "trained": 0}


def test_more_models_reuse_all_that_exist(tiny, tmp_path, fits, bytes_of):
    run_again(tiny(references={"models": 4}), tmp_path / "run")
    run_again(tiny(references={"models": 10}), tmp_path / "run")
    assert fits == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    run_again(tiny(references={"models": 10}), tmp_path / "at-once")
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "at-once")


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 4},
        {"target": {"params": {"max_depth": 3}}},
        {"target": {"preprocess": "standardise"}},
        {"data": {"pool": 60}},
        {"data": {"population": 3}},
    ],
)
def test_a_change_of_what_models_depend_on_trains_all_again(tiny, tmp_path, fits, changed):
    run_again(tiny(references={"models": 4}), tmp_path / "run")
    run_again(tiny(references={"models": 4}, **changed), tmp_path / "run")
    assert fits == [0, 1, 2, 3] * 2


def test_a_changed_data_set_never_reuses_old_files(tiny, npz, tmp_path, fits):
    import numpy as np

    config = tiny(references={"models": 4})
    run_again(config, tmp_path / "run")
    with np.load(npz) as old:
        arrays = dict(old)
    arrays["features"] = arrays["features"] + 1e-9
    np.savez(npz, **arrays)
    run_again(config, tmp_path / "run")
    assert fits == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("changed", [{"attack": ["loss"]}, {"measure": {"fprs": [0.2]}}, {"controls": {"redraws": 0}}])
def test_a_change_of_what_is_measured_trains_nothing(tiny, tmp_path, fits, changed):
    run_again(tiny(), tmp_path / "run")
    run_again(tiny(**changed), tmp_path / "run")
    assert len(fits) == 8


def test_damaged_and_half_written_files_are_named_set_aside_and_made_again(tiny, tmp_path, fits, bytes_of):
    config, folder = tiny(), tmp_path / "run"
    run_again(config, folder)
    before, files = bytes_of(folder), sorted((folder / "observations").glob("*.safetensors"))
    content = {f: f.read_bytes() for f in files}
    files[0].write_bytes(content[files[0]][:-5])
    files[3].write_bytes(content[files[3]][:-1] + b"\xff")
    files[5].unlink()
    (folder / "observations" / f".{files[6].name}.x.part").write_bytes(b"half")
    for name in before:
        (folder / name).write_bytes(before[name][:100])
    said, fits[:] = [], []
    audit_settings(read_settings(config), base=config.parent, out=folder, watch=Watch(warn=said.append))
    assert len(fits) == 3
    assert sorted(s.split()[0] for s in said) == [files[0].name, files[3].name]
    assert all("will be made again" in s for s in said)
    assert bytes_of(folder) == before
    assert {f: f.read_bytes() for f in files} == content
    assert len(list((folder / "observations").glob("*.damaged-1"))) == 2


def test_a_run_that_is_stopped_after_a_change_leaves_no_old_result_behind(tiny, tmp_path, monkeypatch):
    """Otherwise the folder would show the old audit's names under the new audit's settings."""
    folder = tmp_path / "run"
    run_again(tiny(), folder)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "__call__", lambda self, chunk: (_ for _ in ()).throw(Died))
        with pytest.raises(Died):
            run_again(tiny(seed=99), folder)
    with pytest.raises(StoreMismatch, match="Run the audit to its end"):
        AuditResult.load(folder)
    assert not (folder / "report.html").exists()


def test_a_result_that_is_being_replaced_is_never_mixed_with_the_old_one(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    result = run_again(tiny(), folder)
    real = os.replace
    for when in range(3):
        calls = []

        def replace(a, b, when=when, calls=calls):
            calls.append(b)
            if len(calls) > when:
                raise Died
            real(a, b)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            with pytest.raises(Died):
                result.save(folder)
        with pytest.raises(StoreMismatch):
            AuditResult.load(folder)
    result.save(folder)
    assert AuditResult.load(folder).to_json() == result.to_json()


# -- one writer, and interrupts --------------------------------------------------------------------------------------


def test_a_second_process_on_the_same_folder_is_told_so_and_changes_nothing(tiny, tmp_path, cli, bytes_of):
    config, folder = tiny(), tmp_path / "run"
    run_again(config, folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with RunFolder(folder):
        code, out, err = cli("audit", config, "--out", folder, "--set", "seed=8")
    assert code == 2
    assert f"has one writer, but process {os.getpid()} is writing to {folder}. Wait until it has ended" in err
    assert "Traceback" not in err
    assert out == ""
    del before[folder / ".lock"]
    assert all(p.read_bytes() == content for p, content in before.items())
    assert cli("audit", config, "--out", folder)[0] == 0


@pytest.mark.parametrize("out", ["/proc/locard-run", "/dev/null", "/dev/null/run"])
def test_a_folder_that_cannot_be_written_is_said_before_any_model_is_trained(tiny, cli, fits, out):
    code, _, err = cli("audit", tiny(), "--out", out)
    assert code == 2
    assert "needed" in err or "must be writable" in err
    assert "--out" in err
    assert "Traceback" not in err
    assert fits == []


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_how_to_resume_and_leaves_no_process(tiny, npz, tmp_path, environment, processes, workers):
    config = tiny(**slow(npz, 0.4))
    folder = tmp_path / "a run"
    words = ["audit", str(config), "--out", str(folder), "--set", f"compute.workers={workers}"]
    code = "from locard.cli.main import run; run()"
    running = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 40
        while not list((folder / "observations").glob("*.safetensors")):
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the whole group hears it
        _, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130
    assert f"Resume with: locard audit {config} --out '{folder}'" in err
    assert "Traceback" not in err
    end = time.monotonic() + 5
    while left := [p["command"] for p in processes() if p["session"] == running.pid]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    done = len(list((folder / "observations").glob("*.safetensors")))
    assert 0 < done < 8
