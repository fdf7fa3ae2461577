"""From claims about a model that may only be asked to an ``AttackResult``: verdict, cards, table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from locard import __version__
from locard.assess.choose import registered_name
from locard.assess.looks import describe_selected, plain
from locard.assess.screening import Tested
from locard.attack_lists import Listed, together
from locard.attack_result import (
    AskedPart,
    AttackClaims,
    AttackResult,
    AttackTree,
    ClaimCard,
    KnownPart,
    SelectionPart,
)
from locard.attacks import paper_of
from locard.attacks.gmia import GMIA
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.observe.asking import AskableTarget
from locard.prepare import Prepared
from locard.prepare_attack import AttackCase
from locard.report.numbers import percent
from locard.result import NotRun
from locard.stats import fewest_claims
from locard.types import Claims

CARDS = 50  # tested candidates that have a card


@dataclass(frozen=True, eq=False)
class ChosenToAsk:
    """Places, among candidates or population, of those the target is asked about."""

    candidates: np.ndarray
    calibration: np.ndarray
    checks: np.ndarray


@dataclass(frozen=True, eq=False)
class Made:
    """One attack's claims.

    Attributes:
        listed: the claims.
        attack: what made them.
        how: "direct", or "indirect": no candidate was asked about.
        calibrating: asked in place of calibration records, by an attack that asks its own.
        log: sha256 of all rows that the target was asked by it, where it has a log of its own.
    """

    listed: Listed
    attack: GMIA | GMIAIndirect
    how: Literal["direct", "indirect"]
    calibrating: int = 0
    log: str | None = None

    @property
    def spent(self) -> int:
        """Queries in all."""
        return int(self.listed.queries.sum()) + self.calibrating


def attack_result(
    case: AttackCase,
    tested: Tested,
    chosen: ChosenToAsk,
    target: AskableTarget,
    made: list[Made],
    checks: list[Any],
    losses: tuple[np.ndarray, np.ndarray],
    not_run: list[NotRun],
) -> AttackResult:
    """The tree and the table.

    Args:
        case: what was asked for.
        tested: what the screen selected.
        chosen: whom the target was asked about.
        target: what it was asked.
        made: the claims of each attack, direct ones first.
        checks: whether guesses fit.
        losses: of these candidates, nats: under the target ``float64[candidates]``, and under the testing references
            ``float64[models, candidates]``.
        not_run: attacks that the budget did not allow.
    """
    prepared, settings, screening = case.prepared, case.prepared.settings, tested.screening
    selection = SelectionPart(
        name=screening.name,
        settings={f.name: getattr(screening.screen, f.name) for f in fields(screening.screen)},  # type: ignore[arg-type]
        settled={k: plain(v) for k, v in tested.screened.settled.items()},
        selected=int(tested.selected.sum()),
        tested=len(chosen.candidates),
        calibration=len(chosen.calibration),
    )
    parts = [_claims_part(one) for one in made]
    direct = [one.listed.claims for one in made if one.how == "direct"]
    lists = [one.listed for one in made]
    whole = together(lists, prepared.records.ids[prepared.split.audited])
    merged = None if whole is None else _merged_part(whole, parts)
    summary = AttackTree(
        locard_version=__version__,
        name=settings.name,
        seed=settings.seed,
        verdict=_verdict(parts, merged, len(prepared.split.audited), checks),
        target=_asked(case, chosen, target, made),
        known=KnownPart(
            source=settings.data.source,
            candidates=len(prepared.split.audited),
            reference_records=0 if screening.pool is None else len(screening.pool),
            held_out=len(prepared.split.population),
            dropped=case.dropped,
            references=len(screening.testing),
            screened_by=len(screening.models),
            recipe=prepared.recipe.name,
            training_size=float(np.mean([len(i) for i in prepared.plan.train_index])),
        ),
        selection=selection,
        attacks=parts,
        merged=merged,
        checks=checks,
        cards=_cards(case, tested, chosen, direct[0], losses) if direct else [],
        not_run=not_run,
        unresolved=_unresolved(made, parts, selection, checks),
        settings=settings.without_compute(),
    )
    return AttackResult(summary, _table(prepared, lists if whole is None else [*lists, whole]))


def _asked(case: AttackCase, chosen: ChosenToAsk, target: AskableTarget, made: list[Made]) -> AskedPart:
    others = sum(one.spent for one in made if one.how != "direct")
    return AskedPart(
        model=case.model.name,
        access=case.attacked.access,
        budget=case.attacked.budget,
        queries=target.queries + others,
        about_candidates=len(chosen.candidates),
        about_calibration=len(chosen.calibration),
        for_checks=len(chosen.checks),
        indirectly=others,
        log=target.log.digest,
    )


def _claims_part(made: Made) -> AttackClaims:
    one = made.listed
    return AttackClaims(
        name=one.name,
        how=made.how,
        settings=vars(made.attack),
        source=paper_of(registered_name(made.attack)),
        fdr=one.fdr,
        log=made.log,
        **_counts(one),
    )


def _merged_part(one: Listed, parts: list[AttackClaims]) -> AttackClaims:
    return AttackClaims(
        name=one.name,
        how="either",
        settings={"lists": [p.name for p in parts]},
        source="union of lists, each at an equal share of the rate",
        fdr=one.fdr,
        log=None,
        **_counts(one),
    )


def _counts(one: Listed) -> dict[str, Any]:
    claims = one.claims
    return {
        "queries": int(one.queries.sum()),
        "calibration": claims.calibration,
        "tested": int(claims.tested.sum()),
        "claimed": int(claims.claimed.sum()),
        "smallest": float(np.nanmin(one.p)) if claims.tested.any() else None,
        "promises": dict(claims.promises),
    }


def _verdict(parts: list[AttackClaims], merged: AttackClaims | None, candidates: int, checks: list[Any]) -> str:
    """One or two sentences an attack, and of all lists as one: each has a rate of its own."""
    wrong = [c.name for c in checks if c.passed is False]
    doubt = f" Read the checks first: not as expected: {', '.join(wrong)}." if wrong else ""
    if merged is None:
        return _found(parts[0], candidates) + doubt
    said = " ".join(f"By {p.name}: {_found(p, candidates)}" for p in parts)
    joint = f" The rates are those of each list by itself. As one list, merged: {_found(merged, candidates)}"
    return said + joint + doubt


def _found(part: AttackClaims, candidates: int) -> str:
    if part.claimed:
        return (
            f"{part.claimed:,} of {candidates:,} candidates are claimed to be in the training set, of {part.tested:,} "
            f"tested; on average over repetitions at most {percent(part.fdr)} of such claims are false. Nothing is "
            f"said of the others."
        )
    return (
        f"Nothing is claimed: of {part.tested:,} tested candidates (of {candidates:,}) none passes at a false "
        f"discovery rate of {percent(part.fdr)}. That does not say that none of them is in the training set."
    )


def _unresolved(made: list[Made], parts: list[AttackClaims], selection: SelectionPart, checks: list[Any]) -> list[str]:
    out = []
    if any(p.how == "direct" for p in parts) and selection.tested < selection.selected:
        out.append(
            f"The budget allowed {selection.tested:,} of {selection.selected:,} selected candidates, with their "
            f"calibration records."
        )
    for one, part in zip(made, parts, strict=True):
        name = f"{part.name}: " if len(parts) > 1 else ""
        wanted = one.attack.calibration if isinstance(one.attack, GMIAIndirect) else None
        if wanted and part.calibration < wanted:
            out.append(
                f"{name}{wanted:,} calibration records were asked for, and the screen selects {part.calibration:,} "
                f"held-out records as it does the {part.tested:,} tested candidates: no calibrated p-value is below "
                f"1/{part.calibration + 1}. Raise data.population, or records."
            )
        if not part.calibration and not wanted:
            out.append(f"{name}{_uncalibrated(part)}")
        elif part.calibration and not part.claimed:
            fewest = fewest_claims(part.tested, part.calibration, part.fdr)
            least = f"at least {fewest:,} must be claimed together" if fewest else "no claim is possible"
            out.append(
                f"{name}With {part.calibration:,} calibration records and {part.tested:,} tested candidates {least}."
            )
    out += [f"Not judged: {c.name} ({c.expected})." for c in checks if c.passed is None]
    return out


def _uncalibrated(part: AttackClaims) -> str:
    rest = "claims rest on p_rank, which promises nothing where recipe or training size are guessed wrong."
    if part.how == "direct":
        return (
            f"No held-out record is selected by the same screen, so nothing is calibrated: {rest} Hold out more "
            f"records (data.population), or select more candidates (screen.select)."
        )
    return (
        f"Nothing is calibrated: {rest} Set its calibration, 9 at the fewest for p up to .1; each takes as long as a "
        f"candidate (locard plan says how long)."
    )


def _cards(
    case: AttackCase, tested: Tested, chosen: ChosenToAsk, claims: Claims, losses: tuple[np.ndarray, np.ndarray]
) -> list[ClaimCard]:
    """The first tested candidates, claimed ones before others, then by p-value."""
    prepared = case.prepared
    whole = describe_selected(
        prepared.records, prepared.split.audited, tested.screened, tested.near, int(tested.selected.sum())
    )
    by_place = dict(zip(tested.screened.order.tolist(), whole, strict=False))
    own, others = losses
    order = np.lexsort((claims.p_tail, claims.p_adjusted, ~claims.claimed))[:CARDS]
    return [
        ClaimCard(
            **by_place[int(chosen.candidates[row])],
            reference_losses=[float(f"{v:.4g}") for v in np.sort(others[:, row])],
            loss=float(own[row]),
            p_rank=float(claims.p_rank[row]),
            p_tail=float(claims.p_tail[row]),
            p_cal=float(claims.p_cal[row]) if claims.calibration else None,
            p_adjusted=float(claims.p_adjusted[row]),
            claimed=bool(claims.claimed[row]),
        )
        for row in order.tolist()
    ]


def _table(prepared: Prepared, lists: list[Listed]) -> Any:
    """``claims.csv``: one row a candidate and list, in the order of the data."""
    import pandas as pd

    audited = prepared.split.audited
    count, frames = len(audited), []
    for one in lists:
        claims = one.claims
        decision = one.spread(np.where(claims.claimed, "member", "abstained").astype(object), count, "not tested")
        columns: dict[str, Any] = {"id": prepared.records.ids[audited], "label": prepared.records.labels[audited]}
        columns |= {"attack": one.name, "decision": decision}
        numbers = {"p": one.p, "p_adjusted": claims.p_adjusted, "p_rank": claims.p_rank, "p_tail": claims.p_tail}
        columns |= {name: one.spread(values, count, np.nan) for name, values in numbers.items()}
        columns |= {"how": one.spread(one.how, count, ""), "queries": one.spread(one.queries, count, 0)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
