"""The Python interface in one page: audit a training recipe, read the result, write the report, judge it.

python examples/python_api.py [folder]
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

import locard


def main(folder: Path) -> None:
    features, labels = load_breast_cancer(return_X_y=True)
    records = locard.Records(
        ids=[f"sample-{k}" for k in range(len(labels))],
        features=features,
        labels=labels,
        groups={"radius": ["small" if r < 13 else "large" for r in features[:, 0]]},  # estimates by group too
    )

    # Any scikit-learn classifier with predict_proba is a recipe. Every settings section is a keyword.
    result = locard.audit(
        records,
        RandomForestClassifier(n_estimators=20),
        models=32,
        attacks=["lira", locard.attack("rmia", offline=True), "loss"],  # the first one is the declared headline
        seed=7,
        out=folder / "forest",  # kept, and resumed when run again
        measure={"fprs": [0.1]},
        policy={"max_auc": 0.65},
    )

    summary = result.summary  # the tree of result.json
    print(summary.verdict)
    print("policy:", summary.policy.outcome, *summary.policy.reasons)
    for attack in summary.attacks:
        auc = attack.auc
        print(f"{attack.label:<20} AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]  ({auc.method})")

    table = result.records  # a pandas DataFrame, one row a record
    columns = ["id", "label", "grade", "hits_in", "trials", "low", "high", "q"]
    print(table.sort_values("q")[columns].head().to_string(index=False))

    result.report(folder / "report.html")
    result.report(folder / "report-redacted.html", redact=True)  # no ids: this one may be published

    again = locard.AuditResult.load(folder / "forest")
    assert again.summary == summary


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/python-api"))
