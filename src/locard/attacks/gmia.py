"""GMIA, direct: a loss too low for models that did not see the record, as a test with p-values and abstention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from locard.attacks.claiming import Evidence, like_the_records, make_claims, mask_of, refuse_known
from locard.attacks.fields import Limits, check_fields
from locard.attacks.predictive import pooled_variance
from locard.attacks.protocol import Needs, bound, checked
from locard.data.records import Records
from locard.errors import NotEnoughReferences, SettingsError
from locard.observe.references import Moments, Population, References
from locard.observe.signals import LogProbability, OverQueries, ScaledLogit, Signal
from locard.observe.target import Target
from locard.types import Access, Claims, Scores

FEWEST = 2  # references without the record: a spread needs two
FLOOR = 1e-3  # smallest standard deviation of a record, of the pooled one
_BLOCK = 1 << 15  # records whose losses are gathered at a time


@dataclass(frozen=True, kw_only=True)
class GMIA:
    """The direct attack on vulnerable records: is the target surer of the label than models without the record are?

    The score is -log p_tail in nats; p_tail is the chance that one more model without the record is as sure, by
    Student's t with k - 1 degrees of freedom on the scaled logits of its k OUT references. ``claim`` gives p-values by
    rank, by that tail, by the paper's smoothed CDF of the losses, and calibrated on known non-members; it claims at a
    false discovery rate and otherwise abstains.

    Args:
        fdr: the false discovery rate of claims.

    Several queries of a record count by their mean. The variance factor is 1.5: OUT references only.

    Source: Long et al. 2018 (arXiv:1802.04889), 4.4; EuroS&P 2020, pages 521-534.

    Departs: beyond the references' losses a stated tail model, not an interpolating spline; it looks at scaled logits,
    whose tail does not pile up as losses do at 0. Claims are made by calibrated p-values at a false discovery rate, not
    by raw ones at a fixed cut-off, which in the paper were wrong five times as often as they said. A record's spread is
    at least a thousandth of the pooled one.
    """

    fdr: Annotated[float, Limits(above=0.0, most=0.5)] = 0.1

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.5
    needs: ClassVar[Needs] = Needs(outside=FEWEST)
    reads: ClassVar[tuple[Signal, ...]] = (ScaledLogit(), LogProbability())

    def __post_init__(self) -> None:
        check_fields(self)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``, nats."""
        side = references.moments(_signal(ScaledLogit(), references), inside=False)
        return _minus_log_tail(target, references, side, least=_least_variance(side))

    def claim(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
        selected: Any = None,
        population_selected: Any = None,
        non_member: Any = None,
        pool: Records | None = None,
    ) -> Claims:
        """P-values and claims, one row a record, under its id.

        Only records that a screen selected are tested, and only records that the *same* screen selects calibrate them.
        The screen may have seen neither the target nor these references: screen with one half of the references, test
        with the other. A record with fewer than two OUT references is not tested; it does not stop the others.

        Args:
            target, records, references: as for ``score``.
            population: records in no model. Those of ``population_selected`` calibrate: the outsider's case.
            rng: draws which references stand for OUT of a population record, where references hold some records.
            selected: bool[records]; None for all.
            population_selected: bool[population]; needed where ``selected`` is given and ``population`` calibrates.
            non_member: bool[records], known to be outside the target. The tested ones calibrate, each left out of its
                own calibration set: the owner's case.
            pool: the records that references were drawn from, where they are known: no tested record may be in them.

        Raises:
            AccessDenied: the target gives less than ``access``.
            DataError: a tested record stands in ``pool``; masks or outputs that do not belong together.
            NotEnoughReferences: no selected record has two OUT references.
            SettingsError: ``rng`` or ``population_selected`` is missing.
        """
        target, references, population = bound(self, target, records, references, population)
        wanted = mask_of("selected", selected, len(records))
        alike = _calibrating(population, selected, population_selected, non_member)
        among = mask_of("non_member", non_member, len(records), default=False)
        tested = _tested(wanted, references, records)
        if pool is not None:
            refuse_known(records, tested, pool)
        side = references.moments(_signal(ScaledLogit(), references), inside=False)
        least = _least_variance(side)
        held_out = np.zeros(0)
        if population is not None and alike is not None:
            view = like_the_records(population, references, rng=rng)
            other = view.moments(_signal(ScaledLogit(), view), inside=False)
            alike &= other.count >= FEWEST
            held_out = _minus_log_tail(population.target, view, other, least=least)[alike]
        score = _minus_log_tail(target, references, side, least=least)
        return make_claims(
            records,
            _evidence(target, references, tested, score),
            fdr=self.fdr,
            held_out=held_out,
            among=among & tested,
            screened=selected is not None,
        )


