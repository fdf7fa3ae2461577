"""A synthetic audit, whole and with hostile names, and its variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from locard.result import (
    AttackPart,
    AuditResult,
    ClassCount,
    ComparisonPart,
    ControlPart,
    DataPart,
    Duplicates,
    ExposedPart,
    FloorPart,
    FloorTpr,
    GroupPart,
    Histogram,
    NotRun,
    Number,
    PolicyPart,
    RealisedFpr,
    ReferenceCount,
    ReleasedAttack,
    ReleasedPart,
    Result,
    Roc,
    TargetPart,
    TprAt,
)

Make = Callable[..., AuditResult]

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "=cmd()|' /C calc'!A0",
    "+1+cmd",
    "@SUM(A1)",
    "-2+3+cmd",
    "Ångström 東京 ✓",
    "right\u202eleft",
    "\x1b[31mred",
    'O\'Brien "the" & co',
    "</script><b>bold</b>",
    "{{ 7 * 7 }}",
]
LABELS = ["<b>yes</b>", "no & never"]
ATTACKS = [  # label, name, shift in sd, variance factor, access, IN references, OUT references
    ("lira", "lira", 0.55, 2.5, "PROBABILITIES", 31, 31),
    ("lira(variance=pooled)", "lira", 0.52, 2.5, "PROBABILITIES", 31, 31),
    ("rmia", "rmia", 0.5, 2.5, "PROBABILITIES", 31, 31),
    ("rmia(offline=true)", "rmia", 0.42, 1.5, "PROBABILITIES", 0, 31),
    ("base", "base", 0.5, 2.5, "PROBABILITIES", 31, 31),
    ("attack_r", "attack_r", 0.35, 1.5, "PROBABILITIES", 0, 31),
    ("attack_p", "attack_p", 0.2, 1.0, "PROBABILITIES", 0, 0),
    ("calibrated", "calibrated", 0.4, 1.5, "PROBABILITIES", 0, 31),
    ("loss", "loss", 0.2, 1.0, "PROBABILITIES", 0, 0),
    ("confidence", "confidence", 0.18, 1.0, "PROBABILITIES", 0, 0),
    ("entropy", "entropy", 0.1, 1.0, "PROBABILITIES", 0, 0),
    ("gap", "gap", 0.12, 1.0, "LABELS", 0, 0),
    ("instance_vector", "instance_vector", 0.3, 2.5, "LOGITS", 31, 31),
]


def interval(value: float, half: float, *, n: int = 32, c: float = 1.0, top: float = 1.0) -> Number:
    low, high = max(0.0, value - half), min(top, value + half * 1.0137)
    return Number(value=value, low=low, high=high, confidence=0.95, method=f"t over {n} pairs, c={c:g}", n=n)


def _tpr(shift: float, c: float, n0: int) -> list[TprAt]:
    out = []
    for fpr in (0.0001, 0.001, 0.01):
        value = float(norm.sf(norm.isf(fpr) - shift))
        resolution = "not resolvable" if n0 < 4.4 / fpr else "resolved" if n0 >= 10 / fpr else "bounded only"
        none = resolution == "not resolvable"
        reason = f"not resolvable: {n0} non-members of one target cannot show FPR {fpr:g}"
        out.append(
            TprAt(
                fpr=fpr,
                estimate=Number(value=None, reason=reason) if none else interval(value, value / 3, c=c),
                realised_fpr=None if none else RealisedFpr(median=fpr * 0.9871, worst=fpr * 2.13),
                non_members=n0,
                true_positives=int(value * n0 * 64),
                resolution=resolution,
                precision={"0.5": value / (value + fpr), "0.1": 0.1 * value / (0.1 * value + 0.9 * fpr), "0.01": None},
            )
        )
    return out


def _attack(spec: tuple[Any, ...], n0: int, *, headline: bool) -> AttackPart:
    label, name, shift, c, access, inside, outside = spec
    fpr = np.r_[0.0, np.geomspace(1 / n0, 1, 150)]
    tpr = norm.sf(norm.isf(fpr) - shift)
    half = np.minimum(0.25 * tpr, 0.02)
    edges = np.linspace(-6.3, 6.7, 53)
    return AttackPart(
        name=name,
        label=label,
        headline=headline,
        settings={"variance": "student", "offline": "offline" in label, "temperature": 1.25} if name == "lira" else {},
        access=access,
        source="Carlini et al., S&P 2022, arXiv:2112.03570",
        references=ReferenceCount(inside=inside, outside=outside),
        variance_factor=c,
        discrete=name == "gap",
        auc=interval(float(norm.cdf(shift / np.sqrt(2))), 0.011, c=c),
        tpr=_tpr(shift, c, n0),
        balanced_accuracy=interval(float(norm.cdf(shift / 2)), 0.0091, c=c),
        epsilon=Number(value=None, reason="a plan of pairs promises no lower bound on epsilon; use coin_flips"),
        roc=Roc(
            fpr=fpr.tolist(),
            tpr=tpr.tolist(),
            low=np.clip(tpr - half, 0, 1).tolist(),
            high=np.clip(tpr + half, 0, 1).tolist(),
        ),
        histogram=Histogram(
            edges=edges.tolist(),
            members=np.diff(norm.cdf(edges - shift)).tolist(),
            non_members=np.diff(norm.cdf(edges)).tolist(),
        ),
        at_other_floor=FloorPart(
            floor=0.025,
            auc=interval(0.6491, 0.0113, c=c),
            tpr=[FloorTpr(fpr=t.fpr, estimate=t.estimate) for t in _tpr(0.97 * shift, c, n0)],
        )
        if headline
        else None,
    )


def _records(shape: Shape, attacks: list[str], rng: np.random.Generator) -> pd.DataFrame:
    n, exposed = shape.n, shape.exposed
    ids = [*NASTY, *(f"patient-{i:06d}" for i in range(len(NASTY), n))][:n]
    units = [f"clinic-{i // 3:05d}" for i in range(n)] if shape.by_unit else ids
    unit = np.arange(n) // 3 if shape.by_unit else np.arange(n)
    size = int(unit[-1]) + 1
    suspected = exposed * 4
    grade = np.array(["not shown"] * size, dtype=object)
    grade[:exposed] = "exposed"
    grade[exposed : exposed + suspected] = "suspected"
    hits_in = np.where(np.arange(size) < exposed, rng.integers(11, 17, size), rng.integers(0, 4, size))
    low, high = np.clip(hits_in / 16 - 0.21, 0, 1), np.clip(hits_in / 16 + 0.17, 0, 1)
    per_unit = {
        "hits_in": hits_in,
        "hits_out": rng.integers(0, 2, size),
        "trials": np.full(size, 16),
        "wins": np.where(grade == "not shown", rng.integers(8, 24, size), 31),
        "pairs": np.full(size, 32),
        "p_flip": np.where(grade == "not shown", rng.uniform(0.01, 1, size), 10.0 ** -rng.uniform(5, 9, size)),
        "p_hit": np.where(grade == "exposed", 10.0 ** -rng.uniform(5, 9, size), rng.uniform(0.1, 1, size)),
        "q": np.where(grade == "exposed", rng.uniform(0.0001, 0.04, size), rng.uniform(0.2, 1, size)),
        "low": low,
        "high": high,
        "fcr_low": np.where(grade == "exposed", np.clip(low - 0.1, 0, 1), np.nan),
        "fcr_high": np.where(grade == "exposed", np.clip(high + 0.05, 0, 1), np.nan),
        "grade": grade,
    }
    frame = pd.DataFrame({"id": ids, "unit": units, "label": [LABELS[i % 2] for i in range(n)]})
    frame["ward"] = ["<i>east</i>" if i % 3 else "west" for i in range(n)]
    frame.loc[frame.index[:4], "ward"] = "tiny-ward"
    if shape.released:
        frame["member"] = pd.array([bool(i % 2) for i in range(n)], dtype="boolean")
    if shape.duplicates:
        frame["near_duplicate"] = [i % 50 == 0 for i in range(n)]
    for label in attacks:
        frame[f"score_{label}"] = rng.normal(size=n)
        if shape.released:
            frame[f"released_{label}"] = rng.normal(size=n)
    for name, values in per_unit.items():
        frame[name] = values[unit]
    return frame


def _groups(frame: pd.DataFrame) -> list[GroupPart]:
    out = []
    for by, column in (("class", "label"), ("ward", "ward")):
        for name, part in frame.groupby(column):
            small, none = len(part) < 10, Number(value=None, reason="fewer than 10 records")
            out.append(
                GroupPart(
                    by=by,
                    name=str(name),
                    records=len(part),
                    auc=none if small else interval(0.6512, 0.031, c=2.5),
                    tpr=none if small else interval(0.0061, 0.0037, c=2.5),
                    fpr=0.001,
                    exposed=int((part["grade"] == "exposed").sum()),
                    suspected=int((part["grade"] == "suspected").sum()),
                )
            )
    return out


def _controls(*, failed: bool) -> list[ControlPart]:
    return [
        ControlPart(
            name="redrawn plan",
            description="memberships drawn again: nothing may be found",
            statistic="AUC",
            value=interval(0.5013, 0.0081),
            expected="0.5 inside the interval",
            passed=not failed,
            p=0.4123,
        ),
        ControlPart(
            name="blind baseline",
            description="a classifier that never asks the model",
            statistic="AUC",
            value=interval(0.4988, 0.0102),
            expected="0.5 inside the interval",
            passed=True,
        ),
    ]


def _released(attacks: list[AttackPart]) -> ReleasedPart:
    none = Number(value=None, reason="one model gives no bound on epsilon")
    return ReleasedPart(
        model="/home/someone/models/final.skops",
        members=7999,
        non_members=2001,
        train_accuracy=interval(0.9981, 0.0004),
        test_accuracy=interval(0.8532, 0.0121),
        attacks=[ReleasedAttack(name=a.name, label=a.label, auc=a.auc, tpr=a.tpr, epsilon=none) for a in attacks[:3]],
        warnings=["it was trained on 7,999 records, the references on 5,000"],
        statement="On this model the headline attack finds 0.5 % of the members at a false-positive rate of 0.1 %.",
    )


RULE = (
    "On average at most 5 % of the names graded exposed are wrong (Benjamini-Hochberg; approximate, because records "
    "share the models); wrong = training on the record changes nothing, or this attack finds it in no more than 1 of "
    "10 retrainings. Suspected: training on it changes the answer, size not shown; same rate."
)


def _data(frame: pd.DataFrame, *, by_unit: bool, duplicates: bool) -> DataPart:
    across = {"members_with_twin_outside": 101.25, "non_members_with_twin_inside": 99.5, "worst_share": 0.0233}
    found = Duplicates(
        exact_records=17, near_records=211, conflicting_labels=5, across=across, rule="distance below 0.0371"
    )
    return DataPart(
        source="/data/private/adult.csv",
        n=len(frame),
        units=int(frame["unit"].nunique()),
        unit="clinic_number" if by_unit else None,
        classes=[ClassCount(label=c, records=int((frame["label"] == c).sum())) for c in LABELS],
        features=104,
        fingerprint="9f2c4e8d7a6b5c3d" * 4,
        population=2000,
        probability_floor=0.0025,
        floored=123456,
        floored_share=0.0964501,
        duplicates=found if duplicates else None,
        notes=["fnlwgt: dropped as asked", "missing values in 3 columns were filled with the median"],
    )


def _target() -> TargetPart:
    return TargetPart(
        kind="procedure",
        estimator="sklearn.ensemble.RandomForestClassifier",
        design="pairs",
        models=64,
        targets=64,
        pairs=32,
        train_records=Number(value=5001.25, low=4888, high=5102, confidence=1.0, method="range", n=64),
        train_accuracy=interval(0.99912, 0.0003),
        test_accuracy=interval(0.8514, 0.0021),
        gap=interval(0.14772, 0.0022),
    )


def _comparisons(parts: list[AttackPart]) -> list[ComparisonPart]:
    return [
        ComparisonPart(
            first=parts[0].label,
            second=a.label,
            statistic="AUC",
            difference=interval(0.0123, 0.0072) if i else Number(value=None, reason="both have no spread"),
            p=0.0031 if i else None,
            p_adjusted=0.0372 if i else None,
        )
        for i, a in enumerate(parts[1:])
    ]


def _exposed(n: int, units: int) -> ExposedPart:
    return ExposedPart(
        n=n,
        suspected=4 * n,
        not_shown=units - 5 * n,
        rule=RULE,
        fdr=0.05,
        hit_fpr=0.001,
        hit_realised_fpr=0.00113,
        trials=16,
        pairs=32,
        nameable="One that is found in 65 % of retrainings would have been named with 90 % chance.",
    )


def _policy(outcome: str) -> PolicyPart:
    reasons = ["TPR at FPR 0.1 % is 0.55 % [0.36 %, 0.73 %], above the limit of 0.3 %"]
    needed = ["about 48 models more"] if outcome == "inconclusive" else []
    return PolicyPart.model_validate({"outcome": outcome, "reasons": reasons, "needed": needed})


def _settings(n: int, parts: list[AttackPart]) -> dict[str, Any]:
    data = {"source": "/data/private/adult.csv", "label": "income", "groups": ["ward"], "pool": n, "id": None}
    return {
        "name": "adult-forest",
        "seed": 7,
        "data": data,
        "target": {"recipe": "sklearn", "params": {"n_estimators": 200, "max_features": 0.35}},
        "references": {"models": 64, "plan": "pairs"},
        "attack": [{"name": a.name} for a in parts],
        "policy": {"max_tpr": {"0.001": 0.003}},
    }


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a synthetic audit looks like."""

    n: int = 10_000
    exposed: int = 37
    attacks: int = 13
    by_unit: bool = False
    released: bool = False
    duplicates: bool = True
    failed: bool = False
    epsilon: bool = False
    outcome: str = "fail"


