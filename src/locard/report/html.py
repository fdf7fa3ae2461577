"""The HTML report: one file that loads nothing, reads top to bottom, prints, and is whole without scripts."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locard.errors import SettingsError
from locard.files import write_file
from locard.report import attack_tables, figures, record_table, wording
from locard.report.model_card import model_card
from locard.report.numbers import percent, precise, shown, thousands
from locard.report.one_run import bound_shown, one_run_section
from locard.report.redact import redact as without_names
from locard.report.selected import selected_section
from locard.report.sequential import sequential_section
from locard.report.svg import visible
from locard.report.tables import histogram_table, roc_table
from locard.result import AuditResult, GroupPart, Result
from locard.settings_text import to_toml
from locard.types import Access

if TYPE_CHECKING:
    from jinja2 import Template

MOST_ROWS = 40  # of a figure of groups; its table has them all

SECTIONS = (
    ("verdict", "Verdict"),
    ("one-run", "What one training run says"),
    ("looks-section", "Pair after pair"),
    ("who", "Who could do this"),
    ("strength-section", "How well members can be told from others"),
    ("scores-section", "Scores"),
    ("groups-section", "Classes and groups"),
    ("records-section", "Exposed records"),
    ("selected-section", "Selected records, one by one"),
    ("unresolved", "What these data could not tell"),
    ("controls-section", "Controls and conditions"),
    ("released-section", "The released model"),
    ("next", "What to do next"),
    ("repeat", "To repeat this audit"),
    ("card", "Paragraph for a model card"),
)


def write_report(result: AuditResult, path: str | Path, *, redact: bool = False) -> Path:
    """Write the report of an audit as one self-contained HTML file, and give back its path.

    Args:
        result: what an audit found.
        path: the file to write; its folder must exist.
        redact: leave out every id, unit, small group, per-record row and file name, so that it may be published.

    Raises:
        SettingsError: ``path`` is a folder, or its folder does not exist.
        RunStopped: the file cannot be written.
    """
    return write_page(Path(path), report_html(result, redact=redact))


def write_page(path: Path, page: str) -> Path:
    """Write a page.

    Raises:
        SettingsError: ``path`` is a folder, or its folder does not exist.
        RunStopped: the file cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise SettingsError(f"report: a file in an existing folder is needed, found {found} ({path}). Name a file.")
    write_file(path, page.encode("utf-8", "backslashreplace"))
    return path


def report_html(result: AuditResult, *, redact: bool = False) -> str:
    """The page as text: the same result gives the same text, to the byte."""
    if redact:
        result = without_names(result)
    return render("report.html.jinja", redacted=redact, **_context(result, redacted=redact))


