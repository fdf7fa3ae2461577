"""The report of an outsider's attack: one HTML file, and the same facts for a terminal."""

from __future__ import annotations

import textwrap
from pathlib import Path

from locard.attack_result import AttackResult, AttackTree, ClaimCard
from locard.report.attack_tables import controls_table
from locard.report.html import render, write_page
from locard.report.numbers import p_value, percent, thousands
from locard.report.selected import strip
from locard.report.svg import visible
from locard.report.tables import Cell, Table, columns, count, text
from locard.settings_text import to_toml

LISTED = 200  # tested candidates in the page's table
NAMED = 10  # claimed candidates in the terminal
N = "number"


def write_attack_report(result: AttackResult, path: Path) -> Path:
    """Write the page, and give back its path.

    Raises:
        SettingsError: ``path`` is a folder, or its folder does not exist.
        RunStopped: it cannot be written.
    """
    return write_page(path, attack_html(result))


def attack_html(result: AttackResult) -> str:
    """The page as text: the same result gives the same text."""
    from markupsafe import Markup

    r = result.summary
    cards = [
        {"card": c, "words": card_words(c), "figure": Markup(_figure(c, f"losses-{i}"))} for i, c in enumerate(r.cards)
    ]
    return render(
        "attack.html.jinja",
        r=r,
        facts=facts(r),
        claims=claims_table(result),
        checks=controls_table(r.checks),
        failed=[c for c in r.checks if c.passed is False],
        cards=cards,
        pictures=any(c.picture for c in r.cards),
        toml=to_toml(r.settings),
    )


def facts(r: AttackTree) -> list[tuple[str, str]]:
    """What the attacker had and did, as (what, words)."""
    k, t, s = r.known, r.target, r.selection
    spent = f"{thousands(t.queries)} of {thousands(t.budget)}" if t.budget is not None else thousands(t.queries)
    return [
        ("Model", f"{t.model}, which shows {t.access}"),
        ("Queries", f"{spent}: {thousands(t.about_candidates)} candidates, {thousands(t.about_calibration)} held-out "
                    f"records to calibrate, {thousands(t.for_checks)} to compare it with its references"
                    + (f", {thousands(t.indirectly)} other rows in place of candidates" if t.indirectly else "")),
        ("Candidates", f"{thousands(k.candidates)}, of which the screen {s.name} selected {thousands(s.selected)} and "
                       f"{thousands(s.tested)} were tested"),
        ("References", f"{k.references} models of {k.recipe} that test, {k.screened_by} others that screened, each "
                       f"trained on {thousands(round(k.training_size))} of {thousands(k.reference_records)} records "
                       f"(guesses at how the model was trained)"),
        ("Held out", f"{thousands(k.held_out)} records in no reference; {thousands(s.calibration)} of them are "
                     f"selected by the same screen and calibrate"),
    ]  # fmt: skip


def card_words(c: ClaimCard) -> str:
    """What was found of one candidate."""
    calibrated = "" if c.p_cal is None else f", calibrated {p_value(c.p_cal)}"
    said = "Claimed to be a member" if c.claimed else "Nothing is claimed"
    return (
        f"{said}: p by rank {p_value(c.p_rank)}, by tail {p_value(c.p_tail)}{calibrated}; adjusted "
        f"{p_value(c.p_adjusted)}."
    )


def claims_table(result: AttackResult) -> Table:
    """Tested candidates, the strongest claims first."""
    frame = result.claims[result.claims["decision"] != "not tested"]
    ordered = frame.sort_values(["attack", "p_adjusted", "p", "p_tail"], kind="stable").head(LISTED)
    rows: list[list[Cell]] = [
        [
            text(row["id"], "name id"),
            text(row["label"], "label"),
            text(row["attack"]),
            text(row["decision"], "strong" if row["decision"] == "member" else ""),
            *(Cell(p_value(row[k]), repr(float(row[k])), style=N) for k in ("p", "p_adjusted", "p_rank", "p_tail")),
            text(row["how"]),
            count(int(row["queries"])),
        ]
        for row in ordered.to_dict("records")
    ]
    head: list[str | tuple[str, str]] = ["Candidate", "Label", "Attack", "Decision", ("p", N), ("p, adjusted", N)]
    head += [("p by rank", N), ("p by tail", N), "How", ("Queries", N)]
    left = len(frame) - len(ordered)
    more = f" {thousands(left)} more are in claims.csv." if left else ""
    return Table("claims", f"Tested candidates by strength of evidence.{more}", columns(head), rows, (), "sort filter")


def attack_text(result: AttackResult, *, width: int = 88) -> str:
    """The same facts for a terminal."""
    r = result.summary
    lines = [f"Attack: {r.name}", *textwrap.wrap(r.verdict, width), ""]
    for what, words in facts(r):
        lines += _item(what, words, width)
    for c in r.checks:
        outcome = {True: "as expected", False: "NOT AS EXPECTED", None: "not judged"}[c.passed]
        lines += _item("Check", f"{c.name}: {outcome}" + (f" (p {p_value(c.p)})" if c.p is not None else ""), width)
    for a in r.lists:  # each has its own rate
        mine = result.claims[(result.claims["attack"] == a.name) & (result.claims["decision"] == "member")]
        if len(mine):
            ids = mine.sort_values("p_adjusted", kind="stable")["id"]
            more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
            names = ", ".join(str(v) for v in ids.head(NAMED).tolist())
            lines += [
                "",
                *_item("Members", f"{names}{more} (by {a.name}, false discovery rate {percent(a.fdr)})", width),
            ]
    lines += [line for n in r.not_run for line in _item("Not run", f"{n.name}: {n.reason}", width)]
    lines += [line for words in r.unresolved for line in _item("Open", words, width)]
    return "\n".join(visible(line) for line in lines) + "\n"


def _item(name: str, words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)


def _figure(c: ClaimCard, name: str) -> str:
    rows = [
        ("references without it", c.reference_losses, "tick-mark reference"),
        ("the attacked model", [c.loss], "tick-mark inside"),
    ]
    return strip(rows, name, f"Losses of candidate {c.id}")


__all__ = ["attack_html", "attack_text", "write_attack_report"]
