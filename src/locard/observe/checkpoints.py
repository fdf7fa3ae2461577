"""Models that were trained elsewhere, as files or objects: opened, checked, and asked like those trained here."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from locard.check import Problems
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.models import Opening, ReleasedModel, load_model
from locard.train.asked import Condenses
from locard.train.fingerprint import code_of
from locard.train.jobs import BLOCK, PARTS, Chunk, Job, JobDone, explained, labels_of, versions
from locard.train.recipe import import_path
from locard.train.store import Store

KEY_VERSION = 1  # raised when the code below may store other answers for the same file
WHERE = "references.checkpoints"
FEW = 20  # records that every model is asked about before the audit


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One finished model: what to call it, where it is, and what tells it from every other.

    ``code`` names the versions behind it, ``kind`` its class where it has one, ``floor`` the smallest probability
    that it can tell from zero.
    """

    name: str
    source: Any
    digest: str
    code: tuple[str, ...] = ()
    kind: str | None = None
    floor: float | None = None

    def open(self, base: Path, opening: Opening) -> ReleasedModel:
        """The model, ready to be asked.

        Raises:
            SettingsError: it cannot be opened.
        """
        return load_model(self.source, base=base, opening=replace(opening, where=f"{WHERE}: {self.name}"))

    def need_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was checked, or that this machine has another of.

        Raises:
            SettingsError: it has changed, or is gone.
        """
        if isinstance(self.source, str) and _digest_of_file(Path(self.source)) != self.digest:
            raise SettingsError(
                f"{WHERE}: {self.name}: the file that was checked is needed, but it has changed since. Run the same "
                f"command again."
            )


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """All models of an audit in which nothing is trained, in the order of the rows of their mask.

    It stands where a recipe stands elsewhere, but it cannot fit: ``name``, ``fingerprint``, ``probability_floor`` and
    ``caveats`` are what a result says of it.
    """

    models: tuple[Checkpoint, ...]
    base: Path
    opening: Opening
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.models)

    @property
    def name(self) -> str:
        """What reports call them: by their class, where all are of one."""
        kinds = {m.kind for m in self.models}
        kind = kinds.pop() if len(kinds) == 1 else None
        return "checkpoints trained elsewhere" + (f" ({kind.rpartition('.')[2]})" if kind else "")

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what is in all of them, in their order."""
        return hashlib.sha256("|".join(self._identity(k) for k in range(len(self))).encode()).hexdigest()

    @property
    def probability_floor(self) -> float | None:
        """The smallest among theirs; None where they answer with logits."""
        floors = [m.floor for m in self.models if m.floor is not None]
        return min(floors) if floors and self.opening.answers == "probabilities" else None

    @property
    def caveats(self) -> tuple[str, ...]:
        """What was taken on trust."""
        trusted = (
            "Who is in which model was given, not drawn: if the training sets are not what was said, or were chosen "
            "with an eye to the records, nothing here holds."
        )
        return (trusted, *self.remarks)

    def jobs(self, records: Records, train_index: Sequence[np.ndarray], places: Sequence[np.ndarray]) -> list[Job]:
        """One question a model. Its key names the file's content, the data and the places asked about, not the name."""
        shared = hashlib.sha256()
        for part in (f"checkpoint {KEY_VERSION}", records.fingerprint, versions()):
            shared.update(part.encode() + b"|")
        for index in places:
            shared.update(len(index).to_bytes(8, "little") + np.ascontiguousarray(index).tobytes())
        jobs = []
        for model, index in enumerate(train_index):
            own = shared.copy()
            own.update(self._identity(model).encode())
            jobs.append(Job(model, own.hexdigest()[:40], 0, index))
        return jobs

    def probe(self, records: Records, places: np.ndarray) -> tuple[float, float]:
        """Seconds of opening the first of them, and of asking it about these records."""
        start = time.perf_counter()
        model = self.models[0].open(self.base, self.opening)
        opened = time.perf_counter()
        model.log_probabilities(records.select(places))
        return opened - start, time.perf_counter() - opened

    def _identity(self, model: int) -> str:
        one = self.models[model]
        return " ".join([one.digest, self.opening.answers, *one.code])


