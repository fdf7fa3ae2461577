"""What only Ray has: a cluster that is started and ended, joined and left, whose machines come and go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locard.errors import MissingExtra, RemoteUnavailable, RunStopped, SettingsError
from locard.run import ray_backend
from locard.run.backend import LocalBackend
from locard.run.choose_backend import choose_backend
from locard.run.memory import available_bytes
from locard.run.ray_backend import RayBackend, places_of_cluster
from locard.settings import ComputeSettings
from locard.train.jobs import Training, plan_jobs
from locard.train.object_store import ObjectStore
from locard.train.recipe import SklearnRecipe
from locard.train.store import Store

with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'locard[ray]'")

SLOW = """
import time
from sklearn.tree import DecisionTreeClassifier

class Slow(DecisionTreeClassifier):
    def fit(self, x, y):
        time.sleep(0.2)
        return super().fit(x, y)
"""


MINE = """
from sklearn.tree import DecisionTreeClassifier

def make():
    return DecisionTreeClassifier(max_depth=2)
"""


def wait_until(ready: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


def of_ray(processes: Callable[[], list[dict[str, Any]]]) -> set[int]:
    """Every process of any Ray here, but for its two agents: killed, they go on for a minute to report it."""
    found = {p["pid"]: p["command"] for p in processes()}
    return {
        n for n, c in found.items() if ("ray::" in c or "packages/ray/" in c) and "Agent" not in c and "agent" not in c
    }


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "observations").glob("*.safetensors"))


# -- without a cluster -------------------------------------------------------------------------------------------------


def test_without_ray_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'locard\[ray\]'"):
        choose_backend(ComputeSettings(backend="ray"))


@with_ray
def test_settings_choose_the_backend():
    assert choose_backend(ComputeSettings(workers=3)) == LocalBackend(3)
    assert choose_backend(ComputeSettings(backend="ray", workers=3)) == RayBackend(3)
    joined = ComputeSettings(backend="ray", workers=3, address="10.0.0.1:6379")
    assert choose_backend(joined) == RayBackend(3, "10.0.0.1:6379")


@with_ray
def test_an_address_where_nothing_answers_is_said_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=rf"compute\.address: .* at 127\.0\.0\.1:{port}, but .*refused"):
        list(RayBackend(2, f"127.0.0.1:{port}").map(abs, [1]))
    assert time.monotonic() - start < ray_backend.ANSWER


# -- a Ray of its own --------------------------------------------------------------------------------------------------


@with_ray
def test_a_ray_of_its_own_ends_with_the_results_and_all_is_as_before(processes, capfd):
    import ray

    def around() -> tuple[Any, ...]:
        return signal.getsignal(signal.SIGTERM), sys.stdout, set(Path("/tmp").glob("locard-ray-*")), dict(os.environ)

    before = around()
    running = of_ray(processes)
    results = RayBackend(1).map(abs, [-1, -2, -3])
    assert next(results) in (1, 2, 3)
    assert len(of_ray(processes)) > len(running)
    results.close()
    assert of_ray(processes) == running
    assert not ray.is_initialized()
    after = around()
    assert after[:3] == before[:3]
    assert not after[3].items() ^ before[3].items()
    assert capfd.readouterr() == ("", "")


KILLED = """
import os, sys, time
from pathlib import Path
from locard.run.ray_backend import RayBackend

def work(chunk):
    Path(os.environ["PIDS"], str(os.getpid())).touch()
    time.sleep(120)

for _ in RayBackend(1).map(work, [1, 2]):
    pass
