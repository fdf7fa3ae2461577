"""Mean loss, spread and isolation, weighed as served best where references played the target."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from locard.errors import NotEnoughReferences
from locard.fields import check_fields
from locard.observe.signals import ScaledLogit
from locard.screen.cosine import Vectors, nearest_distance
from locard.screen.evidence import Evidence, Observed
from locard.screen.features import Centre, feature_vectors
from locard.screen.protocol import Reads, Valued
from locard.screen.reference_loss import mean_loss
from locard.screen.reference_spread import loss_spread
from locard.screen.rehearsal import rehearse
from locard.screen.surprise import surprises

PARTS = ("mean_loss", "loss_spread", "isolation", "own_effect")
STEPS = 4  # weights are tried in quarters
MOST, SURELY = 20_000, 5_000  # reference records that take part, as many of them as
PRODUCTS = 2e11  # let comparing them with all others take so many products, but not fewer than 5,000
FEWEST = 50
CLIP = 8.0  # standard deviations; beyond, every attack is right
FLOOR = 1e-3  # smallest standard deviation of a record, of the pooled one


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Mean loss, spread of the loss and distance to the nearest record, weighed as told by references playing target.

    Each part is taken as -log of the share of reference records above it, and the value is their weighted mean. The
    weights are those that would have led to the most true claims at a false-positive rate of 1 % on the reference
    records, whose membership in each reference is known: half of the references choose records, each of the others
    plays the target (``rehearsal``). All weights in quarters are tried; the mean of those within one standard error of
    the best is used, since the best of many owes something to luck; half of the weight stays with mean loss unless that
    alone is clearly worse.

    Where the candidates are in references themselves, they are the reference records, and a fourth part joins: the
    effect measured on the record itself, the mean scaled logit of references that hold it minus that of the others, in
    standard deviations.

    Learnt from are at most 20,000 reference records (5,000 where models and classes are many), chosen by their ids.
    Nothing is known or learnt of who is in a target.

    Args:
        centre: which logits isolation is measured on (see ``locard.screen.features``).

    Source: ours. The parts are those of Long et al. 2018 (arXiv:1802.04889) and the controls beside it; references in
    the place of targets as in Carlini et al. 2022 (arXiv:2112.03570); the rule of one standard error is that of
    Breiman et al. 1984.
    """

    centre: Centre = "auto"

    reads: ClassVar[Reads] = "losses and logits"
    references: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_fields(self)

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``: mean -log share of reference records further out, 0 or more.

        Raises:
            NotEnoughReferences: too few records are in some references and not in others, or a candidate has fewer
                than two references without it.
        """
        evidence.candidates.need_outside(2, "combined")
        seen, own = evidence.reference_records, evidence.pool is None
        pool = seen.once.get(("features", self.centre), lambda: feature_vectors(seen, centre=self.centre))
        candidates = pool if own else feature_vectors(evidence.candidates, centre=self.centre)
        # what is learnt is kept with the pool: population records are valued by the same evidence
        learnt = seen.once.get(("combined", self.centre), lambda: _learnt(evidence, pool, own=own))
        far = nearest_distance(candidates, pool, apart=evidence.own, workers=evidence.workers)
        parts = _parts(evidence.candidates, far, own=own)
        return Valued(
            surprises(parts, learnt.reference) @ learnt.weights,
            dict(zip(PARTS, parts.T, strict=False)),
            {
                "weights": dict(zip(PARTS, learnt.weights.tolist(), strict=False)),
                "learnt_from": len(learnt.reference),
                "players": learnt.players,
            },
            words="mean loss {mean_loss:.3g} nats, spread {loss_spread:.3g}, nearest record at {isolation:.3g}"
            + (", measured effect {own_effect:.3g} standard deviations" if own else "")
            + ", weighed as served best where references played the target",
            compared=(candidates, pool),
        )


@dataclass(frozen=True, eq=False)
class Learnt:
    """``weights: float64[parts]``; ``players``: how many references played the target.

    ``reference: float64[records, parts]``, each part sorted: what candidates are measured against.
    """

    weights: Float64[np.ndarray, "parts"]
    reference: Float64[np.ndarray, "records parts"]
    players: int


def _learnt(evidence: Evidence, pool: Vectors, *, own: bool) -> Learnt:
    """From the reference records alone.

    Raises:
        NotEnoughReferences: too few members to learn from.
    """
    seen = evidence.reference_records
    most = int(np.clip(PRODUCTS / max(pool.rows.size, 1), min(SURELY, MOST), MOST))
    places = np.sort(np.argsort(seen.ties, kind="stable")[:most])
    far = np.full(len(pool), np.nan)
    apart = evidence.own_of_pool.at(places)
    far[places] = nearest_distance(pool.at(places), pool, apart=apart, workers=evidence.workers)
    rules = mixtures(len(PARTS) - (not own))
    done = rehearse(seen, places, lambda some: _parts(some, far, own=own), rules)
    if done.members < FEWEST:
        raise NotEnoughReferences(
            f"screen combined: reference records that some screening references hold and others do not are needed to "
            f"learn from, at least {FEWEST} over all references, found {done.members}. Train more references (8 or "
            f"more screening ones), or choose another screen."
        )
    reference = _parts(seen, far, own=own)[places]
    known = np.isfinite(reference).all(axis=1)
    return Learnt(best_mixture(rules, done.recall), np.sort(reference[known], axis=0), done.recall.shape[1])


def mixtures(parts: int) -> Float64[np.ndarray, "rules parts"]:
    """All weights in quarters that add up to 1.

    >>> len(mixtures(3)), mixtures(2).tolist()[:2]
    (15, [[0.0, 1.0], [0.25, 0.75]])
    """
    whole = [w for w in product(range(STEPS + 1), repeat=parts) if sum(w) == STEPS]
    return np.array(whole, dtype=np.float64) / STEPS


def best_mixture(
    rules: Float64[np.ndarray, "rules parts"], recall: Float64[np.ndarray, "shares players rules"]
) -> Float64[np.ndarray, "parts"]:
    """The mean of the rules that are at most one standard error (of the paired difference) behind the best.

    Where the first part alone, mean loss, is not two standard errors behind, half of the weight stays with it: players
    are few, and it is the safest of the single rules.
    """
    best_of_share = recall.mean(axis=1).max(axis=1)
    relative = (recall / np.where(best_of_share > 0, best_of_share, 1.0)[:, None, None]).mean(axis=0)
    mean = relative.mean(axis=0)
    behind = relative[:, [int(mean.argmax())]] - relative
    error = behind.std(axis=0, ddof=1) / np.sqrt(len(behind))
    near: np.ndarray = rules[behind.mean(axis=0) <= error].mean(axis=0)
    plain = int(np.flatnonzero(rules[:, 0] == 1.0)[0])
    if behind[:, plain].mean() <= 2 * error[plain]:
        near = (near + rules[plain]) / 2
    return near


def measured_effect(seen: Observed) -> Float64[np.ndarray, "records"]:
    """What membership did to each record's scaled logit, in standard deviations of the references without it.

    0 where no reference holds it or fewer than two do not; the mean over queries.
    """
    inside = seen.references.moments(ScaledLogit(), inside=True)
    outside = seen.references.moments(ScaledLogit(), inside=False)
    known = (inside.count >= 1) & (outside.count >= 2)
    spread = np.sqrt(outside.squares / np.maximum(outside.count - 1, 1)[:, None])
    pooled = np.sqrt(np.mean(spread[known] ** 2, axis=0)) if known.any() else np.ones(spread.shape[1])
    difference = np.where(known[:, None], inside.mean - outside.mean, 0.0)
    size = difference / np.maximum(spread, np.maximum(FLOOR * pooled, 1e-12))
    out: np.ndarray = np.clip(size.mean(axis=-1), -CLIP, CLIP)
    return out


def _parts(seen: Observed, isolation: np.ndarray, *, own: bool) -> Float64[np.ndarray, "records parts"]:
    columns = [mean_loss(seen), loss_spread(seen), isolation]
    return np.column_stack([*columns, measured_effect(seen)] if own else columns)
