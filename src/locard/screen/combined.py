"""How far training on a record is expected to move the answer: learnt from references that play the target."""

from __future__ import annotations

from dataclasses import dataclass
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

PARTS = ("mean_loss", "loss_spread", "isolation")
MOST = 5000  # records from which the weights are learnt
FEWEST = 50
CLIP = 8.0  # standard deviations; beyond, every attack is right
FLOOR = 1e-3  # smallest standard deviation of a record, of the pooled one
LEAST_VARIANCE = 0.02  # of effects about their prediction


@dataclass(frozen=True, eq=False)
class Effects:
    """What membership did to some records in the references.

    ``size: float64[records]``, the mean scaled logit of IN references minus that of OUT references, in standard
    deviations of the OUT ones; ``variance: float64[records]``, of its error; inf where it was not measured.
    """

    size: Float64[np.ndarray, "records"]
    variance: Float64[np.ndarray, "records"]

    def at(self, places: np.ndarray) -> Effects:
        """The effects of the records at these places."""
        return Effects(self.size[places], self.variance[places])


@dataclass(frozen=True, kw_only=True)
class Combined:
    """The effect that training on a record is expected to have, in standard deviations of its answers without it.

    References know who is in them. So each can play the target: for records that some references hold and others do
    not, the effect of membership is measured. Mean loss, spread of the loss and distance to the nearest other record,
    all from references without the record, each as -log of the share of records above it, predict that effect with
    weights that are not negative (least squares). The prediction is the value. Where the candidates themselves are in
    references, their own measured effect enters with the weight that its error leaves it.

    The records to learn from are those of the reference pool (at most 5,000, chosen by their ids), or the candidates
    where they are the pool. Nothing is known or learnt of who is in a target.

    Args:
        centre: which logits isolation is measured on (see ``locard.screen.features``).

    Source: ours. The parts are those of Long et al. 2018 (arXiv:1802.04889) and the controls beside it; the least
    squares are those of Lawson and Hanson 1974; the weight of the own effect is that of Efron and Morris 1973.
    """

    centre: Centre = "auto"

    reads: ClassVar[Reads] = "losses and logits"
    references: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_fields(self)

    def value(self, evidence: Evidence, *, rng: np.random.Generator | None = None) -> Valued:
        """``float64[candidates]``, standard deviations.

        Raises:
            NotEnoughReferences: too few records are in some references and not in others, or a candidate has fewer
                than two references without it.
        """
        evidence.candidates.need_outside(2, "combined")
        seen = evidence.reference_records
        effects, own = measured_effects(seen), measured_effects(evidence.candidates)
        known = np.flatnonzero(np.isfinite(effects.variance))
        players = known[np.argsort(seen.ties[known], kind="stable")[:MOST]]
        if len(players) < FEWEST:
            raise NotEnoughReferences(
                f"screen combined: at least {FEWEST} reference records that some screening references hold and two do "
                f"not are needed to learn from, found {len(players)}. Train more references, or choose another screen."
            )
        candidates = feature_vectors(evidence.candidates, centre=self.centre)
        pool = candidates if evidence.pool is None else feature_vectors(evidence.pool, centre=self.centre)
        parts, of_players = _parts(evidence, candidates, pool, players)
        learnt = fit(of_players, effects.at(players))
        predicted = learnt.predict(parts)
        share = learnt.variance / (learnt.variance + own.variance)
        value = predicted + share * (own.size - predicted)
        return Valued(
            value,
            {**dict(zip(PARTS, parts.T, strict=True)), "predicted": predicted, "own_weight": share},
            {"weights": dict(zip(PARTS, learnt.weights[1:].tolist(), strict=True)), "learnt_from": len(players)},
            words="expected effect {predicted:.3g} standard deviations, its own measured effect weighing "
            "{own_weight:.2f}: mean loss {mean_loss:.3g}, spread {loss_spread:.3g}, nearest record at {isolation:.3g}",
            compared=(candidates, pool),
        )