def render(name: str, **context: Any) -> str:
    """A page from its template: style and script stand in it, and nothing else runs or loads."""
    from markupsafe import Markup

    script, style = asset("report.js"), asset("report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = template(name).render(script=Markup(script), style=Markup(style), script_hash=digest, **context)
    return page.lstrip()


@cache
def asset(name: str) -> str:
    """A file that stands beside this one."""
    return resources.files("locard.report").joinpath(name).read_text(encoding="utf-8")


@cache
def template(name: str) -> Template:
    """A page's template, with the filters that all pages use."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda v: visible(v) if type(v) is str else v,  # Markup, a subclass, is this package's own
    )
    environment.filters |= {"thousands": thousands, "percent": percent, "shown": shown, "precise": precise}
    return environment.get_template(name)


def _context(result: AuditResult, *, redacted: bool) -> dict[str, Any]:
    """Everything the template prints; it holds sentences and values, no markup but the figures."""
    from markupsafe import Markup

    r = result.summary
    others = [a for a in r.scored if not a.headline]
    curves = [roc_table(a.roc, a.label, f"roc-{i}", len(r.scored)) for i, a in enumerate(r.scored)]
    selected = selected_section(r)
    one_run = one_run_section(r)
    looks = sequential_section(r)
    optional: dict[str, Any] = {"released-section": r.released, "selected-section": selected}
    optional |= {"one-run": one_run, "looks-section": looks}
    absent = [name for name, there in optional.items() if not there]
    return {
        "r": r,
        "words": wording,
        "unit": "unit" if r.data.unit is not None else "record",
        "outcome": wording.OUTCOMES[r.policy.outcome],
        "key_numbers": _key_numbers(r),
        "failed": [c for c in r.controls if c.passed is False],
        "threats": _threats(r),
        "figures": {
            "roc": Markup(figures.roc_figure(r.headline)),
            "roc_all": Markup(figures.roc_small(others, r.headline)) if others else None,
            "strength": Markup(_strength(r)),
            "scores": Markup(figures.histogram_figure(r.headline)),
        },
        "sections": [s for s in SECTIONS if s[0] not in absent],
        "selected": selected,
        "one_run": one_run,
        "looks": looks,
        "headline_roc_tables": [t for a, t in zip(r.scored, curves, strict=True) if a.headline],
        "other_roc_tables": [t for a, t in zip(r.scored, curves, strict=True) if not a.headline],
        "histogram_tables": [histogram_table(a.histogram, a.label, f"scores-{i}") for i, a in enumerate(r.scored)],
        "attacks": attack_tables.attacks_table(r.scored),
        "rates": attack_tables.rates_table(r.scored),
        "sources": attack_tables.sources_table(r.attacks),
        "epsilon_notes": attack_tables.epsilon_notes(r.scored),
        "comparisons": attack_tables.comparisons_table(r.comparisons),
        "groups": _groups(r),
        "records": record_table.grade_counts(result) if redacted else record_table.records_table(result),
        "grades": [(g, wording.grade_meaning(g, r.exposed.fdr)) for g in wording.GRADES],
        "grade_counts": {"exposed": r.exposed.n, "suspected": r.exposed.suspected, "not shown": r.exposed.not_shown},
        "controls": attack_tables.controls_table(r.controls),
        "floors": attack_tables.floors_table(r),
        "not_run": attack_tables.not_run_table(r.not_run),
        "released_table": attack_tables.released_table(r.released) if r.released else None,
        "released_rates": attack_tables.rates_table(r.released.attacks, "released-rates") if r.released else None,
        "toml": to_toml(r.settings),
        "card": model_card(result),
    }


def _key_numbers(r: Result) -> list[tuple[str, str, str]]:
    """(value, what it is, how to read it) for the boxes under the verdict."""
    a, e = r.headline, r.exposed
    run = r.one_run
    first = [] if run is None else [(bound_shown(run), "ε of this training, at least", f"from one run, {run.attack}")]
    unit, total = ("units", r.data.units) if r.data.unit is not None else ("records", r.data.n)
    named = f"{thousands(e.suspected)} more suspected, {thousands(e.not_shown)} not shown"
    out = first or [(f"{thousands(e.n)} of {thousands(total)}", f"{unit} exposed", named)]
    rate = attack_tables.headline_rate(a)
    if rate is None:
        reason = next((t.estimate.reason for t in a.tpr if t.estimate.reason), None) or "no rate was asked for"
        out.append(("not resolvable", "members found at a small false-positive rate", reason))
    else:
        bound = "" if rate.resolution == "resolved" else f"; {rate.resolution}"
        out.append((shown(rate.estimate, "share"), f"of members found {wording.tpr_words(rate.fpr)}", a.label + bound))
    out.append(
        (shown(a.auc, why=False), "AUC of the headline attack", a.auc.reason or "0.5 is guessing, 1 is certainty")
    )
    t = r.target
    inside, outside = (shown(n, "share", why=False) for n in (t.train_accuracy, t.test_accuracy))
    gap = f"training {inside}, elsewhere {outside}"
    out.append((shown(t.gap, "share", why=False), "gap between training and test accuracy", t.gap.reason or gap))
    return out


def _threats(r: Result) -> list[dict[str, Any]]:
    """Attacks gathered by the access they have, then by what else they need; least first."""
    order = {"none": 0, "out": 1, "both": 2}
    ranked = []
    for place, a in enumerate(r.scored):
        access = wording.access_of(a.access)
        level = list(Access).index(access) if access else len(Access)
        ranked.append((level, order[wording.references_used(a)], place, access, a))
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for level, _, _, access, a in sorted(ranked, key=lambda row: row[:3]):
        who, sees = wording.ACCESS[access] if access else (f"Whoever has this access: {a.access}", "")
        part = found.setdefault((level, who), {"who": who, "sees": sees, "needs": {}})
        part["needs"].setdefault(wording.references_need(a), []).append(a.label + (" (headline)" if a.headline else ""))
    return list(found.values())


def _strength(r: Result) -> str:
    """AUC of every attack, and its TPR at the headline's rate."""
    panels = [figures.Panel("AUC", [a.auc for a in r.scored], "score", 0.5)]
    rate = attack_tables.headline_rate(r.headline)
    if rate is not None:
        at = [next((t.estimate for t in a.tpr if t.fpr == rate.fpr), None) for a in r.scored]
        if all(at):
            rows = [number for number in at if number is not None]
            panels.append(figures.Panel(f"TPR at FPR {percent(rate.fpr)}", rows, "share", rate.fpr))
    labels = [a.label for a in r.scored]
    return figures.forest_figure("strength", "Attacks side by side", labels, panels)


def _groups(r: Result) -> list[dict[str, Any]]:
    """A figure and a table for each grouping."""
    from markupsafe import Markup

    by: dict[str, list[GroupPart]] = {}
    for g in r.groups:
        by.setdefault(g.by, []).append(g)
    out = []
    for i, (name, groups) in enumerate(by.items()):
        drawn = groups if len(groups) <= MOST_ROWS else sorted(groups, key=lambda g: -g.records)[:MOST_ROWS]
        panels = [
            figures.Panel(
                "exposed, suspected",
                [(g.exposed / max(g.records, 1), g.suspected / max(g.records, 1)) for g in drawn],
                "share",
            ),
            figures.Panel("AUC", [g.auc for g in drawn], "score", 0.5),
            figures.Panel(f"TPR at FPR {percent(drawn[0].fpr)}", [g.tpr for g in drawn], "share", drawn[0].fpr),
        ]
        figure = figures.forest_figure(f"groups-{i}-figure", f"Exposure by {name}", [g.name for g in drawn], panels)
        left_out = len(groups) - len(drawn)
        table = attack_tables.group_table(name, groups, "unit" if r.data.unit is not None else "record", i)
        out.append({"by": name, "figure": Markup(figure), "table": table, "left_out": left_out})
    return out
