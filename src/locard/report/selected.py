"""Selected records, one by one: the table of claims, and a card for each record with a drawing of its losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from locard.report.numbers import p_value, percent, thousands
from locard.report.svg import Axis, Drawing
from locard.report.tables import Cell, Notes, Table, columns, count, text
from locard.result import AttackPart, CardPart, Result, SidePart

N, W = "number", "number interval"
LEAST_LOSS = 1e-7  # nats; smaller ones are drawn there


def selected_section(r: Result) -> dict[str, Any] | None:
    """What the template prints of the selected records; None where no attack claims anything of single ones."""
    from markupsafe import Markup

    attacks = [a for a in r.attacks if a.claims]
    if not attacks:
        return None
    first = next((a for a in attacks if a.promises), attacks[0])
    cards = [
        {
            "card": card,
            "figure": Markup(loss_figure(card, f"losses-{place}")),
            "held": side_words(card.held, "that were trained on it"),
            "not_held": side_words(card.not_held, "that were not"),
        }
        for place, card in enumerate(r.cards)
    ]
    return {
        "intro": intro(r, first),
        "table": claims_table(attacks),
        "promises": [(name, first.promises[name]) for name in first.promises],
        "cards": cards,
        "indirect": [indirect_table(a, i) for i, a in enumerate(attacks) if a.indirect],
        "left_out": max(0, (first.screening.selected if first.screening else 0) - len(cards)) if cards else 0,
    }


def intro(r: Result, attack: AttackPart) -> str:
    """How the records were selected, in one paragraph.

    The screen is named, and that no target was asked.
    """
    s = attack.screening
    assert s is not None  # claims come with a screening
    by = f"by {s.screening} references, none of which tests" if s.screening else "without asking any model"
    return (
        f"{thousands(s.selected)} of {thousands(r.data.n)} records were selected by the screen {s.name}, {by}; no "
        f"target was asked. Of each selected record an attack says “member”, or nothing at all, using the "
        f"{s.testing} references left to test with. Precision, recall and realised false-positive rate are of selected "
        f"records only."
    )


def claims_table(attacks: Sequence[AttackPart]) -> Table:
    """One row an attack, a kind of p-value and a cut-off."""
    notes, rows = Notes(), []
    for a in attacks:
        for c in a.claims:
            kind = kind_words(c.calibration)
            cells: list[Cell] = [text(a.label, "name"), text(kind), count_of(c.p), count(c.true_claims)]
            cells += [count(c.false_claims), count(c.abstentions)]
            cells += [notes.number(n, "share", "not resolvable") for n in (c.precision, c.recall, c.realised_fpr)]
            rows.append(cells)
    head: list[str | tuple[str, str]] = ["Attack", "p-value", ("claimed at p up to", N), ("True claims", N)]
    head += [("False claims", N), ("Abstained", N), ("Precision", W), ("Recall", W), ("Realised FPR", W)]
    caption = (
        "Claims about selected records, over all targets that could be tested. Counts are of (target, record). "
        "Where the target's own non-members calibrate, the realised rate is at most nominal by construction; on the "
        "population it is a test."
    )
    return Table("claims", caption, columns(head), rows, notes.pairs, "sort")


def indirect_table(attack: AttackPart, place: int) -> Table:
    """How each record was attacked by other queries."""
    rows: list[list[Cell]] = []
    for d in attack.indirect:
        numbers = (d.influence, d.control, d.distance, d.nearest)
        cells: list[Cell] = [text(d.id, "name id"), count(d.queries), count(d.optimised)]
        cells += [Cell("–" if v is None else f"{v:.3g}", None if v is None else repr(v), style=N) for v in numbers]
        cells += [Cell("–" if d.direct is None else f"{d.direct:.2g}", style=N)]
        rows.append(cells)
    head: list[str | tuple[str, str]] = ["Record", ("Queries a target", N), ("Moved", N), ("Influence", N)]
    head += [("Without the record", N), ("Nearest query", N), ("Nearest record", N)]
    head += [("Direct p, median", N)]
    caption = (
        f"{attack.label}: the record itself was never asked. Influence: mean share of references in which training on "
        f"the record raises its label for the queries; beside it the same for references that went on training without "
        f"it. Distances are those of the queries' space."
    )
    return Table(f"indirect-{place}", caption, columns(head), rows, (), "sort")


def count_of(p: float) -> Cell:
    """A cut-off."""
    return Cell(f"{p:g}", repr(p), style="number")


def side_words(side: SidePart, which: str) -> str:
    """What targets of one side gave away.

    >>> side = SidePart(targets=4, claimed=3, p_rank=0.02, p_tail=0.001, p_cal=0.01, losses=[0.1] * 4)
    >>> side_words(side, "that were trained on it")
    'Claimed in 3 of 4 targets that were trained on it (median p: by rank 0.02, by tail 0.001, calibrated 0.01).'
    """
    if not side.targets:
        return f"No target {which.replace('were', 'was')} could be tested."
    named = (("by rank", side.p_rank), ("by tail", side.p_tail), ("calibrated", side.p_cal))
    medians = ", ".join(f"{name} {p_value(p)}" for name, p in named if p is not None)
    told = f" (median p: {medians})" if medians else ""
    return f"Claimed in {side.claimed} of {side.targets} targets {which}{told}."


def loss_figure(card: CardPart, name: str) -> str:
    """Losses of the record's label: under references without it, under targets without it, under targets with it."""
    rows = [
        ("references without it", card.reference_losses, "tick-mark reference"),
        ("targets not trained on it", card.not_held.losses, "tick-mark outside"),
        ("targets trained on it", card.held.losses, "tick-mark inside"),
    ]
    return strip(rows, name, f"Losses of record {card.id}")


