"""From stored answers to what scoring reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from locard.assess.scoring import Audited
from locard.observe.observations import Observations
from locard.observe.traces import Traces
from locard.prepare import Prepared
from locard.run.folder import RunFolder
from locard.train.jobs import Job
from locard.train.store import StoreReader


def observed(
    prepared: Prepared, folder: RunFolder, jobs: list[Job], traces: Mapping[str, Traces] | None = None
) -> Audited:
    """What these models said about the audited records and the population, and what histories say."""
    records, split, floor = prepared.records, prepared.split, prepared.recipe.probability_floor
    keys = [job.key for job in jobs]
    own = StoreReader(folder.store, keys, "logits")
    said = Observations(own, records.y[split.audited], probability_floor=floor, traces=traces)
    population = None
    if len(split.population):
        reader = StoreReader(folder.store, keys, "population")
        population = Observations(reader, records.y[prepared.asked], probability_floor=floor)
        if len(prepared.asked) > len(split.population):
            population = population.select(np.searchsorted(prepared.asked, split.population))
    return Audited(
        records.select(split.audited),
        prepared.plan,
        said,
        population,
        prepared.seed,
        population_features=records.features[split.population],
    )
