"""What a screen is, and how records are selected by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float64

from locard.errors import SettingsError
from locard.screen.cosine import Vectors
from locard.screen.evidence import Evidence

Reads = Literal["logits", "losses", "losses and logits", "loss traces", "features", "nothing"]


@dataclass(frozen=True)
class Top:
    """The ``count`` most vulnerable records; of records that tie, those that come first by ``tie_breaks``."""

    count: int

    def __post_init__(self) -> None:
        _need(self.count >= 1, "screen.select.top", "a whole number of at least 1", self.count)


@dataclass(frozen=True)
class Fraction:
    """This share of the records, at least one."""

    share: float

    def __post_init__(self) -> None:
        _need(0 < self.share <= 1, "screen.select.fraction", "a number above 0 and of at most 1", self.share)


@dataclass(frozen=True)
class Above:
    """Every record whose value is above this bar, which was fixed without looking at the candidates' values."""

    bar: float


Selection: TypeAlias = Top | Fraction | Above


def _need(right: bool, where: str, needed: str, found: object) -> None:
    if not right:
        raise SettingsError(f"{where}: {needed} is needed, found {found!r}.")


@dataclass(frozen=True, eq=False)
class Valued:
    """What a screen found: ``value: float64[candidates]``, higher = more vulnerable, and what stands behind it.

    Attributes:
        value: one number a candidate.
        columns: named columns, one number a candidate, shown beside the value.
        settled: what the screen decided for all candidates, by name (delta, beta, weights, ...).
        own: the screen's own rule of selection, where it has one.
        words: what is said of one candidate; ``{name}`` stands for its column, or for what is settled.
        compared: features of candidates and reference records, where the screen compared them.
    """

    value: Float64[np.ndarray, "records"]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    settled: Mapping[str, Any] = field(default_factory=dict)
    own: Above | None = None
    words: str = ""
    compared: tuple[Vectors, Vectors] | None = None

    def why(self, place: int) -> str:
        """The sentence on the candidate at this place."""
        return self.words.format(**self.settled, **{k: v[place] for k, v in self.columns.items()})


@runtime_checkable
class Screen(Protocol):
    """A frozen dataclass of settings; ``value`` is pure, and has no target to ask.

    - ``reads``: what of the screening references it looks at
    - ``references``: how many references without a record it needs, for each record
    """

    @property
    def reads(self) -> Reads:
        """What it looks at."""
        ...

    @property
    def references(self) -> int:
        """Fewest screening references that do not hold a record."""
        ...

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """One number a candidate, higher = more vulnerable, never NaN."""
        ...