def build(shape: Shape) -> AuditResult:
    rng, n = np.random.default_rng(5), shape.n
    parts = [_attack(spec, n // 2, headline=i == 0) for i, spec in enumerate(ATTACKS[: shape.attacks])]
    if shape.epsilon:
        bound = Number(value=1.23456, low=1.23456, confidence=0.95, method="lower bound, all thresholds paid", n=n)
        parts[0] = parts[0].model_copy(update={"epsilon": bound})
    labels = [a.label for a in parts]
    frame = _records(shape, labels, rng)
    member = rng.random((4, n)) < 0.5
    scores = {label: rng.normal(size=(4, n)) + 0.5 * member for label in labels}
    units = int(frame["unit"].nunique())
    named = f"{shape.exposed} of {units:,} are" if shape.exposed else "no record is"
    tree = Result(
        locard_version="0.1.0",
        name='adult-forest <test> & "more"',
        seed=7,
        verdict=f"At a false-positive rate of 0.001 the attack lira finds 0.55 % of the members, and {named} named.",
        data=_data(frame, by_unit=shape.by_unit, duplicates=shape.duplicates),
        target=_target(),
        attacks=parts,
        groups=_groups(frame),
        comparisons=_comparisons(parts),
        controls=_controls(failed=shape.failed),
        exposed=_exposed(shape.exposed, units),
        not_run=[NotRun(name="attack_d", reason="needs distilled references"), NotRun(name="mentr", reason="<none>")],
        released=_released(parts) if shape.released else None,
        policy=_policy(shape.outcome),
        unresolved=["TPR at FPR 0.01 %: 43,819 non-members are needed", "record patient-000013 has two labels"],
        next_steps=["Ask for fewer trees.", "See locard defend."],
        settings=_settings(n, parts),
    )
    return AuditResult(tree, frame, {**scores, "member": member})


@pytest.fixture(scope="session")
def make_result() -> Make:
    """``make_result(n=..., exposed=..., attacks=..., by_unit=..., released=..., duplicates=..., failed=...)``."""
    return lambda **shape: build(Shape(**shape))


@pytest.fixture(scope="session")
def result(make_result: Make) -> AuditResult:
    return make_result()


@pytest.fixture(scope="session")
def page(result: AuditResult) -> str:
    from locard.report.html import report_html

    return report_html(result)
