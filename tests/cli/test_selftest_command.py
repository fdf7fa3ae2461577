"""``locard selftest``: exit 0 here, exit 1 where something is wrong."""

from __future__ import annotations

import json

import pytest

import locard.assess.selftest as selftest
from locard.plan.plan import Plan


@pytest.fixture
def short(monkeypatch) -> None:
    """Three attacks and fewer worlds."""
    monkeypatch.setattr(selftest, "attack_names", lambda: ["lira", "rmia", "loss"])
    monkeypatch.setattr(selftest, "NULL_WORLDS", 40)
    monkeypatch.setattr(selftest, "LEAK_WORLDS", 2)


def test_the_self_test_passes_and_prints_its_operating_characteristics(short, cli):
    code, out, err = cli("selftest", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["passed"] is True
    assert [a["attack"] for a in told["attacks"]] == ["lira", "rmia", "loss"]
    assert told["null_named"] == told["wrongly_named"] == 0
    assert told["strong_named"] >= 32
    for row in told["attacks"]:
        assert abs(row["null_auc"] - 0.5) < 0.03
        assert row["leak_auc"] > 0.7


def test_the_same_self_test_for_people(short, cli):
    code, out, _ = cli("selftest")
    assert code == 0
    assert "self-test passed" in out
    assert "lira" in out


def test_a_planted_bug_fails_the_self_test(short, cli, monkeypatch):
    """The partner kept among the references. It was not seen while the null world's references did not leak either."""
    monkeypatch.setattr(Plan, "left_out", lambda self, target: [target])
    code, out, _ = cli("selftest")
    assert code == 1
    assert "WRONG" in out
    assert "do not trust this installation's numbers" in out
