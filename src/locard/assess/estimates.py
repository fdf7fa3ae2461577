"""From one attack's scores to its numbers: AUC, TPR at each FPR, balanced accuracy, ROC, histogram, epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from locard.assess.scoring import Audited, by_unit
from locard.attacks.protocol import Attack
from locard.result import AttackPart, Histogram, Number, RealisedFpr, ReferenceCount, Roc, TprAt
from locard.settings import MeasureSettings
from locard.stats import (
    TargetSummary,
    auc_one_target,
    conformal_threshold,
    epsilon_lower_bound,
    log_grid,
    one_target_box,
    pair_means,
    precision,
    resolution,
    summarise,
    t_over_pairs,
    tpr_estimate,
)
from locard.types import Estimate

BINS = 40  # of the score histogram
COIN_DESIGNS = ("pairs", "coin_flips")  # every membership of one row is an independent fair coin


@dataclass(frozen=True, eq=False)
class Scored:
    """One attack's scores on all targets, by unit, with each target's summary."""

    attack: Attack
    name: str
    label: str
    scores: Float64[np.ndarray, "targets records"]
    unit_scores: Float64[np.ndarray, "targets units"]
    summaries: tuple[TargetSummary, ...]

    @property
    def auc(self) -> Float64[np.ndarray, "targets"]:
        """Each target's AUC."""
        return np.array([s.auc for s in self.summaries])

    def tpr(self, place: int) -> Float64[np.ndarray, "targets"]:
        """Each target's TPR at the FPR in this place of the settings."""
        return np.array([s.tpr[place] for s in self.summaries])


def summarise_targets(
    attack: Attack, name: str, label: str, scores: np.ndarray, audited: Audited, fprs: Sequence[float]
) -> Scored:
    """All targets of one attack, each from one sort of its scores (by unit)."""
    unit_scores = by_unit(scores, audited.records)
    members = audited.unit_member
    grid = log_grid(int((~members).sum(axis=1).max()))
    summaries = tuple(
        summarise(
            unit_scores[row],
            members[row],
            fprs=fprs,
            grid=grid,
            rng=audited.seed.child("halves", int(t)).generator(),
        )
        for row, t in enumerate(audited.plan.targets)
    )
    return Scored(attack, name, label, scores, unit_scores, summaries)


def attack_part(
    scored: Scored, audited: Audited, settings: MeasureSettings, *, headline: bool, design_known: bool, source: str
) -> AttackPart:
    """One attack's node of ``result.json``."""
    attack, pair = scored.attack, audited.plan.pair
    inside, outside = audited.fewest
    factor, confidence = attack.variance_factor, settings.confidence
    return AttackPart(
        name=scored.name,
        label=scored.label,
        headline=headline,
        settings={k: v for k, v in vars(attack).items() if isinstance(v, bool | int | float | str) or v is None},
        access=attack.access.name,
        source=source,
        references=ReferenceCount(
            inside=inside if attack.needs.inside else 0, outside=outside if attack.needs.outside else 0
        ),
        variance_factor=factor,
        discrete=attack.discrete,
        auc=Number.of(auc_estimate(scored, audited, confidence)),
        tpr=[tpr_at(scored, audited, settings, place) for place in range(len(settings.fprs))],
        balanced_accuracy=Number.of(_balanced(scored, pair, factor, confidence)),
        epsilon=Number.of(_epsilon(scored, audited, confidence, design_known)),
        roc=_roc(scored, audited, confidence),
        histogram=_histogram(scored.unit_scores, audited.unit_member),
    )


def auc_estimate(scored: Scored, audited: Audited, confidence: float) -> Estimate:
    """AUC over pairs; one target's own interval where the pairs are too few or all equal."""
    pair, factor = audited.plan.pair, scored.attack.variance_factor
    estimate = t_over_pairs(pair_means(scored.auc, pair), factor=factor, confidence=confidence)
    if estimate.value is not None:
        return estimate
    return auc_one_target(scored.unit_scores[0], audited.unit_member[0], confidence=confidence)


