"""``locard screen``: exit codes, messages, JSON, and no traceback."""

from __future__ import annotations

import json

import pandas as pd
import pytest


def test_a_screening_prints_a_short_table_and_writes_two_files(tiny, tmp_path, cli):
    out = tmp_path / "run"
    code, said, err = cli("screen", tiny(screen={"name": "reference_loss", "select": {"top": 3}}), "--out", out)
    assert code == 0
    assert err == ""
    lines = said.splitlines()
    assert "3 of" in lines[0]
    assert lines[2].split() == ["rank", "id", "label", "value", "why"]
    frame = pd.read_parquet(out / "screen.parquet")
    assert {line.split()[1] for line in lines[3:6]} == set(frame[frame["selected"]]["id"])
    assert lines[-1].startswith("The target was not asked. Test with the other")


def test_json_is_the_file(tiny, tmp_path, cli):
    out = tmp_path / "run"
    code, said, _ = cli("screen", tiny(screen={"select": {"top": 2}}), "--out", out, "--json")
    assert code == 0
    assert json.loads(said) == json.loads((out / "screen.json").read_text(encoding="utf-8"))
    assert set(json.loads(said)) == {
        "schema_version", "screen", "select", "settled", "candidates", "reference_records", "training_size", "models",
        "selected", "records",
    }  # fmt: skip


def test_any_setting_can_be_set(tiny, tmp_path, cli):
    sets = ("--set", "screen.name=neighbours", "--set", "screen.delta=0.3", "--set", "screen.select={top = 4}")
    _, said, _ = cli("screen", tiny(), "--out", tmp_path / "run", "--json", *sets)
    tree = json.loads(said)
    assert (tree["settled"]["delta"], tree["settled"]["chosen"], tree["selected"]) == (0.3, "beta by rule", 4)


@pytest.mark.parametrize(
    ("screen", "said"),
    [
        ({"name": "neighbors"}, "screen: unknown name 'neighbors'. Nearest: neighbours."),
        ({"name": "random", "delta": 1}, "It takes none."),
        ({"name": "neighbours", "delta": "far"}, "screen neighbours.delta: a number above 0"),
        ({"select": {"top": 0}}, "screen.select.top: a number of at least 1 is needed, found 0."),
        ({"select": {"top": 3, "above": 1.0}}, "screen.select: one of top, fraction and above is needed"),
        ({"select": {"best": 3}}, "screen.select.best: no such key"),
        ({"references": 1.0}, "screen.references: a number below 1 is needed"),
        ({"name": "loss_trace"}, "screen loss_trace: losses from the training loop"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_2(tiny, tmp_path, cli, screen, said):
    code, out, err = cli("screen", tiny(screen=screen), "--out", tmp_path / "run")
    assert code == 2
    assert said in err
    assert err.startswith("locard: ")
    assert out == ""
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_the_folder_is_needed(tiny, cli):
    code, _, err = cli("screen", tiny())
    assert code == 2
    assert "--out" in err
