"""The verdict in one sentence, what could not be told, and what to do next."""

from __future__ import annotations

from locard.result import AttackPart, DataPart, ExposedPart, NotRun, Number, PolicyPart, ReleasedPart, TargetPart, TprAt
from locard.stats import audited_for, needed_non_members


def verdict(
    headline: AttackPart, exposed: ExposedPart, policy: PolicyPart, data: DataPart, released: ReleasedPart | None
) -> str:
    """One sentence (two with a released model) that stands on its own."""
    opening = {
        "pass": "Within policy: ",
        "fail": "Policy exceeded: ",
        "inconclusive": "The policy question is not settled by these data: ",
        "none": "",
    }[policy.outcome]
    best = stated_rate(headline)
    rate = (
        f"at a false-positive rate of {best.fpr:.3g} the attack {headline.label} finds {_percent(best.estimate)} of "
        f"the training members"
        if best is not None
        else f"no stated false-positive rate can be resolved with {headline.tpr[0].non_members:,} non-members"
    )
    kind = "units" if data.units != data.n else "records"
    names = "no record is" if exposed.n == 0 and kind == "records" else f"{exposed.n:,} of {data.units:,} {kind} are"
    text = f"{opening}{rate} (AUC {_plain(headline.auc)}), and {names} named as exposed."
    text = text[0].upper() + text[1:]
    if released is not None:
        text += f" {_released(released)}"
    return text


def stated_rate(headline: AttackPart) -> TprAt | None:
    """The rate that a verdict states: the smallest resolved FPR, else the largest one that is bounded at all."""
    shown = [t for t in headline.tpr if t.estimate.value is not None]
    resolved = [t for t in shown if t.resolution == "resolved"]
    if resolved:
        return min(resolved, key=lambda t: t.fpr)
    return max(shown, key=lambda t: t.fpr, default=None)


def unresolved(attacks: list[AttackPart], exposed: ExposedPart, not_run: list[NotRun], target: TargetPart) -> list[str]:
    """What these data could not tell, in sentences."""
    out = []
    head = next(a for a in attacks if a.headline)
    for rate in head.tpr:
        if rate.resolution == "not resolvable":
            out.append(
                f"TPR at FPR {rate.fpr:g}: not resolvable with {rate.non_members:,} non-members of one target; "
                f"{_needed(rate)} audited records would resolve it."
            )
        elif rate.resolution == "bounded only":
            out.append(
                f"TPR at FPR {rate.fpr:g}: bounded only with {rate.non_members:,} non-members of one target; "
                f"{_needed(rate)} audited records would resolve it."
            )
    out.append(exposed.nameable)
    if target.pairs < 4:
        out.append(f"Intervals over {target.pairs} pairs of models: at least 4 pairs are needed.")
    out += [f"The attack {n.name} was not run: {n.reason}." for n in not_run]
    return out


def next_steps(
    headline: AttackPart, exposed: ExposedPart, policy: PolicyPart, target: TargetPart, data: DataPart
) -> list[str]:
    """What to do, most important first."""
    out = list(policy.needed)
    if exposed.n:
        out.append(
            f"Look at the {exposed.n:,} exposed records (records.parquet, or the table in the report): rare "
            f"combinations, wrong labels and duplicates are the usual reasons. Removing a record changes who is "
            f"exposed: audit again."
        )
    if (target.gap.value or 0) > 0.05:
        out.append(
            f"The model is {target.gap.value:.0%} more accurate on its training records than on others: more "
            f"regularisation (fewer parameters, larger leaves, early stopping) lowers every attack's power."
        )
    if any(t.resolution != "resolved" for t in headline.tpr):
        rate = next(t for t in headline.tpr if t.resolution != "resolved")
        out.append(f"To resolve FPR {rate.fpr:g}, audit {_needed(rate)} records (data.pool).")
    if target.pairs < 16:
        out.append(
            "With 64 models (32 pairs) intervals are narrower and records can be named: set references.models = 64."
        )
    if data.duplicates is not None and data.duplicates.exact_records + data.duplicates.near_records:
        out.append("Some records have a copy or near-copy in the data: name a privacy unit that holds them together.")
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


def _percent(number: Number) -> str:
    if number.value is None or number.low is None or number.high is None:
        return f"an unknown share ({number.reason})"
    return f"{100 * number.value:.3g} % [{100 * number.low:.3g} %, {100 * number.high:.3g} %]"


def _plain(number: Number) -> str:
    if number.value is None or number.low is None or number.high is None:
        return f"unknown: {number.reason}"
    return f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"
