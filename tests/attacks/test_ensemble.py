import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from locard.attacks import attack
from locard.attacks.ensemble import Ensemble
from locard.attacks.lira import LiRA
from locard.errors import SettingsError


def normal(scores):
    return ndtri((rankdata(scores) - 0.5) / len(scores))


def test_union_majority_and_intersection_are_the_largest_the_middle_and_the_smallest(world):
    w = world(models=10, records=50, queries=2, seed=1)
    names = ("lira", "mentr", "gap")
    each = np.stack([normal(w.score(attack(n))) for n in names])
    for how, join in (("union", np.max), ("majority", np.median), ("intersection", np.min)):
        np.testing.assert_allclose(w.score(attack("ensemble", attacks=names, how=how)), join(each, axis=0), rtol=1e-12)


def test_the_learned_combination_takes_the_attack_that_works(world, auc):
    """One attack sees the leak, the other reads noise: weights learnt on references put the first one through."""
    w = world(models=16, records=3000, leak=2.0, seed=2)
    alone = auc(w.score(attack("lira")), w.truth)
    blind = attack("entropy")
    learned = auc(w.score(Ensemble(attacks=("lira", blind))), w.truth)
    plain = auc(normal(w.score(attack("lira"))) + normal(w.score(blind)), w.truth)
    assert learned > alone - 0.005
    assert learned > plain + 0.01


def test_a_reference_that_plays_the_target_is_attacked_without_its_complement(world, monkeypatch):
    """The complement's mask is the answer upside down: planted once, ``_without`` that keeps it, fails here."""
    w = world(models=10, records=30, seed=3)
    seen = []
    real = LiRA.score

    def spy(self, target, records, references, **more):
        seen.append(references.member)
        return real(self, target, records, references, **more)

    monkeypatch.setattr(LiRA, "score", spy)
    Ensemble(attacks=("lira", "gap"), play=4).score(w.target(), w.records, w.references())
    played = seen[1:]
    assert len(played) == 4
    assert all(len(m) == 6 for m in played)
    assert all((m.sum(axis=0) == 3).all() for m in played)


def test_settings_of_the_attacks_inside_come_as_tables():
    made = attack("ensemble", attacks=["gap", {"name": "lira", "offline": True}])
    assert made.attacks == ("gap", LiRA(offline=True))
    assert made.needs.outside == 2 + 0


@pytest.mark.parametrize(
    "attacks", [["lira"], ["lira", "lira"], ["lira", "ml_leaks_2"], ["lira", "ensemble"], ["lira", 3], ["lira", "lyra"]]
)
def test_committees_that_make_no_sense_are_refused(attacks):
    with pytest.raises(SettingsError):
        attack("ensemble", attacks=attacks)
