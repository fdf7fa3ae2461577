"""The p-value of a statistic under a redrawn plan."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from locard.errors import SettingsError


def permutation_p(observed: float, redrawn: Float64[np.ndarray, "draws"]) -> float:
    """(1 + draws at least as large) / (1 + draws).

    - at most u with probability at most u, where the outputs do not depend on the plan and each draw repeats
      *everything*: a fresh plan from the same generator, all scores, and the largest of the same statistics

    Departs: permuting labels under fixed leave-one-out scores rejects 12 % of the time at 5 %.

    Raises:
        SettingsError: no draws, or a NaN.

    >>> permutation_p(3.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    draws = np.asarray(redrawn, dtype=np.float64)
    if not draws.size or np.isnan(draws).any() or np.isnan(observed):
        raise SettingsError(
            f"redrawn: at least one redrawn value, none of them NaN, is needed, found {draws.size} values and "
            f"{int(np.isnan(draws).sum())} NaN (observed {observed})."
        )
    return (1 + int((draws >= observed).sum())) / (1 + draws.size)
