"""The gate: pass, fail or inconclusive, each with its reasons and with what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from locard.assess.estimates import Scored, auc_estimate
from locard.assess.exposure import Exposure
from locard.assess.scoring import Audited
from locard.result import Number, PolicyPart
from locard.settings import MeasureSettings, PolicySettings
from locard.stats import (
    AttackEvidence,
    ExposedLimit,
    LimitCheck,
    auc_one_target,
    audited_for,
    gate,
    needed_non_members,
    one_target_box,
    paid_confidence,
    pair_means,
    resolution,
    sort_scores,
    tpr_estimate,
)
from locard.types import Estimate


@dataclass(frozen=True)
class Excess:
    """An attack that exceeds a limit: its TPR at an FPR, or its AUC (no FPR), with its own interval."""

    attack: str
    fpr: float | None
    limit: float
    estimate: Number


def settle(
    policy: PolicySettings, scored: list[Scored], exposure: Exposure, audited: Audited, measure: MeasureSettings
) -> tuple[PolicyPart, list[Excess]]:
    """The outcome over all declared attacks; the maximum over them is paid for on the failing side.

    Also who exceeds which limit, in the order of the limits and, within each, of the attacks.
    """
    if not policy.given:
        return PolicyPart(outcome="none", reasons=["No policy was given, so nothing was judged."]), []
    count = len(policy.max_tpr) + (policy.max_auc is not None) + (policy.max_exposed is not None)
    paid = paid_confidence(len(scored) * count, confidence=measure.confidence)
    checks = [
        _tpr_check(float(fpr), limit, scored, audited, measure.confidence, paid)
        for fpr, limit in sorted(policy.max_tpr.items(), key=lambda item: -float(item[0]))
    ]
    if policy.max_auc is not None:
        checks.append(_auc_check(policy.max_auc, scored, audited, measure.confidence, paid))
    exposed = None
    if policy.max_exposed is not None:
        exposed = ExposedLimit(
            limit=policy.max_exposed,
            p=exposure.grades.p,
            named=exposure.part.n,
            trials=exposure.trials,
            pairs=exposure.part.pairs,
        )
    judged = gate(checks, exposed=exposed, confidence=measure.confidence)
    needed = [o.needed for o in judged.limits if o.outcome == "inconclusive" and o.needed]
    rates = sorted((float(fpr) for fpr in policy.max_tpr), reverse=True)
    excesses = [
        Excess(s.label, fpr, outcome.limit, Number.of(_estimate(s, fpr, audited, measure.confidence)))
        for fpr, outcome in zip([*rates, None], judged.limits, strict=False)
        for s in scored
        if s.label in outcome.above
    ]
    return PolicyPart(outcome=judged.outcome, reasons=list(judged.reasons), needed=needed), excesses


def no_pass_without(policy: PolicyPart, late: Sequence[str]) -> PolicyPart:
    """The outcome where the time was not enough for these attacks: what the others exceed stands, a pass does not."""
    if not late or policy.outcome != "pass":
        return policy
    said = f"Not settled: {', '.join(late)} had no time to be run (compute.stop_after). Give it more, or leave it out."
    return policy.model_copy(update={"outcome": "inconclusive", "reasons": [said, *policy.reasons]})


def _estimate(scored: Scored, fpr: float | None, audited: Audited, confidence: float) -> Estimate:
    """One attack's own TPR at an FPR (of the policy, so it need not be among those measured), or its AUC."""
    if fpr is None:
        return auc_estimate(scored, audited, confidence)
    members = audited.unit_member
    claimed = _claimed(scored, members, fpr)
    box = one_target_box(scored.unit_scores[0], members[0], fpr, confidence=confidence)
    found = tpr_estimate(
        claimed / members.sum(axis=1),
        claimed,
        audited.plan.pair,
        factor=scored.attack.variance_factor,
        one_target=box,
        confidence=confidence,
    )
    return box if found.value is None else found


def _claimed(scored: Scored, members: np.ndarray, fpr: float) -> np.ndarray:
    """``int64[targets]``: members above each target's conformal threshold."""
    ordered = [sort_scores(row, m) for row, m in zip(scored.unit_scores, members, strict=True)]
    return np.array([o.members_above(o.conformal_threshold(fpr)) for o in ordered])


def _tpr_check(
    fpr: float, limit: float, scored: list[Scored], audited: Audited, confidence: float, paid: float
) -> LimitCheck:
    members, pair = audited.unit_member, audited.plan.pair
    non_members = int((~members).sum(axis=1).min())
    resolvable = resolution(non_members, fpr, confidence=confidence) == "resolved"
    _, wanted = needed_non_members(fpr, confidence=confidence)
    evidence = []
    for s in scored:
        claimed = _claimed(s, members, fpr)
        evidence.append(
            AttackEvidence(
                name=s.label,
                values=pair_means(claimed / members.sum(axis=1), pair),
                factor=s.attack.variance_factor,
                resolvable=resolvable,
                fallback=one_target_box(s.unit_scores[0], members[0], fpr, confidence=confidence),
                fallback_low=one_target_box(s.unit_scores[0], members[0], fpr, confidence=paid),
                true_positives=int(claimed.sum()),
            )
        )
    needs = (
        f"audit {audited_for(wanted):,} records, so that every target has {wanted:,} non-members (the fewest now: "
        f"{non_members:,})"
    )
    return LimitCheck(name=f"TPR at FPR {fpr:g}", limit=limit, attacks=tuple(evidence), needs=needs)


def _auc_check(limit: float, scored: list[Scored], audited: Audited, confidence: float, paid: float) -> LimitCheck:
    members, pair = audited.unit_member, audited.plan.pair
    evidence = tuple(
        AttackEvidence(
            name=s.label,
            values=pair_means(s.auc, pair),
            factor=s.attack.variance_factor,
            fallback=auc_one_target(s.unit_scores[0], members[0], confidence=confidence),
            fallback_low=auc_one_target(s.unit_scores[0], members[0], confidence=paid),
            true_positives=int(members.sum()),
        )
        for s in scored
    )
    return LimitCheck(name="AUC", limit=limit, attacks=evidence)
