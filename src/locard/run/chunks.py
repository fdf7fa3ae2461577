"""Which jobs travel together. Decided and written down before training, so that a resumed run repeats it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from locard.files import write_file
from locard.run.memory import available_bytes
from locard.train.asked import AnswersMany, Room, Run
from locard.train.jobs import Chunk, Job, Work

FILE = "chunks.json"


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How jobs are grouped, by hand.

    Args:
        workers: processes that share the jobs.
        size: models a chunk; None: measured on the actual network, data and machine.
        exact: one model at a time, so that no result depends on the grouping.
        elsewhere: asks how many workers there are and how many bytes each has, where they are not on this machine.
    """

    workers: int = 1
    size: int | None = None
    exact: bool = False
    elsewhere: Callable[[], tuple[int, int]] | None = None

    def places(self) -> tuple[int, int]:
        """How many workers there are, and the bytes of memory for each."""
        if self.elsewhere is not None:
            return self.elsewhere()
        return self.workers, available_bytes() // self.workers


def plan_chunks(
    wanted: Sequence[Job], absent: Sequence[str], work: Work, grouping: Grouping, folder: Path
) -> tuple[list[Chunk], dict[str, Any]]:
    """Chunks that make the absent files, and what was chosen, for ``run.json``.

    A chunk that an earlier run has written down and not finished comes again as it was, with its finished jobs, because
    numbers may depend on a model's companions to the last digits. New chunks are written down before they are returned.

    Raises:
        SettingsError: the network does not fit the data or the memory.
        RunStopped: the folder cannot be written.
    """
    by_key = {job.key: job for job in wanted}
    if not isinstance(work.recipe, AnswersMany):
        return [Chunk((by_key[key],)) for key in absent], {}
    known, left = _read(folder / FILE), set(absent)
    again = []
    for way, keys in known:
        if left & set(keys) and all(key in by_key for key in keys):
            again.append(Chunk(tuple(by_key[key] for key in keys), way))
            left -= set(keys)
    fresh, chosen = _group([by_key[key] for key in absent if key in left], work, grouping)
    kept = [(way, keys) for way, keys in known if not left & set(keys)]
    written = [(c.way, [j.key for j in c.jobs]) for c in fresh]
    write_file(folder / FILE, (json.dumps([*kept, *written]) + "\n").encode())
    return [*again, *fresh], chosen


def _group(jobs: list[Job], work: Work, grouping: Grouping) -> tuple[list[Chunk], dict[str, Any]]:
    if not jobs:
        return [], {}
    assert isinstance(work.recipe, AnswersMany)
    if grouping.exact:
        return [Chunk((job,)) for job in jobs], {"way": "one", "size": 1, "reason": "compute.exact"}
    workers, memory = grouping.places()
    room = Room(workers=workers, memory=memory, device=work.device, size=grouping.size)
    choice = work.recipe.choose(work.records, [Run(job.index, job.seed) for job in jobs], room)
    chosen = {"way": choice.way, "size": choice.size, "reason": choice.reason}
    if choice.way == "one":
        return [Chunk((job,)) for job in jobs], chosen
    return [Chunk(tuple(part), "many") for part in even_parts(jobs, choice.size, workers)], chosen


def even_parts(jobs: Sequence[Job], size: int, workers: int) -> list[Sequence[Job]]:
    """Parts of at most ``size`` jobs, equally large up to one, so many that workers end at the same time.

    >>> [len(part) for part in even_parts(range(70), 32, 2)]
    [18, 18, 17, 17]
    """
    count = math.ceil(len(jobs) / size)
    count = min(len(jobs), math.ceil(count / workers) * workers)
    edges = [len(jobs) * i // count for i in range(count + 1)]
    sizes = sorted((b - a for a, b in pairwise(edges)), reverse=True)
    parts, start = [], 0
    for length in sizes:
        parts.append(jobs[start : start + length])
        start += length
    return parts


def _read(path: Path) -> list[tuple[Literal["one", "many"], list[str]]]:
    """What is written down; nothing where there is no file, or where it cannot be read."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return [("many" if way == "many" else "one", [str(k) for k in keys]) for way, keys in tree]
    except (OSError, ValueError, TypeError):
        return []
