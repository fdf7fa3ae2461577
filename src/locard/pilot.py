"""What an audit will show, and how many pairs it needs, from a few pairs of its own models or from a finished run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from locard.assess.looks_at_pairs import Looked, named
from locard.distilling import distil_missing
from locard.elsewhere import nothing_elsewhere
from locard.errors import SettingsError
from locard.observed import observed
from locard.plan.plan import Role
from locard.prepare import Prepared, part_of
from locard.result import AuditResult
from locard.run.folder import RunFolder
from locard.run.train_all import train_all
from locard.run.training import Watch
from locard.seeds import Seed
from locard.settings import Settings
from locard.stats import (
    LEAST_RATE_PAIRS,
    Need,
    Prospect,
    looks_to_settle,
    pair_means,
    pairs_for_width,
    pairs_to_name,
    prospect,
    sort_scores,
)

LEAST = 3  # pairs: fewer have no spread to speak of

Values = Mapping[tuple[float | None, str], Float64[np.ndarray, "pairs"]]  # by FPR (None: AUC) and attack


@dataclass(frozen=True, kw_only=True)
class Row:
    """One statistic of one attack: what the planned pairs will show, and what a wanted half-width needs."""

    attack: str
    statistic: str
    limit: float | None
    found: Prospect
    for_width: Need | None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a pilot says of an audit: one row an attack and statistic; pairs to name so many records."""

    pilot_pairs: int
    source: str
    half_width: float | None
    rows: tuple[Row, ...]
    names: int | None
    pairs_for_names: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [vars(r) | {"found": vars(r.found) | {"to_settle": _plain(r.found.to_settle)}} for r in self.rows]
        return vars(self) | {"rows": [r | {"for_width": _plain(r["for_width"])} for r in rows]}


def _plain(need: Need | None) -> dict[str, Any] | None:
    return None if need is None else dict(vars(need))


def from_pilot(prepared: Prepared, pairs: int, watch: Watch) -> Values:
    """Train the first pairs of the plan for real, attack each with the others, and give back their values.

    Raises:
        SettingsError: the plan has no pairs, or the pilot has too few or more than the plan.
        NotEnoughReferences: the headline attack cannot run with so few models.
    """
    plan = prepared.plan
    if plan.design != "pairs" or prepared.trains is None:
        raise SettingsError(
            f"--pilot: pairs that can be trained are needed, found the plan {plan.design!r}. Use references.plan = "
            f"'pairs', or --from a finished run."
        )
    if not LEAST <= pairs <= len(plan) // 2:
        raise SettingsError(
            f"--pilot: from {LEAST} pairs to those of the plan ({len(plan) // 2}) are needed, found {pairs}. Ask for 4."
        )
    both: list[Role] = ["both" for _ in plan.role]
    plain = replace(prepared, plan=replace(plan, role=tuple(both)), screening=None)
    part = part_of(replace(plain, chosen=nothing_elsewhere(plain.chosen)), list(range(2 * pairs)))
    with tempfile.TemporaryDirectory(prefix="locard-") as made, RunFolder(Path(made) / "pilot") as folder:
        work, jobs = part.work(folder.store, folder.weights)
        train_all(work, jobs, folder, part.settings.compute, watch, what="models of the pilot")
        audited = observed(part, folder, jobs, distil_missing(part, folder, jobs, None, watch))
        looked = Looked.nothing().more(part.chosen.attacks, audited, audited.plan.targets, _fprs(part.settings))
    return {key: np.array(values, dtype=np.float64) for key, values in looked.values.items()}


def _fprs(settings: Settings) -> list[float]:
    """Those that are measured, and those that the policy limits."""
    return list(dict.fromkeys([*settings.measure.fprs, *map(float, settings.policy.max_tpr)]))


