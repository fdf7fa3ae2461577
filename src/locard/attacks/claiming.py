"""From tests to claims: which records are tested, what calibrates them, at which error rate, and what that promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from locard.data.records import Records
from locard.data.shared_rows import rows_in_both
from locard.errors import DataError, SettingsError
from locard.observe.references import Population, References
from locard.types import Claims, Membership, Scores


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a test says of each record: ``float64[records]``, read only where ``tested``.

    ``score`` is what calibration compares, higher = more likely a member; ``references: int64[records]`` says how many
    references without the record stand behind it.
    """

    tested: Membership
    score: Scores
    p_rank: Scores
    p_tail: Scores
    p_raw: Scores
    references: np.ndarray


def mask_of(name: str, given: Any, count: int, *, default: bool = True) -> Membership:
    """``bool[count]`` from what the caller gave; None is ``default`` for all.

    Raises:
        DataError: another shape or other values.
    """
    if given is None:
        return np.full(count, default)
    mask = np.asarray(given)
    if mask.shape != (count,) or mask.dtype != np.bool_:
        raise DataError(
            f"{name}: True or False for each of {count} records is needed, found shape {mask.shape} of type "
            f"{mask.dtype}. Give a bool array in the order of the records."
        )
    return mask


def refuse_known(records: Records, tested: Membership, pool: Records) -> None:
    """Nothing, where no tested record stands among those that references were drawn from.

    Raises:
        DataError: some do: their references may have been trained on them, so that they are no OUT references.
    """
    places = np.flatnonzero(tested)
    found = rows_in_both(records.select(places), pool)
    if len(found):
        here, there = places[found[0, 0]], found[0, 1]
        raise DataError(
            f"pool: tested records must not be among those that references were trained on, but {len(found)} of "
            f"{len(places)} are (record {_shown(records, here)} is row {there}, id {_shown(pool, there)}, of the pool: "
            f"same features, same label). Take them out of the pool and train again, or do not test them."
        )


def like_the_records(population: Population, references: References, *, rng: np.random.Generator | None) -> References:
    """The population's references, each record using as many and such ones as some tested-like record has OUT.

    Where references hold some of the records, a record is scored against those that do not hold it; a population
    record is held by none and would be scored against all. So it draws the pattern of a random record, and both are
    scored identically.

    Raises:
        DataError: the two views are not of the same reference models.
        SettingsError: ``rng`` is needed and missing.
    """
    if len(population.references) != len(references):
        raise DataError(
            f"population: the answers of the same {len(references)} reference models are needed, found those of "
            f"{len(population.references)}. Leave the same models out of both."
        )
    outside = references.outside
    if outside.all():
        return population.references
    if rng is None:
        raise SettingsError(
            "rng: calibration on a population draws, for each of its records, which references stand for OUT. Give "
            "rng=, a numpy Generator."
        )
    return population.references.restricted(outside[:, rng.integers(references.records, size=len(population))])


def make_claims(
    records: Records,
    evidence: Evidence,
    *,
    fdr: float,
    held_out: Float64[np.ndarray, "calibration"],
    among: Membership,
    screened: bool,
) -> Claims:
    """Claims at a false discovery rate: by calibrated p-values where there is a calibration set, else by rank.

    Args:
        records: all of them; their ids are kept.
        evidence: of the records.
        fdr: false discovery rate of the claims.
        held_out: scores of calibration records that are no candidates.
        among: bool[records], tested records that are known non-members, each left out of its own calibration set.
        screened: whether records and calibration records passed a screen.
    """
    from locard.stats import adjusted, benjamini_hochberg, benjamini_yekutieli, p_calibrated

    tested, calibration = evidence.tested, len(held_out) + int(among.sum())
    p_cal = np.full(len(records), np.nan)
    if calibration:
        p_cal[tested] = p_calibrated(evidence.score[tested], held_out, among[tested])
    rule: Callable[..., Any] = benjamini_hochberg if calibration else benjamini_yekutieli
    final = adjusted(np.where(tested, p_cal if calibration else evidence.p_rank, np.nan), rule)
    k = evidence.references[tested]
    return Claims(
        ids=records.ids,
        tested=tested,
        p_rank=np.where(tested, evidence.p_rank, np.nan),
        p_tail=np.where(tested, evidence.p_tail, np.nan),
        p_raw=np.where(tested, evidence.p_raw, np.nan),
        p_cal=p_cal,
        p_adjusted=final,
        claimed=np.where(tested, final, 1.0) <= fdr * (1 + 1e-12),  # p m / r at the limit, rounded up
        references=evidence.references,
        calibration=calibration,
        promises=_promises(int(tested.sum()), k, calibration, fdr, screened=screened, owner=bool(among.any())),
    )


def _promises(
    tested: int, k: np.ndarray, calibration: int, fdr: float, *, screened: bool, owner: bool
) -> dict[str, str]:
    from locard.stats import fewest_claims, guarantee
    from locard.stats.tails import TAIL_MODEL

    low, high = int(k.min(initial=1_000_000)), int(k.max(initial=0))
    floor = f"1/{high + 1}" if low >= high else f"1/{low + 1} to 1/{high + 1}, depending on the record"
    fewest = fewest_claims(tested, calibration, fdr)
    adjusting = (
        f"Benjamini and Hochberg on p_cal over all {tested} tested records. "
        + (
            "Calibration records are themselves among the tested: count the false claims, the rate is not promised. "
            if owner
            else ""
        )
        + (f"At least {fewest} must be claimed together." if fewest else "Too few calibration records for any claim.")
        if calibration
        else f"Benjamini and Yekutieli on p_rank over all {tested} tested records, right in any dependence."
    )
    return {
        "p_rank": "For this record at most u with probability at most u, if the target was made like its references "
        "(same recipe, training size, sampling and pool) and they had no part in choosing the record. Never below "
        f"{floor}.",
        "p_tail": f"{TAIL_MODEL}. A model, not data, below {floor}: heavier tails make it too small.",
        "p_raw": f"The smoothed CDF of the references' losses, and below {floor} the tail model. Not calibrated: in "
        "the paper such values were below .01 for 5 % of the non-members.",
        "p_cal": guarantee(calibration, screened=screened),
        "p_adjusted": adjusting,
        "claimed": f'"Member", where p_adjusted is at most {fdr:g}: on average over repetitions at most {fdr:.0%} of '
        "the claims are false; not so many of these claims, and no chance for one of them.",
        "abstained": 'Nothing is said. It never means "non-member", nor "safe".',
    }


def _shown(records: Records, place: int) -> str:
    identity = records.ids[place]
    return repr(identity.item() if isinstance(identity, np.generic) else identity)
