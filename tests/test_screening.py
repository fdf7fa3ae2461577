"""``locard screen`` from settings to files: what is trained, what is reused, what is written, and that no target is
touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from locard.assess.screening import raw_features
from locard.errors import AccessDenied, NotEnoughReferences, RunStopped, SettingsError
from locard.observe.observations import Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import References
from locard.pipeline import audit_settings
from locard.plan.draw import reference_records
from locard.screen import screen
from locard.screen.evidence import Evidence, Observed
from locard.screen.protocol import Top
from locard.screen.screened import run_screen
from locard.screening import prepare_screening, screen_settings
from locard.settings import make_settings
from locard.train.asked import Keep
from locard.train.jobs import plan_jobs
from locard.train.store import Store, StoreReader

TREE = {
    "data": {"source": "data.npz", "pool": 60},
    "target": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}},
    "references": {"models": 8},
    "compute": {"workers": 1},
    "screen": {"name": "reference_loss", "select": {"top": 5}},
}


def settings(**sections):
    tree = TREE | {k: TREE.get(k, {}) | v for k, v in sections.items()}
    return make_settings({k: {a: b for a, b in v.items() if b is not None} for k, v in tree.items()})


@pytest.fixture
def base(npz) -> Path:
    return npz.parent


def stored(out: Path) -> set[str]:
    return {p.stem for p in (out / "observations").glob("*.safetensors")}


OUT_ONLY = {"plan": "out_only", "models": 12, "size": 20}


def test_only_the_screening_references_are_trained(base, tmp_path):
    """Neither a target nor a reference that will test."""
    out = tmp_path / "run"
    tree = screen_settings(settings(), base=base, out=out)
    assert tree["models"] == {"screening": [2, 3, 6, 7], "testing": [0, 1, 4, 5]}
    p = prepare_screening(settings(), base)
    jobs = plan_jobs(p.recipe, p.records, p.plan, p.split.population, p.seed)
    assert stored(out) == {jobs[m].key for m in (2, 3, 6, 7)}


def test_no_target_of_an_outsider_is_trained(base, tmp_path):
    made = settings(references=OUT_ONLY, target={"models": 4}, data={"pool": 30, "population": 10})
    tree = screen_settings(made, base=base, out=tmp_path / "run")
    case = prepare_screening(made, base)
    assert set(tree["models"]["screening"]) | set(tree["models"]["testing"]) == set(range(12))
    assert case.plan.targets.tolist() == [12, 13, 14, 15]
    assert len(stored(tmp_path / "run")) == len(tree["models"]["screening"]) == 6
    assert tree["reference_records"] == len(reference_records(case.records, case.split)) == 40
    assert tree["training_size"] == 15  # of a target, not of a reference


def test_an_audit_of_the_same_settings_shares_the_models_and_keeps_its_result(base, tmp_path):
    out, seen = tmp_path / "run", []
    made = settings(controls={"redraws": 0, "blind": False}, screen={"name": "reference_loss"})
    audit_settings(made, base=base, out=out)
    before, result = stored(out), (out / "result.json").read_bytes()
    screen_settings(made, base=base, out=out)
    other = settings(controls={"redraws": 0, "blind": False}, screen={"name": "neighbours", "select": {"top": 3}})
    screen_settings(other, base=base, out=out)
    assert stored(out) == before
    assert (out / "result.json").read_bytes() == result
    fresh = tmp_path / "fresh"
    screen_settings(made, base=base, out=fresh)
    assert stored(fresh) < before
    seen += [*stored(fresh)]
    audit_settings(made, base=base, out=fresh)
    assert json.loads((fresh / "run.json").read_text())["models"] == {"total": 8, "reused": 4, "trained": 4}
    assert (fresh / "result.json").read_bytes() == result
    assert (fresh / "screen.json").exists()


def test_files_of_other_data_do_not_stay(base, tmp_path):
    out = tmp_path / "run"
    screen_settings(settings(), base=base, out=out)
    other = settings(data={"pool": 50}, controls={"redraws": 0, "blind": False})
    audit_settings(other, base=base, out=out)
    assert not (out / "screen.json").exists()
    assert not (out / "screen.parquet").exists()


@pytest.mark.parametrize("name", ["neighbours", "reference_loss", "reference_spread", "combined", "random"])
def test_again_it_writes_the_same_bytes(base, tmp_path, name):
    made = settings(screen={"name": name}, references={"models": 16} if name == "combined" else {})
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "one"]
    files = []
    for folder in folders:
        screen_settings(made, base=base, out=folder)
        files.append([(folder / f).read_bytes() for f in ("screen.json", "screen.parquet")])
    assert files[0] == files[1] == files[2]


def by_hand(made, base, out, name, pool=None):
    """The evidence put together from the store, model by model."""
    p = prepare_screening(made, base)
    case, records, plan = p, p.records, p.plan
    jobs = plan_jobs(case.recipe, records, plan, p.asked, case.seed)
    models = p.screening.models
    store = Store(out / "observations")

    def seen(part, places, stored_at):
        z = np.stack([StoreReader(store, [jobs[m].key], part).read(0)[stored_at] for m in models])
        floor = case.recipe.probability_floor
        from locard.observe.observations import ArrayReader

        said = Observations(ArrayReader(z), records.y[places], probability_floor=floor)
        member = np.array([[place in set(plan.train_index[m].tolist()) for place in places] for m in models])
        return Observed(records.select(places), References(ReferencePool(said, member), np.arange(len(models))))

    audited = case.split.audited
    other = None
    if pool is not None:
        other = seen("population", pool, np.array([np.flatnonzero(p.asked == place).item() for place in pool]))
    size = np.mean([len(plan.train_index[t]) for t in plan.targets])
    e = Evidence(candidates=seen("logits", audited, np.arange(len(audited))), pool=other, training_size=float(size))
    return run_screen(screen(name), e, select=Top(5))


@pytest.mark.parametrize("name", ["neighbours", "reference_loss", "reference_spread"])
@pytest.mark.parametrize("plan", ["pairs", "out_only", "subsample"])
def test_the_files_say_what_the_screen_found(base, tmp_path, name, plan):
    references = OUT_ONLY if plan == "out_only" else {"plan": plan, "models": 24 if plan == "subsample" else 12}
    made = settings(
        references=references, target={"models": 4}, data={"pool": 30, "population": 10}, screen={"name": name}
    )
    out = tmp_path / "run"
    tree = screen_settings(made, base=base, out=out)
    case = prepare_screening(made, base)
    pool = None
    if plan == "out_only":
        taken = {*case.split.audited.tolist(), *case.split.population.tolist()}
        pool = np.array([i for i in range(80) if i not in taken])
    found = by_hand(made, base, out, name, pool)
    frame = pd.read_parquet(out / "screen.parquet")
    assert frame["id"].tolist() == found.ids.tolist()
    np.testing.assert_array_equal(frame["value"], found.value)
    assert frame["rank"].tolist() == found.rank.tolist()
    assert frame["selected"].tolist() == found.selected.tolist()
    assert frame[frame["selected"]]["reasons"].tolist() == list(found.reasons)
    near = frame[frame["selected"]]["neighbours"].tolist()
    assert [[n["id"] for n in row] for row in near] == [list(ids) for ids in found.nearest_ids]
    assert [r["id"] for r in tree["records"]] == found.selected_ids.tolist()
    assert tree == json.loads((out / "screen.json").read_text())
    assert tree["selected"] == 5
    assert tree["select"] == {"top": 5}


@pytest.mark.parametrize(
    ("screen_", "select"),
    [({"name": "random"}, {"fraction": 0.1}), ({"name": "neighbours", "features": "raw"}, {"above": -0.5})],
)
def test_what_reads_no_answers_trains_nothing(base, tmp_path, screen_, select):
    out = tmp_path / "run"
    tree = screen_settings(settings(screen=screen_ | {"select": select}), base=base, out=out)
    assert not (out / "observations").exists() or not stored(out)
    assert tree["models"] == {"screening": [], "testing": list(range(8))}
    assert tree["select"] == select
    assert all(r["neighbours"] for r in tree["records"])


@pytest.mark.parametrize("named", [{"name": "random"}, {"name": "neighbours", "features": "raw"}])
def test_what_reads_no_answers_takes_any_number_of_classes(tmp_path, named):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), np.arange(60) % 4
    np.savez(tmp_path / "data.npz", features=x, labels=y)
    tree = screen_settings(settings(screen=named | {"select": {"top": 5}}), base=tmp_path, out=tmp_path / "run")
    assert tree["selected"] == 5


def test_without_a_section_neighbours_select_by_their_own_rule(base, tmp_path):
    made = make_settings({k: v for k, v in TREE.items() if k != "screen"})
    tree = screen_settings(made, base=base, out=tmp_path / "run")
    assert tree["screen"]["name"] == "neighbours"
    assert tree["settled"]["chosen"] == "delta by rule"
    assert "above" in tree["select"]
    assert "screen" not in (tmp_path / "run" / "settings.toml").read_text()


def test_networks_screen_and_so_do_their_losses_over_training(base, tmp_path):
    """LT-IQR of the losses that training kept: the mean over the screening references that hold a record."""
    pytest.importorskip("torch")
    network = {"recipe": "torch", "module": "logistic", "epochs": 4, "estimator": None, "params": None}
    made = settings(target=network, traces={"losses": True}, screen={"name": "loss_trace"}, compute={"exact": True})
    tree = screen_settings(made, base=base, out=tmp_path / "run")
    p = prepare_screening(made, base)
    jobs = plan_jobs(p.recipe, p.records, p.plan, p.asked, p.seed,
                     keep=Keep(losses=True))  # fmt: skip
    store = Store(tmp_path / "run" / "observations")
    losses = np.stack([store.read(jobs[m].key, "losses") for m in tree["models"]["screening"]])
    assert losses.shape == (4, 60, 4)
    member = p.plan.member[tree["models"]["screening"]]
    width = np.quantile(losses, 0.75, axis=2) - np.quantile(losses, 0.25, axis=2)
    value = np.where(member, width, 0).sum(axis=0) / member.sum(axis=0)
    frame = pd.read_parquet(tmp_path / "run" / "screen.parquet")
    np.testing.assert_allclose(frame["value"], value, rtol=1e-5)
    unkept = settings(target=network, screen={"name": "loss_trace"})
    with pytest.raises(AccessDenied, match=r"Set traces\.losses = true"):
        screen_settings(unkept, base=base, out=tmp_path / "other")


def test_references_that_are_not_finished_in_time_are_kept(base, tmp_path):
    made = settings(compute={"stop_after": "0.0001s"})
    with pytest.raises(RunStopped, match=r"screening references are needed, .* Run the same command again"):
        screen_settings(made, base=base, out=tmp_path / "run")
    assert 0 < len(stored(tmp_path / "run")) < 4
    assert screen_settings(settings(), base=base, out=tmp_path / "run")["selected"] == 5


# -- how records look --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_pictures_are_shown(tmp_path, kind):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 200, size=(80, 6, 5)).astype(kind)
    np.savez(tmp_path / "data.npz", features=x, labels=rng.integers(2, size=80))
    tree = screen_settings(settings(), base=tmp_path, out=tmp_path / "run")
    card = tree["records"][0]
    assert all(one["picture"].startswith("data:image/png;base64,") for one in (card, *card["neighbours"]))
    assert len({r["picture"] for r in tree["records"]}) == 5


def test_rows_of_tables_say_in_which_columns_their_neighbours_differ(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"who": [f"p{i}" for i in range(80)], "age": rng.integers(20, 60, 80), "sex": ["f", "m"] * 40})
    frame["label"] = rng.choice(["no", "yes"], 80)
    frame.to_csv(tmp_path / "people.csv", index=False)
    made = settings(data={"source": "people.csv", "label": "label", "id": "who"})
    tree = screen_settings(made, base=tmp_path, out=tmp_path / "run")
    by_name = frame.set_index("who")
    for card in tree["records"]:
        for near in card["neighbours"]:
            a, b = by_name.loc[card["id"]], by_name.loc[near["id"]]
            assert {d["column"] for d in near["differs"]} == {c for c in ("age", "sex") if a[c] != b[c]}
            assert near["label"] == b["label"]


def test_raw_features_are_scaled_by_the_reference_records(records):
    r = records(40)
    learnt_from = np.arange(30)
    raw = raw_features(r, learnt_from, np.arange(40))
    known = r.features[:30]
    np.testing.assert_allclose(raw, (r.features - known.mean(axis=0)) / known.std(axis=0), rtol=1e-5, atol=1e-6)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "error", "said"),
    [
        ({"screen": {"name": "neighbors"}}, SettingsError, "Nearest: neighbours"),
        ({"screen": {"name": "neighbours", "dleta": 0.1}}, SettingsError, "unknown setting 'dleta'"),
        ({"screen": {"name": "loss_trace"}}, AccessDenied, "gives answers of finished models only"),
        ({"screen": {"references": 0.1}}, SettingsError, "at least one pair of models"),
        (
            {"screen": {"name": "reference_spread"}, "references": {"models": 4}},
            NotEnoughReferences,
            "some record has 1",
        ),
        ({"data": {"source": "nowhere.npz"}}, SettingsError, "nowhere.npz"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(base, tmp_path, sections, error, said):
    with pytest.raises(error, match=said):
        screen_settings(settings(**sections), base=base, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_problems_are_told_at_once(base, tmp_path):
    made = settings(screen={"name": "neighbors"}, data={"source": "nowhere.npz"}, references={"models": 7})
    with pytest.raises(SettingsError) as told:
        screen_settings(made, base=base, out=tmp_path / "run")
    assert [any(word in p for p in told.value.problems) for word in ("neighbors", "nowhere", "even number")] == [
        True
    ] * 3


def test_attacks_and_released_models_are_left_aside(base, tmp_path):
    """An outsider's plan has no IN references for the default headline, and the released model is a target."""
    made = settings(references=OUT_ONLY, target={"models": 4}, data={"pool": 30, "population": 10},
                    released={"model": "nowhere.skops", "members": "nobody.txt"})  # fmt: skip
    assert screen_settings(made, base=base, out=tmp_path / "run")["selected"] == 5
