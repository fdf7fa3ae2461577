"""Audits of networks: the same bytes whatever the workers, the grouping written down, nothing lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from locard.pipeline import audit_settings
from locard.result import AuditResult
from locard.settings import read_settings
from locard.train.store import Store

pytest.importorskip("torch", reason="needs the extra 'torch'")
NETWORK = {"recipe": "torch", "module": "mlp", "params": {"hidden": [4]}, "epochs": 2, "batch_size": 20}


@pytest.fixture
def network(tiny):
    def write(**sections):
        target = dict.fromkeys(("estimator",)) | NETWORK | sections.pop("target", {})
        return tiny(**{"target": target, "references": {"models": 8}} | sections)

    return write


def run(config, out) -> AuditResult:
    return audit_settings(read_settings(config), base=config.parent, out=out)


def stored(folder, name="logits") -> list[np.ndarray]:
    store = Store(folder / "observations")
    keys = sorted(p.stem for p in store.folder.glob("*.safetensors"))
    return [store.read(k, name) for k in keys]


def test_no_result_depends_on_the_number_of_workers(network, tmp_path, bytes_of):
    for workers in (1, 3):
        run(network(compute={"workers": workers, "chunk": 4}), tmp_path / str(workers))
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "3")


def test_with_exact_no_result_depends_on_the_grouping_and_without_it_only_in_the_last_digits(
    network, tmp_path, bytes_of
):
    for name, compute in {
        "exact": {"exact": True},
        "exact of 3": {"exact": True, "chunk": 3},
        "ones": {"chunk": 1},
        "threes": {"chunk": 3},
        "eights": {"chunk": 8},
    }.items():
        run(network(compute={"workers": 1} | compute), tmp_path / name)
    assert bytes_of(tmp_path / "exact") == bytes_of(tmp_path / "exact of 3") == bytes_of(tmp_path / "ones")
    for name in ("threes", "eights"):
        for one, other in zip(stored(tmp_path / "exact"), stored(tmp_path / name), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)  # float32, 8 steps


def test_a_missing_file_is_made_again_with_the_same_companions(network, tmp_path, bytes_of):
    config = network(compute={"workers": 1, "chunk": 4})
    run(config, tmp_path / "run")
    before = bytes_of(tmp_path / "run")
    files = {p.name: p.read_bytes() for p in (tmp_path / "run" / "observations").iterdir()}
    for name in sorted(files)[2:4]:
        (tmp_path / "run" / "observations" / name).unlink()
    run(network(compute={"workers": 1, "chunk": 2}), tmp_path / "run")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run" / "observations").iterdir()} == files
    assert bytes_of(tmp_path / "run") == before


def test_traces_are_stored_beside_the_answers(network, tmp_path):
    traces = {"losses": True, "penultimate": True, "weights": True, "snapshots": [1]}
    run(network(traces=traces, compute={"workers": 1, "chunk": 4}), tmp_path / "run")
    logits, losses, inside = (stored(tmp_path / "run", n) for n in ("logits", "losses", "penultimate"))
    assert {a.shape for a in losses} == {(len(logits[0]), 2)}
    assert {a.shape for a in inside} == {(len(logits[0]), 4)}
    names = {p.name.split(".", 1)[1] for p in (tmp_path / "run" / "weights").iterdir()}
    assert names == {"final.safetensors", "epoch-1.safetensors"}


def test_an_augmentation_list_is_the_query_axis(network, tmp_path):
    run(network(target={"augment": ["identity", "noise(0.1)", "noise(0.2)"]}, compute={"workers": 1}), tmp_path / "run")
    assert {a.shape[1] for a in stored(tmp_path / "run")} == {3}


def test_a_network_that_does_not_fit_the_data_is_told_before_training(network, tmp_path, cli):
    code, out, err = cli("audit", network(target={"module": "cnn", "params": {}}), "--out", tmp_path / "run")
    assert code == 2, out
    assert "cnn needs images" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("run/observations/*"))


def test_the_plan_predicts_networks_and_the_same_audit_at_a_million_records(network, cli):
    code, out, err = cli("plan", network())
    assert code == 0, err
    assert "256 models, 1,000,000 records" in out
    code, out, err = cli("plan", network(), "--json")
    tree = json.loads(out)
    assert tree["fit_seconds"] > 0
    assert tree["at_scale"]["training_seconds"]["256"] == tree["at_scale"]["model_seconds"]


KILLED = """
import sys
from pathlib import Path
from locard.pipeline import audit_settings
from locard.settings import read_settings
config = Path(sys.argv[1])
audit_settings(read_settings(config), base=config.parent, out=Path(sys.argv[2]))
"""


def test_kill_9_in_the_middle_of_training_then_the_same_command_gives_the_same_bytes(
    network, tmp_path, environment, bytes_of
):
    """Two workers, chunks of 2; killed when the first, the second, ... file is there."""
    config = network(target={"epochs": 30}, compute={"workers": 2, "chunk": 2})
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    run(config, tmp_path / "whole")
    moments = random.Random(3)
    for after in (1, 3):
        process = subprocess.Popen([sys.executable, str(script), str(config), str(tmp_path / "cut")], env=environment)
        end = time.monotonic() + 60
        while len(list(tmp_path.glob("cut/observations/*.safetensors"))) < after and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    run(config, tmp_path / "cut")
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_an_attack_that_reads_the_training_loop_turns_its_losses_on_by_itself(network, tmp_path):
    config = network(attack=[{"name": "lira"}, {"name": "loss_trace"}], compute={"workers": 1})
    result = run(config, tmp_path / "run")
    assert [a.label for a in result.summary.attacks] == ["lira", "loss_trace"]
    losses = stored(tmp_path / "run", "losses")
    assert len(losses) == 8
    assert losses[0].shape[1] == 2
