"""The whole of it, in Python: every design end to end, saved outputs, released models, and what is refused first."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import locard
from locard.data.records import Records
from locard.errors import DataError, LocardError, NotEnoughReferences, SettingsError
from locard.pipeline import SavedTarget, audit_saved
from locard.result import AuditResult
from locard.train.jobs import Training

TREE = DecisionTreeClassifier(max_depth=4)


def strict(result: AuditResult) -> dict:
    """``result.json`` as a strict reader sees it: no NaN, no infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in result.json")

    return json.loads(result.to_json(), parse_constant=refuse)


# -- every design ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "more", "attacks"),
    [
        ({"plan": "pairs"}, {}, ["lira", "rmia", "loss"]),
        ({"plan": "subsample", "fraction": 0.7}, {}, ["loss", "calibrated"]),
        ({"plan": "coin_flips"}, {}, ["loss", "lira"]),
        (
            {"plan": "out_only", "size": 30},
            {"target": {"models": 8}, "data": {"pool": 60, "population": 20}},
            ["loss", "attack_r"],
        ),
        (
            {"plan": "out_only", "size": 30, "replace": True},
            {"target": {"models": 4}, "data": {"pool": 60, "population": 20}},
            ["calibrated"],
        ),
    ],
)
def test_every_design_runs_end_to_end(records, quick, plan, more, attacks):
    r = records(140, classes=3)
    sections = quick | {"controls": {"redraws": 3}, "policy": {"max_tpr": {"0.1": 0.5}, "max_auc": 0.9}} | more
    result = locard.audit(r, TREE, models=10, attacks=attacks, seed=2, references=plan, **sections)
    tree = strict(result)
    assert tree["target"]["design"] == plan["plan"]
    assert [a["name"] for a in tree["attacks"]] + [n["name"].split("(")[0] for n in tree["not_run"]] == attacks
    assert result.scores["loss" if "loss" in attacks else attacks[0]].shape[1] == len(result.records)
    assert tree["policy"]["outcome"] in ("pass", "fail", "inconclusive")
    assert all(0 <= a["auc"]["value"] <= 1 for a in tree["attacks"])


def test_one_model_of_coin_flips_is_a_one_run_audit(records, quick):
    result = locard.audit(
        records(100), TREE, models=1, attacks=["loss", "lira"], references={"plan": "coin_flips"}, **quick
    )
    assert strict(result)["target"]["targets"] == 1
    assert [n.name for n in result.summary.not_run] == ["lira"]
    assert result.summary.exposed.n == 0


def test_a_control_that_no_redrawn_plan_can_serve_has_a_reason_and_stops_nothing(records, quick):
    """Coin flips with few models: the real plan serves every record, hardly any redrawn one does."""
    sections = quick | {"controls": {"redraws": 4, "blind": False}}
    for seed in range(40):
        try:
            result = locard.audit(
                records(60), GaussianNB(), models=12, attacks=["lira"], seed=seed,
                references={"plan": "coin_flips"}, **sections,
            )  # fmt: skip
        except NotEnoughReferences:
            continue
        control = result.summary.controls[0]
        assert control.passed in (True, None)
        return
    pytest.fail("no plan of forty served every record: choose other numbers")


# -- units, classes, weights -------------------------------------------------------------------------------------------


def test_rows_of_a_unit_are_trained_on_together_and_graded_alike(records, quick):
    r = records(200, rows=4)
    result = locard.audit(r, TREE, models=16, attacks=["lira"], seed=1, data={"pool": 160}, **quick)
    table = result.records
    units = table["unit"].to_numpy()
    for column in ("grade", "hits_in", "p_flip", "q"):
        for unit in np.unique(units):
            assert len(set(map(str, table[column][units == unit]))) == 1
    member = result.scores["member"]
    for unit in np.unique(units):
        assert (member[:, units == unit].all(axis=1) | ~member[:, units == unit].any(axis=1)).all()
    assert result.summary.data.units == 40
    assert result.summary.data.n == 160


