"""Lists of claims about the candidates of an attack, one an attack, and all of them as one list at one rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from locard.types import Claims, Scores

MERGED = "merged"


@dataclass(frozen=True, eq=False)
class Listed:
    """One list of claims.

    Attributes:
        name: of the attack, with its settings.
        places: of its candidates among all candidates.
        claims: one row for each of these.
        how: ``object[places]``: "direct", or "indirect": the candidate itself was not asked.
        queries: ``int64[places]``, asked about each.
        fdr: the false discovery rate of the list.
    """

    name: str
    places: np.ndarray
    claims: Claims
    how: np.ndarray
    queries: np.ndarray
    fdr: float

    @property
    def p(self) -> Scores:
        """What the claims rest on: calibrated p-values, or without calibration records those by rank."""
        out: Scores = np.where(np.isnan(self.claims.p_cal), self.claims.p_rank, self.claims.p_cal)
        return out

    def spread(self, values: np.ndarray, count: int, missing: float | str | bool) -> np.ndarray:
        """Of each of so many candidates; ``missing`` where this list has none of it."""
        out = np.full(count, missing, dtype=np.result_type(np.asarray(values).dtype, type(missing)))
        out[self.places] = values
        return out


def together(lists: Sequence[Listed], ids: np.ndarray) -> Listed | None:
    """All lists as one, each at an equal share of the rate, the smallest of theirs; None for fewer than two.

    - the share of false claims in a union is at most the sum of the shares of its lists, so each list need only be
      right by itself, however they depend on each other

    Of a candidate stands what the list said that is surest of it, and how that list attacked; queries are added up.

    Args:
        lists: at least one.
        ids: of all candidates.
    """
    from locard.stats import merged_adjusted

    if len(lists) < 2:
        return None
    count, rate = len(ids), min(one.fdr for one in lists)
    final = np.stack([one.spread(one.claims.p_adjusted, count, np.nan) for one in lists])
    places = np.flatnonzero(~np.isnan(final).all(axis=0))
    surest = np.nanargmin(final[:, places], axis=0)

    def of_surest(columns: list[np.ndarray], missing: float | str) -> np.ndarray:
        whole = np.stack([one.spread(v, count, missing) for one, v in zip(lists, columns, strict=True)])
        picked: np.ndarray = whole[surest, places]
        return picked

    said = {
        name: of_surest([getattr(one.claims, name) for one in lists], np.nan)
        for name in ("p_rank", "p_tail", "p_raw", "p_cal")
    }
    merged = merged_adjusted(*final)[places]
    claims = Claims(
        ids=ids[places],
        tested=np.ones(len(places), dtype=np.bool_),
        p_adjusted=merged,
        claimed=merged <= rate * (1 + 1e-12),
        references=of_surest([one.claims.references for one in lists], 0),
        calibration=min(one.claims.calibration for one in lists),
        promises=_promises(lists, rate),
        **said,
    )
    queries = np.sum([one.spread(one.queries, count, 0) for one in lists], axis=0)[places]
    return Listed(MERGED, places, claims, of_surest([one.how for one in lists], ""), queries, rate)


def _promises(lists: Sequence[Listed], rate: float) -> dict[str, str]:
    names = " and ".join(one.name for one in lists)
    return {
        "p_adjusted": f"{len(lists)} times the smallest adjusted p-value of {names}: each list at 1/{len(lists)} of "
        f"the rate.",
        "claimed": f'"Member", where p_adjusted is at most {rate:g}: on average over repetitions at most {rate:.0%} of '
        "all these claims are false, if each list keeps its own rate.",
    }
