"""A job is one model: ``(recipe, plan row, seed)``. Its key names everything that may change its answers.

Jobs travel in chunks: one model, or several that a recipe trains in one program.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sysconfig
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from locard.data.records import Records
from locard.errors import LocardError, RunStopped, SettingsError
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.train.asked import Answers, AnswersMany, Asked, Condenses, Keep, Run
from locard.train.recipe import Predictor, Recipe
from locard.train.store import Store

KEY_VERSION = 2  # raised when the code below may give other numbers for the same inputs
BLOCK = 20_000  # records predicted at once
WRITERS = 4  # files of a chunk that are written at once: each waits for the disk, or for an object store
PARTS = ("logits", "population")  # what a file holds of the audited records, and of the others
KEPT = "-"  # in a key, before what is kept of the model's answers, where that is not all of them


@dataclass(frozen=True, eq=False)
class Job:
    """One model to train and question. Its key names the model, and what is kept of its answers."""

    model: int
    key: str
    seed: int
    index: np.ndarray

    @property
    def trained(self) -> str:
        """What names the model itself, whatever is kept of its answers."""
        return model_of(self.key)


def model_of(key: str) -> str:
    """The part of a key that names the model.

    >>> model_of("0a1b-2c3d"), model_of("0a1b")
    ('0a1b', '0a1b')
    """
    return key.partition(KEPT)[0]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Jobs that one worker does in one go, alone or in one program. Its composition is stored before training."""

    jobs: tuple[Job, ...]
    way: Literal["one", "many"] = "one"


@dataclass(frozen=True)
class JobDone:
    """A finished job: how long its parts took, in seconds, and what the recipe's own code warned of."""

    model: int
    key: str
    fit_seconds: float
    predict_seconds: float
    warned: tuple[str, ...] = ()


class Work(Protocol):
    """What workers do with chunks: sent to each of them once.

    ``stage`` is what it is called while it goes on; ``recipe`` what answers; ``device`` where.
    """

    stage: ClassVar[str]

    @property
    def recipe(self) -> Any:
        """What is trained, or was: it has a ``name`` and a ``fingerprint``."""
        ...

    @property
    def records(self) -> Records:
        """The data."""
        ...

    @property
    def device(self) -> str:
        """Where tensors live."""
        ...

    def __call__(self, chunk: Chunk) -> list[JobDone]:
        """Answer for every job of the chunk, and store it."""
        ...


@dataclass(frozen=True, eq=False)
class Training:
    """Everything a worker needs, sent to it once: the recipe, the data, what to ask, where to put the answers.

    Calling it with a chunk trains its models, asks them about the audited and population records and stores what they
    answer, or what is ``kept`` of that, and what else is kept of them. A file that is there already is left as it is.
    """

    stage: ClassVar[str] = "training models"
    recipe: Recipe
    records: Records
    audited: np.ndarray
    population: np.ndarray
    store: Store
    keep: Keep = field(default_factory=Keep)
    weights: Store | None = None
    device: str = "cpu"
    kept: Condenses | None = None

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """``int64[records]``, the true classes, of each part of the records."""
        return labels_of(self.records, self.audited, self.population)

    def __call__(self, chunk: Chunk) -> list[JobDone]:
        """Train, observe, store.

        Raises:
            SettingsError: the recipe's own code failed, said with the model and the place.
            RunStopped: the answers could not be stored, or memory ran out.
        """
        first, last = chunk.jobs[0].model, chunk.jobs[-1].model
        which = f"model {first}" if len(chunk.jobs) == 1 else f"one of the models {first} to {last}"
        done, writing = [], deque[Future[None]]()
        with explained(which, len(chunk.jobs[0].index)) as warned, ThreadPoolExecutor(WRITERS) as writers:
            for job, answers in zip(chunk.jobs, self._answers(chunk), strict=True):
                if len(writing) == WRITERS:  # no more answers than that wait in memory
                    writing.popleft().result()
                writing.append(writers.submit(self._put, job, answers))
                said = tuple(dict.fromkeys(f"{w.category.__name__}: {str(w.message).splitlines()[0]}" for w in warned))
                done.append(JobDone(job.model, job.key, answers.fit_seconds, answers.ask_seconds, said))
                warned.clear()
            for written in writing:  # a chunk is done when all of its files are
                written.result()
        return done

    def _answers(self, chunk: Chunk) -> Iterator[Answers]:
        if isinstance(self.recipe, AnswersMany):
            asked = Asked(
                audited=self.audited, population=self.population, keep=self.keep, way=chunk.way, device=self.device
            )
            yield from self.recipe.answer(self.records, [Run(job.index, job.seed) for job in chunk.jobs], asked)
            return
        for job in chunk.jobs:
            start = time.perf_counter()
            predict = self.recipe.fit(self.records, job.index, job.seed)
            fitted = time.perf_counter()
            said = self._ask(predict)
            yield Answers(said, {}, fitted - start, time.perf_counter() - fitted)

    def _put(self, job: Job, answers: Answers) -> None:
        """The weights first: a model counts as finished when its answers are there. Whether they are whole is not asked
        here: that is found out, and mended, by who started the run."""
        if self.weights is not None:
            for name, tensors in answers.weights.items():
                self.weights.write(f"{job.trained}.{name}", tensors)
        if not self.store.holds(job.key):
            kept = answers.tensors if self.kept is None else self.kept(answers.tensors, self.labels)
            self.store.write(job.key, kept)

    def _ask(self, predict: Predictor) -> dict[str, np.ndarray]:
        """``float32[records, queries, classes]`` of the audited records and of the population.

        Both are asked together, because being asked at all costs a forest a third of its time, and in blocks, so that
        memory stays bounded.
        """
        places = np.concatenate([self.audited, self.population])
        out = np.empty((len(places), 1, len(self.records.classes)), dtype=np.float32)
        for start in range(0, len(places), BLOCK):
            block = places[start : start + BLOCK]
            out[start : start + BLOCK, 0] = predict(self.records.features[block])
        return {"logits": out[: len(self.audited)], "population": out[len(self.audited) :]}


