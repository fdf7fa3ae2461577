"""``locard rank`` from settings to files: the audit's models and numbers, nothing trained twice, one page for all."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import locard
from locard.attacks import ATTACKS
from locard.errors import LocardError, SettingsError
from locard.pipeline import audit_settings
from locard.rank_result import RankTree, schema
from locard.ranking import RankResult, across, rank, rank_saved, rank_settings
from locard.result import AuditResult
from locard.run.training import Watch
from locard.settings import make_settings

PUBLISHED = Path(__file__).parents[1] / "docs" / "rank.schema.json"
COMMAND = (
    'python -c "import json, locard.rank_result as r; print(json.dumps(r.schema(), indent=1, ensure_ascii=False))" '
    "> docs/rank.schema.json"
)
TREE = {
    "name": "tiny",
    "seed": 3,
    "data": {"source": "data.npz"},
    "target": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}},
    "references": {"models": 16},
    "attack": [{"name": "lira"}, {"name": "loss"}, {"name": "calibrated"}],
    "measure": {"fprs": [0.2]},
    "controls": {"redraws": 0, "blind": False},
    "rank": {"targets": 8, "references": [1, 2, 4]},
    "compute": {"workers": 1},
}
OUTSIDER = {
    "attack": None,
    "references": {"plan": "out_only", "models": 6, "size": 20},
    "target": {**TREE["target"], "models": 10},
    "data": {"source": "data.npz", "pool": 30, "population": 10},
    "measure": {"fprs": [0.4]},
}


def settings(**sections):
    """``TREE`` with these sections changed; None leaves one out."""
    tree = copy.deepcopy(TREE) | sections
    return make_settings({k: v for k, v in tree.items() if v is not None})


def ranked(base: Path, out: Path, made=None, **more) -> RankResult:
    return rank_settings([("tiny", made or settings(), base)], out=out, **more)


def plain(result: RankResult) -> dict:
    """The tree without what is measured by the clock."""
    tree = json.loads(result.to_json())
    for study in tree["studies"]:
        for row in study["rows"]:
            row["cost"].pop("seconds")
    return tree


@pytest.fixture
def base(npz) -> Path:
    return npz.parent


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[RankResult, Path]:
    """A ranking of every attack that 16 models can serve."""
    from .conftest import make_records

    folder = tmp_path_factory.mktemp("ranked")
    r = make_records(80, seed=5)
    np.savez(folder / "data.npz", features=r.features, labels=r.labels, ids=r.ids.astype(str))
    return ranked(folder, folder / "run", settings(attack=None)), folder


def test_the_numbers_and_the_models_are_the_audits(base, tmp_path):
    out = tmp_path / "run"
    audited = audit_settings(settings(), base=base, out=out)
    files = {p.name: p.stat().st_mtime_ns for p in (out / "observations").iterdir()}
    before = {name: (out / name).read_bytes() for name in ("result.json", "scores.safetensors")}
    result = ranked(base, out)
    assert {p.name: p.stat().st_mtime_ns for p in (out / "observations").iterdir()} == files, "nothing is trained"
    assert {name: (out / name).read_bytes() for name in before} == before, "the audit's result stays"
    (study,) = result.summary.studies
    for part in audited.summary.attacks:
        row = next(r for r in study.rows if r.label == part.label)
        assert (row.auc, row.tpr, row.balanced_accuracy) == (part.auc, part.tpr, part.balanced_accuracy)
        assert (row.variance_factor, row.access, row.headline) == (part.variance_factor, part.access, part.headline)
        assert row.cost.references == part.references
    assert AuditResult.load(out).summary == audited.summary
    assert (study.data, study.target) == (audited.summary.data, audited.summary.target)


def test_what_is_finished_is_not_trained_again_and_the_result_is_the_same(base, tmp_path):
    out = tmp_path / "run"
    first = ranked(base, out)
    victim = sorted((out / "observations").glob("*.safetensors"))[3]
    victim.unlink()
    again = ranked(base, out)
    assert json.loads((out / "run.json").read_text())["models"] == {"total": 16, "reused": 15, "trained": 1}
    assert plain(again) == plain(first)
    pd.testing.assert_frame_equal(again.records, first.records)


def test_a_training_that_was_stopped_is_ranked_by_its_whole_pairs(base, tmp_path, monkeypatch):
    """Planted and seen to fail: the case as ``only_finished`` leaves it, which asks for a screen's pool (gmia)."""
    import locard.run.training as training

    moments = iter([False] * 14 + [True] * 20)
    monkeypatch.setattr(training.Clock, "over", property(lambda self: self._end is not None and next(moments)))
    made = settings(**OUTSIDER, compute={"workers": 1, "stop_after": "1h"})
    (study,) = ranked(base, tmp_path / "run", made).summary.studies
    assert (study.target.models, study.target.targets) == (14, 8)
    assert "14 of 16 models" in study.caveats[-1]
    assert {r.name for r in study.rows} | {n.name.split("(")[0] for n in study.not_run} >= set(ATTACKS)


