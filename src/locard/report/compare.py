"""What changed between two audits, and whether that may be read as a change at all."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

from locard.report.numbers import Kind, percent, shown, thousands
from locard.report.record_table import by_unit, exposure_order
from locard.report.svg import visible
from locard.result import AttackPart, AuditResult, Number

POLICY = {"pass": "within policy", "fail": "policy exceeded", "inconclusive": "policy not settled", "none": "no policy"}


@dataclass(frozen=True)
class Measured:
    """One statistic of one attack in both audits. ``apart`` is None where either has no interval."""

    attack: str
    statistic: str
    first: Number
    second: Number
    apart: bool | None

    @property
    def kind(self) -> Kind:
        """How it is printed."""
        return "share" if self.statistic.startswith("TPR") else "score"


@dataclass(frozen=True)
class Overlap:
    """Names of exposed records (or units) in both audits, among those that both audited."""

    shared: int
    both: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def jaccard(self) -> float | None:
        """Names in both, of names in either; None where there are none."""
        union = len(self.both) + len(self.only_first) + len(self.only_second)
        return len(self.both) / union if union else None


@dataclass(frozen=True)
class Comparison:
    """Two audits side by side. ``problems`` says what keeps their numbers from being compared; empty: nothing known."""

    names: tuple[str, str]
    verdicts: tuple[str, str]
    outcomes: tuple[str, str]
    problems: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]
    measured: tuple[Measured, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    exposed: Overlap

    @property
    def comparable(self) -> bool:
        """True where both audited the same records of the same data, by the same plan and number of models."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The comparison for a program: plain dictionaries, lists, numbers and strings."""
        tree = asdict(self)
        tree["measured"] = [
            {
                "attack": m.attack,
                "statistic": m.statistic,
                "first": m.first.model_dump(mode="json"),
                "second": m.second.model_dump(mode="json"),
                "intervals_apart": m.apart,
            }
            for m in self.measured
        ]
        tree["settings"] = [{"setting": k, "first": a, "second": b} for k, a, b in self.settings]
        return tree | {"comparable": self.comparable, "exposed": tree["exposed"] | {"jaccard": self.exposed.jaccard}}


def compare_results(first: AuditResult, second: AuditResult) -> Comparison:
    """What two audits have in common and where they differ.

    No test is made: the two audits may share data, seeds or models, so that the interval of a difference is not known
    from their intervals alone. ``Measured.apart`` states only whether the intervals overlap.
    """
    a, b = first.summary, second.summary
    attacks_a, attacks_b = ({x.label: x for x in r.scored} for r in (a, b))
    return Comparison(
        names=(a.name, b.name),
        verdicts=(a.verdict, b.verdict),
        outcomes=(a.policy.outcome, b.policy.outcome),
        problems=tuple(_problems(first, second)),
        settings=tuple(
            _differences(
                {"locard_version": a.locard_version, **a.settings}, {"locard_version": b.locard_version, **b.settings}
            )
        ),
        measured=tuple(m for k in attacks_a if k in attacks_b for m in _measured(attacks_a[k], attacks_b[k])),
        only_first=tuple(k for k in attacks_a if k not in attacks_b),
        only_second=tuple(k for k in attacks_b if k not in attacks_a),
        exposed=_overlap(first, second),
    )


def comparison_text(comparison: Comparison, *, width: int = 88) -> str:
    """The comparison as plain text for a terminal; print it without markup."""
    c = comparison
    lines = [f"First:  {c.names[0]} ({POLICY[c.outcomes[0]]})", *_indent(c.verdicts[0], width)]
    lines += [f"Second: {c.names[1]} ({POLICY[c.outcomes[1]]})", *_indent(c.verdicts[1], width), ""]
    if c.comparable:
        lines += _wrap("Comparable: same data, same records, same plan and number of models.", width)
    else:
        lines += ["Not directly comparable:", *(line for p in c.problems for line in _indent(p, width))]
    lines += ["", "Settings that differ:" if c.settings else "Settings: the same."]
    for name, x, y in c.settings:
        lines += _indent(f"{name}: {_word(x)} -> {_word(y)}", width)
    lines += ["", *_measured_lines(c)]
    said = (
        "Whether two intervals overlap is not a test: the audits may share data, seeds or models, and nothing is paid "
        "for looking at many rows. Intervals that overlap do not show that nothing changed."
    )
    lines += [*_wrap(said, width), "", *_exposed_lines(c, width)]
    return "\n".join(visible(line) for line in lines) + "\n"


