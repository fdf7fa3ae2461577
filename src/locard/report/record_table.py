"""The table of named records: by unit where several rows belong to one person, strongest evidence first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.report.numbers import p_value, percent, thousands
from locard.report.tables import Cell, Table, columns, count, text
from locard.report.wording import GRADES
from locard.result import AuditResult

if TYPE_CHECKING:
    import pandas as pd

LISTED = 200  # named records on the page
NEXT_IN_LINE = 20  # records that are not named, listed after them

STATISTICS = ("hits_in", "hits_out", "trials", "wins", "pairs", "p_flip", "p_hit", "q")
INTERVALS = ("low", "high", "fcr_low", "fcr_high", "grade")
MEMORY = tuple(f"{name}{end}" for name in ("memorisation", "probability_gain") for end in ("", "_low", "_high"))
FIXED = ("id", "unit", "label", "member", "near_duplicate", *MEMORY, *STATISTICS, *INTERVALS)


def group_columns(result: AuditResult) -> list[str]:
    """The user's own group columns among the columns of ``records``."""
    attacks = [a.label for a in result.summary.attacks]
    known = {*FIXED, *(f"score_{a}" for a in attacks), *(f"released_{a}" for a in attacks)}
    return [c for c in result.records.columns if c not in known]


def by_unit(result: AuditResult) -> bool:
    """True where several rows may belong to one unit, so that grades and names are of units."""
    return result.summary.data.unit is not None and "unit" in result.records.columns


def unit_word(result: AuditResult) -> str:
    """What is named: ``unit`` or ``record``."""
    return "unit" if by_unit(result) else "record"


def exposure_order(result: AuditResult) -> pd.DataFrame:
    """One row a unit (or record), strongest evidence first: by grade, then q, p_hit, p_flip, then as given.

    Adds the columns ``name`` (unit or id) and ``rows`` (how many records the unit has).
    """
    frame = result.records
    key = "unit" if by_unit(result) else "id"
    if key == "unit":
        units = frame.groupby("unit", sort=False)
        frame = frame.assign(rows=units["id"].transform("size"))
        if "near_duplicate" in frame.columns:
            frame["near_duplicate"] = units["near_duplicate"].transform("any")
        frame = frame.drop_duplicates("unit", keep="first")
    else:
        frame = frame.assign(rows=1)
    frame = frame.assign(name=frame[key])
    rank = {grade: i for i, grade in enumerate(GRADES)}
    keys = [frame[k].to_numpy(dtype=np.float64, na_value=np.inf) for k in ("p_flip", "p_hit", "q")]
    keys = [np.where(np.isnan(k), np.inf, k) for k in keys]
    grades = np.array([rank.get(g, len(rank)) for g in frame["grade"].tolist()])
    return frame.iloc[np.lexsort((np.arange(len(frame)), *keys, grades))]


def records_table(result: AuditResult) -> Table:
    """Exposed and suspected records up to ``LISTED``, then a few that are not named."""
    ordered = exposure_order(result)
    named = ordered[ordered["grade"] != "not shown"]
    shown = [named.iloc[:LISTED], ordered[ordered["grade"] == "not shown"].iloc[:NEXT_IN_LINE]]
    unit, released = unit_word(result), "member" in ordered.columns and bool(ordered["member"].notna().any())
    records = [row for part in shown for row in part.to_dict("records")]
    if unit == "unit":
        labels = _labels(result.records, [row["unit"] for row in records])
        records = [row | {"label": labels[row["unit"]]} for row in records]
    rows = [_row(row, unit, released=released, place=place) for place, row in enumerate(records, start=1)]
    head: list[str | tuple[str, str]] = [("#", "number"), unit.capitalize()]
    head += [("Rows", "number")] if unit == "unit" else []
    head += ["Label", "Grade", ("Found when trained on", "number interval"), ("Claimed when not", "number")]
    head += [("Pairs won", "number"), ("q", "number")]
    head += ["Near-copy"] if "near_duplicate" in ordered.columns else []
    head += ["In released model"] if released else []
    listed = len(shown[0])
    more = f" The first {thousands(listed)} of {thousands(len(named))} named" if len(named) > listed else " All named"
    caption = (
        f"{unit.capitalize()}s by strength of evidence, headline attack.{more} {unit}s are listed, then the first "
        f"{thousands(len(shown[1]))} that are not named; every {unit} is in records.parquet."
    )
    return Table("records", caption, columns(head), rows, (), "sort filter grade long")


