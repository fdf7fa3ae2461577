"""What the verb ``screen`` does, besides reading its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from locard.cli.progress import TerminalProgress
from locard.screening import screen_settings
from locard.settings import read_settings


def from_config(config: Path, out: Path, sets: Sequence[str]) -> dict[str, Any]:
    """``locard screen CONFIG --out DIR``: the tree of ``screen.json``."""
    settings = read_settings(config, sets)
    with TerminalProgress() as watch:
        return screen_settings(settings, base=config.parent, out=out, watch=watch)
