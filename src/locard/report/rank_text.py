"""A ranking for a terminal, and as Markdown for a document."""

from __future__ import annotations

import textwrap

from locard.rank_result import RankAcross, RankTree, StudyPart
from locard.report.numbers import percent, shown
from locard.report.rank_tables import sides
from locard.report.svg import visible


def rank_text(tree: RankTree, *, width: int = 100) -> str:
    """One table a study, and the mean ranks over several."""
    blocks = [_study(s, width) for s in tree.studies]
    if tree.across:
        rows = [["Attack", "Mean rank", "Ranks", "Not beaten in"]]
        rows += [_across(a) for a in tree.across]
        blocks.append(["Over all studies, the attacks that all have (counted: no error rate):", "", *_aligned(rows)])
    return "\n\n".join("\n".join(visible(line) for line in block) for block in blocks) + "\n"


def rank_markdown(tree: RankTree) -> str:
    """The same tables in Markdown, and with how few references each attack does nearly as well."""
    out: list[str] = []
    for s in tree.studies:
        out += [f"### {s.name}", "", s.verdict, "", *_markdown(_rows(s, costs=True)), ""]
        if s.curves.attacks:
            wanted = f"references for {percent(s.curves.share)}"
            rows = [["attack", wanted, "surely", "difference there, or at its best"]]
            for c in s.curves.attacks:
                counts = ["–" if k is None else str(k) for k in (c.reach.references, c.reach.surely)]
                difference = shown(c.reach.difference, "difference", undefined="not stated", why=False)
                rows.append([c.label, *counts, difference])
            said = f"excess of {s.curves.benchmark} with all references: {shown(s.curves.excess, 'share', why=False)}"
            out += [f"TPR − FPR at FPR {percent(s.fpr)}; {said}.", "", *_markdown(rows), ""]
        out += [f"- {n.name} was not run: {n.reason}" for n in s.not_run]
        out += [""] if s.not_run else []
    if tree.across:
        rows = [["attack", "mean rank", "ranks", "not beaten in"], *(_across(a) for a in tree.across)]
        out += ["### All studies", "", *_markdown(rows), ""]
    return "\n".join(visible(line) for line in out)


def _across(a: RankAcross) -> list[str]:
    mean, ends = a.rank.value or 0.0, f"{a.rank.low:g} to {a.rank.high:g}"
    return [a.label, f"{mean:.1f}", ends, f"{a.unbeaten} of {a.studies}"]


def _study(s: StudyPart, width: int) -> list[str]:
    lines = [f"Ranking: {s.name}", *textwrap.wrap(s.verdict, width), "", *_aligned(_rows(s, costs=False)), ""]
    said = f"By {s.statistic}; attacks that share a letter cannot be told apart. * the declared headline."
    if any(t.resolution == "bounded only" for r in s.rows for t in r.tpr if t.estimate.value is not None):
        said += " b: bounded only, too few non-members to resolve it."
    lines += textwrap.wrap(f"{said} Intervals at {percent(s.confidence)}, for these records.", width)
    reached = [f"{c.label} {c.reach.references}" for c in s.curves.attacks if c.reach.references is not None]
    if reached:
        words = f"References for {percent(s.curves.share)} of the excess of {s.curves.benchmark} with all: "
        lines += textwrap.wrap(words + ", ".join(reached), width)
    for n in s.not_run:
        lines += textwrap.wrap(f"Not run: {n.name}: {n.reason}", width, subsequent_indent="  ")
    return lines


def _rows(s: StudyPart, *, costs: bool) -> list[list[str]]:
    fprs = [t.fpr for t in s.rows[0].tpr]
    head = ["#", "Attack", "Letters", *(f"TPR at {percent(f)} FPR" for f in fprs), "AUC", "References", "s/target"]
    rows = [head + (["Balanced accuracy", "c", "Questions", "Other models"] if costs else [])]
    for r in s.rows:
        row = [str(r.place), r.label + (" *" if r.headline else ""), r.letters]
        for t in r.tpr:
            words = shown(t.estimate, "share", undefined="not resolvable", why=False)
            row.append(words + (" b" if t.resolution == "bounded only" and t.estimate.value is not None else ""))
        c = r.cost
        row += [shown(r.auc, why=False), sides(c.references.inside, c.references.outside), f"{c.seconds:.2g}"]
        more = [shown(r.balanced_accuracy, why=False), f"{r.variance_factor:g}", str(c.queries), str(c.auxiliary)]
        rows.append(row + (more if costs else []))
    return rows


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]