def _calibrating(
    population: Population | None, selected: Any, population_selected: Any, non_member: Any
) -> np.ndarray | None:
    """Population records that may calibrate; None for none."""
    if population is None:
        return None
    if population_selected is not None or selected is None:
        return mask_of("population_selected", population_selected, len(population)).copy()
    if non_member is None:
        raise SettingsError(
            "population_selected: calibration records must pass the same screen as the records, found a screen of the "
            "records alone (selected=). Screen the population alike and give its mask, or leave the population out."
        )
    return None


def _tested(wanted: np.ndarray, references: References, records: Records) -> np.ndarray:
    tested: np.ndarray = wanted & (references.outside_count >= FEWEST)
    if wanted.any() and not tested.any():
        raise NotEnoughReferences(
            f"GMIA needs {FEWEST} reference models trained without each record, but none of {int(wanted.sum())} "
            f"selected records has them (of {len(records)} in all). Train more references, or select other records."
        )
    return tested


def _signal(signal: ScaledLogit | LogProbability, references: References) -> Signal:
    """One number a record; the plain signal for one query, which other attacks read as well."""
    return signal if references.queries == 1 else OverQueries(signal)


def _least_variance(side: Moments) -> float:
    return FLOOR**2 * float(pooled_variance(side)[0])


def _minus_log_tail(target: Target, references: References, side: Moments, *, least: float) -> Scores:
    """-log p_tail; NaN for records without two OUT references."""
    from locard.stats.tails import log_predictive_tail

    answer = target.observe(_signal(ScaledLogit(), references))[:, 0]
    variance = np.maximum(side.squares[:, 0] / np.maximum(side.count - 1, 1), least)
    tail = log_predictive_tail(
        answer, mean=side.mean[:, 0], spread=np.sqrt(variance), count=np.maximum(side.count, FEWEST)
    )
    out: Scores = np.where(side.count >= FEWEST, -tail, np.nan)
    return out


def _evidence(target: Target, references: References, tested: np.ndarray, score: Scores) -> Evidence:
    """The columns of the tested records, a block at a time."""
    from locard.stats import p_pchip, p_rank, p_tail, with_tail_model

    rank, tail, raw = (np.full(len(tested), np.nan) for _ in range(3))
    count = references.outside_count
    places = np.flatnonzero(tested)
    for start in range(0, len(places), _BLOCK):
        rows = places[start : start + _BLOCK]
        usable = np.stack([references.outside_of(k)[rows] for k in references])
        own, others = _answers(target, references, ScaledLogit(), rows)
        rank[rows], tail[rows] = p_rank(own, others, usable), p_tail(own, others, usable)
        own, others = _answers(target, references, LogProbability(), rows)
        raw[rows] = with_tail_model(p_pchip(-own, -others, usable), tail[rows], count[rows])
    return Evidence(tested=tested, score=score, p_rank=rank, p_tail=tail, p_raw=raw, references=count)


def _answers(
    target: Target, references: References, signal: ScaledLogit | LogProbability, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``float64[rows]`` and ``float64[references, rows]``."""
    read = _signal(signal, references)
    others = np.stack([references.signal_of(read, k)[rows, 0] for k in references])
    return target.observe(read)[rows, 0], others
