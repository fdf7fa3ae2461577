"""Audits outputs that were saved earlier: no model, no training. Here they are made up, with a leak of known size.

python examples/saved_outputs.py [folder]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import locard

MODELS, RECORDS, CLASSES, LEAKING = 32, 600, 3, 60


def invent(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits [models, records, classes], mask [models, records], labels: the first 60 records leave a strong trace."""
    labels = rng.integers(CLASSES, size=RECORDS)
    coins = rng.random((MODELS // 2, RECORDS)) < 0.5
    member = np.stack([coins, ~coins], axis=1).reshape(MODELS, RECORDS)  # model 2i and 2i+1 are each other's complement
    logits = rng.normal(size=(MODELS, RECORDS, CLASSES)) + rng.normal(size=(RECORDS, CLASSES))
    trace = np.where(np.arange(RECORDS) < LEAKING, 5.0, 0.3)
    logits[:, np.arange(RECORDS), labels] += 1.0 + member * trace
    return logits.astype(np.float32), member, labels


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    logits, member, labels = invent(np.random.default_rng(8))
    ids = [f"record-{k}" for k in range(RECORDS)]

    # 1. A whole audit, from Python.
    settings = {"seed": 8, "attack": ["lira", "rmia", "loss"], "measure": {"fprs": [0.05]}}
    result = locard.audit_saved(logits=logits, member=member, labels=labels, ids=ids, settings=settings)
    named = result.records.loc[result.records["grade"] == "exposed", "id"]
    print(f"{result.summary.verdict}\n{sum(int(i[7:]) < LEAKING for i in named)} of {len(named)} names are right")
    result.report(folder / "report.html")

    # 2. The same audit, from files and the command line.
    for name, array in {"L": logits, "M": member, "y": labels}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "ids.txt").write_text("\n".join(ids) + "\n")
    files = ["--observations", "L.npy", "--member", "M.npy", "--labels", "y.npy", "--ids", "ids.txt", "--out", "run"]
    chosen = ["--set", "seed=8", "--set", 'attack=["lira", "rmia", "loss"]', "--set", "measure.fprs=[0.05]"]
    subprocess.run([sys.executable, "-m", "locard", "audit", *files, *chosen], cwd=folder, check=True)

    # 3. One attack on one target, by hand: model 0 is attacked with all models but itself and its partner.
    records = locard.Records(ids=ids, features=np.zeros((RECORDS, 0)), labels=labels)
    references = locard.References.from_arrays(logits=logits[2:], member=member[2:])
    target = locard.Target.from_arrays(logits=logits[0])
    scores = locard.attack("lira", variance="pooled").score(target, records, references)
    print(locard.measure(scores, member[0], fprs=[0.05]).tpr[0.05])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/saved-outputs"))
