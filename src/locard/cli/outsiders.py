"""What the verb ``attack`` does, besides reading its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locard.attack_result import AttackResult
from locard.check import Problems
from locard.cli.progress import TerminalProgress
from locard.outsider import attack_settings
from locard.settings import read_settings


def from_config(config: Path, out: Path, sets: Sequence[str]) -> AttackResult:
    """``locard attack CONFIG --out DIR``."""
    problems = Problems()
    settings = read_settings(config, sets, problems)
    with TerminalProgress() as watch:
        return attack_settings(settings, base=config.parent, out=out, watch=watch, problems=problems)