def test_shuffled_ids_with_gaps_come_back_as_they_were_given(records, quick, tmp_path):
    r = records(80, seed=4)
    locard.audit(r, TREE, models=4, attacks=["loss"], data={"pool": 60}, out=tmp_path / "run", **quick)
    given = {str(i): (str(label), x) for i, label, x in zip(r.ids, r.labels, r.features[:, 0], strict=True)}
    table = AuditResult.load(tmp_path / "run").records
    assert len(table) == 60
    for identity, label in zip(table["id"], table["label"], strict=True):
        assert given[identity][0] == str(label)
    order = [i for i in r.ids if i in set(table["id"])]
    assert table["id"].tolist() == order


def test_a_rare_class_missing_from_some_models_is_no_obstacle(quick):
    rng = np.random.default_rng(0)
    labels = np.array(["common"] * 50 + ["usual"] * 45 + ["rare"] * 2 + ["odd"])
    r = Records(ids=range(98), features=rng.normal(size=(98, 3)), labels=labels)
    result = locard.audit(r, RandomForestClassifier(5), models=8, attacks=["lira", "loss"], data={"pool": 98}, **quick)
    tree = strict(result)
    assert {c["label"]: c["records"] for c in tree["data"]["classes"]} == {
        "common": 50,
        "odd": 1,
        "rare": 2,
        "usual": 45,
    }
    assert tree["data"]["floored"] > 0
    assert set(tree["attacks"][0]["at_other_floor"]) == {"floor", "auc", "tpr"}


def test_a_user_group_column_named_class_is_no_obstacle(records, quick):
    r = records(80)
    grouped = Records(
        ids=r.ids, features=r.features, labels=r.labels, groups={"class": ["x", "y"] * 40, "id": range(80)}
    )
    result = locard.audit(grouped, TREE, models=4, attacks=["loss"], **quick)
    assert {g.by for g in result.summary.groups} >= {"class", "id"}
    assert "group_id" in result.records.columns


def test_features_with_missing_values_are_audited_where_the_model_takes_them(records, quick):
    from sklearn.ensemble import HistGradientBoostingClassifier

    r = records(80)
    x = r.features.copy()
    x[::5, 1] = np.nan
    holes = Records(ids=r.ids, features=x, labels=r.labels)
    sections = quick | {"controls": {"redraws": 0, "blind": True}}
    result = locard.audit(holes, HistGradientBoostingClassifier(max_iter=3), models=4, attacks=["loss"], **sections)
    assert result.summary.controls[0].value.value is not None


# -- what the result says of itself ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_numbers(records, quick):
    def run(seed):
        return locard.audit(records(80), TREE, models=4, attacks=["loss"], seed=seed, **quick)

    one, same, other = run(3), run(3), run(4)
    assert one.to_json() == same.to_json()
    assert one.records.equals(same.records)
    assert one.summary.attacks[0].auc.value != other.summary.attacks[0].auc.value


def test_the_settings_in_the_result_say_what_was_really_audited(records, quick):
    """Found: the default estimator and the six default attacks stood there, whatever was given as objects."""
    attacks = [locard.attack("lira", variance="pooled"), "loss", {"name": "rmia", "offline": True}]
    result = locard.audit(records(80), GaussianNB(var_smoothing=1e-3), models=8, attacks=attacks, **quick)
    told = result.summary.settings
    assert told["target"]["estimator"] == "sklearn.naive_bayes.GaussianNB"
    assert told["target"]["params"]["var_smoothing"] == 1e-3
    assert [a["name"] for a in told["attack"]] == ["lira", "loss", "rmia"]
    assert told["attack"][0]["variance"] == "pooled"
    assert [a.label for a in result.summary.attacks] == ["lira(variance=pooled)", "loss", "rmia(offline=True)"]
    assert "compute" not in told


def test_a_recipe_of_ones_own_is_enough(records, quick):
    class Prior:
        """The smallest recipe: the classes' shares."""

        name, fingerprint, probability_floor = "Prior()", "1", None

        def fit(self, records, index, seed):
            shares = np.bincount(records.y[index], minlength=len(records.classes)) / len(index)
            return lambda features: np.tile(np.log(shares), (len(features), 1)).astype(np.float32)

    result = locard.audit(records(80), Prior(), models=4, attacks=["loss"], **quick)
    assert result.summary.target.estimator == "Prior()"
    assert result.summary.settings["target"]["estimator"] == "Prior()"


