"""AUC and TPR over the number of references, each target with draws of its own, nested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from locard.assess.attacked_by import Scorer, missing, units_of
from locard.assess.estimates import Scored, auc_estimate, summarise_targets, tpr_at
from locard.assess.scoring import Audited
from locard.attacks.protocol import Attack
from locard.rank_result import CurveAttack, CurvePoint, CurvesPart, ReachPart, Uses
from locard.result import Number
from locard.settings import MeasureSettings
from locard.settings_rank import RankSettings
from locard.stats import pair_means, t_over_pairs
from locard.types import Estimate

SHARE = 0.8  # of the benchmark's excess that is to be reached


@dataclass(frozen=True, eq=False)
class Point:
    """One attack with so many references: its estimates, and the TPR of each target (None where it cannot run)."""

    part: CurvePoint
    tpr: Float64[np.ndarray, "targets"] | None


@dataclass(frozen=True, eq=False)
class Draws:
    """Which targets are attacked, and in which order each draws its references.

    - nested: the references of a smaller number are among those of a larger one
    - a pair of references gives each record one IN and one OUT; where references hold no audited record, one OUT
    """

    few: Audited
    targets: list[int]
    order: dict[int, list[list[int]]]

    @property
    def available(self) -> int:
        """Draws that every target has."""
        return min((len(o) for o in self.order.values()), default=0)

    def parts(self, draws: int) -> list[Audited]:
        """One audit a target, with its first so many draws as references."""
        return [self.few.only([t], [m for unit in self.order[t][:draws] for m in unit]) for t in self.targets]


def uses_of(attack: Attack) -> Uses:
    """Which references a record's score rests on."""
    needs = attack.needs
    return "none" if not needs.inside and not needs.outside else "IN and OUT" if needs.inside else "OUT"


def no_curves(audited: Audited, settings: RankSettings) -> str | None:
    """Why there can be no curves, in words."""
    targets, references = units_of(audited)
    if not settings.references:
        return "none were asked for (rank.references is empty)"
    sizes = {len(unit) for unit in references}
    if audited.plan.thin or len(sizes) > 1 or (sizes == {1} and audited.plan.member[audited.plan.references].any()):
        return (
            f"with the plan {audited.plan.design!r} a few references do not hold each record equally often; curves "
            f"need plan 'pairs' or 'out_only'"
        )
    if len(targets) < 2 or not references:
        return f"at least 2 pairs of targets and some references are needed, found {len(targets)} and {len(references)}"
    return None


