"""The tables of attacks, rates, groups, comparisons, controls and the released model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from locard.report.numbers import Kind, p_value, percent
from locard.report.tables import Cell, Notes, Table, columns, count, plain, share, text
from locard.report.wording import RESOLUTIONS, access_words, references_short
from locard.result import (
    AttackPart,
    ComparisonPart,
    ControlPart,
    GroupPart,
    NotRun,
    ReleasedAttack,
    ReleasedPart,
    Result,
    TprAt,
)

N, W = "number", "number interval"  # column styles: a number; one with an interval
Heads: TypeAlias = list[str | tuple[str, str]]


def attacks_table(attacks: Sequence[AttackPart]) -> Table:
    """One row an attack: who can do it and how well it tells members from non-members."""
    notes, fprs = Notes(), stated_fprs([a.tpr for a in attacks])
    bounded = any(t.epsilon.value is not None for t in attacks)
    rows = []
    for a in attacks:
        rows.append(
            [
                text(a.label + (" (headline)" if a.headline else ""), "name strong" if a.headline else "name"),
                text(access_words(a.access)),
                text(references_short(a)),
                notes.number(a.auc),
                *(tpr_of(notes, a.tpr, fpr) for fpr in fprs),
                notes.number(a.balanced_accuracy),
                *([notes.number(a.epsilon, "plain", "not stated")] if bounded else []),
            ]
        )
    head: Heads = [
        "Attack",
        "Access",
        "References",
        ("AUC", W),
        *((f"TPR at FPR {percent(f)}", W) for f in fprs),
    ]
    head += [("Balanced accuracy", W), *([("ε, lower bound", W)] if bounded else [])]
    caption = (
        "How well each attack tells members from non-members: estimate with its interval in brackets. "
        "An AUC or balanced accuracy of 0.5 is guessing. References: models that the attacker trained with a record "
        "(IN) and without it (OUT)."
    )
    return Table("attacks", caption, columns(head), rows, notes.pairs, "sort")


def rates_table(attacks: Sequence[AttackPart] | Sequence[ReleasedAttack], name: str = "rates") -> Table:
    """One row an attack and stated FPR: what the threshold really did, and how far it is resolved."""
    notes = Notes()
    priors = sorted({k for a in attacks for t in a.tpr for k in t.precision}, key=float, reverse=True)
    rows: list[list[Cell]] = []
    for a in attacks:
        for t in a.tpr:
            real = t.realised_fpr
            rows.append(
                [
                    text(a.label, "name"),
                    share(t.fpr),
                    _tpr_cell(notes, t),
                    text(t.resolution),
                    share(real.median if real else None),
                    share(real.worst if real else None),
                    count(t.non_members),
                    count(t.true_positives),
                    *(share(t.precision.get(k)) for k in priors),
                ]
            )
    head: Heads = [
        "Attack",
        ("FPR", N),
        ("TPR", W),
        "Resolution",
        ("Realised FPR, median", N),
    ]
    head += [("Realised FPR, worst", N), ("Non-members a target", N), ("Members found, all targets", N)]
    head += [(f"Precision if {percent(float(k))} are members", N) for k in priors]
    caption = "Each attack at each stated false-positive rate, and the rate that its thresholds really had."
    return Table(name, caption, columns(head), rows, notes.pairs, "sort")


def sources_table(attacks: Sequence[AttackPart]) -> Table:
    """Settings, variance factor and source of each attack."""
    rows = [
        [
            text(a.label, "name"),
            text(a.name),
            text(", ".join(f"{k} = {setting_words(v)}" for k, v in sorted(a.settings.items())) or "defaults"),
            plain(a.variance_factor),
            count(a.references.inside),
            count(a.references.outside),
            text("few values" if a.discrete else "continuous"),
            text(a.source),
        ]
        for a in attacks
    ]
    head: Heads = ["Attack", "Name", "Settings", ("Factor c", N), ("References IN", N)]
    head += [("References OUT", N), "Scores", "Source"]
    return Table("sources", "Settings and sources of the attacks.", columns(head), rows)


def epsilon_notes(attacks: Sequence[AttackPart]) -> list[str]:
    """Why no lower bound on epsilon is stated, each reason once; empty where some attack has one."""
    if any(a.epsilon.value is not None for a in attacks):
        return []
    return sorted({a.epsilon.reason or "no reason was recorded" for a in attacks})


def comparisons_table(comparisons: Sequence[ComparisonPart]) -> Table:
    """Paired differences of attacks, with p-values that pay for every comparison made."""
    notes, rows = Notes(), []
    for c in comparisons:
        told = "–" if c.p_adjusted is None else "told apart" if c.p_adjusted <= 0.05 else "not told apart"
        rows.append(
            [
                text(c.first, "name"),
                text(c.second),
                text(c.statistic),
                notes.number(c.difference, "difference"),
                _p(c.p),
                _p(c.p_adjusted),
                text(told),
            ]
        )
    head: Heads = ["First", "Second", "Statistic", ("First minus second", W), ("p", N)]
    head += [("p, adjusted (Holm)", N), "At 5 %"]
    caption = (
        "Differences between attacks on the same targets. The adjusted p-value pays for all comparisons in this table; "
        "“not told apart” does not mean equal."
    )
    return Table("comparisons", caption, columns(head), rows, notes.pairs, "sort")


def group_table(by: str, groups: Sequence[GroupPart], unit: str, index: int) -> Table:
    """One row a group: named records and the headline attack's strength, with intervals that hold together."""
    notes, rows = Notes(), []
    for g in groups:
        rows.append(
            [
                text(g.name, "name id"),
                count(g.records),
                count(g.exposed),
                count(g.suspected),
                notes.number(g.auc),
                notes.number(g.tpr, "share", "not resolvable"),
                share(g.fpr),
            ]
        )
    title = "Class" if by == "class" else by
    head: Heads = [title, (f"{unit.capitalize()}s", N), ("Exposed", N), ("Suspected", N)]
    head += [("AUC", W), ("TPR", W), ("at FPR", N)]
    caption = (
        f"Exposure by {by}, headline attack. These intervals are widened so that all of them hold together: the worst "
        f"group may be picked out after looking."
    )
    return Table(f"groups-{index}", caption, columns(head), rows, notes.pairs, "sort")


