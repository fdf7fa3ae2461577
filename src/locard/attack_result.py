"""``AttackResult`` and the tree of an outsider's ``result.json``: what was claimed of whom, and at what rate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from locard.files import make_folder, remove, write_file
from locard.result import SCHEMA_VERSION, ControlPart, NeighbourPart, NotRun, Part

if TYPE_CHECKING:
    import pandas as pd


class AskedPart(Part):
    """The model that was attacked, and what it was asked."""

    model: str
    access: str
    budget: int | None
    queries: int = Field(description="records it was asked about, in all")
    about_candidates: int
    about_calibration: int
    for_checks: int = Field(description="population records asked to compare it with its references")
    indirectly: int = Field(
        description="other rows, asked by indirect attacks for candidates and their calibration; none is a candidate"
    )
    log: str = Field(description="sha256 of all rows it was asked, in their order")


class KnownPart(Part):
    """What the attacker has."""

    source: str
    candidates: int
    reference_records: int = Field(description="from which references are drawn")
    held_out: int = Field(description="in no reference: to calibrate and to compare")
    dropped: int = Field(description="records equal to a candidate that were taken out of the reference pool")
    references: int = Field(description="reference models that tested")
    screened_by: int = Field(description="reference models that screened")
    recipe: str = Field(description="the guess at how the model was trained")
    training_size: float = Field(description="the guess at its number of training records")


class SelectionPart(Part):
    """Which candidates were tested."""

    name: str
    settings: dict[str, Any]
    settled: dict[str, Any]
    selected: int
    tested: int = Field(description="fewer than selected where the budget did not reach")
    calibration: int = Field(description="held-out records that the same screen selects")


class AttackClaims(Part):
    """One attack's claims."""

    name: str
    how: Literal["direct", "indirect", "either"] = Field(description="'either': several lists as one")
    settings: dict[str, Any]
    source: str
    fdr: float
    queries: int = Field(description="asked about candidates, or in their place")
    calibration: int = Field(description="known non-members that calibrate; 0: claims rest on p_rank")
    log: str | None = Field(description="of an indirect attack: sha256 of all rows that it asked")
    tested: int
    claimed: int
    smallest: float | None = Field(description="smallest p-value")
    promises: dict[str, str]


class ClaimCard(Part):
    """One tested candidate."""

    id: Any
    label: Any
    rank: int
    value: float
    reason: str
    picture: str | None = None
    neighbours: list[NeighbourPart]
    reference_losses: list[float]
    loss: float = Field(description="under the target, nats")
    p_rank: float
    p_tail: float
    p_cal: float | None
    p_adjusted: float
    claimed: bool


class AttackTree(Part):
    """The whole tree."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["attack"] = "attack"
    locard_version: str
    name: str
    seed: int
    verdict: str
    target: AskedPart
    known: KnownPart
    selection: SelectionPart
    attacks: list[AttackClaims]
    merged: AttackClaims | None = Field(description="all lists as one; None where there is a single one")
    checks: list[ControlPart]
    cards: list[ClaimCard]
    not_run: list[NotRun]
    unresolved: list[str]
    settings: dict[str, Any]

    @property
    def lists(self) -> list[AttackClaims]:
        """Each attack's claims, and all of them as one list."""
        return self.attacks if self.merged is None else [*self.attacks, self.merged]


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an outsider found: the tree of ``result.json``, and ``claims``, one row a candidate (``claims.csv``)."""

    summary: AttackTree
    claims: pd.DataFrame

    def to_json(self) -> str:
        """``result.json``: stable key order, one trailing newline."""
        return json.dumps(self.summary.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write ``claims.csv`` and ``result.json``, the latter last."""
        folder = make_folder(Path(folder))
        remove(folder / "result.json")
        write_file(folder / "claims.csv", self.claims.to_csv(index=False, lineterminator="\n").encode("utf-8"))
        write_file(folder / "result.json", self.to_json().encode())
        return folder

    def __repr__(self) -> str:
        return f"AttackResult({self.summary.name!r}: {self.summary.verdict})"
