"""A whole audit of 64 forests against the plain loop that only trains them.

Both in one run on the same machine, in turns, because its speed drifts within minutes: a fresh process fits 64 random
forests of 100 trees on 5,000 Adult records each, one after another, on arrays that are ready, and predicts 10,000
records; ``locard audit`` trains the same 64, scores 13 attacks and writes the report. The ratio is the median over
rounds. A round takes about two minutes; ``--keep FILE`` spreads rounds over several runs, whose times it collects.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from locard.data.source import load_source
from locard.settings_text import to_toml
from locard.train.recipe import table_encoder

ASKED = 0.7
MODELS, TREES, AUDITED = 64, 100, 10_000
# the 13 attacks of the promise, the headline first; sablayrolles is calibrated by another name, and gmia, which tests
# single records after a screening, came later
ATTACKS = ("lira", "rmia", "base", "attack_r", "attack_p", "calibrated", "instance_vector")
ATTACKS += ("gap", "loss", "confidence", "entropy", "mentr", "risk_score")


def settings(workers: int) -> dict[str, object]:
    return {
        "name": "benchmark",
        "seed": 7,
        "data": {"source": "adult", "pool": AUDITED},
        "target": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": TREES}},
        "references": {"models": MODELS},
        "compute": {"workers": workers},
        "attack": [{"name": name} for name in ATTACKS],
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


def timed_loop() -> tuple[float, float]:
    """The same in a process of its own: seconds of the loop, and the processor time of the process."""
    before = processor()
    said = subprocess.run([sys.executable, __file__, "--loop"], capture_output=True, text=True, check=True)
    return float(said.stdout), processor() - before


def processor() -> float:
    """Seconds of processor time of the processes that have been started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def audit() -> tuple[float, dict[str, float]]:
    """Seconds of the command, start of the interpreter and report included; and those of its stages and processors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "audit.toml"
        config.write_text(to_toml(settings(workers=2)))
        start, before = time.perf_counter(), processor()
        command = [sys.executable, "-m", "locard", "audit", str(config), "--out", str(folder / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"sklearn_audit: the audit failed: {done.stderr}")
        stages = json.loads((folder / "run" / "run.json").read_text())["stage_seconds"]
        return seconds, stages | {"processor time": round(processor() - before, 1)}


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reader.add_argument("--rounds", type=int, default=3, help="how often each side is timed, in turns")
    reader.add_argument("--keep", type=Path, help="a file that collects the times of several runs")
    reader.add_argument("--loop", action="store_true", help="only the plain loop: print its seconds")
    asked = reader.parse_args()
    if asked.loop:
        print(plain_loop())
        return 0
    load_source(source="adult", base_dir=Path())  # fetched before anything is timed
    times = json.loads(asked.keep.read_text()) if asked.keep and asked.keep.exists() else []
    for _ in range(asked.rounds):
        loop, used = timed_loop()
        whole, stages = audit()
        times.append([loop, whole])
        print(f"sklearn_audit: round {len(times)}: plain loop {loop:.1f} s (processor time with its start {used:.1f})")
        print(f"sklearn_audit: round {len(times)}: audit {whole:.1f} s, of it {stages}")
        if asked.keep:
            asked.keep.write_text(json.dumps(times))
    for number, (loop, whole) in enumerate(times, 1):
        print(f"sklearn_audit: round {number}: {whole:.1f} s / {loop:.1f} s = {whole / loop:.3f}")
    ratio = median(whole / loop for loop, whole in times)
    print(f"sklearn_audit: ratio {ratio:.3f}, asked {ASKED}")
    return int(ratio > ASKED)


if __name__ == "__main__":
    sys.exit(main())