def grade_counts(result: AuditResult) -> Table:
    """How many records have each grade: what a redacted report shows in place of names."""
    e = result.summary.exposed
    counts = {"exposed": e.n, "suspected": e.suspected, "not shown": e.not_shown}
    rows = [[text(grade, "name grade"), count(counts[grade])] for grade in GRADES]
    title = "Units" if result.summary.data.unit is not None else "Records"
    caption = "How many have each grade. Names are left out of this redacted report."
    return Table("grades", caption, columns(["Grade", (title, "number")]), rows)


def _row(row: dict[Any, Any], unit: str, *, released: bool, place: int) -> list[Cell]:
    grade = str(row["grade"])
    wins, pairs = whole(row["wins"]), whole(row["pairs"])
    cells = [count(place), text(row["name"], "name id")]
    cells += [count(int(row["rows"]))] if unit == "unit" else []
    cells += [text(row["label"], "label"), text(grade, f"grade {grade.replace(' ', '-')}"), _found(row)]
    cells += [_hits(row["hits_out"], row["trials"])]
    won = "–" if wins is None else f"{wins} of {pairs}" if pairs else "all alike"
    cells += [Cell(won, style="number", sort=str(wins or 0))]
    cells += [_p(row["q"])]
    cells += [text("yes" if row["near_duplicate"] else "")] if "near_duplicate" in row else []
    if released:
        member = row["member"]
        cells.append(text("" if missing(member) else "member" if member else "not a member"))
    return cells


def _found(row: dict[Any, Any]) -> Cell:
    """Hits among targets that saw the record, with the interval that its grade deserves."""
    hits, trials = whole(row["hits_in"]), whole(row["trials"])
    if hits is None or not trials:
        return Cell("not measured", style="undefined")
    low, high, kind = interval_of(row)
    if low is None or high is None:
        return Cell(f"{hits} of {trials}", style="number", sort=repr(hits / trials))
    words = f"{hits} of {trials} [{percent(low, 0)}, {percent(high, 0)}]"
    return Cell(words, None, repr(low), repr(high), kind, "number", sort=repr(hits / trials))


def interval_of(row: dict[Any, Any]) -> tuple[float | None, float | None, str]:
    """The interval printed beside a row's hits: wider, for having been picked, where the record is named."""
    if not missing(row.get("fcr_low")) and row["grade"] == "exposed":
        return float(row["fcr_low"]), float(row["fcr_high"]), "interval that pays for the record having been picked"
    if missing(row.get("low")):
        return None, None, ""
    return float(row["low"]), float(row["high"]), "95 % interval for this record alone"


def _hits(hits: Any, trials: Any) -> Cell:
    h, t = whole(hits), whole(trials)
    if h is None or not t:
        return Cell("not measured", style="undefined")
    return Cell(f"{h} of {t}", style="number", sort=str(h))


def _p(p: Any) -> Cell:
    value = None if missing(p) else float(p)
    return Cell(p_value(value), None if value is None else repr(value), style="number")


def whole(value: Any) -> int | None:
    """An integer, or None for a missing one."""
    return None if missing(value) else int(value)


def missing(value: Any) -> bool:
    """True for None, NaN and pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _labels(frame: pd.DataFrame, units: list[Any]) -> dict[Any, str]:
    """The labels that occur among each unit's rows."""
    rows = frame[frame["unit"].isin(units)]
    return {
        unit: ", ".join(str(v) for v in dict.fromkeys(part.tolist())) for unit, part in rows.groupby("unit")["label"]
    }
