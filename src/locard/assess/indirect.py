"""The indirect attack in an audit: all targets are asked the same queries about a record, never the record itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float64

from locard.assess.claims import calibrated_table, ranked_table, scores_table
from locard.assess.looks import plain
from locard.assess.scoring import Audited
from locard.assess.screening import Tested
from locard.assess.selected import OWN, POPULATION, pairs_of
from locard.attacks import paper_of
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.attacks.indirect.chain import BothWays, Questions
from locard.attacks.indirect.found import PROMISES as KOST
from locard.attacks.indirect.found import SWAPPED
from locard.data.records import Records
from locard.errors import DataError
from locard.observe.asking import AskableTarget, QueryLog
from locard.observe.signals import ScaledLogit
from locard.result import AttackPart, ClaimsPart, Histogram, IndirectPart, Number, ReferenceCount, Roc
from locard.seeds import Seed
from locard.stats import p_calibrated, p_rank
from locard.train.influence import TeachableReferences

RANKS = "ranks among references"
PROMISES = {
    "p_rank": "The rank of the target's combined answer among those of the testing references, which had no part in "
    "choosing or shaping the queries: at most u with probability at most u, if the target was made like them.",
    **KOST,
    "p_cal": "The rank of the record's evidence among that of records outside the same target that the same screen "
    "selects, each with queries of its own: an average over such records, never a promise about one. Where the tested "
    "records themselves calibrate, each is left out of its own set, and the realised rate is at most nominal by "
    "construction.",
    "abstained": 'Nothing is said. It never means "non-member", nor "safe".',
}


class Networks(Protocol):
    """Where all networks of a run are."""

    def of(self, models: np.ndarray) -> TeachableReferences:
        """Some of them, by their numbers in the plan, in memory."""
        ...


def indirect_part(
    method: GMIAIndirect,
    label: str,
    audited: Audited,
    tested: Tested,
    networks: Networks,
    everyone: Records,
    confidence: float,
) -> AttackPart:
    """Its node of ``result.json``: claims about the first selected records, and how each was attacked.

    Claims are by the paper's raw p-values, by ranks, calibrated on the others of these records that are outside the
    same target, and on as many of the population as ``method.calibration`` says, picked by the same screen out of
    ``everyone``.

    Raises:
        DataError: a target was asked about a record itself (a fault), or a record stands among the reference records.
    """
    plan, halves = audited.plan, tested.screening.halves
    places = tested.screened.order[: min(method.records, int(tested.selected.sum()))]
    drawing = audited.seed.child("indirect", "calibration").generator()
    outside = tested.calibrating(len(places), method.calibration, drawing)
    taboo = QueryLog()
    taboo.add(audited.records.features[places])
    taboo.add(everyone.features[outside])
    models = np.concatenate([halves.screening, halves.testing])
    asking = _Asking(
        method,
        references=networks.of(models),
        choosing=np.arange(len(halves.screening)),
        targets=networks.of(tested.targets),
        taboo=taboo,
        seed=audited.seed,
    )
    mine = [asking.about(audited.records.select([place])) for place in places.tolist()]
    others = [asking.about(everyone.select([place])) for place in outside.tolist()]
    member, pair = plan.member[tested.targets][:, places], pairs_of(audited, tested)
    behind = [len(halves.screening), len(halves.testing)] if method.swap else [len(halves.testing)]
    rows = _rows(mine, others, member, pair, references=behind, confidence=confidence)
    parts = [
        _record_part(one, asking.direct(audited.records.select([place]), held))
        for one, place, held in zip(mine, places.tolist(), member.T, strict=True)
    ]
    return _part(method, label, tested, rows, parts, sum(behind))


@dataclass(frozen=True, eq=False)
class _Of:
    """One record: its queries, and what came of asking each target: ``float64[targets]`` each."""

    made: Questions | BothWays
    ranks: Float64[np.ndarray, "targets"]
    raw: Float64[np.ndarray, "targets"]
    scores: Float64[np.ndarray, "targets"]


@dataclass(frozen=True, eq=False)
class _Asking:
    """Who chooses queries, who tests, who is asked, and which rows nobody may be asked about."""

    method: GMIAIndirect
    references: TeachableReferences
    choosing: np.ndarray
    targets: TeachableReferences
    taboo: QueryLog
    seed: Seed

    def about(self, record: Records) -> _Of:
        """The whole chain for one record, and all targets' answers.

        Raises:
            DataError: a target was asked about the record itself, or it stands among the reference records.
        """
        rng = self.seed.child("indirect", record.fingerprint).generator()
        made = self.method.prepare(record, self.references, rng=rng, avoid=self.taboo, choosing=self.choosing)
        said = []
        for row in range(len(self.targets)):
            one = self.targets.of(np.array([row]))
            asked = AskableTarget(_answers(one), classes=self.targets.classes, answers="logits")
            said.append(made.ask(asked))
            if asked.log.holds(record.features[0]):
                raise DataError(f"record {plain(record.ids[0])!r} was asked about. This is a fault: please report it.")
        ranks, raw, scores = (np.array([getattr(v, name) for v in said]) for name in ("p_rank", "p_kost", "score"))
        return _Of(made, ranks, raw, scores)

    def direct(self, record: Records, held: np.ndarray) -> float | None:
        """Median p by rank of the direct attack over the targets that held the record; None without any."""
        if not held.any():
            return None
        testing = self.references.of(np.setdiff1d(np.arange(len(self.references)), self.choosing))
        z = np.concatenate([self.targets.logits(record.features), testing.logits(record.features)])
        signal = ScaledLogit()(z, np.full(len(z), int(record.y[0])))[:, 0]
        others = signal[len(self.targets) :, None]
        p = [p_rank(s[None], others)[0] for s in signal[: len(self.targets)][held]]
        return float(np.median(p))


def _answers(one: TeachableReferences) -> Any:
    def answer(features: np.ndarray) -> np.ndarray:
        said: np.ndarray = one.logits(features)[0]
        return said

    return answer


def _rows(
    mine: Sequence[_Of],
    others: Sequence[_Of],
    member: np.ndarray,
    pair: np.ndarray,
    *,
    references: Sequence[int],
    confidence: float,
) -> list[ClaimsPart]:
    """Claims at each cut-off, for each kind of p-value."""
    ranks, raw, scores = (np.stack([getattr(o, name) for o in mine], axis=1) for name in ("ranks", "raw", "scores"))
    plain_rows, ranked = ranked_table(raw, ranks, member, pair, references=references, confidence=confidence)
    everyone = np.ones(member.shape[1], dtype=np.bool_)
    own = scores_table(scores, everyone, member, pair, factor=1.0, confidence=confidence)
    rows = [*(r.part() for r in plain_rows), *(r.part(RANKS) for r in ranked), *(r.part(OWN) for r in own)]
    if others:
        known = np.stack([o.scores for o in others], axis=1)
        p = np.stack([p_calibrated(s, k) for s, k in zip(scores, known, strict=True)])
        table = calibrated_table(p, member, pair, calibration=len(others), confidence=confidence)
        rows += [r.part(POPULATION) for r in table]
    return rows


def _record_part(one: _Of, direct: float | None) -> IndirectPart:
    made = one.made
    return IndirectPart(
        id=plain(made.record),
        queries=len(made),
        optimised=made.optimised,
        influence=float(made.influence.mean()) if len(made) else None,
        control=float(made.control.mean()) if len(made) else None,
        distance=float(made.distance.min()) if len(made) else None,
        nearest=made.nearest,
        direct=direct,
    )


def _part(
    method: GMIAIndirect,
    label: str,
    tested: Tested,
    rows: list[ClaimsPart],
    parts: list[IndirectPart],
    references: int,
) -> AttackPart:
    none = Number(
        value=None, reason=f"{label} attacks {len(parts)} selected records, one by one: see its claims about them"
    )
    return AttackPart(
        name="gmia_indirect",
        label=label,
        headline=False,
        settings={k: v for k, v in vars(method).items() if isinstance(v, bool | int | float | str) or v is None},
        access=method.access.name,
        source=paper_of("gmia_indirect"),
        references=ReferenceCount(inside=0, outside=references),
        variance_factor=1.0,
        discrete=False,
        auc=none,
        tpr=[],
        balanced_accuracy=none,
        epsilon=none,
        roc=Roc(fpr=[], tpr=[], low=[], high=[]),
        histogram=Histogram(edges=[], members=[], non_members=[]),
        screening=tested.part(),
        claims=rows,
        promises=PROMISES | (SWAPPED if method.swap else {}),
        indirect=parts,
    )
