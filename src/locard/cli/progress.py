"""Progress with time left on a terminal; silence everywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from locard.run.training import Watch

SHOW_AFTER = 2.0  # seconds


class TerminalProgress:
    """Shows a bar with time left for anything longer than two seconds, on stderr, only where that is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._on = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> Watch:
        return Watch(progress=self.progress, warn=self.warn)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def warn(self, message: str) -> None:
        """A message that must be seen, terminal or not."""
        print(f"warning: {message}", file=sys.stderr)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Told by the pipeline: ``done`` of ``total`` in this stage."""
        if not self._on:
            return
        begun = self._begun.setdefault(stage, time.monotonic())
        if stage not in self._tasks:
            if time.monotonic() - begun < SHOW_AFTER or done >= total:
                return
            self._tasks[stage] = self._open().add_task(stage, total=total)
        self._bar.update(self._tasks[stage], completed=done, total=total)

    def _open(self) -> Any:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
        return self._bar
