"""Settings: one tree, three spellings (TOML, --set, keywords), and every mistake told at once in plain words."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.settings import Settings, make_settings, read_settings
from locard.settings_text import apply_overrides, to_toml

DIGITS = {"data": {"source": "digits"}}
FULL = """
name = "adult-forest"
seed = 7
[data]
source = "adult"
label = "income"
id = "row_id"
unit = "patient"
groups = ["sex", "age group"]
drop = ["zip"]
weight = "w"
pool = 20000
[target]
recipe = "sklearn"
estimator = "sklearn.ensemble.RandomForestClassifier"
params = { n_estimators = 200, max_depth = 7, class_weight = { 0 = 1.5, 1 = 1 }, names = ["a\\"b", "c\\u00e9\\n"] }
[references]
models = 64
plan = "pairs"
[[attack]]
name = "lira"
variance = "pooled"
[[attack]]
name = "rmia"
[policy]
max_tpr = { "0.001" = 0.01 }
[compute]
backend = "local"
workers = 2
[released]
model = "model.skops"
members = "train_ids.txt"
"""


def problems(tree) -> list[str]:
    with pytest.raises(SettingsError) as wrong:
        make_settings(tree)
    return list(wrong.value.problems)


# -- round trip --------------------------------------------------------------------------------------------------------


def test_the_example_of_the_design_reads_and_is_written_back_the_same(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(FULL)
    first = read_settings(path)
    assert (first.data.pool, first.references.models, first.policy.max_tpr) == (20000, 64, {"0.001": 0.01})
    assert first.attack[0].own == {"variance": "pooled"}
    path.write_text(to_toml(first.model_dump(mode="json", exclude_none=True)))
    second = read_settings(path)
    assert second == first
    assert to_toml(second.model_dump(mode="json", exclude_none=True)) == path.read_text()


KEYS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False),
        st.text(st.characters(codec="utf-8"), max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_plain_parameters_survive_toml(params):
    tree = DIGITS | {"target": {"params": params}}
    again = tomllib.loads(to_toml(tree))
    assert again == tree


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_numbers_that_json_has_no_word_for_survive_toml(value):
    assert tomllib.loads(to_toml({"x": {"y": [value]}})) == {"x": {"y": [value]}}
    assert "nan" in to_toml({"x": {"y": float("nan")}})


def test_settings_are_frozen_and_default_to_six_attacks():
    made = make_settings(DIGITS)
    assert len(made.attack) == 6
    with pytest.raises(ValueError, match="frozen"):
        made.seed = 3
    assert "compute" not in made.without_compute()


# -- --set -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=3", lambda s: s.seed == 3),
        ("references.models=32", lambda s: s.references.models == 32),
        ("references.plan=subsample", lambda s: s.references.plan == "subsample"),  # a bare word is a text
        ('references.plan="subsample"', lambda s: s.references.plan == "subsample"),
        ("data.source=my_module:load", lambda s: s.data.source == "my_module:load"),
        ("data.source=C:/a b/c=d.csv", lambda s: s.data.source == "C:/a b/c=d.csv"),
        ('data.groups=["sex", "age"]', lambda s: s.data.groups == ("sex", "age")),
        ("target.params.n_estimators=10", lambda s: s.target.params == {"n_estimators": 10, "max_depth": 3}),
        ("target.params={a = 1}", lambda s: s.target.params == {"a": 1}),
        ("attack.lira.offline=true", lambda s: s.attack[0].own == {"offline": True}),
        ("attack.1.offline=true", lambda s: s.attack[1].own == {"offline": True}),
        ('attack=["loss"]', lambda s: [a.name for a in s.attack] == ["loss"]),
        ("attack=loss", lambda s: [a.name for a in s.attack] == ["loss"]),
        ("policy.max_tpr.0.001=0.01", lambda s: s.policy.max_tpr == {"0.001": 0.01}),
        ('policy.max_tpr."0.001"=0.01', lambda s: s.policy.max_tpr == {"0.001": 0.01}),
        ('policy.max_tpr={"0.1" = 0.5}', lambda s: s.policy.max_tpr == {"0.1": 0.5}),
        ("policy.max_auc=0.6", lambda s: s.policy.max_auc == 0.6),
        (" seed = 3 ", lambda s: s.seed == 3),
        ("released.model=m.skops", lambda s: s.released is not None and s.released.model == "m.skops"),
    ],
)
def test_any_field_can_be_set(override, read):
    tree = DIGITS | {"attack": ["lira", "rmia"], "target": {"params": {"max_depth": 3}}}
    overrides = [override] + (["released.members=ids.txt"] if "released" in override else [])
    assert read(make_settings(apply_overrides(tree, overrides)))


def test_an_attack_of_the_default_six_can_be_set_too():
    made = make_settings(apply_overrides(DIGITS, ["attack.rmia.gamma=2"]))
    assert [a.name for a in made.attack] == [a.name for a in make_settings(DIGITS).attack]
    assert made.attack[1].own == {"gamma": 2}


def test_two_attacks_of_one_name_are_told_apart_by_index():
    tree = DIGITS | {"attack": [{"name": "lira"}, {"name": "lira", "offline": True}]}
    made = make_settings(apply_overrides(tree, ["attack.1.variance=pooled"]))
    assert made.attack[1].own == {"offline": True, "variance": "pooled"}
    with pytest.raises(SettingsError, match="2 are called 'lira': use its index"):
        apply_overrides(tree, ["attack.lira.variance=pooled"])


def test_overrides_do_not_change_what_they_were_given():
    tree = DIGITS | {"attack": [{"name": "lira"}]}
    apply_overrides(tree, ["attack.lira.offline=true", "data.source=x"])
    assert tree == {"data": {"source": "digits"}, "attack": [{"name": "lira"}]}


def test_all_overrides_without_a_place_are_told_at_once():
    with pytest.raises(SettingsError) as wrong:
        apply_overrides(
            DIGITS | {"seed": 1, "attack": ["lira"]},
            ["seed", "=3", "a..b=1", "seed.x=1", "attack.lyra.x=1", "attack.lira=1"],
        )
    said = wrong.value.problems
    assert len(said) == 6
    assert all(("is needed" in s and "found" in s) or "none is called 'lyra'" in s for s in said)
    assert "(there are: lira)" in said[4]


def test_a_date_in_the_settings_is_no_crash(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = 2024-05-01\n[data]\nsource = "digits"\n')
    with pytest.raises(SettingsError, match="name: a text in quotes is needed"):
        read_settings(path, ["seed=1"])
    assert "2024-05-01" in to_toml({"a": tomllib.loads("b = 2024-05-01")})


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"data": {"source": "d", "pol": 3}}, "data.pol: no such key; did you mean 'pool'?"),
        (DIGITS | {"polcy": {}}, "polcy: no such key; did you mean 'policy'?"),
        (DIGITS | {"target": {"parms": {}}}, "target.parms: no such key; did you mean 'params'?"),
        (DIGITS | {"policy": {"max_fpr": 1}}, "policy.max_fpr: no such key; did you mean 'max_tpr'?"),
        (DIGITS | {"released": {"modle": "x", "members": "m"}}, "released.modle: no such key; did you mean 'model'?"),
        (DIGITS | {"estimator": "x"}, "estimator: no such key; did you mean 'target.estimator'?"),
        (DIGITS | {"data": {"source": "d", "estimator": 1}}, "did you mean 'target.estimator'?"),
        (
            DIGITS | {"compute": {"zzzz": 1}},
            "compute.zzzz: no such key; known keys: backend, workers, chunk, exact, device, stop_after, address, keep, "
            "store.",
        ),
    ],
)
def test_unknown_keys_are_told_with_the_nearest_known_one(tree, said):
    assert any(said in p for p in problems(tree)), problems(tree)


@pytest.mark.parametrize(
    ("tree", "needed", "found"),
    [
        ({"data": "digits"}, "a section of keys and values", "'digits'"),
        ({"data": {"source": 3}}, "a text in quotes", "3"),
        (DIGITS | {"seed": 7.5}, "a whole number", "7.5"),
        (DIGITS | {"seed": "x"}, "a whole number", "'x'"),
        (DIGITS | {"seed": True}, "a number is needed", "true"),
        (DIGITS | {"seed": -1}, "a number of at least 0", "-1"),
        (DIGITS | {"references": {"models": True}}, "a number is needed", "true"),
        (DIGITS | {"measure": {"confidence": False}}, "a number is needed", "false"),
        (DIGITS | {"traces": {"snapshots": [2, True]}}, "a number is needed", "true"),
        (DIGITS | {"policy": {"max_tpr": {"0.1": True}}}, "a number is needed", "true"),
        (DIGITS | {"references": {"models": 0}}, "a number of at least 1", "0"),
        (DIGITS | {"references": {"plan": "pair"}}, "'pairs', 'subsample', 'coin_flips' or 'out_only'", "'pair'"),
        (DIGITS | {"references": {"fraction": 1}}, "a number below 1", "1"),
        (DIGITS | {"references": {"fraction": 0}}, "a number above 0", "0"),
        (DIGITS | {"target": {"answers": "logit"}}, "'probabilities' or 'logits'", "'logit'"),
        (DIGITS | {"target": {"params": 3}}, "a table of keys and values", "3"),
        (DIGITS | {"target": {"preprocess": "standardize"}}, "'standardise'", "'standardize'"),
        (DIGITS | {"attack": [3]}, "a section of keys and values", "3"),
        (DIGITS | {"attack": 3}, "attacks are needed", "3"),
        (DIGITS | {"attack": []}, "at least one attack is needed", "none"),
        (DIGITS | {"policy": {"max_tpr": {"2": 0.1}}}, "rates between 0 and 1", "'2' = 0.1"),
        (DIGITS | {"policy": {"max_tpr": {"0.1": 0}}}, "rates between 0 and 1", "'0.1' = 0"),
        (DIGITS | {"policy": {"max_tpr": {"x": 0.1}}}, "rates between 0 and 1", "'x' = 0.1"),
        (DIGITS | {"policy": {"max_tpr": {"0.1": float("nan")}}}, "rates between 0 and 1", "'0.1' = nan"),
        (DIGITS | {"policy": {"max_tpr": 0.1}}, "a table of keys and values", "0.1"),
        (DIGITS | {"policy": {"max_auc": 0}}, "a number above 0", "0"),
        (DIGITS | {"policy": {"max_auc": 60}}, "a number of at most 1", "60"),
        (DIGITS | {"policy": {"max_exposed": -1}}, "a number of at least 0", "-1"),
        (DIGITS | {"measure": {"fprs": 0.1}}, "a list", "0.1"),
        (DIGITS | {"measure": {"fprs": []}}, "distinct rates between 0 and 1", "[]"),
        (DIGITS | {"measure": {"fprs": [0.1, 0.1]}}, "distinct rates between 0 and 1", "[0.1, 0.1]"),
        (DIGITS | {"measure": {"fprs": [1.0]}}, "distinct rates between 0 and 1", "[1.0]"),
        (DIGITS | {"measure": {"priors": [0.0]}}, "shares of members between 0 and 1", "[0.0]"),
        (DIGITS | {"measure": {"confidence": 95}}, "a number below 1", "95"),
        (DIGITS | {"compute": {"workers": 0}}, "a number of at least 1", "0"),
        (DIGITS | {"compute": {"backend": "dask"}}, "'local' or 'ray'", "'dask'"),
        (DIGITS | {"controls": {"blind": "maybe"}}, "true or false", "'maybe'"),
        ({"data": {"source": "d", "groups": "sex"}}, "a list", "'sex'"),
    ],
)
def test_wrong_values_are_told_as_needed_found_where_and_what_to_do(tree, needed, found):
    (said,) = problems(tree)
    assert re.match(r"[a-z]+(\.[a-z_0-9]+)*: ", said)
    assert needed in said
    assert f"found {found}" in said
    assert re.search(r"Mend it|Write|The first one", said)


def test_missing_sections_and_keys_are_told_with_their_meaning():
    assert problems({}) == ["data: needed, but not given. Add it to the settings."]
    said = problems(DIGITS | {"released": {"model": "m"}})
    assert said == [
        "released.members: needed, but not given. Add it to the settings: a text file with the ids of its training "
        "records, one a line."
    ]


def test_all_problems_are_told_at_once():
    tree = {
        "data": {"pol": 3},
        "seed": "x",
        "references": {"models": 0, "plan": "pear"},
        "policy": {"max_auc": 3},
        "attack": [{"nam": "lira"}],
        "colour": "red",
    }
    assert len(problems(tree)) == 8


def test_an_unreadable_file_is_told_with_the_nearest_one(tmp_path):
    (tmp_path / "adult.toml").write_text("seed = = 3")
    with pytest.raises(SettingsError, match=r"audlt\.toml does not exist\. Did you mean .*adult\.toml"):
        read_settings(tmp_path / "audlt.toml")
    with pytest.raises(SettingsError, match=r"adult\.toml cannot be read: Invalid value \(at line 1"):
        read_settings(tmp_path / "adult.toml")
    (tmp_path / "latin.toml").write_bytes("name = 'caf\xe9'".encode("latin-1"))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "latin.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([*Settings.model_fields, "modles"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["models", "name", "fprs", "max_tpr", "0.1", "source", "x"]), inner, max_size=3
                ),
            ),
            max_leaves=6,
        ),
        max_size=6,
    )
)
def test_no_tree_whatever_is_more_than_a_settings_error(tree):
    told: tuple[str, ...] = ()
    try:
        make_settings(tree)
    except SettingsError as wrong:
        told = wrong.problems
    assert all(p.split(":")[0] and "Value error" not in p for p in told)


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "compute",
    [
        {"backend": "ray"},
        {"backend": "ray", "address": "127.0.0.1:6379"},
        {"backend": "ray", "address": "[::1]:6379", "store": "s3://bucket/run1"},
        {"store": "/mnt/shared/run 1"},
        {"store": "shared"},
        {"store": "file:///mnt/shared"},
        {"store": "memory://run", "workers": 1},
    ],
)
def test_places_where_it_runs(compute):
    made = make_settings(DIGITS | {"compute": compute}).compute
    assert {k: getattr(made, k) for k in compute} == compute


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        ({"address": "a:1"}, "compute.address: an address is used by compute.backend = \"ray\" alone, found 'a:1'"),
        ({"backend": "ray", "address": "auto"}, "compute.address: host:port of a Ray cluster's head is needed"),
        ({"backend": "ray", "address": "ray://head:10001"}, "found 'ray://head:10001'. Write, for example"),
        ({"backend": "ray", "address": "head:0"}, "found 'head:0'"),
        ({"backend": "ray", "address": "head:65536"}, "found 'head:65536'"),
        ({"backend": "ray", "address": ":6379"}, "found ':6379'"),
        ({"store": ""}, "compute.store: a folder or a URL without a password is needed, found ''"),
        ({"store": "file://mnt/shared"}, 'Write, for example, "/mnt/shared/run1", "file:///mnt/shared/run1"'),
        ({"store": "memory://run", "workers": 2}, "compute.store: a store that all workers see is needed"),
        ({"store": "memory://run", "workers": 1, "backend": "ray"}, "is in the memory of one process"),
    ],
)
def test_places_that_cannot_be_used_are_told(compute, said):
    with pytest.raises(SettingsError) as told:
        make_settings(DIGITS | {"compute": compute})
    assert said in str(told.value)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SettingsError, match=r"found 'ftp://me:\*\*\*@host/run'") as told:
        make_settings(DIGITS | {"compute": {"store": "ftp://me:secret@host/run"}})
    assert "secret" not in str(told.value)
