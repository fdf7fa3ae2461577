"""Many networks in one program against one after another; both in one run, in turns, because machines' speeds drift.

The engine's side is what a run does: it chooses how, trains on two workers of one thread each, and stores. Starting
workers and importing are outside on both sides; choosing, which a run does once, is part of the engine's time. The
other sides are one process with one thread: the loop over a ``DataLoader`` that other auditors run, and a loop over
tensors as an expert writes it. ``float32`` throughout.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from locard.data.records import Records
from locard.plan.designs import pairs
from locard.plan.plan import Plan
from locard.run.backend import LocalBackend, staffed
from locard.run.chunks import Grouping
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.train.jobs import Training, plan_jobs
from locard.train.neural.recipe import TorchRecipe

ROUNDS, WORKERS = 3, 2
MATRIX = 1_024  # edge of the matrices whose product is the machine's peak


@dataclass(frozen=True, eq=False)
class Case:
    """One network, its data and what is asked of the engine."""

    name: str
    shape: tuple[int, ...]
    classes: int
    module: str
    params: dict[str, object]
    batch: int
    records: int  # a model is trained on
    epochs: int
    models: int
    timed: int  # models of the plain loops; their time is taken times models / timed
    macs: int = 0  # multiplications a record of the products: forward, weights' and inputs' gradients
    loader: bool = False

    @property
    def recipe(self) -> TorchRecipe:
        """As it is in both sides."""
        return TorchRecipe(
            module=self.module,
            params=self.params,
            learning_rate=0.05,
            batch_size=self.batch,
            epochs=self.epochs,
            preprocess="none",
        )

    @property
    def steps(self) -> int:
        """Of one model."""
        return self.epochs * -(-self.records // self.batch)


def mlp_macs(*widths: int) -> int:
    """Multiplications a record; the first layer's inputs need no gradient."""
    products = [a * b for a, b in pairwise(widths)]
    return 3 * sum(products) - products[0]


SMALL = Case(
    name="small-mlp",
    shape=(108,),
    classes=2,
    module="mlp",
    params={"hidden": [64, 64]},
    batch=100,
    records=5_000,
    epochs=5,
    models=512,
    timed=4,
    macs=mlp_macs(108, 64, 64, 2),
    loader=True,
)
LARGE = Case(
    name="large-mlp",
    shape=(600,),
    classes=100,
    module="mlp",
    params={"hidden": [256, 256]},
    batch=128,
    records=5_000,
    epochs=5,
    models=64,
    timed=4,
    macs=mlp_macs(600, 256, 256, 100),
)
CNN = Case(
    name="small-cnn",
    shape=(28, 28),  # of Fashion-MNIST
    classes=10,
    module="cnn",
    params={"channels": [16, 32], "kernel": 5, "dense": 128},
    batch=100,
    records=2_000,
    epochs=3,
    models=16,
    timed=2,
)


def data(case: Case) -> tuple[Records, Plan]:
    """Records with a signal, and which of them each model is trained on."""
    rng = np.random.default_rng(7)
    y = rng.integers(case.classes, size=2 * case.records)
    x = rng.normal(size=(len(y), *case.shape)).astype(np.float32)
    x += rng.normal(size=(case.classes, *case.shape)).astype(np.float32)[y]
    records = Records(ids=np.arange(len(y)), features=x, labels=y)
    return records, pairs(records, np.arange(len(y)), models=case.models, seed=Seed(7))


def engine(case: Case, records: Records, plan: Plan, backend: LocalBackend) -> tuple[float, str]:
    """Seconds from the first look at the network to the last file; and what was chosen."""
    few = np.arange(100)
    with tempfile.TemporaryDirectory() as path, RunFolder(path) as folder:
        jobs = plan_jobs(case.recipe, records, plan, few, Seed(7))
        work = Training(case.recipe, records, few, few[:0], folder.store)
        start = time.perf_counter()
        train_missing(work, jobs, folder, backend, Watch(), Grouping(workers=WORKERS))
        seconds = time.perf_counter() - start
        chosen = folder.timings["chunks"]
    return seconds, f"{chosen['size']} at a time; {chosen['reason']}"


def network(case: Case) -> nn.Module:
    """The same network for the plain loops."""
    return case.recipe.build(case.shape, case.classes)


