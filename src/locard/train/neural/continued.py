"""Reference networks that go on training with one record in every batch, beside twins that go on without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64

from locard.seeds import Seed
from locard.train.asked import Run
from locard.train.influence import MOST, Lesson
from locard.train.neural.batches import Length
from locard.train.neural.data import NetworkData
from locard.train.neural.early import held_out
from locard.train.neural.one_model import length_of
from locard.train.neural.schedules import schedule
from locard.train.neural.stack_training import StackTraining
from locard.train.neural.state import Stack, joined, put

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

ASKED = 16_384  # (model, row) pairs whose gradient is taken at a time
BYTES = 2**29  # of weights, gradients and optimiser states taught in one program
PIECES = 6  # copies of the weights while a model is taught: weights, gradient, two states, and what is being made


@dataclass(frozen=True, eq=False)
class Taught:
    """``Influenced`` networks (``influence.py``), by stacks. One program for all of them.

    Args:
        data: how features become tensors.
        positive_models, control_models, original_models: the same references in the same order.
        label: the record's class.
        steps: how many further steps each took.
    """

    data: NetworkData
    positive_models: Stack
    control_models: Stack
    original_models: Stack
    label: int
    steps: np.ndarray

    def positive(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the positive branch."""
        return asked(self.positive_models, self.data, features)

    def control(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the control branch."""
        return asked(self.control_models, self.data, features)

    def original(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """Logits of the references as they were."""
        return asked(self.original_models, self.data, features)

    def hinge(
        self, features: np.ndarray, *, gamma: float, against: str
    ) -> tuple[Float64[np.ndarray, "rows"], np.ndarray]:
        """Equation 3 of each query and its gradient, all references and queries in one program.

        The gradient is with respect to what the networks are shown: numbers before scaling, then a column a level.
        """
        other = {"control": self.control_models, "original": self.original_models}[against]
        shown = self.data.other(features)[0]
        values, gradients = [], []
        block = max(1, ASKED // (2 * len(self.positive_models)))
        for start in range(0, len(shown), block):
            x = shown[start : start + block].clone().requires_grad_()
            with torch.enable_grad():
                gain = self._probability(self.positive_models, x) - self._probability(other, x)
                each = torch.clamp(gamma - gain, min=0.0).sum(dim=0)
                (gradient,) = torch.autograd.grad(each.sum(), x)
            values.append(each.detach().cpu().double().numpy())
            gradients.append(torch.nan_to_num(gradient).cpu().double().numpy())
        if not values:
            return np.zeros(0), np.zeros((0, *self.data.shape))
        return np.concatenate(values), np.concatenate(gradients)

    def _probability(self, models: Stack, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(models.outputs(x), dim=-1)[..., self.label]


def asked(models: Stack, data: NetworkData, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
    """Logits of all models on rows of features, in evaluation mode."""
    out = np.empty((len(models), len(features), models.classes))
    for rows, z in models.logits(data.other(features)[0]):
        out[:, rows] = z.cpu().double().numpy()
    return out


def teach(
    recipe: TorchRecipe,
    data: NetworkData,
    runs: Sequence[Run],
    models: Stack,
    record: tuple[np.ndarray, int],
    lesson: Lesson,
    enough: np.ndarray,
) -> Taught:
    """Both branches of all references, as one stack of twice as many models.

    - each reference goes on with batches of its own records, in a new order; its positive branch has the record in each
      of them beside these, and its control branch has not
    - both branches have the same dropout masks, the same learning rate and an optimiser that starts anew
    - what a reference becomes does not depend on which others are taught

    Args:
        recipe: how they were trained.
        data: the records that they were trained on.
        runs: of each reference.
        models: what they were.
        record: features ``[1, ...]`` as in the records, and class.
        lesson: how long and how fast.
        enough: ``float[references]``, the probability of the label at which both branches of a reference stop.
    """
    block = lesson.block or _fitting(models)
    parts = []
    for start in range(0, len(runs), block):
        rows = slice(start, start + block)
        part = models.of(list(range(len(models)))[rows])
        parts.append(_teach(recipe, data, runs[rows], part, record, lesson, enough[rows]))
    positive, control, steps = zip(*parts, strict=True)
    return Taught(data, joined(positive), joined(control), models, record[1], np.concatenate(steps))


def _teach(
    recipe: TorchRecipe,
    data: NetworkData,
    runs: Sequence[Run],
    models: Stack,
    record: tuple[np.ndarray, int],
    lesson: Lesson,
    enough: np.ndarray,
) -> tuple[Stack, Stack, np.ndarray]:
    count, (features, label) = len(models), record
    own = [Run(held_out(recipe, r)[0], Seed(r.seed).child("further").integer()) for r in runs]
    lengths = [length_of(recipe, len(r.index)) for r in own]
    rate = recipe.learning_rate * mean_factor(recipe, lengths) if lesson.rate is None else lesson.rate
    further = replace(recipe, schedule="constant", schedule_params={}, warmup=0, learning_rate=rate, patience=None)
    training = StackTraining(further, data, [*own, *own])
    training.begin_from(models.of([*range(count), *range(count)]))
    shown = torch.stack(data.other(features))[:, 0]  # every form of the record
    most = min(MOST, max(n.epochs_begun for n in lengths)) if lesson.most is None else lesson.most
    done, steps = training.now(), np.zeros(count, dtype=np.int64)
    going = np.ones(count, dtype=np.bool_)
    while going.any() and steps.max() < most:
        taken = int(steps.max())
        _step(training, taken, shown[taken % len(shown)], label)
        steps[going] += 1
        now, rows = training.now(), np.flatnonzero(going)
        put(done, now, [*rows, *(rows + count)])
        going &= ~(_learnt(now.of(list(range(count))), shown[:1], label) >= enough)
    return done.of(list(range(count))), done.of(list(range(count, 2 * count))), steps


def _step(training: StackTraining, step: int, shown: torch.Tensor, label: int) -> None:
    """The next batch with the record behind it; the control branch has a record of its own there, of weight 0."""
    data, twins = training.data, len(training.places)
    rows, valid = training.orders.batch(training.places, step)
    flat = torch.from_numpy(rows.reshape(-1)).to(data.device)
    x = data.x.index_select(0, flat).reshape(*rows.shape, *data.shape)
    y = data.y.index_select(0, flat).reshape(rows.shape)
    present = torch.from_numpy(valid).to(device=data.device, dtype=data.dtype)
    weight = present if data.weight is None else present * data.weight.index_select(0, flat).reshape(rows.shape)
    half = twins // 2
    last = torch.cat([shown.expand(half, 1, *data.shape), x[half:, :1]])
    own = torch.zeros((twins, 1), dtype=data.dtype, device=data.device)
    own[:half] = 1.0
    label_column = torch.full((twins, 1), label, dtype=y.dtype, device=data.device)
    training.learn(
        step,
        torch.cat([x, last], dim=1),
        torch.cat([y, label_column], dim=1),
        torch.cat([present, own], dim=1),
        torch.cat([weight, own], dim=1),
    )


def mean_factor(recipe: TorchRecipe, lengths: Sequence[Length]) -> float:
    """The mean over all steps of the longest training of what the schedule multiplies the learning rate by."""
    longest = max(lengths, key=lambda n: n.total)
    factor = schedule(recipe.schedule, recipe.schedule_params, longest, recipe.warmup)
    return float(np.mean([factor(step) for step in range(longest.total)]))


def _learnt(models: Stack, shown: torch.Tensor, label: int) -> np.ndarray:
    (z,) = (z for _, z in models.logits(shown))
    out: np.ndarray = torch.softmax(z.double(), dim=-1)[:, 0, label].cpu().numpy()
    return out


def _fitting(models: Stack) -> int:
    weights = sum(t[0].numel() * t.element_size() for t in models.params.values())
    return max(1, BYTES // max(1, 2 * PIECES * weights))
