"""Goldens of the real sets, made by ``locard.data.public.load(name)``; counts agree with the sets' documentation."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from locard.data import public
from locard.data.archives import content
from locard.data.catalogue import KEEL, SETS
from locard.data.public import load, public_sets
from locard.errors import DataError

MAIN = (
    "digits breast_cancer adult compas german wisconsin mnist-5k census-income fashion-mnist grants".split()  # noqa: SIM905
)
KEEL_NAMES = [s.name for s in public_sets() if s.archive == KEEL]
GOLDEN = {  # records of each class, missing values, sum of all numbers and codes, first ids, last id
    "digits": ([178, 182, 177, 183, 181, 182, 181, 179, 174, 180], 0, 561718.0, [0, 1, 2], 1796),
    "breast_cancer": ([357, 212], 0, 1056474.4596356, [0, 1, 2], 568),
    "adult": ([37155, 11687], 6465, 9327985114.0, [0, 1, 2], 48841),
    "compas": ([3963, 3251], 358, 2284145.0, [1, 3, 4], 11001),
    "german": ([300, 700], 0, 3355109.0, [0, 1, 2], 999),
    "wisconsin": ([458, 241], 16, 19670.0, [1, 2, 3], 699),
    "mnist-5k": ([500] * 10, 0, 131267102.0, [0, 1, 2], 4999),
    "census-income": ([280717, 18568], 624096, 832430621.08, [0, 1, 2], 299284),
    "fashion-mnist": ([7000] * 10, 0, 4004583251.0, [0, 1, 2], 69999),
    "grants": ([3803, 4387], 0, 4342291.0, [1, 2, 3], 8703),
}


@pytest.mark.network
@pytest.mark.parametrize("name", MAIN)
def test_golden(public_set, name):
    r, chosen = public_set(name), SETS[name]
    classes, missing, total, first, last = GOLDEN[name]
    assert (len(r), r.features[0].size, len(r.classes)) == (chosen.records, chosen.features, chosen.classes)
    assert np.bincount(r.y).tolist() == classes
    assert int(np.isnan(r.features).sum()) == missing
    assert np.nansum(r.features, dtype=np.float64) == pytest.approx(total, rel=1e-9)
    assert r.ids[:3].tolist() == first
    assert r.ids[-1] == last
    assert r.notes or name in ("breast_cancer",)


@pytest.mark.network
def test_adult_is_108_columns_wide_when_one_hot(public_set):
    r = public_set("adult")
    missing = np.isnan(r.features).any(axis=0)
    wide = sum(1 if c.kind == "number" else len(c.levels) + gone for c, gone in zip(r.columns, missing, strict=True))
    assert wide == 108  # a missing category is a level of its own
    assert "missing values: occupation 2,809, workclass 2,799, native_country 857." in r.notes
    workclass = next(c for c in r.columns if c.name == "workclass")
    assert "?" not in workclass.levels
    first = dict(zip([c.name for c in r.columns], r.features[0], strict=True))
    assert (first["age"], first["fnlwgt"], workclass.levels[int(first["workclass"])]) == (39.0, 77516.0, "State-gov")
    assert r.features[32561, 0] == 25.0  # the first record of the test part: its header line is no record


@pytest.mark.network
def test_wisconsin_moves_by_sample(public_set):
    assert public_set("wisconsin").n_units == 645


@pytest.mark.network
def test_compas_has_nothing_that_names_or_foretells(public_set):
    names = {c.name for c in public_set("compas").columns}
    assert not {n for n in names if n.startswith(("r_", "vr_", "v_", "decile", "score", "is_")) or "date" in n}
    assert not names & {"name", "first", "last", "dob", "id", "two_year_recid", "start", "end", "event", "in_custody"}


@pytest.mark.network
def test_a_set_that_the_census_marks_na_keeps_it_as_an_answer(public_set):
    levels = {c.name: c.levels for c in public_set("census-income").columns}
    assert "NA" in levels["hispanic_origin"]
    assert len(levels["industry_code"]) == 52


@pytest.mark.network
def test_every_line_of_the_keel_table_is_what_the_archive_holds(public_set):
    public_set("magic")
    for name in KEEL_NAMES:
        r, chosen = load(name), SETS[name]
        assert (len(r), r.features.shape[1], len(r.classes)) == (chosen.records, chosen.features, chosen.classes), name
    assert len(KEEL_NAMES) == 43
    assert "keel-german" in KEEL_NAMES
    assert "keel-wisconsin" in KEEL_NAMES


@pytest.mark.network
def test_columns_of_a_named_table_take_roles(public_set):
    public_set("adult")
    r = load("adult", groups=["sex", "race"], drop=["fnlwgt", "race"])
    assert sorted(r.groups) == ["race", "sex"]
    assert [c.name for c in r.columns if c.name in ("sex", "race", "fnlwgt")] == ["sex"]
    other = load("adult", label="sex", weight="fnlwgt")
    assert other.classes.tolist() == ["Female", "Male"]
    assert "income" in [c.name for c in other.columns]
    with pytest.raises(DataError, match=r"adult: groups: a column of the table is needed, found 'gender'"):
        load("adult", groups=["gender"])


def test_roles_do_not_apply_to_arrays():
    with pytest.raises(DataError) as caught:
        load("digits", label="target", groups=["a"])
    assert caught.value.problems == (
        "data.label: it applies to tables only, and 'digits' holds arrays. Leave it out.",
        "data.groups: it applies to tables only, and 'digits' holds arrays. Leave it out.",
    )


def test_the_table_of_sets_is_complete():
    assert [s.name for s in public_sets()][: len(MAIN)] == MAIN
    for s in public_sets():
        assert s.records > 100
        assert s.classes >= 2
        assert s.licence
        assert s.title
        assert (s.archive is None) == (not s.members)
        assert all(len(m.sha256) == 64 for m in s.members)
        assert "://" not in repr(s)


def test_built_in_sets_have_a_folder_and_need_no_fetching(capsys):
    assert public.fetch("digits").is_dir()
    assert capsys.readouterr().err == ""


@pytest.mark.network
def test_what_is_cached_is_byte_for_byte_what_the_archive_holds(public_set):
    public_set("adult")
    chosen = SETS["adult"]
    folder = public.fetch("adult")
    assert all(content(folder / m.name, m) is not None for m in chosen.members)
    assert not zipfile.is_zipfile(folder / chosen.members[0].name)
