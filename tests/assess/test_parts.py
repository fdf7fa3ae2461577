"""The parts of an assessment: no result depends on who does them, or in which order."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest
from scipy.special import log_softmax

from locard.assess.assemble import assess
from locard.assess.choose import build_attacks, runnable
from locard.assess.parts import Assessor, Case, Task, in_threads, tasks_of
from locard.assess.released import Answers
from locard.attacks import attack_names, list_attacks, paper_of
from locard.observe.observations import ArrayReader, Observations
from locard.observe.signals import ScaledLogit
from locard.plan.designs import pairs
from locard.run.backend import LocalBackend
from locard.settings import make_settings

TREE = {
    "data": {"source": "made"},
    "attack": ["lira", "loss", "mentr", "attack_p"],
    "measure": {"fprs": [0.1]},
    "controls": {"redraws": 3, "records": 60},
    "policy": {"max_auc": 0.6},
}


@pytest.fixture
def case(world):
    """Audited observations with a floor and a population, and everything that may be asked of them."""
    made = world(models=16, records=200, population=60, leak=1.0)
    logits = np.stack([made.observations.logits(m) for m in range(16)])
    logs = ArrayReader(np.asarray(log_softmax(logits, axis=-1), dtype=np.float32))
    floored = Observations(logs, made.records.y, probability_floor=0.05)
    audited = replace(made, observations=floored)
    settings = make_settings(TREE)
    nothing = np.zeros(0, dtype=np.int64)
    return audited, Case(
        settings=settings,
        chosen=runnable(build_attacks(settings.attack), audited.plan, 60),
        estimator="made",
        saved_outputs=False,
        redraw=lambda seed: pairs(audited.records, np.arange(200), models=16, seed=seed),
        duplicates=None,
        released=(Answers("mine", logs.read(0), nothing, None, None), audited.plan.member[0]),
        recipe=None,
    )


def backwards(work, chunks):
    for chunk in list(chunks)[::-1]:
        yield work(chunk)


def anew(work, chunks):
    """Every task by somebody who has computed nothing yet."""
    for chunk in chunks:
        yield cloudpickle.loads(cloudpickle.dumps(work))(chunk)


@pytest.mark.parametrize(
    "run", [backwards, anew, in_threads(3), LocalBackend(2).map], ids=["backwards", "anew", "threads", "processes"]
)
def test_no_byte_depends_on_who_does_the_parts_or_in_which_order(case, run, tmp_path, bytes_of):
    told: list[tuple[str, int, int]] = []
    for name, way in (("one", LocalBackend(1).map), ("other", run)):
        assess(*case, way, lambda stage, done, total: told.append((stage, done, total))).save(tmp_path / name)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    count = len(tasks_of(case[1], case[0]))
    assert told[: count + 1] == [("scoring attacks", done, count) for done in range(count + 1)]


def test_the_tasks_are_what_the_settings_ask_for(case):
    audited, asked = case
    parts = [task.part for task in tasks_of(asked, audited)]
    assert len(set(tasks_of(asked, audited))) == len(parts)
    assert parts.count("attack") == 4
    assert {"exposure", "redrawn plan", "released", "blind baseline", "blind, released", "other floor"} < set(parts)
    few = replace(asked, settings=make_settings(TREE | {"controls": {"redraws": 0, "blind": False}}), released=None)
    plain = replace(audited, observations=Observations(audited.observations._reader, audited.records.y))
    left = [task.part for task in tasks_of(few, plain)]
    assert [p for p in left if p != "attack"] == ["exposure", "target", "data"]


def test_another_floor_is_no_part_where_no_probability_was_raised(case):
    audited, asked = case
    low = replace(audited, observations=audited.observations.at_floor(1e-30))
    assert Assessor(low, asked)(Task("other floor")) == (Task("other floor"), None)
    assert Assessor(audited, asked)(Task("other floor"))[1].floor == pytest.approx(1 / 6)


def test_what_was_computed_is_not_sent_along(case):
    audited, _ = case
    before = len(pickle.dumps(audited))
    kept = audited.observations.signal(ScaledLogit())
    assert audited.fewest == (7, 7)
    assert len(pickle.dumps(audited)) == before
    again = pickle.loads(pickle.dumps(audited))
    np.testing.assert_array_equal(again.observations.signal(ScaledLogit()), kept)
    assert again.observations.probability_floor == audited.observations.probability_floor


def test_every_attack_names_its_paper_as_the_table_does():
    assert [paper_of(name) for name in attack_names()] == list_attacks()["source"].tolist()
