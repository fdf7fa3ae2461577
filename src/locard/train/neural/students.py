"""Networks that learn what other networks say: distillation, one student at a time or many in one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from locard.train.asked import Run
from locard.train.distil import Note, Teaching
from locard.train.neural.data import NetworkData
from locard.train.neural.many_models import train_many
from locard.train.neural.objective import Taught
from locard.train.neural.one_model import AtEpoch, train_one
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe


def distil(
    recipe: TorchRecipe,
    data: NetworkData,
    runs: Sequence[Run],
    soft: Sequence[np.ndarray],
    teaching: Teaching,
    note: Note,
) -> None:
    """Train a student a run; ``note`` hears of each at the end of every epoch.

    - many students in one program are what each is alone, up to rounding
    - students answer in evaluation mode, all audited records at once, so that no answer depends on its companions

    Args:
        recipe: of the students.
        data: the records as tensors.
        runs: each student's auxiliary records and seed.
        soft: what its teacher says of them, ``float[records of its index, forms, classes]``.
        teaching: temperature, what is asked, and in which way.
        note: is given student, epoch from 1, and ``float32[audited, classes]``.
    """

    def listen(numbers: Sequence[int]) -> AtEpoch:
        def at_epoch(models: list[int], epoch: int, states: Stack) -> None:
            if not (teaching.every or epoch == teaching.epochs):
                return
            said = np.empty((len(models), len(teaching.audited), data.classes), dtype=np.float32)
            for rows, z in states.logits(data.rows(teaching.audited, 0)):
                said[:, rows] = z.cpu().numpy()
            for k, model in enumerate(models):
                note(numbers[model], epoch, said[k])

        return at_epoch

    if teaching.way == "many" and len(runs) > 1:
        taught = Taught.of(data, runs, soft, teaching.temperature)
        train_many(recipe, data, runs, listen(range(len(runs))), taught)
        return
    for i, run in enumerate(runs):
        taught = Taught.of(data, [run], [soft[i]], teaching.temperature)
        train_one(recipe, data, run, listen([i]), taught)
