"""The indirect attack in an audit: its node, what it needs, and that claims are counted as a loop would."""

from __future__ import annotations

import numpy as np
import pytest

from locard.assess.claims import ranked_table
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
    assert [(c.p, c.calibration) for c in other.claims[3:]] == [
        (p, "ranks among references") for p in (0.1, 0.01, 0.001)
    ]
    assert other.claims[3].recall.reason.startswith("not resolvable: with 6 references no p-value is below 1/7")
    assert [c.calibration for c in other.claims] == 3 * [None] + 3 * ["ranks among references"]
    assert not any(c.calibrated for c in other.claims)  # a rank among references of another pool is no calibration
    assert [a.name for a in result.summary.scored] == ["gmia"]
    page = report_html(result)
    assert "the record itself was never asked" in page
    assert "gmia_indirect" in page
    assert "gmia_indirect" in summary_text(result) or other.claims[3].precision.value is None
    assert not redact(result).summary.attacks[1].indirect
    before = (out / "result.json").read_bytes()
    audit_settings(make_settings(TREE), base=npz.parent, out=out)
    assert (out / "result.json").read_bytes() == before


def test_ranks_are_counted_as_a_loop_would():
    rng = np.random.default_rng(0)
    ranks, raw, member = rng.integers(1, 11, size=(8, 3)) / 10, rng.random((8, 3)), rng.random((8, 3)) < 0.5
    plain_rows, ranked = ranked_table(raw, ranks, member, np.arange(8) // 2, references=9)
    rows = [*plain_rows, *ranked]
    assert not any(row.calibrated for row in rows)
    for place, row in enumerate(rows):
        p = raw if place < 3 else ranks
        assert row.true_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if member[t, r])
        assert row.false_claims == sum(p[t, r] <= row.p for t in range(8) for r in range(3) if not member[t, r])
    assert rows[3].recall.value is not None  # 1/10 can be reached with nine references
    assert rows[4].recall.reason == "not resolvable: with 9 references no p-value is below 1/10"


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
