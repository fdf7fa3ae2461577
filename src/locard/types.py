"""The words of the pipeline: array aliases, access levels, estimates.

Axis words are the field's: models, records, queries, classes. Scores and statistics are float64, and a
higher score always means "more likely a member".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

Scores: TypeAlias = Float64[np.ndarray, "records"]
Membership: TypeAlias = Bool[np.ndarray, "records"]
MemberMask: TypeAlias = Bool[np.ndarray, "models records"]
Signals: TypeAlias = Float64[np.ndarray, "records queries"]
Logits: TypeAlias = Float32[np.ndarray, "records queries classes"]
ClassIndex: TypeAlias = Int64[np.ndarray, "records"]
Index: TypeAlias = Int64[np.ndarray, "chosen"]


class Access(Enum):
    """What an attacker sees of a target. ``LABELS < PROBABILITIES < LOGITS < WHITE_BOX``.

    ``TRAINING`` stands beside the order: it is the owner's own training loop, and no query gives it.

    >>> Access.LOGITS.allows(Access.LABELS), Access.LABELS.allows(Access.LOGITS)
    (True, False)
    """

    LABELS = 1
    PROBABILITIES = 2
    LOGITS = 3
    WHITE_BOX = 4
    TRAINING = 5

    def allows(self, needed: Access) -> bool:
        """True where an attacker with this access has what ``needed`` asks for."""
        if Access.TRAINING in (self, needed):
            return self is needed
        return self.value >= needed.value

    @property
    def words(self) -> str:
        """The access level in plain words."""
        return {
            Access.LABELS: "predicted labels only",
            Access.PROBABILITIES: "class probabilities",
            Access.LOGITS: "logits",
            Access.WHITE_BOX: "the model's weights",
            Access.TRAINING: "the training loop",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One measured number with its interval, or the reason why there is none.

    ``value is None`` says "undefined", and then ``reason`` says why; a missing interval is never 0.0.
    ``method`` names how the interval was made, ``n`` what was counted (pairs, records or models). A one-sided bound
    (``method`` contains "lower bound") has ``high = None`` and its bound as both ``value`` and ``low``.

    >>> Estimate(value=0.6, low=0.5, high=0.7, confidence=0.95, method="t over 8 pairs", n=8)
    0.6 [0.5, 0.7]
    >>> Estimate.undefined("no non-members")
    undefined: no non-members
    >>> Estimate(value=1.2, low=1.2, confidence=0.95, method="lower bound, all thresholds paid", n=100)
    >= 1.2
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    method: str | None = None
    n: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.value is None:
            if not self.reason:
                raise ValueError("an Estimate without a value needs a reason")
            return
        if not math.isfinite(self.value):
            raise ValueError(f"an Estimate needs a finite value, found {self.value}")
        if self.one_sided:
            if self.low != self.value:
                raise ValueError(f"a lower bound is its own low end, found value {self.value} and low {self.low}")
            return
        if self.low is None or self.high is None or not self.low <= self.value <= self.high:
            raise ValueError(f"an interval must contain its estimate, found {self.low} {self.value} {self.high}")

    @property
    def one_sided(self) -> bool:
        """True for a lower bound: nothing is said about how much larger the truth may be."""
        return self.high is None and self.method is not None and "lower bound" in self.method

    @classmethod
    def undefined(cls, reason: str) -> Estimate:
        """No value, and why."""
        return cls(value=None, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """``{value, low, high, confidence, method, n}``, or ``{value: null, reason}``."""
        if self.value is None:
            return {"value": None, "reason": self.reason}
        out: dict[str, Any] = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
            "method": self.method,
            "n": self.n,
        }
        if self.reason:
            out["reason"] = self.reason
        return out

    def __repr__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        if self.one_sided:
            return f">= {self.value:.4g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Claims:
    """What an attacker says of each record of one target: p-values, and a claim ("member") or nothing.

    ``tested & ~claimed`` abstains: it never means "non-member". Columns are float64[records] in the order of ``ids``,
    NaN where a record was not tested or the column is not available; ``promises`` says for each column, and for
    "claimed" and "abstained", what it promises and what not.

    Attributes:
        ids: one id a record, as given.
        tested: bool[records]; False where the screen left the record out, or references are too few for it.
        p_rank: by rank among the references; never below 1 / (references + 1).
        p_tail: by a model of the tail.
        p_raw: the smoothed p-value of GMIA, with the tail model where no reference stands: not calibrated.
        p_cal: calibrated on known non-members.
        p_adjusted: adjusted for how many records were tested.
        claimed: bool[records].
        references: int64[records], how many references without the record stand behind its p-value.
        calibration: how many calibration records there were.
        promises: column -> words.

    >>> one = np.array([0.04])
    >>> claims = Claims(ids=np.array(["a"]), tested=one < 1, p_rank=one, p_tail=one, p_raw=one, p_cal=one,
    ...                 p_adjusted=one, claimed=one < 0.1, references=np.array([24]), calibration=24, promises={})
    >>> claims, claims.abstained.tolist(), list(claims.columns())[:3]
    (Claims(1 claimed of 1 tested, 1 records), [False], ['id', 'tested', 'p_rank'])
    """

    ids: np.ndarray
    tested: Membership
    p_rank: Scores
    p_tail: Scores
    p_raw: Scores
    p_cal: Scores
    p_adjusted: Scores
    claimed: Membership
    references: Int64[np.ndarray, "records"]
    calibration: int
    promises: Mapping[str, str]

    def __post_init__(self) -> None:
        columns = self.columns()
        wrong = [k for k, v in columns.items() if v.shape != self.tested.shape or v.ndim != 1]
        if wrong:
            raise ValueError(f"Claims need one value for each of {self.tested.shape} records, found others in {wrong}")
        if (self.claimed & ~self.tested).any():
            raise ValueError("Claims are made of tested records only, found one that was not tested")
        for name in ("p_rank", "p_tail", "p_raw", "p_cal", "p_adjusted"):
            p = columns[name][~np.isnan(columns[name])]
            if not ((p >= 0) & (p <= 1)).all():
                raise ValueError(f"{name} needs numbers from 0 to 1 (NaN where there is none), found others")

    @property
    def abstained(self) -> Membership:
        """Tested, and nothing is said."""
        out: Membership = self.tested & ~self.claimed
        return out

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, ``id`` first: a table, one row a record."""
        names = ("tested", "p_rank", "p_tail", "p_raw", "p_cal", "p_adjusted", "claimed", "references")
        return {"id": self.ids} | {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Claims({int(self.claimed.sum())} claimed of {int(self.tested.sum())} tested, {len(self)} records)"
