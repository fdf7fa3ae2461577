"""The same audit at a million records: arithmetic from the rates measured here. docs/scale.md explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCORE_SECONDS = 9e-9  # an attack a (target, record, reference); measured, see docs/benchmarks.md
MODELS, RECORDS = 256, 1_000_000
WORKERS = (2, 16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class AtScale:
    """What the measured rates make of ``models`` models and ``records`` audited records.

    Training and questions are shared by workers; scoring runs on one machine. Times in seconds, sizes in bytes.
    """

    models: int
    records: int
    model_seconds: float
    training_seconds: dict[str, float]
    scoring_seconds: float
    disk_bytes: int


def at_scale(*, fit_seconds: float, ask_seconds: float, answer_bytes: int, attacks: int) -> AtScale:
    """The prediction.

    Args:
        fit_seconds: training one model takes this long a training record (all passes). Taken to grow in proportion.
        ask_seconds: asking one model takes this long a record.
        answer_bytes: what is stored of one answer.
        attacks: how many are scored.

    >>> a = at_scale(fit_seconds=1e-4, ask_seconds=1e-5, answer_bytes=8, attacks=6)
    >>> a.model_seconds, a.training_seconds["256"], a.disk_bytes
    (60.0, 60.0, 2048000000)
    """
    one = fit_seconds * RECORDS / 2 + ask_seconds * RECORDS
    return AtScale(
        models=MODELS,
        records=RECORDS,
        model_seconds=one,
        training_seconds={str(w): math.ceil(MODELS / w) * one for w in WORKERS},
        scoring_seconds=SCORE_SECONDS * attacks * MODELS * RECORDS * (MODELS - 2),
        disk_bytes=answer_bytes * MODELS * RECORDS,
    )


def scale_lines(at: AtScale) -> list[str]:
    """The prediction for people."""
    shares = ", ".join(f"{workers} workers {duration(s)}" for workers, s in at.training_seconds.items())
    return [
        f"At scale   {at.models} models, {at.records:,} records, at the rates measured here: one model "
        f"{duration(at.model_seconds)}; {shares}; then scoring {duration(at.scoring_seconds)} on one machine; "
        f"{at.disk_bytes / 2**30:.0f} GiB of answers"
    ]


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(5), duration(600), duration(90_000), duration(1e6)
    ('5 s', '10 min', '25.0 h', '11.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.1f} days"