def draw(audited: Audited, settings: RankSettings) -> Draws:
    """The first targets in whole pairs, each with a seeded order of its references (never itself or its partner)."""
    targets, references = units_of(audited)
    chosen = [t for pair in targets[: max(1, settings.targets // 2)] for t in pair]
    order = {}
    for t in chosen:
        free = [unit for unit in references if not set(unit) & set(audited.plan.left_out(t))]
        rng = audited.seed.child("rank", "references", t).generator()
        order[t] = [free[i] for i in rng.permutation(len(free))]
    return Draws(audited.only(chosen, audited.plan.references), chosen, order)


def steps(attack: Attack, draws: Draws, settings: RankSettings) -> list[tuple[int, int]]:
    """(references a record, draws) for every point: those asked for that exist, and all there are."""
    uses = uses_of(attack)
    if uses == "none":
        return [(0, 0)]
    each = 2 if uses == "IN and OUT" else 1
    asked = [k for k in settings.references if k <= each * draws.available]
    return [(k, k // each) for k in sorted({*asked, each * draws.available})]


def curve(
    scorer: Scorer, name: str, label: str, draws: Draws, rank: RankSettings, measure: MeasureSettings
) -> list[Point]:
    """All points of one attack."""
    attack, out = scorer.attack, list[Point]()
    uses = uses_of(attack)
    for references, count in steps(attack, draws, rank):
        inside = count if uses == "IN and OUT" else 0
        sides = {"references": references, "inside": inside, "outside": count if uses != "none" else 0}
        parts = draws.parts(count if uses != "none" else draws.available)
        short = next((m for m in (missing(attack, part) for part in parts) if m is not None), None)
        if uses == "IN and OUT" and references % 2:
            short = f"it learns from models with and without a record, in pairs, and {references} is odd"
        if short is not None:
            none = Number.of(Estimate.undefined(short))
            out.append(Point(CurvePoint(**sides, auc=none, tpr=none), None))
            continue
        scores = np.concatenate([scorer.scores(part) for part in parts])
        scored = summarise_targets(attack, name, label, scores, draws.few, measure.fprs)
        part = CurvePoint(
            **sides,
            auc=Number.of(auc_estimate(scored, draws.few, measure.confidence)),
            tpr=_rate(scored, draws, measure),
        )
        out.append(Point(part, scored.tpr(0)))
    return out


def _rate(scored: Scored, draws: Draws, measure: MeasureSettings) -> Number:
    return tpr_at(scored, draws.few, measure, 0).estimate


def curves_part(
    found: dict[str, list[Point]], attacks: dict[str, Attack], draws: Draws, benchmark: str, measure: MeasureSettings
) -> CurvesPart:
    """The curves, and with how many references each attack reaches the benchmark's excess."""
    fpr, pair = measure.fprs[0], draws.few.plan.pair
    best = found[benchmark][-1]
    excess = Estimate.undefined("the benchmark cannot run")
    resolved = best.part.tpr.value is not None
    if best.tpr is not None and resolved:
        values = pair_means(best.tpr - fpr, pair)
        factor = attacks[benchmark].variance_factor
        excess = t_over_pairs(values, factor=factor, confidence=measure.confidence, bounds=(-1.0, 1.0))
    elif not resolved:
        excess = Estimate.undefined(best.part.tpr.reason or "the rate cannot be resolved")
    shown = excess.low is not None and excess.low > 0
    curves = []
    for label, points in found.items():
        factor = max(attacks[label].variance_factor, attacks[benchmark].variance_factor)
        wanted = best.tpr if shown else None
        why = excess.reason if excess.value is None else f"{benchmark} itself shows no excess here"
        curves.append(
            CurveAttack(
                label=label,
                uses=uses_of(attacks[label]),
                points=[p.part for p in points],
                reach=_reach(points, wanted, pair, fpr, factor, measure.confidence, why),
            )
        )
    targets, pairs = len(draws.targets), len(np.unique(pair))
    return CurvesPart(
        fpr=fpr,
        targets=targets,
        pairs=pairs,
        available=draws.available,
        benchmark=benchmark,
        share=SHARE,
        excess=Number.of(excess),
        attacks=curves,
        reason=None,
    )


def no_curves_part(reason: str, benchmark: str, fpr: float) -> CurvesPart:
    """What stands in the place of curves."""
    none = Number.of(Estimate.undefined(reason))
    counts = dict.fromkeys(("targets", "pairs", "available"), 0)
    return CurvesPart(**counts, fpr=fpr, benchmark=benchmark, share=SHARE, excess=none, attacks=[], reason=reason)


def _reach(
    points: Sequence[Point],
    wanted: np.ndarray | None,
    pair: np.ndarray,
    fpr: float,
    factor: float,
    confidence: float,
    why: str | None,
) -> ReachPart:
    if wanted is None:
        return ReachPart(references=None, surely=None, difference=Number.of(Estimate.undefined(why or "undefined")))
    told: list[tuple[int, float, Estimate]] = []
    for p in points:
        if p.tpr is not None:
            values = pair_means((p.tpr - fpr) - SHARE * (wanted - fpr), pair)
            e = t_over_pairs(values, factor=factor, confidence=confidence, bounds=(-1.0, 1.0))
            told.append((p.part.references, float(values.mean()), e))
    reached = [t for t in told if t[1] >= 0]
    surely = [k for k, _, e in told if e.low is not None and e.low >= 0]
    if not told:
        nothing = Estimate.undefined("it cannot run with so few references")
        return ReachPart(references=None, surely=None, difference=Number.of(nothing))
    at = reached[0] if reached else max(told, key=lambda t: t[1])
    return ReachPart(
        references=reached[0][0] if reached else None,
        surely=surely[0] if surely else None,
        difference=Number.of(at[2]),
    )