def tpr_at(scored: Scored, audited: Audited, settings: MeasureSettings, place: int) -> TprAt:
    """TPR at one FPR: estimate, what the threshold really let through, how many non-members stand behind it."""
    fpr, members = settings.fprs[place], audited.unit_member
    non_members = int((~members).sum(axis=1).min())
    found = resolution(non_members, fpr, confidence=settings.confidence)
    claimed = np.array([s.claimed_members[place] for s in scored.summaries], dtype=np.int64)
    one_target = one_target_box(scored.unit_scores[0], members[0], fpr, confidence=settings.confidence)
    estimate = tpr_estimate(
        scored.tpr(place),
        claimed,
        audited.plan.pair,
        factor=scored.attack.variance_factor,
        one_target=one_target,
        confidence=settings.confidence,
    )
    if estimate.value is None:  # too few pairs for an interval over them: the first target speaks for itself
        estimate = one_target
    if estimate.value == 0.0 and scored.attack.discrete:
        estimate = replace(estimate, reason="its scores take few values, and none of them is rare enough")
    if found == "not resolvable":
        estimate = Estimate.undefined(
            f"not resolvable: {non_members} non-members of one target cannot show FPR {fpr:g}"
        )
    value = estimate.value
    return TprAt(
        fpr=fpr,
        estimate=Number.of(estimate),
        realised_fpr=_realised(scored, audited, place),
        non_members=non_members,
        true_positives=int(claimed.sum()),
        resolution=found,
        precision={
            f"{prior:g}": None if value is None or value + fpr == 0 else precision(value, fpr, prior)
            for prior in settings.priors
        },
    )


def _realised(scored: Scored, audited: Audited, place: int) -> RealisedFpr | None:
    """FPR on each target of the median threshold of the other pairs' targets."""
    pair, members = audited.plan.pair, audited.unit_member
    if len(np.unique(pair)) < 2:
        return None
    thresholds = np.array([s.thresholds[place] for s in scored.summaries])
    rates = np.empty(len(pair))
    for row in range(len(pair)):
        threshold = np.median(thresholds[pair != pair[row]])
        rates[row] = (scored.unit_scores[row][~members[row]] > threshold).mean()
    return RealisedFpr(median=float(np.median(rates)), worst=float(rates.max()))


def _balanced(scored: Scored, pair: np.ndarray, factor: float, confidence: float) -> Estimate:
    values = np.array([s.balanced_accuracy for s in scored.summaries])
    return t_over_pairs(pair_means(values, pair), factor=factor, confidence=confidence)


def _epsilon(scored: Scored, audited: Audited, confidence: float, design_known: bool) -> Estimate:
    """One run's bound, on the first target alone: its memberships are fair coins that no reference has seen."""
    if not design_known or audited.plan.design not in COIN_DESIGNS:
        return Estimate.undefined(
            "a lower bound on epsilon needs memberships drawn as independent fair coins (plans 'pairs', 'coin_flips')"
        )
    rng = audited.seed.child("epsilon").generator()
    return epsilon_lower_bound(scored.unit_scores[0], audited.unit_member[0], rng=rng, confidence=confidence)


def _roc(scored: Scored, audited: Audited, confidence: float) -> Roc:
    """Mean over targets of the exact ROC on a grid, with a pointwise t band over pairs."""
    from scipy.special import stdtrit

    curves = np.stack([s.grid_tpr for s in scored.summaries])
    pair = audited.plan.pair
    by_pair = np.stack([pair_means(curves[:, i], pair) for i in range(curves.shape[1])], axis=1)
    mean, pairs = by_pair.mean(axis=0), len(by_pair)
    half = np.full_like(mean, np.nan)
    if pairs > 1:
        scale = np.sqrt(scored.attack.variance_factor / pairs) * stdtrit(pairs - 1, (1 + confidence) / 2)
        half = by_pair.std(axis=0, ddof=1) * scale
    low, high = np.clip(mean - np.nan_to_num(half, nan=1.0), 0, 1), np.clip(mean + np.nan_to_num(half, nan=1.0), 0, 1)
    grid = log_grid(int((~audited.unit_member).sum(axis=1).max()))
    return Roc(fpr=grid.tolist(), tpr=mean.tolist(), low=low.tolist(), high=high.tolist())


def _histogram(scores: np.ndarray, member: np.ndarray) -> Histogram:
    """Shares in bins between the pooled 0.5 % and 99.5 % quantiles; the outer bins take the rest."""
    sample = scores.reshape(-1)[:: max(1, scores.size // 200_000)]  # enough to place the edges of a figure
    finite = sample[np.isfinite(sample)]
    low, high = np.quantile(finite, [0.005, 0.995]) if finite.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = []
    for side in (member, ~member):
        inside = np.clip(scores[side], low, high)  # the outer bins take the rest
        shares.append((np.histogram(inside, bins=BINS, range=(low, high))[0] / max(1, inside.size)).tolist())
    return Histogram(edges=edges.tolist(), members=shares[0], non_members=shares[1])


def headline_threshold(scores: np.ndarray, member: np.ndarray, fpr: float) -> float:
    """The conformal threshold of pooled non-member scores."""
    return conformal_threshold(scores[~member], fpr)
