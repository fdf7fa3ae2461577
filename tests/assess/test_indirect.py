"""The indirect attack in an audit: its node, what it needs, and that claims are counted as a loop would."""

from __future__ import annotations

import re

import numpy as np
import pytest

from locard.assess.claims import calibrated_table, ranked_table
from locard.errors import SettingsError
from locard.pipeline import audit_settings
from locard.prepare import prepare
from locard.report.html import report_html
from locard.report.redact import redact
from locard.report.text import summary_text
from locard.result import AuditResult
from locard.settings import make_settings

SMALL = {"name": "gmia_indirect", "records": 2, "queries": 60, "clusters": 4, "optimise": 3}
TREE = {
    "data": {"source": "data.npz", "pool": 30, "population": 10},
    "target": {"recipe": "torch", "module": "logistic", "epochs": 30, "batch_size": 10, "models": 8},
    "references": {"plan": "out_only", "models": 12, "size": 20},
    "attack": [{"name": "gmia"}, SMALL],
    "screen": {"name": "reference_loss", "select": {"top": 5}},
    "controls": {"redraws": 0, "blind": False},
    "measure": {"fprs": [0.1]},
    "compute": {"workers": 1},
}


def test_an_audit_with_the_indirect_attack(npz, tmp_path):
    out = tmp_path / "run"
    audit_settings(make_settings(TREE), base=npz.parent, out=out)
    result = AuditResult.load(out)
    direct, other = result.summary.attacks
    assert (direct.name, other.name) == ("gmia", "gmia_indirect")
    assert other.screening == direct.screening
    assert other.auc.reason.endswith("attacks 2 selected records, one by one: see its claims about them")
    assert [d.id for d in other.indirect] == [c.id for c in result.summary.cards[:2]]
    assert all(c.selected == 2 for c in other.claims)
    assert [(c.p, c.calibration) for c in other.claims[3:6]] == [
        (p, "ranks among references") for p in (0.1, 0.01, 0.001)
    ]
    assert other.claims[3].recall.reason.startswith("not resolvable: with 6 references no p-value is below 1/7")
    kinds = [None, "ranks among references", "own non-members"]
    assert [c.calibration for c in other.claims] == [kind for kind in kinds for _ in range(3)]
    # a rank among references of another pool is no calibration
    assert [c.calibrated for c in other.claims] == 6 * [False] + 3 * [True]
    assert re.match(
        r"not resolvable: with [12] calibration records no p-value is below 1/", other.claims[6].recall.reason
    )
    assert [a.name for a in result.summary.scored] == ["gmia"]
    page = report_html(result)
    assert "the record itself was never asked" in page
    assert "gmia_indirect" in page
    assert "gmia_indirect" in summary_text(result) or other.claims[3].precision.value is None
    assert not redact(result).summary.attacks[1].indirect
    before = (out / "result.json").read_bytes()
    audit_settings(make_settings(TREE), base=npz.parent, out=out)
    assert (out / "result.json").read_bytes() == before


def test_few_references_swap_halves_where_none_of_them_chose_the_records(npz, tmp_path):
    tree = TREE | {"attack": [{"name": "gmia"}, SMALL | {"swap": True}]}
    with pytest.raises(SettingsError, match=r"tests by all references.*the screen reference_loss asks them"):
        prepare(make_settings(tree), npz.parent)
    tree |= {"screen": {"name": "random", "select": {"top": 5}}}
    audit_settings(make_settings(tree), base=npz.parent, out=tmp_path / "run")
    part = AuditResult.load(tmp_path / "run").summary.attacks[1]
    assert part.references.outside == 12
    said = "not resolvable: with 6 and 6 references no p-value is below 1/7 + 1/7"
    assert part.claims[3].recall.reason == said
    assert "each of which chose the queries that the other tested" in part.promises["p_rank"]


def test_ranks_are_counted_as_a_loop_would():
    rng = np.random.default_rng(0)
    ranks, raw, member = rng.integers(1, 11, size=(8, 3)) / 10, rng.random((8, 3)), rng.random((8, 3)) < 0.5
    plain_rows, ranked = ranked_table(raw, ranks, member, np.arange(8) // 2, references=[9])
    rows = [*plain_rows, *ranked]
    assert not any(row.calibrated for row in rows)
    for place, row in enumerate(rows):
        p = raw if place < 3 else ranks
        assert row.true_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if member[t, r])
        assert row.false_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if not member[t, r])
    assert rows[3].recall.value is not None  # 1/10 can be reached with nine references
    assert rows[4].recall.reason == "not resolvable: with 9 references no p-value is below 1/10"


def test_records_outside_the_same_target_calibrate_and_so_does_the_population(npz, tmp_path):
    """All 30 records: 15 are outside each target, so that p up to .1 can be claimed, as often as a loop counts."""
    attack = SMALL | {"records": 30, "calibration": 4, "queries": 30}
    tree = TREE | {"attack": [{"name": "gmia"}, attack], "screen": {"name": "random", "select": {"top": 30}}}
    audit_settings(make_settings(tree), base=npz.parent, out=tmp_path / "run")
    part = AuditResult.load(tmp_path / "run").summary.attacks[1]
    rows = {(c.calibration, c.p): c for c in part.claims}
    own = rows["own non-members", 0.1]
    assert own.recall.value is not None
    assert own.true_claims + own.false_claims + own.abstentions == 8 * 30
    # each of a target's 15 non-members calibrates the others: at most one of them is at or below .1
    assert own.false_claims <= 8
    population = rows["population", 0.1]
    assert population.calibrated
    assert population.recall.reason == "not resolvable: with 4 calibration records no p-value is below 1/5"
    assert len(part.indirect) == 30  # calibration records are not among the attacked


def test_calibrated_claims_are_counted_as_a_loop_would():
    rng = np.random.default_rng(1)
    p, member = rng.integers(1, 11, size=(8, 3)) / 10, rng.random((8, 3)) < 0.5
    rows = calibrated_table(p, member, np.arange(8) // 2, calibration=9)
    for row in rows:
        assert row.calibrated
        assert row.true_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if member[t, r])
        assert row.false_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if not member[t, r])
    assert rows[0].recall.value is not None
    assert rows[1].recall.reason == "not resolvable: with 9 calibration records no p-value is below 1/10"


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"attack": [SMALL]}, "one that scores every record is needed besides gmia_indirect"),
        ({"references": {"plan": "pairs", "models": 8}}, "needs references that hold none of the audited records"),
        ({"target": {"estimator": "sklearn.tree.DecisionTreeClassifier", "models": 8}}, "gmia_indirect needs networks"),
    ],
)
def test_what_it_needs_is_said_before_training(npz, sections, said):
    with pytest.raises(SettingsError, match=said):
        prepare(make_settings(TREE | sections), npz.parent)
