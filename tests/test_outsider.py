"""``locard attack``: claims about a model that may only be asked; what it is asked, what it costs, what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from locard.errors import DataError, NotEnoughReferences, SettingsError
from locard.outsider import attack_settings
from locard.prepare_attack import prepare_attack
from locard.settings import make_settings
from locard.settings_text import to_toml

MODEL = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier


def forest():
    data = np.load({data!r})
    model = RandomForestClassifier(25, random_state=0).fit(data["features"][:60], data["labels"][:60])

    class Model:
        classes_ = model.classes_

        def predict_proba(self, x):
            with open({log!r}, "ab") as log:
                log.write(np.ascontiguousarray(x, dtype=np.float64).tobytes())
            return model.predict_proba(x)

    return Model()
"""
TREE = {
    "data": {"source": "data.npz", "population": 120},
    "target": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 25}},
    "references": {"plan": "out_only", "models": 40, "size": 60},
    "screen": {"name": "reference_loss", "select": {"top": 60}},
    "attacked": {"model": "theirs:forest", "candidates": "candidates.txt", "check": 20},
    "attack": [{"name": "gmia", "fdr": 0.2}],
    "compute": {"workers": 1},
}


def settings(**sections):
    return make_settings(TREE | {k: TREE.get(k, {}) | v if isinstance(v, dict) else v for k, v in sections.items()})


@pytest.fixture
def base(tmp_path, monkeypatch):
    """480 records with random labels; the first 120 are candidates, of which the first 60 trained the model."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(480, 4)), rng.integers(2, size=480)
    np.savez(tmp_path / "data.npz", features=x, labels=y, ids=np.array([f"p{i}" for i in range(480)]))
    (tmp_path / "candidates.txt").write_text("\n".join(f"p{i}" for i in range(120)))
    (tmp_path / "theirs.py").write_text(MODEL.format(data=str(tmp_path / "data.npz"), log=str(tmp_path / "asked")))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_members_are_claimed_and_others_hardly(base):
    """A forest that learnt random labels by heart: claims are found, nearly all of members."""
    result = attack_settings(settings(), base=base, out=base / "run")
    claims = pd.read_csv(base / "run" / "claims.csv", keep_default_na=False)
    assert claims["id"].tolist() == [f"p{i}" for i in range(120)]
    assert set(claims["decision"]) == {"member", "abstained", "not tested"}
    claimed = claims[claims["decision"] == "member"]["id"].str[1:].astype(int)
    assert len(claimed) >= 10
    assert (claimed < 60).mean() > 0.8
    summary = result.summary
    assert summary.attacks[0].claimed == len(claimed)
    assert summary.selection.tested == (claims["queries"] == 1).sum() == 60
    assert json.loads((base / "run" / "result.json").read_text())["kind"] == "attack"
    assert [c.passed for c in summary.checks] == [True, True]
    assert summary.cards[0].claimed
    page = (base / "run" / "report.html").read_text()
    assert page.count('<article class="card">') == min(50, summary.selection.tested)
    assert "https://" not in page.replace("https://arxiv", "")


def test_only_what_was_counted_is_asked(base):
    """The model itself counts what reaches it: the tested candidates, their calibration, the check, nothing else."""
    result = attack_settings(settings(), base=base, out=base / "run")
    reached = np.fromfile(base / "asked").reshape(-1, 4)
    t = result.summary.target
    assert len(reached) == t.queries == t.about_candidates + t.about_calibration + t.for_checks
    data = np.load(base / "data.npz")["features"]
    place = {row.tobytes(): i for i, row in enumerate(data)}
    rows = [place[row.tobytes()] for row in reached]
    assert len(set(rows)) == len(rows)  # nobody is asked about twice
    frame = result.claims
    tested = frame[frame["decision"] != "not tested"]["id"].str[1:].astype(int).tolist()
    assert sorted(r for r in rows if r < 120) == sorted(tested)


def test_a_budget_is_kept_and_cuts_both_sides_alike(base):
    whole = attack_settings(settings(), base=base, out=base / "run").summary
    needed = whole.target.about_candidates + whole.target.about_calibration
    small = attack_settings(settings(attacked={"budget": needed // 2}), base=base, out=base / "run").summary
    assert small.target.queries <= needed // 2
    assert 0 < small.selection.tested < whole.selection.tested
    assert small.selection.calibration < whole.selection.calibration
    assert any("The budget allowed" in u for u in small.unresolved)
    exact = attack_settings(settings(attacked={"budget": needed}), base=base, out=base / "run").summary
    assert (exact.selection.tested, exact.target.for_checks) == (whole.selection.tested, 0)


def test_the_same_command_gives_the_same_bytes(base):
    files = []
    for _ in range(2):
        attack_settings(settings(), base=base, out=base / "run")
        files.append([(base / "run" / f).read_bytes() for f in ("claims.csv", "result.json", "report.html")])
    assert files[0] == files[1]


def test_candidates_among_the_others_are_refused_by_id_or_dropped(base):
    data = dict(np.load(base / "data.npz"))
    data["features"][300], data["labels"][300] = data["features"][7], data["labels"][7]
    np.savez(base / "data.npz", **data)
    with pytest.raises(DataError, match=r"1 other records equal one .*'p300' .* candidate 'p7'"):
        prepare_attack(settings(), base)
    case = prepare_attack(settings(attacked={"drop_known": True}), base)
    assert case.dropped == 1
    assert 300 not in case.prepared.screening.pool
    assert 300 not in np.concatenate(case.prepared.plan.train_index)
    assert 300 not in case.prepared.split.population


def test_a_wrong_guess_is_noticed(base):
    """Forests of stumps are far less sure than one grown to its leaves."""
    wrong = {"params": {"n_estimators": 25, "max_depth": 1}}
    summary = attack_settings(settings(target=wrong, attacked={"check": 80}), base=base, out=base / "run").summary
    check = summary.checks[0]
    assert check.passed is False
    assert "Read the checks first" in summary.verdict


@pytest.mark.parametrize(
    ("sections", "error", "said"),
    [
        ({"attack": [{"name": "lira"}]}, SettingsError, "attacks that claim"),
        ({"attacked": {"access": "labels"}}, SettingsError, "attacked.access: class probabilities are needed by gmia"),
        ({"attacked": {"candidates": "nobody.txt"}}, SettingsError, "nobody.txt cannot be read"),
        ({"attacked": {"model": "theirs:nothing"}}, SettingsError, "attacked.model"),
        ({"references": {"plan": "pairs"}}, SettingsError, "references.plan: 'out_only' is needed"),
        ({"data": {"pool": 100}}, SettingsError, "data.pool: it belongs to locard audit"),
        ({"references": {"models": 2}}, NotEnoughReferences, r"gmia.* needs 2 reference models .* among those"),
    ],
)
def test_what_cannot_be_is_said_before_training(base, sections, error, said):
    with pytest.raises(error, match=said):
        attack_settings(settings(**sections), base=base, out=base / "run")
    assert not (base / "run" / "observations").exists()


def test_all_problems_are_told_at_once(base):
    with pytest.raises(SettingsError) as told:
        prepare_attack(
            settings(attacked={"model": "gone.skops", "candidates": "gone.txt"}, attack=[{"name": "loss"}]), base
        )
    assert len(told.value.problems) == 3
    tree = {k: v for k, v in TREE.items() if k != "attacked"}
    with pytest.raises(SettingsError, match=r"a section \[attacked\] with model"):
        prepare_attack(make_settings(tree), base)


def test_the_command_line(base, cli):
    (base / "attack.toml").write_text(to_toml(TREE))
    code, said, _ = cli("attack", str(base / "attack.toml"), "--out", str(base / "run"))
    assert code == 0
    assert "candidates are claimed to be in the training set" in said
    assert "Check      target and references answer alike: as expected" in said
    _, told, _ = cli("attack", str(base / "attack.toml"), "--out", str(base / "run"), "--json")
    assert json.loads(told)["kind"] == "attack"
    code, _, wrong = cli("report", str(base / "run"))
    assert code == 2
    assert "holds an attack on a model that may only be asked" in wrong


NETWORK = """
import numpy as np
import torch
from locard.data.records import Records
from locard.train.neural.recipe import TorchRecipe


