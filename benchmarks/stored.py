"""Bytes that ``compute.keep = "signals"`` stores against logits, with 10 and 100 classes; the results must be the same.

Networks give logits; forests give probabilities, whose headline is shown at a second floor: one number more. The six
attacks read signals alone; the records say little, and what is counted does not depend on them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from locard.data.records import Records
from locard.pipeline import audit
from locard.train.neural.recipe import TorchRecipe

ASKED = {("network", 10): 4.0, ("network", 100): 40.0, ("forest", 10): 2.0, ("forest", 100): 20.0}
ATTACKS = ["lira", "rmia", "base", "attack_r", "loss", "gap"]
RECORDS, MODELS, RESULT = 5_000, 8, ("result.json", "records.parquet", "scores.safetensors")


def made(classes: int) -> Records:
    rng = np.random.default_rng(7)
    y = np.arange(RECORDS) % classes
    x = (rng.normal(size=(RECORDS, 20)) + rng.normal(size=(classes, 20))[y]).astype(np.float32)
    return Records(ids=np.arange(RECORDS), features=x, labels=y)


def recipe(kind: str) -> Any:
    if kind == "forest":
        return RandomForestClassifier(n_estimators=30)
    return TorchRecipe(module="mlp", params={"hidden": [16]}, epochs=1, batch_size=100)


def main() -> int:
    missed = False
    for (kind, classes), asked in ASKED.items():
        sizes, results = [], []
        for keep in ("logits", "signals"):
            with tempfile.TemporaryDirectory() as out:
                compute = {"workers": 1, "keep": keep, "chunk": MODELS}
                controls = {"redraws": 0, "blind": False}
                audit(
                    made(classes), recipe(kind), models=MODELS, attacks=ATTACKS, seed=7, out=out, compute=compute,
                    controls=controls,
                )  # fmt: skip
                stored = (Path(out) / "observations").glob("*.safetensors")
                sizes.append(sum(path.stat().st_size for path in stored))
                results.append([(Path(out) / name).read_bytes() for name in RESULT])
        same = results[0] == results[1]
        print(
            f"{kind}, {classes} classes: {sizes[0] / MODELS:,.0f} bytes a model as logits, {sizes[1] / MODELS:,.0f} as "
            f"signals; results {'equal' if same else 'DIFFERENT'}"
        )
        print(f"stored-{kind}-{classes}: ratio {sizes[0] / sizes[1]:.1f}, asked {asked}")
        missed |= sizes[0] < asked * sizes[1] or not same
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