def test_inputs_stay_as_they_are(records, quick):
    r = records(80)  # its arrays are read-only
    before = r.fingerprint
    forest = RandomForestClassifier(n_estimators=3)
    locard.audit(r, forest, models=4, attacks=["rmia"], **quick)
    assert r.fingerprint == before
    assert not hasattr(forest, "estimators_")


def test_a_watch_hears_every_stage(records, quick):
    told = []
    watch = locard.pipeline.Watch(progress=lambda stage, done, total: told.append(stage))
    locard.audit(records(80), TREE, models=4, attacks=["loss"], watch=watch, **quick)
    assert list(dict.fromkeys(told)) == ["training models", "scoring attacks", "grading records"]


def test_run_json_says_how_long_each_stage_took(records, quick, tmp_path):
    locard.audit(records(80), TREE, models=4, attacks=["loss"], out=tmp_path / "run", **quick)
    timings = json.loads((tmp_path / "run" / "run.json").read_text())
    stages = ["assessing", "distilling", "preparing", "training", "writing"]
    assert list(timings["stage_seconds"]) == stages  # sorted, as all of it
    assert 0 < sum(timings["stage_seconds"].values()) < 60


def test_workers_that_were_started_early_leave_when_preparation_fails(records, quick, processes):
    before = {p["pid"] for p in processes() if p["parent"] == os.getpid()}
    with pytest.raises(SettingsError, match="even number"):
        locard.audit(records(80), TREE, models=5, attacks=["loss"], **quick | {"compute": {"workers": 2}})
    assert {p["pid"] for p in processes() if p["parent"] == os.getpid()} == before


# -- what is refused before any model is trained -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": 5}, "even number of at least 4 is needed for plan 'pairs'.*found 5. Ask for 6"),
        ({"models": 2}, "found 2. Ask for 4"),
        ({"attacks": ["lyra"]}, "lyra"),
        ({"attacks": [3]}, "attack object is needed"),
        ({"attacks": []}, "at least one attack is needed"),
        ({"attack": ["lira"], "attacks": None, "modles": 3}, "modles: no such key"),
        ({"data": {"pool": 500}}, "from 1 to 80 records"),
        ({"data": {"pool": 10}}, "at least 20 audited records are needed, found 10"),
        ({"references": {"plan": "out_only"}, "target": {"models": 3}}, "even number is needed for plan 'out_only'"),
        ({"references": {"plan": "subsample", "fraction": 0.001}}, "leaves units on both sides"),
        ({"measure": {"fprs": [2]}}, "rates between 0 and 1"),
        ({"recipe": SVC()}, "predict_proba"),
        ({"recipe": DecisionTreeClassifier}, "found the class DecisionTreeClassifier"),
        ({"recipe": "DecisionTree"}, "found str"),
        ({"released": (GaussianNB(), ["nobody"])}, "unknown"),
        ({"released": (object(), [])}, "predict_proba"),
    ],
)
def test_what_cannot_be_used_is_refused_first(records, quick, given, said, monkeypatch):
    monkeypatch.setattr(Training, "__call__", lambda *_: pytest.fail("a model was trained"))
    words = {"recipe": TREE, "models": 4, "attacks": ["loss"]} | quick | given
    with pytest.raises(SettingsError, match=f"(?s){said}"):
        locard.audit(records(80), **words)


def test_all_problems_are_told_at_once(records, quick):
    with pytest.raises(SettingsError) as wrong:
        locard.audit(
            records(80), SVC(), models=4, attacks=["lyra"], released=("nowhere.skops", ["x"]), colour=3, **quick
        )
    said = "\n".join(wrong.value.problems)
    assert all(word in said for word in ("predict_proba", "colour", "nowhere.skops", "lyra"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"recipe": GaussianNB(), "models": 5, "data": {"pool": 500}, "attacks": ["lyra"], "colour": 3},
            ["colour: no", "'lyra'", "1 values of the features are NaN", "even number of at least 4", "from 1 to 80"],
        ),
        (
            {"recipe": GaussianNB(), "models": 5, "data": {"pool": 10}, "released": (GaussianNB(), ["nobody"])},
            ["NaN", "even number", "at least 20 audited records", "released.model", "unknown"],
        ),
        ({"recipe": SVC(), "models": 2}, ["predict_proba", "even number"]),
        ({"recipe": SVC(), "references": {"plan": "subsample", "fraction": 0.001}}, ["predict_proba", "both sides"]),
        (
            {"recipe": SVC(), "attacks": ["lira"], "references": {"plan": "coin_flips"}, "models": 1},
            ["predict_proba", "headline attack lira"],
        ),
    ],
)
def test_problems_of_design_data_and_recipe_are_told_together(records, quick, given, said):
    """One message each, and none that only follows from another. Planted: the design checked before the rest."""
    r = records(80)
    gone = np.where(np.arange(r.features.size).reshape(r.features.shape) == 5, np.nan, r.features)
    r = Records(ids=r.ids, features=gone, labels=r.labels)
    with pytest.raises(SettingsError) as wrong:
        locard.audit(r, **{"models": 4, "attacks": ["loss"]} | quick | given)
    found = list(wrong.value.problems)
    assert len(found) == len(said)
    assert all(sum(word in one for one in found) == 1 for word in said)


