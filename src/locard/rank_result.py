"""The tree of ``rank.json``: all attacks on the same models, one study a settings file, and what several say together.

``docs/rank.schema.json`` is made from it. Numbers are those of ``result.json``: with an interval, or null with
a reason. All of it but ``seconds`` is the same whenever it is computed again.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from locard.result import (
    SCHEMA_VERSION,
    ComparisonPart,
    DataPart,
    NotRun,
    Number,
    Part,
    ReferenceCount,
    TargetPart,
    TprAt,
)

Uses = Literal["none", "OUT", "IN and OUT"]


class CostPart(Part):
    """What an attacker pays."""

    references: ReferenceCount = Field(description="references a record that were used here")
    least: ReferenceCount = Field(description="the fewest that the attack runs with")
    population: int = Field(description="population records (in no model) that it needs")
    queries: int = Field(description="questions to the target, a record")
    auxiliary: int = Field(description="models that it needs besides references: of another data set, or distilled")
    seconds: float = Field(description="scoring one target, mean over targets, measured here: varies from run to run")


class RankRow(Part):
    """One attack."""

    place: int = Field(description="by the mean over targets; equal ones share it; no claim by itself")
    label: str
    name: str
    headline: bool
    settings: dict[str, Any]
    access: str
    uses: str = Field(description="which references it learns from, in words")
    source: str
    auc: Number
    tpr: list[TprAt]
    balanced_accuracy: Number
    variance_factor: float
    discrete: bool
    cost: CostPart
    letters: str = Field(description="attacks that share a letter cannot be told apart")
    alike: list[str] = Field(description="attacks that cannot be told apart from this one")


class PickedAttack(Part):
    """How many records one attack picks, in each half of the models."""

    label: str
    first: int
    second: int
    again: int = Field(description="picked in both halves")
    wrong_way: int = Field(description="records of both halves that meet the rule with members and others swapped")
    alone: int = Field(description="records of both halves that no other attack picks in the same half")
    alone_again: int = Field(description="records that it alone picks in both halves")


class OverlapPart(Part):
    """Records picked by one attack in one half of the models and by another (or itself) in the other half."""

    first: str
    second: str
    both: int
    either: int

    @property
    def share(self) -> float | None:
        """Jaccard's index; None where neither picks anybody."""
        return self.both / self.either if self.either else None


class PicksPart(Part):
    """Which records the attacks pick, and how far they agree. Counted, for these models."""

    rule: str
    pairs: list[int] = Field(description="pairs of models in each half")
    units: int
    attacks: list[PickedAttack]
    overlaps: list[OverlapPart] = Field(description="every two attacks, and each with itself")
    not_run: list[NotRun]


class CurvePoint(Part):
    """One attack with so many references a record."""

    references: int
    inside: int
    outside: int
    auc: Number
    tpr: Number


class ReachPart(Part):
    """With how many references an attack reaches a share of what the benchmark reaches with all."""

    references: int | None = Field(description="the fewest whose estimate is high enough")
    surely: int | None = Field(description="the fewest whose whole interval is")
    difference: Number = Field(description="excess minus the wanted share of the benchmark's, there or at the best")


class CurveAttack(Part):
    """One attack's curve; a single point where it learns from no references."""

    label: str
    uses: Uses
    points: list[CurvePoint]
    reach: ReachPart


class CurvesPart(Part):
    """AUC and TPR over the number of references."""

    fpr: float
    targets: int
    pairs: int = Field(description="pairs of models that those targets make")
    available: int = Field(description="pairs of references (or single ones) that a target has")
    benchmark: str = Field(description="the attack that the others are held against, with all references")
    share: float
    excess: Number = Field(description="of the benchmark: TPR minus FPR")
    attacks: list[CurveAttack]
    reason: str | None = Field(description="why there are no curves")


class StudyPart(Part):
    """All attacks on the models of one settings file."""

    name: str
    seed: int
    verdict: str
    data: DataPart
    target: TargetPart
    fpr: float = Field(description="the declared rate: the first of measure.fprs")
    statistic: str = Field(description="what sorts: TPR at the declared rate, or AUC where it cannot be resolved")
    confidence: float
    headline: str
    best: str | None = Field(description="the one attack that is not beaten, where there is just one")
    unbeaten: list[str] = Field(description="attacks that no other is shown to beat")
    rows: list[RankRow]
    comparisons: list[ComparisonPart] = Field(description="every two attacks, AUC and TPR; adjusted over all of them")
    picks: PicksPart
    curves: CurvesPart
    not_run: list[NotRun]
    caveats: list[str]
    settings: dict[str, Any]


class RankAcross(Part):
    """One attack over several studies."""

    label: str
    rank: Number = Field(description="mean, smallest and largest rank among the attacks that all studies have")
    unbeaten: int = Field(description="studies in which no other attack is shown to beat it")
    studies: int


class RankTree(Part):
    """The whole tree."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["rank"] = "rank"
    locard_version: str
    studies: list[StudyPart]
    across: list[RankAcross] = Field(description="empty for a single study")


def schema() -> dict[str, Any]:
    """The JSON schema of ``rank.json``."""
    return RankTree.model_json_schema(by_alias=True, mode="serialization")
