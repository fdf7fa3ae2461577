"""The claims of finished audits as rows of a table, raw and calibrated, beside the paper's.

    locard audit examples/gmia/adult.toml --out runs/adult
    python examples/gmia/rows.py runs/adult

One line for each run, kind of p-value and cut-off: how much better targets answer about their training records, the
screen, true and false claims over all targets, and precision, recall and realised false-positive rate with 95 %
intervals by pair. Of the paper stands what it reports at p < .01 for the data of the same name (Long et al. 2018,
Table 1; the realised rate follows from its counts).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from locard.result import AuditResult, ClaimsPart, Number, Result

HEAD = ("run", "gap", "screen, records", "p", "up to", "true / false", "precision", "recall", "realised FPR")
PAPER = {
    "adult": "13 records: 34 / 12, precision .74, recall .052, realised FPR .018",
    "wisconsin": "5 records: 8 / 1, precision .89, recall .032, realised FPR .004",
    "mnist-5k": "16 records: 591 / 42, precision .93, recall .739, realised FPR .053",
}


def shown(n: Number, digits: int) -> str:
    """A number with its interval; a dash where there is none."""
    if n.value is None:
        return "-"
    ends = "" if n.low is None or n.high is None else f" [{n.low:.{digits}f}, {n.high:.{digits}f}]"
    return f"{n.value:.{digits}f}{ends}"


def row(name: str, r: Result, screen: str, c: ClaimsPart) -> str:
    """One line."""
    kind = c.calibration or "raw"
    numbers = shown(c.precision, 2), shown(c.recall, 3), shown(c.realised_fpr, 4)
    claims = f"{c.true_claims:,} / {c.false_claims:,}" if c.precision.value is not None else c.precision.reason or "-"
    gap = "-" if r.target.gap.value is None else f"{r.target.gap.value:.3f}"
    return "| " + " | ".join((name, gap, screen, kind, f"{c.p:g}", claims, *numbers)) + " |"


def main() -> None:
    """Print one table."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("run", type=Path, nargs="+", help="run folders")
    reader.add_argument("--attack", default="gmia", help="its claims are shown")
    asked = reader.parse_args()
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    papers = set()
    for folder in asked.run:
        r = AuditResult.load(folder).summary
        found = [a for a in r.attacks if a.name == asked.attack and a.claims and a.screening is not None]
        if not found:
            raise SystemExit(f"{folder}: claims of {asked.attack} are needed, found none. Audit with this attack.")
        attack = found[0]
        assert attack.screening is not None  # asked above
        for c in attack.claims:
            print(row(folder.name, r, f"{attack.screening.name}, {c.selected}", c))
        if asked.attack == "gmia" and r.data.source in PAPER:
            papers.add(f"The paper, p < .01, {r.data.source}: {PAPER[r.data.source]}")
    print("\n" + "\n".join(sorted(papers)) if papers else "")


if __name__ == "__main__":
    main()