def test_a_headline_without_enough_references_is_refused_first(records, quick, monkeypatch):
    monkeypatch.setattr(Training, "__call__", lambda *_: pytest.fail("a model was trained"))
    sections = quick | {"data": {"pool": 40, "population": 10}, "references": {"plan": "out_only", "size": 20}}
    with pytest.raises(NotEnoughReferences, match="headline attack lira"):
        locard.audit(records(80), TREE, models=4, attacks=["lira"], target={"models": 4}, **sections)


def test_a_plan_that_leaves_a_model_one_class_is_refused_first(quick):
    labels = np.array([1] + [0] * 59)
    r = Records(ids=range(60), features=np.random.default_rng(0).normal(size=(60, 2)), labels=labels)
    with pytest.raises(SettingsError, match="training records of at least two classes are needed for every model"):
        locard.audit(r, TREE, models=4, attacks=["loss"], **quick)


def test_weights_that_leave_a_model_one_class_are_refused_first(records, quick):
    r = records(80)
    for weight in (np.zeros(80), (r.y == 0).astype(float)):
        weighted = Records(ids=r.ids, features=r.features, labels=r.labels, weight=weight)
        with pytest.raises(SettingsError, match=r"records of a weight above 0, of [01] class"):
            locard.audit(weighted, TREE, models=4, attacks=["loss"], **quick)


def test_missing_values_that_the_estimator_does_not_take_are_refused_first(records, quick):
    r = records(80)
    gone = np.where(np.arange(r.features.size).reshape(r.features.shape) == 5, np.nan, r.features)
    with pytest.raises(SettingsError, match=r"1 values of the features are NaN, but sklearn.*GaussianNB takes none"):
        locard.audit(
            Records(ids=r.ids, features=gone, labels=r.labels), GaussianNB(), models=4, attacks=["loss"], **quick
        )


def test_weights_that_the_estimator_does_not_take_are_refused_first(records, quick):
    from sklearn.neighbors import KNeighborsClassifier

    r = records(80)
    weighted = Records(ids=r.ids, features=r.features, labels=r.labels, weight=np.ones(80))
    with pytest.raises(SettingsError, match="sample_weight"):
        locard.audit(weighted, KNeighborsClassifier(), models=4, attacks=["loss"], **quick)


# -- a released model --------------------------------------------------------------------------------------------------


def test_a_released_model_is_attacked_beside_the_procedure(records, quick):
    r = records(120)
    members = r.ids[np.random.default_rng(1).random(120) < 0.5]
    chosen = np.isin(r.ids, members)
    model = DecisionTreeClassifier().fit(r.features[chosen], r.labels[chosen])
    result = locard.audit(
        r, DecisionTreeClassifier(), models=8, attacks=["lira", "loss"], released=(model, members), **quick
    )
    part = result.summary.released
    assert part.members + part.non_members == len(result.records)
    assert part.train_accuracy.value == 1.0
    assert {a.name for a in part.attacks} == {"lira", "loss"}
    assert "For the released model" in result.summary.verdict
    assert {"member", "released_lira", "released_loss"} <= set(result.records.columns)
    assert result.records["member"].tolist() == np.isin(result.records["id"], members).tolist()


