"""Audits with students: made once, found again, the same on any number of workers, and refused where there are none."""

from __future__ import annotations

import json

import numpy as np
import pytest

import locard
from locard.errors import AccessDenied, RunStopped
from locard.pipeline import audit_settings
from locard.prepare import prepare
from locard.settings import read_settings
from locard.train.store import Store

STUDENTS = [{"name": "lira"}, {"name": "trajectory"}, {"name": "attack_d"}]
SHORT = {"epochs": 3, "students": 2, "records": 20}


@pytest.fixture
def distilled(tiny, npz):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=120)
    np.savez(npz, features=rng.normal(size=(120, 4)) + y[:, None], labels=y, ids=np.arange(120).astype(str))

    def write(**sections):
        own = {"data": {"source": "data.npz", "pool": 80}, "attack": STUDENTS, "distil": SHORT}
        return tiny(**own | sections)

    return write


def run(config, out):
    return audit_settings(read_settings(config), base=config.parent, out=out)


def names(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder / "observations").glob("*.safetensors")}


def told(folder):
    return json.loads((folder / "run.json").read_text())


def test_every_model_is_distilled_once_and_every_target_by_several(distilled, tmp_path):
    result = run(distilled(), tmp_path / "run")
    assert [a.label for a in result.summary.attacks] == ["lira", "trajectory", "attack_d"]
    noted = told(tmp_path / "run")
    assert noted["distillations"]["distilled"]["models"] == {"reused": 0, "total": 8, "trained": 8}
    assert noted["distillations"]["student"]["models"] == {"reused": 0, "total": 16, "trained": 16}
    assert noted["models"] == {"reused": 0, "total": 8, "trained": 8}  # those of the audit are not written over
    assert noted["stage_seconds"]["distilling"] > 0
    store = Store(tmp_path / "run" / "observations")
    kept = [store.tensors(p.stem) for p in store.folder.glob("*.safetensors")]
    assert sorted(t["distilled"].shape for t in kept if "distilled" in t) == [(80, 3, 5)] * 8
    assert sorted(t["student"].shape for t in kept if "student" in t) == [(80, 1)] * 16


def test_again_nothing_is_made_and_what_is_lost_is_made_again(distilled, tmp_path, bytes_of):
    out = tmp_path / "run"
    run(distilled(), out)
    before, first = names(out), bytes_of(out)
    run(distilled(), out)
    assert names(out) == before
    assert told(out)["distillations"]["student"]["models"]["reused"] == 16
    store = Store(out / "observations")
    gone = [p for p in store.folder.glob("*.safetensors") if "logits" not in store.tensors(p.stem)][3]
    gone.unlink()
    run(distilled(), out)
    assert names(out).keys() == before.keys()
    assert bytes_of(out) == first


def over_after(monkeypatch, results):
    """The time is over when so many models and students are finished; the one at work then is kept."""
    import locard.run.training as training

    moments = iter([False] * results + [True] * 100)
    over = property(lambda self: self._end is not None and next(moments))
    monkeypatch.setattr(training.Clock, "over", over)


def test_time_over_among_students_costs_the_attacks_that_read_them_and_nothing_else(
    distilled, tmp_path, bytes_of, monkeypatch
):
    """Planted: a stage that ignores the clock distils all 24, and a policy that forgets the attack is passed."""
    given = {"policy": {"max_auc": 0.999}}
    whole = run(distilled(**given), tmp_path / "whole")
    assert whole.summary.policy.outcome == "pass"
    over_after(monkeypatch, 8 + 8 + 3)
    cut = run(distilled(**given, compute={"workers": 1, "stop_after": "1h"}), tmp_path / "cut")
    assert [a.label for a in cut.summary.attacks] == ["lira", "trajectory"]
    assert [n.name for n in cut.summary.not_run] == ["attack_d"]
    assert "goes on where it stopped" in cut.summary.not_run[0].reason
    assert any("some attacks were not run" in line for line in cut.summary.unresolved)
    assert cut.summary.policy.outcome == "inconclusive"
    assert "attack_d had no time to be run" in cut.summary.policy.reasons[0]
    monkeypatch.undo()
    run(distilled(**given), tmp_path / "cut")
    assert told(tmp_path / "cut")["distillations"]["student"]["models"]["reused"] == 4
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("attacks", [["trajectory"], ["trajectory", "lira"]])
def test_no_other_attack_takes_the_place_of_a_headline_that_had_no_time(distilled, tmp_path, monkeypatch, attacks):
    """Planted: with the attacks that are left, lira becomes the headline without being declared."""
    over_after(monkeypatch, 8)
    only = distilled(attack=[{"name": name} for name in attacks], compute={"workers": 1, "stop_after": "1h"})
    with pytest.raises(RunStopped, match=r"headline attack trajectory.*goes on where it stopped"):
        run(only, tmp_path / "run")
    assert len(names(tmp_path / "run")) == 9


