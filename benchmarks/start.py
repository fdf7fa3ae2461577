"""``import locard`` in under half a second, ``locard demo`` in under a minute; fresh processes, median of three."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

IMPORT_SECONDS, DEMO_SECONDS = 0.5, 60.0


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    empty = statistics.median(seconds([sys.executable, "-c", "pass"]) for _ in range(3))
    whole = statistics.median(seconds([sys.executable, "-c", "import locard"]) for _ in range(3))
    print(f"start: import locard {whole - empty:.3f} s more than an empty interpreter ({empty:.3f} s)")
    with tempfile.TemporaryDirectory() as folder:
        demo = seconds([sys.executable, "-m", "locard", "demo", "--out", f"{folder}/run"])
    print(f"start: locard demo {demo:.1f} s")
    print(f"import: ratio {whole / IMPORT_SECONDS:.3f}, asked 1.0")
    print(f"demo: ratio {demo / DEMO_SECONDS:.3f}, asked 1.0")
    return int(whole > IMPORT_SECONDS or demo > DEMO_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
