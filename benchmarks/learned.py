"""Attackers that learn, and those that read histories: 64 models x 10,000 records x 10 classes, two processes.

All 64 models are targets. Training of students is not in it: what they say is made up.
The promise is in seconds, so that it is printed as the share of them used.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from scoring import observed

from locard.assess.scoring import Audited, score_targets
from locard.assess.selftest import world
from locard.attacks import attack
from locard.data.records import Records
from locard.observe.observations import ArrayReader, Observations
from locard.observe.traces import TraceArray
from locard.plan.designs import pairs
from locard.seeds import Seed

SECONDS = 180.0
MODELS, RECORDS, POPULATION, CLASSES, FEATURES = 64, 10_000, 2_000, 10, 50
EPOCHS, METRICS, STUDENTS = 20, 5, 8  # of what students say; training them is not timed
ATTACKS = ("sequence", "quantile", "trajectory", "truex", "ensemble", "shadow", "ml_leaks_1")  # the longest first
ATTACKS += ("loss_trace", "attack_d", "ml_leaks_2", "ml_leaks_3")


def made() -> Audited:
    """Observations with a difficulty a record and a leak, and features that know the difficulty in part."""
    rng = np.random.default_rng(7)
    y = rng.integers(CLASSES, size=RECORDS + POPULATION)
    x = rng.normal(size=(RECORDS + POPULATION, FEATURES))
    records = Records(ids=range(RECORDS), features=x[:RECORDS], labels=y[:RECORDS])
    plan = pairs(records, np.arange(RECORDS), models=MODELS, seed=Seed(7))
    traces = {
        "distilled": rng.normal(size=(MODELS, RECORDS, EPOCHS, METRICS)).astype(np.float32),
        "training": rng.normal(size=(MODELS, RECORDS, EPOCHS)),
        "students": rng.normal(size=(MODELS, RECORDS, STUDENTS)),
    }
    kept = {name: TraceArray(np.abs(array).astype(np.float32)) for name, array in traces.items()}
    said = Observations(ArrayReader(observed(rng, y[:RECORDS], plan.member)), records.y, traces=kept)
    population = Observations(ArrayReader(observed(rng, y[RECORDS:], None)), y[RECORDS:].astype(np.int64))
    elsewhere = world(Seed(8), models=4, shift=0.5, strong=0.5, records=1000)
    audited = Audited(records, plan, said, population, Seed(7), population_features=x[RECORDS:])
    return replace(audited, elsewhere={"digits": elsewhere})


def timed(name: str) -> tuple[str, float]:
    """Seconds of one attack on all targets."""
    begun = time.perf_counter()
    score_targets(attack(name), AUDITED)
    return name, time.perf_counter() - begun


def all_attacks() -> Iterator[tuple[str, float]]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as workers:
        yield from workers.map(timed, ATTACKS)


def main() -> int:
    start = time.perf_counter()
    for name, seconds in all_attacks():
        print(f"learned: {name:<16}{seconds:6.1f} s")
    seconds = time.perf_counter() - start
    print(f"learned-seconds: ratio {seconds / SECONDS:.3f}, asked 1.0")
    return int(seconds > SECONDS)


if __name__ == "__main__":
    AUDITED = made()
    sys.exit(main())
