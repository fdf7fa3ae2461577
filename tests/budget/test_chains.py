"""What an indirect attack is foretold to take: arithmetic that can be redone by hand."""

from __future__ import annotations

import pytest

from locard.attacks.gmia_indirect import GMIAIndirect
from locard.budget.chains import QUERY_SECONDS, chain_costs, chain_lines


def test_counts_times_seconds():
    """20 references choose, 40 test; 5 passes of 100 steps; a fit takes 2 s, an answer 1 ms; 10 targets are asked."""
    work = GMIAIndirect(queries=100, clusters=8, strongest=30, optimise=25).work(20, 40, passes=5, steps=500)
    (cost,) = chain_costs([("gmia_indirect", 3, 9, work)], fit_seconds=2.0, ask_seconds=0.001, targets=10)
    taught = 2 * 20 * 5 / 500 * 2.0  # two branches of 20 references take 5 steps each
    answered = (20 * (3 * (100 + 8) + 30) + 40 * 8 + 10 * 8) * 0.001
    assert cost.seconds == pytest.approx(taught + answered + 100 * QUERY_SECONDS)
    assert cost.most_seconds - cost.seconds == pytest.approx(2 * 20 * 25 / 500 * 2.0)
    assert cost.queries == 8 * (3 + 9)
    assert cost.total_seconds == pytest.approx(12 * cost.seconds)
    assert "for each of 3 records and 9 that calibrate" in chain_lines([cost])[0]


@pytest.mark.parametrize(("passes", "given", "steps"), [(300, None, 100), (20, None, 20), (20, 7, 7)])
def test_lessons_are_as_long_as_references_are_taught(passes, given, steps):
    work = GMIAIndirect(lesson_steps=given).work(1, 2, passes=passes, steps=1000)
    assert work.fits == pytest.approx(2 * steps / 1000)
