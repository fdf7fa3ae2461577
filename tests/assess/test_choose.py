"""Which attacks can run on a plan: known, and refused or listed, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from locard.assess.choose import (
    as_settings,
    build_attacks,
    fewest_references,
    label,
    registered_name,
    runnable,
    tree_given,
)
from locard.attacks import attack, attack_names
from locard.data.split import Split
from locard.errors import NotEnoughReferences, SettingsError
from locard.plan.draw import draw_plan
from locard.plan.given import from_mask
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import AttackSettings, ReferenceSettings


def plan_of(records, design: str, models: int, seed: int = 0) -> Plan:
    return draw_plan(
        ReferenceSettings(models=models, plan=design, size=15),
        records(60),
        Split(np.arange(40), np.arange(55, 60)),
        seed=Seed(seed),
        targets=4,
    )


@pytest.mark.parametrize("design", ["pairs", "coin_flips", "subsample", "out_only"])
@pytest.mark.parametrize("models", [4, 8, 12])
def test_fewest_references_is_what_a_loop_over_targets_and_records_finds(records, design, models):
    for seed in range(4):
        plan = plan_of(records, design, models, seed)
        inside, outside = [], []
        for target in plan.targets:
            rest = [m for m in plan.references if m not in plan.left_out(int(target))]
            for record in range(len(plan.audited)):
                held = sum(plan.member[m, record] for m in rest)
                free = len(rest) - held
                inside.append(min(held, free) if plan.thin else held)
                outside.append(min(held, free) if plan.thin else free)
        assert fewest_references(plan) == (min(inside), min(outside))


def test_pairs_leave_equal_numbers_inside_and_outside(records):
    assert fewest_references(plan_of(records, "pairs", 12)) == (5, 5)


def test_a_headline_that_cannot_run_is_refused_before_anything_is_trained(records):
    plan = plan_of(records, "out_only", 8)
    with pytest.raises(
        NotEnoughReferences, match=r"headline attack lira needs \d reference model.*found 0.*'out_only'"
    ):
        runnable([("lira", attack("lira")), ("loss", attack("loss"))], plan, 5)


def test_the_others_are_listed_with_the_reason(records):
    chosen = runnable(
        [("loss", attack("loss")), ("lira", attack("lira")), ("attack_p", attack("attack_p"))],
        plan_of(records, "out_only", 8),
        0,
    )
    assert chosen.headline == "loss"
    assert list(chosen.attacks) == ["loss"]
    assert [n.name for n in chosen.not_run] == ["lira", "attack_p"]
    assert "found 0 (plan 'out_only')" in chosen.not_run[0].reason
    assert "population" in chosen.not_run[1].reason


def test_a_mask_without_references_runs_only_what_needs_none():
    coins = np.random.default_rng(0).random(30) < 0.5
    chosen = runnable([("loss", attack("loss")), ("lira", attack("lira"))], from_mask(np.stack([coins, ~coins])), 0)
    assert [n.name for n in chosen.not_run] == ["lira"]


def test_all_problems_of_all_attacks_are_told_at_once():
    wanted = tuple(
        AttackSettings.model_validate(a)
        for a in (
            {"name": "lyra"},
            {"name": "lira", "varience": "pooled"},
            {"name": "lira", "variance": "huge"},
            {"name": "loss"},
            {"name": "loss"},
        )
    )
    with pytest.raises(SettingsError) as wrong:
        build_attacks(wanted)
    said = "\n".join(wrong.value.problems)
    assert "'lyra'" in said
    assert "lira" in said.splitlines()[0]
    assert "'varience'" in said
    assert "'huge'" in said
    assert "'loss' more than once" in said


def test_the_same_attack_with_other_settings_is_another_one():
    built = build_attacks([AttackSettings(name="lira"), AttackSettings(name="lira", offline=True)])
    assert [label(n, a) for n, a in built] == ["lira", "lira(offline=True)"]


@pytest.mark.parametrize("name", attack_names())
def test_objects_have_the_name_they_are_registered_under_and_say_their_settings(name):
    built = attack(name)
    assert registered_name(built) in (name, "calibrated")
    told = as_settings(built)
    assert attack(told.pop("name"), **told) == built


@dataclass(frozen=True, kw_only=True)
class Mine:
    power: float = 2.0


@pytest.mark.parametrize("thing", [3, None, object(), Mine(), type(attack("lira"))])
def test_what_is_no_attack_is_refused(thing):
    with pytest.raises(SettingsError, match=r"attack: a name or an attack object is needed, found"):
        build_attacks([thing])
    with pytest.raises(SettingsError, match="attack object is needed"):
        as_settings(thing)


def test_attacks_come_as_names_tables_or_objects():
    inside = attack("mentr", thresholds="none")
    given = ["loss", {"name": "lira", "offline": True}, attack("calibrated", attack=inside)]
    built = dict(build_attacks(given))
    assert list(built) == ["loss", "lira", "calibrated"]
    assert built["lira"] == attack("lira", offline=True)
    tree = tree_given("audit", 3, given, {"data": {"pool": 9}}, models=None)
    assert dict(build_attacks(tree["attack"])) == built, "what is written down builds the same attacks"
    assert tree["data"] == {"source": "records in memory", "pool": 9}
    assert tree["references"] == {}
