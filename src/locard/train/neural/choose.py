"""One at a time, or many in one program? Some steps of both are timed on the actual network, data and machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from locard.errors import SettingsError
from locard.train.asked import Choice, Room, Run
from locard.train.neural.data import NetworkData
from locard.train.neural.many_models import cannot_stack
from locard.train.neural.objective import check_output
from locard.train.neural.one_model import length_of, train_one
from locard.train.neural.stack_training import StackTraining
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

SIZES = (8, 16, 32, 64, 128, 256)
STEPS = 4  # timed of each candidate, after the first, which records the step
BETTER = 0.95  # a larger chunk must be this much faster a model to be worth its memory
LOOK, AT_LEAST = 0.05, 0.1  # looking on may take this share of the training as it is known so far, or so many seconds
QUICK = 0.05  # seconds: what takes less is timed twice
CLEAR = 1.5  # more steps must take so many times what one takes, before a step's time is a difference of the two
BASE_BYTES = 400 * 2**20  # of a process with torch in it, before any model


@dataclass(frozen=True)
class _Timed:
    way: Literal["one", "many"]
    size: int
    start: float  # seconds before the first step
    step: float  # seconds a step of all models
    bytes: int

    def total(self, models: int, steps: int, workers: int) -> float:
        """Seconds until all models are trained."""
        rounds = math.ceil(math.ceil(models / self.size) / workers)
        return rounds * (self.start + steps * self.step)


def choose(recipe: TorchRecipe, data: NetworkData, runs: Sequence[Run], room: Room) -> Choice:
    """The faster way, and the best chunk size that fits the memory.

    Larger chunks are tried as long as that costs little beside the training itself.

    Raises:
        SettingsError: the network does not fit the records, or one model does not fit the memory.
    """
    check_output(recipe, data)
    steps = max(length_of(recipe, len(run.index)).total for run in runs)
    one = _time_one(recipe, data, runs[0])
    taken = data.x.numel() * data.x.element_size()
    if one.bytes + taken > room.memory:
        raise SettingsError(
            f"target.module: {(one.bytes + taken) / 2**30:.1f} GiB are needed to train one model, but each of "
            f"{room.workers} workers has {room.memory / 2**30:.1f} GiB. Lower compute.workers, "
            f"target.batch_size or the network's size."
        )
    ask = _time_asking(recipe, data, runs[0])
    reason = cannot_stack(recipe, data)
    if reason is not None:
        return _choice(one, steps, ask, f"one model at a time: {reason}")
    if room.size is not None:
        return Choice(
            way="one" if room.size == 1 else "many",
            size=room.size,
            reason="compute.chunk",
            seconds=math.nan,
            ask_seconds=math.nan,
            bytes=0,
        )
    most = math.ceil(len(runs) / room.workers)
    best, tried, begun = one, [one], time.perf_counter()
    for size in sorted({*(s for s in SIZES if s < most), most}):
        if size < 2 or size > max(SIZES):
            continue
        total = best.total(len(runs), steps, room.workers)
        if time.perf_counter() - begun + (1 + STEPS) * size * best.step / best.size > max(AT_LEAST, LOOK * total):
            break
        timed = _time_many(recipe, data, list(runs[:size]))
        if timed.bytes + taken > room.memory:
            break
        tried.append(timed)
        best = timed if timed.total(len(runs), steps, room.workers) < BETTER * total else best
        if timed.step / timed.size > 1.1 * min(t.step / t.size for t in tried):
            break
    shown = ", ".join(f"{t.size} at a time {1e6 * t.step / t.size:.0f}" for t in tried)
    return _choice(best, steps, ask, f"microseconds a model and step: {shown}")


def _choice(timed: _Timed, steps: int, ask: float, reason: str) -> Choice:
    seconds = (timed.start + steps * timed.step) / timed.size
    return Choice(way=timed.way, size=timed.size, reason=reason, seconds=seconds, ask_seconds=ask, bytes=timed.bytes)


def _time_one(recipe: TorchRecipe, data: NetworkData, run: Run) -> _Timed:
    short = _short(recipe, 1)
    train_one(short, data, run)  # loads what torch loads late
    first, state = _seconds(short, data, run)
    more = STEPS
    longer, _ = _seconds(_short(recipe, 1 + more), data, run)
    while longer < CLEAR * first and longer < QUICK:  # a difference within the noise would call any step free
        more *= 4
        longer, _ = _seconds(_short(recipe, 1 + more), data, run)
    step = (longer - first) / more if longer >= CLEAR * first else longer / (1 + more)
    size = sum(p.numel() * p.element_size() for p in state.params.values())
    rows = min(recipe.batch_size, len(run.index)) * data.x[0].numel() * data.x.element_size()
    return _Timed("one", 1, max(0.0, first - step), step, BASE_BYTES + 6 * size + 20 * rows)


def _seconds(recipe: TorchRecipe, data: NetworkData, run: Run) -> tuple[float, Stack]:
    """What training one model takes, the shorter of two times where it is quick: other programs disturb."""
    took: list[float] = []
    while not took or (len(took) == 1 and took[0] < QUICK):
        start = time.perf_counter()
        state = train_one(recipe, data, run)
        took.append(time.perf_counter() - start)
    return min(took), state


def _time_many(recipe: TorchRecipe, data: NetworkData, runs: list[Run]) -> _Timed:
    start = time.perf_counter()
    training = StackTraining(recipe, data, runs)
    training.step(0)
    begun = time.perf_counter() - start
    times = []
    for step in range(1, 1 + STEPS):
        start = time.perf_counter()
        training.step(step)
        times.append(time.perf_counter() - start)
    step_seconds = min(times)  # what else the machine does can only add
    return _Timed("many", len(runs), begun - step_seconds, step_seconds, BASE_BYTES + training.bytes)


def _time_asking(recipe: TorchRecipe, data: NetworkData, run: Run) -> float:
    """Seconds that one model takes for one record, all its forms."""
    model = train_one(_short(recipe, 1), data, run)
    seconds = 0.0
    for rows in (200, 2_000):  # the longer look only where it costs nothing
        if seconds < 0.01:
            x = data.rows(np.arange(min(data.records, rows)), 0)
            start = time.perf_counter()
            for _ in model.logits(x):
                pass
            seconds = time.perf_counter() - start
    return seconds * data.variants / len(x)


def _short(recipe: TorchRecipe, steps: int) -> TorchRecipe:
    """The recipe with so many steps only."""
    return replace(recipe, epochs=None, steps=steps, patience=None, warmup=0, schedule="constant", schedule_params={})
