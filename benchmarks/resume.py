"""Starting a run of 1,000 finished jobs takes under 5 s: all are skipped, none is trained.

Timed in a fresh process, data ready: run folder and plan written, every key derived, sizes and headers checked, and all
checksums read, which happens once, before the first file is used. Each job has 20,000 audited and 2,000 population
records of 2 classes: 176 kB a file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from locard.data.records import Records
from locard.plan.designs import pairs
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.settings import make_settings
from locard.train.jobs import Job, Training, plan_jobs
from locard.train.recipe import SklearnRecipe

ASKED_SECONDS = 5.0
JOBS, AUDITED, POPULATION = 1_000, 20_000, 2_000


class NoTraining:
    """A backend that fails where there is anything to do."""

    def map(self, work: object, chunks: Sequence[Job]) -> Iterator[None]:
        for job in chunks:
            raise AssertionError(f"model {job.model} is trained again although it is finished")
        return iter(())


def case() -> tuple[SklearnRecipe, Records]:
    rng = np.random.default_rng(7)
    n = AUDITED + POPULATION
    records = Records(ids=range(n), features=rng.normal(size=(n, 10)), labels=rng.integers(2, size=n))
    return SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier"), records


def start(out: Path, *, fill: bool) -> list[float]:
    """Seconds until what is missing is known, of reading checksums, and in all; or write all files first."""
    recipe, records = case()
    audited, population = np.arange(AUDITED), np.arange(AUDITED, AUDITED + POPULATION)
    plan = pairs(records, audited, models=JOBS, seed=Seed(0))
    tree = make_settings({"data": {"source": "drawn"}}).model_dump(mode="json", exclude_none=True)
    begun = time.perf_counter()
    with RunFolder(out) as folder:
        folder.begin(tree, plan, {"data": records.fingerprint, "recipe": recipe.fingerprint}, out)
        jobs = plan_jobs(recipe, records, plan, population, Seed(0))
        if fill:
            rng = np.random.default_rng(1)
            for job in jobs:
                said = rng.normal(size=(AUDITED + POPULATION, 1, 2)).astype(np.float32)
                folder.store.write(job.key, {"logits": said[:AUDITED], "population": said[AUDITED:]})
            return []
        absent, _ = folder.store.missing([job.key for job in jobs])
        assert not absent
        checked = time.perf_counter() - begun
        train_missing(Training(recipe, records, audited, population, folder.store), jobs, folder, NoTraining(), Watch())
    whole = time.perf_counter() - begun
    return [checked, whole - checked, whole]


def main() -> int:
    if len(sys.argv) > 1:
        print(*start(Path(sys.argv[1]), fill=False))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder) / "run", fill=True)
        command = [sys.executable, __file__, f"{folder}/run"]
        runs = [
            [float(v) for v in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]
            for _ in range(3)
        ]
    checked, verified, whole = np.median(runs, axis=0)
    print(f"resume: {JOBS} finished jobs known after {checked:.2f} s, checksums read in {verified:.2f} s more")
    print(f"resume: ratio {whole / ASKED_SECONDS:.3f}, asked 1.0")
    return int(whole > ASKED_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
