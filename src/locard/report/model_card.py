"""The paragraph for a model card."""

from __future__ import annotations

from locard.report.attack_tables import headline_rate
from locard.report.numbers import percent, shown, thousands
from locard.report.one_run import bound_shown
from locard.report.sequential import saved_words
from locard.report.wording import OUTCOMES, access_words, references_short, tpr_words
from locard.result import AuditResult


def model_card(result: AuditResult) -> str:
    """One paragraph of plain text: what was audited, what was found, and what that does not cover."""
    r, a = result.summary, result.summary.headline
    rate, unit = headline_rate(a), "units" if r.data.unit is not None else "records"
    said = [
        f"Membership leakage was audited with Locard {r.locard_version} (seed {r.seed}): {thousands(r.target.models)} "
        f"models of the recipe {r.target.estimator} (plan: {r.target.design}), {thousands(r.data.n)} audited records, "
        f"data fingerprint {r.data.fingerprint[:16]}."
    ]
    found = (
        f"The declared headline attack, {a.label} (access: {access_words(a.access)}; reference models: "
        f"{references_short(a)}), has AUC {shown(a.auc)}"
    )
    if rate is None or rate.estimate.value is None:
        said.append(f"{found}; no true-positive rate at a small false-positive rate is resolvable with these data.")
    else:
        bound = "" if rate.resolution == "resolved" else f" ({rate.resolution})"
        said.append(f"{found} and finds {shown(rate.estimate, 'share')} of the members{bound} {tpr_words(rate.fpr)}.")
    if a.auc.confidence is not None:
        said.append(f"Intervals in brackets are at {percent(a.auc.confidence)}, for these records and this recipe.")
    if r.sequential is not None:
        said.append(saved_words(r.sequential))
    if r.one_run is not None and r.one_run.epsilon.value is not None:
        said.append(
            f"From one training run, with {thousands(r.one_run.coins)} coins: epsilon is at least "
            f"{bound_shown(r.one_run)} at delta {r.one_run.delta:g}; how much larger it is was not measured."
        )
    e, total = r.exposed, r.data.units if r.data.unit is not None else r.data.n
    if e.fdr is None:
        said.append(f"No {unit} are named, because no error rate could be promised.")
    else:
        said.append(
            f"{thousands(e.n)} of {thousands(total)} {unit} are named as exposed, at a false discovery rate of "
            f"{percent(e.fdr)} on average over repeated audits; for the others no trace of that size was shown, which "
            f"does not say that there is none."
        )
    if r.released is not None:
        found = ", ".join(f"{x.label} has AUC {shown(x.auc)}" for x in r.released.attacks[:1]) or "no attack was run"
        said.append(f"On the released model itself, {found}. {r.released.statement}")
    if r.policy.outcome != "none":
        said.append(f"Policy: {OUTCOMES[r.policy.outcome][0].lower()}.")
    failed = [c.name for c in r.controls if c.passed is False]
    if failed:
        said.append(f"Controls not as expected: {', '.join(failed)}; the numbers should not be relied on.")
    others = [x.label for x in r.scored if not x.headline]
    if others:
        said.append(f"Also run: {', '.join(others)}.")
    said.append("Other recipes, other data, stronger attacks and attackers with more models are not covered.")
    return " ".join(said)
