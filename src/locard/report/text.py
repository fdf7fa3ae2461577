"""The same facts for a terminal: a summary of an audit, and all that is known about one record."""

from __future__ import annotations

import difflib
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.errors import SettingsError
from locard.report.attack_tables import stated_fprs
from locard.report.numbers import p_value, percent, shown, thousands
from locard.report.one_run import one_run_words
from locard.report.record_table import by_unit, exposure_order, group_columns, interval_of, missing, whole
from locard.report.selected import claims_words
from locard.report.sequential import sequential_words
from locard.report.svg import visible
from locard.report.wording import OUTCOMES, access_words, grade_meaning
from locard.result import AuditResult, Result

if TYPE_CHECKING:
    import pandas as pd

NAMED = 5  # names in the summary


def summary_text(result: AuditResult, *, width: int = 88) -> str:
    """A summary of about 30 lines of plain text, no line longer than ``width`` unless a name is.

    Print it without markup: names may hold square brackets. Control characters in names are written out.
    """
    r = result.summary
    blocks = [
        [f"Audit: {r.name}", *_wrap(r.verdict, width)],
        _policy(r, width),
        [*_item("Controls", _controls(r), width), *_item("Data", _data(r), width), *_item("Models", _models(r), width)],
        _attacks(r, width),
        [line for words in sequential_words(r) for line in _item("Pairs", words, width)],
        [line for words in one_run_words(r) for line in _item("One run" if r.one_run else "Canaries", words, width)],
        _exposed(result, width),
        [line for words in claims_words(r) for line in _item("Claims", words, width)],
        _open_questions(r, width),
        [line for step in r.next_steps for line in _item("Next", step, width)],
    ]
    return "\n\n".join("\n".join(visible(line) for line in block) for block in blocks if block) + "\n"


def record_text(result: AuditResult, id: object, *, width: int = 88) -> str:
    """All that is known about one record or unit: grade and its meaning, hits, tests, and its score in each attack.

    Raises:
        SettingsError: no record and no unit has this id; the message names the nearest.
    """
    rows, named = _rows(result, str(id))
    head = rows.iloc[0].to_dict()
    unit = by_unit(result)
    grade = str(head["grade"])
    title = f"Unit {head['unit']}" if unit else f"Record {head['id']}"
    lines = [f"{title}: {grade}", *_wrap(grade_meaning(grade, result.summary.exposed.fdr), width), ""]
    if unit:
        ids = ", ".join(str(v) for v in rows["id"].tolist()[:10])
        more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
        asked = f" (asked for: record {named})" if named is not None else ""
        lines += _item("Records", f"{ids}{more}{asked}. Grade and tests are of the unit as a whole.", width)
    lines += _item("Label", ", ".join(dict.fromkeys(str(v) for v in rows["label"].tolist())), width)
    for column in group_columns(result):
        lines += _item(column, ", ".join(dict.fromkeys(str(v) for v in rows[column].tolist())), width)
    if not missing(head.get("member")):
        lines += _item("Released", "member" if head["member"] else "not a member", width)
    if "near_duplicate" in rows.columns and bool(rows["near_duplicate"].any()):
        lines += _item("Near-copy", "another audited record is nearly the same; the report says what that does.", width)
    lines += ["", *_tests(head, result.summary.headline.label, width), "", *_scores(result, rows)]
    return "\n".join(visible(line) for line in lines) + "\n"


def _policy(r: Result, width: int) -> list[str]:
    words = OUTCOMES[r.policy.outcome][0]
    if r.policy.outcome == "none":
        return _item("Policy", "none was given", width)
    lines = _item("Policy", f"{r.policy.outcome.upper()}: {words.lower()}", width)
    for reason in r.policy.reasons:
        lines += _item("", reason, width)
    for need in r.policy.needed:
        lines += _item("To settle", need, width)
    return lines


def _controls(r: Result) -> str:
    if not r.controls:
        return "none was run"
    failed = [c for c in r.controls if c.passed is False]
    if failed:
        found = "; ".join(f"{c.name}: {c.statistic} {shown(c.value)}, expected {c.expected}" for c in failed)
        return f"NOT AS EXPECTED, do not rely on these numbers: {found}"
    return ", ".join(f"{c.name} {'as expected' if c.passed else 'not judged'}" for c in r.controls)


def _data(r: Result) -> str:
    units = f" of {thousands(r.data.units)} units" if r.data.unit is not None else ""
    return (
        f"{r.data.source}: {thousands(r.data.n)} audited records{units}, {len(r.data.classes)} classes, "
        f"{thousands(r.data.population)} population records"
    )


def _models(r: Result) -> str:
    t = r.target
    return (
        f"{thousands(t.models)} of {t.estimator} (plan: {t.design}), {thousands(t.targets)} attacked; accuracy "
        f"{shown(t.train_accuracy, 'share', why=False)} in training, "
        f"{shown(t.test_accuracy, 'share', why=False)} elsewhere"
    )