def labels_of(records: Records, audited: np.ndarray, population: np.ndarray) -> dict[str, np.ndarray]:
    """``int64[records]``, the true classes, of each part of the records that models are asked about."""
    return dict(zip(PARTS, (records.y[audited], records.y[population]), strict=True))


def kept_of(jobs: list[Job], kept: Condenses | None) -> list[Job]:
    """The same models, of whose answers this is kept; None: all."""
    return jobs if kept is None else [replace(job, key=kept.key(job.trained)) for job in jobs]


def plan_jobs(
    recipe: Recipe, records: Records, plan: Plan, population: np.ndarray, seed: Seed, *, keep: Keep | None = None
) -> list[Job]:
    """One job a plan row. A model's seed has its own name, so asking for more models keeps the keys of the first.

    Models are numbered within their role: more references do not change the targets that stand behind them in the plan.
    """
    shared = hashlib.sha256()
    kept = [json.dumps(asdict(keep))] if keep is not None and keep.anything else []
    for part in (str(KEY_VERSION), recipe.fingerprint, records.fingerprint, versions(), *kept):
        shared.update(part.encode() + b"|")
    for index in (plan.audited, population):
        shared.update(len(index).to_bytes(8, "little") + np.ascontiguousarray(index).tobytes())
    jobs = []
    before: Counter[str] = Counter()
    for model, (index, role) in enumerate(zip(plan.train_index, plan.role, strict=True)):
        number = seed.child("model", role, before[role]).integer()
        before[role] += 1
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


def _first_line(wrong: BaseException) -> str:
    return str(wrong).strip().partition("\n")[0].rstrip(".")


@contextmanager
def explained(which: str, records: int) -> Iterator[list[warnings.WarningMessage]]:
    """Turn what a recipe's own code raises into one message that says which model, where and what to do.

    Yields the list that its warnings go to, instead of the terminal.

    Raises:
        SettingsError: for any error but memory, which is ``RunStopped``.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            yield warned
    except LocardError:
        raise
    except MemoryError as wrong:
        raise RunStopped(
            f"Memory for {which} ({records:,} training records) is needed, but it ran out. Lower compute.workers or "
            f"data.pool, and run the same command again: everything finished so far is kept."
        ) from wrong
    except (Exception, SystemExit) as wrong:
        raise SettingsError(
            f"target: training code that runs and answers is needed, but {which} ({records:,} training records) raised "
            f"{type(wrong).__name__}: {_first_line(wrong)} ({_place(wrong)}). Mend target.params, the "
            f"estimator or the data, and run the same command again."
        ) from wrong


def _place(wrong: BaseException) -> str:
    """File and line of the user's own code where it went wrong; of the library, where none of theirs took part."""
    frames = traceback.extract_tb(wrong.__traceback__)
    libraries = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
    theirs = [
        f
        for f in frames
        if not {"site-packages", "dist-packages"} & set(Path(f.filename).parts)
        and not any(Path(f.filename).is_relative_to(folder) for folder in libraries)
    ]
    place = (theirs or frames)[-1]
    return f"{Path(place.filename).name}, line {place.lineno}"
