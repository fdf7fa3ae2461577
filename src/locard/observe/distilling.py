"""The work of distilling: what a model said of the population teaches students, who answer for the audited records."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from locard.data.records import Records
from locard.observe.observations import Observations
from locard.observe.signals import Metrics, ScaledLogit
from locard.seeds import Seed
from locard.settings_distil import DistilSettings
from locard.train.asked import Run
from locard.train.distil import Teaching, distil, soft_labels
from locard.train.jobs import Chunk, Job, JobDone, explained
from locard.train.recipe import Recipe
from locard.train.store import Store

KEY_VERSION = 1  # raised when the code below may give other numbers for the same inputs
FEWEST = 10  # auxiliary records of one student


@dataclass(frozen=True, eq=False)
class Distilling:
    """Everything a worker needs to train students: sent to it once.

    A student's file holds ``distilled``: ``float32[records, epochs, metrics]``, its five metrics after every epoch; or
    ``student``: ``float32[records, 1]``, its scaled logit at the end.

    Args:
        recipe: of the students.
        records: all of them.
        audited: places of those that students are asked about.
        asked: places of those that teachers were asked about, sorted: rows of ``population`` in their files.
        store: where the teachers' files are, and the students' will be.
        teachers: the key of each job's teacher.
        settings: the section ``[distil]``.
        snapshots: whether every epoch is written down.
        floor: smallest probability that a student can tell from zero; None for logits.
        device: where tensors live.
    """

    stage: ClassVar[str] = "distilling models"
    recipe: Recipe
    records: Records
    audited: np.ndarray
    asked: np.ndarray
    store: Store
    teachers: Mapping[str, str]
    settings: DistilSettings
    snapshots: bool
    floor: float | None = None
    device: str = "cpu"

    def __call__(self, chunk: Chunk) -> list[JobDone]:
        """Train, observe, store.

        Raises:
            SettingsError: the recipe's own code failed, said with the model and the place.
            RunStopped: an answer could not be stored, or memory ran out.
            DamagedFile: a teacher's file is damaged or gone.
        """
        teaching = Teaching(
            audited=self.audited,
            epochs=self.settings.epochs,
            temperature=self.settings.temperature,
            label_only=self.settings.label_only,
            every=self.snapshots,
            way=chunk.way,
            device=self.device,
        )
        soft = [soft_labels(self._said(job), teaching) for job in chunk.jobs]
        rows = [np.empty((len(self.audited), *self._shape), dtype=np.float32) for _ in chunk.jobs]

        def note(student: int, epoch: int, logits: np.ndarray) -> None:
            if self.snapshots:
                rows[student][:, epoch - 1] = self._read(logits, Metrics())
            else:
                rows[student][:, 0] = self._read(logits, ScaledLogit())

        start = time.perf_counter()
        with explained(f"the student of model {chunk.jobs[0].model}", len(chunk.jobs[0].index)) as warned:
            distil(self.recipe, self.records, [Run(j.index, j.seed) for j in chunk.jobs], soft, teaching, note)
        said = tuple(dict.fromkeys(f"{w.category.__name__}: {str(w.message).splitlines()[0]}" for w in warned))
        seconds = (time.perf_counter() - start) / len(chunk.jobs)
        for job, values in zip(chunk.jobs, rows, strict=True):
            if not self.store.holds(job.key):
                self.store.write(job.key, {self.name: values})
        return [JobDone(job.model, job.key, seconds, 0.0, said) for job in chunk.jobs]

    @property
    def name(self) -> str:
        """What a student's file holds."""
        return "distilled" if self.snapshots else "student"

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.settings.epochs, 5) if self.snapshots else (1,)

    def _said(self, job: Job) -> np.ndarray:
        """``float32[index, queries, classes]``: what the teacher said of the student's records."""
        every = self.store.read(self.teachers[job.key], "population")
        said: np.ndarray = every[np.searchsorted(self.asked, job.index)]
        return said

    def _read(self, logits: np.ndarray, signal: Metrics | ScaledLogit) -> np.ndarray:
        """The signal, where answers are floored as those of models are."""
        y = self.records.y[self.audited]
        floored = Observations(_Once(logits[None, :, None, :]), y, probability_floor=self.floor).logits(0)
        out: np.ndarray = signal(floored, y)[:, 0]
        return out


@dataclass(frozen=True, eq=False)
class _Once:
    """One model's logits, as observations read them."""

    logits: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(models, records, queries, classes)."""
        models, records, queries, classes = self.logits.shape
        return models, records, queries, classes

    def read(self, model: int) -> np.ndarray:
        """The logits."""
        return np.asarray(self.logits[model], dtype=np.float32)


def auxiliary(population: np.ndarray, settings: DistilSettings, seed: Seed) -> np.ndarray:
    """Places of the records that students learn from, in a random order that is the same for all."""
    order: np.ndarray = seed.child("auxiliary").generator().permutation(population)
    return order if settings.records is None else order[: settings.records]


def student_jobs(
    kind: str, recipe: Any, teachers: Sequence[Job], parts: Sequence[np.ndarray], settings: DistilSettings, seed: Seed
) -> tuple[list[Job], dict[str, str]]:
    """One job for each teacher and each part of the auxiliary records, teachers first; and each job's teacher's key.

    A key names the teacher (and so its recipe, records, seed and versions), the settings and the records learnt from.
    """
    told = {k: getattr(settings, k) for k in ("epochs", "temperature", "label_only")}
    common = json.dumps([KEY_VERSION, kind, recipe.fingerprint, told], sort_keys=True)
    jobs, taught_by = [], {}
    for teacher in teachers:
        for number, index in enumerate(parts):
            own = seed.child("student", kind, teacher.model, number).integer()
            h = hashlib.sha256(f"{common}|{teacher.key}|{own}|{len(index)}|".encode())
            h.update(np.ascontiguousarray(index).tobytes())
            key = h.hexdigest()[:40]
            jobs.append(Job(teacher.model, key, own, index))
            taught_by[key] = teacher.key
    return jobs, taught_by
