"""Made worlds: observations for any plan, with a known leak, without training anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from locard.assess.scoring import Audited
from locard.attacks.protocol import Needs
from locard.data.records import Records
from locard.observe.observations import ArrayReader, Observations
from locard.observe.signals import LogProbability
from locard.plan.designs import pairs
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.types import Access

CLASSES = 3


def logits_of(signal: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``float32[..., records, 1, classes]`` whose scaled logit at the true class is ``signal``."""
    at_true = np.arange(CLASSES) == y[:, None]
    return np.where(at_true, signal[..., None] + np.log(CLASSES - 1), 0.0).astype(np.float32)[..., None, :]


def make_world(
    plan: Plan | None = None,
    *,
    seed: int = 0,
    models: int = 8,
    records: int = 120,
    rows: int = 1,
    leak: Any = 0.0,
    population: int = 0,
    noise: float = 1.0,
) -> Audited:
    """Every record has its own difficulty; each model its own noise; ``leak`` is added in models that hold a record."""
    rng = np.random.default_rng(seed)
    n = records if plan is None else len(plan.audited)
    unit = None if rows == 1 else rng.permutation(np.arange(n) // rows)
    y = rng.integers(CLASSES, size=n + population)
    y[:CLASSES] = np.arange(CLASSES)
    people = Records(
        ids=[f"id-{i}" for i in rng.permutation(n)],
        features=rng.normal(size=(n, 2)),
        labels=y[:n],
        known_classes=np.arange(CLASSES),
        unit=unit,
    )
    drawn = plan or pairs(people, np.arange(n), models=models, seed=Seed(seed).child("plan"))
    hard = rng.normal(1.0, 1.0, size=n + population)
    if unit is not None:  # rows of a unit are alike
        hard[:n] = rng.normal(1.0, 1.0, size=n)[unit]
    signal = hard + noise * rng.normal(size=(len(drawn), n + population))
    signal[:, :n] += drawn.member * leak
    array = logits_of(signal, y)
    said = Observations(ArrayReader(array[:, :n]), y[:n].astype(np.int64))
    rest = Observations(ArrayReader(array[:, n:]), y[n:].astype(np.int64)) if population else None
    return Audited(people, drawn, said, rest, Seed(seed))


@pytest.fixture
def world() -> Callable[..., Audited]:
    return make_world


@dataclass(frozen=True, kw_only=True)
class PlainMean:
    """The naive difference to the mean over all references, whatever they hold: it reads the counts of the design.

    A real attack for balanced references only, and here the detector of a design that tells its answer.
    """

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 2.5
    needs: ClassVar[Needs] = Needs(inside=1, outside=1)

    def score(self, target, records, references, *, population=None, rng=None):
        inside, outside = (references.moments(LogProbability(), inside=side) for side in (True, False))
        total = (
            np.nan_to_num(inside.mean) * inside.count[:, None] + np.nan_to_num(outside.mean) * outside.count[:, None]
        )
        shift = 3.0 * inside.count[:, None]  # what leaks into the references' mean where they leak
        mean = (total + shift) / (inside.count + outside.count)[:, None]
        return (target.observe(LogProbability()) - mean).mean(axis=-1)


@pytest.fixture
def plain_mean() -> PlainMean:
    return PlainMean()
