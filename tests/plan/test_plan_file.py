"""``plan.safetensors``: written and read back the same, and a damaged one is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.data.split import Split
from locard.errors import StoreMismatch
from locard.plan.draw import draw_plan
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ReferenceSettings


@pytest.fixture(params=["pairs", "coin_flips", "subsample", "out_only"])
def plan(request, records) -> Plan:
    split = Split(np.arange(30), np.arange(50, 60))
    wanted = ReferenceSettings(models=4, plan=request.param, size=10)
    return draw_plan(wanted, records(60), split, seed=Seed(5), targets=4)


def test_a_plan_reads_back_the_same(plan, tmp_path):
    path = tmp_path / "plan.safetensors"
    path.write_bytes(plan.to_bytes())
    again = Plan.from_file(str(path))
    assert again.fingerprint == plan.fingerprint
    assert (again.design, again.role) == (plan.design, plan.role)
    assert np.array_equal(again.member, plan.member)
    assert np.array_equal(again.partner, plan.partner)
    assert all(np.array_equal(a, b) for a, b in zip(again.train_index, plan.train_index, strict=True))
    assert plan.to_bytes() == again.to_bytes()


def test_a_missing_or_cut_file_is_named(plan, tmp_path):
    path = tmp_path / "plan.safetensors"
    with pytest.raises(StoreMismatch, match=r"plan\.safetensors cannot be read"):
        Plan.from_file(str(path))
    data = plan.to_bytes()
    for length in (0, 5, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(StoreMismatch, match="whole plan file is needed"):
            Plan.from_file(str(path))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory, where, bit):
    plan = Plan(
        "pairs",
        np.arange(6),
        (np.array([0, 2, 5]), np.array([1, 3, 4])),
        ("both", "both"),
        np.array([1, 0]),
    )
    data = bytearray(plan.to_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("plan") / "plan.safetensors"
    path.write_bytes(bytes(data))
    with pytest.raises(StoreMismatch, match="Remove it and run again"):
        Plan.from_file(str(path))


def test_the_fingerprint_follows_every_part(plan):
    from dataclasses import replace

    other = [
        replace(plan, design="else"),
        replace(plan, audited=plan.audited[::-1]),
        replace(plan, train_index=(plan.train_index[0][1:], *plan.train_index[1:])),
        replace(plan, role=("reference", *plan.role[1:]) if plan.role[0] != "reference" else ("both", *plan.role[1:])),
        replace(plan, partner=np.roll(plan.partner, 1) + 1),
    ]
    assert len({p.fingerprint for p in (plan, *other)}) == 6
