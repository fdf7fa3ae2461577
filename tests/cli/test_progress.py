"""Progress: on a terminal, for what takes longer than two seconds; silence everywhere else."""

from __future__ import annotations

import io
import sys

import pytest

import locard.cli.progress as module
from locard.cli.progress import TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def run(clock, steps: list[tuple[float, int]], total: int = 10) -> str:
    with TerminalProgress() as watch:
        for seconds, done in steps:
            clock[0] = seconds
            watch.progress("training models", done, total)
    return sys.stderr.getvalue()


def test_nothing_is_shown_for_what_is_quick(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(clock, [(0.0, 0), (1.0, 5), (1.9, 10)]) == ""


def test_a_bar_is_shown_for_what_takes_longer_than_two_seconds(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    said = run(clock, [(0.0, 0), (2.5, 3), (3.0, 4), (9.0, 10)])
    assert "training models" in said
    assert "10/10" in said


def test_where_it_is_no_terminal_it_is_silent_but_for_warnings(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert run(clock, [(0.0, 0), (5.0, 3)]) == ""
    with TerminalProgress() as watch:
        watch.warn("a file was damaged")
    assert sys.stderr.getvalue() == "warning: a file was damaged\n"


def test_quiet_is_quiet_on_a_terminal_too(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with TerminalProgress(quiet=True) as watch:
        watch.progress("s", 0, 9)
        clock[0] = 5.0
        watch.progress("s", 1, 9)
    assert sys.stderr.getvalue() == ""
