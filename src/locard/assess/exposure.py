"""Which records (or units) are exposed: a contrast between targets that saw them and targets that did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from locard.assess.estimates import headline_threshold
from locard.assess.scoring import Audited, by_unit, score_targets
from locard.attacks.protocol import Attack
from locard.observe.references import References
from locard.observe.signals import ScaledLogit
from locard.plan.plan import Plan
from locard.result import ExposedPart
from locard.settings import ExposureSettings
from locard.stats import Grades, grade, nameable_rate, smallest_nameable, wins

LEAST_PAIRS = 4  # below this not even the halves of the design have two pairs each
ROUNDING = 2.0**-24  # of a number stored in float32, relative to it


@dataclass(frozen=True, eq=False)
class Exposure:
    """Per unit: the grades, the hits behind them, and the part of ``result.json``."""

    grades: Grades
    hits_in: Int64[np.ndarray, "units"]
    hits_out: Int64[np.ndarray, "units"]
    trials: int
    wins: Int64[np.ndarray, "units"]
    pairs: Int64[np.ndarray, "units"]
    part: ExposedPart


@dataclass(frozen=True, eq=False)
class _Hits:
    inside: np.ndarray
    outside: np.ndarray
    trials: int
    realised_fpr: float | None


def expose(attack: Attack, audited: Audited, settings: ExposureSettings, *, redrawn: bool = True) -> Exposure:
    """Grade every unit with the headline attack.

    ``p_flip`` contrasts the two models of every pair by their raw signal; ``p_hit`` counts hits of the attack on the
    second half of the pairs, with references and threshold from the first half alone.
    Source: docs/estimands.md, "A record's exposure".
    """
    differences = pair_differences(audited)
    hits = _count_hits(attack, audited, settings.fpr)
    trials = np.full(len(hits.inside), hits.trials, dtype=np.int64)
    graded = grade(differences, hits.inside, trials, q=settings.fdr, dependence=settings.dependence)
    won, compared = wins(differences)
    counts = {g: int((graded.grade == g).sum()) for g in ("exposed", "suspected", "not shown")}
    part = ExposedPart(
        n=counts["exposed"],
        suspected=counts["suspected"],
        not_shown=counts["not shown"],
        rule=graded.rule,
        fdr=settings.fdr,
        hit_fpr=settings.fpr,
        hit_realised_fpr=hits.realised_fpr,
        trials=hits.trials,
        pairs=differences.shape[1],
        nameable=_nameable(hits.trials, differences.shape[1], len(hits.inside), settings.fdr),
    )
    return Exposure(graded, hits.inside, hits.outside, hits.trials, won, compared, part)


def pair_differences(audited: Audited) -> Float64[np.ndarray, "units pairs"]:
    """Scaled logit of the model that holds a unit minus that of its twin, for every pair of targets.

    - a raw signal on purpose: a score would read the other pairs' memberships
    - equal answers are a tie, exactly 0: a difference counts only above what rounding may have moved both sides by.
      Answers are stored in float32, each logarithm right to 2^-24 of itself. For K classes that moves a scaled logit s
      by at most 2^-24 (|s| + log 4 + log(K - 1)): |log p| + |log(1 - p)| is at most |s| + log 4, and spreading 1 - p
      over the other classes adds at most log(K - 1). The float64 rounding of sums and means is far below that.
    - the bound treats twins alike, so that the signs of unmoved records stay fair coins
    """
    signal = audited.observations.signal(ScaledLogit())
    spread = 2 * np.log(2) + np.log(max(audited.observations.classes - 1, 1))
    columns = []
    for first, second in partners(audited.plan):
        gap = signal[first].mean(axis=-1) - signal[second].mean(axis=-1)
        moved = ROUNDING * (np.abs(signal[[first, second]]) + spread).mean(axis=-1).sum(axis=0)
        holds = audited.plan.member[first]
        difference = by_unit(np.where(holds, gap, -gap), audited.records)
        columns.append(np.where(np.abs(difference) <= by_unit(moved, audited.records), 0.0, difference))
    units = audited.records.n_units
    return np.stack(columns, axis=1) if columns else np.zeros((units, 0))


def partners(plan: Plan) -> list[tuple[int, int]]:
    """The pairs of targets, smaller number first."""
    return [
        (int(t), int(plan.partner[t]))
        for t in plan.targets
        if plan.partner[t] > t and (plan.member[t] ^ plan.member[plan.partner[t]]).all()
    ]


def _count_hits(attack: Attack, audited: Audited, fpr: float) -> _Hits:
    units = audited.records.n_units
    none = _Hits(np.zeros(units, dtype=np.int64), np.zeros(units, dtype=np.int64), 0, None)
    pairs = partners(audited.plan)
    if len(pairs) < LEAST_PAIRS:
        return none
    half = len(pairs) - len(pairs) // 2
    first = np.array([m for p in pairs[:half] for m in p])
    second = np.array([m for p in pairs[half:] for m in p])
    learners = first if audited.plan.role[first[0]] == "both" else audited.plan.references
    small = _FirstHalf(audited, learners)
    if attack.needs.missing(**small.counts(first), traces=audited.had) is not None:
        return none
    train = by_unit(small.score(attack, first), audited.records)
    test = by_unit(small.score(attack, second), audited.records)
    member = audited.unit_member_of(first)
    threshold = headline_threshold(train, member, fpr)
    held = audited.unit_member_of(second)
    hit = test > threshold
    return _Hits((hit & held).sum(axis=0), (hit & ~held).sum(axis=0), len(second) // 2, float(hit[~held].mean()))


@dataclass(frozen=True, eq=False)
class _FirstHalf:
    """The attacker that knows only the first half of the pairs."""

    audited: Audited
    learners: np.ndarray

    def score(self, attack: Attack, targets: np.ndarray) -> np.ndarray:
        """Scores of ``targets`` with references from the learners alone, never a target's partner."""
        return score_targets(attack, self.audited.with_references(self.learners), targets)

    def counts(self, targets: np.ndarray) -> dict[str, int]:
        """Fewest references and population records this attacker has."""
        small = self.audited.with_references(self.learners)
        views: list[References] = [small.references(int(t)) for t in targets]
        population = self.audited.population
        return {
            "inside": min(int(v.inside.sum(axis=0).min()) for v in views),
            "outside": min(int(v.outside.sum(axis=0).min()) for v in views),
            "population": 0 if population is None else population.records,
        }


def _nameable(trials: int, pairs: int, units: int, fdr: float) -> str:
    """What this design could have named, in words."""
    if not trials:
        return f"Nothing can be named as exposed: {pairs} pairs of models are too few to count hits on held-out pairs."
    needed, rate = nameable_rate(trials, units)
    if needed > trials:
        return (
            f"Nothing can be named as exposed: with {trials} held-out pairs even a hit in every one would not be "
            f"enough. 32 models are the fewest that can name a record."
        )
    least = smallest_nameable(pairs, units, q=fdr)
    names = "" if least is None else f" The contrast over {pairs} pairs can name {least} or more records."
    return (
        f"With {trials} held-out pairs a record needs {needed} hits; one that is found in {100 * rate:.0f} "
        f"% of retrainings "
        f"would have been named with 90 % chance (if 1 % of records are exposed).{names}"
    )
