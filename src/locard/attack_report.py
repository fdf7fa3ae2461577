"""From claims about a model that may only be asked to an ``AttackResult``: verdict, cards, table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from locard import __version__
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
from locard.observe.asking import AskableTarget
from locard.prepare import Prepared
from locard.prepare_attack import AttackCase
from locard.types import Claims

CARDS = 50  # tested candidates that have a card


@dataclass(frozen=True, eq=False)
class ChosenToAsk:
    """Places, among candidates or population, of those the target is asked about."""

    candidates: np.ndarray
    calibration: np.ndarray
    checks: np.ndarray


def attack_result(
    case: AttackCase,
    tested: Tested,
    chosen: ChosenToAsk,
    target: AskableTarget,
    claims: dict[str, Claims],
    checks: list[Any],
    losses: tuple[np.ndarray, np.ndarray],
) -> AttackResult:
    """The tree and the table.

    Args:
        case: what was asked for.
        tested: what the screen selected.
        chosen: whom the target was asked about.
        target: what it was asked.
        claims: by attack, of the candidates that were asked about.
        checks: whether guesses fit.
        losses: of these candidates, nats: under the target ``float64[candidates]``, and under the testing references
            ``float64[models, candidates]``.
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
    parts = [_claims_part(name, case.attacks[name], c) for name, c in claims.items()]
    summary = AttackTree(
        locard_version=__version__,
        name=settings.name,
        seed=settings.seed,
        verdict=_verdict(parts[0], len(prepared.split.audited), checks),
        target=AskedPart(
            model=case.model.name,
            access=case.attacked.access,
            budget=case.attacked.budget,
            queries=target.queries,
            about_candidates=len(chosen.candidates),
            about_calibration=len(chosen.calibration),
            for_checks=len(chosen.checks),
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
        cards=_cards(case, tested, chosen, next(iter(claims.values())), losses),
        not_run=[],
        unresolved=_unresolved(parts[0], selection, checks),
        settings=settings.without_compute(),
    )
    return AttackResult(summary, _table(prepared, chosen, claims))


def _claims_part(name: str, attack: GMIA, claims: Claims) -> AttackClaims:
    p = claims.p_cal if claims.calibration else claims.p_rank
    return AttackClaims(
        name=name,
        settings=vars(attack),
        source=paper_of(name),
        fdr=attack.fdr,
        tested=int(claims.tested.sum()),
        claimed=int(claims.claimed.sum()),
        smallest=float(np.nanmin(p)) if claims.tested.any() else None,
        promises=dict(claims.promises),
    )


def _verdict(part: AttackClaims, candidates: int, checks: list[Any]) -> str:
    wrong = [c.name for c in checks if c.passed is False]
    doubt = f" Read the checks first: not as expected: {', '.join(wrong)}." if wrong else ""
    if part.claimed:
        return (
            f"{part.claimed:,} of {candidates:,} candidates are claimed to be in the training set, of {part.tested:,} "
            f"tested; on average over repetitions at most {percent_of(part.fdr)} of such claims are false. Nothing is "
            f"said of the others.{doubt}"
        )
    return (
        f"Nothing is claimed: of {part.tested:,} tested candidates (of {candidates:,}) none passes at a false "
        f"discovery rate of {percent_of(part.fdr)}. That does not say that none of them is in the training set.{doubt}"
    )


def percent_of(share: float) -> str:
    """A rate in words.

    >>> percent_of(0.05)
    '5 %'
    """
    return f"{100 * share:.3g} %"


def _unresolved(part: AttackClaims, selection: SelectionPart, checks: list[Any]) -> list[str]:
    out = []
    if selection.tested < selection.selected:
        out.append(
            f"The budget allowed {selection.tested:,} of {selection.selected:,} selected candidates, with their "
            f"calibration records."
        )
    if not selection.calibration:
        out.append(
            "No held-out record is selected by the same screen, so nothing is calibrated: claims rest on p_rank, "
            "which promises nothing where recipe or training size are guessed wrong. Hold out more records "
            "(data.population), or select more candidates (screen.select)."
        )
    elif not part.claimed:
        fewest = part.promises["p_adjusted"].split(". ")[1]
        out.append(f"With {selection.calibration:,} calibration records: {fewest}")
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


def _table(prepared: Prepared, chosen: ChosenToAsk, claims: dict[str, Claims]) -> Any:
    """``claims.csv``: one row a candidate and attack, in the order of the data."""
    import pandas as pd

    audited = prepared.split.audited
    frames = []
    for name, made in claims.items():
        columns: dict[str, Any] = {"id": prepared.records.ids[audited], "label": prepared.records.labels[audited]}
        p = made.p_cal if made.calibration else made.p_rank
        decision = np.full(len(audited), "not tested", dtype=object)
        decision[chosen.candidates] = np.where(made.claimed, "member", "abstained")
        columns |= {"attack": name, "decision": decision}
        for column, values in (("p", p), ("p_adjusted", made.p_adjusted), ("p_rank", made.p_rank)):
            columns[column] = _spread(values, chosen.candidates, len(audited))
        columns["p_tail"] = _spread(made.p_tail, chosen.candidates, len(audited))
        how = np.full(len(audited), "", dtype=object)
        how[chosen.candidates] = "direct"
        columns["how"] = how
        columns["queries"] = _spread(np.ones(len(chosen.candidates)), chosen.candidates, len(audited), 0.0).astype(int)
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _spread(values: np.ndarray, places: np.ndarray, count: int, missing: float = np.nan) -> np.ndarray:
    out = np.full(count, missing)
    out[places] = values
    return out