def _problems(first: AuditResult, second: AuditResult) -> list[str]:
    a, b = first.summary, second.summary
    out = []
    if a.data.fingerprint != b.data.fingerprint:
        out.append("the data differ (their fingerprints do): numbers are about other records or other features.")
    ids_a, ids_b = (set(r.records["id"].astype(str).tolist()) for r in (first, second))
    if ids_a != ids_b:
        both = f"{thousands(len(ids_a & ids_b))} of {thousands(len(ids_a | ids_b))}"
        out.append(f"the audited records differ: {both} are in both.")
    if a.data.unit != b.data.unit:
        out.append(f"the privacy unit differs: {a.data.unit or 'record'} and {b.data.unit or 'record'}.")
    if a.target.design != b.target.design or a.target.kind != b.target.kind:
        out.append(f"the plans differ: {a.target.design} ({a.target.kind}) and {b.target.design} ({b.target.kind}).")
    if a.target.models != b.target.models:
        out.append(
            f"the numbers of models differ ({thousands(a.target.models)} and {thousands(b.target.models)}): attacks "
            f"with more references are stronger, and more records can be named."
        )
    return out


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    """(setting, first, second) for every leaf that differs, in the order of first appearance; absent is None."""
    out: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*a, *b]):
        x, y, name = a.get(key), b.get(key), f"{path}.{key}" if path else str(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            out += _differences(x, y, name)
        elif _tables(x) and _tables(y):
            for i in range(max(len(x), len(y))):
                one, two = (v[i] if i < len(v) else None for v in (x, y))
                if isinstance(one, Mapping) and isinstance(two, Mapping):
                    out += _differences(one, two, f"{name}.{i}")
                elif one != two:
                    out.append((f"{name}.{i}", one, two))
        elif x != y:
            out.append((name, x, y))
    return out


def _tables(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value)


def _measured(a: AttackPart, b: AttackPart) -> list[Measured]:
    out = [
        Measured(a.label, "AUC", a.auc, b.auc, _apart(a.auc, b.auc)),
        Measured(
            a.label,
            "balanced accuracy",
            a.balanced_accuracy,
            b.balanced_accuracy,
            _apart(a.balanced_accuracy, b.balanced_accuracy),
        ),
    ]
    rates = {t.fpr: t.estimate for t in b.tpr}
    for t in a.tpr:
        if t.fpr in rates:
            name = f"TPR at FPR {percent(t.fpr)}"
            out.append(Measured(a.label, name, t.estimate, rates[t.fpr], _apart(t.estimate, rates[t.fpr])))
    return out


def _apart(a: Number, b: Number) -> bool | None:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    return a.high < b.low or b.high < a.low


def _overlap(first: AuditResult, second: AuditResult) -> Overlap:
    names, exposed = [], []
    for result in (first, second):
        ordered = exposure_order(result)
        key = "unit" if by_unit(result) else "id"
        names.append(dict.fromkeys(ordered[key].astype(str).tolist()))
        exposed.append(dict.fromkeys(ordered.loc[ordered["grade"] == "exposed", key].astype(str).tolist()))
    shared = names[0].keys() & names[1].keys()
    one, two = ([n for n in e if n in shared] for e in exposed)
    return Overlap(
        shared=len(shared),
        both=tuple(n for n in one if n in exposed[1]),
        only_first=tuple(n for n in one if n not in exposed[1]),
        only_second=tuple(n for n in two if n not in exposed[0]),
    )


def _measured_lines(c: Comparison) -> list[str]:
    if not c.measured:
        return ["No attack was run in both.", ""]
    rows = [["Attack", "Statistic", "First", "Second", "Intervals"]]
    for m in c.measured:
        words = "not resolvable" if m.kind == "share" else "not measured"
        how = {None: "-", True: "apart", False: "overlap"}[m.apart]
        first, second = (shown(n, m.kind, undefined=words, why=False) for n in (m.first, m.second))
        rows.append([m.attack, m.statistic, first, second, how])
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    for where, labels in (("first", c.only_first), ("second", c.only_second)):
        if labels:
            lines.append(f"Only in the {where}: {', '.join(labels)}.")
    return [*lines, ""]


def _exposed_lines(c: Comparison, width: int) -> list[str]:
    e = c.exposed
    share = f" ({percent(e.jaccard)} of names in either)" if e.jaccard is not None else ""
    lines = _wrap(
        f"Exposed, of {thousands(e.shared)} that both audited: {thousands(len(e.both))} in both{share}, "
        f"{thousands(len(e.only_first))} only in the first, {thousands(len(e.only_second))} only in the second.",
        width,
    )
    for where, names in (("first", e.only_first), ("second", e.only_second)):
        if names:
            more = f" and {thousands(len(names) - 5)} more" if len(names) > 5 else ""
            lines += _indent(f"only in the {where}: {', '.join(names[:5])}{more}", width)
    if e.only_first or e.only_second:
        said = "A name missing from one list does not mean that the record is less exposed there: naming can miss."
        lines += _wrap(said, width)
    return lines


def _word(value: Any) -> str:
    return "(absent)" if value is None else str(value)


def _wrap(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, max(width, 30), break_long_words=False)


def _indent(words: str, width: int) -> list[str]:
    return textwrap.wrap(
        words, max(width, 30), initial_indent="  ", subsequent_indent="    ", break_long_words=False
    ) or ["  "]
