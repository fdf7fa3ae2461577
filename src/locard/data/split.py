"""Which records are audited, and which are population: never trained on, there to calibrate and to impute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from locard.data.records import Records
from locard.errors import DataError
from locard.seeds import Seed
from locard.types import MemberMask

MOST_POPULATION = 2000  # records of the population that are observed, and kept out of the pool, by default
POPULATION_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Places of the audited records and of the population among all records, each sorted; they share no unit."""

    audited: Int64[np.ndarray, "audited"]
    population: Int64[np.ndarray, "population"]

    def __repr__(self) -> str:
        return f"Split(audited={len(self.audited)}, population={len(self.population)})"


def choose_pool(records: Records, pool: int | None = None, population: int | None = None, *, seed: Seed) -> Split:
    """Draw the audited records and the observed population at random, by privacy unit.

    - no unit is split: all its records are audited, or population, or in neither
    - units are taken in one random order, the audited ones from its front and the population from its end. So a
      larger pool holds the smaller one, a larger population the smaller one, and each stays as it is when the other
      changes (up to the records that both would want, which the pool gets)
    - the order of the rows does not matter, only the names of the units
    - with units of several records, as many whole units are taken as fit: there may be fewer records than asked for

    Args:
        records: all records.
        pool: how many records to audit. Default: all but the smaller of 20 % and 2,000.
        population: at most so many of the others are observed. Default: 2,000.
        seed: where the random order comes from.

    Raises:
        DataError: the pool is smaller than the first unit or larger than the data, or a number is negative.

    >>> import numpy as np
    >>> r = Records(ids=np.arange(10), features=np.zeros((10, 1)), labels=[0, 1] * 5)
    >>> split = choose_pool(r, 6, seed=Seed(7))
    >>> split, sorted({*split.audited.tolist(), *split.population.tolist()}) == list(range(10))
    (Split(audited=6, population=4), True)
    """
    n = len(records)
    asked = n - min(int(POPULATION_SHARE * n), MOST_POPULATION) if pool is None else int(pool)
    most = MOST_POPULATION if population is None else int(population)
    problems = []
    if not 1 <= asked <= n:
        problems.append(f"data.pool: from 1 to {n:,} records (all there are) are needed, found {asked:,}. Lower it.")
    if most < 0:
        problems.append(f"data.population: 0 records or more are needed, found {most:,}. Raise it.")
    if problems:
        raise DataError(problems)
    order, sizes = _random_order(records, seed)
    taken = int(np.searchsorted(np.cumsum(sizes[order]), asked, side="right"))
    if taken == 0:
        raise DataError(
            f"data.pool: room for at least one whole unit is needed, found {asked:,} records where unit "
            f"{records.unit_names.tolist()[order[0]]!r} alone has {sizes[order[0]]:,}. Raise data.pool."
        )
    others = order[taken:][::-1]
    observed = others[: int(np.searchsorted(np.cumsum(sizes[others]), most, side="right"))]
    return Split(_places(records, order[:taken]), _places(records, observed))


def split_given(
    records: Records, member: MemberMask, pool: int | None = None, population: int | None = None, *, seed: Seed
) -> Split:
    """The same where models were trained already: what they were trained on decides what a record can serve as.

    - audited: records that some model holds and some does not
    - population: records that no model holds
    - neither: records that every model holds, as nothing shows what they look like to a model that has not seen them

    Args:
        records: all records.
        member: ``bool[models, records]``, all rows of a unit alike.
        pool: how many records to audit, drawn at random by unit. Default: all that can be.
        population: at most so many are observed. Default: 2,000.
        seed: where the random order comes from.

    Raises:
        DataError: no record can be audited, or fewer than asked for.

    >>> import numpy as np
    >>> r = Records(ids=np.arange(4), features=np.zeros((4, 1)), labels=[0, 1] * 2)
    >>> split_given(r, np.array([[1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool), seed=Seed(7))
    Split(audited=2, population=1)
    """
    count = member.sum(axis=0)
    usable, never = (count > 0) & (count < len(member)), count == 0
    if not usable.any():
        raise DataError(
            f"references.members: records that some models hold and others do not are needed, found none: "
            f"{int(never.sum()):,} are in no model and {len(records) - int(never.sum()):,} in every one. Add models."
        )
    order, sizes = _random_order(records, seed)
    by_unit = np.zeros((2, records.n_units), dtype=bool)
    by_unit[0, records.units[usable]] = by_unit[1, records.units[never]] = True
    audited, unseen = order[by_unit[0, order]], order[::-1][by_unit[1, order[::-1]]]
    asked = int(usable.sum()) if pool is None else int(pool)
    if not sizes[audited[0]] <= asked <= int(usable.sum()):
        raise DataError(
            f"data.pool: from {sizes[audited[0]]:,} to {int(usable.sum()):,} records (in some models, not in all) are "
            f"needed, found {asked:,}. Leave it out to audit all of them."
        )
    most = MOST_POPULATION if population is None else int(population)
    taken = audited[: int(np.searchsorted(np.cumsum(sizes[audited]), asked, side="right"))]
    observed = unseen[: int(np.searchsorted(np.cumsum(sizes[unseen]), most, side="right"))]
    return Split(_places(records, taken), _places(records, observed))


def _random_order(records: Records, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """The units in random order, and how many records each has. The draw goes by the sorted names of the units."""
    names = records.unit_names
    by_name = np.argsort(names.astype(str) if names.dtype.kind == "O" else names, kind="stable")
    order = by_name[seed.child("pool").generator().permutation(records.n_units)]
    return order, np.bincount(records.units, minlength=records.n_units)


def _places(records: Records, units: np.ndarray) -> Int64[np.ndarray, "chosen"]:
    chosen = np.zeros(records.n_units, dtype=bool)
    chosen[units] = True
    return np.flatnonzero(chosen[records.units]).astype(np.int64)
