"""Randomness by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.seeds import Seed

STEPS = st.lists(st.one_of(st.text(max_size=6), st.text("/\\:str17", max_size=8), st.integers(-5, 99)), max_size=4)


def draws(seed: Seed) -> list[int]:
    return seed.generator().integers(2**60, size=3).tolist()


def test_the_same_path_gives_the_same_numbers_whatever_was_drawn_before():
    first = draws(Seed(7).child("reference", 17))
    np.random.default_rng(0).random(100)
    Seed(7).child("reference", 3).generator().random(100)
    assert draws(Seed(7).child("reference").child(17)) == first
    assert Seed(7).child("reference", np.int64(17)).integer() == Seed(7).child("reference", 17).integer()


@settings(derandomize=True, deadline=None, max_examples=400)
@given(STEPS, STEPS, st.integers(-3, 3), st.integers(-3, 3))
def test_different_paths_give_unrelated_numbers(one, other, a, b):
    """Also where a name holds what ends a name (found: "x/str:y" was the same place as "x", "y")."""
    same = a == b and [(type(s), s) for s in one] == [(type(s), s) for s in other]
    first, second = Seed(a).child(*one), Seed(b).child(*other)
    assert (draws(first) == draws(second)) is same
    assert (first.integer() == second.integer()) is same


def test_a_name_cannot_pass_for_two_steps():
    assert Seed(1).child("a/str:b").integer() != Seed(1).child("a", "b").integer()
    assert Seed(1).child("17").integer() != Seed(1).child(17).integer()


def test_another_process_draws_the_same():
    code = "from locard.seeds import Seed; print(Seed(3).child('model', 'both', 5).integer())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == Seed(3).child("model", "both", 5).integer()


def test_integers_are_what_libraries_take():
    values = [Seed(0).child(i).integer() for i in range(200)]
    assert min(values) >= 0
    assert max(values) < 2**31
    assert len(set(values)) == 200
