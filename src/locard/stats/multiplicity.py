"""P-values adjusted for how many were looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from locard.errors import SettingsError


def benjamini_hochberg(p: Float64[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """Adjusted p-values: reject those at most q and the false discovery rate is at most q.

    Proven for independent or positively dependent (PRDS) p-values. Source: Benjamini and Hochberg, JRSS B 1995.

    Raises:
        SettingsError: a value outside [0, 1] or NaN.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005])).tolist()
    [0.02, 0.04, 0.04, 0.02]
    """
    return _step_up(_p_values(p), 1.0)


def benjamini_yekutieli(p: Float64[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """As ``benjamini_hochberg``, under any dependence, for a factor 1 + 1/2 + ... + 1/tests.

    Source: Benjamini and Yekutieli, Annals of Statistics 2001.

    >>> benjamini_yekutieli(np.array([0.01, 0.04])).tolist()
    [0.03, 0.06]
    """
    values = _p_values(p)
    return _step_up(values, float((1 / np.arange(1, values.size + 1)).sum()))


def holm(p: Float64[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """Adjusted p-values: reject those at most a and *any* wrong rejection has probability at most a.

    Under any dependence. Source: Holm, Scandinavian Journal of Statistics 1979.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _p_values(p)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    out = np.empty_like(values)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def holm_rejections(p: Float64[np.ndarray, "tests"], alpha: float) -> int:
    """How many are rejected by Holm at ``alpha``: with probability 1 - alpha, no more than are truly non-null.

    >>> holm_rejections(np.array([0.001, 0.02, 0.5]), 0.05)
    2
    """
    return int((holm(p) <= alpha).sum())


def _step_up(values: Float64[np.ndarray, "tests"], factor: float) -> Float64[np.ndarray, "tests"]:
    order = np.argsort(values, kind="stable")
    steps = values[order] * (factor * values.size) / np.arange(1, values.size + 1)
    out = np.empty_like(values)
    out[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return out


def _p_values(p: Any) -> Float64[np.ndarray, "tests"]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise SettingsError("p: one list of numbers from 0 to 1 is needed, found others (or NaN).")
    return values
