"""What the engine adds to training, for 256 tiny jobs: networks that each take some hundredths of a second.

The time from the first look at the network to the last checksum, on two workers that are there already, against what
the workers spent in training and asking, as every job reports it. Once one model at a time, where every job is a
message, a file and two checksums, and once many in one program, where the chunk size has to be found first.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time

import numpy as np

from locard.data.records import Records
from locard.plan.designs import pairs
from locard.run.backend import LocalBackend, staffed
from locard.run.chunks import Grouping
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.train.jobs import Training, plan_jobs
from locard.train.neural.recipe import TorchRecipe

ASKED, ROUNDS, WORKERS, MODELS = 0.10, 3, 2, 256
RECIPE = TorchRecipe(module="mlp", params={"hidden": [64, 64]}, batch_size=50, epochs=4, preprocess="none")


def outside(records: Records, backend: LocalBackend, *, exact: bool, models: int = MODELS) -> tuple[float, float, str]:
    """(share of the time outside training, seconds in all, how models were grouped)."""
    few = np.arange(500)
    plan = pairs(records, np.arange(len(records)), models=models, seed=Seed(7))
    with tempfile.TemporaryDirectory() as path, RunFolder(path) as folder:
        jobs = plan_jobs(RECIPE, records, plan, few, Seed(7))
        work = Training(RECIPE, records, few, few, folder.store)
        start = time.perf_counter()
        train_missing(work, jobs, folder, backend, Watch(), Grouping(workers=WORKERS, exact=exact))
        seconds = time.perf_counter() - start
        timings = folder.timings
    inside = timings["worker_seconds"] / WORKERS
    return 1 - inside / seconds, seconds, f"{timings['chunks']['size']} at a time"


def main() -> int:
    rng = np.random.default_rng(7)
    y = rng.integers(10, size=2_000)
    x = (rng.normal(size=(len(y), 108)) + y[:, None] / 5).astype(np.float32)
    records = Records(ids=np.arange(len(y)), features=x, labels=y)
    missed = False
    with staffed(WORKERS, imports=["torch", "locard.train.neural.many_models"]) as backend:
        for exact in (True, False):
            outside(records, backend, exact=exact, models=16)  # whatever is loaded late
        for exact, name in ((True, "overhead-one-by-one"), (False, "overhead-together")):
            found = []
            for _ in range(ROUNDS):
                share, seconds, how = outside(records, backend, exact=exact)
                print(f"{name}: {seconds:.2f} s for {MODELS} jobs, {how}; {100 * share:.1f} % outside training")
                found.append(share)
            ratio = statistics.median(found) / ASKED
            print(f"{name}: ratio {ratio:.2f}, asked 1.0")
            missed |= ratio > 1
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
