"""Figures of a ranking: TPR over the number of references, one panel an attack."""

from __future__ import annotations

from collections.abc import Sequence

from locard.rank_result import CurveAttack, CurvePoint, CurvesPart
from locard.report.numbers import percent
from locard.report.svg import Axis, Drawing, shorten

COLUMNS, SIDE, GAP = 4, 140.0, 44.0
ROOM = 1.5  # how far above the highest estimate the axis goes: one wide interval would flatten all curves


def curves_figure(curves: CurvesPart, name: str) -> str:
    """Small multiples: solid with its band, the benchmark dotted, dashed lines at the FPR and at what is to be reached.

    An attack without references is a level line.
    """
    shown = [c for c in curves.attacks if any(p.tpr.value is not None for p in c.points)]
    rows = -(-len(shown) // COLUMNS)
    d = Drawing(COLUMNS * (SIDE + GAP), rows * (SIDE + 52))
    points = [p for c in shown for p in c.points]
    most = max((p.references for p in points), default=1) or 1
    ends = [p.tpr.high or p.tpr.value or 0.0 for p in points]
    highest = max((p.tpr.value or 0.0 for p in points), default=0.0)
    top = min(max(ends, default=0.0), max(ROOM * highest, 3 * curves.fpr)) or 0.01
    benchmark = next((c for c in shown if c.label == curves.benchmark), None)
    for i, c in enumerate(shown):
        left, above = (i % COLUMNS) * (SIDE + GAP) + 42, (i // COLUMNS) * (SIDE + 52) + 22
        x = Axis(0.8, max(most, 2) * 1.25, left, left + SIDE - 10, log=True)
        y = Axis(0.0, top * 1.04, above + SIDE, above)
        _frame(d, x, y, most)
        d.path([(x.start, y(curves.fpr)), (x.end, y(curves.fpr))], "chance")
        if curves.excess.value is not None and curves.excess.value > 0:
            wanted = curves.fpr + curves.share * curves.excess.value
            d.path([(x.start, y(wanted)), (x.end, y(wanted))], "chance")
        if benchmark is not None and benchmark is not c:
            _line(d, x, y, benchmark, "line other", band=False)
        _line(d, x, y, c, "line", band=True)
        d.text(left, above - 7, shorten(c.label, 22), "label")
    return d.svg(
        name,
        f"TPR at FPR {percent(curves.fpr)} over the number of references",
        f"One panel an attack, references a record (1 to {most}, logarithmic), TPR from 0 to {percent(top)}. "
        f"Solid line with band: the attack named above the panel, with its interval. Dotted line: {curves.benchmark}. "
        f"Lower dashed line: the false-positive rate, which is guessing. Upper dashed line: what is to be reached. "
        f"Values are in the table.",
    )


def _frame(d: Drawing, x: Axis, y: Axis, most: int) -> None:
    for tick in (2**k for k in range(0, 12, 2)):
        if tick <= most:
            d.line(x(tick), y.start, x(tick), y.end, "grid")
            d.text(x(tick), y.start + 15, str(tick), "tick", anchor="middle")
    for level in y.ticks:
        d.line(x.start, y(level), x.end, y(level), "grid")
        d.text(x.start - 5, y(level) + 4, percent(level), "tick", anchor="end")
    d.path([(x.start, y.end), (x.start, y.start), (x.end, y.start)], "axis")


def _line(d: Drawing, x: Axis, y: Axis, curve: CurveAttack, style: str, *, band: bool) -> None:
    points = [p for p in curve.points if p.tpr.value is not None]
    at = [x.low if p.references == 0 else float(p.references) for p in points]
    ends: Sequence[CurvePoint] = points
    if len(points) == 1 and points[0].references == 0:  # learns from none: the same for every number
        at, ends = [x.low, x.high], [points[0], points[0]]
    if band and ends:
        upper = [(x(k), y(_end(p, high=True))) for k, p in zip(at, ends, strict=True)]
        lower = [(x(k), y(_end(p, high=False))) for k, p in zip(at, ends, strict=True)]
        d.path([*upper, *reversed(lower)], "band", closed=True)
        d.path(upper, "edge")
        d.path(lower, "edge")
    d.path([(x(k), y(p.tpr.value or 0.0)) for k, p in zip(at, ends, strict=True)], style)
    if band and curve.uses != "none":
        for k, p in zip(at, ends, strict=True):
            d.dot(x(k), y(p.tpr.value or 0.0))


def _end(point: CurvePoint, *, high: bool) -> float:
    end = point.tpr.high if high else point.tpr.low
    return end if end is not None else point.tpr.value or 0.0
