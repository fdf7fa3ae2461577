"""The records that a screen selected, attacked one by one: claims at cut-offs, and a card for each record."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from locard.assess.claims import CUT_OFFS, calibrated_scores, claim_targets, claims_table, scores_table, unresolved
from locard.assess.looks import describe_selected
from locard.assess.scoring import Audited, score_targets
from locard.assess.screening import Tested
from locard.attacks.protocol import Attack, Claiming
from locard.data.records import Records
from locard.errors import NotEnoughReferences
from locard.observe.signals import LogProbability
from locard.result import CardPart, ClaimsPart, SidePart
from locard.types import Claims

CARDS = 50  # selected records that have a card
OWN, POPULATION = "own non-members", "population"


@dataclass(frozen=True, eq=False)
class OnSelected:
    """One attack on the selected records.

    Attributes:
        rows: its claims at each cut-off.
        recall: ``float64[targets]`` at the cut-off that attacks are compared at, NaN without a member tested; None
            where that cut-off cannot be resolved.
        factor: the variance factor.
        promises: what each kind of p-value promises.
        cards: of the first selected records, for an attack that claims.
        reason: why there is nothing.
    """

    rows: list[ClaimsPart]
    recall: Float64[np.ndarray, "targets"] | None
    factor: float
    promises: dict[str, str]
    cards: list[CardPart]
    reason: str | None = None


def compared_at(audited: Audited, tested: Tested) -> float | None:
    """The smaller of the first two cut-offs at which every target has enough calibration records; None for neither."""
    non_members = int((tested.selected & ~audited.plan.member[tested.targets]).sum(axis=1).min(initial=10**9))
    return next((p for p in (CUT_OFFS[1], CUT_OFFS[0]) if unresolved(non_members, p) is None), None)


def claims_on_selected(
    attack: Attack, audited: Audited, tested: Tested, everyone: Records, confidence: float
) -> OnSelected:
    """What the attack claims of the selected records, with the references that had no part in choosing them.

    Every attack is calibrated on the target's own non-members among the selected; one that claims also by its raw
    p-values, and on the population where that is screened alike.
    """
    half = audited.with_references(tested.screening.testing)
    member, pair = audited.plan.member[tested.targets], pairs_of(audited, tested)
    # targets of their own share no model with each other's references
    factor = 1.0 if audited.plan.design == "out_only" else attack.variance_factor
    ids = audited.records.ids
    try:
        if not isinstance(attack, Claiming):
            scores = score_targets(attack, half, tested.targets)
            table = scores_table(scores, tested.selected, member, pair, factor=factor, confidence=confidence)
            p = calibrated_scores(scores, tested.selected, member)
            return OnSelected([r.part(OWN) for r in table], _recall(p, audited, tested, member), factor, {}, [])
        own = _claims(attack, replace(half, population=None), tested, owner=True)
        table = claims_table(own, ids, member, pair, factor=factor, confidence=confidence)
        rows = [r.part(OWN if r.calibrated else None) for r in table]
        if tested.population is not None and tested.population.any():
            others = _claims(attack, half, tested, owner=False)
            table = claims_table(others, ids, member, pair, factor=factor, confidence=confidence)
            rows += [r.part(POPULATION) for r in table if r.calibrated]
    except NotEnoughReferences as few:
        return OnSelected([], None, factor, {}, [], reason=str(few))
    recall = _recall(np.stack([c.p_cal for c in own]), audited, tested, member)
    return OnSelected(rows, recall, factor, dict(own[0].promises), _cards(own, half, tested, everyone, member))


def _claims(attack: Claiming, audited: Audited, tested: Tested, *, owner: bool) -> list[Claims]:
    return claim_targets(
        attack,
        audited,
        selected=tested.selected,
        population_selected=None if owner else tested.population,
        owner=owner,
        targets=tested.targets,
    )


def pairs_of(audited: Audited, tested: Tested) -> np.ndarray:
    """``int64[targets]``: the pair of each target that may be tested."""
    plan = audited.plan
    pairs: np.ndarray = plan.pair[np.searchsorted(plan.targets, tested.targets)]
    return pairs


def _recall(p: np.ndarray, audited: Audited, tested: Tested, member: np.ndarray) -> np.ndarray | None:
    level = compared_at(audited, tested)
    if level is None:
        return None
    inside = member & tested.selected
    with np.errstate(invalid="ignore"):
        share: np.ndarray = (inside & (p <= level)).sum(axis=1) / inside.sum(axis=1)
    return share


def _cards(
    claims: list[Claims], audited: Audited, tested: Tested, everyone: Records, member: np.ndarray
) -> list[CardPart]:
    """One card a record, the most vulnerable first."""
    plan, screened = audited.plan, tested.screened
    described = describe_selected(everyone, plan.audited, screened, tested.near, CARDS)
    places = screened.order[: len(described)]
    losses = -audited.observations.select(places).signal(LogProbability()).mean(axis=-1)  # [models, cards]
    learners = tested.screening.testing
    out = []
    for column, (place, words) in enumerate(zip(places.tolist(), described, strict=True)):
        held = member[:, place]
        without = learners[~plan.member[learners, place]]
        sides = {
            name: _side([claims[t] for t in np.flatnonzero(mask)], place, losses[tested.targets[mask], column])
            for name, mask in (("held", held), ("not_held", ~held))
        }
        out.append(CardPart(**words, reference_losses=_short(losses[without, column]), **sides))
    return out


def _side(claims: list[Claims], place: int, losses: np.ndarray) -> SidePart:
    def middle(name: str) -> float | None:
        values = np.array([getattr(c, name)[place] for c in claims])
        return None if not len(values) or np.isnan(values).all() else float(np.nanmedian(values))

    return SidePart(
        targets=len(claims),
        claimed=sum(bool(c.claimed[place]) for c in claims),
        p_rank=middle("p_rank"),
        p_tail=middle("p_tail"),
        p_cal=middle("p_cal"),
        losses=_short(losses),
    )


def _short(values: np.ndarray) -> list[float]:
    """Sorted, to four digits: enough for a drawing."""
    return [float(f"{v:.4g}") for v in np.sort(values)]
