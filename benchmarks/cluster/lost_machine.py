"""An audit on a Ray cluster of two machines, one of them killed half way, must end as it does on this machine alone.

    python benchmarks/cluster/lost_machine.py [EXAMPLE ...] [--set KEY=VALUE ...] [--keep DIR]

Both machines are this one, as far as the hardware goes; to Ray each has an address, a CPU, processes and memory of its
own. Each example (default: those of ``GROUPED``) is audited with ``backend = "local"`` first. The same command then
runs on the cluster, and when half of the models are stored the second machine is killed with everything on it. The
audit must exit with 0, and its result files must have the bytes of the local run. How networks are grouped is fixed,
because grouping is measured otherwise, and a model's last digits may depend on its companions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locard.settings import read_settings

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUPED = {"fashion-cnn.toml": ["compute.exact=true"], "adult-mlp.toml": ["compute.chunk=8"]}
RESULT = ("result.json", "records.parquet", "scores.safetensors")
MACHINES = ("127.0.0.2", "127.0.0.3")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# a machine that is gone is missed within two seconds, not thirty; on a busy machine it may take long to start, and
# workers are as nice as this process, so that other programs do not starve them; no telemetry
RAY = {
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True)
class Killed:
    """When the machine was killed: seconds after the start of the audit, and models stored by then."""

    seconds: float
    stored: int


def audit(config: Path, out: Path, sets: list[str]) -> subprocess.Popen[bytes]:
    """``locard audit``, started."""
    words = [sys.executable, "-m", "locard", "audit", str(config), "--out", str(out)]
    words += [word for pair in sets for word in ("--set", pair)]
    return subprocess.Popen(words, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL)


@contextmanager
def two_machines() -> Iterator[Any]:
    """A Ray cluster of two machines with a CPU each; ``second`` is the one without the head."""
    os.environ.update(RAY)  # some of it is read when Ray is imported
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "node_ip_address": MACHINES[0], "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.second = cluster.add_node(num_cpus=1, node_ip_address=MACHINES[1])
        yield cluster
    finally:
        cluster.shutdown()


def audit_and_kill(config: Path, out: Path, sets: list[str], models: int) -> tuple[int, Killed | None]:
    """The audit's exit code on the cluster, and when the second machine was killed; None where that was too late."""
    with two_machines() as cluster:
        begun = time.monotonic()
        run = audit(config, out, [*sets, "compute.backend=ray", f"compute.address={cluster.address}"])
        killed = None
        try:
            while killed is None and run.poll() is None:
                stored = len(list((out / "observations").glob("*.safetensors")))
                if stored >= models:
                    break
                if 2 * stored >= models:
                    cluster.remove_node(cluster.second, allow_graceful=False)
                    killed = Killed(time.monotonic() - begun, stored)
                time.sleep(0.05)
            return run.wait(), killed
        finally:
            run.kill()  # nothing where it has ended


def holds(config: Path, sets: list[str], folder: Path) -> bool:
    """Whether the promise holds for this example; everything that was seen is printed."""
    models = read_settings(config, sets).references.models
    begun = time.monotonic()
    code = audit(config, folder / "local", sets).wait()
    print(f"{config.name} {' '.join(sets)}: {models} models")
    print(f"  local: exit code {code} after {time.monotonic() - begun:.0f} s", flush=True)
    if code:
        return False
    begun = time.monotonic()
    code, killed = audit_and_kill(config, folder / "ray", sets, models)
    if killed is None:
        print(f"  ray:   exit code {code}, ended or had all models before a machine could be killed: nothing is shown")
        return False
    print(f"  ray:   {MACHINES[1]} killed after {killed.seconds:.0f} s, with {killed.stored} of {models} models stored")
    print(f"  ray:   exit code {code} after {time.monotonic() - begun:.0f} s")
    if code:
        return False
    same = True
    for name in RESULT:
        one, other = ((folder / run / name).read_bytes() for run in ("local", "ray"))
        same &= one == other
        digest = hashlib.sha256(other).hexdigest()[:12]
        print(f"  {name}: {'equal' if one == other else 'DIFFERENT'}, {len(other):,} bytes, sha256 {digest}")
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("examples", nargs="*", type=Path, default=[EXAMPLES / name for name in GROUPED])
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; without it they are removed")
    given = parser.parse_args()
    good = []
    with tempfile.TemporaryDirectory(prefix="locard-") as made:
        for config in given.examples:
            sets = [*GROUPED.get(config.name, []), *given.sets]
            good.append(holds(config, sets, (given.keep or Path(made)) / config.stem))
    print(f"{sum(good)} of {len(good)} end as on this machine alone")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