def network():
    data = np.load({data!r})
    records = Records(ids=np.arange(480), features=data["features"], labels=data["labels"])
    recipe = TorchRecipe(module="mlp", params={{"hidden": [16]}}, epochs=60, learning_rate=0.3, batch_size=10)
    predict = recipe.fit(records, np.arange(60), 0)

    class Model:
        def predict_proba(self, x):
            return torch.softmax(torch.from_numpy(predict(x)[:, 0]).double(), dim=-1).numpy()

    return Model()
"""
LENGTH = {"epochs": 60, "learning_rate": 0.3, "batch_size": 10}
TORCH = {"recipe": "torch", "module": "mlp", "params": {"hidden": [16]}} | LENGTH


def test_an_indirect_attack_beside_the_direct_one(base):
    """Its own target is never asked about a candidate; its budget is what the direct attack has left."""
    (base / "net.py").write_text(NETWORK.format(data=str(base / "data.npz")))
    tree = {k: v for k, v in TREE.items() if k != "target"} | {"target": TORCH}
    small = {"name": "gmia_indirect", "records": 2, "queries": 60, "clusters": 4, "optimise": 3}
    tree |= {
        "attack": [{"name": "gmia", "fdr": 0.2}, small],
        "references": {"plan": "out_only", "models": 12, "size": 60},
        "attacked": {"model": "net:network", "candidates": "candidates.txt", "check": 0},
    }
    result = attack_settings(make_settings(tree), base=base, out=base / "run")
    direct, other = result.summary.attacks
    assert (direct.how, other.how) == ("direct", "indirect")
    assert "The rates are those of each list by itself" in result.summary.verdict
    assert result.summary.verdict.count("By gmia") == 2
    assert other.tested == 2
    assert other.queries == result.summary.target.indirectly > 0
    assert result.summary.target.queries == direct.queries + other.queries + result.summary.target.about_calibration
    rows = result.claims[result.claims["attack"] == other.name]
    assert (rows["how"] == "indirect").sum() == 2
    assert rows.loc[rows["how"] == "indirect", "p_rank"].between(1 / 7, 1).all()
    spent = result.summary.target.queries - other.queries
    tree["attacked"] = tree["attacked"] | {"budget": spent + 1}
    poor = attack_settings(make_settings(tree), base=base, out=base / "run").summary
    assert [n.name for n in poor.not_run] == [other.name]
    assert "none was asked" in poor.not_run[0].reason
    assert [a.how for a in poor.attacks] == ["direct"]
    assert poor.merged is None


def test_an_indirect_attack_is_calibrated_by_held_out_records_that_are_not_asked_about(base, cli):
    """Each of them has queries of its own; they are counted, kept within the budget, and foretold by the plan."""
    (base / "net.py").write_text(NETWORK.format(data=str(base / "data.npz")))
    small = {"name": "gmia_indirect", "records": 8, "queries": 60, "clusters": 4, "optimise": 3, "calibration": 9}
    tree = {k: v for k, v in TREE.items() if k != "target"} | {"target": TORCH, "attack": [{"name": "gmia"}, small]}
    tree |= {
        "references": {"plan": "out_only", "models": 12, "size": 60},
        "attacked": {"model": "net:network", "candidates": "candidates.txt", "check": 0},
        "screen": {"name": "random", "select": {"top": 60}},
    }
    result = attack_settings(make_settings(tree), base=base, out=base / "run")
    summary, frame = result.summary, result.claims
    direct, other = summary.attacks
    alike = other.calibration
    assert 0 < alike <= 9
    mine = frame[(frame["attack"] == other.name) & (frame["decision"] != "not tested")]
    assert len(mine) == other.tested == 8
    assert np.allclose(mine["p"] * (alike + 1), np.round(mine["p"] * (alike + 1)))  # p is the calibrated one
    assert mine["p"].min() >= 1 / (alike + 1) - 1e-12
    assert summary.target.indirectly > other.queries == mine["queries"].sum()
    assert summary.target.queries == direct.queries + summary.target.about_calibration + summary.target.indirectly
    assert any("calibration records" in u and other.name in u for u in summary.unresolved)
    # both lists as one: each at half the rate, the surest list's word on each candidate
    both, count = summary.merged, len(np.unique(frame["id"]))
    assert both is not None
    blocks = [frame[frame["attack"] == n].reset_index(drop=True) for n in (direct.name, other.name, "merged")]
    assert [len(b) for b in blocks] == [count] * 3
    adjusted = np.stack([b["p_adjusted"] for b in blocks[:2]])
    expected = np.minimum(2 * np.fmin(*adjusted), 1.0)
    np.testing.assert_array_equal(blocks[2]["p_adjusted"], expected)
    assert ((blocks[2]["decision"] == "member") == (expected <= 0.1 * (1 + 1e-12))).all()
    surest = np.where(np.nan_to_num(adjusted[1], nan=2.0) < np.nan_to_num(adjusted[0], nan=2.0), "indirect", "direct")
    tested = ~np.isnan(expected)
    assert (blocks[2]["how"][tested] == surest[tested]).all()
    assert (blocks[2]["how"][~tested] == "").all()
    assert (blocks[2]["queries"] == blocks[0]["queries"] + blocks[1]["queries"]).all()
    assert "merged" in (base / "run" / "report.html").read_text()
    (base / "attack.toml").write_text(to_toml(tree))
    code, said, _ = cli("plan", str(base / "attack.toml"))
    assert code == 0
    assert re.search(r"gmia_indirect\(.*\): about [\d.]+ s for each of 8 records and 9 that calibrate", said)
    assert "at most 68 queries a target" in said  # 4 queries for each of 17
    assert json.loads(cli("plan", str(base / "attack.toml"), "--json")[1])["queries"] == 60 + 120 + 68
    code, _, wrong = cli("plan", str(base / "attack.toml"), "--pilot", "4")
    assert code == 2
    assert "a forecast is made of audits" in wrong


def test_a_single_list_is_not_merged(base):
    assert attack_settings(settings(), base=base, out=base / "run").summary.merged is None


def test_indirect_attacks_need_networks(base):
    with pytest.raises(SettingsError, match=r"gmia_indirect needs networks, .* found target.recipe = 'sklearn'"):
        prepare_attack(settings(attack=[{"name": "gmia_indirect"}]), base)
