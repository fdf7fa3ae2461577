"""From scores to numbers: each by a slow sentence, and a reason wherever there is no number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from locard.assess.estimates import attack_part, auc_estimate, headline_threshold, summarise_targets, tpr_at
from locard.assess.exposure import expose
from locard.assess.policy import settle
from locard.assess.scoring import score_targets
from locard.attacks import attack
from locard.attacks.protocol import Needs
from locard.data.split import Split
from locard.plan.draw import draw_plan
from locard.seeds import Seed
from locard.settings import ExposureSettings, MeasureSettings, PolicySettings, ReferenceSettings
from locard.stats import auc, conformal_threshold
from locard.types import Access

LOSS = attack("loss")
MEASURE = MeasureSettings(fprs=(0.1, 0.01), priors=(0.5, 0.01))


def scored_on(audited, chosen=LOSS, fprs=MEASURE.fprs):
    return summarise_targets(chosen, "loss", "loss", score_targets(chosen, audited), audited, fprs)


def part_of(audited, *, known=True):
    return attack_part(scored_on(audited), audited, MEASURE, headline=True, design_known=known, source="s")


def test_every_number_of_a_target_is_what_its_own_scores_say(world):
    audited = world(models=8, records=400, leak=1.0)
    scored = scored_on(audited)
    for row, summary in enumerate(scored.summaries):
        scores, member = scored.scores[row], audited.member[row]
        assert summary.auc == pytest.approx(auc(scores, member))
        threshold = conformal_threshold(scores[~member], 0.1)
        assert summary.tpr[0] == pytest.approx((scores[member] > threshold).mean())
        assert summary.claimed_members[0] == (scores[member] > threshold).sum()
    part = part_of(audited)
    assert part.auc.value == pytest.approx(np.mean([s.auc for s in scored.summaries]))
    assert part.tpr[0].estimate.value == pytest.approx(np.mean([s.tpr[0] for s in scored.summaries]))
    assert part.tpr[0].true_positives == sum(s.claimed_members[0] for s in scored.summaries)
    assert part.tpr[0].non_members == (~audited.member).sum(axis=1).min()
    for number in (part.auc, part.tpr[0].estimate, part.balanced_accuracy):
        assert number.low < number.value < number.high


def test_the_realised_fpr_is_that_of_the_other_pairs_median_threshold(world):
    audited = world(models=8, records=400)
    scored = scored_on(audited)
    thresholds = [s.thresholds[0] for s in scored.summaries]
    rates = []
    for row in range(8):
        others = [thresholds[m] for m in range(8) if m // 2 != row // 2]
        outside = scored.scores[row][~audited.member[row]]
        rates.append(sum(s > np.median(others) for s in outside) / len(outside))
    said = part_of(audited).tpr[0].realised_fpr
    assert said.median == pytest.approx(np.median(rates))
    assert said.worst == pytest.approx(max(rates))


def test_intervals_are_over_pairs_not_over_models(world):
    """Two models of a pair count as one: eight models are four."""
    part = part_of(world(models=8, records=200, leak=1.0))
    assert part.auc.n == 4
    assert "4 pairs" in part.auc.method


@pytest.mark.parametrize(("records", "said"), [(60, "not resolvable"), (1500, "bounded only"), (2400, "resolved")])
def test_what_a_rate_can_resolve_goes_by_the_non_members_of_one_target(world, records, said):
    tpr = tpr_at(scored_on(audited := world(models=8, records=records)), audited, MEASURE, 1)
    assert tpr.resolution == said
    if said == "not resolvable":
        assert tpr.estimate.value is None
        assert "cannot show FPR 0.01" in tpr.estimate.reason
        assert set(tpr.precision.values()) == {None}


def test_too_few_pairs_fall_back_to_one_target_and_say_so(world):
    audited = world(models=4, records=400, leak=1.0)
    estimate = auc_estimate(scored_on(audited), audited, 0.95)
    assert "one target" in estimate.method
    assert estimate.low < estimate.value < estimate.high


@dataclass(frozen=True, kw_only=True)
class Constant:
    access: ClassVar[Access] = Access.LABELS
    discrete: ClassVar[bool] = True
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()
    value: float = 0.0

    def score(self, target, records, references, *, population=None, rng=None):
        return np.full(len(records), self.value)


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf])
def test_constant_scores_are_an_auc_of_one_half_and_no_crash(world, value):
    audited = world(models=8, records=100)
    scored = scored_on(audited, Constant(value=value))
    part = attack_part(scored, audited, MEASURE, headline=True, design_known=True, source="s")
    assert part.auc.value == 0.5
    assert part.auc.low < 0.5 < part.auc.high  # never an interval without width
    assert part.tpr[0].estimate.value in (0.0, None)
    assert sum(part.histogram.members) == pytest.approx(1)


def test_epsilon_is_claimed_only_for_coins_that_this_audit_drew(world, records):
    assert part_of(world(models=8, records=200, leak=3.0)).epsilon.value is not None
    assert part_of(world(models=8, records=200, leak=3.0), known=False).epsilon.value is None
    plan = draw_plan(
        ReferenceSettings(models=8, plan="subsample"), records(200), Split(np.arange(200), np.arange(0)), seed=Seed(0)
    )
    said = part_of(world(plan, leak=3.0)).epsilon
    assert "fair coins" in said.reason


def test_the_curve_and_the_histogram_are_what_they_are_called(world):
    part = part_of(world(models=8, records=300, leak=1.0))
    roc = part.roc
    assert np.all(np.diff(roc.fpr) > 0)
    assert np.all(np.diff(roc.tpr) >= 0)
    assert all(low <= tpr <= high for low, tpr, high in zip(roc.low, roc.tpr, roc.high, strict=True))
    assert len(part.histogram.edges) == len(part.histogram.members) + 1
    assert sum(part.histogram.members) == pytest.approx(1)
    assert sum(part.histogram.non_members) == pytest.approx(1)


def test_the_headline_threshold_lets_at_most_the_stated_share_of_non_members_through(world):
    rng = np.random.default_rng(0)
    scores, member = rng.normal(size=(6, 500)), rng.random((6, 500)) < 0.5
    threshold = headline_threshold(scores, member, 0.05)
    assert (scores[~member] > threshold).mean() <= 0.055


# -- the policy --------------------------------------------------------------------------------------------------------


def judged(audited, **limits):
    exposure = expose(LOSS, audited, ExposureSettings())
    return settle(PolicySettings(**limits), [scored_on(audited)], exposure, audited, MEASURE)[0]


def test_no_policy_judges_nothing(world):
    assert judged(world(models=8)).outcome == "none"


@pytest.mark.parametrize(
    ("leak", "limits", "outcome"),
    [
        (0.0, {"max_auc": 0.7}, "pass"),
        (3.0, {"max_auc": 0.7}, "fail"),
        (0.0, {"max_auc": 0.5}, "inconclusive"),
        (3.0, {"max_tpr": {"0.1": 0.05}}, "fail"),
        (0.0, {"max_tpr": {"0.1": 0.5}}, "pass"),
        (0.0, {"max_tpr": {"0.0001": 0.01}}, "inconclusive"),
        (3.0, {"max_tpr": {"0.0001": 0.01}}, "inconclusive"),
        (3.0, {"max_auc": 0.7, "max_tpr": {"0.0001": 0.01}}, "fail"),
        (0.0, {"max_auc": 0.7, "max_tpr": {"0.0001": 0.01}}, "inconclusive"),
    ],
)
def test_the_outcome_is_judged_on_the_interval_and_an_unresolved_rate_never_passes(world, leak, limits, outcome):
    part = judged(world(models=16, records=600, leak=leak), **limits)
    assert part.outcome == outcome
    assert part.reasons
    assert bool(part.needed) or outcome != "inconclusive"


def test_a_limit_on_names_is_inconclusive_where_the_design_could_name_nobody(world):
    part = judged(world(models=8, records=100, leak=6.0), max_exposed=0)
    assert part.outcome == "inconclusive"


def test_a_limit_on_names_fails_where_more_are_proven(world):
    audited = world(models=64, records=120, leak=6.0)
    assert judged(audited, max_exposed=5).outcome == "fail"


def test_the_maximum_over_attacks_is_paid_for(world):
    """A limit between one attack's own lower end and the paid one: alone it fails, among forty it is not settled."""
    audited = world(models=16, records=300, leak=0.7)
    scored = scored_on(audited)
    exposure = expose(LOSS, audited, ExposureSettings())
    alone = auc_estimate(scored, audited, 0.95).low
    limit = PolicySettings(max_auc=alone - 1e-4)
    one, _ = settle(limit, [scored], exposure, audited, MEASURE)
    many, _ = settle(limit, [replace(scored, label=f"a{i}") for i in range(40)], exposure, audited, MEASURE)
    assert (one.outcome, many.outcome) == ("fail", "inconclusive")
