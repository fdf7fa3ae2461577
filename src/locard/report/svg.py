"""Drawing in SVG text: axes, lines, bands, bars and whiskers, each told apart by shape and pattern, not by hue.

Written by hand rather than by a plotting library: text stays text, colours come from the page's style sheet (so print
and screen differ), the same numbers give the same bytes, and nothing heavy is imported.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Axis:
    """Where values lie along one axis, from ``start`` to ``end`` in pixels.

    >>> Axis(low=0.01, high=1.0, start=0, end=200, log=True)(0.1)
    100.0
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value, held inside the axis."""
        v = min(max(value, self.low), self.high)
        if self.log:
            share = (math.log10(v) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        else:
            share = (v - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values along the axis: powers of ten, or even steps some 60 pixels apart."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**k for k in range(first, last + 1)]
        span = self.high - self.low
        wanted = max(1.5, abs(self.end - self.start) / 60)
        power = 10.0 ** math.floor(math.log10(span / wanted))
        step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(span / s - wanted))
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Drawing:
    """SVG elements in the order of drawing. Classes (``line``, ``band``, ...) are styled by the page."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        """A straight line."""
        self.parts.append(f'<line class="{style}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')

    def path(self, points: Sequence[tuple[float, float]], style: str, *, closed: bool = False) -> None:
        """A line through points; points that fall on the same tenth of a pixel as the one before are left out."""
        steps: list[str] = []
        for x, y in points:
            step = f"{x:.1f},{y:.1f}"
            if not steps or steps[-1] != step:
                steps.append(step)
        if steps:
            self.parts.append(f'<path class="{style}" d="M{"L".join(steps)}{"Z" if closed else ""}"/>')

    def bar(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """A filled rectangle."""
        self.parts.append(
            f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"/>'
        )

    def text(self, x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> None:
        """Words; whatever they hold is escaped."""
        named = f' class="{style}"' if style else ""
        self.parts.append(
            f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(visible(words))}</text>'
        )

    def dot(self, x: float, y: float, style: str = "dot") -> None:
        """A point mark."""
        self.parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>')

    def whisker(self, x0: float, x1: float, y: float) -> None:
        """A horizontal interval with end caps."""
        self.line(x0, y, x1, y, "whisker")
        for x in (x0, x1):
            self.line(x, y - 4, x, y + 4, "whisker")

    def svg(self, name: str, title: str, description: str, *, style: str = "figure") -> str:
        """The finished element: an image with a title and a description for those who cannot see it."""
        return (
            f'<svg class="{style}" role="img" aria-labelledby="{name}-t {name}-d" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}">'
            f'<title id="{name}-t">{escape(visible(title))}</title>'
            f'<desc id="{name}-d">{escape(visible(description))}</desc>{"".join(self.parts)}</svg>'
        )


Words = Callable[[float], str]


def grid(drawing: Drawing, x: Axis, y: Axis, *, words: tuple[Words, Words], labels: bool = True) -> None:
    """Grid lines with tick labels (``words`` of the x axis, of the y axis), and the frame."""
    for tick in x.ticks:
        drawing.line(x(tick), y.start, x(tick), y.end, "grid")
        if labels:
            drawing.text(x(tick), y.start + 16, words[0](tick), "tick", anchor="middle")
    for tick in y.ticks:
        drawing.line(x.start, y(tick), x.end, y(tick), "grid")
        if labels:
            drawing.text(x.start - 7, y(tick) + 4, words[1](tick), "tick", anchor="end")
    drawing.path([(x.start, y.end), (x.start, y.start), (x.end, y.start)], "axis")


def visible(words: str) -> str:
    r"""Control and direction characters written out, so that a name cannot hide or reorder what stands around it.

    >>> visible("a\x1b[31mb"), visible("x\u202ey")
    ('a\\x1b[31mb', 'x\\u202ey')
    """
    if words.isprintable():
        return words
    return "".join(c.encode("unicode_escape").decode() if _hidden(c) else c for c in words)


def _hidden(character: str) -> bool:
    """True for characters without a shape of their own; spaces, line ends and the joiners of scripts have theirs."""
    if character.isprintable() or character in "\n\u200c\u200d":
        return False
    return unicodedata.category(character) != "Zs"


def shorten(words: str, most: int) -> str:
    """The beginning of a long name, for a figure; its table has the whole.

    >>> shorten("a rather long name", 9)
    'a rather…'
    """
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"
