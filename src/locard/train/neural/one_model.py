"""The one-model trainer: the readable definition of what a ``TorchRecipe`` means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from locard.train.asked import Run
from locard.train.neural.batches import Length, epoch_order
from locard.train.neural.data import NetworkData, Scaling
from locard.train.neural.early import Patience, held_out
from locard.train.neural.layers import Keyed, keyed_masks, mask_keys
from locard.train.neural.objective import (
    Taught,
    as_classes,
    fresh,
    own_randomness,
    record_losses,
    soft_losses,
    weighted_mean,
)
from locard.train.neural.schedules import schedule
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

AtEpoch = Callable[[list[int], int, Stack], None]  # (models, the epoch that ended from 1, their states)


def train_one(
    recipe: TorchRecipe, data: NetworkData, run: Run, at_epoch: AtEpoch | None = None, taught: Taught | None = None
) -> Stack:
    """Train one network on ``run.index``: shuffle, take batches, step, until its epochs (or steps) are over.

    - first weights, batches and dropout are functions of the model's seed
    - a batch's loss is the weighted mean over its records
    - where it is ``taught``, its teacher's probabilities (those of the one student there is) stand for the labels

    A module that draws random numbers of its own draws them from torch's generator, seeded for this model.

    Returns:
        A stack of this one model.
    """
    with own_randomness(data.device):
        keyed = laid_out(recipe, fresh(recipe, data, run.seed))
        index, held = held_out(recipe, run)
        length = length_of(recipe, len(index))
        scaling = data.scaling([index])
        optimizer = recipe.optimizer_of(_trained(keyed))
        factor = schedule(recipe.schedule, recipe.schedule_params, length, recipe.warmup)
        patience = Patience(recipe.patience) if recipe.patience else None
        order = np.zeros(0, dtype=np.int64)
        for step in range(length.total):
            epoch, start = length.place(step)
            if start == 0:
                order = epoch_order(index, run.seed, epoch, variants=data.variants, records=data.records)
            rows = torch.from_numpy(order[start : start + length.batch]).to(data.device)
            set_masks(keyed, run.seed, step, len(rows))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * factor(step)
            optimizer.step(_loss_of(recipe, data, keyed, scaling, rows, taught))
            for norm in keyed.norms.values():
                if norm.fresh is not None:
                    norm.running_mean, norm.running_var = norm.fresh
            if length.ends_epoch(step) and (at_epoch or patience):
                now = _stack(keyed, scaling, data)
                if at_epoch:
                    at_epoch([0], epoch + 1, now)
                if patience and patience.enough(0, now, data, held, recipe.loss_function()):
                    break
        done = _stack(keyed, scaling, data)
    return patience.best_of(0, done) if patience else done


def _loss_of(
    recipe: TorchRecipe,
    data: NetworkData,
    keyed: Keyed,
    scaling: Scaling | None,
    rows: torch.Tensor,
    taught: Taught | None,
) -> Callable[[], float]:
    """The loss of a batch, with its gradient put in place, as a function that an optimiser may call again."""
    x = data.x[rows] if scaling is None else scaling.apply(data.x[rows].unsqueeze(0))[0]
    parameters = _trained(keyed)
    soft = None if taught is None else taught.labels(rows.new_zeros(1), rows[None])[0]

    def loss_and_gradient() -> float:
        logits = as_classes(keyed.module(x), data.classes)
        if soft is None or taught is None:
            losses = record_losses(logits, data.y[rows], recipe.loss_function(), recipe.label_smoothing)
        else:
            losses = soft_losses(logits, soft, taught.temperature)
        loss = weighted_mean(losses, None if data.weight is None else data.weight[rows])
        for p in parameters:
            p.grad = None
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        return loss.item()

    return torch.enable_grad()(loss_and_gradient)


def laid_out(recipe: TorchRecipe, keyed: Keyed) -> Keyed:
    """(In place.) Convolutions of built-in networks get their channels side by side in memory.

    A step of a small network then takes three quarters of its time (two convolutions, one thread). Modules of the
    user's own stay as they were made: they may call ``view``, which other layouts refuse.
    """
    if recipe.built_in:
        keyed.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type for it
    return keyed


def length_of(recipe: TorchRecipe, records: int) -> Length:
    """How long a model with this many training records is trained."""
    return Length(
        records=records, batch=recipe.batch_size, epochs=recipe.passes, steps=recipe.steps, drop_last=recipe.drop_last
    )


def set_masks(keyed: Keyed, seed: int, step: int, rows: int) -> None:
    """Put this step's dropout masks in place."""
    like = next(keyed.module.parameters())
    keyed.set_masks(
        {
            name: keyed_masks(mask_keys(np.array([seed]), step, place), (rows, *shape), p, like)[0]
            for place, (name, p, shape) in enumerate(keyed.masks)
        }
    )


def _trained(keyed: Keyed) -> list[torch.Tensor]:
    return [p for p in keyed.module.parameters() if p.requires_grad]


def _stack(keyed: Keyed, scaling: Scaling | None, data: NetworkData) -> Stack:
    params = {n: p.detach().clone().unsqueeze(0) for n, p in keyed.module.named_parameters()}
    buffers = {n: b.detach().clone().unsqueeze(0) for n, b in keyed.buffers().items()}
    return Stack(keyed, params, buffers, scaling, data.classes)