def controls_table(controls: Sequence[ControlPart]) -> Table:
    """Checks that must come out a known way."""
    notes = Notes()
    words = {True: "✓ as expected", False: "✗ NOT as expected", None: "not judged"}
    rows = [
        [
            text(c.name, "name"),
            text(c.description),
            text(c.statistic),
            notes.number(c.value, kind_of(c.statistic)),
            text(c.expected),
            _p(c.p),
            text(words[c.passed], "strong" if c.passed is False else ""),
        ]
        for c in controls
    ]
    head: Heads = [
        "Control",
        "What it checks",
        "Statistic",
        ("Found", W),
        "Expected",
        ("p", N),
    ]
    return Table("controls", "Controls.", columns([*head, "Outcome"]), rows, notes.pairs)


def floors_table(result: Result) -> Table | None:
    """The headline at another probability floor, for the attacks where it was computed; None where it never was."""
    notes, rows = Notes(), []
    for a in result.scored:
        other = a.at_other_floor
        if other is None:
            continue
        there = {t.fpr: t for t in other.tpr}
        rows.append(
            [text(a.label, "name"), text("AUC"), notes.number(a.auc), plain(other.floor), notes.number(other.auc)]
        )
        rows += [
            [
                text(a.label, "name"),
                text(f"TPR at FPR {t.fpr:g}"),
                _tpr_cell(notes, t),
                plain(other.floor),
                notes.number(there[t.fpr].estimate, "share"),
            ]
            for t in a.tpr
            if t.fpr in there
        ]
    if not rows:
        return None
    head: Heads = ["Attack", "Statistic", ("As reported", W), ("Other floor", N), ("There", W)]
    return Table("floors", "The headline at another probability floor.", columns(head), rows, notes.pairs)


def released_table(released: ReleasedPart) -> Table:
    """Attacks on the model that will be released."""
    notes, fprs = Notes(), stated_fprs([a.tpr for a in released.attacks])
    bounded = any(a.epsilon.value is not None for a in released.attacks)
    rows = [
        [
            text(a.label, "name"),
            notes.number(a.auc),
            *(tpr_of(notes, a.tpr, fpr) for fpr in fprs),
            *([notes.number(a.epsilon, "plain", "not stated")] if bounded else []),
        ]
        for a in released.attacks
    ]
    head: Heads = [
        "Attack",
        ("AUC", W),
        *((f"TPR at FPR {percent(f)}", W) for f in fprs),
    ]
    head += [("ε, lower bound", W)] if bounded else []
    caption = "Attacks on the released model: this model and this set of references; another training is not covered."
    return Table("released", caption, columns(head), rows, notes.pairs, "sort")


def not_run_table(not_run: Sequence[NotRun]) -> Table:
    """Attacks that could not run."""
    rows = [[text(n.name, "name"), text(n.reason)] for n in not_run]
    return Table("not-run", "Attacks that were not run.", columns(["Attack", "Reason"]), rows)


def stated_fprs(rates: Sequence[Sequence[TprAt]]) -> list[float]:
    """All stated FPRs, ascending."""
    return sorted({t.fpr for each in rates for t in each})


def headline_rate(attack: AttackPart) -> TprAt | None:
    """The first stated FPR that has a value, as the verdict uses it; None where none has."""
    return next((t for t in attack.tpr if t.estimate.value is not None), None)


def kind_of(statistic: str) -> Kind:
    """How a statistic's values are printed, from its name.

    >>> kind_of("AUC"), kind_of("TPR at FPR 0.1 %"), kind_of("pairs")
    ('score', 'share', 'plain')
    """
    name = statistic.casefold()
    return "score" if "auc" in name or "accuracy" in name else "share" if "tpr" in name or "share" in name else "plain"


def setting_words(value: Any) -> str:
    """A setting as it would be written: ``true``, ``"pooled"``, ``0.5``."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else "none" if value is None else str(value)


def tpr_of(notes: Notes, rates: Sequence[TprAt], fpr: float) -> Cell:
    """A cell with the TPR at one of the stated rates; a dash where it is not among them."""
    found = next((t for t in rates if t.fpr == fpr), None)
    return text("–", N) if found is None else _tpr_cell(notes, found)


def _tpr_cell(notes: Notes, rate: TprAt) -> Cell:
    cell = notes.number(rate.estimate, "share", "not resolvable")
    if rate.resolution == "resolved" or rate.estimate.value is None:
        return cell
    mark = notes.mark(RESOLUTIONS[rate.resolution])
    return Cell(f"{cell.text} {mark}", cell.value, cell.low, cell.high, cell.title, cell.style)


def _p(p: float | None) -> Cell:
    return Cell(p_value(p), None if p is None else repr(p), style=N)
