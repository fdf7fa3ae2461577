"""From one target's claims to the table of an audit: precision, recall and realised FPR at each cut-off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from locard.assess.scoring import Audited
from locard.attacks.gmia import GMIA
from locard.attacks.protocol import Claiming
from locard.errors import DataError
from locard.observe.target import Target
from locard.result import ClaimsPart, Number
from locard.stats import p_calibrated, ratio_over_pairs
from locard.types import Claims, Estimate

CUT_OFFS = (0.1, 0.01, 0.001)


@dataclass(frozen=True, kw_only=True)
class ClaimsAt:
    """One row of the table; counts are of (target, record) pairs that were tested."""

    p: float
    calibrated: bool
    selected: int
    true_claims: int
    false_claims: int
    abstentions: int
    precision: Estimate
    recall: Estimate
    realised_fpr: Estimate

    def part(self, calibration: str | None = None) -> ClaimsPart:
        """The row as a node of ``result.json``; ``calibration`` says by whom p-values were calibrated or ranked."""
        numbers = {k: Number.of(getattr(self, k)) for k in ("precision", "recall", "realised_fpr")}
        return ClaimsPart(**(vars(self) | numbers), calibration=calibration)


def claim_targets(
    attack: Claiming,
    audited: Audited,
    *,
    selected: Any = None,
    population_selected: Any = None,
    owner: bool = True,
    targets: Sequence[int] | np.ndarray | None = None,
) -> list[Claims]:
    """Leave-one-pair-out claims, one value a target.

    Args:
        attack: what claims.
        audited: records, plan and what the models said.
        selected: bool[records], from a screen that saw none of the references used here (``with_references``).
        population_selected: bool[population], from the same screen.
        owner: calibrate on the target's own non-members too, each left out of its own calibration set.
        targets: models; default: all targets of the plan.
    """
    chosen = audited.plan.targets if targets is None else np.asarray(targets)
    out = []
    for t in map(int, chosen):
        out.append(
            attack.claim(
                Target(audited.observations, t, access=audited.access),
                audited.records,
                audited.references(t),
                population=audited.population_for(t),
                rng=audited.seed.child("claim", repr(attack), t).generator(),
                selected=selected,
                population_selected=population_selected,
                non_member=~audited.plan.member[t] if owner else None,
            )
        )
    return out


def in_order(claims: Claims, ids: Any) -> Claims:
    """One target's claims as one row for each of ``ids``, in their order, matched by id and by nothing else.

    A record that the claims do not have is not tested. (Public code for this attack drops failed records from one list
    and not from the other, and then tests each record by the losses of another.)

    Raises:
        DataError: ids that repeat, so that they name no record, in another order than the claims'.

    >>> p = np.array([0.01, 0.5])
    >>> claims = Claims(ids=np.array(["b", "a"]), tested=p < 1, p_rank=p, p_tail=p, p_raw=p, p_cal=p, p_adjusted=p,
    ...                 claimed=p < 0.1, references=np.array([9, 9]), calibration=0, promises={})
    >>> moved = in_order(claims, ["a", "b", "c"])
    >>> moved.p_rank.tolist(), moved.claimed.tolist()
    ([0.5, 0.01, nan], [False, True, False])
    """
    wanted, held = np.asarray(ids), np.asarray(claims.ids)
    if np.array_equal(wanted, held):
        return claims
    place = {identity: at for at, identity in enumerate(held.tolist())}
    if len(place) < len(held) or len(set(wanted.tolist())) < len(wanted):
        raise DataError(
            f"ids: each record's own id is needed to bring {len(held)} claims into the order of {len(wanted)} records, "
            f"found ids that repeat. Give both in the same order, or make ids unique."
        )
    at = np.array([place.get(identity, -1) for identity in wanted.tolist()], dtype=np.int64)
    known = at >= 0

    def moved(name: str, missing: Any) -> np.ndarray:
        column = getattr(claims, name)
        out = np.full(len(wanted), missing, dtype=column.dtype)
        out[known] = column[at[known]]
        return out

    numbers = {name: moved(name, np.nan) for name in ("p_rank", "p_tail", "p_raw", "p_cal", "p_adjusted")}
    return Claims(
        ids=wanted,
        tested=moved("tested", False),
        claimed=moved("claimed", False),
        references=moved("references", 0),
        calibration=claims.calibration,
        promises=claims.promises,
        **numbers,
    )


def claims_table(
    claims: Sequence[Claims],
    ids: Any,
    member: Bool[np.ndarray, "targets records"],
    pair: Int64[np.ndarray, "targets"],
    *,
    factor: float = GMIA.variance_factor,
    cut_offs: Sequence[float] = CUT_OFFS,
    confidence: float = 0.95,
) -> list[ClaimsAt]:
    """What claiming at fixed cut-offs gave, raw and calibrated, over all targets.

    precision = true claims / claims; recall = true claims / members tested; realised FPR = false claims / non-members
    tested; each pooled over targets and records, its interval by pair (``ratio_over_pairs``): for these records, and
    for this procedure. Abstentions enter none of them but recall.

    Where all of a target's own non-members calibrate it (``owner``), the calibrated realised FPR is at most nominal by
    construction. A calibrated row is undefined where no calibration set is large enough for its cut-off.

    Args:
        claims: one value a target.
        ids: the records' ids, in the order of the mask's columns; claims are matched to them by id.
        member: bool[targets, records].
        pair: int64[targets], the pair of each target.
        factor: the attack's variance factor; 1 where no target or partner is a reference of another.
        cut_offs: a record is claimed where its p-value is at most this.
        confidence: of the intervals.

    Raises:
        DataError: not one value of ``claims`` and one pair a target, or a mask for other records.
    """
    count = len(np.asarray(ids))
    if not len(claims) == len(member) == len(pair) or np.shape(member) != (len(claims), count) or not len(claims):
        raise DataError(
            f"claims, member, pair: one a target, and a mask of {count} records, are needed, found {len(claims)}, "
            f"{np.shape(member)} and {len(pair)}. Give them for the same targets."
        )
    ordered = [in_order(c, ids) for c in claims]
    tested = np.stack([c.tested for c in ordered])
    rule = _Pooling(tested, np.asarray(member), np.asarray(pair), factor, confidence)
    raw, calibrated = np.stack([c.p_raw for c in ordered]), np.stack([c.p_cal for c in ordered])
    rows = [ClaimsAt(p=p, calibrated=False, **rule.row(raw <= p, None)) for p in cut_offs]
    return rows + _calibrated_rows(rule, calibrated, max(c.calibration for c in ordered), cut_offs)


def scores_table(
    scores: Float64[np.ndarray, "targets records"],
    tested: Bool[np.ndarray, "records"],
    member: Bool[np.ndarray, "targets records"],
    pair: Int64[np.ndarray, "targets"],
    *,
    factor: float,
    cut_offs: Sequence[float] = CUT_OFFS,
    confidence: float = 0.95,
) -> list[ClaimsAt]:
    """The same for any score, on the same records: calibrated rows alone, each target by its own non-members."""
    p = calibrated_scores(scores, tested, member)
    rule = _Pooling(np.broadcast_to(tested, p.shape), member, pair, factor, confidence)
    return _calibrated_rows(rule, p, int((tested & ~member).sum(axis=1).max()), cut_offs)


def ranked_table(
    raw: Float64[np.ndarray, "targets records"],
    ranks: Float64[np.ndarray, "targets records"],
    member: Bool[np.ndarray, "targets records"],
    pair: Int64[np.ndarray, "targets"],
    *,
    references: Sequence[int],
    cut_offs: Sequence[float] = CUT_OFFS,
    confidence: float = 0.95,
) -> tuple[list[ClaimsAt], list[ClaimsAt]]:
    """The same for p-values that are given, of records that were all tested: raw ones, and ranks among references.

    Neither are calibrated. The targets share no model with each other's references. ``references``: how many there are
    behind a rank; of ranks that are sums, behind each of their parts.
    """
    floor, words = sum(1 / (k + 1) for k in references), " + ".join(f"1/{k + 1}" for k in references)
    counts = " and ".join(map(str, references))
    rule = _Pooling(np.ones(member.shape, dtype=np.bool_), member, pair, 1.0, confidence)
    ranked = []
    for c in cut_offs:
        short = floor > c * (1 + 1e-12)
        why = f"not resolvable: with {counts} references no p-value is below {words}" if short else None
        ranked.append(ClaimsAt(p=c, calibrated=False, **rule.row(ranks <= c * (1 + 1e-12), why)))
    return [ClaimsAt(p=c, calibrated=False, **rule.row(raw <= c, None)) for c in cut_offs], ranked


def calibrated_table(
    p: Float64[np.ndarray, "targets records"],
    member: Bool[np.ndarray, "targets records"],
    pair: Int64[np.ndarray, "targets"],
    *,
    calibration: int,
    cut_offs: Sequence[float] = CUT_OFFS,
    confidence: float = 0.95,
) -> list[ClaimsAt]:
    """The same for calibrated p-values that are given, of records that were all tested.

    The targets share no model with each other's references. ``calibration``: records that calibrated each target.
    """
    rule = _Pooling(np.ones(member.shape, dtype=np.bool_), member, pair, 1.0, confidence)
    return _calibrated_rows(rule, p, calibration, cut_offs)


def calibrated_scores(
    scores: Float64[np.ndarray, "targets records"],
    tested: Bool[np.ndarray, "records"],
    member: Bool[np.ndarray, "targets records"],
) -> Float64[np.ndarray, "targets records"]:
    """p_cal of the tested records by each target's own tested non-members, each left out of its own set; else NaN."""
    p = np.full(scores.shape, np.nan)
    for row, values in enumerate(scores):
        p[row, tested] = p_calibrated(values[tested], [], ~member[row, tested])
    return p


