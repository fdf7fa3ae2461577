"""A training that was stopped in time (``compute.stop_after``): the audit of what is finished, whole pairs only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from locard.errors import NotEnoughReferences, RunStopped
from locard.prepare import Prepared, part_of

FEWEST_PAIRS = 4  # below which no interval over pairs exists


def only_finished(prepared: Prepared, finished: Sequence[int]) -> tuple[Prepared, list[int]]:
    """The same case with the models that are there, which the report says, and their numbers.

    Raises:
        RunStopped: too few for an audit.
    """
    whole = prepared.plan
    models = whole.whole_pairs(finished)
    again = "Run the same command again, with more time in compute.stop_after or without it: what is finished is kept."
    plan = whole.part(models)
    if plan.pairs < FEWEST_PAIRS:
        raise RunStopped(
            f"At least {FEWEST_PAIRS} pairs of models are needed for an audit, but only {len(finished)} of "
            f"{len(whole)} models were trained when the time was over. {again}"
        )
    try:
        part = part_of(prepared, models)
    except NotEnoughReferences as few:
        raise RunStopped(f"{few} Only {len(models)} of {len(whole)} models were trained. {again}") from few
    said = (
        f"Training was stopped when its time was over (compute.stop_after): {len(models)} of {len(whole)} models are "
        f"in this result. The same command with more time goes on where it stopped."
    )
    return replace(part, caveats=(*prepared.caveats, said)), models
