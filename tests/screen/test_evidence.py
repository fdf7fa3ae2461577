"""What evidence refuses: a candidate in the reference pool, half a pair, models that differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from locard.data.records import Records
from locard.errors import DataError
from locard.observe.traces import Traces
from locard.screen.evidence import Evidence, Observed


def test_a_candidate_in_the_reference_pool_is_refused_by_its_id(evidence):
    e = evidence(records=5, pool=8)
    records = e.pool.records
    ids = records.ids.copy()
    ids[6] = "c3"
    twice = Records(ids=ids, features=records.features, labels=records.labels, known_classes=np.arange(3))
    with pytest.raises(DataError, match=r"1 are in both \(record 'c3'\)"):
        replace(e, pool=Observed(twice, e.pool.references))


def test_a_unit_on_both_sides_is_refused(evidence):
    e = evidence(records=5, pool=8)

    def of(seen, unit):
        r = seen.records
        return Observed(
            Records(ids=r.ids, features=r.features, labels=r.labels, known_classes=np.arange(3), unit=unit),
            seen.references,
        )

    with pytest.raises(DataError, match=r"2 are in both \(record 'c0'\)"):
        replace(e, candidates=of(e.candidates, [7, 1, 2, 7, 3]), pool=of(e.pool, np.arange(7, 15)))
    assert replace(e, candidates=of(e.candidates, np.arange(5)), pool=of(e.pool, np.arange(7, 15))).own is None


def test_half_a_pair_does_not_screen(evidence):
    """A target that leaves without its partner would leave the number of IN references to tell where it was."""
    e = evidence(records=9, models=6)
    refs = e.candidates.references
    assert replace(
        e, candidates=Observed(e.candidates.records, refs.without([2, 3]))
    ).candidates.references.models.tolist() == [0, 1, 4, 5]
    with pytest.raises(DataError, match=r"1 have lost their partner \(model 3\)"):
        replace(e, candidates=Observed(e.candidates.records, refs.without([2])))


def test_candidates_and_pool_are_seen_by_the_same_models(evidence):
    e = evidence(records=5, pool=8, models=6)
    fewer = Observed(e.pool.records, e.pool.references.only([0, 1, 2, 3]))
    with pytest.raises(DataError, match="seen by the same references, found 6 and 4 models"):
        replace(e, pool=fewer)


def test_all_problems_are_told_at_once(evidence):
    e = evidence(records=5, pool=8, models=6)
    fewer = Observed(e.pool.records, e.pool.references.only([0, 1]))
    with pytest.raises(DataError) as told:
        Evidence(candidates=e.candidates, pool=fewer, training_size=0, traces=np.zeros((6, 5)))
    assert [p.split(":")[0] for p in told.value.problems] == ["training_size", "screening", "traces"]


def test_answers_of_other_records_are_refused(evidence):
    e = evidence(records=5, pool=8)
    with pytest.raises(DataError, match="answers and raw features for each of 5 records are needed"):
        Observed(e.candidates.records, e.candidates.references, np.zeros((4, 2)))


def test_expected_neighbours_are_counted_in_the_targets_training_set(evidence):
    """N / N', with N' the reference records: one half where the candidates are the pool and a target holds half."""
    assert evidence(records=12).ratio == 0.5
    assert evidence(records=5, pool=90).ratio == pytest.approx(1 / 3)
    assert isinstance(replace(evidence(records=5, pool=9), traces=np.zeros((6, 5, 2))).traces, Traces)
