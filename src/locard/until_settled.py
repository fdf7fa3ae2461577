"""A sequential audit: train pair after pair until the policy is settled, and look after every one of them.

The first pairs are references for good; later ones come only as targets. They are trained in batches that keep all
workers busy, and looked at one by one in their order: what a batch holds beyond the pair that settled the policy is
left out, so that the result does not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from locard.assess.looks_at_pairs import Looked, Sequential, outcome_of
from locard.assess.scoring import Audited
from locard.errors import RunStopped
from locard.prepare import Prepared, part_of
from locard.run.training import Watch
from locard.stats import Outcome
from locard.train.jobs import Job


@dataclass(eq=False)
class Batches:
    """Trains what is missing of more and more jobs, within one time for all of them.

    Args:
        train: trains what is missing of some jobs within so many seconds, and gives back the keys that are still
            missing.
        timings: of the run, in which each training says how many models it trained: afterwards, all of them.
        seconds: for everything; None: as long as it takes.
    """

    train: Callable[[list[Job], float | None], set[str]]
    timings: dict[str, Any]
    seconds: float | None
    trained: int = 0
    start: float = field(default_factory=time.monotonic)

    def __call__(self, jobs: list[Job]) -> set[str]:
        """Keys of the jobs that the time did not allow."""
        rest = None if self.seconds is None else max(0.0, self.seconds - (time.monotonic() - self.start))
        left = self.train(jobs, rest)
        self.trained += self.timings["models"]["trained"]
        reused = len(jobs) - len(left) - self.trained
        self.timings["models"] = {"total": len(jobs), "reused": reused, "trained": self.trained}
        return left


def until_settled(
    prepared: Prepared,
    jobs: list[Job],
    *,
    train: Callable[[list[Job]], set[str]],
    observe: Callable[[Prepared, list[Job]], Audited],
    watch: Watch,
) -> tuple[Prepared, list[Job], Sequential]:
    """The case of the models that it took, their jobs, and what was seen pair by pair.

    Args:
        prepared: the case with all models that there may be.
        jobs: their jobs, in the order of the plan.
        train: trains what is missing of some jobs, and gives back the keys that the time did not allow.
        observe: what the models of a part of the case said.
        watch: who hears of it.

    Raises:
        RunStopped: the time was over before there was a pair to look at.
    """
    settings, plan = prepared.settings, prepared.plan
    burn_in, cap = len(plan.references) // 2, len(plan.targets) // 2
    confidence, policy = settings.measure.confidence, settings.policy
    batch = batch_of(settings.compute.workers)
    fprs = [float(fpr) for fpr in policy.max_tpr]
    looked, pairs = Looked.nothing(), 0
    used, in_time = 0, True
    outcome: Outcome = "inconclusive"
    while pairs < cap and outcome == "inconclusive" and in_time:
        wanted = min(cap, pairs + batch)
        left = train(jobs[: 2 * (burn_in + wanted)])
        if left:
            in_time = False
            wanted = _whole(jobs, left, burn_in, pairs, wanted)
        new = np.arange(2 * (burn_in + pairs), 2 * (burn_in + wanted))
        if len(new):
            case = _first(prepared, burn_in + wanted)
            looked = looked.more(case.chosen.attacks, observe(case, jobs[: len(case.plan)]), new, fprs)
        pairs = wanted
        if pairs:
            used, outcome = outcome_of(looked, policy, confidence)
        watch.progress("looking at pairs", pairs, cap)
    if not pairs:
        raise RunStopped(
            f"The references ({2 * burn_in} models) and a pair of targets are needed, but the time given by "
            f"compute.stop_after was over. Run the same command again: what is finished is kept."
        )
    found = Sequential(looked.upto(used), outcome, burn_in=burn_in, pairs=used, cap=cap, in_time=in_time)
    finished = _first(prepared, burn_in + used)
    finished = replace(finished, caveats=(*finished.caveats, found.caveat()))
    return finished, jobs[: len(finished.plan)], found


def batch_of(workers: int) -> int:
    """Pairs that are trained before one looks again: as many as keep the workers busy.

    >>> batch_of(1), batch_of(2), batch_of(7)
    (1, 1, 4)
    """
    return max(1, -(-workers // 2))


def _first(prepared: Prepared, pairs: int) -> Prepared:
    """The case of its first pairs alone."""
    return part_of(prepared, list(range(2 * pairs)))


def _whole(jobs: Sequence[Job], left: set[str], burn_in: int, before: int, wanted: int) -> int:
    """Pairs of targets that are finished without a gap, where not all of a batch are."""
    there = [job.key not in left for job in jobs]
    if not all(there[: 2 * burn_in]):
        return 0
    for pair in range(before, wanted):
        if not all(there[2 * (burn_in + pair) : 2 * (burn_in + pair + 1)]):
            return pair
    return wanted
