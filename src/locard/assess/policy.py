"""The gate: pass, fail or inconclusive, each with its reasons and with what would settle it."""

from __future__ import annotations

import numpy as np

from locard.assess.estimates import Scored
from locard.assess.exposure import Exposure
from locard.assess.scoring import Audited
from locard.result import PolicyPart
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
)


def settle(
    policy: PolicySettings, scored: list[Scored], exposure: Exposure, audited: Audited, measure: MeasureSettings
) -> PolicyPart:
    """The outcome over all declared attacks; the maximum over them is paid for on the failing side."""
    if not policy.given:
        return PolicyPart(outcome="none", reasons=["No policy was given, so nothing was judged."])
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
    return PolicyPart(outcome=judged.outcome, reasons=list(judged.reasons), needed=needed)


def _tpr_check(
    fpr: float, limit: float, scored: list[Scored], audited: Audited, confidence: float, paid: float
) -> LimitCheck:
    members, pair = audited.unit_member, audited.plan.pair
    non_members = int((~members).sum(axis=1).min())
    resolvable = resolution(non_members, fpr, confidence=confidence) == "resolved"
    _, wanted = needed_non_members(fpr, confidence=confidence)
    evidence = []
    for s in scored:
        ordered = [sort_scores(row, m) for row, m in zip(s.unit_scores, members, strict=True)]
        claimed = np.array([o.members_above(o.conformal_threshold(fpr)) for o in ordered])
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
