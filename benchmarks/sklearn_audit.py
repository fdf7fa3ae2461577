"""A whole audit of 64 forests against the plain loop that only trains them.

Both in one run on the same machine: a fresh process fits 64 random forests of 100 trees on 5,000 Adult records each,
one after another, on arrays that are ready, and predicts 10,000 records; ``locard audit`` trains the same 64, scores 13
attacks and writes the report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from locard.attacks import attack_names
from locard.data.source import load_source
from locard.settings_text import to_toml
from locard.train.recipe import table_encoder

ASKED = 0.7
MODELS, TREES, AUDITED = 64, 100, 10_000
ALIAS = "sablayrolles"  # calibrated under another name: 13 attacks without it


def settings(workers: int) -> dict[str, object]:
    return {
        "name": "benchmark",
        "seed": 7,
        "data": {"source": "adult", "pool": AUDITED},
        "target": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": TREES}},
        "references": {"models": MODELS},
        "compute": {"workers": workers},
        "attack": [{"name": name} for name in ["lira", *(n for n in attack_names() if n not in ("lira", ALIAS))]],
    }


def plain_loop() -> float:
    """Seconds of the loop alone: data ready, ``n_jobs=1``, imports outside."""
    from sklearn.ensemble import RandomForestClassifier

    records = load_source(source="adult", base_dir=Path())
    rng = np.random.default_rng(7)
    audited = rng.permutation(len(records))[:AUDITED]
    x = table_encoder(records.columns or ()).fit_transform(records.features[audited])
    y = records.y[audited]
    masks = [rng.random(AUDITED) < 0.5 for _ in range(MODELS)]
    start = time.perf_counter()
    for i, mask in enumerate(masks):
        model = RandomForestClassifier(n_estimators=TREES, n_jobs=1, random_state=i).fit(x[mask], y[mask])
        model.predict_proba(x)
    return time.perf_counter() - start


def audit(folder: Path) -> float:
    """Seconds of the command, start of the interpreter and report included."""
    config = folder / "audit.toml"
    config.write_text(to_toml(settings(workers=2)))
    start = time.perf_counter()
    command = [sys.executable, "-m", "locard", "audit", str(config), "--out", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"sklearn_audit: the audit failed: {done.stderr}")
    timings = json.loads((folder / "run" / "run.json").read_text())
    print(f"sklearn_audit: audit {seconds:.1f} s, of it {timings}")
    return seconds


def main() -> int:
    load_source(source="adult", base_dir=Path())  # fetched before anything is timed
    with tempfile.TemporaryDirectory() as folder:
        whole = audit(Path(folder))
    loop = plain_loop()
    print(f"sklearn_audit: plain loop {loop:.1f} s")
    ratio = whole / loop
    print(f"sklearn_audit: ratio {ratio:.3f}, asked {ASKED}")
    return int(ratio > ASKED)


if __name__ == "__main__":
    sys.exit(main())
