"""``locard audit examples/adult-mlp.toml``: 64 networks on Adult, the audit and its report included, under 30 s.

20,000 records are audited, each network is trained on about 10,000 of them for 20 epochs. Fresh processes, start of the
interpreter and imports included, data fetched before; the median of three.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from locard.data.source import load_source

SECONDS, ROUNDS = 30.0, 3
EXAMPLE = Path(__file__).parents[1] / "examples" / "adult-mlp.toml"


def audit() -> float:
    """Seconds of the command."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        start = time.perf_counter()
        command = [sys.executable, "-m", "locard", "audit", str(EXAMPLE), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        stages = json.loads((out / "run.json").read_text())["stage_seconds"]
    print(
        f"adult-mlp: {seconds:.1f} s: " + ", ".join(f"{name} {took:.1f}" for name, took in stages.items()), flush=True
    )
    return seconds


def main() -> int:
    load_source(source="adult", base_dir=Path())  # fetched once, and kept
    ratio = statistics.median(audit() for _ in range(ROUNDS)) / SECONDS
    print(f"adult-mlp: ratio {ratio:.2f}, asked 1.0")
    return int(ratio > 1)


if __name__ == "__main__":
    sys.exit(main())
