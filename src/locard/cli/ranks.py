"""What the verb ``rank`` does, besides reading its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locard.check import Problems
from locard.cli.progress import TerminalProgress
from locard.ranking import RankResult, rank_settings
from locard.settings import Settings, read_settings


def from_config(configs: Sequence[Path], out: Path, sets: Sequence[str]) -> RankResult:
    """``locard rank CONFIG ... --out DIR``."""
    problems, files = Problems(), list[tuple[str, Settings, Path]]()
    for config in configs:
        own = Problems()
        with own.gather():
            files.append((config.stem, read_settings(config, sets, own), config.parent))
        for wrong in own.found:
            problems.add(f"{config.stem}: {wrong}" if len(configs) > 1 else wrong)
    with TerminalProgress() as watch:
        return rank_settings(files, out=out, watch=watch, problems=problems)