def test_every_attack_that_can_run_is_run_and_the_others_say_why(found):
    (study,) = found[0].summary.studies
    ran, left_out = {r.name for r in study.rows}, {n.name: n.reason for n in study.not_run}
    assert ran | set(left_out) == set(ATTACKS)
    assert not ran & set(left_out)
    assert {"lira", "loss", "calibrated", "gmia"} <= ran
    assert study.headline == "lira"
    assert all(left_out.values())


def test_attacks_that_the_plan_cannot_serve_are_listed(base, tmp_path):
    (study,) = ranked(base, tmp_path / "run", settings(**OUTSIDER)).summary.studies
    left_out = {n.name: n.reason for n in study.not_run}
    assert "needs 1 reference model trained with each record, found 0" in left_out["lira"]
    assert study.headline == "attack_r", "the first of the defaults that can run"
    assert study.curves.benchmark == "attack_r"
    curve = next(c for c in study.curves.attacks if c.label == "attack_r")
    assert [(p.references, p.inside, p.outside) for p in curve.points] == [(1, 0, 1), (2, 0, 2), (4, 0, 4), (6, 0, 6)]


def test_a_declared_headline_that_cannot_run_is_refused_before_training(base, tmp_path):
    few = settings(references={"models": 4}, attack=[{"name": "lira", "variance": "record"}, {"name": "loss"}])
    with pytest.raises(LocardError, match="headline attack lira needs 2 reference models"):
        ranked(base, tmp_path / "run", few)
    assert not (tmp_path / "run").exists()


def test_several_files_make_one_page_and_everything_is_checked_first(base, tmp_path):
    out = tmp_path / "all"
    files = [("a", settings(name="first"), base), ("b", settings(name="second", seed=4), base)]
    with pytest.raises(SettingsError) as wrong:
        rank_settings([*files, ("a", settings(attack=["lyra"]), base)], out=out)
    twice, unknown = wrong.value.problems
    assert "found 'a' more than once" in twice
    assert unknown.startswith("a: attack: unknown name 'lyra'")
    assert not out.exists()
    result = rank_settings(files, out=out)
    assert {p.name for p in out.iterdir()} == {"a", "b", "rank.json", "rank.html", "rank.parquet"}
    assert [s.name for s in result.summary.studies] == ["first", "second"]
    for a in result.summary.across:
        places = [next(r.place for r in s.rows if r.label == a.label) for s in result.summary.studies]
        assert (a.rank.low, a.rank.high, a.studies) == (min(places), max(places), 2)
        assert a.rank.value == pytest.approx(np.mean(places))
    assert across(result.summary.studies) == result.summary.across
    page = (out / "rank.html").read_text()
    assert "Over all studies" in page
    assert "first: verdict" in page


