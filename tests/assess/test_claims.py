"""The table of claims: counts as loops, alignment by id, what cannot be resolved, and leave-one-pair-out claims."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from locard.assess.claims import CUT_OFFS, claim_targets, claims_table, in_order
from locard.attacks.gmia import GMIA
from locard.errors import DataError
from locard.plan.designs import out_only
from locard.result import ClaimsPart
from locard.seeds import Seed
from locard.stats import ratio_over_pairs
from locard.types import Claims


def made(p_raw, p_cal, *, ids=None, tested=None, calibration=999):
    """Claims with these p-values."""
    raw, cal = np.asarray(p_raw, dtype=float), np.asarray(p_cal, dtype=float)
    mask = np.ones(len(raw), dtype=bool) if tested is None else np.asarray(tested)
    return Claims(
        ids=np.array([f"r{i}" for i in range(len(raw))]) if ids is None else np.asarray(ids),
        tested=mask,
        p_rank=np.where(mask, raw, np.nan),
        p_tail=np.where(mask, raw, np.nan),
        p_raw=np.where(mask, raw, np.nan),
        p_cal=np.where(mask, cal, np.nan),
        p_adjusted=np.where(mask, cal, np.nan),
        claimed=mask & (cal <= 0.05),
        references=np.full(len(raw), 9),
        calibration=calibration,
        promises={},
    )


def drawn(seed=0, targets=12, records=30):
    """Random claims of ``targets`` targets in pairs, a third of the records untested."""
    rng = np.random.default_rng(seed)
    coin = rng.random((targets // 2, records)) < 0.5
    member = np.stack([coin, ~coin], axis=1).reshape(targets, records)
    p = rng.random((2, targets, records)) ** np.where(member, 6, 1)
    tested = np.arange(records) % 3 > 0
    claims = [made(p[0, t], p[1, t], tested=tested) for t in range(targets)]
    return claims, claims[0].ids, member, np.arange(targets) // 2


def test_the_counts_equal_the_loop():
    claims, ids, member, pair = drawn()
    table = claims_table(claims, ids, member, pair, factor=1.0)
    assert [(r.p, r.calibrated) for r in table] == [(p, c) for c in (False, True) for p in CUT_OFFS]
    for row in table:
        true, false, inside, outside, silent = (np.zeros(12, dtype=int) for _ in range(5))
        for t, c in enumerate(claims):
            for r in np.flatnonzero(c.tested):
                small = (c.p_cal if row.calibrated else c.p_raw)[r] <= row.p
                true[t] += small and member[t, r]
                false[t] += small and not member[t, r]
                inside[t] += member[t, r]
                outside[t] += not member[t, r]
                silent[t] += not small
        assert (row.true_claims, row.false_claims, row.abstentions) == (true.sum(), false.sum(), silent.sum())
        assert row.selected == 20
        for name, part, whole in (
            ("precision", true, true + false), ("recall", true, inside), ("realised FPR", false, outside),
        ):  # fmt: skip
            expected = ratio_over_pairs(part, whole, pair, what=name)
            assert getattr(row, name.lower().replace(" ", "_")) == expected
        assert row.true_claims + row.false_claims + row.abstentions == 12 * 20


def test_claims_are_matched_by_id_and_by_nothing_else():
    """Each target's claims in an order of their own, and with records missing: the table is the same.

    Planted and seen to fail: ``in_order`` that gives its claims back as they are.
    """
    claims, ids, member, pair = drawn(1)
    rng = np.random.default_rng(2)
    moved = []
    for c in claims:
        order = rng.permutation(len(ids))
        order = order[c.tested[order] | (rng.random(len(ids)) < 0.5)]  # some untested records are not even there
        columns = {k: v[order] for k, v in c.columns().items() if k != "id"}
        moved.append(replace(c, ids=c.ids[order], **columns))
    assert claims_table(moved, ids, member, pair) == claims_table(claims, ids, member, pair)
    lost = [in_order(c, np.append(ids, "new")) for c in moved]
    assert not any(c.tested[-1] or c.claimed[-1] for c in lost)
    assert all(math.isnan(c.p_cal[-1]) for c in lost)
    assert in_order(claims[0], ids) is claims[0]


def test_ids_that_repeat_name_nobody():
    twice = made([0.1, 0.2], [0.1, 0.2], ids=["a", "a"])
    assert in_order(twice, ["a", "a"]) is twice
    with pytest.raises(DataError, match="ids: each record's own id is needed to bring 2 claims"):
        in_order(twice, ["a", "b"])
    with pytest.raises(DataError, match="found ids that repeat"):
        in_order(made([0.1], [0.1]), ["r0", "r0"])


def test_what_too_few_calibration_records_cannot_say():
    claims, ids, member, pair = drawn(3)
    few = [replace(c, calibration=98) for c in claims]
    table = {(r.p, r.calibrated): r for r in claims_table(few, ids, member, pair)}
    assert table[0.1, True].recall.value is not None
    for p in (0.01, 0.001):
        assert table[p, True].recall.reason == ("not resolvable: with 98 calibration records no p-value is below 1/99")
        assert table[p, False].recall.value is not None
    enough = [replace(c, calibration=99) for c in claims]
    assert claims_table(enough, ids, member, pair)[4].recall.value is not None
    none = [replace(c, calibration=0, p_cal=np.full(30, np.nan)) for c in claims]
    row = claims_table(none, ids, member, pair)[3]
    assert row.precision.reason == row.realised_fpr.reason == "no calibration records: nothing is calibrated"
    assert (row.true_claims, row.false_claims, row.abstentions) == (0, 0, 240)


def test_rows_become_nodes_of_the_result():
    claims, ids, member, pair = drawn(4)
    part = claims_table(claims, ids, member, pair)[0].part()
    assert isinstance(part, ClaimsPart)
    told = part.model_dump(mode="json")
    counts = ["p", "calibrated", "calibration", "selected", "true_claims", "false_claims", "abstentions"]
    assert list(told) == [*counts, "precision", "recall", "realised_fpr"]
    assert set(told["precision"]) == {"value", "low", "high", "confidence", "method", "n"}
    assert ClaimsPart.model_validate(told) == part
    assert claims_table(claims, ids, member, pair)[3].part("population").calibration == "population"


def test_what_is_refused():
    claims, ids, member, pair = drawn(5)
    for wrong in ((claims[1:], ids, member, pair), (claims, ids[1:], member, pair), ([], ids, member[:0], pair[:0])):
        with pytest.raises(DataError, match="claims, member, pair: one a target"):
            claims_table(*wrong)


# -- leave one pair out ------------------------------------------------------------------------------------------------


def test_every_target_is_claimed_on_its_own(world):
    audited = world(models=10, records=80, leak=4.0, seed=6)
    selected = np.arange(80) % 2 == 0
    claims = claim_targets(GMIA(), audited, selected=selected)
    assert len(claims) == 10
    for t, c in enumerate(claims):
        assert list(c.ids) == list(audited.records.ids)
        assert (c.tested == selected).all()
        assert c.calibration == (selected & ~audited.plan.member[t]).sum()
        assert set(c.references) == {4}
    again = claim_targets(GMIA(), audited, selected=selected, targets=[3])
    np.testing.assert_array_equal(again[0].p_cal, claims[3].p_cal)
    outsider = claim_targets(GMIA(), audited, selected=selected, owner=False)
    assert all(c.calibration == 0 for c in outsider)


def test_a_leak_is_claimed_rightly_and_its_rate_kept(world):
    """16 models, every record leaking 6 sd: calibrated precision at .1 near TPR / (TPR + FPR), realised FPR at most .1.

    With own non-members as calibration the realised rate is at most nominal by construction, so the check that means
    something calibrates on the population alone.
    """
    audited = world(models=16, records=400, leak=6.0, population=300, seed=7)
    claims = claim_targets(GMIA(), audited, owner=False)
    assert all(c.calibration == 300 for c in claims)
    row = next(r for r in claims_table(claims, audited.records.ids, audited.member, audited.plan.pair) if r.calibrated)
    assert row.recall.value > 0.9
    assert row.precision.low < row.recall.value / (row.recall.value + 0.1) < row.precision.high + 0.02
    assert row.realised_fpr.low <= 0.1
    owner = claims_table(claim_targets(GMIA(), audited), audited.records.ids, audited.member, audited.plan.pair)
    assert all(r.realised_fpr.value <= r.p for r in owner if r.calibrated and r.realised_fpr.value is not None)


def test_references_that_hold_nobody(world, records):
    """out_only: targets in pairs, references from a pool apart; all references are OUT, and no rng is drawn."""
    people = records(400, seed=8, classes=3)
    plan = out_only(
        people, np.arange(100), models=9, targets=8, outside=np.arange(150, 400), size=60, replace=True, seed=Seed(8)
    )
    audited = world(plan, leak=5.0, population=60, seed=8)
    claims = claim_targets(GMIA(), audited)
    assert len(claims) == 8
    assert all(set(c.references) == {9} for c in claims)
    table = claims_table(claims, audited.records.ids, audited.member, audited.plan.pair, factor=1.0)
    assert table[3].recall.value > 0.5
    assert table[3].realised_fpr.method.endswith("c=1")
