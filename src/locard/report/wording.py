"""The sentences of the report, in one place, so that the page, the terminal and the model card promise the same.

What may be said follows from what is estimated (docs/estimands.md): a grade speaks of names on average, never of one
name; "not shown" is not "safe"; an interval is for these records, and "pass" is for these attacks.
"""

from __future__ import annotations

from typing import Final

from locard.report.numbers import percent, thousands
from locard.result import AttackPart, PolicyPart, Result
from locard.types import Access

GRADES: Final = ("exposed", "suspected", "not shown")

OUTCOMES: Final = {
    "pass": ("Within policy", "+"),
    "fail": ("Policy exceeded", "×"),
    "inconclusive": ("Not settled by these data", "?"),
    "none": ("No policy was given", "–"),
}

RESOLUTIONS: Final = {
    "resolved": "resolved: at least 10 non-members of one target are expected above the threshold",
    "bounded only": "bounded only: so few non-members stand behind it that the interval says all there is to say",
    "not resolvable": "not resolvable: too few non-members to tell a rate this small from none",
}

ACCESS: Final = {
    Access.LABELS: (
        "Anyone who may ask the model and sees its decision",
        "Sees the predicted class and nothing else.",
    ),
    Access.PROBABILITIES: (
        "Anyone who may ask the model and sees how sure it is",
        "Sees the probability that the model gives to each class, as most prediction services return.",
    ),
    Access.LOGITS: (
        "Anyone who may ask the model and sees its raw scores",
        "Sees the model's unrounded raw scores (logits), which say a little more than probabilities.",
    ),
    Access.WHITE_BOX: (
        "Anyone who holds a copy of the model",
        "Reads the model's parameters: the receiver of a model file, or whoever copies it.",
    ),
    Access.TRAINING: (
        "Only someone who watches the training",
        "Sits inside the training loop. This is the owner's own view, an upper limit rather than an outsider.",
    ),
}

ALREADY_HOLDS: Final = (
    "In every case below the attacker already has the record in hand, features and label, and learns one more fact: "
    "that it was used to train this model. How much harm that fact does depends on what the training data say about "
    "people as a group (patients of a clinic, clients in arrears)."
)

NOT_SHOWN: Final = (
    "“Not shown” is not “safe”. It says that this audit, with these attacks and this number of models, could not show "
    "that the record leaves a trace. A stronger attack, or more models, may."
)

GUARANTEE_LIMITS: Final = (
    "The rate is an average over repeated audits. It is not a promise about this list, nor about any one name on it."
)

EPSILON: Final = (
    "ε is a lower bound, each attack by itself, on one target's training run: a claim that this training is "
    "(ε, 0)-differentially private with a smaller ε is refuted at the stated confidence. It says nothing of how much "
    "larger ε is."
)

FALSE_POSITIVE: Final = (
    "A false-positive rate (FPR) is the share of records outside the training set that the attack wrongly claims. "
    "The true-positive rate (TPR) is the share of training records that it claims rightly at that price."
)


def access_of(name: str) -> Access | None:
    """The access level behind its name in ``result.json`` (either spelling), or None for one unknown here.

    >>> access_of("probabilities"), access_of("the model's weights"), access_of("telepathy")
    (<Access.PROBABILITIES: 2>, <Access.WHITE_BOX: 4>, None)
    """
    key = name.strip().casefold()
    for access in Access:
        if key in (access.name.casefold(), access.name.casefold().replace("_", " "), access.words.casefold()):
            return access
    return None


def access_words(name: str) -> str:
    """The access level in a few words; a name unknown here is given back as it is."""
    access = access_of(name)
    return access.words if access else name


def references_used(attack: AttackPart) -> str:
    """Which reference models the attacker must train: ``none``, ``out`` or ``both``.

    The variance factor tells it, because it is set by what an attack learns from its references; an attack with
    factor 1 uses references only where the result counts some.
    """
    if attack.variance_factor > 2:
        return "both"
    if attack.variance_factor > 1:
        return "out"
    seen = attack.references
    return "none" if not (seen.inside or seen.outside) else "both" if seen.inside else "out"


def references_need(attack: AttackPart) -> str:
    """What the attacker must have besides access to the model, in a sentence."""
    kind, seen = references_used(attack), attack.references
    if kind == "none":
        return "Needs no models of its own; at most some records of the same kind, to set its threshold."
    if kind == "out":
        return (
            f"Also trains {_models(seen.outside)} of its own on similar records, none of them the record in question: "
            f"an outsider who has data of the same kind."
        )
    return (
        f"Also trains models of its own, some with the record in question and some without ({thousands(seen.inside)} "
        f"and {thousands(seen.outside)} here): someone who knows the recipe and has data of the same kind, such as a "
        f"partner, a former employee, or an assessor."
    )


