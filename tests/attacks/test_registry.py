"""``attack``, the settings of attacks, and what is checked before any formula runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest

from locard.attacks import attack
from locard.attacks.fields import Limits, Positive, Share, check_fields, setting_problems
from locard.attacks.lira import LiRA
from locard.attacks.loss import Loss
from locard.attacks.protocol import Attack, Needs, checked
from locard.errors import DataError, NotEnoughReferences, SettingsError
from locard.types import Access


def test_unknown_names_name_the_nearest():
    with pytest.raises(SettingsError, match=r"unknown name 'lyra'\. Nearest: lira"):
        attack("lyra")
    with pytest.raises(SettingsError, match=r"unknown name 'zzz'\. There are: gap, loss, confidence"):
        attack("zzz")


def test_all_problems_are_told_at_once_with_what_is_allowed():
    with pytest.raises(SettingsError) as told:
        attack("lira", varience="pooled", variance="both", offline="no")
    assert told.value.problems == (
        "lira: unknown setting 'varience'. Nearest: variance.",
        "lira.variance: 'student' or 'record' or 'pooled' is needed, found 'both'.",
        "lira.offline: True or False is needed, found 'no'.",
    )
    with pytest.raises(SettingsError, match=r"gap: unknown setting 'offline'\. It takes none"):
        attack("gap", offline=True)


@dataclass(frozen=True, kw_only=True)
class Odd:
    mode: Literal["a", "b"] = "a"
    share: Share = 0.5
    width: Positive = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "c"},
        {"mode": None},
        {"share": -0.1},
        {"share": 1.1},
        {"share": float("nan")},
        {"share": True},
        {"share": "0.5"},
        {"width": 0},
        {"width": float("inf")},
        {"count": 1.0},
        {"count": True},
    ],
)
def test_values_that_are_not_allowed(wrong):
    with pytest.raises(SettingsError, match=f"Odd.{next(iter(wrong))}: .* is needed, found"):
        Odd(**wrong)
    assert len(setting_problems(Odd, "odd", wrong)) == 1


def test_values_that_are_allowed():
    assert Odd(mode="b", share=0, width=3, count=7) == Odd(mode="b", share=0.0, width=3.0, count=7)
    assert Limits(above=0.0, most=1.0).words == "above 0 and of at most 1"


def test_an_attack_is_looked_up_without_heavy_imports():
    code = "import sys, locard.attacks; print([m for m in ('pandas', 'scipy', 'sklearn', 'torch') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """An attack that answers ``answer``."""

    answer: str = "nan"
    access: ClassVar[Access] = Access.LABELS
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs()

    @checked
    def score(self, target, records, references, *, population=None, rng=None):
        return {"nan": np.full(len(records), np.nan), "short": np.zeros(3), "inf": np.full(len(records), np.inf)}[
            self.answer
        ]


def test_an_attack_that_answers_nonsense_is_stopped(world):
    w = world()
    assert isinstance(Wrong(), Attack)
    with pytest.raises(ArithmeticError, match=r"Wrong must give one number for each of 20 records, .* with 20 NaN"):
        w.score(Wrong())
    with pytest.raises(ArithmeticError, match=r"found shape \(3,\)"):
        w.score(Wrong(answer="short"))
    assert np.isposinf(w.score(Wrong(answer="inf"))).all()  # infinite scores have a place in an order


def test_the_message_about_references_has_four_facts(world):
    w = world(models=6, records=5, seed=10)
    member = w.member.copy()
    member[2:, :] = [[True] * 5, [True] * 5, [False] * 5, [False] * 5]
    member[3, 2] = False
    worst = w.records.ids[2]
    with pytest.raises(NotEnoughReferences) as told:
        type(w)(w.records, w.logits, member, w.population_logits, w.population_y).score(LiRA(variance="record"))
    assert str(told.value) == (
        f"LiRA needs 2 reference models trained with each record, but 1 of 5 records have fewer (record '{worst}' has "
        f"1). Train more references, or use a balanced plan."
    )


def test_references_may_be_left_out_where_none_are_needed(world):
    w = world()
    np.testing.assert_array_equal(Loss().score(w.target(), w.records, None), w.score(Loss()))
    with pytest.raises(NotEnoughReferences, match="LiRA needs 1 reference model trained with each record"):
        LiRA().score(w.target(), w.records, None)


def test_outputs_and_records_must_belong_together(world):
    w = world()
    with pytest.raises(DataError, match="labels differ"):
        Loss().score(w.target(), w.records.select(np.arange(20)[::-1]), w.references())


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(), "none"),
        (Needs(outside=2), "OUT"),
        (Needs(inside=1, outside=1), "IN and OUT"),
        (Needs(population=1), "none; population"),
    ],
)
def test_needs_in_words(needs, words):
    assert needs.words == words
    assert needs.missing(inside=2, outside=2, population=1) is None
    assert (needs.missing(inside=0, outside=0, population=0) is None) == (words == "none")
