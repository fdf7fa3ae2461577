"""Scoring is array code: attacks that learn no attack model, 64 models x 50,000 records x 10 classes, all 64 targets.

Intervals, grades and the ROC are included. The promise is in seconds, so that it is printed as the share of them used.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from locard.assess.choose import build_attacks, runnable
from locard.assess.estimates import attack_part, summarise_targets
from locard.assess.exposure import expose
from locard.assess.scoring import Audited, score_targets
from locard.attacks import attack_names
from locard.data.records import Records
from locard.observe.observations import ArrayReader, Observations
from locard.plan.designs import pairs
from locard.seeds import Seed
from locard.settings import ExposureSettings, MeasureSettings

LEARNED = ("shadow", "ml_leaks_1", "ml_leaks_2", "quantile", "truex", "ensemble")  # benchmarks/learned.py times them
SECONDS, GIBIBYTES = 40.0, 4.0
MODELS, RECORDS, POPULATION, CLASSES = 64, 50_000, 2_000, 10


def observed(rng: np.random.Generator, y: np.ndarray, member: np.ndarray | None) -> np.ndarray:
    """Logits with a difficulty a record and a leak in the models that hold it."""
    logits = rng.normal(size=(MODELS, len(y), 1, CLASSES)).astype(np.float32)
    true = rng.normal(2.0, 1.5, size=len(y)) + (0.0 if member is None else 0.5 * member)
    np.put_along_axis(logits, y[None, :, None, None], np.float32(0), axis=-1)
    logits[np.arange(MODELS)[:, None], np.arange(len(y))[None], 0, y[None]] += np.broadcast_to(
        true, (MODELS, len(y))
    ).astype(np.float32)
    return logits


def main() -> int:
    rng = np.random.default_rng(7)
    y = rng.integers(CLASSES, size=RECORDS + POPULATION)
    records = Records(ids=range(RECORDS), features=np.zeros((RECORDS, 1)), labels=y[:RECORDS])
    plan = pairs(records, np.arange(RECORDS), models=MODELS, seed=Seed(7))
    logits = observed(rng, y[:RECORDS], plan.member)
    outside = observed(rng, y[RECORDS:], None)
    said = Observations(ArrayReader(logits), records.y)
    population = Observations(ArrayReader(outside), y[RECORDS:].astype(np.int64))
    audited = Audited(records, plan, said, population, Seed(7))
    measure = MeasureSettings()
    names = ["lira", *(n for n in attack_names() if n not in (*LEARNED, "lira"))]
    chosen = runnable(build_attacks(names), plan, POPULATION)
    start = time.perf_counter()
    for label, attack in chosen.attacks.items():
        begun = time.perf_counter()
        scores = score_targets(attack, audited)
        scored = summarise_targets(attack, label, label, scores, audited, measure.fprs)
        attack_part(scored, audited, measure, headline=label == "lira", design_known=True, source="")
        print(f"scoring: {label:<16}{time.perf_counter() - begun:6.2f} s")
    begun = time.perf_counter()
    expose(chosen.attacks["lira"], audited, ExposureSettings())
    print(f"scoring: {'grades':<16}{time.perf_counter() - begun:6.2f} s")
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"scoring: {seconds:.1f} s for {len(chosen.attacks)} attacks, peak memory {memory:.2f} GiB")
    print(f"scoring-seconds: ratio {seconds / SECONDS:.3f}, asked 1.0")
    print(f"scoring-memory: ratio {memory / GIBIBYTES:.3f}, asked 1.0")
    return int(seconds > SECONDS or memory > GIBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
