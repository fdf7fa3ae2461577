"""``AuditResult`` and the tree of ``result.json`` (longer than 400 lines: one declaration a node, read as a whole).

``result.json`` + ``records.parquet`` + ``scores.safetensors`` are the only input of every report.

The tree below is the published form of ``result.json`` (``docs/result.schema.json`` is made from it). Every measured
number is a ``Number``: ``{value, low, high, confidence, method, n}``, or ``{value: null, reason}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_serializer

from locard.errors import StoreMismatch
from locard.files import make_folder, remove, write_file
from locard.types import Estimate

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = "1.0"
FILES = ("result.json", "records.parquet", "scores.safetensors")


class Part(BaseModel):
    """A node of the tree: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class Number(Part):
    """A measured number with its interval, or null with a reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    method: str | None = None
    n: int | None = None
    reason: str | None = None

    @classmethod
    def of(cls, estimate: Estimate) -> Number:
        """From an ``Estimate``."""
        return cls(**estimate.to_json())

    @model_serializer
    def _short(self) -> dict[str, Any]:
        if self.value is None:
            return {"value": None, "reason": self.reason}
        out = {k: getattr(self, k) for k in ("value", "low", "high", "confidence", "method", "n")}
        return out | ({"reason": self.reason} if self.reason else {})

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The published form of a number: a serializer that returns a dict would be published as "any object"."""
        words, number = {"type": "string"}, {"type": "number"}
        ends = {"low": number, "high": number, "confidence": number, "method": words, "n": {"type": "integer"}}
        known = {
            "type": "object",
            "properties": {"value": number}
            | {k: {"anyOf": [v, {"type": "null"}]} for k, v in ends.items()}
            | {"reason": words},
            "required": ["value", *ends],
            "additionalProperties": False,
        }
        unknown = {
            "type": "object",
            "properties": {"value": {"type": "null"}, "reason": words},
            "required": ["value", "reason"],
            "additionalProperties": False,
        }
        return {"title": cls.__name__, "description": cls.__doc__, "oneOf": [known, unknown]}


class ClassCount(Part):
    """A class label and how many audited records carry it."""

    label: str
    records: int


class Duplicates(Part):
    """Copies and near-copies among the audited records."""

    exact_records: int
    near_records: int
    conflicting_labels: int
    across: dict[str, float] = Field(description="mean over models: members with a twin among non-members, and back")
    rule: str


class DataPart(Part):
    """What was audited."""

    source: str
    n: int = Field(description="audited records")
    units: int = Field(description="audited privacy units; equal to n where every record is its own unit")
    unit: str | None = Field(description="the column that names the unit")
    classes: list[ClassCount]
    features: int
    fingerprint: str
    population: int = Field(description="population records that every model answered for")
    probability_floor: float | None
    floored: int = Field(description="how many probabilities the floor raised")
    floored_share: float
    duplicates: Duplicates | None
    notes: list[str]


class TargetPart(Part):
    """The models that played the target."""

    kind: Literal["procedure", "saved outputs"]
    estimator: str
    design: str = Field(description="the plan: pairs, subsample, coin_flips, out_only")
    models: int
    targets: int
    pairs: int
    train_records: Number = Field(description="records in a model's training set, mean with range")
    train_accuracy: Number
    test_accuracy: Number
    gap: Number


class ReferenceCount(Part):
    """References a target's attack sees, a record."""

    inside: int = Field(alias="in", description="fewest references trained with a record")
    outside: int = Field(alias="out", description="fewest references trained without a record")
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RealisedFpr(Part):
    """False-positive rate that the threshold really had on each target."""

    median: float
    worst: float


class TprAt(Part):
    """TPR at one stated FPR."""

    fpr: float
    estimate: Number
    realised_fpr: RealisedFpr | None
    non_members: int = Field(description="distinct non-members of one target behind the threshold")
    true_positives: int = Field(description="members claimed, over all targets")
    resolution: Literal["resolved", "bounded only", "not resolvable"]
    precision: dict[str, float | None] = Field(description="precision if that share of candidates were members")


class Roc(Part):
    """Mean ROC over targets with a pointwise band over pairs."""

    fpr: list[float]
    tpr: list[float]
    low: list[float]
    high: list[float]


class Histogram(Part):
    """Scores of members and non-members, as shares of each."""

    edges: list[float]
    members: list[float]
    non_members: list[float]