def strip(rows: Sequence[tuple[str, Sequence[float], str]], name: str, title: str) -> str:
    """Losses on a logarithmic axis, one line a model, in rows: (words, losses in nats, style)."""
    values = [max(v, LEAST_LOSS) for _, losses, _ in rows for v in losses]
    foot = 6 + 28 * len(rows)
    d = Drawing(680, foot + 28)
    if not values:
        d.text(340, 60, "There are no losses to draw.", "label", anchor="middle")
        return d.svg(name, "Losses", "There are no losses.")
    low = 10.0 ** math.floor(math.log10(min(values)))
    high = 10.0 ** math.ceil(math.log10(max(values)) + 1e-9)
    x = Axis(low, high if high > low else 10 * low, 176, 660, log=True)
    for tick in x.ticks:
        d.line(x(tick), 6, x(tick), foot, "grid")
        d.text(x(tick), foot + 14, f"{tick:g}", "tick", anchor="middle")
    for place, (words, losses, style) in enumerate(rows):
        y = 8 + 28 * place
        d.text(166, y + 17, words, "label", anchor="end")
        for v in losses:
            d.line(x(max(v, LEAST_LOSS)), y, x(max(v, LEAST_LOSS)), y + 22, style)
    medians = "; ".join(f"{words}: {sorted(v)[len(v) // 2]:.3g}" for words, v, _ in rows if v)
    described = f"One line a model, its loss of the label in nats on a logarithmic axis. Medians: {medians}."
    return d.svg(name, title, described, style="figure strip")


def claims_words(r: Result) -> list[str]:
    """The claims in two lines for a terminal: what was selected, and what the calibrated claims were worth."""
    attacks = [a for a in r.attacks if a.promises and a.screening is not None]
    if not attacks:
        return []
    s = attacks[0].screening
    assert s is not None  # asked above
    lines = [f"{thousands(s.selected)} of {thousands(r.data.n)} records selected by {s.name}, no target asked."]
    for attack in attacks:
        for c in attack.claims:
            if c.calibration is None or c.precision.value is None or c.recall.value is None:
                continue
            lines.append(
                f"{attack.label}, {thousands(c.selected)} records, p up to {c.p:g} ({kind_words(c.calibration)}): "
                f"{thousands(c.true_claims)} true and {thousands(c.false_claims)} false claims; precision "
                f"{_ends(c.precision)}, recall {_ends(c.recall)}."
            )
    return lines


def kind_words(calibration: str | None) -> str:
    """Which p-value it is.

    >>> kind_words(None), kind_words("population"), kind_words("ranks among references")
    ('raw', 'calibrated: population', 'ranks among references')
    """
    if calibration is None or calibration.startswith("ranks"):
        return calibration or "raw"
    return f"calibrated: {calibration}"


def _ends(number: Any) -> str:
    if number.low is None or number.high is None:
        return percent(number.value)
    return f"{percent(number.value)} [{percent(number.low)}, {percent(number.high)}]"