def from_run(folder: Path, settings: Settings) -> tuple[Values, dict[str, float], int]:
    """The pairs' values of a finished audit, the attacks' variance factors, and how many units it audited.

    Raises:
        SettingsError: its models are no pairs, or too few.
        StoreMismatch: it is no finished audit.
    """
    result = AuditResult.load(folder)
    target = result.summary.target
    if target.design != "pairs" or target.targets != 2 * target.pairs or target.pairs < LEAST:
        raise SettingsError(
            f"--from: a finished audit of at least {LEAST} pairs is needed, found {target.targets} targets of the plan "
            f"{target.design!r} in {folder}. Name another run, or use --pilot."
        )
    _, first, unit = np.unique(result.records["unit"].astype(str), return_index=True, return_inverse=True)
    count = np.bincount(unit)
    member = result.scores["member"][:, first]
    pair = np.arange(target.targets) // 2
    values: dict[tuple[float | None, str], np.ndarray] = {}
    for attack in result.summary.scored:
        rows = [np.bincount(unit, weights=s) / count for s in result.scores[attack.label]]
        ordered = [sort_scores(row, m) for row, m in zip(rows, member, strict=True)]
        values[None, attack.label] = pair_means(np.array([o.auc for o in ordered]), pair)
        for fpr in _fprs(settings):
            rates = [o.members_above(o.conformal_threshold(fpr)) / o.members.size for o in ordered]
            values[fpr, attack.label] = pair_means(np.array(rates), pair)
    return values, {a.label: a.variance_factor for a in result.summary.scored}, len(count)


def forecast(
    values: Values,
    factors: Mapping[str, float],
    settings: Settings,
    *,
    units: int,
    source: str,
    half_width: float | None = None,
    names: int | None = None,
) -> Forecast:
    """What the planned number of pairs will show of every attack, and what more is needed.

    Args:
        values: of the pilot's pairs.
        factors: each attack's variance factor.
        settings: the plan's.
        units: audited, that can be named.
        source: where the values are from, in words.
        half_width: wanted of every interval.
        names: how many records are to be named.
    """
    policy, confidence, pairs = settings.policy, settings.measure.confidence, settings.references.models // 2
    limits = {float(fpr): limit for fpr, limit in policy.max_tpr.items()}
    rows = []
    for (fpr, label), numbers in values.items():
        rng = Seed(settings.seed).child("forecast", named(fpr), label).generator()
        limit = policy.max_auc if fpr is None else limits.get(fpr)
        factor = factors[label]
        found = prospect(numbers, factor=factor, pairs=pairs, limit=limit, confidence=confidence, rng=rng)
        if settings.references.until == "settled" and limit is not None:
            cap = pairs - settings.references.burn_in
            least = 1 if fpr is None else LEAST_RATE_PAIRS
            need, chance = looks_to_settle(
                numbers, limit, factor=factor, cap=cap, confidence=confidence, least=least, rng=rng
            )
            found = replace(found, to_settle=need, settled=chance)
        needed = None
        if half_width is not None:
            needed = pairs_for_width(numbers, half_width, factor=factor, confidence=confidence, rng=rng)
        rows.append(Row(attack=label, statistic=named(fpr), limit=limit, found=found, for_width=needed))
    return Forecast(
        pilot_pairs=len(next(iter(values.values()))),
        source=source,
        half_width=half_width,
        rows=tuple(rows),
        names=names,
        pairs_for_names=None if names is None else pairs_to_name(names, units, q=settings.exposure.fdr),
    )


def forecast_text(made: Forecast) -> str:
    """The forecast for people."""
    lines = [
        f"Pilot      {made.pilot_pairs} pairs, {made.source}: what the planned {made.rows[0].found.pairs} pairs will "
        f"show if these records and this recipe stay.",
        "           Attacks that learn from references had only those of the pilot; with more they find more.",
    ]
    for row in made.rows:
        found = row.found
        said = f"{row.attack}, {row.statistic}: about {found.mean:.3g} ± {found.half_width:.2g}"
        if found.settled is not None and found.to_settle is not None:
            said += f"; limit {row.limit:g}: settled with {100 * found.settled:.0f} % chance"
            said += f", it needs {_pairs(found.to_settle)}"
        if row.for_width is not None:
            said += f"; ± {made.half_width:g} needs {_pairs(row.for_width)}"
        lines.append(f"           {said}")
    if made.pairs_for_names is not None:
        lines.append(
            f"Names      {made.names} records can be named together from {made.pairs_for_names} pairs "
            f"({2 * made.pairs_for_names} models) on"
        )
    return "\n".join(lines) + "\n"


def _pairs(need: Need) -> str:
    """A number of pairs, and the one that is enough in nine of ten draws."""
    if need.median is None:
        return "more pairs than can be had"
    sure = "more than can be had" if need.sure is None else f"{need.sure:,}"
    return f"{need.median:,} pairs (9 in 10: {sure})"
