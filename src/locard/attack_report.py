"""From claims about a model that may only be asked to an ``AttackResult``: verdict, cards, table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from locard import __version__
from locard.assess.choose import registered_name
from locard.assess.looks import describe_selected, plain
from locard.assess.screening import Tested
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
        name: of the attack, with its settings.
        attack: what made them.
        places: of its candidates among all candidates.
        claims: one row for each of these.
        how: "direct", or "indirect": the candidate itself was not asked.
        queries: ``int64[places]``, asked about each.
        log: sha256 of all rows that the target was asked by it, where it has a log of its own.
    """

    name: str
    attack: GMIA | GMIAIndirect
    places: np.ndarray
    claims: Claims
    how: str
    queries: np.ndarray
    log: str | None = None


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
    direct = [one for one in made if one.how == "direct"]
    others = sum(int(one.queries.sum()) for one in made if one.how != "direct")
    summary = AttackTree(
        locard_version=__version__,
        name=settings.name,
        seed=settings.seed,
        verdict=_verdict(parts, len(prepared.split.audited), checks),
        target=AskedPart(
            model=case.model.name,
            access=case.attacked.access,
            budget=case.attacked.budget,
            queries=target.queries + others,
            about_candidates=len(chosen.candidates),
            about_calibration=len(chosen.calibration),
            for_checks=len(chosen.checks),
            indirectly=others,
            log=target.log.digest,
        ),
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
        checks=checks,
        cards=_cards(case, tested, chosen, direct[0].claims, losses) if direct else [],
        not_run=not_run,
        unresolved=_unresolved(direct[0].claims if direct else None, parts[0], selection, checks),
        settings=settings.without_compute(),
    )
    return AttackResult(summary, _table(prepared, made))


def _claims_part(made: Made) -> AttackClaims:
    claims = made.claims
    p = claims.p_cal if claims.calibration else claims.p_rank
    return AttackClaims(
        name=made.name,
        how=made.how,
        settings=vars(made.attack),
        source=paper_of(registered_name(made.attack)),
        fdr=made.attack.fdr,
        queries=int(made.queries.sum()),
        log=made.log,
        tested=int(claims.tested.sum()),
        claimed=int(claims.claimed.sum()),
        smallest=float(np.nanmin(p)) if claims.tested.any() else None,
        promises=dict(claims.promises),
    )


def _verdict(parts: list[AttackClaims], candidates: int, checks: list[Any]) -> str:
    """One or two sentences an attack: each list of claims has a rate of its own, and both together have none."""
    wrong = [c.name for c in checks if c.passed is False]
    doubt = f" Read the checks first: not as expected: {', '.join(wrong)}." if wrong else ""
    several = len(parts) > 1
    said = [(f"By {p.name}: " if several else "") + _found(p, candidates) for p in parts]
    joint = " The rates are those of each list by itself, not of both together." if several else ""
    return " ".join(said) + joint + doubt


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


def _unresolved(direct: Claims | None, part: AttackClaims, selection: SelectionPart, checks: list[Any]) -> list[str]:
    out = []
    if direct is not None and selection.tested < selection.selected:
        out.append(
            f"The budget allowed {selection.tested:,} of {selection.selected:,} selected candidates, with their "
            f"calibration records."
        )
    if direct is None:
        out.append(
            "Claims of an indirect attack rest on p_rank alone here, which promises nothing where recipe or training "
            "size are guessed wrong."
        )
    elif not selection.calibration:
        out.append(
            "No held-out record is selected by the same screen, so nothing is calibrated: claims rest on p_rank, "
            "which promises nothing where recipe or training size are guessed wrong. Hold out more records "
            "(data.population), or select more candidates (screen.select)."
        )
    elif not part.claimed:
        fewest = fewest_claims(part.tested, selection.calibration, part.fdr)
        least = f"at least {fewest:,} must be claimed together" if fewest else "no claim is possible"
        out.append(f"With {selection.calibration:,} calibration records and {part.tested:,} tested candidates {least}.")
    out += [f"Not judged: {c.name} ({c.expected})." for c in checks if c.passed is None]
    return out


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


def _table(prepared: Prepared, made: list[Made]) -> Any:
    """``claims.csv``: one row a candidate and attack, in the order of the data."""
    import pandas as pd

    audited = prepared.split.audited
    frames = []
    for one in made:
        claims, count = one.claims, len(audited)
        p = claims.p_cal if claims.calibration else claims.p_rank
        decision, how = np.full(count, "not tested", dtype=object), np.full(count, "", dtype=object)
        decision[one.places], how[one.places] = np.where(claims.claimed, "member", "abstained"), one.how
        columns: dict[str, Any] = {"id": prepared.records.ids[audited], "label": prepared.records.labels[audited]}
        columns |= {"attack": one.name, "decision": decision}
        for column, values in (("p", p), ("p_adjusted", claims.p_adjusted), ("p_rank", claims.p_rank)):
            columns[column] = _spread(values, one.places, count)
        columns["p_tail"] = _spread(claims.p_tail, one.places, count)
        columns |= {"how": how, "queries": _spread(one.queries, one.places, count, 0.0).astype(int)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _spread(values: np.ndarray, places: np.ndarray, count: int, missing: float = np.nan) -> np.ndarray:
    out = np.full(count, missing)
    out[places] = values
    return out
