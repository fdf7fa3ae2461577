"""Audits of models that were trained elsewhere, from settings and from Python, and everything that they refuse.

Planted, each seen to fail: the mask's rows in another order than the files; records of every checkpoint audited; a
partner left among the references; what was asked for once asked again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import locard
from locard.data.records import Records
from locard.errors import DataError, LocardError, NotEnoughReferences, SettingsError
from locard.report.redact import redact
from locard.settings import TargetSettings, make_settings
from locard.settings_text import to_toml
from locard.trained_elsewhere import with_checkpoints

BOUND = 0.133
skops_io = pytest.importorskip("skops.io", reason="needs the extra 'skops'")


def paired(models: int, records: int, *, never: int = 10, seed: int = 0) -> np.ndarray:
    """Complementary pairs over all records but the last few, which no model holds."""
    coins = np.random.default_rng(seed).random((models // 2, records)) < 0.5
    mask = np.repeat(coins, 2, axis=0)
    mask[1::2] = ~coins
    mask[:, records - never :] = False
    return mask


def trained(r: Records, mask: np.ndarray, **params: Any) -> list[Any]:
    tree = DecisionTreeClassifier(random_state=0, **({"max_depth": 4} | params))
    return [DecisionTreeClassifier(**tree.get_params()).fit(r.features[m], r.labels[m]) for m in mask]


@pytest.fixture
def people(records) -> Records:
    r: Records = records(130, seed=4)
    return r


@pytest.fixture
def folder(people: Records, tmp_path: Path) -> Callable[..., Path]:
    """``folder(references={...})``: a settings file with six checkpoints and their ids beside it."""
    mask = paired(6, 130)
    np.savez(tmp_path / "data.npz", features=people.features, labels=people.labels, ids=people.ids.astype(str))
    np.savez(tmp_path / "members.npz", member=mask)
    for k, (model, row) in enumerate(zip(trained(people, mask), mask, strict=True)):
        skops_io.dump(model, tmp_path / f"m-{k}.skops")
        (tmp_path / f"m-{k}.txt").write_text("\n".join(people.ids[row]) + "\n")

    def write(**sections: Any) -> Path:
        tree: dict[str, Any] = {
            "name": "elsewhere",
            "data": {"source": "data.npz"},
            "references": {"checkpoints": "m-*.skops", "members": "members.npz"},
            "attack": [{"name": "rmia"}, {"name": "loss"}],
            "measure": {"fprs": [0.1]},
            "controls": {"records": 50},
            "compute": {"workers": 1},
        }
        tree |= {k: tree.get(k, {}) | v if isinstance(v, dict) else v for k, v in sections.items()}
        path = tmp_path / "audit.toml"
        path.write_text(to_toml(tree))
        return path

    return write


def run_json(out: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((out / "run.json").read_text())["models"]
    return tree


# -- what comes of it --------------------------------------------------------------------------------------------------


def test_it_equals_an_audit_of_the_same_models_saved_outputs(people, quick):
    """A peer within the package: the arrays of what the models say, under the same mask, give the same numbers."""
    mask = paired(8, 130)
    models = trained(people, mask)
    r = locard.audit(people, checkpoints=models, member=mask, attacks=["rmia", "lira"], seed=3, **quick)
    p = np.stack([m.predict_proba(people.features[:120]) for m in models])
    saved = locard.audit_saved(
        probabilities=p,
        member=mask[:, :120],
        labels=people.y[:120],
        settings={"attack": ["rmia", "lira"], "seed": 3, "measure": {"fprs": [0.1]}},
    )
    for mine, theirs in zip(r.summary.attacks, saved.summary.attacks, strict=True):
        assert mine.auc.value == pytest.approx(theirs.auc.value, abs=1e-12)
        assert mine.tpr[0].estimate.value == pytest.approx(theirs.tpr[0].estimate.value, abs=1e-12)
    assert (r.summary.target.design, r.summary.target.pairs, r.summary.data.population) == ("pairs", 4, 10)
    assert r.summary.data.n == 120


def test_a_known_leak_is_found_and_no_leak_is_not(people, quick, records):
    """One neighbour remembers its own label; a model that is fitted to other people's labels knows nobody.

    One target's AUC has a standard error of at most .053 (60 against 60), a mean over 4 pairs of at most .027: a right
    program misses .5 by five of those (BOUND) with chance 6e-7. A neighbour that is wrong on a third of the others has
    AUC .66, so the leak is found with power 1 - 2e-6. Planted: the mask's rows in reverse order (partners change
    places), which turns .66 into .34.
    """
    mask = paired(8, 130)
    near = [KNeighborsClassifier(1).fit(people.features[m], people.labels[m]) for m in mask]
    blind = records(130, seed=9)
    nobody = [LogisticRegression().fit(blind.features[m], blind.labels[m]) for m in paired(8, 130, seed=5)]
    leak, none = (
        locard.audit(people, checkpoints=models, member=mask, attacks=["loss"], **quick).summary.attacks[0].auc.value
        for models in (near, nobody)
    )
    assert leak is not None
    assert none is not None
    assert leak > 0.5 + BOUND
    assert abs(none - 0.5) < BOUND


@pytest.mark.parametrize("members", ["members.npz", "m-*.txt"])
def test_settings_give_what_python_gives_whatever_says_who_is_in(folder, people, cli, tmp_path, members):
    path = folder(references={"members": members})
    assert cli("audit", path, "--out", tmp_path / "run")[0] == 0
    result = locard.AuditResult.load(tmp_path / "run")
    again = locard.audit(
        people,
        checkpoints=[tmp_path / f"m-{k}.skops" for k in range(6)],
        member=paired(6, 130),
        attacks=["rmia", "loss"],
        measure={"fprs": [0.1]},
        controls={"records": 50},
        compute={"workers": 1},
    )
    assert [a.auc for a in again.summary.attacks] == [a.auc for a in result.summary.attacks]
    assert np.array_equal(again.scores["rmia"], result.scores["rmia"])
    part = result.summary.target
    assert part.estimator == "checkpoints trained elsewhere (DecisionTreeClassifier)"
    assert (part.kind, part.models) == ("saved outputs", 6)
    assert "given, not drawn" in " ".join(result.summary.unresolved)
    assert result.summary.attacks[0].epsilon.value is None
    assert [c.name for c in result.summary.controls] == ["blind baseline"]  # nobody knows how the mask was drawn
    assert (result.records["id"].isin(people.ids[:120])).all()


def test_it_resumes_is_repeated_and_asks_only_the_file_that_changed(folder, people, cli, tmp_path, bytes_of):
    path, out = folder(), tmp_path / "run"
    assert cli("audit", path, "--out", out)[0] == 0
    first = bytes_of(out)
    assert cli("audit", path, "--out", out)[0] == 0
    assert (run_json(out)["reused"], bytes_of(out)) == (6, first)
    assert cli("audit", "--like", out, "--out", tmp_path / "again")[0] == 0
    assert bytes_of(tmp_path / "again") == first
    assert cli("audit", path, "--out", tmp_path / "two", "--set", "compute.workers=2")[0] == 0
    assert bytes_of(tmp_path / "two") == first
    skops_io.dump(trained(people, paired(6, 130), max_depth=2)[3], tmp_path / "m-3.skops")
    assert cli("audit", path, "--out", out)[0] == 0
    assert (run_json(out)["reused"], bytes_of(out) == first) == (5, False)


def test_plan_says_what_asking_costs(folder, cli):
    code, out, _ = cli("plan", folder(), "--json")
    told = json.loads(out)
    assert (code, told["models"], told["pairs"], told["audited"], told["population"]) == (0, 6, 3, 120, 10)
    assert 0 < told["fit_seconds"] < 5


def test_records_in_every_model_are_left_out_and_said(people, quick):
    mask = paired(8, 130)
    mask[:, :15] = True
    r = locard.audit(people, checkpoints=trained(people, mask), member=mask, attacks=["loss"], **quick)
    assert r.summary.data.n == 105
    assert not set(people.ids[:15]) & set(r.records["id"])
    assert "15 records are in every checkpoint and were not audited" in " ".join(r.summary.unresolved)
    assert r.summary.target.design == "pairs"
    assert r.summary.target.train_records.value == pytest.approx(mask.sum(axis=1).mean())


def test_a_released_model_is_attacked_with_them(people, quick):
    mask = paired(8, 130)
    inside = np.random.default_rng(8).random(130) < 0.5
    model = DecisionTreeClassifier(max_depth=4).fit(people.features[inside], people.labels[inside])
    r = locard.audit(
        people,
        checkpoints=trained(people, mask),
        member=mask,
        attacks=["loss"],
        released=(model, people.ids[inside]),
        **quick,
    )
    assert r.summary.released is not None
    assert r.summary.released.members == int(inside[:120].sum())


def test_a_mask_without_pairs_is_thinned(people, quick):
    mask = np.random.default_rng(1).random((16, 130)) < 0.5
    r = locard.audit(people, checkpoints=trained(people, mask), member=mask, attacks=["loss"], **quick)
    assert r.summary.target.design == "coin_flips"


def test_a_redacted_page_does_not_say_where_they_lie(folder, cli, tmp_path):
    path = folder(references={"members": "zz/*.txt"})
    (tmp_path / "zz").mkdir()
    for k in range(6):
        (tmp_path / f"m-{k}.txt").rename(tmp_path / f"zz/secret-{k}.txt")
    assert cli("audit", path, "--out", tmp_path / "run")[0] == 0
    result = locard.AuditResult.load(tmp_path / "run")
    assert "m-0.skops with secret-0.txt" in " ".join(result.summary.unresolved)
    text = redact(result).to_json()
    assert not [w for w in ("m-*", "zz/", "secret-0", "m-0.skops") if w in text]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"references": {"members": None}}, r"references\.members: needed with references\.checkpoints"),
        ({"references": {"checkpoints": None}}, r"references\.checkpoints: needed with references\.members"),
        ({"references": {"plan": "subsample"}}, r"references\.plan: .*trained already"),
        ({"references": {"models": 8}}, r"references\.models: 6, as many as there are checkpoints, .* found 8"),
        ({"target": {"params": {"max_depth": 3}}}, r"target\.params: .*trained already"),
        ({"target": {"recipe": "mine:train"}}, r"target\.recipe: .*no recipe is needed"),
        ({"references": {"checkpoints": ["m-0.skops", "m-9.skops"]}}, r"m-9\.skops does not exist"),
        ({"references": {"members": "m-[0-4].txt"}}, r"for each of 6 checkpoints is needed, found 5"),
        ({"data": {"pool": 125}}, r"data\.pool: from 1 to 120 records \(in some models, not in all\).* found 125"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_is_asked(folder, cli, tmp_path, sections, said):
    import re

    code, _, err = cli("audit", folder(**sections), "--out", tmp_path / "run")
    assert code == 2
    assert re.search(said, " ".join(err.split()))
    assert not (tmp_path / "run").exists()


def test_everything_is_told_at_once(folder, cli, tmp_path):
    (tmp_path / "m-1.skops").write_bytes(b"broken")
    (tmp_path / "m-2.txt").write_text("nobody\n")
    sections = {"references": {"members": "m-*.txt", "size": 3}, "attack": [{"name": "lirra"}], "target": {"models": 4}}
    code, _, err = cli("audit", folder(**sections), "--out", tmp_path / "run")
    said = " ".join(err.split())
    assert code == 2
    for words in ("m-1.skops: a whole skops file", "m-2.txt: ids of the data are needed", "lirra"):
        assert words in said, words


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({}, SettingsError, "either a recipe, or checkpoints= and member=, are needed, found none"),
        ({"checkpoints": []}, SettingsError, "found checkpoints"),
        ({"member": np.ones((2, 2))}, SettingsError, "found member"),
        ({"recipe": DecisionTreeClassifier(), "member": np.ones((2, 2))}, SettingsError, "found recipe, member"),
        ({"checkpoints": [], "member": np.ones((2, 2))}, SettingsError, "at least 2 models are needed, found 0"),
        ({"member": paired(6, 130)}, DataError, r"mask of shape \(8, 130\) is needed \(checkpoints, records\)"),
        ({"member": np.full((8, 130), 0.5)}, DataError, "True and False"),
        ({"member": np.ones((8, 130))}, DataError, "some models hold and others do not"),
        (
            {"member": np.repeat(paired(4, 130), 2, axis=0)},
            DataError,
            r"checkpoint 0 .* and checkpoint 1 .* hold the same",
        ),
        ({"member": np.eye(8, 130, dtype=bool)}, LocardError, "at least 20 audited records are needed, found 8"),
        ({"attacks": ["lira"], "member": paired(8, 130)[:, ::-1]}, None, ""),
    ],
)
def test_python_callers_hear_what_is_wrong(people, quick, given, kind, said):
    words: dict[str, Any] = {"attacks": ["loss"]} | given
    if "recipe" not in words and words.get("checkpoints") is None and "member" in words and len(words["member"]) != 2:
        words["checkpoints"] = trained(people, paired(8, 130))
    if kind is None:
        locard.audit(people, **words, **quick)
        return
    with pytest.raises(kind, match=said):
        locard.audit(people, **words, **quick)


def test_too_few_references_for_some_record_stop_the_audit(people, quick):
    mask = np.random.default_rng(0).random((4, 130)) < 0.5
    with pytest.raises(NotEnoughReferences, match="lira"):
        locard.audit(people, checkpoints=trained(people, mask), member=mask, attacks=["lira"], **quick)


def test_torn_units_are_refused(records, quick):
    r = records(120, rows=3)
    mask = paired(8, 120)
    with pytest.raises(SettingsError, match="all rows of a unit must be on one side"):
        locard.audit(r, checkpoints=trained(r, mask), member=mask, attacks=["loss"], **quick)


def test_what_is_kept_of_the_settings_says_that_nothing_was_trained():
    tree = {"data": {"source": "d"}, "references": {"checkpoints": "a*", "members": ["b"]}}
    kept = with_checkpoints(make_settings(tree), 6)
    assert (kept.target.recipe, kept.references.models) == ("checkpoints", 6)
    plain = kept.model_dump(mode="json", exclude_none=True)
    assert "estimator" not in plain["target"]
    assert with_checkpoints(make_settings(plain), 6) == kept  # read again, as by --like
    assert TargetSettings().model_dump()["estimator"]