class FloorTpr(Part):
    """TPR at one stated FPR, with another probability floor."""

    fpr: float
    estimate: Number


class FloorPart(Part):
    """The headline with another probability floor: does the verdict hang on it?"""

    floor: float
    auc: Number
    tpr: list[FloorTpr]


class ScreeningPart(Part):
    """Which records were attacked one by one; chosen by references that test nobody, without any target."""

    name: str
    settings: dict[str, Any]
    settled: dict[str, Any] = Field(description="what the screen decided for all records, by name (delta, beta, ...)")
    selected: int = Field(description="records that the screen selected")
    screening: int = Field(description="references that screened")
    testing: int = Field(description="models left to test with: no model does both")
    population: int | None = Field(description="population records that the same screen selects; None: not screened")


class ClaimsPart(Part):
    """Claims at one cut-off, over all targets: counts are of (target, record), tested ones only."""

    p: float = Field(description="claimed where the p-value is at most this")
    calibrated: bool = Field(description="False: the raw p-value of the paper, with a tail model beyond its references")
    calibration: str | None = Field(
        description="'own non-members' of the target, each left out of its own set (the owner's), or 'population' (the "
        "outsider's: held out of every model); 'ranks among references', which is no calibration; None for raw p-values"
    )
    selected: int = Field(description="records tested")
    true_claims: int
    false_claims: int
    abstentions: int = Field(description="tested and not claimed: nothing is said, never 'non-member'")
    precision: Number
    recall: Number
    realised_fpr: Number


class IndirectPart(Part):
    """How one record was attacked without asking about it."""

    id: Any
    queries: int = Field(description="asked of each target")
    optimised: int = Field(description="of them, moved until the record influenced them")
    influence: float | None = Field(description="mean share of references in which the record raises its label")
    control: float | None = Field(description="the same, where training went on without the record")
    distance: float | None = Field(description="of the nearest query to the record")
    nearest: float = Field(description="of the nearest reference record")
    direct: float | None = Field(description="median p_rank of the direct attack over targets that held the record")


class AttackPart(Part):
    """One attack over all targets."""

    name: str
    label: str = Field(description="name with the settings that differ from the defaults")
    headline: bool
    settings: dict[str, Any]
    access: str
    source: str
    references: ReferenceCount
    variance_factor: float
    discrete: bool
    auc: Number
    tpr: list[TprAt]
    balanced_accuracy: Number
    epsilon: Number
    roc: Roc
    histogram: Histogram
    at_other_floor: FloorPart | None = None
    screening: ScreeningPart | None = None
    claims: list[ClaimsPart] = Field(default=[], description="on the records that the screen selected")
    promises: dict[str, str] = Field(default={}, description="what each kind of p-value promises, in words")
    indirect: list[IndirectPart] = Field(default=[], description="of an indirect attack, one a record")


class SidePart(Part):
    """One selected record seen by the targets of one side: those that held it, or those that did not."""

    targets: int
    claimed: int = Field(description="claimed at the attack's false discovery rate, among the selected records")
    p_rank: float | None = Field(description="median over these targets")
    p_tail: float | None
    p_cal: float | None
    losses: list[float] = Field(description="of the record's label under each target, nats")


class DifferencePart(Part):
    """One column in which a record and a neighbour differ."""

    column: str
    value: str
    other: str


class NeighbourPart(Part):
    """A reference record near a selected one, by what the screen compared."""

    id: Any
    label: Any
    distance: float
    picture: str | None = None
    differs: list[DifferencePart] = []


class CardPart(Part):
    """One selected record: why it was selected, and what the targets gave away of it."""

    id: Any
    label: Any
    rank: int = Field(description="1: the most vulnerable by the screen")
    value: float = Field(description="the screen's")
    reason: str
    picture: str | None = None
    neighbours: list[NeighbourPart]
    reference_losses: list[float] = Field(description="under the testing references without the record, nats")
    held: SidePart = Field(description="targets trained on it")
    not_held: SidePart = Field(description="targets not trained on it")


class GroupPart(Part):
    """The headline attack on one class or user-given group; intervals hold together."""

    by: str = Field(description="'class' or the name of a group column")
    name: str
    records: int
    auc: Number
    tpr: Number
    fpr: float
    exposed: int
    suspected: int


