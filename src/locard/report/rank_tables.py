"""Tables of a ranking: attacks in order, who beats whom, what they pick, and how few references they need."""

from __future__ import annotations

from dataclasses import replace

from locard.rank_result import CurvesPart, PicksPart, RankAcross, RankRow, StudyPart
from locard.report.attack_tables import comparisons_table, stated_fprs, tpr_of
from locard.report.numbers import percent, shown, thousands
from locard.report.tables import Cell, Notes, Table, columns, count, plain, text
from locard.report.wording import access_words
from locard.result import ComparisonPart

N, W = "number", "number interval"


def ranking_table(s: StudyPart, prefix: str) -> Table:
    """One row an attack, the highest first, with what it costs."""
    notes, fprs = Notes(), stated_fprs([r.tpr for r in s.rows])
    fprs = [s.fpr, *(f for f in fprs if f != s.fpr)]
    rows = []
    for r in s.rows:
        rows.append(
            [
                count(r.place),
                text(r.label + (" (headline)" if r.headline else ""), "name strong" if r.headline else "name"),
                text(r.letters),
                *(tpr_of(notes, r.tpr, fpr) for fpr in fprs),
                notes.number(r.auc),
                notes.number(r.balanced_accuracy),
                plain(r.variance_factor),
            ]
        )
    head: list[str | tuple[str, str]] = [("#", N), "Attack", "Letters"]
    head += [*((f"TPR at FPR {percent(f)}", W) for f in fprs), ("AUC", W), ("Balanced accuracy", W), ("Factor c", N)]
    caption = (
        f"All attacks on the same models, by {s.statistic} (mean over targets). Attacks that share a letter cannot be "
        f"told apart by it. Intervals are each attack's own: whether two differ is told by the letters, not by whether "
        f"intervals overlap."
    )
    return Table(f"{prefix}-ranking", caption, columns(head), rows, notes.pairs, "sort")


def costs_table(s: StudyPart, prefix: str) -> Table:
    """What each attack needs and costs, in the order of the ranking."""
    rows = []
    for r in s.rows:
        c = r.cost
        rows.append(
            [
                text(r.label, "name"),
                text(access_words(r.access)),
                text(r.uses),
                text(sides(c.references.inside, c.references.outside)),
                text(sides(c.least.inside, c.least.outside)),
                count(c.population),
                count(c.queries),
                count(c.auxiliary),
                Cell(f"{c.seconds:.2g}", repr(c.seconds), style=N),
            ]
        )
    head: list[str | tuple[str, str]] = ["Attack", "Access", "Learns from", "References here", "At least"]
    head += [("Population records", N), ("Questions a record", N), ("Other models", N)]
    head += [("Seconds a target", N)]
    caption = (
        "What it takes. References: models trained with a record (IN) and without it (OUT), a record. Seconds: scoring "
        "one target from stored answers, each attack by itself, measured here while others ran beside it; training "
        "not counted."
    )
    return Table(f"{prefix}-costs", caption, columns(head), rows, (), "sort")


def sides(inside: int, outside: int) -> str:
    """Numbers of references, in words.

    >>> sides(0, 31), sides(2, 2), sides(0, 0)
    ('31 OUT', '2 IN, 2 OUT', 'none')
    """
    told = [f"{thousands(k)} {side}" for k, side in ((inside, "IN"), (outside, "OUT")) if k]
    return ", ".join(told) or "none"


def differences_table(s: StudyPart, prefix: str) -> Table:
    """Row minus column by the declared statistic: a matrix in the order of the ranking, columns by number."""
    level, kind = 1 - s.confidence, "share" if s.statistic != "AUC" else "score"
    found = {(c.first, c.second): c for c in s.comparisons if c.statistic == s.statistic}
    rows = []
    for r in s.rows:
        cells = [count(_number(s, r)), text(r.label, "name")]
        for other in s.rows:
            cells.append(_difference(found, r, other, level, kind))
        rows.append(cells)
    head: list[str | tuple[str, str]] = [("#", N), "Attack", *((f"{_number(s, r)}", N) for r in s.rows)]
    caption = (
        f"{s.statistic}: the attack of the row minus that of the column (numbers of the rows)"
        f"{', in percentage points' if kind == 'share' else ''}. Bold with ▲ or ▼: told apart at {percent(level)}, "
        f"paying for all {thousands(len(s.comparisons))} comparisons (Holm); in grey: not told apart; =: no difference "
        f"can be tested, mostly because both are the same on every target. Point at a cell for its interval."
    )
    return Table(f"{prefix}-differences", caption, columns(head), rows)


def _number(s: StudyPart, row: RankRow) -> int:
    return s.rows.index(row) + 1


def _difference(
    found: dict[tuple[str, str], ComparisonPart], row: RankRow, other: RankRow, level: float, kind: str
) -> Cell:
    if row is other:
        return Cell("·", style=N)
    c = found.get((row.label, other.label))
    sign = 1.0 if c is not None else -1.0
    c = c or found[other.label, row.label]
    if c.difference.value is None:
        return Cell("=", title=c.difference.reason, style=f"{N} alike")
    value = sign * c.difference.value
    told = c.p_adjusted is not None and c.p_adjusted <= level
    points = f"{100 * value:+.{1 if abs(value) < 0.0995 else 0}f}"
    words = points if kind == "share" else f"{value:+.3f}"
    mark = ("▲" if value > 0 else "▼") if told else ""
    title = f"{c.first} minus {c.second}: {shown(c.difference, 'difference')}; p adjusted {c.p_adjusted}"
    return Cell(words + mark, repr(value), title=title, style=f"{N} {'strong' if told else 'alike'}")


