"""GMIA's indirect attack, measured: targets in pairs over one pool, references from another, no record asked about.

    python examples/gmia/indirect.py --data adult
    python examples/gmia/indirect.py --data wisconsin
    python examples/gmia/indirect.py --data mnist-5k --records 5 --pairs 10 --references 60 --queries 1000

Records are picked by the references that choose queries; the target is not asked for that. Beside the indirect attack
stands the direct one, with the same test references. With --paper queries are uniform, clustered before they are
selected, and compared with the references as they were.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from locard import Records, References
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.data.public import load
from locard.data.shared_rows import rows_in_both
from locard.observe.asking import AskableTarget
from locard.observe.signals import ScaledLogit
from locard.screen import screen
from locard.screen.evidence import Evidence, Observed
from locard.seeds import Seed
from locard.stats import p_calibrated, p_rank
from locard.stats.ratios import ratio_over_pairs
from locard.train.asked import Run
from locard.train.neural.networks import ReferenceNetworks
from locard.train.neural.recipe import TorchRecipe


@dataclass(frozen=True)
class Protocol:
    """How many records there are, and how a model is trained."""

    recipe: TorchRecipe
    pool: int
    size: int


def protocol(name: str, epochs: int | None) -> Protocol:
    """The paper's networks and sizes; lengths of training are ours."""
    if name == "adult":
        return Protocol(
            TorchRecipe(
                module="mlp",
                params={"hidden": [10, 5], "activation": "tanh"},
                optimizer="adam",
                learning_rate=0.01,
                batch_size=100,
                epochs=epochs or 5,
            ),
            pool=20_000,
            size=10_000,
        )
    if name == "mnist-5k":
        return Protocol(
            TorchRecipe(
                module="cnn",
                params={"channels": [16, 32], "kernel": 5, "dense": 128, "dropout": 0.5},
                optimizer="adam",
                learning_rate=0.001,
                batch_size=50,
                epochs=epochs or 20,
            ),
            pool=2000,
            size=1000,
        )
    return Protocol(TorchRecipe(module="logistic", learning_rate=0.1, batch_size=10, epochs=epochs or 300), 200, 100)


def models_of(records: Records, setup: Protocol, references: int, pairs: int, seed: Seed) -> dict[str, Any]:
    """Both pools, references from one of them, and complementary pairs of targets over the other."""
    order = seed.child("pools").generator().permutation(len(records))
    ours, theirs = records.select(order[: setup.pool]), records.select(order[setup.pool :])

    def run(name: str, i: int, index: np.ndarray) -> Run:
        return Run(index, seed.child(name, i).integer())

    draws = [
        seed.child("draw", i).generator().choice(len(theirs), setup.size, replace=False) for i in range(references)
    ]
    halves = [seed.child("half", i).generator().permutation(setup.pool) for i in range(pairs)]
    sides = [np.sort(side) for half in halves for side in (half[: setup.size], half[setup.size :])]
    member = np.zeros((2 * pairs, setup.pool), dtype=bool)
    for model, side in enumerate(sides):
        member[model, side] = True
    start = time.perf_counter()
    networks = ReferenceNetworks.trained(setup.recipe, theirs, [run("reference", i, d) for i, d in enumerate(draws)])
    targets = ReferenceNetworks.trained(setup.recipe, ours, [run("target", i, s) for i, s in enumerate(sides)])
    return {
        "records": ours,
        "pool": theirs,
        "networks": networks,
        "targets": targets,
        "member": member,
        "seconds": time.perf_counter() - start,
    }


def picked(world: dict[str, Any], setup: Protocol, choosing: np.ndarray, name: str, count: int) -> np.ndarray:
    """Places of the records that a screen of the choosing references selects, among those of nobody in the pool."""
    records, pool, networks = world["records"], world["pool"], world["networks"].of(choosing)

    def seen(some: Records, inside: np.ndarray) -> Observed:
        said = networks.logits(some.features).astype(np.float32)
        return Observed(some, References.from_arrays(logits=said, member=inside, labels=some.y))

    inside = np.zeros((len(choosing), len(pool)), dtype=bool)
    for model, run in enumerate(networks.runs):
        inside[model, run.index] = True
    own, theirs = (r.ids if r.unit is None else r.unit for r in (records, pool))
    strangers = np.setdiff1d(np.flatnonzero(~np.isin(own, theirs)), rows_in_both(records, pool)[:, 0])
    evidence = Evidence(
        candidates=seen(records.select(strangers), np.zeros((len(choosing), len(strangers)), dtype=bool)),
        pool=seen(pool, inside),
        training_size=setup.size,
    )
    value = screen(name).value(evidence, rng=np.random.default_rng(0)).value
    return strangers[np.argsort(-value, kind="stable")[:count]]


