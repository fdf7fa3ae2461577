"""How much memory this process and its workers may still take."""

from __future__ import annotations

from pathlib import Path


def available_bytes() -> int:
    """Bytes that can still be used: what the system says, or what is left of the control group's limit if less.

    >>> available_bytes() > 0
    True
    """
    found = [_meminfo(), _left_of_group()]
    return max(1, min([f for f in found if f is not None], default=4 * 2**30))


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def _left_of_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
        return None if limit == "max" else int(limit) - used
    except (OSError, ValueError):
        return None