@dataclass(frozen=True, eq=False)
class Learnt:
    """Weights of the parts, the distribution they are measured against, and how far effects are from the prediction.

    ``reference: float64[players, parts]``, each part sorted; ``weights: float64[1 + parts]``, at least 0;
    ``variance`` of effects about their prediction, beyond their error.
    """

    reference: Float64[np.ndarray, "players parts"]
    weights: Float64[np.ndarray, "weights"]
    variance: float

    def predict(self, parts: Float64[np.ndarray, "records parts"]) -> Float64[np.ndarray, "records"]:
        """Expected effects; never falling in any part."""
        out: np.ndarray = _design(surprises(parts, self.reference)) @ self.weights
        return out


def fit(parts: Float64[np.ndarray, "players parts"], effects: Effects) -> Learnt:
    """Non-negative least squares of the measured effects on the parts, weighted by their precision."""
    from scipy.optimize import nnls

    reference = np.sort(parts, axis=0)
    design = _design(surprises(parts, reference))
    root = 1.0 / np.sqrt(effects.variance)
    weights = nnls(design * root[:, None], effects.size * root)[0]
    residual = effects.size - design @ weights
    precision = root**2
    excess = float((precision * (residual**2 - effects.variance)).sum() / precision.sum())
    return Learnt(reference, weights, max(excess, LEAST_VARIANCE))


def surprises(
    parts: Float64[np.ndarray, "records parts"], reference: Float64[np.ndarray, "players parts"]
) -> Float64[np.ndarray, "records parts"]:
    """-log of the share of reference records that are at least as large, counting one more: 0 for the smallest.

    >>> surprises(np.array([[3.0], [9.0]]), np.array([[1.0], [2.0], [3.0]])).round(4).tolist()
    [[0.6931], [1.3863]]
    """
    n = len(reference)
    below = np.column_stack([np.searchsorted(r, p, side="left") for p, r in zip(parts.T, reference.T, strict=True)])
    out: np.ndarray = -np.log1p(-below / (n + 1.0))
    return out


def measured_effects(seen: Observed) -> Effects:
    """What membership did to each record, where at least one reference holds it and two do not.

    The variance of the error is taken as 1 / IN + 1 / OUT references. That of the standard deviation is left out: it
    grows with the effect, and would take weight from the records that matter.
    """
    references = seen.references
    inside = references.moments(ScaledLogit(), inside=True)
    outside = references.moments(ScaledLogit(), inside=False)
    known = (inside.count >= 1) & (outside.count >= 2)
    n_in, n_out = np.maximum(inside.count, 1), np.maximum(outside.count, 2)
    spread = np.sqrt(outside.squares / (n_out - 1)[:, None])
    pooled = np.sqrt(np.mean(spread[known] ** 2, axis=0)) if known.any() else np.ones(spread.shape[1])
    difference = np.where(known[:, None], inside.mean - outside.mean, 0.0)
    size = difference / np.maximum(spread, np.maximum(FLOOR * pooled, 1e-12))
    size = np.clip(size.mean(axis=-1), -CLIP, CLIP)
    variance = 1.0 / n_in + 1.0 / n_out
    return Effects(size, np.where(known, variance, np.inf))


def _three(seen: Observed, isolation: np.ndarray) -> Float64[np.ndarray, "records parts"]:
    return np.column_stack([mean_loss(seen), loss_spread(seen), isolation])


def _design(parts: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(parts)), parts])


def _parts(
    evidence: Evidence, candidates: Vectors, pool: Vectors, players: np.ndarray
) -> tuple[Float64[np.ndarray, "records parts"], Float64[np.ndarray, "players parts"]]:
    """Mean loss, spread of the loss and isolation, of the candidates and of the records to learn from."""
    workers = evidence.workers
    isolation = nearest_distance(candidates, pool, apart=evidence.own, workers=workers)
    parts = _three(evidence.candidates, isolation)
    if evidence.pool is None:
        return parts, parts[players]
    isolation = np.full(len(pool), np.nan)
    apart = evidence.own_of_pool.at(players)
    isolation[players] = nearest_distance(pool.at(players), pool, apart=apart, workers=workers)
    return parts, _three(evidence.pool, isolation)[players]
