"""The self-test: every attack on a target that leaks nothing and on one that leaks a known amount.

Worlds are made, not trained: a record's scaled logit is its own difficulty plus noise, plus a known shift in models
that hold it. In the null world the references leak and the target does not: its AUC is .5, and no more members than
non-members are claimed, unless the references know something of the answer (a partner kept, numbers that tell). Where
nobody leaks, nothing may be named. In the leaking world every record has a shift. In the last world a tenth of the
records leaks so much that it must be named, and the others not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from locard.assess.choose import runnable
from locard.assess.exposure import expose
from locard.assess.scoring import Audited, score_targets
from locard.attacks import attack, attack_names
from locard.data.records import Records
from locard.observe.observations import ArrayReader, Observations
from locard.plan.designs import pairs
from locard.seeds import Seed
from locard.settings import ExposureSettings
from locard.stats import auc_many, conformal_threshold

RECORDS = 400
POPULATION = 200
CLASSES = 3
NULL_WORLDS = 60
LEAK_WORLDS = 3
NULL_MODELS = 8
QUIET = 2  # models of the null world that do not leak: the targets there
LEAK_MODELS = 64
ELSEWHERE_MODELS = 4  # of another world, where the attack learns that never sees this one
SHIFT = 1.5  # of every record in the leaking world, in standard deviations of a model's noise
STRONG = 6.0  # of a tenth of the records in the third world
FPR = 0.05
LEAST_LEAK_AUC = 0.55  # of the weakest attack (gap: right or wrong, nothing more)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack's operating characteristics."""

    attack: str
    null_auc: float
    null_error: float
    null_tpr: float
    null_tpr_error: float
    leak_auc: float
    leak_tpr: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The whole self-test."""

    rows: tuple[Row, ...]
    null_named: int
    strong: int
    strong_named: int
    wrongly_named: int

    @property
    def passed(self) -> bool:
        """Everything came out the known way."""
        names = self.strong_named >= 0.8 * self.strong and self.wrongly_named <= 0.1 * self.strong
        return self.null_named == 0 and names and all(row.passed for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return (
            {"passed": self.passed}
            | {k: v for k, v in vars(self).items() if k != "rows"}
            | {"attacks": [vars(r) for r in self.rows]}
        )


def run_selftest(seed: int = 0, progress: Callable[[str, int, int], None] = lambda s, d, t: None) -> Outcome:
    """Run it; the same seed gives the same outcome.

    A null AUC is judged on independent worlds (within 4 standard errors over worlds: a right attack fails with chance
    6e-5); a leaking world's AUC must exceed .5 clearly, and for the reference-based attacks most of what is possible.
    """
    root = Seed(seed).child("selftest")
    nulls = [
        world(root.child("null", i), models=NULL_MODELS, shift=SHIFT, strong=SHIFT, quiet=QUIET)
        for i in range(NULL_WORLDS)
    ]
    leaks = [world(root.child("leak", i), models=LEAK_MODELS, shift=SHIFT, strong=SHIFT) for i in range(LEAK_WORLDS)]
    names = attack_names()
    elsewhere = world(root.child("elsewhere"), models=ELSEWHERE_MODELS, shift=SHIFT, strong=SHIFT)
    sources = {str(attack(name).needs.elsewhere): elsewhere for name in names}
    nulls, leaks = ([replace(w, elsewhere=sources) for w in worlds] for worlds in (nulls, leaks))
    rows = []
    for done, name in enumerate(names):
        progress("self-test", done, len(names))
        rows.append(_row(name, nulls, leaks))
    names_null = world(root.child("names", "null"), models=LEAK_MODELS)
    names_leak = world(root.child("names", "leak"), models=LEAK_MODELS, strong=STRONG)
    graded = expose(attack("lira"), names_leak, ExposureSettings()).grades.grade == "exposed"
    strong = _strong(RECORDS)
    return Outcome(
        rows=tuple(rows),
        null_named=expose(attack("lira"), names_null, ExposureSettings()).part.n,
        strong=int(strong.sum()),
        strong_named=int((graded & strong).sum()),
        wrongly_named=int((graded & ~strong).sum()),
    )


def world(
    seed: Seed, *, models: int, shift: float = 0.0, strong: float = 0.0, records: int = RECORDS, quiet: int = 0
) -> Audited:
    """Made observations with a known leak: ``strong`` on the first tenth of the records, ``shift`` on the others.

    The first ``quiet`` models do not leak.
    """
    rng = seed.generator()
    everyone = records + POPULATION
    y = rng.integers(CLASSES, size=everyone)
    y[:CLASSES] = np.arange(CLASSES)
    people = Records(
        ids=range(records), features=np.zeros((records, 1)), labels=y[:records], known_classes=np.arange(CLASSES)
    )
    plan = pairs(people, np.arange(records), models=models, seed=seed.child("plan"))
    difficulty = rng.normal(1.0, 1.0, size=everyone)
    signal = difficulty + rng.normal(size=(models, everyone))
    leak = np.where(_strong(records), strong, shift)
    signal[quiet:, :records] += plan.member[quiet:] * leak
    logits = rng.normal(scale=0.3, size=(models, everyone, CLASSES))
    logits -= logits.max(axis=-1, keepdims=True)
    at_true = np.broadcast_to(y[None, :, None], (models, everyone, 1))
    np.put_along_axis(logits, at_true, -np.inf, axis=-1)
    rest = np.log(np.exp(logits).sum(axis=-1))
    np.put_along_axis(logits, at_true, (signal + rest)[..., None], axis=-1)
    array = logits[:, :, None, :].astype(np.float32)
    said = Observations(ArrayReader(array[:, :records]), y[:records].astype(np.int64))
    population = Observations(ArrayReader(array[:, records:]), y[records:].astype(np.int64))
    features = np.zeros((POPULATION, 1))
    return Audited(people, plan, said, population, seed, population_features=features)


def selftest_text(outcome: Outcome) -> str:
    """For people."""
    lines = [
        f"Null world ({NULL_MODELS} models, {NULL_WORLDS} times): the references leak and the target does not. AUC "
        f"must be 0.5 and TPR at FPR {FPR:g} at most {FPR:g}, within 4 standard errors.",
        f"Leaking world ({LEAK_MODELS} models): every record has a shift of {SHIFT:g} standard deviations.",
        "",
        f"{'attack':<18}{'null AUC':>16}{'null TPR':>17}{'leak AUC':>10}{'leak TPR':>10}",
    ]
    for r in outcome.rows:
        area = f"{r.null_auc:.3f} +- {4 * r.null_error:.3f}"
        rate = f"{r.null_tpr:.3f} +- {4 * r.null_tpr_error:.3f}"
        ok = "ok" if r.passed else "WRONG"
        lines.append(f"{r.attack:<18}{area:>16}{rate:>17}{r.leak_auc:>10.3f}{r.leak_tpr:>10.3f}  {ok}")
    lines += [
        "",
        f"Named as exposed: {outcome.null_named} where nothing leaks (must be 0); {outcome.strong_named} of "
        f"{outcome.strong} where a tenth leaks strongly (at least 80 %), and {outcome.wrongly_named} that do not leak.",
        "self-test passed" if outcome.passed else "self-test FAILED: do not trust this installation's numbers",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, nulls: list[Audited], leaks: list[Audited]) -> Row:
    null = np.array([_measure(name, w, np.arange(QUIET)) for w in nulls])
    leak = np.array([_measure(name, w, w.plan.targets) for w in leaks])
    mean, error = null.mean(axis=0), null.std(axis=0, ddof=1) / np.sqrt(len(null))
    at_leak = leak.mean(axis=0)
    quiet = abs(mean[0] - 0.5) <= 4 * error[0] + 1e-12 and mean[1] <= FPR + 4 * error[1] + 1e-12
    return Row(
        attack=name,
        null_auc=float(mean[0]),
        null_error=float(error[0]),
        null_tpr=float(mean[1]),
        null_tpr_error=float(error[1]),
        leak_auc=float(at_leak[0]),
        leak_tpr=float(at_leak[1]),
        passed=bool(quiet and at_leak[0] > LEAST_LEAK_AUC),
    )


def _measure(name: str, audited: Audited, targets: np.ndarray) -> tuple[float, float]:
    """Mean over these targets of the AUC, and of the TPR at the FPR."""
    chosen = attack(name)
    runnable([(name, chosen)], audited.plan, POPULATION)
    scores, member = score_targets(chosen, audited, targets), audited.plan.member[targets]
    claimed = [s[m] > conformal_threshold(s[~m], FPR) for s, m in zip(scores, member, strict=True)]
    return float(auc_many(scores, member).mean()), float(np.mean([c.mean() for c in claimed]))


def _strong(records: int) -> np.ndarray:
    strong = np.zeros(records, dtype=bool)
    strong[: records // 10] = True
    return strong