def test_python_gives_the_same_as_the_settings_file(base, tmp_path, records):
    from sklearn.tree import DecisionTreeClassifier

    said = []
    result = rank(
        records(80, seed=5),
        DecisionTreeClassifier(max_depth=4),
        models=16,
        attacks=["lira", locard.attack("lira", variance="pooled"), "loss"],
        seed=3,
        measure={"fprs": [0.2]},
        rank={"targets": 8, "references": []},
        compute={"workers": 1},
        watch=Watch(progress=lambda stage, done, total: said.append(stage)),
    )
    assert isinstance(result, locard.RankResult)
    assert sorted(result.table["attack"]) == ["lira", "lira(variance=pooled)", "loss"]
    assert {"place", "auc", "auc_low", "tpr_0.2", "letters", "seconds", "references_in"} <= set(result.table.columns)
    assert "ranking attacks" in said
    from_file = ranked(base, tmp_path / "run").table.set_index("attack")
    assert result.table.set_index("attack").loc["lira", "auc"] == from_file.loc["lira", "auc"]


def test_saved_outputs_are_ranked_with_the_numbers_of_their_audit():
    rng = np.random.default_rng(0)
    coins = rng.random((6, 150)) < 0.5
    mask = np.concatenate([coins, ~coins])
    y = rng.integers(2, size=150)
    said = rng.normal(size=(12, 150, 2))
    said[..., 1] += np.where(y == 1, 1.0, -1.0) * mask
    given = {"member": mask, "labels": y, "logits": said, "ids": [f"r{i}" for i in range(150)]}
    chosen = {"attack": ["lira", "loss", "calibrated"], "measure": {"fprs": [0.1]}}
    audited = locard.audit_saved(**given, settings=chosen)
    (study,) = rank_saved(**given, settings=chosen).summary.studies
    for part in audited.summary.attacks:
        row = next(r for r in study.rows if r.label == part.label)
        assert (row.auc, row.tpr, row.balanced_accuracy) == (part.auc, part.tpr, part.balanced_accuracy)
    every = rank_saved(**given)
    left_out = {n.name.split("(")[0] for n in every.summary.studies[0].not_run}
    assert set(every.table["attack"].str.split("(").str[0]) | left_out == set(ATTACKS)
    assert "attack_p" in left_out, "there is no population"
    assert set(every.records["id"]) <= set(given["ids"])


def test_picks_are_those_of_the_data(found):
    result, folder = found
    ids = set(np.load(folder / "data.npz")["ids"])
    assert set(result.records["id"]) <= ids
    for a in result.summary.studies[0].picks.attacks:
        mine = result.records[result.records["attack"] == a.label]
        assert (mine["first"].sum(), mine["second"].sum()) == (a.first, a.second)
        assert (mine["first"] & mine["second"]).sum() == a.again
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "run" / "rank.parquet"), result.records)


def test_the_published_schema_is_in_sync_and_met(found):
    assert json.loads(PUBLISHED.read_text("utf-8")) == schema(), f"Run: {COMMAND}"
    jsonschema.Draft202012Validator.check_schema(schema())
    tree = json.loads((found[1] / "run" / "rank.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(tree)
    tree["studies"][0]["rows"][0]["auc"] = 0.5
    assert not validator.is_valid(tree)
    assert RankTree.model_validate_json(found[0].to_json()) == found[0].summary


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"references": [0, 2]}, "rank.references: distinct numbers of at least 1 are needed, found [0, 2]"),
        ({"references": [2, 2]}, "rank.references: distinct numbers"),
        ({"targets": 1}, "rank.targets: a number of at least 2 is needed, found 1"),
        ({"target": 4}, "rank.target: no such key; did you mean 'targets'?"),
        ({"targets": True}, "rank.targets: a number is needed, found true"),
    ],
)
def test_bad_settings_are_one_clear_message(section, said):
    with pytest.raises(SettingsError) as wrong:
        make_settings(TREE | {"rank": section})
    assert said in str(wrong.value)