def test_a_released_model_that_saw_everything_is_refused_and_the_procedure_offered(records, quick):
    r = records(80)
    model = DecisionTreeClassifier().fit(r.features, r.labels)
    with pytest.raises(SettingsError, match="the audit then measures the training procedure"):
        locard.audit(r, TREE, models=4, attacks=["loss"], released=(model, r.ids), **quick)


# -- saved outputs -----------------------------------------------------------------------------------------------------


def saved(models=8, n=60, classes=3, seed=0, leak=2.0, design="pairs"):
    rng = np.random.default_rng(seed)
    if design == "pairs":
        coins = rng.random((models // 2, n)) < 0.5
        member = np.concatenate([coins, ~coins])[rng.permutation(models)]
    else:
        member = np.stack([rng.permutation(models) < models // 2 for _ in range(n)], axis=1)
    labels = rng.integers(classes, size=n)
    labels[:classes] = np.arange(classes)
    logits = rng.normal(size=(models, n, classes))
    logits[:, np.arange(n), labels] += rng.normal(size=n) + leak * member
    for array in (member, labels, logits):
        array.flags.writeable = False
    return {"member": member, "labels": labels, "logits": logits}


QUICK = {"attack": ["lira", "loss"], "measure": {"fprs": [0.1]}}


@pytest.mark.parametrize("design", ["pairs", "balanced"])
def test_saved_outputs_are_enough(design):
    given = saved(design=design)
    result = audit_saved(**given, settings=QUICK)
    assert strict(result)["target"]["kind"] == "saved outputs"
    assert result.summary.target.design == ("pairs" if design == "pairs" else "coin_flips")
    assert result.summary.attacks[0].auc.value > 0.6
    assert result.records["id"].tolist() == list(range(60))
    assert result.summary.attacks[0].epsilon.value is None  # whoever drew the mask did not say how


def test_logits_and_their_probabilities_say_the_same_about_ranks():
    given = saved()
    p = np.exp(given["logits"])
    p /= p.sum(axis=-1, keepdims=True)
    ours = audit_saved(**given, settings=QUICK)
    theirs = audit_saved(member=given["member"], labels=given["labels"], probabilities=p, settings=QUICK)
    assert theirs.summary.attacks[1].auc.value == pytest.approx(ours.summary.attacks[1].auc.value, abs=2e-3)


def test_queries_are_an_axis_of_saved_outputs():
    given = saved()
    four = given | {"logits": np.stack([given["logits"]] * 2, axis=2)}
    assert audit_saved(**four, settings=QUICK).summary.attacks[1].auc == (
        audit_saved(**given, settings=QUICK).summary.attacks[1].auc
    )


def test_one_more_target_is_attacked_with_all_models_as_references():
    given = saved()
    rng = np.random.default_rng(5)
    inside = rng.random(60) < 0.5
    outputs = given["logits"][0] + 0.0
    outputs[np.arange(60), given["labels"]] += 4.0 * inside - 2.0 * given["member"][0]
    result = audit_saved(**given, settings=QUICK, target=SavedTarget(outputs, inside))
    assert result.summary.released.model == "saved target"
    assert result.summary.released.attacks[0].auc.value > 0.7
    assert result.records["member"].tolist() == inside.tolist()
    ones = audit_saved(**given, settings=QUICK, target=SavedTarget(outputs, inside.astype(int)))
    assert ones.summary.released == result.summary.released


@pytest.mark.parametrize("kind", ["text", "large numbers"])
def test_labels_of_any_type_name_the_columns_in_sorted_order(kind):
    given = saved()
    names = np.array(["ant", "bee", "cat"]) if kind == "text" else np.array([-5, 10, 1000])
    result = audit_saved(**given | {"labels": names[given["labels"]]}, settings=QUICK)
    assert result.summary.attacks[1].auc == audit_saved(**given, settings=QUICK).summary.attacks[1].auc
    assert [c.label for c in result.summary.data.classes] == [str(n) for n in names]


def test_a_class_that_no_record_has_is_a_column_all_the_same():
    given = saved(classes=3)
    labels = np.where(given["labels"] == 2, 1, given["labels"])
    assert len(audit_saved(**given | {"labels": labels}, settings=QUICK).summary.data.classes) == 3


def test_one_logit_of_a_binary_model_is_enough():
    given = saved(classes=2)
    one = (given["logits"][..., 1] - given["logits"][..., 0])[..., None]
    ours, theirs = (audit_saved(**given | {"logits": x}, settings=QUICK) for x in (given["logits"], one))
    assert theirs.summary.attacks[1].auc.value == pytest.approx(ours.summary.attacks[1].auc.value, abs=1e-9)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": np.zeros(59, dtype=int)}, r"60 of each are needed.*labels of shape \(59,\)"),
        ({"labels": np.int64(3)}, r"labels of shape \(\)"),
        ({"labels": np.full(60, 7)}, "found 1 distinct labels"),
        ({"labels": np.full(60, np.nan)}, "labels"),
        ({"ids": ["a"] * 60}, "ids: they repeat"),
        ({"ids": ["a"]}, "found 1 ids"),
        ({"member": np.ones((8, 59), dtype=bool)}, r"member: an array of shape \(8, 60\) is needed.*found \(8, 59\)"),
        ({"member": np.ones((8, 60), dtype=bool)}, "model 0 holds 60 of 60"),
        ({"member": np.random.default_rng(0).random((8, 60))}, "True and False"),
        ({"pairs": np.arange(8)}, "each the partner of its partner"),
        ({"logits": np.zeros((8, 60))}, "logits"),
        ({"logits": np.full((8, 60, 3), np.nan)}, "logits"),
        ({"settings": {"attack": ["lyra"]}}, "lyra"),
        ({"settings": {"colour": 3}}, "colour: no such key"),
        ({"target": SavedTarget(np.zeros((59, 3)), np.zeros(59, dtype=bool))}, "target"),
        ({"target": SavedTarget(np.zeros((60, 3)), np.zeros(60, dtype=bool))}, "members among the records observed"),
        ({"target": SavedTarget(np.zeros((60, 3)), np.ones(60, dtype=bool))}, "known non-members"),
        ({"target": SavedTarget(np.zeros((60, 3)), np.full(60, 0.5))}, "True and False"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changed, said):
    with pytest.raises(SettingsError, match=f"(?s){said}"):
        audit_saved(**{"settings": QUICK} | saved() | changed)


def test_all_problems_of_saved_outputs_are_told_at_once():
    bad = {"member": np.ones((8, 60), dtype=bool), "labels": np.zeros(3), "settings": {"colour": 3}}
    with pytest.raises(DataError) as wrong:
        audit_saved(**saved() | bad)
    assert len(wrong.value.problems) == 3
    worse = {"logits": np.full((8, 60, 3), np.nan), "member": np.ones((8, 60), dtype=bool), "settings": {"colour": 3}}
    target = SavedTarget(np.full((60, 3), 0.5j), np.zeros(60, dtype=bool))
    with pytest.raises(DataError) as wrong:
        audit_saved(**saved() | worse | {"target": target})
    found = wrong.value.problems
    assert [one.split(":")[0] for one in found] == ["logits", "member", "colour", "logits"]
    with pytest.raises(DataError) as wrong:
        audit_saved(**saved() | {"settings": {"colour": 3, "attack": ["lyra"]}, "member": np.ones((8, 59), dtype=bool)})
    assert [one.split(":")[0] for one in wrong.value.problems] == ["member", "colour", "attack"]


def test_a_result_reads_back_the_same_and_damage_is_named(records, quick, tmp_path):
    result = locard.audit(records(80), TREE, models=4, attacks=["loss"], **quick)
    folder = result.save(tmp_path / "saved")
    again = AuditResult.load(folder)
    assert again.to_json() == result.to_json()
    assert again.records.equals(result.records)
    assert {k: v.tobytes() for k, v in again.scores.items()} == {k: v.tobytes() for k, v in result.scores.items()}
    for name in ("result.json", "records.parquet", "scores.safetensors"):
        whole = (folder / name).read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"[]"):
            (folder / name).write_bytes(content)
            with pytest.raises(LocardError, match="damaged or foreign"):
                AuditResult.load(folder)
        (folder / name).unlink()
        with pytest.raises(LocardError, match=f"has no '{name}'"):
            AuditResult.load(folder)
        (folder / name).write_bytes(whole)
    other = replace(result, summary=result.summary.model_copy(update={"schema_version": "0.1"}))
    assert other.save(tmp_path / "old") == tmp_path / "old"
