"""Which references screen and which test: no model does both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from locard.errors import SettingsError


@dataclass(frozen=True, eq=False)
class Halves:
    """``screening`` and ``testing``: numbers of models, sorted; they share none, and split no pair."""

    screening: Int64[np.ndarray, "screening"]
    testing: Int64[np.ndarray, "testing"]


def split_references(
    models: Int64[np.ndarray, "references"], partner: Int64[np.ndarray, "models"], *, share: float = 0.5
) -> Halves:
    """Every so many-th pair (or model without a partner) screens, the others test.

    - a model and its partner are on one side. A target among the testing models is then attacked with the other testing
      models but its partner, and no model that chose the records knows anything of it
    - with more models, those that were there stay on their side

    Args:
        models: numbers of the references.
        partner: of every model of the plan; -1 where it has none.
        share: of the pairs that screen, between 0 and 1.

    Raises:
        SettingsError: too few pairs to leave one on each side.

    >>> halves = split_references(np.arange(6), np.arange(6) ^ 1)
    >>> halves.screening.tolist(), halves.testing.tolist()
    ([2, 3], [0, 1, 4, 5])
    """
    numbers = np.sort(np.asarray(models, dtype=np.int64))
    first = np.where(partner[numbers] >= 0, np.minimum(partner[numbers], numbers), numbers)
    pairs, place = np.unique(first, return_inverse=True)
    steps = np.floor(np.arange(len(pairs) + 1) * share + 1e-9)
    screens = np.diff(steps) > 0
    if not screens.any() or screens.all():
        raise SettingsError(
            f"screen.references: at least one pair of models (or model without a partner) to screen and one to test "
            f"are needed, found {len(pairs)} in all and a share of {share:g}. Train more references."
        )
    return Halves(numbers[screens[place]], numbers[~screens[place]])
