"""The vectorised trainer, and which recipes it is for.

A module is looked at by its layers' types, by calling it for many models at once, and by training two small models
both ways and comparing: what a module keeps outside its parameters and buffers shows only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from locard.train.asked import Run
from locard.train.neural.data import NetworkData
from locard.train.neural.layers import why_alone
from locard.train.neural.objective import Taught, fresh, own_randomness
from locard.train.neural.one_model import AtEpoch, train_one
from locard.train.neural.stack_training import StackTraining
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

__all__ = ["CannotStack", "StackTraining", "cannot_stack", "train_many"]

CLOSE = 0.01  # of an update's largest change: float32 rounding of three steps makes 1e-5, a state of one's own 1

_KNOWN: WeakKeyDictionary[NetworkData, dict[str, str | None]] = WeakKeyDictionary()  # data -> recipe -> reason


def train_many(
    recipe: TorchRecipe,
    data: NetworkData,
    runs: Sequence[Run],
    at_epoch: AtEpoch | None = None,
    taught: Taught | None = None,
) -> Stack:
    """Train all runs at once; each model equals ``train_one``'s up to rounding.

    - models may have training sets of different sizes, and any number of models goes
    - a model that has ended (its steps are over, or its patience) keeps its weights while others go on

    Raises:
        CannotStack: the module cannot be called for many models at once, with the reason.
    """
    if reason := cannot_stack(recipe, data):
        raise CannotStack(reason)
    return StackTraining(recipe, data, runs, taught).run(at_epoch)


class CannotStack(Exception):
    """The recipe's models must be trained one at a time; the message says why."""


def cannot_stack(recipe: TorchRecipe, data: NetworkData) -> str | None:
    """Why the recipe's models must be trained one at a time; None where they can be stacked.

    - the answer is remembered for these data
    - not seen: what a module does only after its first three steps
    """
    known = _KNOWN.setdefault(data, {})
    if recipe.fingerprint not in known:
        known[recipe.fingerprint] = _reason(recipe, data)
    return known[recipe.fingerprint]


def _reason(recipe: TorchRecipe, data: NetworkData) -> str | None:
    if not recipe.stackable:
        return f"the optimiser {recipe.optimizer} does not work element by element"
    with own_randomness(data.device):
        if reason := why_alone(fresh(recipe, data, 0).module):
            return reason
    few = data.part(np.arange(min(16, data.records)))
    runs = [Run(np.arange(7) % few.records, 0), Run(np.arange(4)[::-1] % few.records, 1)]
    short = _short(recipe)
    alone = [train_one(short, few, run) for run in runs]
    try:
        together = StackTraining(short, few, runs).run(None)
        answers = torch.cat([z for _, z in together.logits(few.x)], dim=1)
    except Exception as wrong:  # noqa: BLE001  the user's own forward may raise anything; the reason is told
        said = str(wrong).splitlines() or [""]
        return f"it cannot be called for many models at once ({type(wrong).__name__}: {said[0]})"
    first = StackTraining(short, few, runs).now()
    for model, one in enumerate(alone):
        if name := _differs(first.tensors(model), one.tensors(0), together.tensors(model)):
            return (
                f"trained beside another model it is not what it is alone ({name} differs): it keeps a state of its own"
            )
        apart = torch.cat([z for _, z in one.logits(few.x)], dim=1)[0]
        if not torch.allclose(apart, answers[model], rtol=CLOSE, atol=CLOSE * float(apart.abs().max()), equal_nan=True):
            return "asked beside another model it does not answer what it answers alone: it keeps a state of its own"
    return None


def _short(recipe: TorchRecipe) -> TorchRecipe:
    """Three steps of plain gradient descent, of bounded length: whole batches and parts of one are among them."""
    plain = replace(recipe, optimizer="sgd", optimizer_params={}, schedule="constant", schedule_params={}, warmup=0)
    return replace(
        plain, epochs=None, steps=3, batch_size=4, drop_last=False, patience=None, learning_rate=0.1, clip_norm=1.0
    )


def _differs(first: dict[str, torch.Tensor], one: dict[str, torch.Tensor], many: dict[str, torch.Tensor]) -> str | None:
    """The first tensor whose change differs between the two ways, beside the largest change of all."""
    largest = max(float((one[n] - first[n]).abs().max()) for n in one if one[n].is_floating_point() and one[n].numel())
    for n in one:
        a, b = one[n].double(), many[n].double()
        rounding = 1e-5 * float(a.abs().max()) if a.numel() else 0.0
        if not torch.allclose(a, b, rtol=0.0, atol=CLOSE * largest + rounding, equal_nan=True):
            return n
    return None