@dataclass(frozen=True, eq=False)
class Asking:
    """Everything a worker needs to ask checkpoints: called with a chunk, it opens them, asks them and stores.

    Nothing but the order of the records could tell members from others, and that is the data's own. A file that has
    changed since it was checked is refused, and a file of answers that is there already is left as it is.
    """

    stage: ClassVar[str] = "asking checkpoints"
    recipe: Checkpoints
    records: Records
    audited: np.ndarray
    population: np.ndarray
    store: Store
    device: str = "cpu"
    kept: Condenses | None = None

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """``int64[records]``, the true classes, of each part of the records."""
        return labels_of(self.records, self.audited, self.population)

    def __call__(self, chunk: Chunk) -> list[JobDone]:
        """Open, observe, store.

        Raises:
            SettingsError: a model failed, said with its name.
            RunStopped: the answers could not be stored, or memory ran out.
        """
        return [self._asked(job) for job in chunk.jobs]

    def _asked(self, job: Job) -> JobDone:
        start = time.perf_counter()
        one = self.recipe.models[job.model]
        with explained(f"checkpoint {one.name}", len(job.index)) as warned:
            one.need_unchanged()
            model = one.open(self.recipe.base, self.recipe.opening)
            opened = time.perf_counter()
            said_of = [self._ask(model, places) for places in (self.audited, self.population)]
            answers = dict(zip(PARTS, said_of, strict=True))
        if not self.store.sound(job.key):
            self.store.write(job.key, answers if self.kept is None else self.kept(answers, self.labels))
        said = tuple(dict.fromkeys(f"{w.category.__name__}: {str(w.message).splitlines()[0]}" for w in warned))
        return JobDone(job.model, job.key, opened - start, time.perf_counter() - opened, said)

    def _ask(self, model: ReleasedModel, places: np.ndarray) -> np.ndarray:
        """``float32[records, 1, classes]``: answers in blocks, so that memory stays bounded."""
        out = np.empty((len(places), 1, len(self.records.classes)), dtype=np.float32)
        for start in range(0, len(places), BLOCK):
            block = places[start : start + BLOCK]
            out[start : start + BLOCK] = model.log_probabilities(self.records.select(block))
        return out


def open_checkpoints(sources: Sequence[Any], records: Records | None, *, base: Path, opening: Opening) -> Checkpoints:
    """Open every checkpoint once and ask it about a few records, so that all that is wrong is told before the audit.

    Args:
        sources: files, or objects with ``predict_proba``.
        records: the data; None where it could not be loaded, and then nothing is asked.
        base: where relative paths, and the loader's module, are looked for.
        opening: how files are opened.

    Raises:
        SettingsError: every problem of every checkpoint: no such file, one that cannot be opened, other classes,
            answers that are none.
    """
    problems, models = Problems(), []
    if len(sources) < 2:
        problems.add(f"{WHERE}: at least 2 models are needed, found {len(sources)}. Give more of them.")
    loader = () if opening.loader is None else _loader_code(opening.loader, base, problems)
    if loader is not None:
        for name, source in zip(_names(sources), sources, strict=True):
            with problems.gather():
                models.append(_checked(name, source, records, base, opening, loader))
    seen: dict[str, Checkpoint] = {}
    for one in models:
        twin = seen.setdefault(one.digest, one)
        if twin is not one:
            problems.add(f"{WHERE}: each model is needed once, but {twin.name} and {one.name} are the same.")
    problems.settle()
    return Checkpoints(tuple(models), base, opening)


def _loader_code(loader: str, base: Path, problems: Problems) -> tuple[str, ...] | None:
    with problems.gather():
        return tuple(code_of(import_path(loader, "references.loader", base)))
    return None


def _names(sources: Sequence[Any]) -> list[str]:
    """What messages call them: the file's name, with its folder where others have the same."""
    short = [Path(s).name if isinstance(s, str | Path) else "" for s in sources]
    return [
        f"checkpoint {place} ({type(source).__name__})"
        if not isinstance(source, str | Path)
        else (name if short.count(name) == 1 else "/".join(Path(source).parts[-2:]))
        for place, (source, name) in enumerate(zip(sources, short, strict=True))
    ]


def _checked(
    name: str, source: Any, records: Records | None, base: Path, opening: Opening, loader: tuple[str, ...]
) -> Checkpoint:
    if isinstance(source, str | Path):
        path = base / source
        digest = _digest_of_file(path)
        source = str(path.resolve())
    else:
        digest = _digest_of_object(source, name)
    one = Checkpoint(name, source, digest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are told once, when it is asked for the audit
        model = one.open(base, opening)
        if records is not None:
            model.check(records, some_classes=True)
            model.log_probabilities(records.select(np.arange(min(FEW, len(records)))))
    return replace(one, code=tuple(sorted({*loader, *model.code})), kind=model.kind, floor=model.floor)


def _digest_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as wrong:
        raise SettingsError(f"{WHERE}: a file that can be read is needed, but {path} cannot ({wrong}).") from wrong


def _digest_of_object(model: Any, name: str) -> str:
    import joblib

    try:
        return str(joblib.hash(model))
    except Exception as wrong:  # whatever the pickling code of a user's class may raise
        raise SettingsError(
            f"{WHERE}: models that can be told apart and sent to workers are needed, but pickling {name} raised "
            f"{type(wrong).__name__}: {wrong}. Save it to a file and name a loader (references.loader)."
        ) from wrong
