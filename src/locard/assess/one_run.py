"""What one training run says of epsilon: a lower bound from the first model, whose members were decided by coins."""

from __future__ import annotations

from locard.assess.estimates import Scored
from locard.assess.scoring import Audited
from locard.result import Number, OneRunPart
from locard.settings import MeasureSettings
from locard.settings_one_run import OneRunSettings
from locard.stats import epsilon_lower_bound, epsilon_of_gdp, epsilon_on_grid, gdp_on_grid
from locard.types import Estimate

DESIGN = "coin_flips"


def one_run_part(
    headline: Scored, audited: Audited, settings: OneRunSettings | None, measure: MeasureSettings
) -> OneRunPart | None:
    """The bound of the declared headline attack on the first model; None where no coins decided its members.

    Other attacks' bounds are looks of their own: nothing is promised of the largest of them, so only the one that was
    declared beforehand stands here, at the full confidence.
    """
    if audited.plan.design != DESIGN:
        return None
    asked = settings or OneRunSettings()
    scores, member = headline.unit_scores[0], audited.unit_member[0]
    rng = audited.seed.child("one run").generator()
    confidence = measure.confidence
    mu: Estimate | None = None
    if asked.mechanism == "gaussian":
        mu = gdp_on_grid(scores, member, rng=rng, confidence=confidence)
        epsilon = epsilon_of_gdp(mu, delta=asked.delta)
    elif asked.delta:
        epsilon = epsilon_on_grid(scores, member, rng=rng, delta=asked.delta, confidence=confidence)
    else:
        epsilon = epsilon_lower_bound(scores, member, rng=rng, confidence=confidence)
    refuted = None
    if asked.claimed is not None and epsilon.value is not None:
        refuted = epsilon.value > asked.claimed
    others = len(audited.plan.references) - len(audited.plan.left_out(int(audited.plan.targets[0])))
    return OneRunPart(
        attack=headline.label,
        epsilon=Number.of(epsilon),
        delta=asked.delta,
        mechanism=asked.mechanism,
        mu=None if mu is None else Number.of(mu),
        claimed=asked.claimed,
        refuted=refuted,
        coins=int(member.size),
        members=int(member.sum()),
        references=others if headline.attack.needs.inside or headline.attack.needs.outside else 0,
        assumes=_assumptions(headline.label, audited, asked),
    )


def _assumptions(label: str, audited: Audited, asked: OneRunSettings) -> list[str]:
    """What must hold, in sentences."""
    alone = audited.records.n_units == len(audited.records)
    coin = "record" if alone else "unit (all of its records move together)"
    out = [
        f"Each audited {coin} was put into the training set of this one model, or left out, by a fair coin of its own; "
        f"this audit has tossed the coins.",
        "The bound is about this training mechanism, whatever it does, when a record is added or removed; one run is "
        "enough for it, and it says nothing about any one record.",
        f"The attack {label} was declared as the headline before anything was trained. The bounds of other "
        f"attacks are each by themselves, and the largest of them is no bound.",
    ]
    if asked.mechanism == "gaussian":
        out.append(
            "Training is a Gaussian mechanism (mu-GDP), as in DP-SGD with full batches. Of any other mechanism this is "
            "no lower bound."
        )
    return out
