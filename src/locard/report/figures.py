"""The figures, each as one inline SVG. Their numbers stand in tables beside them (``tables``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from locard.report.numbers import percent, shown
from locard.report.svg import Axis, Drawing, grid, shorten
from locard.result import AttackPart, Number, Roc, TprAt

# Below ln(80)/FPR = 4.4/FPR non-members a rate is not resolvable, below 10/FPR it is bounded only (docs/estimands.md).
NOT_RESOLVABLE, RESOLVED = 4.4, 10.0


@dataclass(frozen=True)
class Panel:
    """One column of a forest figure: a title, one entry a row, the range of values and a line to compare with."""

    title: str
    rows: Sequence[Number | tuple[float, float]]
    kind: Literal["share", "score"]
    reference: float | None = None


def roc_figure(attack: AttackPart) -> str:
    """The headline ROC on log-log axes with its band, chance, the stated rates, and where nothing can be resolved."""
    n0 = max((t.non_members for t in attack.tpr), default=0) or 500
    floor = 1 / (2 * n0)
    d = Drawing(680, 520)
    x, y = Axis(floor, 1, 74, 660, log=True), Axis(floor, 1, 452, 18, log=True)
    _unresolved_zones(d, x, y, n0)
    grid(d, x, y, words=(percent, percent))
    d.path([(x(floor), y(floor)), (x(1), y(1))], "chance")
    _curve(d, x, y, attack.roc, band=True)
    for at in attack.tpr:
        _stated_rate(d, x, y, at)
    place = 10 ** (math.log10(floor) * 0.22)
    d.text(x(place) + 8, y(place) + 16, "chance", "label muted")
    d.text((x.start + x.end) / 2, 492, "false-positive rate: non-members wrongly claimed", "label", anchor="middle")
    d.parts.append(
        f'<text class="label" transform="translate(18 {(y.start + y.end) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"true-positive rate: members found</text>"
    )
    return d.svg(
        "roc",
        f"ROC curve of {attack.label}",
        f"True-positive rate against false-positive rate on logarithmic axes from {percent(floor)} to 100 %, solid "
        f"line with a shaded band; the dashed diagonal is chance. Filled circles are the stated rates with their "
        f"intervals. Values are in the table below.",
    )


def roc_small(attacks: Sequence[AttackPart], headline: AttackPart) -> str:
    """Small multiples: one panel an attack, solid with its band; the headline attack again as a dotted line."""
    n0 = max((t.non_members for a in [headline, *attacks] for t in a.tpr), default=0) or 500
    floor = 1 / (2 * n0)
    columns, side, gap = 4, 148, 22
    rows = -(-len(attacks) // columns)
    d = Drawing(columns * (side + gap), rows * (side + 44))
    for i, attack in enumerate(attacks):
        left, top = (i % columns) * (side + gap) + 8, (i // columns) * (side + 44) + 22
        x, y = Axis(floor, 1, left, left + side, log=True), Axis(floor, 1, top + side, top, log=True)
        grid(d, x, y, words=(percent, percent), labels=False)
        d.path([(x(floor), y(floor)), (x(1), y(1))], "chance")
        _curve(d, x, y, headline.roc, band=False, style="line other")
        _curve(d, x, y, attack.roc, band=True)
        d.text(left, top - 7, shorten(attack.label, 22), "label")
        d.text(left + side, top + side + 15, f"AUC {shown(attack.auc, why=False).split(' [')[0]}", "tick", anchor="end")
    return d.svg(
        "roc-all",
        "ROC curves of the other attacks",
        f"One panel an attack with the axes of the figure above, from {percent(floor)} to 100 % both ways. Solid line "
        f"with band: the attack named above the panel. Dotted line: the headline attack {headline.label}. Dashed "
        f"diagonal: chance.",
    )


def histogram_figure(attack: AttackPart, name: str = "scores") -> str:
    """Scores of members (hatched bars) and non-members (heavy outline), as shares of each."""
    h = attack.histogram
    d = Drawing(680, 300)
    if len(h.edges) < 2 or h.edges[-1] <= h.edges[0]:
        d.text(340, 150, "All scores are equal: there is nothing to draw.", "label", anchor="middle")
        return d.svg(name, f"Scores of {attack.label}", "All scores are equal.")
    top = max([*h.members, *h.non_members, 1e-9])
    x, y = Axis(h.edges[0], h.edges[-1], 74, 660), Axis(0, top, 240, 18)
    grid(d, x, y, words=("{:g}".format, percent))
    for left, right, share in zip(h.edges, h.edges[1:], h.members, strict=False):
        d.bar(x(left), y(share), x(right) - x(left), y(0) - y(share), "bar member")
    outline = [(x(h.edges[0]), y(0))]
    for left, right, share in zip(h.edges, h.edges[1:], h.non_members, strict=False):
        outline += [(x(left), y(share)), (x(right), y(share))]
    d.path([*outline, (x(h.edges[-1]), y(0))], "line outline")
    d.text(367, 280, "score (higher: more likely a member)", "label", anchor="middle")
    d.bar(540, 24, 18, 11, "bar member")
    d.text(564, 34, "members", "label")
    d.line(540, 48, 558, 48, "line outline")
    d.text(564, 52, "non-members", "label")
    return d.svg(
        name,
        f"Scores of {attack.label}",
        "Hatched bars: members, the share of them in each score range. Heavy outline: non-members. The further apart "
        "the two shapes, the easier it is to tell members from non-members.",
    )


def forest_figure(name: str, title: str, labels: Sequence[str], panels: Sequence[Panel]) -> str:
    """Rows of estimates with whiskers, one panel a statistic; a pair of numbers is drawn as a stacked bar."""
    left, width, row, top = 196.0, 680.0, 21.0, 40.0
    each = (width - left) / len(panels)
    d = Drawing(width, top + row * len(labels) + 26)
    bottom = top + row * len(labels)
    for i, label in enumerate(labels):
        d.text(left - 14, top + row * (i + 0.5) + 4, shorten(label, 27), "label", anchor="end")
    for k, panel in enumerate(panels):
        start, end = left + k * each + 6, left + (k + 1) * each - 26
        x = _range(panel, start, end)
        d.text(start, 18, panel.title, "label strong")
        for tick in x.ticks:
            d.line(x(tick), top - 6, x(tick), bottom, "grid")
            words = percent(tick) if panel.kind == "share" else f"{tick:g}"
            d.text(x(tick), bottom + 16, words, "tick", anchor="middle")
        if panel.reference is not None and x.low <= panel.reference <= x.high:
            d.line(x(panel.reference), top - 6, x(panel.reference), bottom, "chance")
        for i, entry in enumerate(panel.rows):
            _entry(d, x, top + row * (i + 0.5), entry)
    return d.svg(
        name,
        title,
        f"One row each for {', '.join(shorten(v, 40) for v in labels[:40])}. Filled circles are estimates, whiskers "
        f"their intervals, a dashed vertical line marks chance. Values are in the table.",
    )


def _entry(d: Drawing, x: Axis, at: float, entry: Number | tuple[float, float]) -> None:
    if isinstance(entry, tuple):
        first, second = entry
        d.bar(x(0), at - 6, x(first) - x(0), 12, "bar solid")
        d.bar(x(first), at - 6, x(first + second) - x(first), 12, "bar member")
        return
    if entry.value is None:
        d.text(x.start, at + 4, "not resolvable", "tick")
        return
    if entry.low is not None and entry.high is not None:
        d.whisker(x(entry.low), x(entry.high), at)
    d.dot(x(entry.value), at)


def _range(panel: Panel, start: float, end: float) -> Axis:
    values = [] if panel.reference is None else [panel.reference]
    for entry in panel.rows:
        if isinstance(entry, tuple):
            values += [0.0, sum(entry)]
        else:
            values += [v for v in (entry.low, entry.value, entry.high) if v is not None]
    if panel.kind == "share":
        values.append(0.0)
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.04 or 0.005
    return Axis(low if panel.kind == "share" else low - margin, high + margin, start, end)


def _unresolved_zones(d: Drawing, x: Axis, y: Axis, n0: int) -> None:
    """Shade the rates that these non-members cannot resolve, and those they can only bound."""
    none, bounded = min(1.0, NOT_RESOLVABLE / n0), min(1.0, RESOLVED / n0)
    d.bar(x.start, y.end, x(none) - x.start, y.start - y.end, "zone none")
    d.bar(x(none), y.end, x(bounded) - x(none), y.start - y.end, "zone some")
    d.text((x.start + x(none)) / 2, y.end + 16, "not resolvable", "tick", anchor="middle")
    d.text((x.start + x(none)) / 2, y.end + 30, f"below {percent(none, 2)}", "tick", anchor="middle")
    d.text(x(bounded) + 6, y.end + 16, f"← bounded only below {percent(bounded, 2)}", "tick")


def _curve(d: Drawing, x: Axis, y: Axis, roc: Roc, *, band: bool, style: str = "line") -> None:
    first = next((i for i, a in enumerate(roc.fpr) if a > 0 or roc.tpr[i] > 0), 0)  # (0, 0) has no place on log axes
    if not roc.fpr:
        return
    if band:
        upper = [(x(a), y(b)) for a, b in zip(roc.fpr, roc.high, strict=True)][first:]
        lower = [(x(a), y(b)) for a, b in zip(roc.fpr, roc.low, strict=True)][first:]
        d.path([*upper, *reversed(lower)], "band", closed=True)
        d.path(upper, "edge")
        d.path(lower, "edge")
    d.path([(x(a), y(b)) for a, b in zip(roc.fpr, roc.tpr, strict=True)][first:], style)


def _stated_rate(d: Drawing, x: Axis, y: Axis, at: TprAt) -> None:
    """A stated rate: a circle with a whisker, filled where resolved, open where bounded only."""
    estimate = at.estimate
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return
    px = x(at.fpr)
    d.line(px, y(estimate.low), px, y(estimate.high), "whisker")
    for end in (estimate.low, estimate.high):
        d.line(px - 4, y(end), px + 4, y(end), "whisker")
    d.dot(px, y(estimate.value), "dot" if at.resolution == "resolved" else "dot open")
    d.text(px + 8, y(estimate.value) + 14, shown(estimate, "share").split(" [")[0], "tick strong")
