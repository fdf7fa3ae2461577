"""A sequential audit for the page and the terminal: how many models it took, and every pair as a dot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from locard.report.numbers import thousands
from locard.report.svg import Axis, Drawing, grid, shorten
from locard.report.tables import Cell, Table, columns, count, plain, text
from locard.result import LookPart, Result, SequentialPart

PANEL = 190  # pixels of one panel of dots
ENDS = {"pass": "below its limit", "fail": "above its limit", "open": "not settled"}


def sequential_section(r: Result) -> dict[str, Any] | None:
    """Sentences, a figure and tables for the page; None where the number of pairs was fixed beforehand."""
    from markupsafe import Markup

    part = r.sequential
    if part is None:
        return None
    return {
        "words": saved_words(part),
        "assumes": part.assumes,
        "figure": Markup(_dots(part.looks)),
        "table": _ends(part),
        "values": [_values(part)],
    }


def saved_words(part: SequentialPart) -> str:
    """How many models it took, and how many it saved.

    >>> part = SequentialPart(burn_in=8, pairs=10, cap=40, models=36, models_cap=96, saved=60, outcome="pass",
    ...                       method="a sequence", assumes=[], looks=[])
    >>> saved_words(part)
    'Settled after 10 pairs of targets with 8 pairs of references: 36 models instead of 96, 60 saved.'
    """
    end = "Not settled" if part.outcome == "inconclusive" else "Settled"
    return (
        f"{end} after {thousands(part.pairs)} pairs of targets with {thousands(part.burn_in)} pairs of references: "
        f"{thousands(part.models)} models instead of {thousands(part.models_cap)}, {thousands(part.saved)} saved."
    )


def sequential_words(r: Result) -> list[str]:
    """The same for the terminal."""
    part = r.sequential
    return [] if part is None else [saved_words(part), *(f"Assumes: {a}" for a in part.assumes)]


def _ends(part: SequentialPart) -> Table:
    rows = [
        [
            text(look.attack, "name"),
            text(look.name),
            plain(look.limit),
            plain(sum(look.values) / len(look.values)),
            plain(look.low[-1]),
            plain(look.high[-1]),
            text(ENDS[look.outcome]),
            text(ENDS[look.assumption_free]),
            count(look.fewest_to_pass),
        ]
        for look in part.looks
    ]
    head: list[str | tuple[str, str]] = ["Attack", "Limit on", ("Limit", "number"), ("Mean of the pairs", "number")]
    head += [("Lower end, paid", "number"), ("Upper end", "number"), "Sequence", "Assuming nothing"]
    head += [("Pairs to pass, assuming nothing, at least", "number")]
    caption = f"Every limit and attack after {thousands(part.pairs)} pairs ({part.method})."
    return Table("looks", caption, columns(head), rows)


def _values(part: SequentialPart) -> Table:
    rows: list[list[Cell]] = []
    for look in part.looks:
        for pair, (value, low, high) in enumerate(zip(look.values, look.low, look.high, strict=True), start=1):
            rows.append(
                [text(look.attack, "name"), text(look.name), count(pair), plain(value), plain(low), plain(high)]
            )
    head: list[str | tuple[str, str]] = ["Attack", "Limit on", ("Pair", "number"), ("Value", "number")]
    head += [("Lower end", "number"), ("Upper end", "number")]
    return Table("look-values", "The value of every pair, and the sequence after it.", columns(head), rows, (), "long")


def _dots(looks: Sequence[LookPart]) -> str:
    """One panel a limit and attack: each pair a dot, the sequence as a band, the limit dashed."""
    across = 3
    d = Drawing(across * (PANEL + 36) + 20, 40 + -(-len(looks) // across) * (PANEL + 20))
    for place, look in enumerate(looks):
        left, top = 44 + place % across * (PANEL + 36), 34 + place // across * (PANEL + 20)
        pairs = len(look.values)
        ends = [look.limit, *look.values]
        room = 0.25 * (max(ends) - min(ends)) or 0.05
        low, high = max(0.0, min(ends) - room), min(1.0, max(ends) + room)
        x = Axis(0.5, pairs + 0.5, left, left + PANEL - 14)
        y = Axis(low, high, top + PANEL - 56, top)
        d.text(left, top - 8, shorten(f"{look.attack}: {look.name}", 30), "label")
        grid(d, x, y, words=(lambda v: f"{v:g}", lambda v: f"{v:.3g}"))
        known = [i for i in range(pairs) if look.high[i] < 1 or look.low[i] > 0]
        upper = [(x(i + 1.0), y(look.high[i])) for i in known]
        lower = [(x(i + 1.0), y(look.low[i])) for i in reversed(known)]
        d.path([*upper, *lower], "band", closed=True)
        d.line(x.start, y(look.limit), x.end, y(look.limit), "chance")
        for i, value in enumerate(look.values):
            d.dot(x(i + 1.0), y(value), "dot open")
    return d.svg(
        "looks-figure",
        "The value of every pair against its limit",
        "One panel for each limit and attack. Circles are the pairs of targets in their order, the band is the "
        "confidence sequence after each, the dashed line is the limit. The numbers are in the table below.",
    )
