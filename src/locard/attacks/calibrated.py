"""What is easy for every model is no evidence: an attack's score on the target, minus its score on references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from locard.attacks import ATTACKS, attack, attack_of
from locard.attacks.fields import check_fields
from locard.attacks.protocol import Attack, Needs, checked, signals_of
from locard.data.records import Records
from locard.errors import SettingsError
from locard.observe.references import Population, References
from locard.observe.signals import Signal
from locard.observe.target import Target
from locard.types import Access, Scores


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Difficulty calibration of any attack that needs no references itself.

    The score is the attack's score on the target minus the mean of its scores on the references, each playing the
    target; in the attack's unit.

    Args:
        attack: the attack inside: by name (with its defaults), as a table ``{"name": ..., ...}``, or as an object such
            as ``Mentr(thresholds="none")``.
        references: ``"out"``: the mean over OUT references. ``"both"``: halfway between the mean over IN and the mean
            over OUT references, each weighing the same whatever their numbers.

    The variance factor is 1.5 with OUT references; 1 with both, a contrast of fixed sign and equal weights.

    Source: Watson, Guo, Cormode, Sablayrolles 2022 (ICLR, arXiv:2111.08440).

    Departs: any number of references; references are trained like the target, not fine-tuned from it.
    """

    attack: str | Attack = "loss"
    references: Literal["out", "both"] = "out"

    def __post_init__(self) -> None:
        if not isinstance(self.attack, str):
            object.__setattr__(self, "attack", attack_of(self.attack))
        check_fields(self)
        if not _alone(self.inner):
            fit = [repr(n) for n in ATTACKS if n not in ("calibrated", "sablayrolles") and _alone(attack(n))]
            raise SettingsError(
                f"Calibrated.attack: an attack that needs neither references nor population is needed "
                f"({', '.join(sorted(fit))}, or an object such as Mentr(thresholds='none')), found {self.attack!r}."
            )

    @property
    def inner(self) -> Attack:
        """The attack inside."""
        return attack_of(self.attack)

    @property
    def access(self) -> Access:
        """What the attack inside needs."""
        return self.inner.access

    @property
    def discrete(self) -> bool:
        """As the attack inside."""
        return self.inner.discrete

    @property
    def variance_factor(self) -> float:
        """1.5 with OUT references, 1 with both."""
        return 1.5 if self.references == "out" else 1.0

    @property
    def needs(self) -> Needs:
        """One reference a side that is used."""
        return Needs(inside=0 if self.references == "out" else 1, outside=1)

    @property
    def reads(self) -> tuple[Signal, ...] | None:
        """What the attack inside reads."""
        return signals_of(self.inner)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, in the unit of the attack inside."""
        inner = self.inner
        own = inner.score(target, records, references, rng=rng)
        outside, inside = np.zeros(len(records)), np.zeros(len(records))
        for k in references:
            other = references.memo(
                ("score", inner),
                k,
                lambda k=k: inner.score(references.as_target(k), records, references),  # type: ignore[misc]
                uses_membership=False,
            )
            outside += np.where(references.outside_of(k), other, 0.0)
            if self.references == "both":
                inside += np.where(references.inside_of(k), other, 0.0)
        outside /= references.outside_count
        usual = outside if self.references == "out" else 0.5 * (inside / references.inside_count + outside)
        out: Scores = own - usual
        return out


def sablayrolles(*, attack: str | Attack = "loss") -> Calibrated:
    """The MALT threshold: the loss below halfway between the record's mean IN and mean OUT loss.

    Another name for ``Calibrated(attack="loss", references="both")``.

    Source: Sablayrolles, Douze, Schmid, Ollivier, Jégou 2019 (ICML, arXiv:1908.11229), MALT.
    """
    return Calibrated(attack=attack, references="both")


def _alone(attack: Attack) -> bool:
    return attack.needs == Needs()
