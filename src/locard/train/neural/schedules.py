"""Learning rates over a training: a factor for each step, from the model's own number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from locard.errors import SettingsError
from locard.train.neural.batches import Length

Factor = Callable[[int], float]


def constant(length: Length) -> Factor:
    """1 throughout."""
    return lambda step: 1.0


def cosine(length: Length, *, end: float = 0.0) -> Factor:
    """From 1 to ``end`` along half a cosine (``CosineAnnealingLR``, by steps).

    Source: Loshchilov and Hutter 2017 (ICLR, arXiv:1608.03983), without restarts.

    >>> round(cosine(Length(records=10, batch=1, epochs=1))(5), 6)
    0.5
    """
    return lambda step: end + (1 - end) * (1 + math.cos(math.pi * min(1.0, step / length.total))) / 2


def linear(length: Length, *, end: float = 0.0) -> Factor:
    """From 1 to ``end`` in a straight line."""
    return lambda step: 1 + (end - 1) * min(1.0, step / length.total)


def step(length: Length, *, epochs: int = 30, gamma: float = 0.1) -> Factor:
    """Times ``gamma`` after every so many epochs (``StepLR``)."""
    if epochs < 1:
        raise SettingsError(f"target.schedule_params: epochs: at least 1 is needed, found {epochs}. Mend it.")
    return lambda at: gamma ** (at // (length.per_epoch * epochs))


def exponential(length: Length, *, gamma: float = 0.95) -> Factor:
    """Times ``gamma`` after every epoch (``ExponentialLR``)."""
    return lambda at: gamma ** (at // length.per_epoch)


SCHEDULES: dict[str, Callable[..., Factor]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "step": step,
    "exponential": exponential,
}


def schedule(name: str, params: Mapping[str, Any], length: Length, warmup: int = 0) -> Factor:
    """The factor of each step; the first ``warmup`` steps rise in a straight line.

    Raises:
        SettingsError: settings that the schedule does not take, or a learning rate that would become negative.
    """
    try:
        factor = SCHEDULES[name](length, **params)
        factor(length.total)
    except TypeError as wrong:
        raise SettingsError(
            f"target.schedule_params: settings of the schedule {name!r} are needed, found {dict(params)} ({wrong}). "
            f"Mend them."
        ) from wrong
    for setting in ("end", "gamma"):
        if not 0 <= params.get(setting, 0) < math.inf:
            raise SettingsError(
                f"target.schedule_params: {setting}: a number of at least 0 is needed, found {params[setting]}. "
                f"Mend it."
            )
    return factor if warmup == 0 else lambda at: factor(at) * min(1.0, (at + 1) / (warmup + 1))
