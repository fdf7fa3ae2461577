"""False discoveries among claims: how many claims a calibration set can support, and joining two lists of claims."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from locard.errors import SettingsError
from locard.stats.inputs import check_level
from locard.stats.multiplicity import benjamini_hochberg
from locard.types import Scores


def fewest_claims(candidates: int, calibration: int, q: float) -> int | None:
    """The fewest claims that Benjamini and Hochberg can make at rate ``q``; None where even all are too few.

    A calibrated p-value is never below 1 / (calibration + 1), and naming R of m candidates needs R at q R / m.

    >>> [fewest_claims(1_000, n, 0.1) for n in (500, 2_000, 10_000)], fewest_claims(1_000, 5, 0.1)
    ([20, 5, 1], None)
    """
    if candidates < 1 or calibration < 0:
        raise SettingsError(
            f"candidates, calibration: at least 1 and 0 records are needed, found {candidates} and {calibration}."
        )
    fewest = max(1, math.ceil(candidates / (check_level("q", q) * (calibration + 1)) * (1 - 1e-12)))
    return fewest if fewest <= candidates else None


def calibration_to_claim(claims: int, candidates: int, q: float) -> int:
    """Calibration records that allow ``claims`` claims among ``candidates`` at rate ``q``: m / (q R) - 1.

    >>> calibration_to_claim(1, 1_000, 0.1), calibration_to_claim(20, 1_000, 0.1)
    (9999, 499)
    """
    if not 1 <= claims <= candidates:
        raise SettingsError(f"claims: a number from 1 to the {candidates} candidates is needed, found {claims}.")
    return max(0, math.ceil(candidates / (check_level("q", q) * claims) * (1 - 1e-12)) - 1)


def merged(direct: Any, indirect: Any) -> Scores:
    """Adjusted p-values of two looks at the same records: claim those at most q, and the false discovery rate is <= q.

    The union of Benjamini and Hochberg at q / 2 on each list: the share of false claims in a union is at most the sum
    of the two shares, so both lists need only be right by themselves, in any dependence.

    Args:
        direct, indirect: float64[records], p-values; NaN where a record was not tested in this way.

    Returns:
        float64[records]; NaN where a record was tested in neither way.

    Raises:
        SettingsError: shapes that differ, or a value outside [0, 1].

    >>> merged([0.01, 0.5, np.nan], [np.nan, 0.02, np.nan]).tolist()
    [0.04, 0.04, nan]
    """
    return merged_adjusted(adjusted(direct, benjamini_hochberg), adjusted(indirect, benjamini_hochberg))


def merged_adjusted(*lists: Any) -> Scores:
    """``merged`` of any number of lists that are adjusted already: each of L lists counts at q / L.

    Args:
        lists: float64[records] each, adjusted p-values; NaN where a record was not tested in this way.

    Raises:
        SettingsError: no list, or shapes that differ.

    >>> merged_adjusted([0.02, np.nan], [0.03, 0.01], [np.nan, 0.5]).tolist()
    [0.06, 0.03]
    """
    given = [np.asarray(one, dtype=np.float64) for one in lists]
    if not given or any(one.shape != given[0].shape for one in given):
        sizes = " and ".join(str(one.size) for one in given) or "none"
        raise SettingsError(f"p: all lists must be of the same records, found {sizes}.")
    out: Scores = np.minimum(len(given) * np.fmin.reduce(given), 1.0)
    return out


def adjusted(p: Any, by: Any) -> Scores:
    """``by`` (such as ``benjamini_hochberg``) applied to the records that were tested; NaN stays where p is NaN.

    >>> adjusted([0.01, np.nan, 0.04], benjamini_hochberg).tolist()
    [0.02, nan, 0.04]
    """
    values = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(values)
    out = np.full(values.shape, np.nan)
    out[tested] = by(values[tested])
    return out