def references_short(attack: AttackPart) -> str:
    """The same for a table cell: references trained with a record (IN) and without it (OUT)."""
    seen = attack.references
    return {
        "none": "none",
        "out": f"{thousands(seen.outside)} OUT",
        "both": f"{thousands(seen.inside)} IN, {thousands(seen.outside)} OUT",
    }[references_used(attack)]


def grade_meaning(grade: str, fdr: float | None) -> str:
    """What a grade promises, and what it does not.

    >>> grade_meaning("suspected", 0.05)
    "Training on the record changes the model's answer for it; how often an attack would find it is not shown."
    """
    if grade == "exposed":
        rate = percent(fdr) if fdr is not None else "a stated share"
        return (
            f"Named under a rule by which, on average over repeated audits, at most {rate} of the names are wrong. "
            f"Wrong means: training on the record changes nothing, or this attack finds it in no more than 1 of 10 "
            f"retrainings."
        )
    if grade == "suspected":
        return (
            "Training on the record changes the model's answer for it; how often an attack would find it is not shown."
        )
    return NOT_SHOWN


def design_sentence(result: Result) -> str:
    """How members and non-members came about, in plain words."""
    t = result.target
    one = "record" if result.data.units == result.data.n else "unit"  # all records of a unit are in a model, or none is
    if t.models == 1 and t.kind == "procedure":
        return f"One model was trained. A fair coin decided, {one} by {one}, whether it was trained on it or not."
    how = {
        "pairs": (
            f"{thousands(t.models)} models were trained in {thousands(t.pairs)} pairs. For every pair a fair coin "
            f"decided, {one} by {one}, which of the two models was trained on it; the other was not."
        ),
        "subsample": f"{thousands(t.models)} models were trained, each on its own random part of the {one}s.",
        "coin_flips": f"{thousands(t.models)} models were trained; a fair coin decided each {one}'s membership.",
        "out_only": (f"{thousands(t.models)} models were trained; those of the attacker never saw an audited record."),
    }.get(t.design, f"{thousands(t.models)} models were trained, by the plan “{t.design}”.")
    if t.kind == "saved outputs":
        how += " Their outputs and training sets were given; nothing was trained for this audit."
    return (
        f"{how} {thousands(t.targets)} of them were attacked in turn. A model that is attacked, and its partner, are "
        f"never among the references that the attack learns from."
    )


def interval_sentence(result: Result) -> str:
    """What the intervals mean and what they rest on."""
    t = result.target
    if t.models == 1:
        return (
            f"Every interval here is of this one model, attacked on these {thousands(result.data.n)} records. It says "
            f"nothing of another run of the same training."
        )
    if result.sequential is not None:
        return (
            f"Every interval of an AUC or a TPR is the end of a sequence over {thousands(t.pairs)} pairs of targets, "
            f"attacked with {thousands(result.sequential.burn_in)} pairs of references that stayed the same; it holds "
            f"although one looked after every pair. It is for these {thousands(result.data.n)} records and these "
            f"references, and rests on the values of pairs being close to normally distributed."
        )
    return (
        f"Every interval treats the pair of models as the unit ({thousands(t.pairs)} here), widened where an attack "
        f"learns from the same reference models (factor c in the tables; generous where the leak is strong). It is "
        f"for these {thousands(result.data.n)} records, over random halves of them, and rests on pair averages being "
        f"close to normally distributed. It does not speak for other records or another recipe."
    )


def policy_meaning(policy: PolicyPart) -> str:
    """What an outcome says and what it leaves open."""
    if policy.outcome == "pass":
        return (
            "A pass is for this recipe, these records, these attacks and this number of reference models. It rests on "
            "pair averages being close to normally distributed."
        )
    if policy.outcome == "fail":
        return "At least one limit is exceeded by the whole of its interval, not only by the estimate."
    if policy.outcome == "inconclusive":
        return "The intervals reach across a limit, or a limit cannot be resolved. This is neither a pass nor a fail."
    return "Set limits under [policy] in the settings to have the audit decide pass, fail or inconclusive."


def tpr_words(fpr: float) -> str:
    """A false-positive rate as a price a reader can picture.

    >>> tpr_words(0.001), tpr_words(0.03)
    ('while 1 in 1,000 non-members is wrongly claimed', 'while 3 % of non-members are wrongly claimed')
    """
    one_in = 1 / fpr if fpr else 0
    if fpr and abs(one_in - round(one_in)) < 1e-6 * one_in:
        return f"while 1 in {thousands(round(one_in))} non-members is wrongly claimed"
    return f"while {percent(fpr)} of non-members are wrongly claimed"


def _models(count: int) -> str:
    return f"{thousands(count)} model{'' if count == 1 else 's'}"
