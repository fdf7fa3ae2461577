from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locard.report.numbers import p_value, percent, precise, shown
from locard.result import Number


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_is_printed_reads_back_near_the_value_and_keeps_its_order(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    number = Number(value=value, low=low, high=high)
    for text, scale, step in ((shown(number, "share"), 100.0, 0.1), (shown(number, "score"), 1.0, 0.001)):
        middle, first, last = (float(x) for x in re.findall(r"\d+\.?\d*", text))
        assert first <= middle <= last
        for said, meant in ((middle, value), (first, low), (last, high)):
            assert abs(said - meant * scale) <= step / 2 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (Number(value=0.013, low=0.009, high=0.018), "share", "1.3 % [0.9 %, 1.8 %]"),
        (Number(value=0.0055, low=0.0036, high=0.0073), "share", "0.55 % [0.36 %, 0.73 %]"),
        (Number(value=0.0, low=0.0, high=0.0021), "share", "0.00 % [0.00 %, 0.21 %]"),
        (Number(value=0.566, low=0.551, high=0.58), "score", "0.566 [0.551, 0.580]"),
        (Number(value=0.99996, low=0.9999, high=1.0), "score", "0.99996 [0.99990, 1.00000]"),
        (Number(value=0.012, low=-0.003, high=0.027), "difference", "+0.012 [-0.003, +0.027]"),
        (Number(value=5001.25, low=4888, high=5102), "count", "5,001.2 [4,888, 5,102]"),
        (Number(value=0.5), "score", "0.500"),
        (Number(value=None, reason="not resolvable: few"), "share", "not measured: not resolvable: few"),
    ],
)
def test_formats(number: Number, kind: str, text: str) -> None:
    assert shown(number, kind) == text  # type: ignore[arg-type]


def test_an_interval_never_looks_empty_where_it_is_not() -> None:
    assert shown(Number(value=0.50001, low=0.49999, high=0.50003)) == "0.50001 [0.49999, 0.50003]"


def test_a_reason_is_not_introduced_twice() -> None:
    number = Number(value=None, reason="not resolvable: 50 non-members")
    assert shown(number, undefined="not resolvable") == "not resolvable: 50 non-members"
    assert precise(number) == "not resolvable: 50 non-members"


def test_percentages_and_p_values() -> None:
    assert [percent(v) for v in (0, 1e-4, 0.025, 0.975, 1)] == ["0 %", "0.01 %", "2.5 %", "97.5 %", "100 %"]
    assert [p_value(v) for v in (1.0, 0.05, 1e-5, 0.0, float("nan"))] == ["1", "0.05", "1.0e-05", "0", "–"]