def _attacks(r: Result, width: int) -> list[str]:
    """The attacks as aligned columns; a rate without a value says so, with the reasons below."""
    fprs = stated_fprs([a.tpr for a in r.scored])
    if len(fprs) > 2:  # a terminal has room for two: those that can be shown, smallest first
        shows = {f: any(t.fpr == f and t.estimate.value is not None for a in r.scored for t in a.tpr) for f in fprs}
        fprs = sorted(sorted(fprs, key=lambda f: not shows[f])[:2])
    rows = [["Attack", "Needs", "AUC", *(f"TPR at {percent(f)} FPR" for f in fprs)]]
    bounded = False
    for a in r.scored:
        row = [a.label + (" *" if a.headline else ""), access_words(a.access), shown(a.auc, why=False)]
        for fpr in fprs:
            at = next((t for t in a.tpr if t.fpr == fpr), None)
            words = "-" if at is None else shown(at.estimate, "share", undefined="not resolvable", why=False)
            if at is not None and at.resolution == "bounded only" and at.estimate.value is not None:
                words, bounded = words + " b", True
            row.append(words)
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    if sum(widths) + 2 * len(widths) > width:  # the access column is in the report too
        rows, widths = [[*row[:1], *row[2:]] for row in rows], [*widths[:1], *widths[2:]]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    note = "* the declared headline." + (" b: bounded only, too few non-members to resolve it." if bounded else "")
    confidence = r.headline.auc.confidence
    level = f" Intervals at {percent(confidence)}, for these records." if confidence is not None else ""
    return [lines[0], "-" * len(lines[0]), *lines[1:], *_wrap(note + level, width)]


def _exposed(result: AuditResult, width: int) -> list[str]:
    r = result.summary
    e = r.exposed
    unit, total = ("units", r.data.units) if r.data.unit is not None else ("records", r.data.n)
    counts = f"{thousands(e.n)} of {thousands(total)} {unit}; {thousands(e.suspected)} more suspected"
    lines = _item("Exposed", f"{counts}; {thousands(e.not_shown)} not shown (which is not “safe”)", width)
    lines += _item("", e.rule, width)
    if e.n and len(result.records):
        ordered = exposure_order(result)
        names = ordered.loc[ordered["grade"] == "exposed", "name"].tolist()
        more = f" and {thousands(len(names) - NAMED)} more" if len(names) > NAMED else ""
        lines += _item("", f"First: {', '.join(str(v) for v in names[:NAMED])}{more}", width)
    elif not e.n and e.nameable not in r.unresolved:
        lines += _item("", f"What this design could have named: {e.nameable}", width)
    if r.released is not None:
        lines += _item("Released", r.released.statement, width)
        for warning in r.released.warnings:
            lines += _item("", f"Differs from the references: {warning}", width)
    return lines


def _open_questions(r: Result, width: int) -> list[str]:
    lines = [line for u in r.unresolved for line in _item("Open", u, width)]
    return lines + [line for n in r.not_run for line in _item("Not run", f"{n.name}: {n.reason}", width)]


def record_rows(result: AuditResult, id: object) -> pd.DataFrame:
    """The rows of ``records.parquet`` that belong to one record or unit.

    Raises:
        SettingsError: no record or unit has that id; the nearest ones are named.
    """
    return _rows(result, str(id))[0]


def _rows(result: AuditResult, asked: str) -> tuple[pd.DataFrame, str | None]:
    """The rows of a record or unit; with units, also the id where a record was asked for."""
    frame = result.records
    ids = frame["id"].astype(str)
    if not by_unit(result):
        found = frame[(ids == asked).to_numpy()]
        if len(found):
            return found, None
        raise _unknown(asked, ids.tolist(), "record")
    units = frame["unit"].astype(str)
    found = frame[(units == asked).to_numpy()]
    if len(found):
        return found, None
    of = frame.loc[(ids == asked).to_numpy(), "unit"]
    if of.nunique() == 1:
        return frame[(frame["unit"] == of.iloc[0]).to_numpy()], asked
    if of.nunique() > 1:
        names = ", ".join(str(v) for v in of.unique().tolist()[:5])
        raise SettingsError(
            f"record: one unit is needed, found {of.nunique()} with a record {asked!r} ({names}). Name the unit."
        )
    raise _unknown(asked, [*units.unique().tolist(), *ids.tolist()], "unit or record")


