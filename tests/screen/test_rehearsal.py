"""The audit in small: what a rule is counted by, and that it finds the part that tells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from locard.screen import rehearsal, screen
from locard.screen.combined import mixtures
from locard.screen.evidence import Evidence
from locard.screen.rehearsal import rehearse


def phi_of(seen):
    """``float64[models, records]``: the scaled logit, as the definition says."""
    out = np.empty((len(seen.references), len(seen.records)))
    for k in seen.references:
        z = seen.references.logits_of(k)[:, 0].astype(np.float64)
        for i, y in enumerate(seen.records.y):
            out[k, i] = z[i, y] - np.log(np.exp(np.delete(z[i], y)).sum())
    return out


def slow_recall(phi, member, paired, chooses, plays, player, part, count, level):
    """One player, one rule, one share, in loops: the part alone chooses (highest first)."""
    gone = {player, player ^ 1} if paired else {player}
    others = [m for m in plays if m not in gone]
    squares, free = 0.0, 0
    for i in range(phi.shape[1]):
        out = [phi[m, i] for m in others if not member[m, i]]
        squares += sum((v - np.mean(out)) ** 2 for v in out)
        free += max(len(out) - 1, 0)
    scores = {}
    for i in sorted(range(phi.shape[1]), key=lambda i: -part[i])[:count]:
        out = np.array([phi[m, i] for m in others if not member[m, i]])
        if len(out):
            freedom = len(out) - 1 + 2.0
            variance = (((out - out.mean()) ** 2).sum() + 2.0 * squares / free) / freedom * (1 + 1 / len(out))
            scores[i] = student.sf((phi[player, i] - out.mean()) / np.sqrt(variance), freedom)
    outside = [s for i, s in scores.items() if not member[player, i]]
    inside = [s for i, s in scores.items() if member[player, i]]
    hits = sum(sum(o <= s for o in outside) <= level * len(outside) for s in inside)
    return hits / len(inside)


@pytest.mark.parametrize("paired", [True, False])
def test_it_is_the_audit_in_small_as_a_loop(evidence, paired, monkeypatch):
    """Half of the references choose by mean loss, the others play in turn and test one another, partners left out."""
    monkeypatch.setattr(rehearsal, "AT_LEAST", 30)
    monkeypatch.setattr(rehearsal, "LEVEL", 0.1)
    e = evidence(records=60, models=12, leak=2.0, grid=False) if paired else evidence(pool=60, models=13, grid=False)
    seen = e.reference_records
    phi, member = phi_of(seen), seen.references.member
    shown = []

    def parts(some):
        loss = -np.log(1 / (1 + np.exp(-phi[some.references.models])))
        outside = ~some.references.member
        shown.append(set(some.references.models.tolist()))
        with np.errstate(invalid="ignore"):
            return ((loss * outside).sum(axis=0) / outside.sum(axis=0))[:, None]

    found = rehearse(seen, np.arange(60), parts, np.ones((1, 1)))
    halves = [{m for m in range(len(phi)) if (m // (2 if paired else 1)) % 2 == side} for side in (1, 0)]
    assert shown == halves
    slow = []
    for chooses, plays in (halves, halves[::-1]):
        outside = ~member[sorted(chooses)]
        loss = -np.log(1 / (1 + np.exp(-phi[sorted(chooses)])))
        known = outside.any(axis=0)
        with np.errstate(invalid="ignore"):
            part = np.where(known, (loss * outside).sum(axis=0) / outside.sum(axis=0), -np.inf)
        count = min(30, int(known.sum()))
        slow += [slow_recall(phi, member, paired, chooses, sorted(plays), p, part, count, 0.1) for p in sorted(plays)]
    np.testing.assert_allclose(found.recall[0, :, 0], slow)
    assert 0 < np.mean(slow) < 1


def planted(observed, which, *, seed=0, models=24, pool=2000):
    """Every part is drawn by itself; being held moves the answer by 5 standard deviations for the tenth of the records
    where part ``which`` (0 loss, 1 spread, 2 isolation) is largest, and not at all for the others."""
    rng = np.random.default_rng(seed)
    part = rng.random((pool, 3))
    centre = 1.0 - 2.0 * part[:, 0]  # mean loss
    width = 0.2 + 0.6 * part[:, 1]
    held = rng.random((models, pool)) < 0.4
    phi = centre + width * rng.normal(size=(models, pool)) + 5 * width * held * (part[:, which] > 0.9)
    # two more classes that hardly matter say how near a record is to others
    far = rng.normal(size=(models, pool, 2)) * (0.02 + 3.0 * (part[:, 2] > 0.9))[:, None] - 12
    z = np.concatenate([phi[..., None], np.zeros((models, pool, 1)), far], axis=-1).astype(np.float32)
    few = z[:, :5].copy()
    strangers = observed(few, np.zeros(5, dtype=np.int64), np.zeros((models, 5), dtype=bool))
    others = observed(z, np.zeros(pool, dtype=np.int64), held, name="p")
    return Evidence(candidates=strangers, pool=others, training_size=pool / 3)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_was_planted_is_learnt(observed, which):
    """The part that tells who is exposed gets the largest weight. Rules without it find one in ten of the exposed;
    claims of the right one are ten times as many, so that none of 24 players is in doubt."""
    weights = screen("combined").value(planted(observed, which)).settled["weights"]
    assert int(np.argmax(list(weights.values()))) == which
    assert max(weights.values()) >= 0.5


def test_a_model_that_plays_or_tests_does_not_choose(evidence, monkeypatch):
    """Nor does its partner: answers of the other half alone are read for choosing."""
    e = evidence(records=80, models=12)
    read = []
    made = rehearsal._tested

    def watched(references, playing, player):
        read.append((set(playing.tolist()), player))
        return made(references, playing, player)

    monkeypatch.setattr(rehearsal, "_tested", watched)
    chose = []
    rules = mixtures(1)
    rehearse(
        e.candidates,
        np.arange(80),
        lambda some: chose.append(set(some.references.models.tolist())) or np.ones((80, 1)),
        rules,
    )
    assert len(read) == 12
    for playing, player in read:
        apart = next(c for c in chose if player not in c)
        assert not playing & apart
        assert (player ^ 1) in playing
