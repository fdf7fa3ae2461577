"""How numbers are printed: 1.3 % [0.9 %, 1.8 %], 0.566 [0.551, 0.580]; what is undefined says so and why."""

from __future__ import annotations

import math
from typing import Literal

from locard.result import Number

Kind = Literal["share", "score", "count", "difference", "plain"]


def thousands(value: float) -> str:
    """A count with separators; one that is not whole keeps one decimal.

    >>> thousands(12345), thousands(2500.25)
    ('12,345', '2,500.2')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(share: float, places: int | None = None) -> str:
    """A share as a percentage: three figures without trailing zeros, or a given number of decimals.

    Only 1 prints as 100 % and only 0 as 0 %.

    >>> percent(0.05), percent(0.001), percent(0.01304, 1), percent(0.99999)
    ('5 %', '0.1 %', '1.3 %', '99.999 %')
    """
    percentage = share * 100
    if places is None:
        places = max(0, min(9, 2 - math.floor(math.log10(abs(percentage))))) if percentage else 0
        while places < 9 and share < 1 and round(percentage, places) == 100:
            places += 1
        text = f"{percentage:.{places}f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
    return f"{percentage:.{places}f} %"


def shown(number: Number, kind: Kind = "score", *, undefined: str = "not measured", why: bool = True) -> str:
    """A number with its interval, as a reader sees it.

    Args:
        number: from the result.
        kind: ``share`` prints percentages, ``score`` three decimals, ``count`` separators, ``difference`` a sign.
        undefined: the words for a number without a value.
        why: whether the reason of such a number follows its words.

    >>> shown(Number(value=0.0131, low=0.0092, high=0.0182, confidence=0.95), "share")
    '1.3 % [0.9 %, 1.8 %]'
    >>> shown(Number(value=None, reason="only 3 pairs"), undefined="not resolvable")
    'not resolvable: only 3 pairs'
    """
    if number.value is None:
        reason = (number.reason or "no reason was recorded").removeprefix(f"{undefined}: ")
        return f"{undefined}: {reason}" if why else undefined
    ends = [v for v in (number.low, number.high) if v is not None]
    value, *rest = _together([number.value, *ends], kind)
    if number.low is not None and number.high is None:
        return f"≥ {rest[0]}"
    return f"{value} [{rest[0]}, {rest[1]}]" if len(rest) == 2 else value


def precise(number: Number) -> str:
    """Everything known about a number, at full precision: for a title attribute.

    >>> precise(Number(value=0.25, low=0.2, high=0.3, confidence=0.95, method="t over 8 pairs, c=1", n=8))
    '0.25 [0.2, 0.3]; confidence 0.95; t over 8 pairs, c=1; n = 8'
    """
    if number.value is None:
        return number.reason or "no reason was recorded"
    ends = (
        "" if number.low is None else f" [{number.low!r}, {'no upper end' if number.high is None else number.high!r}]"
    )
    parts = [f"{number.value!r}{ends}"]
    if number.confidence is not None:
        parts.append(f"confidence {number.confidence!r}")
    if number.method:
        parts.append(number.method)
    if number.n is not None:
        parts.append(f"n = {number.n}")
    if number.reason:
        parts.append(number.reason)
    return "; ".join(parts)


def p_value(p: float | None) -> str:
    """A p-value to two figures; none is a dash.

    >>> p_value(0.0312), p_value(2e-7), p_value(None)
    ('0.031', '2.0e-07', '–')
    """
    if p is None or math.isnan(p):
        return "–"
    return f"{p:.1e}" if 0 < p < 1e-4 else f"{p:.2g}"


def _together(values: list[float], kind: Kind) -> list[str]:
    """The estimate and its ends with the same number of decimals, enough to tell them apart."""
    if kind == "count":
        return [thousands(round(v, 1)) for v in values]
    if kind == "plain":
        return [f"{v:.4g}" for v in values]
    scaled = [v * 100.0 for v in values] if kind == "share" else values
    places = base = _places(scaled) if kind == "share" else 3
    while places < base + 4 and _blurred(scaled, places):
        places += 1
    sign = "+" if kind == "difference" else ""
    texts = [_tidy(f"{v:{sign}.{places}f}") for v in scaled]
    return [f"{t} %" for t in texts] if kind == "share" else texts


def _places(percentages: list[float]) -> int:
    """One decimal from 1 % on, and one more for each power of ten below (of the estimate, or of its upper end)."""
    size = abs(percentages[0]) or max(abs(v) for v in percentages)
    return 1 if size >= 1 or size == 0 else min(6, 1 + math.ceil(-math.log10(size) - 1e-9))


def _blurred(values: list[float], places: int) -> bool:
    """True where rounding hides a difference between the estimate and an end, or turns a positive value into 0."""
    rounded = [round(v, places) for v in values]
    hidden = any(r == rounded[0] and v != values[0] for r, v in zip(rounded[1:], values[1:], strict=True))
    return hidden or (rounded[0] == 0 and values[0] != 0)


def _tidy(text: str) -> str:
    """Without a sign before zero."""
    return text.lstrip("+-") if float(text) == 0 else text
