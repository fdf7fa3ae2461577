"""From stored answers to what scoring reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from locard.assess.scoring import Audited
from locard.observe.kept import stored_observations
from locard.observe.traces import Traces
from locard.prepare import Prepared
from locard.run.folder import RunFolder
from locard.train.jobs import Job, labels_of


def observed(
    prepared: Prepared, folder: RunFolder, jobs: list[Job], traces: Mapping[str, Traces] | None = None
) -> Audited:
    """What these models said about the audited records and the population, and what histories say."""
    records, split, floor = prepared.records, prepared.split, prepared.recipe.probability_floor
    keys = [job.key for job in jobs]
    y = labels_of(records, split.audited, prepared.asked)
    said = stored_observations(folder.store, keys, "logits", y["logits"], floor=floor, traces=traces)
    population = None
    if len(split.population):
        population = stored_observations(folder.store, keys, "population", y["population"], floor=floor)
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