def _calibrated_rows(rule: _Pooling, p: np.ndarray, largest: int, cut_offs: Sequence[float]) -> list[ClaimsAt]:
    return [ClaimsAt(p=c, calibrated=True, **rule.row(p <= c, unresolved(largest, c))) for c in cut_offs]


def unresolved(calibration: int, cut_off: float) -> str | None:
    """Why no calibrated p-value can be as small as ``cut_off``; None where one can."""
    if not calibration:
        return "no calibration records: nothing is calibrated"
    if 1 / (calibration + 1) > cut_off:
        return f"not resolvable: with {calibration} calibration records no p-value is below 1/{calibration + 1}"
    return None


@dataclass(frozen=True, eq=False)
class _Pooling:
    """Counts over targets, with the pair as the unit."""

    tested: Bool[np.ndarray, "targets records"]
    member: Bool[np.ndarray, "targets records"]
    pair: Int64[np.ndarray, "targets"]
    factor: float
    confidence: float

    def row(self, small: Bool[np.ndarray, "targets records"], undefined: str | None) -> dict[str, Any]:
        """A row's numbers, where ``small`` p-values are claimed."""
        claimed = self.tested & small
        true, false = ((claimed & side).sum(axis=1) for side in (self.member, ~self.member))
        inside, outside = ((self.tested & side).sum(axis=1) for side in (self.member, ~self.member))
        return {
            "selected": int(self.tested.any(axis=0).sum()),
            "true_claims": int(true.sum()),
            "false_claims": int(false.sum()),
            "abstentions": int((self.tested & ~claimed).sum()),
            "precision": self._share(true, true + false, "precision", undefined),
            "recall": self._share(true, inside, "recall", undefined),
            "realised_fpr": self._share(false, outside, "realised FPR", undefined),
        }

    def _share(self, part: np.ndarray, whole: np.ndarray, what: str, undefined: str | None) -> Estimate:
        if undefined is not None:
            return Estimate.undefined(undefined)
        return ratio_over_pairs(part, whole, self.pair, factor=self.factor, confidence=self.confidence, what=what)
