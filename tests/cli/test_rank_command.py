"""``locard rank``: exit codes, messages, JSON, Markdown, and no traceback."""

from __future__ import annotations

import json

import pytest

FEW = {"references": {"models": 8}, "rank": {"targets": 4, "references": [2]}, "measure": {"fprs": [0.2]}}


def test_a_ranking_prints_a_table_and_writes_three_files(tiny, tmp_path, cli):
    out = tmp_path / "run"
    code, said, err = cli("rank", tiny(**FEW), "--out", out)
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[0] == "Ranking: tiny"
    assert lines[-1] == f"Report: {out / 'rank.html'}"
    assert any(line.split()[1:2] == ["lira"] for line in lines)
    assert all((out / name).is_file() for name in ("rank.json", "rank.html", "rank.parquet"))


def test_json_is_the_file_and_markdown_is_a_table(tiny, tmp_path, cli):
    out, path = tmp_path / "run", tiny(**FEW)
    code, said, _ = cli("rank", path, "--out", out, "--json")
    assert code == 0
    assert json.loads(said) == json.loads((out / "rank.json").read_text(encoding="utf-8"))
    code, said, _ = cli("rank", path, "--out", out, "--markdown")
    assert code == 0
    assert said.startswith("### tiny\n")
    assert "| # | Attack | Letters | TPR at 20 % FPR | AUC |" in said


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"rank": {"references": [0]}}, "rank.references: distinct numbers of at least 1 are needed, found [0]"),
        ({"rank": {"fpr": 0.1}}, "rank.fpr: no such key"),
        ({"attack": [{"name": "lyra"}]}, "attack: unknown name 'lyra'"),
        ({"data": {"source": "nowhere.npz"}}, "nowhere.npz"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_2(tiny, tmp_path, cli, sections, said):
    code, out, err = cli("rank", tiny(**sections), "--out", tmp_path / "run")
    assert code == 2
    assert said in err
    assert all(line.startswith("locard: ") for line in err.splitlines())
    assert out == ""
    assert not (tmp_path / "run").exists()


def test_a_file_given_twice_is_refused(tiny, tmp_path, cli):
    path = tiny(**FEW)
    code, _, err = cli("rank", path, path, "--out", tmp_path / "run")
    assert code == 2
    assert "settings files of different names are needed, found 'audit' more than once" in err


def test_no_settings_file_is_said(tmp_path, cli):
    code, _, err = cli("rank", tmp_path / "no.toml", "--out", tmp_path / "run")
    assert code == 2
    assert "no.toml does not exist" in err
