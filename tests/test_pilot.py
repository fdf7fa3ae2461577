"""``locard plan --pilot`` and ``--from``: real pairs, the plan's own, and a forecast that programs can read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from locard.pilot import forecast, from_pilot, from_run
from locard.pipeline import audit_settings
from locard.prepare import prepare
from locard.run.training import Watch
from locard.settings import read_settings
from locard.stats import t_over_pairs


def test_a_pilot_of_all_pairs_is_the_audit(tiny, tmp_path):
    """The same models, scores and intervals: with as many pairs as the plan the forecast is what the audit finds."""
    config = tiny(references={"models": 8}, policy={"max_auc": 0.9, "max_tpr": {"0.5": 0.9}})
    settings = read_settings(config)
    result = audit_settings(settings, base=config.parent, out=tmp_path / "run").summary
    prepared = prepare(settings, config.parent)
    values = from_pilot(prepared, 4, Watch())
    again, factors, units = from_run(tmp_path / "run", settings)
    assert values.keys() == again.keys() == {(f, a) for f in (None, 0.1, 0.5) for a in ("lira", "loss")}
    for key in values:
        np.testing.assert_allclose(values[key], again[key], rtol=1e-12)
    for attack in result.attacks:
        found = t_over_pairs(values[None, attack.label], factor=attack.variance_factor)
        assert (found.value, found.low) == pytest.approx((attack.auc.value, attack.auc.low))
    assert units == result.data.units
    made = forecast(values, factors, settings, units=units, source="here", half_width=0.05, names=5)
    assert [(r.attack, r.limit) for r in made.rows if r.statistic == "AUC"] == [("lira", 0.9), ("loss", 0.9)]
    assert made == forecast(values, factors, settings, units=units, source="here", half_width=0.05, names=5)


def test_the_command_says_it_in_words_and_as_json(tiny, tmp_path, cli):
    config = tiny(references={"models": 40, "until": "settled", "burn_in": 4}, policy={"max_auc": 0.9})
    code, out, _ = cli("plan", config, "--pilot", "3", "--width", "0.02", "--names", "10")
    assert code == 0
    assert "Pilot      3 pairs, trained for this" in out
    assert "lira, AUC: about" in out
    assert "limit 0.9: settled with" in out
    assert "± 0.02 needs" in out
    assert "10 records can be named together from" in out
    code, out, _ = cli("plan", config, "--pilot", "3", "--json")
    tree = json.loads(out)
    assert tree["forecast"]["pilot_pairs"] == 3
    assert {r["attack"] for r in tree["forecast"]["rows"]} == {"lira", "loss"}
    assert "forecast" not in json.loads(cli("plan", config, "--json")[1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "0.1"], "--pilot 4"),
        (["--pilot", "2"], "from 3 pairs to those of the plan (4) are needed, found 2"),
        (["--pilot", "5"], "found 5"),
        (["--pilot", "3", "--from", "nowhere"], "found both"),
        (["--from", "nowhere"], "nowhere"),
        (["--pilot", "3", "--names", "0"], "names: from 1 to"),
        (["--pilot", "3", "--set", "references.plan='subsample'", "--set", "attack=['loss']"], "'subsample'"),
    ],
)
def test_what_cannot_be_answered_is_refused(tiny, cli, words, said):
    code, _, err = cli("plan", tiny(), *words)
    assert code == 2
    assert said in err
