"""What a design can name at all: known before any model is trained."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtrc

from locard.errors import SettingsError
from locard.stats.inputs import check_level

RATE_STEP = 0.05


def smallest_nameable(pairs: int, n: int, *, q: float = 0.05) -> int | None:
    """How many of ``n`` records must be exposed together before any of them can be named; None if even all are too few.

    A signed-rank p-value is never below 2^-pairs, and naming R of n records at a false discovery rate q needs R of
    them at q R / n.

    >>> smallest_nameable(11, 10_000), smallest_nameable(20, 50_000), smallest_nameable(4, 50_000)
    (98, 1, None)
    """
    if pairs < 0 or n < 1:
        raise SettingsError(f"pairs, n: at least 0 pairs and 1 record are needed, found {pairs} and {n}.")
    least = max(1, math.ceil(math.ldexp(n / check_level("q", q), -pairs) * (1 - 1e-12)))
    return least if least <= n else None


def pairs_to_name(names: int, n: int, *, q: float = 0.05) -> int:
    """Pairs from which ``names`` of ``n`` records can be named together, if models tell them apart in every pair.

    Enough for the signed-rank contrast, and for hits in half of the pairs to name a record at all.

    >>> pairs_to_name(10, 10_000), pairs_to_name(100, 10_000)
    (15, 11)
    """
    if not 1 <= names <= n:
        raise SettingsError(f"names: from 1 to {n} records (those that are audited) are needed, found {names}.")
    pairs = 4
    while (least := smallest_nameable(pairs, n, q=q)) is None or least > names or _unnameable(pairs // 2, names, n, q):
        pairs += 1
    return pairs


def _unnameable(trials: int, names: int, n: int, q: float) -> bool:
    return math.isnan(nameable_rate(trials, n, share=min(names / n, 0.999), q=q)[1])


def audited_for(non_members: int) -> int:
    """Audited records that leave every model at least so many non-members, when fair coins decide who is a member.

    Twice as many, and four standard deviations of the coins on top (missed by one model in 30,000), rounded up to 100.

    >>> audited_for(10_000), audited_for(1_000)
    (20600, 2200)
    """
    exact = 2 * non_members + 4 * math.sqrt(2 * non_members)
    return 100 * math.ceil(exact / 100)


def nameable_rate(
    trials: int, n: int, *, power: float = 0.9, share: float = 0.01, q: float = 0.05, null: float = 0.1
) -> tuple[int, float]:
    """(hits needed, the TPR from which a record is named with chance ``power``) if a ``share`` of n is exposed.

    The rate is rounded up to the next .05. Where no number of hits is enough, it is (trials + 1, NaN): nothing could
    have been named, and an empty list says nothing.

    >>> nameable_rate(16, 10_000), nameable_rate(3, 10_000)
    ((8, 0.65), (4, nan))
    """
    level = check_level("q", q) * max(check_level("share", share), 1 / max(n, 1))
    hits = next((h for h in range(trials + 1) if bdtrc(h - 1, trials, null) <= level), trials + 1)
    if hits > trials:
        return hits, math.nan
    rates = np.arange(1, round(1 / RATE_STEP) + 1) * RATE_STEP
    enough = rates[bdtrc(hits - 1, trials, rates) >= check_level("power", power)]
    return hits, round(float(enough[0]), 2)
