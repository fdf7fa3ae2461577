"""The verdict's first sentence is about the attack and the limit that decided."""

from __future__ import annotations

import re

import numpy as np
import pytest

from locard.assess.selftest import world
from locard.pipeline import audit_saved
from locard.result import AuditResult
from locard.seeds import Seed
from locard.stats import holm


@pytest.fixture(scope="module")
def judged():
    """``judged(attacks, **policy)``: 32 models whose records all leak, of which gap sees little and lira much."""
    made = world(Seed(5), models=32, shift=1.5, strong=1.5)
    logits = np.stack([made.observations.logits(m) for m in range(32)])

    def run(attacks: list[str], **policy: object) -> AuditResult:
        return audit_saved(
            member=made.plan.member,
            labels=made.records.y,
            logits=logits,
            settings={"attack": attacks, "policy": policy, "measure": {"fprs": [0.1]}, "compute": {"workers": 1}},
        )

    return run


def test_it_names_the_attack_that_exceeds_the_limit_with_its_own_number(judged):
    """Planted: always quoting the headline says an AUC of about one half and "Policy exceeded"."""
    result = judged(["gap", "lira"], max_auc=0.7)
    gap, lira = result.summary.attacks
    assert (gap.auc.value, lira.auc.value) == (pytest.approx(0.55, abs=0.05), pytest.approx(0.85, abs=0.05))
    said = f"Policy exceeded: the attack lira has AUC {lira.auc.value:.3f} [{lira.auc.low:.3f}, {lira.auc.high:.3f}], "
    assert result.summary.verdict.startswith(said + "where 0.7 is allowed, and ")


def test_it_quotes_the_rate_that_is_limited_even_where_it_is_not_among_those_measured(judged):
    result = judged(["gap", "lira"], max_tpr={"0.2": 0.3, "0.1": 0.99})
    at = re.match(
        r"Policy exceeded: at a false-positive rate of 20 % the attack lira finds ([\d.]+) %", result.summary.verdict
    )
    assert at is not None, result.summary.verdict
    (at_less,) = result.summary.attacks[1].tpr
    assert 100 * at_less.estimate.value < float(at[1]) < 100
    assert ", where 30 % is allowed (AUC 0." in result.summary.verdict


def test_a_measured_rate_is_quoted_as_the_tables_have_it(judged):
    result = judged(["gap", "lira"], max_tpr={"0.1": 0.2})
    rate = result.summary.attacks[1].tpr[0].estimate
    low, value, high = (f"{100 * x:.1f} %" for x in (rate.low, rate.value, rate.high))
    assert f"the attack lira finds {value} [{low}, {high}] of the training members" in result.summary.verdict


def test_the_headline_is_named_first_where_it_exceeds_a_limit_too(judged):
    result = judged(["lira", "rmia"], max_auc=0.6, max_tpr={"0.1": 0.1})
    assert "the attack lira finds" in result.summary.verdict
    assert "rmia" in " ".join(result.summary.policy.reasons)


@pytest.mark.parametrize(
    ("policy", "opening"), [({}, "At a false-"), ({"max_auc": 0.99}, "Within policy: at a false-")]
)
def test_without_an_excess_it_is_about_the_headline(judged, policy, opening):
    verdict = judged(["gap", "lira"], **policy).summary.verdict
    assert verdict.startswith(opening)
    assert "the attack gap finds" in verdict
    assert "is allowed" not in verdict


def test_adjusted_p_values_pay_for_every_comparison_of_the_table(judged):
    """Planted: Holm over the attacks of one statistic at a time, while the report says that the whole table is paid."""
    made = judged(["lira", "loss", "gap", "entropy"]).summary.comparisons
    assert len(made) == 3 * 2
    expected = holm(np.array([1.0 if c.p is None else c.p for c in made]))
    for c, paid in zip(made, expected, strict=True):
        assert c.p_adjusted == (None if c.p is None else pytest.approx(paid, rel=1e-9, abs=0))
    smallest = min(c.p for c in made if c.p is not None)
    assert min(expected) == pytest.approx(6 * smallest, rel=1e-9, abs=0)
