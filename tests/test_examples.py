"""Every example is run, as its reader would run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from locard.assess.choose import build_attacks
from locard.design import check_design
from locard.pipeline import audit_settings
from locard.prepare import prepare
from locard.result import AuditResult
from locard.settings import read_settings
from locard.stats import resolution
from locard.train.choose_recipe import recipe_of

EXAMPLES = Path(__file__).parent.parent / "examples"
ALONE = ["--set", "compute.workers=1"]  # the same result, without the two seconds that workers take to start
RUN_FOLDER = {
    "environment.json",
    "observations",
    "plan.safetensors",
    "records.parquet",
    "report.html",
    "result.json",
    "run.json",
    "scores.safetensors",
    "settings.toml",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A copy of the examples, so that nothing is written into the repository."""
    leave_out = shutil.ignore_patterns("*.csv", "*.skops", "train_ids.txt", "__pycache__")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=leave_out)
    return tmp_path


def run(command: Sequence[str], top: Path, code: int = 0) -> str:
    """What it printed; ``locard`` and ``python`` are those of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    words = [sys.executable if command[0] == "python" else command[0], *command[1:]]
    done = subprocess.run(words, cwd=top, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_several_rows_a_patient_are_audited_by_patient(top: Path) -> None:
    run(["python", "examples/patients/make_patients.py"], top)
    run(["locard", "audit", "examples/patients/patients.toml", "--out", "runs/patients", *ALONE], top)
    result = AuditResult.load(top / "runs/patients")
    data, table = result.summary.data, result.records
    assert (data.unit, data.n > 1.5 * data.units) == ("patient", True)
    assert {g.by for g in result.summary.groups} == {"class", "sex", "ward"}
    by_patient = table.groupby("unit")[["grade", "hits_in", "wins"]].nunique()
    assert (by_patient == 1).all().all()
    assert table["id"].str.startswith("V").all()
    assert table["id"].is_unique
    assert result.summary.exposed.n > 0
    listed = {f.name for f in (top / "runs/patients").iterdir() if not f.name.startswith(".")}
    assert listed == RUN_FOLDER
    guide = (EXAMPLES.parent / "docs/guide/audit.md").read_text()
    assert all(f"`{name}" in guide for name in RUN_FOLDER)
    command = next(x for x in (EXAMPLES / "patients/README.md").read_text().splitlines() if "--record" in x).split()
    assert run(command, top).startswith(f"Unit {command[-1]}: exposed"), "the README shows somebody who is exposed"


def test_a_released_model_is_audited_with_references_like_it(top: Path) -> None:
    pytest.importorskip("skops", reason="needs the extra 'skops'")
    run(["python", "examples/released/train.py"], top)
    run(["locard", "audit", "examples/released/released.toml", "--out", "runs/released", *ALONE], top)
    result = AuditResult.load(top / "runs/released")
    released = result.summary.released
    assert released is not None
    trained = (top / "examples/released/train_ids.txt").read_text().split()
    assert (released.model, released.members) == ("model.skops", len(trained))
    assert released.warnings == [], "references of the same size and recipe need no warning"
    members = result.records.loc[result.records["member"], "id"]
    assert sorted(members) == sorted(trained)
    auc = released.attacks[0].auc
    assert (auc.low or 0.0) > 0.6, "the model memorises, and the attack must find that"


def test_attacks_are_ranked_and_a_second_time_nothing_is_trained(top: Path) -> None:
    """With a few attacks: all of them are run on smaller data elsewhere (test_ranking.py)."""
    command = ["locard", "rank", "examples/rank.toml", *ALONE, "--set", 'attack=["lira", "rmia", "loss", "gap"]']
    said = run(command, top)
    assert "Ranking: digits, forest" in said
    assert said.splitlines()[-1] == "Report: locard-rank/rank.html"
    tree = json.loads((top / "locard-rank/rank.json").read_text())
    (study,) = tree["studies"]
    assert study["headline"] == "lira"
    assert {"rmia", "gap"} <= {row["label"] for row in study["rows"]}
    assert study["rows"][-1]["tpr"][0]["estimate"]["value"] < study["rows"][0]["tpr"][0]["estimate"]["value"]
    run([*command, "--markdown", "--set", 'attack=["loss"]'], top)
    assert json.loads((top / "locard-rank/run.json").read_text())["models"]["trained"] == 0


def test_saved_outputs_give_one_result_from_python_and_from_files(top: Path) -> None:
    said = run(["python", "examples/saved_outputs.py", "out"], top)
    assert "60 of 60 names are right" in said
    verdict = said.splitlines()[0]
    assert json.loads((top / "out/run/result.json").read_text())["verdict"] == verdict
    assert (top / "out/report.html").is_file()


def test_an_attacker_makes_shadow_data_three_ways(top: Path) -> None:
    said = run(["python", "examples/learned/shadow_data.py"], top).splitlines()
    areas = {line[:24].strip(): float(line.split("AUC ")[1].split()[0]) for line in said}
    assert len(areas) == 5
    assert min(areas.values()) > 0.65, "a forest memorises, and every kind of shadow data must find that"


def test_the_python_page_runs_and_runs_again(top: Path) -> None:
    first = run(["python", "examples/python_api.py", "out"], top)
    assert "policy: fail" in first
    assert run(["python", "examples/python_api.py", "out"], top) == first
    assert json.loads((top / "out/forest/run.json").read_text())["models"]["reused"] == 32
    assert "sample-" not in (top / "out/report-redacted.html").read_text()


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        (0, []),
        (1, ["--set", "policy.max_auc=0.55"]),
        (2, ["--set", "policy.max_aux=0.55"]),
        (3, ["--set", 'policy.max_tpr={"0.001"=0.01}']),  # cannot be resolved with 1,438 records
    ],
)
def test_the_gate_ends_with_its_exit_code(
    code: int, extra: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.getbasetemp() / "gate"  # shared: the models are trained once
    if not top.exists():
        shutil.copytree(EXAMPLES, top / "examples", ignore=shutil.ignore_patterns("patients", "released"))
    said = run(["sh", "examples/ci-gate.sh", *extra], top, code)
    assert (code == 2) or (top / "runs/ci-gate/report-redacted.html").is_file()
    assert ("within policy" in said.splitlines()) == (code == 0)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda p: p.stem)
def test_every_settings_file_is_valid(path: Path) -> None:
    settings = read_settings(path)
    check_design(settings)
    assert len(build_attacks(list(settings.attack))) == len(settings.attack)
    recipe_of(settings.target, path.parent)
    assert re.search(rf"locard (audit|attack|rank) examples/{path.relative_to(EXAMPLES)}", path.read_text()), (
        "it says how to run it"
    )


def test_one_training_run_refutes_the_claimed_epsilon(top: Path) -> None:
    said = run(["locard", "audit", "examples/one-run.toml", "--out", "runs/one-run", *ALONE], top)
    result = AuditResult.load(top / "runs/one-run").summary
    assert result.one_run is not None
    assert result.canaries is not None
    assert (result.one_run.coins, result.canaries.count, result.target.models) == (400, 400, 1)
    assert result.one_run.refuted, "a forest has trees that hold a mislabelled record to themselves"
    assert "The claimed epsilon 1 is refuted" in " ".join(said.split())


@pytest.mark.network
def test_adult_is_fetched_and_can_resolve_what_its_policy_asks() -> None:
    from locard.errors import RemoteUnavailable

    path = EXAMPLES / "adult-forest.toml"
    try:
        prepared = prepare(read_settings(path), path.parent)
    except RemoteUnavailable as absent:
        pytest.skip(f"the package archive of 'adult' cannot be had here: {absent}")
    members = prepared.plan.member[prepared.plan.targets]
    assert len(prepared.plan) == 64
    for fpr in prepared.settings.policy.max_tpr:
        assert resolution(int((~members).sum(axis=1).min()), float(fpr)) == "resolved"
    assert set(prepared.records.groups) == {"sex", "race"}
    assert prepared.chosen.headline == "lira"


def test_settings_files_beside_their_data_are_found_from_anywhere(tmp_path: Path) -> None:
    """The source is looked up from the settings' folder, not from where the command was called."""
    shutil.copytree(EXAMPLES / "patients", tmp_path / "p")
    run(["python", "p/make_patients.py"], tmp_path)
    settings = read_settings(
        tmp_path / "p/patients.toml",
        ["references.models=4", 'attack=["loss"]', "controls.redraws=0", "compute.workers=1", "data.pool=400"],
    )
    result = audit_settings(settings, base=tmp_path / "p", out=tmp_path / "run")
    assert result.summary.target.models == 4
