"""Per-record verdicts: exposed, suspected or not shown, with the guarantee in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from locard.errors import SettingsError
from locard.stats.contrasts import p_hit, signed_rank, twin_competition
from locard.stats.inputs import check_level
from locard.stats.intervals import clopper_pearson
from locard.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli
from locard.stats.power import nameable_rate, smallest_nameable

Dependence = Literal["prds", "any"]
Grade = Literal["exposed", "suspected", "not shown"]

LEAST_PAIRS_TO_NAME = 16  # 32 models; below, sign competition between twins


@dataclass(frozen=True, eq=False, kw_only=True)
class Grades:
    """One verdict a record. NaN where a number was not measured.

    ``p`` is max(p_flip, p_hit), ``q`` its adjusted value. ``low, high`` hold the record's TPR with 95 % each by itself;
    ``fcr_low, fcr_high`` pay for having been named and are given for exposed records only. ``rule`` is the promise.
    """

    p_flip: Float64[np.ndarray, "records"]
    p_hit: Float64[np.ndarray, "records"]
    p: Float64[np.ndarray, "records"]
    q: Float64[np.ndarray, "records"]
    grade: Shaped[np.ndarray, "records"]
    low: Float64[np.ndarray, "records"]
    high: Float64[np.ndarray, "records"]
    fcr_low: Float64[np.ndarray, "records"]
    fcr_high: Float64[np.ndarray, "records"]
    rule: str

    @property
    def exposed(self) -> int:
        """How many records are graded exposed."""
        return int((self.grade == "exposed").sum())

    @property
    def suspected(self) -> int:
        """How many records are graded suspected."""
        return int((self.grade == "suspected").sum())


def grade(
    differences: Float64[np.ndarray, "records pairs"] | None,
    hits: Int64[np.ndarray, "records"] | None,
    trials: int | Int64[np.ndarray, "records"] | None,
    *,
    q: float = 0.05,
    dependence: Dependence = "prds",
) -> Grades:
    """Grade every audited record (all of them: leaving some out after seeing the targets breaks the promise).

    Args:
        differences: signal(model with the record) - signal(its twin without), over all pairs; None if there are no
            pairs, and then nothing is named.
        hits: in how many target pairs the attack found the record, with references from the other pairs only.
        trials: number of those target pairs; None or 0 where too few pairs exist to split.
        q: false discovery rate of each list of names.
        dependence: ``prds`` (Benjamini-Hochberg; approximate here, records share the models) or ``any``
            (Benjamini-Yekutieli, exact, weaker).

    Raises:
        SettingsError: arrays of different lengths, NaN, more hits than trials, or an unknown ``dependence``.

    >>> d = np.vstack([np.ones((2, 16)), np.tile([1.0, -1.0], (18, 8))])
    >>> g = grade(d, np.array([8, 4] + [0] * 18), 8)
    >>> g.grade[:3].tolist(), g.exposed
    (['exposed', 'suspected', 'not shown'], 1)
    """
    check_level("q", q)
    if dependence not in ("prds", "any"):
        raise SettingsError(f'dependence: "prds" or "any" is needed, found {dependence!r}.')
    adjust = benjamini_hochberg if dependence == "prds" else benjamini_yekutieli
    n, count, tried = _sizes(differences, hits, trials)
    pairs = 0 if differences is None else int(np.shape(differences)[-1])
    missing = np.full(n, np.nan)
    flip = missing if differences is None or not pairs else signed_rank(differences)
    hit = p_hit(count, tried) if tried.any() else missing
    both = np.maximum(flip, hit)  # NaN where either is missing
    tested = not np.isnan(both).any()
    adjusted = adjust(both) if tested else missing

    exposed = moved = np.zeros(n, dtype=np.bool_)
    if pairs >= LEAST_PAIRS_TO_NAME:
        moved, exposed = adjust(flip) <= q, adjusted <= q
    elif differences is not None and pairs:
        moved = twin_competition(differences, q=q)
    names = np.where(exposed, "exposed", np.where(moved, "suspected", "not shown")).astype(object)
    low, high = clopper_pearson(count, tried)
    fcr_low, fcr_high = fcr_intervals(count, tried, exposed, q=q)
    return Grades(
        p_flip=flip,
        p_hit=hit,
        p=both,
        q=adjusted,
        grade=names,
        low=np.where(tried > 0, low, np.nan),
        high=np.where(tried > 0, high, np.nan),
        fcr_low=fcr_low,
        fcr_high=fcr_high,
        rule=_rule(n, pairs, int(tried.min()) if n else 0, tested, q, dependence),
    )


def fcr_intervals(
    hits: Int64[np.ndarray, "records"],
    trials: int | Int64[np.ndarray, "records"],
    named: Bool[np.ndarray, "records"],
    *,
    q: float = 0.05,
) -> tuple[Float64[np.ndarray, "records"], Float64[np.ndarray, "records"]]:
    """Intervals for the TPR of *named* records that pay for the naming; NaN for the others.

    - on average at most a share ``q`` of these intervals misses its record's TPR: level 1 - q R / n for R named of n

    Source: Benjamini and Yekutieli, JASA 2005.

    >>> low, high = fcr_intervals(np.array([14] + [0] * 99), 16, np.arange(100) < 1)
    >>> low[:2].round(4)
    array([0.4219,    nan])
    """
    chosen = np.asarray(named, dtype=np.bool_)
    low, high = np.full(chosen.size, np.nan), np.full(chosen.size, np.nan)
    if chosen.any():
        counts, tried = np.broadcast_arrays(np.asarray(hits), np.asarray(trials))
        level = 1 - check_level("q", q) * chosen.sum() / chosen.size
        low[chosen], high[chosen] = clopper_pearson(counts[chosen], tried[chosen], confidence=float(level))
    return low, high


def _sizes(differences: Any, hits: Any, trials: Any) -> tuple[int, Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    """Number of records, hits and trials a record (0 where there are none)."""
    lengths = {name: len(x) for name, x in (("differences", differences), ("hits", hits)) if x is not None}
    if trials is not None and np.ndim(trials):
        lengths["trials"] = len(trials)
    if not lengths or len(set(lengths.values())) > 1:
        raise SettingsError(
            f"differences, hits, trials: one row for each of the same records is needed, found {lengths or 'nothing'}."
        )
    n = next(iter(lengths.values()))
    tried = np.zeros(n, dtype=np.int64)
    count = np.zeros(n, dtype=np.int64)
    if hits is not None and trials is not None:
        tried[:] = trials
        count[:] = hits
    return n, count, tried


def _rule(n: int, pairs: int, trials: int, tested: bool, q: float, dependence: Dependence) -> str:
    """The promise of the list, and why it is empty where it had to be."""
    method = (
        "Benjamini-Hochberg; approximate, because records share the models"
        if dependence == "prds"
        else "Benjamini-Yekutieli; holds under any dependence"
    )
    if not pairs:
        return "No record can be named: without pairs of models that differ in a record there is nothing to compare."
    if pairs < LEAST_PAIRS_TO_NAME:
        return (
            f"On average at most {100 * q:.0f} % of the names graded suspected are wrong (training on the "
            f"record does not "
            f"change the model's answer), by sign competition between twins, which names at least {1 / q:.0f} records "
            f"or none. None can be graded exposed: that needs {2 * LEAST_PAIRS_TO_NAME} models, found {2 * pairs}."
        )
    least = smallest_nameable(pairs, n, q=q) if n else None
    floor = "" if least is None or least == 1 else f" Fewer than {least} exposed records could not be named."
    suspected = (
        f"On average at most {100 * q:.0f} % of the names graded exposed or suspected are records whose "
        f"training changes "
        f"nothing in the model's answer ({method})."
    )
    if not tested:
        return (
            f"{suspected} None can be graded exposed: no pairs of models were kept apart to count how often the "
            f"attack finds each record.{floor}"
        )
    hits, rate = nameable_rate(trials, n, q=q)
    reach = (
        f" A record that the attack finds in {100 * rate:.0f} % of retrainings would have been named with "
        f"90 % chance if 1 % "
        f"of the records are exposed ({hits} hits of {trials})."
        if not math.isnan(rate)
        else f" With {trials} target pairs no record could be named if 1 % of the records are exposed."
    )
    return (
        f"On average at most {100 * q:.0f} % of the names graded exposed are wrong ({method}); wrong = "
        f"training on the record "
        f"changes nothing, or this attack finds it in no more than 1 of 10 retrainings. Suspected: training on it "
        f"changes the answer, size not shown; same rate. Not shown never means safe.{reach}{floor}"
    )