"""


@with_ray
def test_no_process_is_left_when_the_run_is_killed(tmp_path, environment, processes):
    script, pids = tmp_path / "killed.py", tmp_path / "pids"
    script.write_text(KILLED)
    pids.mkdir()
    running = of_ray(processes)
    parent = subprocess.Popen([sys.executable, str(script)], env=environment | {"PIDS": str(pids)})
    try:
        wait_until(lambda: list(pids.iterdir()), seconds=90)
        assert of_ray(processes) - running
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not of_ray(processes) - running, seconds=30)


@with_ray
@pytest.mark.statistics  # in the long suite: on a busy machine it once ended with exit code 1 instead of 130
def test_ctrl_c_keeps_what_is_finished_and_any_backend_resumes_to_the_same_bytes(
    tiny, npz, tmp_path, environment, processes, cli, bytes_of
):
    npz.with_name("slow_tree.py").write_text(SLOW)
    config, folder = tiny(target={"estimator": "slow_tree.Slow"}), tmp_path / "cut"
    running = of_ray(processes)
    words = ["audit", str(config), "--out", str(folder), "--set", "compute.backend=ray", "--set", "compute.workers=2"]
    audit = subprocess.Popen(
        [sys.executable, "-c", "from locard.cli.main import run; run()", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: stored(folder), seconds=90)
        os.killpg(audit.pid, signal.SIGINT)  # as a terminal does: the whole group hears it
        out, err = audit.communicate(timeout=30)
    finally:
        audit.kill()
    assert audit.returncode == 130
    assert out == ""
    assert f"Resume with: locard audit {config}" in err
    assert "Traceback" not in err
    assert 0 < len(stored(folder)) < 8
    wait_until(lambda: not of_ray(processes) - running, seconds=10)
    assert cli("audit", config, "--out", folder)[0] == 0
    assert cli("audit", config, "--out", tmp_path / "whole")[0] == 0
    assert bytes_of(folder) == bytes_of(tmp_path / "whole")


# -- a cluster of two machines -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines, as far as Ray can tell: each has an address of its own, one CPU, its own processes and memory."""
    from ray.cluster_utils import Cluster

    quick = {"RAY_health_check_initial_delay_ms": "500", "RAY_health_check_period_ms": "500"}
    before = dict(os.environ)
    os.environ.update(quick | {"RAY_health_check_failure_threshold": "3", "RAY_USAGE_STATS_ENABLED": "0"})
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False}
    )
    try:
        made.second = made.add_node(num_cpus=1, node_ip_address="127.0.0.3")
        yield made
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


def machines(chunk: int) -> str:
    import ray

    time.sleep(0.3)
    return str(ray.util.get_node_ip_address())


@with_ray
def test_a_cluster_is_joined_used_as_a_whole_and_left_as_it_was(cluster, processes):
    import ray

    before = of_ray(processes)
    for _ in range(2):
        used = list(RayBackend(99, cluster.address).map(machines, range(8)))
        assert set(used) == {"127.0.0.2", "127.0.0.3"}
        assert not ray.is_initialized()
    assert before <= of_ray(processes)


@with_ray
def test_memory_and_processors_are_those_of_the_machines_that_train(cluster):
    """Planted: this machine's memory shared among all workers of the cluster."""
    import ray

    cpus, memory = places_of_cluster(99, cluster.address)
    assert not ray.is_initialized()
    assert cpus == 2  # of two machines, one each: what a machine has is for one worker
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        assert memory == min(int(node["Resources"]["memory"]) for node in ray.nodes() if node["Alive"])
        assert places_of_cluster(99, None) == (cpus, memory)
    finally:
        ray.shutdown()
    alone, share = places_of_cluster(4, None)  # a Ray that is still to be started here
    assert alone == 4
    assert share == pytest.approx(available_bytes() / 4, rel=0.3)


@with_ray
def test_a_process_that_is_connected_uses_that_cluster_and_stays_connected(cluster):
    import ray

    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        assert list(RayBackend(2).map(abs, [-1])) == [1]
        with pytest.raises(SettingsError, match=r"connected to the Ray cluster at .* already, found 10\.0\.0\.1:6379"):
            list(RayBackend(2, "10.0.0.1:6379").map(abs, [-1]))
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def training(records, recipe, store) -> tuple[Training, list[Any]]:
    from locard.plan.designs import pairs
    from locard.seeds import Seed

    r = records(40)
    plan = pairs(r, np.arange(30), models=4, seed=Seed(0))
    made = plan_jobs(recipe, r, plan, np.arange(30, 40), Seed(0))
    return Training(recipe, r, np.arange(30), np.arange(30, 40), store), made


