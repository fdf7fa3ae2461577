"""On a target that leaks nothing every attack scores an AUC of one half, at 4, 8, 16 and 64 models (PEERS line 5).

Two worlds: nothing leaks at all; and only the references leak, where their outputs and counts could tell what the
target was trained on. One table of records is cut into blocks, and each block is one experiment: the target's coins
are independent of everything the attack sees, so block AUCs are independent with mean one half given the scores.

Judged at 4 standard errors over blocks: chance of failing if right 6e-5 a case, about 2 % over all of them, and the
seeds are fixed. Power: the standard error is .0029 for 40,000 records, .0011 and (64 models) .0005 in the long version.
The plain mean over all references of these balanced tables scores .586 / .538 / .516 / .504 at 4 / 8 / 16 / 64 models:
30, 13 and 5.5 standard errors here, 7 at 64 in the long version.

Planted in the code and seen to fail here: ``References.without`` that keeps the partner; ``thinned`` that keeps every
reference; RMIA with a plain mean over all references instead of equal IN and OUT weights. The last two tests keep two
such bugs for good.
"""

from __future__ import annotations

import numpy as np
import pytest

from locard.attacks import attack, attack_names
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import ReferencePool, References
from locard.observe.signals import LogProbability, Probability

ALL = [
    *(attack(n) for n in attack_names()),
    attack("mentr", thresholds="none"),
    attack("lira", variance="pooled"),
    attack("lira", variance="record"),
    attack("lira", offline=True),
    attack("lira", variance="record", offline=True),
    attack("rmia", offline=True),
    attack("rmia", pairwise=True),
    attack("base", offline=True),
    attack("attack_r", smoothing="gaussian"),
    attack("calibrated", attack="confidence", references="both"),
]
LEARNERS = [attack(n) for n in ("mentr", "risk_score", "lira", "rmia", "sablayrolles", "instance_vector")]
BLOCK = 200


def block_aucs(scores, truth, auc) -> list[float]:
    cuts = len(scores) // BLOCK
    return [auc(s, m) for s, m in zip(np.split(scores, cuts), np.split(truth, cuts), strict=True)]


def standard_errors_from_half(aucs: list[float]) -> float:
    assert len(aucs) >= 200
    if np.ptp(aucs) == 0:  # every record scores the same: nothing was learnt, and nothing is said
        return 0.0 if aucs[0] == 0.5 else np.inf
    return float((np.mean(aucs) - 0.5) / (np.std(aucs, ddof=1) / np.sqrt(len(aucs))))


def far_off(tables, models: int, auc) -> dict[str, float]:
    """The attacks whose mean AUC over all blocks of all tables is not one half."""
    side = models // 2 - 1
    chosen = [a for a in ALL if a.needs.missing(inside=side, outside=side, population=500) is None]
    assert len(chosen) >= (20 if models == 4 else 24)
    found: dict[str, list[float]] = {repr(a): [] for a in chosen}
    for w in tables:
        target, references, population = w.target(), w.references(), w.population()
        for a in chosen:
            found[repr(a)] += block_aucs(a.score(target, w.records, references, population=population), w.truth, auc)
    off = {name: standard_errors_from_half(aucs) for name, aucs in found.items()}
    return {name: se for name, se in off.items() if abs(se) > 4}


@pytest.mark.parametrize("leak", [0.0, 4.0], ids=["no leak", "references leak"])
@pytest.mark.parametrize("design", ["pairs", "balanced"])
@pytest.mark.parametrize("models", [4, 8, 16])
def test_a_null_target_scores_one_half(models, design, leak, world, auc):
    w = world(models=models, records=40_000, population=500, design=design, leak=leak, null=True, seed=models)
    assert far_off([w], models, auc) == {}


@pytest.mark.parametrize("design", ["pairs", "balanced"])
def test_a_null_target_scores_one_half_at_64_models(design, world, auc):
    w = world(models=64, records=40_000, classes=2, population=500, design=design, leak=4.0, null=True, seed=64)
    assert far_off([w], 64, auc) == {}


@pytest.mark.statistics
@pytest.mark.parametrize("leak", [0.0, 4.0], ids=["no leak", "references leak"])
@pytest.mark.parametrize("design", ["pairs", "balanced"])
@pytest.mark.parametrize("models", [4, 8, 16])
def test_a_null_target_scores_one_half_to_a_thousandth(models, design, leak, world, auc):
    """1,500 experiments."""
    w = world(models=models, records=300_000, population=500, design=design, leak=leak, null=True, seed=500 + models)
    assert far_off([w], models, auc) == {}


@pytest.mark.statistics
@pytest.mark.parametrize("design", ["pairs", "balanced"])
def test_a_null_target_scores_one_half_to_half_a_thousandth_at_64_models(design, world, auc):
    """6,000 experiments in four tables, to save memory."""
    settings = {"models": 64, "records": 300_000, "classes": 2, "population": 500, "leak": 4.0, "null": True}
    tables = (world(**settings, design=design, seed=564 + 1000 * table) for table in range(4))
    assert far_off(tables, 64, auc) == {}


@pytest.mark.parametrize(("design", "models"), [("pairs", 4), ("balanced", 4), ("balanced", 8)])
def test_small_tables_score_one_half_too(design, models, world, auc):
    """200 separate audits of 60 records: thresholds and priors fitted to few. One standard error is .0053."""
    found: dict[str, list[float]] = {repr(a): [] for a in LEARNERS}
    for seed in range(200):
        w = world(models=models, records=60, classes=4, design=design, leak=4.0, null=True, seed=1000 + seed)
        target, references = w.target(), w.references()
        for made in LEARNERS:
            found[repr(made)].append(auc(made.score(target, w.records, references), w.truth))
    off = {n: standard_errors_from_half(v) for n, v in found.items()}
    assert {n: se for n, se in off.items() if abs(se) > 4} == {}


@pytest.mark.parametrize("models", [4, 8, 16])
def test_the_trap_is_seen(models, world, auc):
    """The bug: a balanced table, the mean over *all* references. The number of IN references gives the answer away."""
    w = world(models=models, records=40_000, design="balanced", leak=4.0, null=True, seed=300 + models)
    others = _all_but_the_target(w, models)
    plain = sum(others.signal_of(Probability(), k) for k in others) / (models - 1)
    scores = (w.target().observe(LogProbability()) - np.log(plain)).mean(axis=-1)
    assert standard_errors_from_half(block_aucs(scores, w.truth, auc)) > 4


def test_keeping_the_partner_is_seen(world, auc):
    """The bug: a target's partner, whose mask is the answer turned round, among LiRA's references."""
    w = world(models=8, records=40_000, leak=4.0, null=True, seed=408)
    scores = attack("lira", variance="record").score(w.target(), w.records, _all_but_the_target(w, 8))
    assert abs(standard_errors_from_half(block_aucs(scores, w.truth, auc))) > 4


def _all_but_the_target(w, models: int) -> References:
    pool = ReferencePool(Observations(ArrayReader(w.logits), w.y), w.member)
    return References(pool, np.arange(models)).without([0])