def loader_loop(case: Case, x: torch.Tensor, y: torch.Tensor, index: np.ndarray) -> None:
    """What other auditors run for one model."""
    model = network(case)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.05), nn.CrossEntropyLoss()
    batches = DataLoader(Subset(TensorDataset(x, y), index.tolist()), batch_size=case.batch, shuffle=True)
    for _ in range(case.epochs):
        for xs, ys in batches:
            optimizer.zero_grad()
            loss(model(xs), ys).backward()
            optimizer.step()


def tuned_loop(case: Case, x: torch.Tensor, y: torch.Tensor, index: np.ndarray) -> None:
    """One model with as little around its arithmetic as torch's own parts allow."""
    model = network(case)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, foreach=True)
    own = torch.from_numpy(index)
    for _ in range(case.epochs):
        for rows in own[torch.randperm(len(own))].split(case.batch):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def a_model(
    loop: Callable[[Case, torch.Tensor, torch.Tensor, np.ndarray], None], case: Case, records: Records, plan: Plan
) -> float:
    """Seconds a model."""
    x, y = torch.tensor(records.features), torch.tensor(records.y)
    start = time.perf_counter()
    for index in plan.train_index[: case.timed]:
        loop(case, x, y, index)
    return (time.perf_counter() - start) / case.timed


def peak(_: int) -> float:
    """FLOP a second of one thread's matrix products, the median of a second's."""
    a = b = torch.ones(MATRIX, MATRIX)
    out, rates, end = torch.empty(MATRIX, MATRIX), [], time.perf_counter() + 1.0
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        rates.append(2 * MATRIX**3 / (time.perf_counter() - start))
    return statistics.median(rates)


def measure(case: Case, backend: LocalBackend) -> dict[str, float]:
    """Ratios of the loops' times to the engine's, medians of all rounds, and the share of the machine's peak."""
    records, plan = data(case)
    loops = {"hand-tuned loop": tuned_loop} | ({"loader loop": loader_loop} if case.loader else {})
    ratios: dict[str, list[float]] = {name: [] for name in [*loops, "peak", "limit"]}
    for _ in range(ROUNDS):
        both = sum(backend.map(peak, range(WORKERS)))
        took, chosen = engine(case, records, plan, backend)
        print(f"{case.name}: engine {took:.2f} s for {case.models} models ({chosen})", flush=True)
        for name, loop in loops.items():
            each = a_model(loop, case, records, plan)
            ratios[name].append(each * case.models / took)
            print(f"{case.name}: {name} {1e6 * each / case.steps:.0f} microseconds a step", flush=True)
        if case.macs:
            flop = 2 * case.macs * case.records * case.epochs * case.models
            ratios["peak"].append(flop / took / both)
            ratios["limit"].append(each * case.models / (flop / both))  # of the last loop, as if nothing else took time
            print(f"{case.name}: {flop / took / 1e9:.0f} of {both / 1e9:.0f} GFLOP/s on {WORKERS} cores", flush=True)
    return {name: statistics.median(found) for name, found in ratios.items() if found}


def main() -> int:
    torch.set_num_threads(1)
    with staffed(WORKERS, imports=["torch", "locard.train.neural.stack_training"]) as backend:
        warm = Case("start", (108,), 2, "mlp", {}, 100, 200, 1, 8, 4)
        records, plan = data(warm)
        engine(warm, records, plan, backend)
        a_model(tuned_loop, warm, records, plan)
        small, large, cnn = (measure(case, backend) for case in (SMALL, LARGE, CNN))
    print(f"vectorised: the small network's products alone, at this machine's peak: ratio {small['limit']:.0f} at most")
    promises = [
        ("small-mlp-loader", small["loader loop"], 60.0),
        ("small-mlp-tuned", small["hand-tuned loop"], 5.0),
        ("large-mlp-tuned", large["hand-tuned loop"], 1.7),
        ("large-mlp-peak", large["peak"], 0.5),
        ("small-cnn-tuned", cnn["hand-tuned loop"], 1.7),
    ]
    for name, ratio, asked in promises:
        print(f"{name}: ratio {ratio:.2f}, asked {asked:g}")
    return int(any(ratio < asked for _, ratio, asked in promises))


if __name__ == "__main__":
    sys.exit(main())
