"""Selected records in an audit: who screens does not test, counts as loops, other attacks too, cards."""

from __future__ import annotations

import json

import numpy as np
import pytest

from locard.assess.claims import calibrated_scores
from locard.assess.screening import plan_screening
from locard.errors import SettingsError
from locard.pipeline import audit_settings
from locard.prepare import prepare
from locard.result import AuditResult
from locard.settings import make_settings

TREE = {
    "data": {"source": "data.npz", "pool": 60},
    "target": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}},
    "references": {"models": 24},
    "attack": [{"name": "gmia"}, {"name": "lira", "offline": True}, {"name": "loss"}],
    "screen": {"name": "reference_loss", "select": {"top": 30}},
    "controls": {"redraws": 0, "blind": False},
    "measure": {"fprs": [0.1]},
    "compute": {"workers": 1},
}
OUTSIDE = {
    "references": {"plan": "out_only", "models": 12, "size": 20},
    "data": {"source": "data.npz", "pool": 40, "population": 20},
}


def settings(**sections):
    return make_settings(TREE | sections)


@pytest.fixture
def audited(npz, tmp_path):
    """``audited(**sections)``: the result of such an audit, read back from its folder."""

    def run(**sections):
        out = tmp_path / "run"
        audit_settings(settings(**sections), base=npz.parent, out=out)
        return AuditResult.load(out)

    return run


def test_no_model_that_screened_tests_or_is_tested(npz):
    """Pairs: half of the pairs screen; their models neither play the target nor serve as references of a claim."""
    case = prepare(settings(), npz.parent)
    halves = case.screening.halves
    assert not set(halves.screening) & set(halves.testing)
    assert {int(case.plan.partner[m]) for m in halves.screening} == set(halves.screening.tolist())
    assert case.screening.testing.tolist() == halves.testing.tolist()


def test_claims_are_made_with_the_other_half(audited):
    result = audited()
    gmia, lira, loss = result.summary.attacks
    assert gmia.screening.selected == 30
    assert (gmia.screening.screening, gmia.screening.testing) == (12, 12)
    assert gmia.screening.population is None  # references hold the candidates: nobody else is screened alike
    assert [c.calibration for c in gmia.claims] == [None] * 3 + ["own non-members"] * 3
    for c in gmia.claims:
        assert c.selected == 30
        assert c.true_claims + c.false_claims + c.abstentions == 12 * 30
    assert [c.calibration for c in lira.claims] == ["own non-members"] * 3
    assert [c.calibration for c in loss.claims] == ["own non-members"] * 3
    assert set(gmia.promises) == {"p_rank", "p_tail", "p_raw", "p_cal", "p_adjusted", "claimed", "abstained"}
    assert "p_cal" not in lira.promises
    on_selected = [c for c in result.summary.comparisons if c.statistic == "recall on selected records at p 0.1"]
    assert [(c.first, c.second) for c in on_selected] == [("gmia", "lira(offline=True)"), ("gmia", "loss")]


def test_the_outsider_calibrates_on_a_population_screened_alike(audited):
    summary = audited(**OUTSIDE, target=TREE["target"] | {"models": 8}).summary
    gmia = summary.headline
    assert [c.calibration for c in gmia.claims] == [None] * 3 + ["own non-members"] * 3 + ["population"] * 3
    assert gmia.screening.population > 0
    # targets are no references of each other: sharing them costs nothing
    assert not any("c=1.5" in (c.recall.method or "") for c in gmia.claims)
    assert len(summary.cards) == 30
    for card in summary.cards:
        assert card.held.targets + card.not_held.targets == 8
        assert len(card.reference_losses) == 6  # the half that tests
        assert len(card.held.losses) == card.held.targets
    assert [c.rank for c in summary.cards] == sorted(c.rank for c in summary.cards)


def test_the_same_bytes_with_any_workers(npz, tmp_path):
    files = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        audit_settings(settings(references={"models": 12}, compute={"workers": workers}), base=npz.parent, out=out)
        files.append((out / "result.json").read_bytes())
    assert files[0] == files[1]


