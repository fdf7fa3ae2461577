"""Attacks that learn on another data set, in an audit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

import locard
from locard.errors import SettingsError
from locard.run.folder import RunFolder

QUICK = {"controls": {"redraws": 0, "blind": False}, "compute": {"workers": 1}}


def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return locard.Records(ids=range(len(y)), features=x, labels=y)


def test_an_audit_trains_models_of_the_other_set_once(tmp_path):
    def run():
        attacks = ["loss", {"name": "ml_leaks_2", "source": "digits"}]
        tree = DecisionTreeClassifier(max_depth=4)
        return locard.audit(cancer(), tree, models=8, attacks=attacks, seed=1, out=tmp_path / "run", **QUICK)

    result = run()
    parts = {p.name: p for p in result.summary.attacks}
    assert parts["ml_leaks_2"].auc.value is not None
    assert (tmp_path / "run" / "elsewhere" / "digits" / "plan.safetensors").exists()
    first = json.loads((tmp_path / "run" / "elsewhere" / "digits" / "run.json").read_text())
    assert first["models"] == {"total": 4, "reused": 0, "trained": 4}
    before = (tmp_path / "run" / "scores.safetensors").read_bytes()
    run()
    again = json.loads((tmp_path / "run" / "elsewhere" / "digits" / "run.json").read_text())
    assert again["models"] == {"total": 4, "reused": 4, "trained": 0}
    assert (tmp_path / "run" / "scores.safetensors").read_bytes() == before
    with RunFolder(tmp_path / "run" / "elsewhere" / "digits"):  # nobody holds it any longer
        pass


def test_what_cannot_serve_is_listed_with_the_reason_or_refused_as_headline():
    def run(*attacks):
        return locard.audit(cancer(), DecisionTreeClassifier(max_depth=2), models=4, attacks=list(attacks), **QUICK)

    result = run("loss", {"name": "ml_leaks_2", "source": "digitz"})
    assert [n.name for n in result.summary.not_run] == ["ml_leaks_2(source=digitz)"]
    assert "digits" in result.summary.not_run[0].reason
    with pytest.raises(SettingsError, match="digits"):
        run({"name": "ml_leaks_2", "source": "digitz"}, "loss")


def test_saved_outputs_train_nothing():
    rng = np.random.default_rng(0)
    coins = rng.random((4, 60)) < 0.5
    result = locard.audit_saved(
        logits=rng.normal(size=(8, 60, 2)),
        member=np.concatenate([coins, ~coins]),
        labels=rng.integers(2, size=60),
        settings={"attack": ["loss", "ml_leaks_2"]},
    )
    assert "this audit trains nothing" in result.summary.not_run[0].reason
