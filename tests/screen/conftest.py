"""Worlds for screens: what references said about candidates and reference records, and nothing of any target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from locard.data.records import Records
from locard.observe.references import References
from locard.screen.evidence import Evidence, Observed


def pairs_mask(models: int, records: int, rng: np.random.Generator) -> np.ndarray:
    first = rng.random((models // 2, records)) < 0.5
    return np.stack([first, ~first], axis=1).reshape(models, records)


def make_observed(
    logits: np.ndarray,
    y: np.ndarray,
    member: np.ndarray,
    *,
    name: str = "c",
    raw: np.ndarray | None = None,
    **more: Any,
) -> Observed:
    """Records called c0, c1, ... with these answers; arrays that nobody may change."""
    for array in (logits, y, member):
        array.flags.writeable = False
    n, classes = logits.shape[1], logits.shape[-1]
    ids = [f"{name}{i}" for i in range(n)]
    known = np.arange(classes)
    records = Records(ids=ids, features=np.zeros((n, 1)), labels=y, known_classes=known, **more)
    models = logits.shape[0]
    paired = {"pairs": np.arange(models) ^ 1} if models and not models % 2 and member.any() else {}
    return Observed(records, References.from_arrays(logits=logits, member=member, labels=y, **paired), raw)


def make_evidence(
    *,
    records: int = 12,
    models: int = 6,
    classes: int = 3,
    queries: int = 1,
    pool: int | None = None,
    seed: int = 0,
    leak: float = 0.0,
    grid: bool = True,
    **more: Any,
) -> Evidence:
    """Random answers of unequal difficulty; half of them on a coarse grid, so that some records tie.

    ``pool``: so many reference records, held by half of the references; None: the candidates are the pool, in pairs.
    ``leak``: what being held adds to the true logit.
    """
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(5, models, 1, queries, classes)) * 2

    def answers(n: int, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(classes, size=n)
        z = np.concatenate([centre[i] for i in rng.integers(5, size=n)], axis=1) if n else np.zeros((models, 0, 1, 1))
        z = z.reshape(models, n, queries, classes) + rng.normal(size=(models, n, queries, classes))
        z += (np.arange(classes) == y[:, None, None]) * leak * member[:, :, None, None]
        if grid:
            z[:, ::2] = np.round(z[:, ::2])
        return z.astype(np.float32), y

    member = pairs_mask(models, records, rng) if pool is None else np.zeros((models, records), dtype=bool)
    logits, y = answers(records, member)
    if pool is None:
        raw = rng.normal(size=(records, 5))
        return Evidence(
            candidates=make_observed(logits, y, member, raw=raw), training_size=more.pop("training_size", records / 2)
        )
    held = rng.random((models, pool)) < 0.4
    other, other_y = answers(pool, held)
    return Evidence(
        candidates=make_observed(logits, y, member, raw=rng.normal(size=(records, 5))),
        pool=make_observed(other, other_y, held, name="p", raw=rng.normal(size=(pool, 5))),
        training_size=more.pop("training_size", pool / 3),
    )


@pytest.fixture(scope="session")
def evidence() -> Callable[..., Evidence]:
    return make_evidence


@pytest.fixture(scope="session")
def observed() -> Callable[..., Observed]:
    return make_observed


def slow_distance(a: np.ndarray, b: np.ndarray) -> float:
    """1 - cosine of two rows, as the definition says; two rows of zeros say the same."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    la, lb = float(np.sqrt((a * a).sum())), float(np.sqrt((b * b).sum()))
    if la == 0 and lb == 0:
        return 0.0
    return 1.0 if la == 0 or lb == 0 else 1.0 - float((a * b).sum()) / (la * lb)


@pytest.fixture(scope="session")
def distance() -> Callable[[np.ndarray, np.ndarray], float]:
    return slow_distance
