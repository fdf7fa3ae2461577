"""The audit in small, by references alone: half of them choose records, each of the others plays the target.

Who is in a reference is known. So it can be counted how many members of it would have been claimed among the records
that a rule chooses, which is what the rule is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

from locard.observe.references import Moments, References
from locard.observe.signals import OverQueries, ScaledLogit, Signal
from locard.screen.evidence import Observed
from locard.screen.halves import split_references
from locard.screen.surprise import surprises

LEVEL = 0.01  # share of the chosen non-members that may be claimed
SHARES, AT_LEAST = (0.02, 0.05), 100  # of the records, that a rule chooses; never fewer
PRIOR = 2.0  # pooled spread stands beside a record's own as so many references would

Parts: TypeAlias = Callable[[Observed], Float64[np.ndarray, "records parts"]]


@dataclass(frozen=True, eq=False)
class Rehearsed:
    """``recall: float64[shares, players, rules]``, members claimed of members chosen; ``members``: chosen in all."""

    recall: Float64[np.ndarray, "shares players rules"]
    members: int


def rehearse(
    seen: Observed,
    places: Int64[np.ndarray, "known"],
    parts: Parts,
    rules: Float64[np.ndarray, "rules parts"],
) -> Rehearsed:
    """How many members each rule would have let us claim, for every reference that plays the target.

    - the references that choose are of the other half: they neither play nor test, nor do their partners
    - a player is tested as an audit tests: by the tail of Student's t against references of its half without the
      record, its partner left out; claimed is what lies above all but ``LEVEL`` of the chosen records it does not hold
    - nothing of any target is read, and the order of the records does not matter

    Args:
        seen: records that some references hold, and what these said.
        places: of the records to take part.
        parts: what a rule weighs, as some references alone show it.
        rules: one row of weights a rule, for the surprise (``surprises``) of each part.

    Departs: a reference may hold a record more than once (bootstrap); it counts as any member.
    """
    references = seen.references
    found, members = [], 0
    for choosing, playing in _halves(references):
        shown = parts(Observed(seen.records, references.only(choosing)))[places]
        known = np.isfinite(shown).all(axis=1)
        chosen = _chosen(shown[known], seen.ties[places[known]], rules)
        among = places[known]
        for player in playing:
            score, usable = _tested(references, playing, int(player))
            member = references.only(np.array([player])).member[0]
            counts = [[_claimed(among[c], score, usable, member) for c in share] for share in chosen]
            members += max((inside for share in counts for _, inside in share), default=0)
            found.append([[hits / max(inside, 1) for hits, inside in share] for share in counts])
    recall = np.array(found).reshape(len(found), len(SHARES), len(rules)).transpose(1, 0, 2)
    return Rehearsed(recall, members)


def _halves(references: References) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Who chooses, who plays; both ways round, whole pairs on one side."""
    models = references.models
    alone = np.full(int(models.max(initial=0)) + 1, -1)
    partner = alone if references.pairs is None else references.pairs
    units = len(models) if references.pairs is None else len(np.unique(np.minimum(models, partner[models])))
    if units < 2:
        return
    halves = split_references(models, partner)
    yield halves.screening, halves.testing
    yield halves.testing, halves.screening


def _chosen(parts: np.ndarray, ties: np.ndarray, rules: np.ndarray) -> list[list[np.ndarray]]:
    """``[shares][rules]``: places of the records that each rule chooses."""
    value = surprises(parts, np.sort(parts, axis=0)) @ rules.T
    order = np.lexsort((np.broadcast_to(-ties[:, None], value.shape), -value), axis=0)
    counts = [max(int(share * len(value)), AT_LEAST) for share in SHARES]
    return [[column[:count] for column in order.T] for count in counts]


def _tested(references: References, playing: np.ndarray, player: int) -> tuple[np.ndarray, np.ndarray]:
    """The player's score of each record, and which records a reference without it can test."""
    partner = [] if references.pairs is None else [references.pairs[player]]
    others = references.only(playing).without(np.array([player, *partner]))
    signal: Signal = ScaledLogit() if references.queries == 1 else OverQueries(ScaledLogit())
    side = others.moments(signal, inside=False)
    answer = references.only(np.array([player])).signal_of(signal, 0)[:, 0]
    return _minus_log_tail(answer, side), side.count >= 1


def _minus_log_tail(answer: np.ndarray, side: Moments) -> np.ndarray:
    """-log of the chance that one more reference without the record answers as high, its spread held by the pooled."""
    from locard.stats.tails import log_student_tail

    count, squares = np.maximum(side.count, 1), side.squares[:, 0]
    pooled = max(float(squares.sum() / max(int((count - 1).sum()), 1)), 1e-12)
    freedom = count - 1 + PRIOR
    variance = (squares + PRIOR * pooled) / freedom * (1 + 1 / count)
    mean = np.where(side.count >= 1, side.mean[:, 0], answer)
    return -log_student_tail((answer - mean) / np.sqrt(variance), freedom)


def _claimed(chosen: np.ndarray, score: np.ndarray, usable: np.ndarray, member: np.ndarray) -> tuple[int, int]:
    """Members above all but ``LEVEL`` of the non-members among the chosen, and how many members there are."""
    tested = chosen[usable[chosen]]
    inside, outside = score[tested[member[tested]]], np.sort(score[tested[~member[tested]]])
    if not len(outside):
        return 0, len(inside)
    above = len(outside) - np.searchsorted(outside, inside, side="left")
    return int((above <= LEVEL * len(outside)).sum()), len(inside)