def test_no_byte_depends_on_the_number_of_workers(distilled, tmp_path, bytes_of):
    for workers in (1, 3):
        run(distilled(compute={"workers": workers}), tmp_path / str(workers))
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "3")


@pytest.mark.parametrize("changed", [{"epochs": 4}, {"temperature": 2.0}, {"label_only": True}, {"records": 24}])
def test_settings_that_change_students_make_new_ones(distilled, tmp_path, changed):
    run(distilled(), tmp_path / "run")
    run(distilled(distil=SHORT | changed), tmp_path / "run")
    noted = told(tmp_path / "run")
    assert [noted["distillations"][kind]["models"]["reused"] for kind in ("distilled", "student")] == [0, 0]
    assert noted["models"]["reused"] == 8  # the models themselves stay


def test_without_an_attack_that_reads_them_there_are_none(distilled, tmp_path):
    run(distilled(attack=[{"name": "lira"}]), tmp_path / "run")
    assert len(names(tmp_path / "run")) == 8
    assert "distillations" not in told(tmp_path / "run")


def test_an_attack_that_cannot_have_students_is_refused_or_listed_before_training(distilled, tmp_path):
    few = {"epochs": 3, "students": 100, "records": 20}
    config = distilled(distil=few)
    (reason,) = [n.reason for n in prepare(read_settings(config), config.parent).chosen.not_run]
    assert "students need 1000 auxiliary records (in no model), found 20" in reason
    config = distilled(distil=few, attack=[{"name": "attack_d"}])
    with pytest.raises(AccessDenied, match=r"The headline attack attack_d needs several students .*found 20"):
        prepare(read_settings(config), config.parent)
    config = distilled(target={"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {}})
    reasons = [n.reason for n in prepare(read_settings(config), config.parent).chosen.not_run]
    assert len(reasons) == 2
    assert all("takes no sample_weight. Set distil.label_only = true" in r for r in reasons)
    config = distilled(attack=[{"name": "lira"}, {"name": "loss_trace"}])
    (reason,) = [n.reason for n in prepare(read_settings(config), config.parent).chosen.not_run]
    assert "Only models that are trained here epoch by epoch" in reason


def test_saved_outputs_have_no_students():
    rng = np.random.default_rng(0)
    coins = rng.random((4, 60)) < 0.5
    result = locard.audit_saved(
        logits=rng.normal(size=(8, 60, 2)),
        member=np.concatenate([coins, ~coins]),
        labels=rng.integers(2, size=60),
        settings={"attack": ["loss", "trajectory"]},
    )
    (left,) = result.summary.not_run
    assert left.name == "trajectory"
    assert "snapshots of a student distilled from every model, which cannot be had here" in left.reason


def test_the_plan_says_what_students_cost(distilled, cli):
    code, out, _ = cli("plan", distilled())
    assert code == 0
    assert "Students   24 of 20 records in all, distilled in about" in out
    code, out, _ = cli("plan", distilled(attack=[{"name": "lira"}]))
    assert "Students" not in out


def test_pairs_that_come_until_the_policy_is_settled_are_distilled_as_they_come(distilled, tmp_path):
    """Every look scores the attacks that read students, so those of its models are made before it."""
    config = distilled(
        references={"models": 34, "until": "settled", "burn_in": 8},
        attack=[{"name": "lira"}, {"name": "attack_d"}],
        policy={"max_auc": 0.95},
    )
    result = run(config, tmp_path / "run")
    assert [a.label for a in result.summary.attacks] == ["lira", "attack_d"]
