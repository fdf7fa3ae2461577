"""A job is one model: ``(recipe, plan row, seed)``. Its key names everything that may change its answers."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from locard.data.records import Records
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.train.recipe import Recipe
from locard.train.store import Store

KEY_VERSION = 1  # raised when the code below may give other numbers for the same inputs
BLOCK = 20_000  # records predicted at once


@dataclass(frozen=True, eq=False)
class Job:
    """One model to train and question."""

    model: int
    key: str
    seed: int
    index: np.ndarray


@dataclass(frozen=True)
class JobDone:
    """A finished job and how long its parts took, in seconds."""

    model: int
    key: str
    fit_seconds: float
    predict_seconds: float


@dataclass(frozen=True, eq=False)
class Training:
    """Everything a worker needs, sent to it once: the recipe, the data, what to ask, where to put the answers.

    Calling it with a job trains that model, asks it about the audited and population records and stores the answers.
    """

    recipe: Recipe
    records: Records
    audited: np.ndarray
    population: np.ndarray
    store: Store

    def __call__(self, job: Job) -> JobDone:
        """Train, observe, store."""
        start = time.perf_counter()
        predict = self.recipe.fit(self.records, job.index, job.seed)
        fitted = time.perf_counter()
        features = self.records.features
        answers = {
            "logits": _in_blocks(predict, features, self.audited),
            "population": _in_blocks(predict, features, self.population),
        }
        if len(self.population) == 0:
            answers["population"] = np.zeros((0, 1, len(self.records.classes)), dtype=np.float32)
        self.store.write(job.key, answers)
        return JobDone(job.model, job.key, fitted - start, time.perf_counter() - fitted)


def plan_jobs(recipe: Recipe, records: Records, plan: Plan, population: np.ndarray, seed: Seed) -> list[Job]:
    """One job a plan row. A model's seed has its own name, so asking for more models keeps the keys of the first."""
    shared = hashlib.sha256()
    for part in (str(KEY_VERSION), recipe.fingerprint, records.fingerprint, versions()):
        shared.update(part.encode() + b"|")
    for index in (plan.audited, population):
        shared.update(len(index).to_bytes(8, "little") + np.ascontiguousarray(index).tobytes())
    jobs = []
    for model, index in enumerate(plan.train_index):
        number = seed.child("model", plan.role[model], model).integer()
        own = shared.copy()
        own.update(f"{number}|{len(index)}|".encode() + np.ascontiguousarray(index).tobytes())
        jobs.append(Job(model, own.hexdigest()[:40], number, index))
    return jobs


@cache
def versions() -> str:
    """Versions that may change numbers: they are part of every key."""
    from importlib.metadata import version

    names = ("numpy", "scipy", "scikit-learn")
    return ";".join([f"python {platform.python_version()}", platform.machine(), *(f"{n} {version(n)}" for n in names)])


def _in_blocks(predict: object, features: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``float32[records, 1, classes]``: answers in blocks, so that memory stays bounded."""
    blocks = [
        np.asarray(predict(features[places[i : i + BLOCK]]))  # type: ignore[operator]
        for i in range(0, len(places), BLOCK)
    ]
    return np.concatenate(blocks)[:, None, :] if blocks else np.zeros((0, 1, 0), dtype=np.float32)
