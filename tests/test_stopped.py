"""A training stopped in time ends with a valid audit of whole pairs, and goes on from there."""

from __future__ import annotations

import numpy as np
import pytest

from locard.errors import RunStopped
from locard.pipeline import audit_settings
from locard.plan.designs import pairs
from locard.prepare import prepare
from locard.seeds import Seed
from locard.settings import read_settings
from locard.stopped import only_finished


def run(config, out):
    return audit_settings(read_settings(config), base=config.parent, out=out)


def test_only_pairs_of_which_both_are_finished_are_in_the_part(records):
    plan = pairs(records(30), np.arange(30), models=8, seed=Seed(0))
    assert plan.whole_pairs([0, 1, 2, 4, 5, 7]) == [0, 1, 4, 5]
    part = plan.part([0, 1, 4, 5])
    assert part.partner.tolist() == [1, 0, 3, 2]
    assert (part.member == plan.member[[0, 1, 4, 5]]).all()
    assert plan.part([4]).partner.tolist() == [-1]


def test_the_part_is_what_an_audit_of_these_models_would_be(tiny):
    """Every number is that of a plan which never held the others; the controls redraw as many models."""
    config = tiny(references={"models": 12})
    prepared = prepare(read_settings(config), config.parent)
    part, models = only_finished(prepared, range(9))
    assert models == list(range(8))
    assert len(part.plan) == len(part.redraw(Seed(3))) == 8
    assert part.plan.pairs == 4
    assert "8 of 12 models" in part.caveats[-1]
    assert list(part.chosen.attacks) == list(prepared.chosen.attacks)


def test_too_few_models_are_no_audit_but_are_kept(tiny):
    config = tiny(references={"models": 12})
    prepared = prepare(read_settings(config), config.parent)
    with pytest.raises(RunStopped, match=r"only 7 of 12 models were trained.*what is finished is kept"):
        only_finished(prepared, range(7))


def test_time_over_then_more_time_gives_the_bytes_of_an_uninterrupted_run(tiny, tmp_path, bytes_of, monkeypatch):
    """Planted: a result that keeps the full plan after a stop has 12 models in it, and fails here."""
    import locard.run.training as training

    config = tiny(references={"models": 12})
    run(config, tmp_path / "whole")
    moments = iter([False] * 8 + [True] * 10)
    monkeypatch.setattr(training.Clock, "over", property(lambda self: next(moments)))
    cut = run(tiny(references={"models": 12}, compute={"workers": 1, "stop_after": "1h"}), tmp_path / "cut")
    assert cut.summary.target.models == 8
    assert any("8 of 12 models are in this result" in line for line in cut.summary.unresolved)
    monkeypatch.undo()
    run(tiny(references={"models": 12}), tmp_path / "cut")
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
