"""Tables as values: what the page prints, sorts and downloads. Every figure's numbers are in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from locard.report.numbers import Kind, percent, precise, shown, thousands
from locard.result import Histogram, Number, Roc

ROC_ROWS = 4000  # over all attacks; more would make the page heavy, and result.json has every point


@dataclass(frozen=True)
class Cell:
    """What a reader sees, and the numbers behind it: ``value`` is sorted by and downloaded, ``sort`` only sorted by."""

    text: str
    value: str | None = None
    low: str | None = None
    high: str | None = None
    title: str | None = None
    style: str = ""
    sort: str | None = None


@dataclass(frozen=True)
class Column:
    """A heading; ``interval`` columns are downloaded as three, ``number`` columns are set flush right."""

    title: str
    style: str = ""
    help: str | None = None

    @property
    def interval(self) -> bool:
        """True where cells hold an estimate with its ends."""
        return "interval" in self.style


@dataclass(frozen=True)
class Table:
    """A captioned table. ``notes`` explain marks such as (a); ``tools`` are the sort, filter and download controls."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[tuple[str, str]] = ()
    tools: str = ""


@dataclass
class Notes:
    """Reasons that several cells share, lettered and printed once under the table.

    >>> notes = Notes()
    >>> notes.mark("too few pairs"), notes.mark("no IN references"), notes.mark("too few pairs")
    ('(a)', '(b)', '(a)')
    """

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> str:
        """The letter of a reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"({_letters(self.reasons.index(reason))})"

    def number(self, number: Number, kind: Kind = "score", undefined: str = "not measured") -> Cell:
        """A cell with an estimate and its interval; one without a value refers to its reason."""
        if number.value is None:
            reason = (number.reason or "no reason was recorded").removeprefix(f"{undefined}: ")
            return Cell(f"{undefined} {self.mark(reason)}", style="undefined")
        low, high = (None if v is None else repr(v) for v in (number.low, number.high))
        return Cell(shown(number, kind), repr(number.value), low, high, precise(number), "number")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Marks and reasons."""
        return [(f"({_letters(i)})", reason) for i, reason in enumerate(self.reasons)]


def text(words: object, style: str = "", title: str | None = None) -> Cell:
    """A cell of words."""
    return Cell(str(words), style=style, title=title)


def count(value: int | None) -> Cell:
    """A cell with a count; none is a dash."""
    return Cell("–", style="number") if value is None else Cell(thousands(value), repr(value), style="number")


def share(value: float | None) -> Cell:
    """A cell with a percentage without an interval; none is a dash."""
    return Cell("–", style="number") if value is None else Cell(percent(value), repr(value), style="number")


def plain(value: float | None) -> Cell:
    """A cell with a number to five figures, the whole of it behind; none is a dash."""
    return Cell("–", style="number") if value is None else Cell(f"{value:.5g}", repr(value), style="number")


def columns(titles: Iterable[str | tuple[str, str]]) -> list[Column]:
    """Columns from titles, or (title, style) pairs."""
    return [Column(t) if isinstance(t, str) else Column(*t) for t in titles]


def roc_table(roc: Roc, label: str, name: str, attacks: int) -> Table:
    """The points of a ROC curve; where there are very many, every few of them, and the caption says so."""
    most = max(50, ROC_ROWS // max(attacks, 1))
    step = -(-len(roc.fpr) // most) or 1
    thinned = f" Every {step}th of {len(roc.fpr):,} points; all are in result.json." if step > 1 else ""
    points = list(zip(roc.fpr, roc.tpr, roc.low, roc.high, strict=True))[::step]
    return Table(
        name,
        f"ROC curve of {label}, with the ends of its band.{thinned}",
        columns([("FPR", "number"), ("TPR", "number"), ("low", "number"), ("high", "number")]),
        [[plain(v) for v in point] for point in points],
    )


def histogram_table(histogram: Histogram, label: str, name: str) -> Table:
    """The bars of a histogram."""
    h = histogram
    rows = zip(h.edges, h.edges[1:], h.members, h.non_members, strict=False)
    return Table(
        name,
        f"Scores of {label}: share of members and of non-members in each range.",
        columns([("from", "number"), ("to", "number"), ("members", "number"), ("non-members", "number")]),
        [[plain(v) for v in row] for row in rows],
    )


def _letters(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    word = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        word = chr(97 + rest) + word
    return word
