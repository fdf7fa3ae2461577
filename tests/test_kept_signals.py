"""``compute.keep = "signals"``: the same results from a fraction of the bytes, and nothing wrong is ever read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from locard.errors import SettingsError
from locard.pipeline import audit, audit_settings
from locard.run.training import Watch
from locard.settings import read_settings
from locard.train.store import Store

SIX = [{"name": n} for n in ("lira", "rmia", "attack_p", "mentr", "entropy", "gap")]
FOREST = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}}
NETWORK = {"recipe": "torch", "module": "mlp", "params": {"hidden": [4]}, "epochs": 2, "batch_size": 20}
TORCH = pytest.param(
    NETWORK | dict.fromkeys(("estimator",)),
    id="torch",
    marks=pytest.mark.skipif(
        not __import__("importlib.util").util.find_spec("torch"), reason="needs the extra 'torch'"
    ),
)


@pytest.fixture
def ten(npz):
    """The data with ten classes."""
    with np.load(npz) as old:
        arrays = dict(old)
    arrays["labels"] = np.arange(len(arrays["labels"])) % 10
    np.savez(npz, **arrays)


@pytest.fixture
def said():
    return []


@pytest.fixture
def run(tiny, tmp_path, said):
    """``run("out", keep="signals", ...)``: audit into that folder; what was warned of is in ``said``."""

    def go(name, keep="logits", **sections):
        compute = {"keep": keep} | sections.pop("compute", {})
        config = tiny(**{"attack": SIX, "target": FOREST} | sections | {"compute": compute})
        watch = Watch(warn=said.append)
        return audit_settings(read_settings(config), base=config.parent, out=tmp_path / name, watch=watch)

    return go


def files(folder):
    return {p.stem: p for p in (folder / "observations").glob("*.safetensors")}


def trained(folder):
    return json.loads((folder / "run.json").read_text())["models"]


@pytest.mark.parametrize("target", [pytest.param(FOREST, id="sklearn"), TORCH])
@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_the_same_bytes(ten, run, tmp_path, bytes_of, target, workers):
    """Forests' answers are floored, so that the headline is shown at another floor; networks' are not.

    Planted: the headline's signals not stored at the other floor, and the population's signals left out; both stop.
    """
    compute = {"workers": workers, "chunk": 4}
    for keep in ("logits", "signals"):
        run(keep, keep, target=target, compute=compute, controls={"redraws": 3, "blind": True})
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")
    tree = json.loads((tmp_path / "signals" / "result.json").read_text())
    assert (tree["data"]["floored"] > 0) == (target is FOREST)
    for one, other in zip(*(sorted(files(tmp_path / k)) for k in ("logits", "signals")), strict=True):
        assert other.startswith(f"{one}-")
        assert "logits" not in Store(tmp_path / "signals" / "observations").names(other)


def test_on_a_ray_the_bytes_are_the_same(ten, run, tmp_path, bytes_of):
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    run("logits")
    run("signals", "signals", compute={"backend": "ray", "workers": 2})
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")


def test_a_released_model_is_compared_with_signals(ten, records, quick, bytes_of, tmp_path):
    from sklearn.tree import DecisionTreeClassifier

    r = records(80, classes=10)
    tree = DecisionTreeClassifier(max_depth=4)
    inside = r.ids[:40]  # some of every class
    released = tree.fit(r.features[:40], r.labels[:40]), inside
    assert len(tree.classes_) == 10
    for keep in ("logits", "signals"):
        given = quick | {"compute": {"workers": 1, "keep": keep}}
        audit(
            r,
            DecisionTreeClassifier(max_depth=4),
            models=8,
            attacks=["lira", "attack_p"],
            seed=1,
            released=released,
            out=tmp_path / keep,
            **given,
        )
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")


def test_models_trained_elsewhere_are_kept_as_signals(ten, records, quick, bytes_of, tmp_path):
    from sklearn.tree import DecisionTreeClassifier

    r = records(80, classes=10)
    rng = np.random.default_rng(0)
    half = rng.random((4, 80)) < 0.5
    member = np.stack([half, ~half], axis=1).reshape(8, 80)
    models = [
        DecisionTreeClassifier(max_depth=4, random_state=k).fit(r.features[m], r.labels[m])
        for k, m in enumerate(member)
    ]
    for keep in ("logits", "signals"):
        given = quick | {"compute": {"workers": 1, "keep": keep}}
        audit(r, checkpoints=models, member=member, attacks=["lira", "loss"], seed=1, out=tmp_path / keep, **given)
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")


def test_attacks_that_read_whole_answers_are_refused_before_training(ten, run, tmp_path):
    attacks = [{"name": n} for n in ("lira", "instance_vector", "shadow", "gmia")]
    with pytest.raises(SettingsError) as refused:
        run("out", "signals", attack=attacks)
    assert str(refused.value) == (
        "compute.keep: whole answers must be stored for the attack instance_vector, the attack shadow, the screen "
        "neighbours (of attacks that make claims), found 'signals', which stores a few numbers a record. Set "
        "compute.keep = 'logits', or leave them out."
    )
    assert not (tmp_path / "out").exists()


def test_claims_need_no_answers_where_the_screen_reads_none(ten, run, tmp_path, bytes_of):
    for keep in ("logits", "signals"):
        run(keep, keep, attack=[{"name": "gmia"}], screen={"name": "random"}, references={"models": 16})
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")


def test_signals_are_taken_from_logits_that_are_there(ten, run, tmp_path, bytes_of, said):
    """And more models, a removed attack and a changed order of attacks train nothing that is there."""
    run("out")
    whole = bytes_of(tmp_path / "out")
    run("out", "signals")
    assert trained(tmp_path / "out") == {"total": 8, "reused": 8, "trained": 0}
    assert bytes_of(tmp_path / "out") == whole
    run("out", "signals", references={"models": 12})
    assert trained(tmp_path / "out") == {"total": 12, "reused": 8, "trained": 4}
    for key, path in files(tmp_path / "out").items():
        if "-" not in key:
            path.unlink()
    run("out", "signals", attack=SIX[:2])
    assert trained(tmp_path / "out") == {"total": 8, "reused": 8, "trained": 0}
    assert said == []


def test_an_attack_whose_signal_was_not_kept_says_so_and_trains_again(ten, run, tmp_path, bytes_of, said):
    """Planted: keys that do not name the signals; the run then stops at the missing one, or reads a wrong file."""
    run("out", "signals", attack=SIX[:2])
    run("out", "signals")
    assert trained(tmp_path / "out")["trained"] == 8
    assert len(said) == 1
    assert said[0].startswith("8 of 8 models that are needed are in ")
    assert "Entropy() at floor 0.1, ModifiedEntropy() at floor 0.1 was not: they are trained again." in said[0]
    run("whole")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    said.clear()
    run("out", attack=[*SIX, {"name": "instance_vector"}])
    assert trained(tmp_path / "out")["trained"] == 8
    assert "whole answers was not: they are trained again" in said[0]


def flip_last_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_damaged_file_is_made_again(ten, run, tmp_path, bytes_of, said):
    run("out", "signals")
    before = bytes_of(tmp_path / "out")
    cut, flipped = sorted(files(tmp_path / "out").values())[:2]
    cut.write_bytes(cut.read_bytes()[:-1])
    flip_last_bit(flipped)
    run("out", "signals")
    assert bytes_of(tmp_path / "out") == before
    assert trained(tmp_path / "out")["trained"] == 2
    assert sum("is damaged" in message for message in said) == 2


def test_damaged_logits_serve_nobody(ten, run, tmp_path, bytes_of, said):
    run("out")
    before = bytes_of(tmp_path / "out")
    whole = sorted(files(tmp_path / "out").values())[0]
    flip_last_bit(whole)
    run("out", "signals")
    assert bytes_of(tmp_path / "out") == before
    assert trained(tmp_path / "out")["trained"] == 1
    assert "is damaged" in said[0]


def test_kill_9_then_the_same_command_gives_the_same_bytes(ten, run, npz, tiny, tmp_path, environment, bytes_of):
    slow = npz.with_name("slow_tree.py")
    slow.write_text(
        "import time\nfrom sklearn.tree import DecisionTreeClassifier\n\n\nclass Slow(DecisionTreeClassifier):\n"
        "    def fit(self, x, y):\n        time.sleep(0.2)\n        return super().fit(x, y)\n"
    )
    target = {"estimator": "slow_tree.Slow", "params": {}}
    run("whole", target=target)
    config = tiny(attack=SIX, target=target, compute={"keep": "signals"})
    words = [sys.executable, "-m", "locard", "audit", str(config), "--out", str(tmp_path / "cut")]
    child = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(files(tmp_path / "cut")) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 3 <= len(files(tmp_path / "cut")) < 8
    assert subprocess.run(words, env=environment, capture_output=True).returncode == 0
    assert 0 < trained(tmp_path / "cut")["trained"] <= 5
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_an_object_store_is_served_as_a_folder_is(ten, run, tmp_path, bytes_of):
    pytest.importorskip("fsspec", reason="needs the extra 's3'")
    place = {"store": f"memory://{tmp_path.name}"}
    run("logits", compute=place)
    run("signals", "signals", compute=place)
    assert trained(tmp_path / "signals")["trained"] == 0
    assert bytes_of(tmp_path / "logits") == bytes_of(tmp_path / "signals")


@pytest.mark.parametrize(("classes", "said"), [(10, "2.4 times less than logits"), (2, "nothing is saved: 2.1 times")])
def test_the_plan_says_what_is_stored(npz, tiny, cli, classes, said):
    with np.load(npz) as old:
        arrays = dict(old)
    arrays["labels"] = np.arange(len(arrays["labels"])) % classes
    np.savez(npz, **arrays)
    config = tiny(attack=SIX[:2], target=FOREST, compute={"keep": "signals"})
    code, out, err = cli("plan", config)
    assert code == 0, err
    line = next(line for line in out.splitlines() if line.startswith("Stored"))
    assert "Correct() at floor 0.1, ScaledLogit(temperature=1.0) at floor 0." in line
    assert said in line
    tree = json.loads(cli("plan", config, "--json")[1])
    assert tree["logit_bytes"] == 8 * 80 * 4 * classes
    assert tree["disk_bytes"] == 8 * 80 * 17


def test_an_attack_on_somebody_elses_model_needs_logits(tiny, cli):
    code, _, err = cli("attack", tiny(compute={"keep": "signals"}), "--out", "nowhere")
    assert code == 2
    assert "compute.keep: 'logits' is needed for locard attack" in err