def test_any_score_is_calibrated_as_a_loop_would():
    """p = (1 + other non-members that score as high) / (1 + others), among the selected alone."""
    rng = np.random.default_rng(0)
    scores, member = rng.normal(size=(3, 12)).round(1), rng.random((3, 12)) < 0.5
    tested = np.arange(12) % 3 > 0
    p = calibrated_scores(scores, tested, member)
    for t in range(3):
        for r in range(12):
            if not tested[r]:
                assert np.isnan(p[t, r])
                continue
            others = [q for q in range(12) if tested[q] and not member[t, q] and q != r]
            assert p[t, r] == (1 + sum(scores[t, q] >= scores[t, r] for q in others)) / (1 + len(others))


def test_a_screen_that_the_plan_cannot_serve(npz, tmp_path):
    """One that was asked for is refused before training; the usual one is left out, and the reason listed."""
    few = {"references": {"models": 6}, "attack": [{"name": "loss"}, {"name": "gmia"}]}
    with pytest.raises(SettingsError, match="screen: unknown name 'nearby'"):
        prepare(settings(screen={"name": "nearby"}), npz.parent)
    with pytest.raises(Exception, match="screening references trained without each record are needed"):
        prepare(settings(**few, screen={"name": "reference_spread"}), npz.parent)
    assert prepare(settings(**few | {"attack": [{"name": "loss"}]}), npz.parent).screening is None  # nothing claims
    result = audit_settings(settings(**few), base=npz.parent, out=tmp_path / "run").summary
    assert "GMIA needs 2 reference models" in {n.name: n.reason for n in result.not_run}["gmia on selected records"]
    assert result.attacks[0].claims  # the loss needs no references


def test_answers_that_do_not_tell_records_apart(npz, tmp_path):
    """The screen finds out after training: the audit is kept, the reason is listed."""
    tree = {k: v for k, v in TREE.items() if k != "screen"} | {"references": {"models": 6}}
    summary = audit_settings(make_settings(tree), base=npz.parent, out=tmp_path / "run").summary
    assert [n.name for n in summary.not_run] == ["claims of gmia"]
    assert "records that differ are needed to choose delta" in summary.not_run[0].reason
    assert not summary.cards
    assert not any(a.claims for a in summary.attacks)


def test_networks_give_answers_and_no_traces(npz):
    case = prepare(settings(), npz.parent)
    section = make_settings(TREE | {"screen": {"name": "loss_trace"}}).screen
    with pytest.raises(Exception, match="losses from the training loop of the references are needed"):
        plan_screening(section, case.plan, case.records, case.split, case.recipe, traces=False)


def test_a_planted_leak_is_claimed_and_noise_is_not(tmp_path):
    """Records with random labels are learnt by heart by a deep tree; a constant model knows nobody.

    Whole trees put most of their votes on what they hold. Stumps hardly know a single record: precision is near a half.
    """
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 5)), rng.integers(2, size=300)
    np.savez(tmp_path / "data.npz", features=x, labels=y, ids=np.arange(300).astype(str))
    rows = {}
    for depth in (None, 1):
        params = {} if depth is None else {"max_depth": depth}
        tree = {
            "data": {"source": "data.npz", "pool": 200},
            "target": {
                "estimator": "sklearn.ensemble.RandomForestClassifier",
                "params": {"n_estimators": 10, **params},
            },
            "screen": {"name": "random", "select": {"top": 100}},
        }
        out = tmp_path / str(depth)
        audit_settings(settings(**tree), base=tmp_path, out=out)
        claims = json.loads((out / "result.json").read_text())["attacks"][0]["claims"]
        rows[depth] = next(c for c in claims if c["calibration"] and c["p"] == 0.1)
    assert rows[None]["precision"]["low"] > 0.8
    assert rows[None]["recall"]["value"] > 0.4
    assert rows[1]["precision"]["low"] < 0.62
    assert rows[1]["recall"]["value"] < 0.35