@with_ray
def test_a_machine_that_cannot_work_for_this_run_is_found_by_its_first_job(cluster, records, tmp_path, monkeypatch):
    """It does not see the store, it has other versions, or other code behind the same name."""
    import ray

    (tmp_path / "mine.py").write_text(MINE)
    recipe = SklearnRecipe(estimator="mine:make", folder=str(tmp_path))
    work, jobs = training(records, recipe, Store(tmp_path / "observations"))
    elsewhere = Training(
        recipe, work.records, work.audited, work.population, Store(tmp_path, ObjectStore("memory://x"))
    )
    backend = RayBackend(2)
    with ray.init(cluster.address, log_to_driver=False, logging_level="ERROR"):
        with pytest.raises(SettingsError, match=r"compute\.store: a place that every machine sees .* memory://x\. Set"):
            list(backend.map(elsewhere, jobs))
        with monkeypatch.context() as patch:
            patch.setattr("locard.run.probe.everything_versioned", lambda: "locard 99")
            with pytest.raises(
                SettingsError, match=r"the same versions .* was started, \(locard 99\)\. Install the same"
            ):
                list(backend.map(work, jobs))
        with monkeypatch.context() as patch:
            patch.setattr(SklearnRecipe, "fingerprint", "of other code")
            with pytest.raises(SettingsError, match=r"the same training code is needed .* recipe make\(\)"):
                list(backend.map(work, jobs))
            (tmp_path / "mine.py").unlink()
            with pytest.raises(SettingsError, match=r"^On .*: target\.estimator: .*No module named 'mine'"):
                list(backend.map(work, jobs))
    assert not list((tmp_path / "observations").iterdir())  # nothing was trained, and no mark was left


@with_ray
def test_a_cluster_that_never_gets_a_cpu_is_given_up(cluster, monkeypatch):
    import ray

    monkeypatch.setattr(ray_backend, "PATIENCE", 0.5)
    monkeypatch.setattr(ray_backend, "ENDING", 0.1)
    with ray.init(cluster.address, log_to_driver=False, logging_level="ERROR"):
        monkeypatch.setattr(ray, "cluster_resources", dict)
        monkeypatch.setattr(ray, "wait", lambda tasks, **_: time.sleep(0.4) or ([], tasks))
        with pytest.raises(RunStopped, match=r"has had none for 0 minutes.*run the same command"):
            list(RayBackend(2).map(abs, [-1]))


@with_ray
def test_a_machine_that_dies_half_way_changes_no_byte(cluster, tiny, npz, tmp_path, cli, bytes_of):
    """``locard audit`` on both machines; the second is killed, with everything on it, when some models are done."""
    npz.with_name("slow_tree.py").write_text(SLOW)
    config = tiny(target={"estimator": "slow_tree.Slow"})
    assert cli("audit", config, "--out", tmp_path / "local")[0] == 0
    killed: list[int] = []

    def kill() -> None:
        wait_until(lambda: len(stored(tmp_path / "ray")) >= 2, seconds=90)
        killed.append(len(stored(tmp_path / "ray")))
        cluster.remove_node(cluster.second, allow_graceful=False)

    watcher = threading.Thread(target=kill)
    watcher.start()
    sets = ["--set", "compute.backend=ray", "--set", f"compute.address={cluster.address}"]
    code, out, err = cli("audit", config, "--out", tmp_path / "ray", *sets)
    watcher.join()
    assert code == 0, err
    assert killed[0] < 8
    assert "raylet" not in out + err
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")
    models = [[(p.name, p.read_bytes()) for p in stored(tmp_path / run)] for run in ("ray", "local")]
    assert models[0] == models[1]
