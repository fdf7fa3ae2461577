"""How long one model takes to fit and to ask, tried out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from locard.data.records import Records
from locard.data.split import Split
from locard.plan.plan import Plan
from locard.run.memory import available_bytes
from locard.seeds import Seed
from locard.settings import Settings
from locard.train.asked import AnswersMany, Room, Run
from locard.train.jobs import explained
from locard.train.recipe import Recipe

START_SECONDS = 2.0  # a worker's start: interpreter, libraries, data
PROBES = 2


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Seconds to fit one model and to ask it about everything; models that are trained together; memory of a worker."""

    fit: float
    predict: float
    chunk: int = 1
    bytes: int = 0
    way: str | None = None

    def training(self, models: int, workers: int) -> float:
        """Seconds in which so many workers fit and ask so many models."""
        rounds = math.ceil(math.ceil(models / self.chunk) / workers)
        return rounds * self.chunk * (self.fit + self.predict) + (START_SECONDS if workers > 1 else 0.0)


def probe(
    recipe: Recipe | tuple[float, float], records: Records, split: Split, plan: Plan, settings: Settings
) -> Probe:
    """Fit the plan's first two models for real, and ask them about everything: the median of both.

    A recipe that trains many models in one program times its own steps.

    Args:
        recipe: or the seconds that a model trained elsewhere takes to open and to ask.
        records, split, plan, settings: of the run.

    Raises:
        SettingsError: the recipe's own code failed.
    """
    from threadpoolctl import threadpool_limits

    if isinstance(recipe, tuple):
        return Probe(fit=recipe[0], predict=recipe[1])
    observed = np.concatenate([split.audited, split.population])
    seed, compute = Seed(settings.seed), settings.compute
    with threadpool_limits(limits=1):
        if isinstance(recipe, AnswersMany):
            runs = [Run(index, seed.child("probe", m).integer()) for m, index in enumerate(plan.train_index)]
            room = Room(workers=compute.workers, memory=available_bytes() // compute.workers, device=compute.device)
            with explained("the probe", len(runs[0].index)):
                choice = recipe.choose(records, runs, room)
            return Probe(
                fit=choice.seconds,
                predict=choice.ask_seconds * len(observed),
                chunk=min(choice.size, math.ceil(len(runs) / compute.workers)),
                bytes=choice.bytes,
                way=f"{choice.size} models together" if choice.way == "many" else "one model at a time",
            )
        fits, predictions = [], []
        for model in range(min(PROBES, len(plan))):
            start = time.perf_counter()
            with explained(f"probe model {model}", len(plan.train_index[model])):
                predict = recipe.fit(records, plan.train_index[model], seed.child("probe", model).integer())
                fitted = time.perf_counter()
                predict(records.features[observed])
            fits.append(fitted - start)
            predictions.append(time.perf_counter() - fitted)
    return Probe(fit=float(np.median(fits)), predict=float(np.median(predictions)))
