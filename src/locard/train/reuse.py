"""Files made from other files of the same models, where the store holds more of their answers than is kept now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from locard.train.asked import Condenses
from locard.train.jobs import Job, model_of
from locard.train.store import DamagedFile, Store


@runtime_checkable
class Answering(Protocol):
    """Work that stores answers, or what is kept of them."""

    @property
    def store(self) -> Store:
        """Where."""
        ...

    @property
    def kept(self) -> Condenses | None:
        """What is kept; None: whole answers."""
        ...

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """``int64[records]``, the true classes, of each part of the records."""
        ...


def reuse(work: Answering, absent: Sequence[Job]) -> tuple[set[str], list[str]]:
    """Make what is absent from other files of the same models, where one holds it.

    A model's files differ in what is kept of its answers, and their keys say so. Whole answers serve everything, and
    signals serve fewer of them; then nothing is trained again. Where none serves, what is missing is said.

    Returns:
        The keys that are there now, and what to tell: damaged files, and models that are trained again because too
        little was kept of them.

    Raises:
        RunStopped: the store cannot be read or written.
    """
    others: dict[str, list[str]] = {}
    for key in work.store.keys() if absent else ():
        others.setdefault(model_of(key), []).append(key)
    made, told, short = set[str](), list[str](), list[list[str]]()
    for job in absent:
        lacking = []
        for key in others.get(job.trained, []):
            try:
                missing = _missing(work, key)
                if not missing:
                    work.store.write(job.key, _condensed(work, key))
                    made.add(job.key)
                    break
                lacking.append(missing)
            except DamagedFile as damaged:
                told.append(str(damaged))
        else:
            short += [min(lacking, key=len)] if lacking else []
    return made, [*told, *([_said(work, short, len(absent))] if short else [])]


def _missing(work: Answering, key: str) -> list[str]:
    names = work.store.names(key)
    if work.kept is None:
        return [] if set(names).issuperset(work.labels) else ["whole answers"]
    return work.kept.missing(names, work.labels)


def _condensed(work: Answering, key: str) -> dict[str, np.ndarray]:
    tensors = work.store.tensors(key)
    return tensors if work.kept is None else work.kept(tensors, work.labels)


def _said(work: Answering, short: list[list[str]], absent: int) -> str:
    lacking = sorted({word for missing in short for word in missing})
    return (
        f"{len(short)} of {absent} models that are needed are in {work.store.where} already, but only some signals of "
        f"their answers were kept, and {', '.join(lacking)} was not: they are trained again. What is kept follows from "
        f"compute.keep and the attacks."
    )
