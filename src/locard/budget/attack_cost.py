"""What ``locard attack`` will cost, before anything is trained or asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from locard.budget.chains import Chain, ChainCost, chain_costs, chain_lines
from locard.budget.probe import probe
from locard.budget.scale import duration
from locard.data.records import Records
from locard.data.split import Split
from locard.plan.plan import Plan
from locard.settings import Settings
from locard.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class AttackCost:
    """The prediction. Times in seconds; ``queries``: most that the target is asked, without a budget."""

    models: int
    workers: int
    train_records: float
    fit_seconds: float
    predict_seconds: float
    train_seconds: float
    candidates: int
    held_out: int
    queries: int
    budget: int | None
    chains: tuple[ChainCost, ...]

    @property
    def total_seconds(self) -> float:
        """Of training and of indirect attacks."""
        return self.train_seconds + sum(c.total_seconds for c in self.chains)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"chains": [vars(c) for c in self.chains], "total_seconds": self.total_seconds}


def predict_attack(
    settings: Settings,
    records: Records,
    split: Split,
    plan: Plan,
    recipe: Recipe | tuple[float, float],
    *,
    direct: bool,
    chains: Sequence[Chain] = (),
) -> AttackCost:
    """Two timed fits, and multiplication.

    Args:
        settings: of the attack, with a section ``attacked``.
        records, split, plan, recipe: as for ``predict_cost``.
        direct: whether candidates are asked about.
        chains: as for ``chain_costs``.

    Raises:
        SettingsError: the recipe's own code failed.
    """
    attacked, screen = settings.attacked, settings.screen
    assert attacked is not None  # else it is no attack
    timed = probe(recipe, records, split, plan, settings)
    workers = min(settings.compute.workers, len(plan))
    top = None if screen is None or screen.select is None else screen.select.top
    candidates = len(split.audited) if top is None else min(top, len(split.audited))
    ask = timed.predict / (len(split.audited) + len(split.population))
    made = chain_costs(chains, fit_seconds=timed.fit, ask_seconds=ask, targets=1)
    asked = candidates + len(split.population) if direct else attacked.check
    return AttackCost(
        models=len(plan),
        workers=workers,
        train_records=float(np.mean([len(i) for i in plan.train_index])),
        fit_seconds=timed.fit,
        predict_seconds=timed.predict,
        train_seconds=timed.training(len(plan), workers),
        candidates=len(split.audited),
        held_out=len(split.population),
        queries=asked + sum(c.queries for c in made),
        budget=attacked.budget,
        chains=made,
    )


def attack_cost_text(cost: AttackCost) -> str:
    """The prediction for people."""
    kept = f"; the budget allows {cost.budget:,}" if cost.budget is not None else ""
    lines = [
        f"Models     {cost.models} references of {cost.train_records:,.0f} training records each",
        f"Records    {cost.candidates:,} candidates, {cost.held_out:,} held out",
        f"Time       about {duration(cost.total_seconds)}: training {duration(cost.train_seconds)} on {cost.workers} "
        f"worker{'s' if cost.workers > 1 else ''} (one model: {cost.fit_seconds:.2f} s to fit, "
        f"{cost.predict_seconds:.2f} s to ask)",
        f"Queries    at most {cost.queries:,}{kept}",
        *chain_lines(cost.chains),
    ]
    return "\n".join(lines) + "\n"
