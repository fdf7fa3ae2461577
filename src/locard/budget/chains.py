"""What an indirect attack takes: for each record references learn it and answer random queries; a target is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from locard.budget.scale import duration
from locard.train.influence import ChainWork

QUERY_SECONDS = 1.5e-4  # making, comparing and sorting out a random query, without networks; measured on Adult
Chain: TypeAlias = tuple[str, int, int, ChainWork]  # name, records, calibration records, the work of one of these


@dataclass(frozen=True, kw_only=True)
class ChainCost:
    """One indirect attack.

    ``seconds``, ``most_seconds``: a record's, usual and where queries must be optimised. ``queries``: most that a
    target is asked, for all records and for calibration.
    """

    label: str
    records: int
    calibration: int
    seconds: float
    most_seconds: float
    queries: int

    @property
    def total_seconds(self) -> float:
        """Of all records, usually."""
        return (self.records + self.calibration) * self.seconds


def chain_costs(
    chains: Sequence[Chain], *, fit_seconds: float, ask_seconds: float, targets: int
) -> tuple[ChainCost, ...]:
    """The prediction: counts times seconds.

    Args:
        chains: name, records, calibration records, and what one of these takes.
        fit_seconds: training one network.
        ask_seconds: asking one network about one record.
        targets: models that are asked.
    """
    out = []
    for label, records, calibration, work in chains:
        asked = (work.answered + targets * work.queries) * ask_seconds
        usual = work.fits * fit_seconds + asked + work.random * QUERY_SECONDS
        out.append(
            ChainCost(
                label=label,
                records=records,
                calibration=calibration,
                seconds=usual,
                most_seconds=usual + work.optimising * fit_seconds,
                queries=work.queries * (records + calibration),
            )
        )
    return tuple(out)


def chain_lines(chains: Sequence[ChainCost]) -> list[str]:
    """The prediction for people."""
    return [
        f"Indirect   {c.label}: about {c.seconds:.1f} s for each of {c.records} records"
        + (f" and {c.calibration} that calibrate" if c.calibration else "")
        + f" (up to {c.most_seconds:.1f} s where queries must be optimised), {duration(c.total_seconds)} in all; "
        f"at most {c.queries:,} queries a target"
        for c in chains
    ]