class ComparisonPart(Part):
    """Difference of two attacks on the same targets (first minus second)."""

    first: str
    second: str
    statistic: str
    difference: Number
    p: float | None
    p_adjusted: float | None


class ControlPart(Part):
    """A check that must come out a known way, or no number above means anything."""

    name: str
    description: str
    statistic: str
    value: Number
    expected: str
    passed: bool | None
    p: float | None = None


class ExposedPart(Part):
    """Records (or units) named, and the guarantee behind the names."""

    n: int
    suspected: int
    not_shown: int
    rule: str
    fdr: float | None
    hit_fpr: float | None = Field(description="nominal FPR of one hit")
    hit_realised_fpr: float | None
    trials: int
    pairs: int
    nameable: str = Field(description="what this design could have named")


class NotRun(Part):
    """An attack that could not run, and why."""

    name: str
    reason: str


class ReleasedAttack(Part):
    """One attack on the released model."""

    name: str
    label: str
    auc: Number
    tpr: list[TprAt]
    epsilon: Number


class ReleasedPart(Part):
    """The model that will really be released."""

    model: str
    members: int
    non_members: int
    train_accuracy: Number
    test_accuracy: Number
    attacks: list[ReleasedAttack]
    warnings: list[str] = Field(description="where training size or recipe differs from the references'")
    statement: str


class OneRunPart(Part):
    """What one training run says of epsilon (plan 'coin_flips')."""

    attack: str = Field(description="the declared headline: the bound is of this attack alone")
    epsilon: Number = Field(description="a lower bound, in nats")
    delta: float
    mechanism: Literal["any", "gaussian"]
    mu: Number | None = Field(description="of a Gaussian mechanism: a lower bound on its mu")
    claimed: float | None = Field(description="the epsilon that is claimed for this training")
    refuted: bool | None = Field(description="whether the bound is above the claim; None: nothing is claimed")
    coins: int = Field(description="records or units whose membership a coin decided")
    members: int = Field(description="of them, those that the model was trained on")
    references: int = Field(description="other models that the attack learns from")
    assumes: list[str] = Field(description="what must hold, in sentences")


class LookPart(Part):
    """One limit and attack of a sequential audit, pair by pair."""

    name: str = Field(description="what the limit is on")
    limit: float
    attack: str
    values: list[float] = Field(description="one a pair of targets, in their order")
    low: list[float] = Field(description="lower end after each pair, paid for all limits and attacks")
    high: list[float] = Field(description="upper end after each pair")
    outcome: Literal["pass", "fail", "open"]
    assumption_free: Literal["pass", "fail", "open"] = Field(description="what a test says that assumes nothing")
    log_above: float = Field(description="log capital of whoever bets that the mean is above the limit")
    log_below: float = Field(description="the same for below")
    fewest_to_pass: int = Field(description="pairs that a test which assumes nothing needs to pass, at least")


class SequentialPart(Part):
    """An audit that went on until the policy was settled."""

    burn_in: int = Field(description="pairs that are references for good")
    pairs: int = Field(description="pairs that were targets")
    cap: int = Field(description="pairs that might have been targets")
    models: int = Field(description="models in this result")
    models_cap: int = Field(description="models that there might have been")
    saved: int = Field(description="models that need not be trained")
    outcome: Literal["pass", "fail", "inconclusive"]
    method: str
    assumes: list[str] = Field(description="what an outcome rests on, in sentences")
    looks: list[LookPart]


class CanariesPart(Part):
    """Records that alone were put in or left out; all others of the pool are in every model."""

    kind: Literal["natural", "mislabelled", "out_of_distribution", "blank", "duplicated"]
    count: int = Field(description="canaries, in units")
    fixed: int = Field(description="other records, which every model is trained on")
    copies: int = Field(description="times that a canary is in a training set that holds it")
    words: str


class PolicyPart(Part):
    """The gate."""

    outcome: Literal["pass", "fail", "inconclusive", "none"]
    reasons: list[str]
    needed: list[str] = Field(default_factory=list, description="what would settle it")


