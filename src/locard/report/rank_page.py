"""The page of ``locard rank``: one HTML file, a section a study. No record is named on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from locard.rank_result import OverlapPart, PicksPart, RankTree, StudyPart
from locard.report import rank_tables
from locard.report.attack_tables import not_run_table
from locard.report.figures import Panel, forest_figure
from locard.report.html import render, write_page
from locard.report.numbers import percent, shown, thousands
from locard.report.rank_figures import curves_figure
from locard.report.tables import Table
from locard.settings_text import to_toml

PAIRS_TOLD = 4  # of attacks with equal AUC that pick different records


def write_rank_page(tree: RankTree, path: Path) -> Path:
    """Write the page, and give back its path.

    Raises:
        SettingsError: ``path`` is a folder, or its folder does not exist.
        RunStopped: it cannot be written.
    """
    return write_page(path, rank_html(tree))


def rank_html(tree: RankTree) -> str:
    """The page as text: the same tree gives the same text."""
    studies = [_study(s, f"s{i}") for i, s in enumerate(tree.studies)]
    return render(
        "rank.html.jinja",
        r=tree,
        title=tree.studies[0].name if len(tree.studies) == 1 else f"{len(tree.studies)} studies",
        studies=studies,
        across=rank_tables.across_table(tree.across) if tree.across else None,
    )


def _study(s: StudyPart, prefix: str) -> dict[str, Any]:
    from markupsafe import Markup

    curves = s.curves
    drawn = curves.reason is None and any(p.tpr.value is not None for c in curves.attacks for p in c.points)
    return {
        "s": s,
        "id": prefix,
        "boxes": key_numbers(s),
        "ranking": rank_tables.ranking_table(s, prefix),
        "costs": rank_tables.costs_table(s, prefix),
        "forest": Markup(_forest(s, prefix)),
        "differences": rank_tables.differences_table(s, prefix),
        "comparisons": rank_tables.all_comparisons(s, prefix) if s.comparisons else None,
        "picks": rank_tables.picks_table(s.picks, prefix) if s.picks.attacks else None,
        "overlap": rank_tables.overlap_table(s.picks, prefix) if s.picks.attacks else None,
        "picks_not_run": _left_out(s.picks, prefix),
        "disagree": disagreements(s),
        "curves": Markup(curves_figure(curves, f"{prefix}-curves")) if drawn else None,
        "reach": rank_tables.reach_table(curves, prefix) if curves.attacks else None,
        "points": rank_tables.points_table(curves, prefix) if curves.attacks else None,
        "not_run": _renamed(not_run_table(s.not_run), f"{prefix}-not-run") if s.not_run else None,
        "toml": to_toml(s.settings),
        "fpr": percent(s.fpr),
        "curve_words": curve_words(s),
    }


def key_numbers(s: StudyPart) -> list[tuple[str, str, str]]:
    """(value, what it is, how to read it) for the boxes under the verdict."""
    first = s.rows[0]
    rate = next(t for t in first.tpr if t.fpr == s.fpr)
    found = rate.estimate if s.statistic != "AUC" else first.auc
    best = s.best or f"{len(s.unbeaten)} of {len(s.rows)}"
    how = "no other attack is shown to be better than it" if s.best else "attacks that no other is shown to beat"
    undefined = "not resolvable" if rate.resolution == "not resolvable" else "not measured"
    return [
        (best, "best attack" if s.best else "attacks may be the best", how),
        (
            shown(found, "share" if s.statistic != "AUC" else "score", undefined=undefined, why=False),
            f"{s.statistic} of the highest",
            f"{first.label}; its own interval",
        ),
        (thousands(s.data.units), "records (or units) attacked", f"{thousands(s.target.models)} models, "
         f"{thousands(s.target.targets)} of them attacked in turn, {thousands(s.target.pairs)} pairs"),
        (shown(s.target.gap, "share", why=False), "gap between training and test accuracy",
         f"training {shown(s.target.train_accuracy, 'share', why=False)}, elsewhere "
         f"{shown(s.target.test_accuracy, 'share', why=False)}"),
    ]  # fmt: skip


def disagreements(s: StudyPart) -> list[str]:
    """Attacks that AUC does not tell apart and that pick different records, those that share the least first."""
    same = {(c.first, c.second) for c in s.comparisons if c.statistic == "AUC" and not _told(c.p_adjusted, s)}
    found = {frozenset((o.first, o.second)): o for o in s.picks.overlaps}
    said: list[tuple[float, str]] = []
    for a, b in sorted(same):
        o, own = found.get(frozenset((a, b))), [found.get(frozenset((x,))) for x in (a, b)]
        ceilings = [c.share for c in own if c is not None and c.share is not None]
        if o is None or o.share is None or len(ceilings) < 2 or o.share >= min(ceilings):
            continue
        said.append((o.share / max(ceilings), _disagree(a, b, o, ceilings)))
    return [words for _, words in sorted(said)[:PAIRS_TOLD]]


def curve_words(s: StudyPart) -> str:
    """What the curves are and what their intervals cover."""
    c = s.curves
    return (
        f"{thousands(c.targets)} targets ({thousands(c.pairs)} pairs, the first of the plan) are attacked again with "
        f"few references. Each draws its own from the {thousands(c.available)} pairs (or single references) that are "
        f"neither it nor its partner; a larger number contains the smaller ones. A number counts the models whose "
        f"answers a record's score rests on: an attack that learns from models with and without a record uses half of "
        f"each, so that 1 does not exist for it; one that learns from models without it uses so many OUT. Intervals "
        f"cover the choice of targets and of references among these models (t over the pairs of targets, with the "
        f"attack's factor c); they do not cover other records, nor models beyond these. They are wider than those of "
        f"the first table, which attacks all targets."
    )


def _told(p: float | None, s: StudyPart) -> bool:
    return p is not None and p <= 1 - s.confidence


def _disagree(a: str, b: str, o: OverlapPart, own: list[float]) -> str:
    return (
        f"{a} and {b} cannot be told apart by AUC, yet of the records that either picks only "
        f"{percent(o.share or 0, 0)} are picked by both; with itself {a} agrees on {percent(own[0], 0)}, "
        f"{b} on {percent(own[1], 0)}."
    )


def _forest(s: StudyPart, prefix: str) -> str:
    panels = [Panel("AUC", [r.auc for r in s.rows], "score", 0.5)]
    if s.statistic != "AUC":
        at = [next(t.estimate for t in r.tpr if t.fpr == s.fpr) for r in s.rows]
        panels.insert(0, Panel(s.statistic, at, "share", s.fpr))
    return forest_figure(f"{prefix}-forest", "Attacks side by side", [r.label for r in s.rows], panels)


def _left_out(picks: PicksPart, prefix: str) -> Table | None:
    if not picks.not_run:
        return None
    return _renamed(not_run_table(picks.not_run), f"{prefix}-picks-not-run")


def _renamed(table: Table, name: str) -> Table:
    from dataclasses import replace

    return replace(table, name=name)