def all_comparisons(s: StudyPart, prefix: str) -> Table:
    """Every comparison as a list."""
    return replace(comparisons_table(s.comparisons), name=f"{prefix}-comparisons")


def picks_table(picks: PicksPart, prefix: str) -> Table:
    """How many records each attack picks, in each half, again, alone."""
    rows = [
        [
            text(a.label, "name"),
            *(count(v) for v in (a.first, a.second, a.again, a.wrong_way, a.alone, a.alone_again)),
        ]
        for a in picks.attacks
    ]
    head: list[str | tuple[str, str]] = ["Attack", ("First half", N), ("Second half", N), ("In both", N)]
    head += [("The wrong way round", N), ("It alone (both halves)", N), ("It alone, in both", N)]
    caption = (
        f"Records picked, of {thousands(picks.units)}, with {' and '.join(map(str, picks.pairs))} pairs of models. The "
        f"wrong way round: records of both halves that meet the rule with members and others swapped; about as many "
        f"of the picks are accidents. It alone: no other attack of this page picks the record in that half."
    )
    return Table(f"{prefix}-picks", caption, columns(head), rows, (), "sort")


def overlap_table(picks: PicksPart, prefix: str) -> Table:
    """Jaccard's index between halves, for every two attacks; the diagonal is each attack with itself."""
    labels = [a.label for a in picks.attacks]
    found = {frozenset((o.first, o.second)): o for o in picks.overlaps}
    rows = []
    for i, first in enumerate(labels):
        cells = [count(i + 1), text(first, "name")]
        for second in labels:
            o = found[frozenset((first, second))]
            words = "–" if o.share is None else f"{100 * o.share:.0f}"
            style = N if o.share is None else f"{N} heat-{min(4, int(5 * o.share))}"
            value = None if o.share is None else repr(o.share)
            own = " strong" if first == second else ""
            cells.append(Cell(words, value, title=f"{o.both} of {o.either}", style=style + own))
        rows.append(cells)
    head: list[str | tuple[str, str]] = [("#", N), "Attack", *((str(i + 1), N) for i in range(len(labels)))]
    caption = (
        "Of 100 records that either picks, how many both pick: one attack in one half of the models, the other in the "
        "other half. Bold, the diagonal: the attack with itself. Two attacks that agree less than either does with "
        "itself pick different records, not only by accident of the models. Counted, for these models; – where nothing "
        "is picked."
    )
    return Table(f"{prefix}-overlap", caption, columns(head), rows)


def reach_table(curves: CurvesPart, prefix: str) -> Table:
    """With how few references each attack does nearly as well as the benchmark with all."""
    notes, rows = Notes(), []
    for c in curves.attacks:
        last = c.points[-1]
        most = "–" if c.uses == "none" else thousands(last.references)
        rows.append(
            [
                text(c.label, "name"),
                text(c.uses),
                text(_fewest(c.reach.references, c.uses), N),
                text(_fewest(c.reach.surely, c.uses), N),
                notes.number(c.reach.difference, "difference", "not stated"),
                text(most, N),
                notes.number(last.tpr, "share"),
                notes.number(last.auc),
            ]
        )
    head: list[str | tuple[str, str]] = ["Attack", "Learns from", (f"Reaches {percent(curves.share)}", N)]
    head += [("Surely", N), ("Difference there, or at its best", W), ("All references", N)]
    head += [("TPR with all", W), ("AUC with all", W)]
    caption = (
        f"The fewest references a record with which an attack reaches {percent(curves.share)} of the excess TPR − FPR "
        f"of {curves.benchmark} with all ({shown(curves.excess, 'share', why=False)}) at FPR {percent(curves.fpr)}: by "
        f"its estimate, and by the whole interval of the paired difference (each number of references by itself). "
        f"A dash: never, with those tried."
    )
    return Table(f"{prefix}-reach", caption, columns(head), rows, notes.pairs, "sort")


def _fewest(references: int | None, uses: str) -> str:
    return "–" if references is None else "none needed" if uses == "none" else thousands(references)


def points_table(curves: CurvesPart, prefix: str) -> Table:
    """Every point of the curves."""
    notes, rows = Notes(), []
    for c in curves.attacks:
        for p in c.points:
            rows.append(
                [
                    text(c.label, "name"),
                    count(p.references),
                    count(p.inside),
                    count(p.outside),
                    notes.number(p.auc, undefined="not run"),
                    notes.number(p.tpr, "share", "not run"),
                ]
            )
    head: list[str | tuple[str, str]] = ["Attack", ("References", N), ("IN", N), ("OUT", N), ("AUC", W)]
    head += [(f"TPR at FPR {percent(curves.fpr)}", W)]
    return Table(f"{prefix}-points", "Every point of the curves.", columns(head), rows, notes.pairs, "sort")


def across_table(across: list[RankAcross]) -> Table:
    """Mean ranks over the studies."""
    rows = []
    for a in across:
        mean = a.rank.value or 0.0
        rows.append(
            [
                text(a.label, "name"),
                Cell(f"{mean:.1f}", repr(mean), style=N),
                Cell(f"{a.rank.low:g} to {a.rank.high:g}", style=N),
                Cell(f"{a.unbeaten} of {a.studies}", repr(a.unbeaten), style=N),
            ]
        )
    head: list[str | tuple[str, str]] = ["Attack", ("Mean rank", N), ("Ranks", N), ("Not beaten in", N)]
    caption = (
        "Attacks that all studies have, by their mean rank among each other (1 is the highest), with the smallest and "
        "largest. Ranks are counted over the studies of this page; they carry no error rate, and a few chosen data "
        "sets stand for no others. Not beaten: no other attack is shown to be better there."
    )
    return Table("across", caption, columns(head), rows, (), "sort")
