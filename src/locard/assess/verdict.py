"""The verdict in one sentence, what could not be told, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from locard.assess.policy import Excess
from locard.result import (
    AttackPart,
    DataPart,
    ExposedPart,
    NotRun,
    Number,
    OneRunPart,
    PolicyPart,
    ReleasedPart,
    TargetPart,
    TprAt,
)
from locard.stats import audited_for, needed_non_members


def verdict(
    attacks: Sequence[AttackPart],
    exposed: ExposedPart,
    policy: PolicyPart,
    data: DataPart,
    *,
    excesses: Sequence[Excess] = (),
    released: ReleasedPart | None = None,
    one_run: OneRunPart | None = None,
) -> str:
    """One sentence (two with a released model, or of one training run) that stands on its own.

    Where attacks exceed a limit, it is about the first of them (the headline, if it is one) and that limit.
    """
    opening = {
        "pass": "Within policy: ",
        "fail": "Policy exceeded: ",
        "inconclusive": "The policy question is not settled by these data: ",
        "none": "",
    }[policy.outcome]
    names = f"no {_kind(data)} is" if exposed.n == 0 else f"{exposed.n:,} of {data.units:,} {_kind(data)}s are"
    finds = _finds(attacks[0])
    if excesses:
        first = next((e for e in excesses if e.attack == attacks[0].label), excesses[0])
        finds = _exceeds(first, next(a for a in attacks if a.label == first.attack))
    text = f"{opening}{finds}, and {names} named as exposed."
    if one_run is not None and one_run.references == 0:  # one run names nobody, and that goes without saying
        text = f"{opening}{finds}."
    text = text[0].upper() + text[1:]
    if one_run is not None:
        text = f"{epsilon_words(one_run)} {text}"
    if released is not None:
        text += f" {_released(released)}"
    return text


def epsilon_words(run: OneRunPart) -> str:
    """What one training run says of epsilon, in a sentence or two.

    >>> bound = Number(value=1.25, low=1.25, confidence=0.95, method="lower bound", n=200)
    >>> run = OneRunPart(attack="loss", epsilon=bound, delta=0.0, mechanism="any", mu=None, claimed=1.0, refuted=True,
    ...                  coins=200, members=98, references=0, assumes=[])
    >>> epsilon_words(run)
    'From one training run: epsilon is at least 1.25 (delta 0), with 95 % confidence. The claimed epsilon 1 is refuted.'
    """
    value, at = run.epsilon.value, f"delta {run.delta:g}"
    if value is None or run.epsilon.confidence is None:
        return f"One training run gives no bound on epsilon: {run.epsilon.reason}."
    sure = f"with {percent(run.epsilon.confidence)} confidence"
    if value == 0:
        said = f"From one training run: no epsilon is refuted ({at}, {sure}), which does not say that epsilon is small."
    else:
        kind = ", if training is a Gaussian mechanism" if run.mechanism == "gaussian" else ""
        said = f"From one training run: epsilon is at least {floored(value)} ({at}), {sure}{kind}."
    if run.claimed is not None:
        outcome = "refuted" if run.refuted else "not refuted, which does not make it true"
        said += f" The claimed epsilon {run.claimed:g} is {outcome}."
    return said


def floored(bound: float) -> str:
    """A lower bound with two decimals, never rounded up.

    >>> floored(1.2599), floored(0.004)
    ('1.25', '0.00')
    """
    return f"{math.floor(100 * bound + 1e-9) / 100:.2f}"


def _exceeds(excess: Excess, attack: AttackPart) -> str:
    if excess.fpr is None:
        return f"the attack {attack.label} has AUC {_plain(excess.estimate)}, where {excess.limit:g} is allowed"
    return (
        f"at a false-positive rate of {percent(excess.fpr)} the attack {attack.label} finds "
        f"{_percent(excess.estimate)} of the training members, where {percent(excess.limit)} is allowed "
        f"(AUC {_plain(attack.auc)})"
    )


def _finds(headline: AttackPart) -> str:
    best = stated_rate(headline)
    rate = (
        f"at a false-positive rate of {percent(best.fpr)} the attack {headline.label} finds "
        f"{_percent(best.estimate)} of the training members"
        if best is not None
        else f"the attack {headline.label} has no true-positive rate that can be stated ({_why_not(headline)})"
    )
    return f"{rate} (AUC {_plain(headline.auc)})"


def stated_rate(headline: AttackPart) -> TprAt | None:
    """The rate that a verdict states: the smallest resolved FPR, else the largest one that is bounded at all."""
    shown = [t for t in headline.tpr if t.estimate.value is not None]
    resolved = [t for t in shown if t.resolution == "resolved"]
    if resolved:
        return min(resolved, key=lambda t: t.fpr)
    return max(shown, key=lambda t: t.fpr, default=None)


def unresolved(
    attacks: list[AttackPart], exposed: ExposedPart, not_run: list[NotRun], target: TargetPart, data: DataPart
) -> list[str]:
    """What these data could not tell, in sentences."""
    head = next(a for a in attacks if a.headline)
    out = [
        f"TPR at a false-positive rate of {percent(rate.fpr)}: {rate.resolution} with {rate.non_members:,} non-members "
        f"of one target; {_needed(rate)} audited {_kind(data)}s would resolve it."
        for rate in head.tpr
        if rate.resolution != "resolved"
    ]
    alone = target.models == 1
    out.append("Single records: one training run names none." if alone else exposed.nameable)
    if alone:
        out.append(
            "A retraining: the numbers here are of one model, and their intervals are for its records, not for another "
            "run of the same training."
        )
    elif target.pairs < 4:
        word = "pair" if target.pairs == 1 else "pairs"
        out.append(
            f"The training procedure: {target.pairs} {word} of models say too little about retraining; at least 4 are "
            f"needed. The numbers here are the first target's own."
        )
    out += [f"The attack {n.name} was not run: {n.reason}." for n in not_run]
    return out


def next_steps(
    headline: AttackPart,
    exposed: ExposedPart,
    policy: PolicyPart,
    target: TargetPart,
    data: DataPart,
    *,
    plain_run: bool = False,
    looked: bool = False,
) -> list[str]:
    """What to do, most important first.

    ``plain_run``: one training run without canaries. ``looked``: the number of pairs was decided by looking.
    """
    out = ["Settle the policy question: see what it needs, above."] if policy.needed else []
    if exposed.n:
        out.append(
            f"Look at the {exposed.n:,} exposed {_kind(data)}s (records.parquet, or the table in the report): rare "
            f"combinations, wrong labels and duplicates are the usual reasons. Removing a record changes who is "
            f"exposed: audit again."
        )
    if (target.gap.value or 0) > 0.05:
        out.append(
            f"The model is right {100 * (target.gap.value or 0):.0f} percentage points more often on its "
            f"training records "
            f"than on others: more regularisation (fewer parameters, larger leaves, early stopping) lowers "
            f"every attack's power."
        )
    if any(t.resolution != "resolved" for t in headline.tpr):
        rate = next(t for t in headline.tpr if t.resolution != "resolved")
        out.append(
            f"To resolve a false-positive rate of {percent(rate.fpr)}, audit {_needed(rate)} "
            f"{_kind(data)}s (data.pool)."
        )
    if target.models > 1 and target.pairs < 16 and not looked:
        how = ": set references.models = 64." if target.kind == "procedure" else "."
        out.append(f"With 64 models (32 pairs) intervals are narrower and records can be named{how}")
    twins = data.duplicates is not None and data.duplicates.exact_records + data.duplicates.near_records > 0
    if twins and data.unit is None:
        out.append(
            "Some records have a copy or near-copy in the data: if they belong to one person, name the privacy unit "
            "(data.unit) that holds them together."
        )
    if plain_run:
        out.append(
            "Canaries that stand out give a larger bound on epsilon from as many coins: set canaries.kind = "
            "'mislabelled' and canaries.count."
        )
    return out or ["Nothing stands out. Audit again when the data or the recipe changes."]


def _released(released: ReleasedPart) -> str:
    first = released.attacks[0] if released.attacks else None
    said = f"For the released model {released.model} alone"
    if first is not None:
        said += f", {first.label} has AUC {_plain(first.auc)}"
    if released.warnings:
        said += "; note: " + " ".join(released.warnings)
    return said if said.endswith(".") else said + "."


def _needed(rate: TprAt) -> str:
    return f"{audited_for(needed_non_members(rate.fpr)[1]):,}"


def percent(share: float) -> str:
    """A share in percent, without digits that say nothing.

    >>> percent(0.001), percent(0.1)
    ('0.1 %', '10 %')
    """
    return f"{100 * share:.6g} %"


def _kind(data: DataPart) -> str:
    return "record" if data.units == data.n else "unit"


def _why_not(headline: AttackPart) -> str:
    return next((t.estimate.reason for t in headline.tpr if t.estimate.reason), "no rate was asked for")


def _percent(number: Number) -> str:
    if number.value is None or number.low is None or number.high is None:
        return f"an unknown share ({number.reason})"
    width = 100 * (number.high - number.low)
    places = 0 if width >= 10 else 1 if width >= 1 else 2 if width >= 0.1 else 3
    return f"{100 * number.value:.{places}f} % [{100 * number.low:.{places}f} %, {100 * number.high:.{places}f} %]"


def _plain(number: Number) -> str:
    if number.value is None or number.low is None or number.high is None:
        return f"unknown: {number.reason}"
    return f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"
