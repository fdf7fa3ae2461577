"""How many records are selected, which of those that tie, and what the same rule says of other records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.screen import screen
from locard.screen.protocol import Above, Fraction, Top, Valued
from locard.screen.screened import _chosen, _ranks, run_screen
from locard.screen.ties import tie_breaks

QUICK = settings(derandomize=True, deadline=None, max_examples=80)
VALUES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=12).map(np.array)


def picked(value, rule, ids=None):
    ids = np.array([f"r{i}" for i in range(len(value))], dtype=object) if ids is None else ids
    return _chosen(value, tie_breaks(ids), rule)


@QUICK
@given(VALUES, st.integers(1, 14))
def test_the_top_are_so_many_and_none_left_out_is_larger(value, count):
    selected, bar = picked(value, Top(count))
    assert selected.sum() == min(count, len(value))
    assert (bar is None) == (count >= len(value))
    if bar is not None:
        assert value[selected].min() >= value[~selected].max() == bar[0]


@QUICK
@given(VALUES, st.floats(0.01, 1))
def test_a_fraction_is_rounded_down_and_at_least_one(value, share):
    assert picked(value, Fraction(share))[0].sum() == max(1, int(share * len(value)))


@QUICK
@given(VALUES, st.sampled_from([-2.0, -1.0, 0.0, 0.25, 2.0]))
def test_above_is_strict(value, bar):
    assert picked(value, Above(bar))[0].tolist() == [v > bar for v in value]


@QUICK
@given(VALUES)
def test_ranks_are_those_of_the_definition(value):
    assert _ranks(value).tolist() == [1 + sum(w > v for w in value) for v in value]


@QUICK
@given(VALUES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_which_of_those_that_tie_does_not_depend_on_their_order(value, count, random):
    ids = np.array([f"r{i}" for i in range(len(value))], dtype=object)
    order = list(range(len(value)))
    random.shuffle(order)
    one, two = picked(value, Top(count), ids)[0], picked(value[order], Top(count), ids[order])[0]
    assert set(ids[one]) == set(ids[order][two])


def test_ties_are_as_good_as_drawn_at_random():
    """Of 4,000 equal records 1,000 are taken: hits among the first half of the ids are hypergeometric (5 standard
    deviations: flake 6e-7; power against taking the first ones: certain)."""
    ids = np.array([f"person-{i:05d}" for i in range(4000)], dtype=object)
    selected, _ = picked(np.zeros(4000), Top(1000), ids)
    assert abs(int(selected[:2000].sum()) - 500) < 5 * np.sqrt(1000 * 0.25 * 3000 / 3999)
    assert len(np.unique(tie_breaks(ids))) == 4000


@pytest.mark.parametrize("rule", [Top(4), Fraction(0.3), Above(0.4)])
def test_the_same_rule_for_others_selects_what_lies_above_every_candidate_left_out(evidence, rule):
    """The swap rule: another record is selected if, put in the place of a selected candidate, it would be."""
    e = evidence(records=20, pool=9)
    found = run_screen(screen("reference_loss"), e, select=rule)
    rng = np.random.default_rng(0)
    value = np.concatenate([rng.choice(found.value, 30), rng.normal(1, 1, 30)])
    ids = np.array([f"o{i}" for i in range(60)])
    would = found.would_select(value, ids)
    if isinstance(rule, Above):
        assert would.tolist() == (value > 0.4).tolist()
        return
    for place in np.flatnonzero(found.selected):
        for i in range(60):
            swapped, names = found.value.copy(), found.ids.copy()
            swapped[place], names[place] = value[i], ids[i]
            assert would[i] == picked(swapped, rule, names)[0][place]


def test_all_selected_would_select_anything(evidence):
    found = run_screen(screen("reference_loss"), evidence(records=4, pool=9), select=Top(9))
    assert found.selected.all()
    assert found.would_select([-np.inf, 0.0], ["a", "b"]).all()


@pytest.mark.parametrize("wrong", [lambda: Top(0), lambda: Fraction(0), lambda: Fraction(1.5)])
def test_impossible_selections_are_refused(wrong):
    with pytest.raises(SettingsError, match=r"screen\.select\.\w+: .* is needed, found"):
        wrong()


def test_without_a_word_the_screens_own_rule_selects_else_the_top_20(evidence):
    e = evidence(records=40, pool=60)
    own = run_screen(screen("neighbours", share=0.1), e)
    assert own.selected.tolist() == (own.columns["expected"] < own.settled["beta"]).tolist()
    assert 0 < own.selected.sum() < 40
    assert run_screen(screen("reference_loss"), e).selected.sum() == 20


def test_neighbours_shown_are_nearest_first_and_never_the_record_itself(evidence):
    e = evidence(records=30, grid=False)
    found = run_screen(screen("neighbours", delta=0.3), e, select=Top(6), shown=4)
    for name, near, d in zip(found.ids[found.selected], found.nearest_ids, found.nearest.distance, strict=True):
        assert name not in near
        assert len(near) == 4
        assert (np.diff(d) >= 0).all()
    place = int(np.flatnonzero(found.selected)[0])
    nearest = np.sort(found.nearest.distance[0])[0]
    if found.columns["count"][place] == 0:
        assert nearest == found.columns["beyond"][place]


def test_one_row_a_candidate(evidence):
    found = run_screen(screen("combined"), evidence(records=60, models=8), select=Top(3))
    frame = found.to_frame()
    assert frame.columns.tolist()[:7] == ["id", "label", "value", "rank", "selected", "neighbours", "reasons"]
    assert frame["id"].tolist() == found.ids.tolist()
    assert isinstance(frame, pd.DataFrame)
    chosen = frame[frame["selected"]]
    assert chosen["reasons"].tolist() == list(found.reasons)
    assert frame[~frame["selected"]]["neighbours"].isna().all()
    assert [n["id"] for n in chosen["neighbours"].iloc[0]] == list(found.nearest_ids[0])
    assert repr(found).endswith("3 of 60 selected)")


class NotANumber:
    reads, references = "nothing", 0

    def value(self, evidence, *, rng=None):
        return Valued(np.full(len(evidence.candidates.records), np.nan))


def test_a_screen_that_does_not_give_numbers_is_stopped(evidence):
    with pytest.raises(ArithmeticError, match=r"one number for each of 6 records, found shape \(6,\) with 6 NaN"):
        run_screen(NotANumber(), evidence(records=6, pool=3))
