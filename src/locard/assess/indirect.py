"""The indirect attack in an audit: all targets are asked the same queries about a record, never the record itself."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from locard.assess.claims import CUT_OFFS, ranked_table
from locard.assess.looks import plain
from locard.assess.scoring import Audited
from locard.assess.screening import Tested
from locard.assess.selected import pairs_of
from locard.attacks import paper_of
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.attacks.indirect.found import PROMISES as KOST
from locard.data.records import Records
from locard.errors import DataError
from locard.observe.asking import AskableTarget, QueryLog
from locard.observe.signals import ScaledLogit
from locard.result import AttackPart, ClaimsPart, Histogram, IndirectPart, Number, ReferenceCount, Roc
from locard.stats import p_rank
from locard.train.influence import TeachableReferences

RANKS = "ranks among references"
PROMISES = {
    "p_rank": "The rank of the target's combined answer among those of the testing references, which had no part in "
    "choosing or shaping the queries: at most u with probability at most u, if the target was made like them.",
    **KOST,
    "abstained": 'Nothing is said. It never means "non-member", nor "safe".',
}


class Networks(Protocol):
    """Where all networks of a run are."""

    def of(self, models: np.ndarray) -> TeachableReferences:
        """Some of them, by their numbers in the plan, in memory."""
        ...


def indirect_part(
    method: GMIAIndirect, label: str, audited: Audited, tested: Tested, networks: Networks, confidence: float
) -> AttackPart:
    """Its node of ``result.json``: claims about the first selected records, and how each was attacked.

    Raises:
        DataError: a target was asked about a record itself (a fault), or a record stands among the reference records.
    """
    plan, halves = audited.plan, tested.screening.halves
    models = np.concatenate([halves.screening, halves.testing])
    references, targets = networks.of(models), networks.of(tested.targets)
    choosing = np.arange(len(halves.screening))
    places = tested.screened.order[: min(method.records, int(tested.selected.sum()))]
    ranks, raw, parts = np.ones((len(tested.targets), len(places))), np.ones((len(tested.targets), len(places))), []
    for column, place in enumerate(places.tolist()):
        record = audited.records.select([place])
        rng = audited.seed.child("indirect", record.fingerprint).generator()
        taboo = QueryLog()
        taboo.add(audited.records.features[places])
        made = method.prepare(record, references, rng=rng, avoid=taboo, choosing=choosing)
        for row in range(len(tested.targets)):
            one = targets.of(np.array([row]))
            asked = AskableTarget(_answers(one), classes=targets.classes, answers="logits")
            said = made.ask(asked)
            if asked.log.holds(record.features[0]):
                raise DataError(f"record {plain(record.ids[0])!r} was asked about. This is a fault: please report it.")
            ranks[row, column], raw[row, column] = said.p_rank, said.p_kost
        held = plan.member[tested.targets, place]
        parts.append(
            IndirectPart(
                id=plain(record.ids[0]),
                queries=len(made),
                optimised=made.optimised,
                influence=float(made.influence.mean()) if len(made) else None,
                control=float(made.control.mean()) if len(made) else None,
                distance=float(made.distance.min()) if len(made) else None,
                nearest=made.nearest,
                direct=_direct(record, targets, references.of(np.setdiff1d(np.arange(len(models)), choosing)), held),
            )
        )
    member, pair = plan.member[tested.targets][:, places], pairs_of(audited, tested)
    plain_rows, ranked = ranked_table(
        raw, ranks, member, pair, references=len(halves.testing), cut_offs=CUT_OFFS, confidence=confidence
    )
    rows = [*(r.part() for r in plain_rows), *(r.part(RANKS) for r in ranked)]
    return _part(method, label, tested, rows, parts, len(halves.testing))


def _answers(one: TeachableReferences) -> Any:
    def answer(features: np.ndarray) -> np.ndarray:
        said: np.ndarray = one.logits(features)[0]
        return said

    return answer


def _direct(
    record: Records, targets: TeachableReferences, testing: TeachableReferences, held: np.ndarray
) -> float | None:
    """Median p by rank of the direct attack over the targets that held the record."""
    if not held.any():
        return None
    z = np.concatenate([targets.logits(record.features), testing.logits(record.features)])
    signal = ScaledLogit()(z, np.full(len(z), int(record.y[0])))[:, 0]
    others = signal[len(targets) :, None]
    p = [p_rank(s[None], others)[0] for s in signal[: len(targets)][held]]
    return float(np.median(p))


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
        promises=PROMISES,
        indirect=parts,
    )