class Result(Part):
    """The whole of ``result.json``."""

    schema_version: str = SCHEMA_VERSION
    locard_version: str
    name: str
    seed: int
    verdict: str
    data: DataPart
    target: TargetPart
    attacks: list[AttackPart]
    groups: list[GroupPart]
    comparisons: list[ComparisonPart]
    controls: list[ControlPart]
    exposed: ExposedPart
    cards: list[CardPart] = Field(default=[], description="the first selected records, where an attack claims")
    not_run: list[NotRun]
    released: ReleasedPart | None
    one_run: OneRunPart | None = Field(default=None, description="where coins decided the members of each model")
    canaries: CanariesPart | None = Field(default=None, description="where only some records were audited, or planted")
    sequential: SequentialPart | None = Field(default=None, description="where pairs came until the policy was settled")
    policy: PolicyPart
    unresolved: list[str] = Field(description="what these data could not tell")
    next_steps: list[str]
    settings: dict[str, Any]

    @property
    def headline(self) -> AttackPart:
        """The declared headline attack."""
        return next(a for a in self.attacks if a.headline)

    @property
    def scored(self) -> list[AttackPart]:
        """The attacks that score every record; one that only makes claims about selected ones has no curve."""
        return [a for a in self.attacks if a.roc.fpr]


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found: the tree, one row a record, and every score.

    ``summary``: the tree of ``result.json``. ``records``: a DataFrame, one row a record. ``scores``: attack label ->
    ``float64[targets, records]``, with ``member: bool[targets, records]`` under the key ``member``.
    """

    summary: Result
    records: pd.DataFrame
    scores: dict[str, np.ndarray]

    def to_json(self) -> str:
        """``result.json``: stable key order, floats that read back the same, one trailing newline."""
        return json.dumps(self.summary.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write ``scores.safetensors``, ``records.parquet`` and ``result.json`` (each by temporary name and rename).

        An older ``result.json`` goes first and the new one comes last: where there is one, the others belong to it.
        """
        folder = make_folder(Path(folder))
        remove(folder / "result.json")
        remove(folder / "claims.csv")  # of an attack that was run in this folder
        write_file(folder / "scores.safetensors", _tensors(self.scores))
        write_file(folder / "records.parquet", _parquet(self.records))
        write_file(folder / "result.json", self.to_json().encode())
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> AuditResult:
        """Read a run folder (or any folder with the three files).

        Raises:
            StoreMismatch: a file is missing, damaged, or of another schema version.
        """
        import pandas as pd
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        if (folder / "claims.csv").is_file():
            raise StoreMismatch(
                f"A finished audit is needed, but {folder} holds an attack on a model that may only be asked. Its page "
                f"is report.html, its claims are in claims.csv; locard attack writes both again."
            )
        absent = [n for n in FILES if not (folder / n).is_file()]
        if absent:
            raise StoreMismatch(
                f"A finished audit is needed, but {folder} has no {absent[0]!r}. Run the audit to its end, or name the "
                f"folder of one that has finished."
            )
        tree: Any = None
        try:
            tree = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
            summary = Result.model_validate(tree)
            records = pd.read_parquet(folder / FILES[1])
            scores = load_file(folder / FILES[2])
        except (ValidationError, ValueError, OSError, SafetensorError) as damaged:
            version = tree.get("schema_version", SCHEMA_VERSION) if isinstance(tree, dict) else SCHEMA_VERSION
            said = f" (schema {version}, this version reads {SCHEMA_VERSION})" if version != SCHEMA_VERSION else ""
            raise StoreMismatch(
                f"A readable audit is needed, but {folder} holds a damaged or foreign one{said}: "
                f"{str(damaged).partition(chr(10))[0]}. Run the audit again in that folder; finished models are reused."
            ) from damaged
        return cls(summary, records, scores)

    def report(self, path: str | Path, *, redact: bool = False) -> Path:
        """Write the HTML report: one file, no network."""
        from locard.report.html import write_report

        return write_report(self, Path(path), redact=redact)

    def __repr__(self) -> str:
        return f"AuditResult({self.summary.name!r}: {self.summary.verdict})"


def schema() -> dict[str, Any]:
    """The JSON schema of ``result.json``."""
    return Result.model_json_schema(by_alias=True, mode="serialization")


def _tensors(scores: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return bytes(save({k: np.ascontiguousarray(v) for k, v in sorted(scores.items())}))


def _parquet(frame: pd.DataFrame) -> bytes:
    import io

    sink = io.BytesIO()
    frame.to_parquet(sink, index=False, compression="zstd")
    return sink.getvalue()
