"""From settings to a plan, and a plan redrawn: redrawing from the generator *is* the permutation test."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from locard.data.records import Records
from locard.data.split import Split
from locard.plan.designs import coin_flips, out_only, pairs, subsample
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ReferenceSettings


def draw_plan(settings: ReferenceSettings, records: Records, split: Split, *, seed: Seed, targets: int = 0) -> Plan:
    """The plan that the settings ask for, from the seed ``plan`` (or any other, for a redrawn one).

    Args:
        targets: target models of their own, for ``out_only``.

    Raises:
        SettingsError: the design cannot be drawn with these numbers.
    """
    audited = split.audited
    match settings.plan:
        case "pairs":
            plan = pairs(records, audited, models=settings.models, seed=seed)
            return plan.with_burn_in(settings.burn_in) if settings.until == "settled" else plan
        case "coin_flips":
            return coin_flips(records, audited, models=settings.models, seed=seed)
        case "subsample":
            return subsample(records, audited, models=settings.models, fraction=settings.fraction, seed=seed)
        case "out_only":
            outside = reference_records(records, split)
            size = settings.size or min(len(audited) // 2, len(outside))
            return out_only(
                records,
                audited,
                models=settings.models,
                targets=targets,
                outside=outside,
                size=size,
                replace=settings.replace,
                seed=seed,
            )


def reference_records(records: Records, split: Split) -> Int64[np.ndarray, "outside"]:
    """Places of the records that references of the plan ``out_only`` are drawn from: neither audited nor population."""
    taken = np.zeros(len(records), dtype=bool)
    taken[split.audited] = taken[split.population] = True
    return np.flatnonzero(~taken)
