"""What one training run says of epsilon, and what was planted, for the page and the terminal."""

from __future__ import annotations

import math
from typing import Any

from locard.report.numbers import percent, thousands
from locard.report.tables import Notes, Table, columns, text
from locard.result import OneRunPart, Result

READ = (
    "Epsilon (ε) says how much one record may change what training gives away: the odds that anybody can tell whether "
    "it was used are multiplied by at most e^ε. 0.1 is strong protection, 1 moderate, above 8 little in theory. A "
    "lower bound says that this training does not protect better than that. It never says how well it does protect: a "
    "small bound may come from a weak attack, or from few coins."
)


def one_run_section(r: Result) -> dict[str, Any] | None:
    """Sentences and a table for the page; None where no single run was audited."""
    run = r.one_run
    if run is None:
        return None
    return {"read": READ, "how": how_words(r), "table": _table(run), "assumes": run.assumes}


def bound_shown(run: OneRunPart) -> str:
    """The bound alone, rounded down."""
    value = run.epsilon.value
    return "no bound" if value is None else f"{math.floor(100 * value + 1e-9) / 100:.2f}"


def how_words(r: Result) -> str:
    """What was done, in two or three sentences; empty where no single run was audited."""
    run = r.one_run
    if run is None:
        return ""
    unit = "units" if r.data.unit is not None else "records"
    said = (
        f"A fair coin for each of {thousands(run.coins)} {unit} decided whether the model was trained on it; "
        f"{thousands(run.members)} were in. The attack {run.attack} then guessed how the coins fell"
    )
    said += f", with {thousands(run.references)} other models to learn from." if run.references else "."
    if r.canaries is not None:
        said += f" {r.canaries.words}"
    if run.epsilon.method is not None:
        said += f" Method: {run.epsilon.method}."
    return said


def one_run_words(r: Result) -> list[str]:
    """The same for the terminal."""
    if r.one_run is None:
        return [] if r.canaries is None else [r.canaries.words]
    return [how_words(r), *(f"Assumes: {a}" for a in r.one_run.assumes)]


def _table(run: OneRunPart) -> Table:
    notes = Notes()
    rows = [[text("ε, lower bound", "name"), notes.number(run.epsilon, "plain", "no bound")]]
    if run.mu is not None:
        rows.append([text("μ of the Gaussian mechanism, lower bound", "name"), notes.number(run.mu, "plain")])
    confidence = run.epsilon.confidence
    facts = [
        ("δ", f"{run.delta:g}"),
        ("Confidence", "-" if confidence is None else percent(confidence)),
        ("Attack", run.attack),
        ("Coins", thousands(run.coins)),
    ]
    if run.claimed is not None:
        facts.append(("ε claimed", f"{run.claimed:g}: {'refuted' if run.refuted else 'not refuted'}"))
    rows += [[text(name, "name"), text(value)] for name, value in facts]
    caption = "The bound from this one training run, and what it is of."
    return Table("one-run-table", caption, columns(["What", "Value"]), rows, notes.pairs)
