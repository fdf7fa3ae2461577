from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks import attack
from locard.attacks.calibrated import Calibrated, sablayrolles
from locard.attacks.confidence import Confidence
from locard.attacks.mentr import Mentr
from locard.attacks.protocol import Needs, checked, over_queries
from locard.errors import SettingsError
from locard.observe.signals import Margin
from locard.types import Access


def test_watson_equals_the_loop(shape, world, slow):
    w = world(**shape)
    s = slow(w)
    expected = s.scores(
        lambda r, q: float(np.log(s.own(0, r, q)) - np.mean([np.log(s.own(k, r, q)) for k in s.sides(r)[1]]))
    )
    np.testing.assert_allclose(w.score(Calibrated()), expected, rtol=1e-8, atol=1e-10)


def test_sablayrolles_equals_the_loop(world, slow):
    """- loss + (mean IN loss + mean OUT loss) / 2, whatever their numbers."""
    w = world(queries=2, models=12, design="balanced")
    s, references = slow(w), w.references()
    sides = [
        [[k + 1 for k in range(11) if m[k, r]] for r in range(20)] for m in (references.inside, references.outside)
    ]

    def formula(r: int, q: int) -> float:
        inside, outside = (np.mean([-np.log(s.own(k, r, q)) for k in side[r]]) for side in sides)
        return float(np.log(s.own(0, r, q)) + 0.5 * (inside + outside))

    found = attack("sablayrolles").score(w.target(), w.records, references)
    np.testing.assert_allclose(found, s.scores(formula), rtol=1e-8, atol=1e-10)


def test_sablayrolles_is_a_name_for_both():
    assert attack("sablayrolles") == sablayrolles() == Calibrated(attack="loss", references="both")
    with pytest.raises(SettingsError, match="unknown setting 'references'"):
        attack("sablayrolles", references="out")


@dataclass(frozen=True, kw_only=True)
class OwnMargin:
    """A user's attack. Source: nobody."""

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()

    @checked
    def score(self, target, records, references, *, population=None, rng=None):
        return over_queries(target.observe(Margin()))


@pytest.mark.parametrize("inner", [OwnMargin(), Mentr(thresholds="none"), Confidence()])
def test_any_attack_without_references_can_be_inside(inner, world):
    w = world(queries=2)
    made = Calibrated(attack=inner)
    own = [inner.score(w.references().as_target(k), w.records, w.references()) for k in range(6)]
    out = ~w.member[2:]
    expected = w.score(inner) - np.where(out, own, 0).sum(axis=0) / out.sum(axis=0)
    np.testing.assert_allclose(w.score(made), expected, rtol=1e-9, atol=1e-12)
    assert made.access is inner.access


@pytest.mark.parametrize("inner", ["lira", "mentr", "attack_p", "calibrated"])
def test_others_are_refused_with_the_list(inner):
    with pytest.raises(SettingsError, match=r"'confidence', 'entropy', 'gap', 'loss', 'ml_leaks_3', or an object"):
        Calibrated(attack=inner)


@pytest.mark.parametrize("references", ["out", "both"])
def test_a_known_shift_is_found_as_much_as_theory_says(references, shifted, auc, bound):
    """OUT: variance 1 + 1/K. Both: variance 1 + 1/(2K), since IN and OUT means weigh a half each; K = 15."""
    w = shifted(1.2, models=32, records=20_001, spread=4.0)
    made = Calibrated(attack="confidence", references=references)
    k = 15 if references == "out" else 30
    theory = norm.cdf(1.2 / np.sqrt(2 * (1 + 1 / k)))
    assert auc(w.score(made)[1:], w.truth[1:]) == pytest.approx(theory, abs=bound(20_000))


def test_difficulty_is_what_it_takes_away(shifted, auc):
    w = shifted(1.2, models=32, records=5_001, spread=4.0)
    assert auc(w.score(Confidence()), w.truth) < 0.62
    assert auc(w.score(Calibrated()), w.truth) > 0.7


def test_the_attack_inside_may_come_as_a_table_as_settings_files_have_it():
    made = attack("calibrated", attack={"name": "mentr", "thresholds": "none"})
    assert made == attack("calibrated", attack=attack("mentr", thresholds="none"))
    for wrong in ({"name": "mentr"}, {"name": "nobody"}, {}, 3):
        with pytest.raises(SettingsError):
            attack("calibrated", attack=wrong)
