"""Made traces for worlds that are made, not trained: the self-test's, and those of the tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from locard.observe.signals import LogProbability, Metrics, ScaledLogit

EPOCHS = 4
STUDENTS = 8


@dataclass(frozen=True)
class Made:
    """Traces made from the models' logits, a model at a time: at epoch e of E a model says e/E of what it will say.

    So they leak what the logits leak, move with the records, and cost no memory. Students are half as sure as their
    teacher, each by another step.
    """

    name: str
    logits: np.ndarray
    y: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(models, records, epochs or students, metrics where there are several)."""
        epochs = {"training": (EPOCHS,), "distilled": (EPOCHS, 5), "students": (STUDENTS,)}[self.name]
        return (*self.logits.shape[:2], *epochs)

    def read(self, model: int) -> np.ndarray:
        """One model's."""
        z = self.logits[model].astype(np.float64)
        if self.name == "students":
            surer: np.ndarray = 0.5 * ScaledLogit()(z, self.y).mean(axis=1)[:, None] + np.linspace(-1, 1, STUDENTS)
            return surer
        if self.name == "training":
            return np.stack(
                [-LogProbability()(z * e / EPOCHS, self.y).mean(axis=1) for e in range(1, EPOCHS + 1)], axis=1
            )
        return np.stack([Metrics()(z * e / EPOCHS, self.y).mean(axis=1) for e in range(1, EPOCHS + 1)], axis=1)


def made_traces(logits: np.ndarray, y: np.ndarray) -> dict[str, Made]:
    """All kinds, from ``logits[models, records, queries, classes]``."""
    return {name: Made(name, logits, y) for name in ("training", "distilled", "students")}