def _unknown(asked: str, names: list[str], what: str) -> SettingsError:
    """The error for an unknown id, with the nearest ones: near in spelling, or near in number."""
    if asked.lstrip("+-").isdigit():
        numbers = sorted((abs(int(n) - int(asked)), n) for n in set(names) if n.lstrip("+-").isdigit())
        near = [n for _, n in numbers[:3]]
    else:
        alike = [n for n in dict.fromkeys(names) if abs(len(n) - len(asked)) <= max(2, len(asked) // 3)]
        if len(alike) > 2000:  # compare spelling only with those that share letters at either end
            alike = [n for n in alike if n[:3] == asked[:3] or n[-3:] == asked[-3:]][:5000]
        close = difflib.get_close_matches(asked, alike, n=20, cutoff=0.5)
        near = sorted(close, key=lambda n: -_same_beginning(n, asked))[:3]
    nearest = f" Nearest: {', '.join(near)}." if near else ""
    return SettingsError(
        f"record: an id of an audited {what} is needed, found {asked!r}, which is none of them.{nearest} "
        f"All ids are in records.parquet."
    )


def _same_beginning(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _tests(head: dict[Any, Any], label: str, width: int) -> list[str]:
    hits, out, trials = (whole(head[k]) for k in ("hits_in", "hits_out", "trials"))
    wins, pairs = whole(head["wins"]), whole(head["pairs"])
    lines = [f"Headline attack: {label}"]
    if trials and hits is not None:
        low, high, kind = interval_of(head)
        ends = f" [{percent(low, 0)}, {percent(high, 0)}] ({kind})" if low is not None and high is not None else ""
        lines += _item("Hits", f"claimed in {hits} of {trials} targets trained on it{ends}", width)
        lines += _item("", f"claimed in {out} of {trials} targets not trained on it", width)
    else:
        lines += _item("Hits", "not measured with this number of pairs", width)
    if wins is not None:
        alike = "the two models of every pair answer alike for it"
        lines += _item("Pairs", f"the model trained on it won {wins} of {pairs}" if pairs else alike, width)
    lines += _memory(head, width)
    p = {k: None if missing(head[k]) else float(head[k]) for k in ("p_flip", "p_hit", "q")}
    lines += _item("Tests", f"p = {p_value(p['p_flip'])} (training on it changes nothing)", width)
    lines += _item("", f"p = {p_value(p['p_hit'])} (found in at most 1 of 10 retrainings)", width)
    lines += _item("", f"q = {p_value(p['q'])} (smallest false discovery rate that would name it)", width)
    return lines


def _memory(head: dict[Any, Any], width: int) -> list[str]:
    """How much better models know the record when they were trained on it."""
    lines: list[str] = []
    for name, what in (("memorisation", "right more often by"), ("probability_gain", "surer of its label by")):
        ends = [head.get(f"{name}{end}") for end in ("", "_low", "_high")]
        if not any(missing(end) for end in ends):
            value, low, high = (f"{float(end):+.2f}" for end in ends)  # type: ignore[arg-type]
            lines += _item("" if lines else "Memorised", f"{what} {value} [{low}, {high}] when trained on it", width)
    return lines


def _scores(result: AuditResult, rows: pd.DataFrame) -> list[str]:
    """Each attack's mean score with and without the record, their contrast, and where it ranks among all records."""
    table = [["Score", "trained on it", "not trained", "contrast", "larger than"]]
    places = result.records.index.get_indexer(rows.index)
    member = result.scores.get("member")
    released = []
    for attack in result.summary.scored:
        column = f"score_{attack.label}"
        if column not in result.records.columns:
            continue
        every = result.records[column].to_numpy(dtype=np.float64, na_value=np.nan)
        own, known = float(np.mean(every[places])), every[~np.isnan(every)]
        row = [attack.label, *_means(result.scores.get(attack.label), member, places)]
        row += ["-", "-"] if np.isnan(own) else [f"{own:z.3f}", f"{percent(float(np.mean(known < own)), 1)} of records"]
        table.append(row)
        other = f"released_{attack.label}"
        if other in result.records.columns and not rows[other].isna().any():
            all_released = result.records[other].to_numpy(dtype=np.float64, na_value=np.nan)
            score = float(np.mean(all_released[places]))
            rank = percent(float(np.nanmean(all_released < score)), 1)
            released.append(f"  {attack.label}: {score:z.3f}, larger than {rank} of records")
    widths = [max(len(row[i]) for row in table) for i in range(5)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
    return lines + (["", "Score on the released model:", *released] if released else [])


def _means(scores: np.ndarray | None, member: np.ndarray | None, places: np.ndarray) -> list[str]:
    if scores is None or member is None:
        return ["-", "-"]
    part, mask = scores[:, places], member[:, places]
    return [f"{part[m].mean():z.3f}" if m.any() else "-" for m in (mask, ~mask)]


def _item(name: str, words: str, width: int) -> list[str]:
    """``name`` in a margin of 11, words beside it."""
    return _wrap(words, width, first=f"{name:<11}", rest=" " * 11) or [name]


def _wrap(words: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most ``width``; a number stays on the line of its percent sign, an interval on one line."""
    held = re.sub(r"\[[^\[\]]{1,40}\]| %", lambda m: m[0].replace(" ", "\u00a0"), words)
    lines = textwrap.wrap(
        held,
        max(width, 30),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines]
