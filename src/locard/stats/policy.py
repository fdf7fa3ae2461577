"""Pass, fail or inconclusive against declared limits, with wrong passes and wrong fails at 2.5 % each.

For each limit, [L, U] encloses the largest value over the declared attacks. L pays for every attack and every limit,
because one wrong excess would fail the policy; U pays for nothing, because a pass needs *all* attacks below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.intervals import LEAST_PAIRS, LEAST_TRUE_POSITIVES, assumption_free_upper, spread
from locard.stats.multiplicity import holm_rejections
from locard.stats.power import nameable_rate, smallest_nameable
from locard.types import Estimate

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackEvidence:
    """What one attack showed on every pair.

    ``fallback`` is one target's exact interval, used instead of t over pairs where the pairs are all equal or fewer
    than 10 true positives were counted over all targets (``true_positives``); without a count it is always used.
    ``fallback_low`` is the same at the confidence that pays for all looks (``paid_confidence``): without it the
    fallback's lower end counts only if its own confidence is high enough.
    """

    name: str
    values: Float64[np.ndarray, "pairs"]
    factor: float
    resolvable: bool = True
    fallback: Estimate | None = None
    fallback_low: Estimate | None = None
    true_positives: int | None = None


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """One limit of the policy on a statistic in [0, 1]. ``needs``: what would make an unresolvable limit resolvable."""

    name: str
    limit: float
    attacks: tuple[AttackEvidence, ...]
    needs: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExposedLimit:
    """A limit on the number of exposed records.

    ``p`` is ``Grades.p`` over all audited records, ``named`` how many are graded exposed, ``trials`` the target pairs
    behind p_hit, ``pairs`` all pairs.
    """

    limit: int
    p: Float64[np.ndarray, "records"]
    named: int
    trials: int
    pairs: int


@dataclass(frozen=True, kw_only=True)
class LimitOutcome:
    """One limit's part of the verdict; ``reason`` is a sentence.

    ``low, high`` enclose the maximum over attacks; for a count of exposed records only the lower end exists. ``above``
    names the attacks whose own lower end exceeds the limit.
    """

    name: str
    limit: float
    outcome: Outcome
    low: float
    high: float | None
    method: str
    reason: str
    needed: str = ""
    above: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The verdict: ``reasons`` has one sentence a limit, ``needed`` says what would settle an open question."""

    outcome: Outcome
    limits: tuple[LimitOutcome, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence a limit."""
        return tuple(limit.reason for limit in self.limits)

    @property
    def needed(self) -> str:
        """What would settle the limits that are inconclusive; empty if none is."""
        return "; ".join(limit.needed for limit in self.limits if limit.outcome == "inconclusive" and limit.needed)


@dataclass(frozen=True)
class _Ends:
    """One attack's one-sided ends; NaN where there is no usable interval."""

    low: float
    high: float
    method: str

    @property
    def usable(self) -> bool:
        return not math.isnan(self.high)


def paid_confidence(looks: int, *, confidence: float = 0.95) -> float:
    """Confidence of a two-sided interval whose lower end pays for ``looks`` attacks and limits.

    >>> round(paid_confidence(10), 4)
    0.995
    """
    return 1 - (1 - check_level("confidence", confidence)) / max(1, looks)


def max_interval(
    evidence: Sequence[AttackEvidence], *, looks: int, confidence: float = 0.95
) -> tuple[float, float, str]:
    """(low, high, method) for the largest value over the attacks.

    - low exceeds the truth with probability at most (1 - confidence) / 2, over ``looks`` attacks and limits
    - high lies below the truth with probability at most (1 - confidence) / 2
    - high is 1 where an attack has no usable interval, low 0 where none has

    >>> rng = np.random.default_rng(0)
    >>> a = [AttackEvidence(name=n, values=0.03 + 0.005 * rng.normal(size=32), factor=1.0) for n in ("loss", "gap")]
    >>> low, high, method = max_interval(a, looks=2)
    >>> round(low, 3), round(high, 3), method
    (0.029, 0.033, 'maximum of 2 attacks: t over 32 pairs, c=1; lower end paid for 2 looks')
    """
    return _largest([_attack_ends(a, looks, confidence) for a in evidence], looks)


def _largest(ends: Sequence[_Ends], looks: int) -> tuple[float, float, str]:
    low = max((e.low for e in ends if e.usable), default=0.0)
    high = max((e.high if e.usable else 1.0 for e in ends), default=1.0)
    methods = ", ".join(dict.fromkeys(e.method for e in ends))
    return low, high, f"maximum of {len(ends)} attacks: {methods}; lower end paid for {looks} looks"


def gate(limits: Sequence[LimitCheck], *, exposed: ExposedLimit | None = None, confidence: float = 0.95) -> Gate:
    """Judge every limit: fail if some lower end exceeds its limit, pass if all upper ends are below, else open.

    - P(fail | every value is at most its limit) <= (1 - confidence) / 2
    - P(pass | some value is at least its limit) <= (1 - confidence) / 2
    - a limit that cannot be resolved is never passed; a pass never comes from pairs that are all equal

    both under the assumptions of the intervals, which each limit's ``method`` names.

    Raises:
        SettingsError: there is no limit.

    >>> rng = np.random.default_rng(0)
    >>> attack = AttackEvidence(name="loss", values=0.03 + 0.005 * rng.normal(size=32), factor=1.0)
    >>> [gate([LimitCheck(name="max_tpr", limit=c, attacks=(attack,))]).outcome for c in (0.01, 0.03, 0.1)]
    ['fail', 'inconclusive', 'pass']
    """
    count = len(limits) + (exposed is not None)
    if not count:
        raise SettingsError("policy: at least one limit is needed, found none. Set max_tpr, max_auc or max_exposed.")
    results = [_judge(check, count, confidence) for check in limits]
    if exposed is not None:
        results.append(_judge_exposed(exposed, count, confidence))
    outcomes = {result.outcome for result in results}
    outcome: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Gate(outcome=outcome, limits=tuple(results))


def pairs_to_settle(evidence: AttackEvidence, limit: float, *, confidence: float = 0.95) -> int | None:
    """About how many pairs would put the limit outside the interval if mean and spread stay; None at the limit itself.

    (t S sqrt(c) / gap)^2; None as well for fewer than 4 pairs or pairs that are all equal.

    >>> t = [0.031, 0.027, 0.042, 0.036, 0.029, 0.033, 0.025, 0.041]
    >>> pairs_to_settle(AttackEvidence(name="lira", values=np.array(t), factor=2.5), 0.036)
    61
    """
    values = np.asarray(evidence.values, dtype=np.float64)
    if values.size < LEAST_PAIRS or not np.isfinite(values).all() or spread(values) == 0.0:
        return None
    gap = abs(float(values.mean()) - limit)
    t = float(stdtrit(values.size - 1, 1 - (1 - confidence) / 2))
    half = t * spread(values) * math.sqrt(evidence.factor)
    return math.ceil((half / gap) ** 2) if gap > 1e-6 * half else None


def _attack_ends(evidence: AttackEvidence, looks: int, confidence: float) -> _Ends:
    values = np.asarray(evidence.values, dtype=np.float64)
    counted = evidence.true_positives
    few = counted < LEAST_TRUE_POSITIVES if counted is not None else evidence.fallback is not None
    if not evidence.resolvable:
        return _Ends(math.nan, math.nan, "not resolvable")
    if values.size < LEAST_PAIRS and not few:
        return _Ends(math.nan, math.nan, f"fewer than {LEAST_PAIRS} pairs")
    if not np.isfinite(values).all():
        return _Ends(math.nan, math.nan, "a pair without a value")
    if few or spread(values) == 0.0:
        return _fallback_ends(evidence, looks, confidence)
    tail = (1 - confidence) / 2
    step = spread(values) * math.sqrt(evidence.factor / values.size)
    low = float(values.mean()) - float(stdtrit(values.size - 1, 1 - tail / looks)) * step
    high = float(values.mean()) + float(stdtrit(values.size - 1, 1 - tail)) * step
    return _Ends(max(0.0, low), min(1.0, high), f"t over {values.size} pairs, c={evidence.factor:g}")


def _fallback_ends(evidence: AttackEvidence, looks: int, confidence: float) -> _Ends:
    """One target's interval. Equal pairs have no spread, and a pass must not come from that."""
    box = evidence.fallback
    if box is None or box.low is None or box.high is None:
        return _Ends(math.nan, math.nan, "no interval: too few true positives, or all pairs equal")
    paid = paid_confidence(looks, confidence=confidence) - 1e-12
    lows = [e.low for e in (evidence.fallback_low, box) if e is not None and (e.confidence or 0.0) >= paid]
    high = box.high if (box.confidence or 0.0) >= confidence - 1e-12 else 1.0
    return _Ends(next((low for low in lows if low is not None), 0.0), high, box.method or "one target")


def _judge(check: LimitCheck, count: int, confidence: float) -> LimitOutcome:
    looks = max(1, len(check.attacks)) * count
    ends = [_attack_ends(a, looks, confidence) for a in check.attacks]
    low, high, method = _largest(ends, looks)
    where = f"{check.name}: the largest of {len(ends)} attacks lies in [{low:.3g}, {high:.3g}], limit {check.limit:g}"
    needed = ""
    above = tuple(a.name for a, e in zip(check.attacks, ends, strict=True) if e.usable and e.low > check.limit)
    outcome: Outcome
    if low > check.limit:
        outcome, reason = "fail", f"{where}: exceeded by {', '.join(above)}."
    elif ends and all(e.usable for e in ends) and high < check.limit:
        outcome, reason = "pass", f"{where}: all attacks are below.{_without_assumptions(check, confidence)}"
    else:
        outcome, needed = "inconclusive", _settling(check, ends, confidence)
        blind = sorted({e.method for e in ends if not e.usable})
        cause = "no attack could be measured" if not ends else ", ".join(blind) or "the interval contains the limit"
        reason = f"{where}: not settled ({cause})."
    return LimitOutcome(
        name=check.name,
        limit=check.limit,
        outcome=outcome,
        low=low,
        high=high,
        method=method,
        reason=reason,
        needed=needed,
        above=above,
    )


def _without_assumptions(check: LimitCheck, confidence: float) -> str:
    """What a pass owes to normality."""
    pairs = min(len(a.values) for a in check.attacks)
    bound = assumption_free_upper(max(1, pairs), confidence=confidence)
    return f" Assuming nothing about how pairs vary, {pairs} pairs alone could not show less than {bound:.3g}."


def _settling(check: LimitCheck, ends: Sequence[_Ends], confidence: float) -> str:
    """What would settle an open limit, in one phrase."""
    if not check.attacks:
        return f"{check.name}: an attack that can run on this plan"
    both = zip(check.attacks, ends, strict=True)
    open_ones, open_ends = zip(*[(a, e) for a, e in both if not e.usable or e.high >= check.limit], strict=True)
    if any(not a.resolvable for a in open_ones):
        return f"{check.name}: {check.needs or 'more non-members, or a larger FPR'}"
    if any(not e.usable for e in open_ends):
        return f"{check.name}: more records, and at least {LEAST_PAIRS} pairs of models"
    if any(not e.method.startswith("t over") for e in open_ends):
        return f"{check.name}: more records, because one target's exact interval decides"
    pairs = [pairs_to_settle(a, check.limit, confidence=confidence) for a in open_ones]
    known = [p for p in pairs if p is not None]
    if len(known) < len(pairs) or not known:
        return f"{check.name}: the value is so close to its limit that no number of models settles it"
    most = max(max(known), min(len(a.values) for a in open_ones) + 1)
    return f"{check.name}: about {2 * most} models ({most} pairs), if mean and spread stay as they are"


def _judge_exposed(check: ExposedLimit, count: int, confidence: float) -> LimitOutcome:
    """Fail on a Holm count, a lower bound on the truly exposed; pass on the names, if more could have been named."""
    n = len(check.p)
    tested = n > 0 and not bool(np.isnan(check.p).any())
    alpha = (1 - confidence) / (2 * count)
    surely = holm_rejections(check.p, alpha) if tested else 0
    hits, rate = nameable_rate(check.trials, max(n, 1))
    least = smallest_nameable(check.pairs, max(n, 1))
    could_name = tested and not math.isnan(rate) and least is not None and least <= max(1, n // 100)
    outcome: Outcome
    needed = ""
    if surely > check.limit:
        outcome = "fail"
        reason = f"max_exposed: at least {surely} of {n} records are exposed, limit {check.limit}."
    elif could_name and check.named <= check.limit:
        outcome = "pass"
        reason = (
            f"max_exposed: {check.named} of {n} records named, limit {check.limit}; a record that the attack finds in "
            f"{100 * rate:.0f} % of retrainings would have been named with 90 % chance if 1 % of the "
            f"records are exposed "
            f"({hits} hits of {check.trials})."
        )
    else:
        outcome = "inconclusive"
        cause = f"{check.named} are named but only {surely} are sure" if could_name else "too few models to name any"
        needed = f"max_exposed: {'more models' if could_name else 'at least 32 models in pairs, half of them targets'}"
        reason = f"max_exposed: limit {check.limit} not settled ({cause})."
    return LimitOutcome(
        name="max_exposed",
        limit=float(check.limit),
        outcome=outcome,
        low=float(surely),
        high=None,
        method=f"Holm at {alpha:g}",
        reason=reason,
        needed=needed,
    )