def attacked(world: dict[str, Any], method: GMIAIndirect, chosen: np.ndarray, seed: Seed) -> dict[str, Any]:
    """p-values ``float64[targets, records]`` of both attacks, and what each record took."""
    records, networks, targets = world["records"], world["networks"], world["targets"]
    testing = np.setdiff1d(np.arange(len(networks)), method.choosing(len(networks)))
    shape = (len(targets), len(chosen))
    p = {name: np.ones(shape) for name in ("direct", "rank", "tail", "kost", "score")}
    rows = []
    for place, r in enumerate(chosen):
        record = records.select([r])
        start = time.perf_counter()
        made = method.prepare(record, networks, rng=seed.child("queries", int(r)).generator())
        for model in range(len(targets)):
            one = targets.of(np.array([model]))
            target = AskableTarget(lambda x, one=one: one.logits(x)[0], classes=targets.classes, answers="logits")
            said = made.ask(target)
            if target.log.holds(record.features[0]) or target.queries != len(made):
                raise SystemExit(f"record {r} was asked about")
            p["rank"][model, place], p["tail"][model, place] = said.p_rank, said.p_tail
            p["kost"][model, place], p["score"][model, place] = said.p_kost, said.score
        rows.append(
            {
                "record": int(r),
                "queries": len(made),
                "optimised": made.optimised,
                "influence": float(made.influence.mean()) if len(made) else None,
                "distance": float(made.distance.min()) if len(made) else None,
                "nearest": made.nearest,
                "seconds": time.perf_counter() - start,
            }
        )
        label = np.full(len(targets) + len(testing), made.label)
        both = np.concatenate([targets.logits(record.features), networks.of(testing).logits(record.features)])
        signal = ScaledLogit()(both, label)[:, 0]
        p["direct"][:, place] = [p_rank(s[None], signal[len(targets) :, None])[0] for s in signal[: len(targets)]]
    member = world["member"][:, chosen]
    p["calibrated"] = np.stack([p_calibrated(s, [], ~m) for s, m in zip(p.pop("score"), member, strict=True)])
    return {"p": p, "member": member, "rows": rows}


def table(found: dict[str, Any], cut: float) -> list[dict[str, Any]]:
    """Precision, recall and realised FPR at a cut-off, over all records, by pair."""
    member, pair = found["member"], np.arange(len(found["member"])) // 2
    out = []
    for name, p in found["p"].items():
        hit = p < cut if cut < 0.1 else p <= cut
        true, false = (hit & member).sum(axis=1), (hit & ~member).sum(axis=1)
        out.append(
            {
                "p": name,
                "cut": cut,
                "true": int(true.sum()),
                "false": int(false.sum()),
                "precision": repr(ratio_over_pairs(true, true + false, pair, what="precision")),
                "recall": repr(ratio_over_pairs(true, member.sum(axis=1), pair, what="recall")),
                "realised FPR": repr(ratio_over_pairs(false, (~member).sum(axis=1), pair, what="realised FPR")),
            }
        )
    return out


def main() -> None:
    """Train, pick, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("adult", "wisconsin", "mnist-5k"), default="wisconsin")
    parser.add_argument("--records", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--references", type=int, default=150, help="a third chooses queries, the others test")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--queries", type=int, default=5000, help="random ones, before any is selected")
    parser.add_argument("--screen", default="reference_loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paper", action="store_true", help="queries as in the paper")
    parser.add_argument(
        "--apart", type=float, default=1.0, help="no query is nearer than this x the nearest reference record"
    )
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seed, setup = Seed(asked.seed), protocol(asked.data, asked.epochs)
    paper = {"generation": "uniform", "first": "clusters", "against": "original"} if asked.paper else {}
    method = GMIAIndirect(apart=asked.apart, queries=asked.queries, **paper)
    world = models_of(load(asked.data), setup, asked.references, asked.pairs, seed)
    right = world["targets"].logits(world["records"].features).argmax(axis=-1) == world["records"].y
    inside, outside = (float(right[m].mean()) for m in (world["member"], ~world["member"]))
    print(
        f"{setup.recipe.name}: {asked.references} references and {2 * asked.pairs} targets in {world['seconds']:.0f} s"
    )
    print(f"accuracy on training records {inside:.3f}, elsewhere {outside:.3f}")
    chosen = picked(world, setup, method.choosing(asked.references), asked.screen, asked.records)
    found = attacked(world, method, chosen, seed)
    rows = found["rows"]
    queries, seconds = ([row[name] for row in rows] for name in ("queries", "seconds"))
    print(
        f"{len(rows)} records by {asked.screen}: {np.mean(queries):.0f} queries a record and target, none of the "
        f"record itself; {np.mean(seconds):.1f} s a record with all targets, {max(seconds):.1f} s at most"
    )
    lines = [line for cut in (0.1, 0.01) for line in table(found, cut)]
    print("\n| p | cut-off | true | false | precision | recall | realised FPR |\n|---|---|---|---|---|---|---|")
    for line in lines:
        print("| " + " | ".join(str(v) for v in line.values()) + " |")
    print("\n| record | queries | optimised | I(r, q) | nearest query | nearest reference record | direct | indirect |")
    print("|---|---|---|---|---|---|---|---|")
    for place, row in enumerate(rows):
        counts = []
        for name in ("direct", "rank"):
            hit, member = found["p"][name][:, place] <= 0.1, found["member"][:, place]
            counts.append(f"{(hit & member).sum()} / {(hit & ~member).sum()}")
        share = "-" if row["influence"] is None else f"{row['influence']:.2f}"
        apart = "-" if row["distance"] is None else f"{row['distance']:.1f}"
        print(
            f"| {row['record']} | {row['queries']} | {row['optimised']} | {share} | {apart} | {row['nearest']:.1f} | "
            + " | ".join(counts) + " |"
        )  # fmt: skip
    if asked.out:
        asked.out.write_text(json.dumps({"accuracy": [inside, outside], "table": lines, "records": rows}, indent=1))


if __name__ == "__main__":
    main()
