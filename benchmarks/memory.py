"""Observations at scale: 256 models x 100,000 records x 10 classes never need more than 2 GB of memory at once.

One file a model is written as workers write it (1 GB on disk, in a temporary folder), then read model by model and
scored, leave-one-pair-out over all models, intervals included. What is measured is the largest memory that the process
has ever held, libraries included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from locard.assess.choose import build_attacks, runnable
from locard.assess.estimates import attack_part, summarise_targets
from locard.assess.scoring import Audited, score_targets
from locard.data.records import Records
from locard.observe.observations import Observations
from locard.plan.designs import pairs
from locard.seeds import Seed
from locard.settings import MeasureSettings
from locard.train.store import Store, StoreReader

GIGABYTES = 2.0
MODELS, RECORDS, CLASSES = 256, 100_000, 10
ATTACKS = ["lira", "loss", "base"]


def gigabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> int:
    rng = np.random.default_rng(7)
    y = rng.integers(CLASSES, size=RECORDS)
    records = Records(ids=range(RECORDS), features=np.zeros((RECORDS, 1)), labels=y)
    plan = pairs(records, np.arange(RECORDS), models=MODELS, seed=Seed(7))
    difficulty = rng.normal(2.0, 1.5, size=RECORDS)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for model in range(MODELS):
            logits = rng.standard_normal((RECORDS, 1, CLASSES), dtype=np.float32)
            logits[np.arange(RECORDS), 0, y] += difficulty + 0.5 * plan.member[model]
            store.write(f"model{model}", {"logits": logits})
        print(f"memory: {MODELS} models stored, {gigabytes():.2f} GB so far", flush=True)
        said = Observations(StoreReader(store, [f"model{m}" for m in range(MODELS)], "logits"), records.y)
        audited, measure = Audited(records, plan, said, None, Seed(7)), MeasureSettings()
        for label, attack in runnable(build_attacks(ATTACKS), plan, 0).attacks.items():
            start = time.perf_counter()
            scored = summarise_targets(attack, label, label, score_targets(attack, audited), audited, measure.fprs)
            attack_part(scored, audited, measure, headline=label == ATTACKS[0], design_known=True, source="")
            print(f"memory: {label:<10}{time.perf_counter() - start:6.1f} s, {gigabytes():.2f} GB so far", flush=True)
            del scored
    print(f"memory: ratio {gigabytes() / GIGABYTES:.3f}, asked 1.0")
    return int(gigabytes() > GIGABYTES)


if __name__ == "__main__":
    sys.exit(main())
