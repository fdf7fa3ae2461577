"""The state and the steps of many models of one architecture in one program, each as if it were alone.

Parameters are stacked along a first axis; ``vmap`` turns the one-model loss into the losses of all, whose gradients are
each model's own, because no loss depends on another model's weights; an ordinary optimiser updates the stacks. All
models of a stack have taken the same number of steps at any time, so that what an optimiser counts is right for each;
their epochs may end at different steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.func import functional_call, vmap

from locard.train.asked import Run
from locard.train.neural.data import NetworkData, scaled
from locard.train.neural.early import Patience, held_out
from locard.train.neural.graph import Named, Recorded, peak_bytes
from locard.train.neural.layers import Keyed, keyed_masks, mask_keys
from locard.train.neural.objective import (
    Taught,
    as_classes,
    fresh,
    own_randomness,
    record_losses,
    soft_labels,
    soft_losses,
    weighted_mean,
)
from locard.train.neural.one_model import AtEpoch, length_of
from locard.train.neural.orders import Orders
from locard.train.neural.schedules import schedule
from locard.train.neural.state import Stack, joined

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

# optimisers with a form for one pass over memory, and the settings that choose another form
FUSED = ("sgd", "adam", "adamw", "adagrad")
OTHER_FORMS = ("fused", "foreach", "capturable", "differentiable")


class StackTraining:
    """The state of one stack while it is trained."""

    def __init__(
        self, recipe: TorchRecipe, data: NetworkData, runs: Sequence[Run], taught: Taught | None = None
    ) -> None:
        self.recipe, self.data, self.taught = recipe, data, taught
        self.temperature = 1.0 if taught is None else taught.temperature
        self.seeds = np.array([r.seed for r in runs], dtype=np.int64)
        parts = [held_out(recipe, r) for r in runs]
        self.held = [p[1] for p in parts]
        self.lengths = [length_of(recipe, len(p[0])) for p in parts]
        self.orders = Orders([p[0] for p in parts], self.lengths, self.seeds, data)
        self.keyed, params, self.buffers = _first_weights(recipe, data, self.seeds)
        used = _used(recipe, data, self.keyed)
        self.params = {n: p.requires_grad_() for n, p in params.items() if n in used}
        self.fixed = {n: p for n, p in params.items() if n not in used}  # frozen, or without part in the loss
        self.scaling = data.scaling([p[0] for p in parts])
        fused = recipe.optimizer.lower() in FUSED and not set(OTHER_FORMS) & set(recipe.optimizer_params)
        self.optimizer = recipe.optimizer_of(list(self.params.values()), **({"fused": True} if fused else {}))
        kinds = list(dict.fromkeys(self.lengths))
        self.factors = [schedule(recipe.schedule, recipe.schedule_params, n, recipe.warmup) for n in kinds]
        self.kind = np.array([kinds.index(n) for n in self.lengths])
        self.soft = soft_labels(data.classes, recipe.label_smoothing, data.x.new_zeros((), dtype=data.dtype))
        self.own_loss = recipe.loss_function()
        self.graphs: dict[bool, Recorded] = {}
        self.places = np.arange(len(runs))  # which run each row of the stack is
        self.per_epoch = np.array([n.per_epoch for n in self.lengths])
        self.total = np.array([n.total for n in self.lengths])
        self.done: dict[int, Stack] = {}
        self._x: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory of the stack: weights, gradients, the optimiser's state and what one step holds at a time."""
        weights = sum(p.numel() * p.element_size() for p in self.params.values())
        kept = [v for s in self.optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
        kept += [] if self._x is None else [self._x]
        step = max((peak_bytes(g.graph) for g in self.graphs.values()), default=0)
        return 2 * weights + sum(t.numel() * t.element_size() for t in kept) + self.orders.bytes + step

    def run(self, at_epoch: AtEpoch | None) -> Stack:
        """All steps of all models."""
        patience = Patience(self.recipe.patience) if self.recipe.patience else None
        step = 0
        while len(self.done) < len(self.lengths):
            self.step(step)
            ended = self._ended(step)
            if ended and (at_epoch or patience):
                self._epoch_over(ended, step, at_epoch, patience)
            for row in ended:
                place = int(self.places[row])
                if step + 1 == self.total[place] and place not in self.done:
                    self.done[place] = self._row(row)
            step += 1
            if ended:
                self._compact()
        last = [self.done[place] for place in range(len(self.lengths))]
        return joined([patience.best_of(i, s) for i, s in enumerate(last)] if patience else last)

    def now(self) -> Stack:
        """The models as they are."""
        return self._now(list(range(len(self.places))))

    def _ended(self, step: int) -> list[int]:
        """Rows of the models whose pass, or training, ends with this step."""
        at = self.places
        over = ((step + 1) % self.per_epoch[at] == 0) | (step + 1 == self.total[at])
        return [int(row) for row in np.flatnonzero(over) if int(at[row]) not in self.done]

    def step(self, step: int) -> None:
        """One optimiser step of every model, on its next batch."""
        rows, valid = self.orders.batch(self.places, step)
        flat = torch.from_numpy(rows.reshape(-1)).to(self.data.device)
        if self._x is None or len(self._x) != len(flat):
            self._x = self.data.x.new_empty((len(flat), *self.data.shape))  # one buffer for all steps
        x = torch.index_select(self.data.x, 0, flat, out=self._x).reshape(*rows.shape, *self.data.shape)
        y = self.data.y.index_select(0, flat).reshape(rows.shape)
        weight = None
        if not valid.all() or self.data.weight is not None:
            weight = torch.from_numpy(valid).to(device=self.data.device, dtype=self.data.dtype)
        taught = None
        if self.taught is not None:
            students = torch.from_numpy(self.places).to(self.data.device)
            taught = self.taught.labels(students, flat.reshape(rows.shape))
        self.learn(step, x, y, weight, self._weights(flat, weight), taught)

    def learn(
        self,
        step: int,
        x: torch.Tensor,
        y: torch.Tensor,
        present: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        taught: torch.Tensor | None = None,
    ) -> None:
        """One optimiser step of every model.

        Args:
            step: its number; the learning rate and the dropout masks follow from it.
            x: ``float[models, batch, ...]``.
            y: ``int64[models, batch]``.
            present: ``float[models, batch]``, 0 for padding; None where there is none and no weights.
            weight: ``float[models, batch]``, training weights, 0 for padding; given where ``present`` is.
            taught: ``float[models, batch, classes]``, what teachers say, in place of ``y``.
        """
        if taught is None:
            labels = self.soft.index_select(0, y.reshape(-1)) if self.own_loss is None else y.reshape(-1)
            taught = labels.reshape(*y.shape, *labels.shape[1:])
        batch = {"x": x, "labels": taught}
        if present is not None and weight is not None:
            batch |= {"present": present, "weight": weight}
        if self.scaling is not None:
            batch |= self.scaling.tensors()
        gradients, fresh_buffers = self._gradients(batch | self._masks(step, y.shape[1]))
        self._clip(gradients)
        for name, p in self.params.items():
            p.grad = gradients[name].contiguous()  # fused optimisers read memory in its order, whatever the strides
        self._update(step)
        self.buffers |= fresh_buffers

    def begin_from(self, models: Stack) -> None:
        """Weights, running statistics and scaling of these models instead of first ones; the optimiser starts anew."""
        for n, p in self.params.items():
            p.data = models.params[n].clone()
        self.fixed = {n: models.params[n] for n in self.fixed}
        self.buffers = {n: models.buffers[n].clone() for n in self.buffers}
        self.scaling = models.scaling

    def _weights(self, flat: torch.Tensor, present: torch.Tensor | None) -> torch.Tensor | None:
        if present is None or self.data.weight is None:
            return present
        return present * self.data.weight.index_select(0, flat).reshape(present.shape)

    def _gradients(self, batch: Named) -> tuple[Named, Named]:
        """Gradients and new running statistics; the step is recorded when a batch of its kind comes first."""
        given = ({n: p.detach() for n, p in self.params.items()}, self.fixed | self.buffers, batch)
        key = "weight" in batch
        if key not in self.graphs:
            self.graphs[key] = Recorded(self._descent, *given)
        gradients, fresh_buffers = self.graphs[key](*given)
        return gradients, fresh_buffers

    def _descent(self, params: Named, buffers: Named, batch: Named) -> tuple[Named, Named]:
        """Every model's gradients and new running statistics. (``torch.func.grad`` would load torch's compiler.)"""
        with torch.enable_grad():
            leaves = {n: p.requires_grad_() for n, p in params.items()}
            losses, new = vmap(self._loss)(leaves, buffers, batch)
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, found, strict=True)), {n: b.detach() for n, b in new.items()}

    def _loss(self, params: Named, buffers: Named, batch: Named) -> tuple[torch.Tensor, Named]:
        """The loss of one model, and its new running statistics."""
        x = batch["x"]
        if self.scaling is not None:
            x = scaled(x, batch["shift"], batch["scale"], batch.get("fill"))
        for norm in self.keyed.norms.values():
            norm.rows = batch.get("present")
        self.keyed.module.train()
        masks = {n: batch[n] for n, _, _ in self.keyed.masks}
        logits = as_classes(functional_call(self.keyed.module, (params, {**buffers, **masks}), (x,)), self.data.classes)
        if self.own_loss is None:
            losses = soft_losses(logits, batch["labels"], self.temperature)
        else:
            losses = record_losses(logits, batch["labels"], self.own_loss, 0.0)
        new: Named = {}
        for name, norm in self.keyed.norms.items():
            if norm.fresh is not None:
                new[f"{name}.running_mean"], new[f"{name}.running_var"] = norm.fresh
            norm.fresh = norm.rows = None
        return weighted_mean(losses, batch.get("weight")), new

    def _masks(self, step: int, rows: int) -> Named:
        out: Named = {}
        for place, (name, p, shape) in enumerate(self.keyed.masks):
            keys = mask_keys(self.seeds[self.places], step, place)
            out[name] = keyed_masks(keys, (rows, *shape), p, self.soft)
        return out

    def _clip(self, gradients: Named) -> None:
        """Each model's gradient to at most the largest norm, as ``clip_grad_norm_`` does for one."""
        if self.recipe.clip_norm is None:
            return
        square = sum(g.flatten(1).square().sum(1) for g in gradients.values())
        share = (self.recipe.clip_norm / (torch.sqrt(square) + 1e-6)).clamp(max=1.0)  # type: ignore[arg-type]
        for name, g in gradients.items():
            gradients[name] = g * share.reshape(-1, *(1 for _ in g.shape[1:]))

    def _update(self, step: int) -> None:
        """One step of the optimiser; where models are at different learning rates, each gets its share of it."""
        factors = np.array([factor(step) for factor in self.factors])[self.kind[self.places]]
        top = float(factors.max())
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * top
        if top == factors.min():
            self.optimizer.step()
            return
        before = {n: p.detach().clone() for n, p in self.params.items()}
        self.optimizer.step()
        share = torch.from_numpy(factors / top).to(dtype=self.data.dtype, device=self.data.device)
        with torch.no_grad():
            for n, p in self.params.items():
                p.copy_(before[n] + (p - before[n]) * share.reshape(-1, *(1 for _ in p.shape[1:])))

    def _epoch_over(self, ended: list[int], step: int, at_epoch: AtEpoch | None, patience: Patience | None) -> None:
        by_epoch: dict[int, list[int]] = {}
        for row in ended:
            by_epoch.setdefault(step // int(self.per_epoch[self.places[row]]) + 1, []).append(row)
        for epoch, rows in by_epoch.items():
            if at_epoch:
                at_epoch([int(self.places[r]) for r in rows], epoch, self._now(rows))
        for row in ended if patience else ():
            place, now = int(self.places[row]), self._row(row)
            if patience and patience.enough(place, now, self.data, self.held[place], self.own_loss):
                self.done[place] = now

    def _row(self, row: int) -> Stack:
        return self._now([row])

    def _now(self, rows: list[int]) -> Stack:
        params = {n: p.detach()[rows] for n, p in (self.params | self.fixed).items()}  # an index with a list copies
        buffers = {n: b[rows] for n, b in self.buffers.items()}
        scaling = None if self.scaling is None else self.scaling.of(rows)
        return Stack(self.keyed, params, buffers, scaling, self.data.classes)

    def _compact(self) -> None:
        """Drop the models that have ended, once they are half of the stack: recording the step again costs time."""
        going = [row for row, place in enumerate(self.places) if int(place) not in self.done]
        if not going or len(going) > len(self.places) // 2:
            return
        for p in self.params.values():
            state = self.optimizer.state.get(p, {})
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == p.shape:
                    state[name] = value[going]
            p.grad = None
            p.data = p.data[going]
        self.fixed = {n: p[going] for n, p in self.fixed.items()}
        self.buffers = {n: b[going] for n, b in self.buffers.items()}
        self.scaling = None if self.scaling is None else self.scaling.of(going)
        self.places = self.places[going]
        self.graphs.clear()


def _first_weights(recipe: TorchRecipe, data: NetworkData, seeds: np.ndarray) -> tuple[Keyed, Named, Named]:
    """The architecture, and every model's first weights stacked."""
    params: dict[str, list[torch.Tensor]] = {}
    buffers: dict[str, list[torch.Tensor]] = {}
    with own_randomness(data.device):
        for seed in seeds:
            keyed = fresh(recipe, data, int(seed))
            for n, p in keyed.module.named_parameters():
                params.setdefault(n, []).append(p.detach())
            for n, b in keyed.buffers().items():
                buffers.setdefault(n, []).append(b)
    return keyed, {n: torch.stack(p) for n, p in params.items()}, {n: torch.stack(b) for n, b in buffers.items()}


def _used(recipe: TorchRecipe, data: NetworkData, keyed: Keyed) -> set[str]:
    """Parameters that have a gradient: torch's optimisers leave the others as they are, weight decay included."""
    named = {n: p for n, p in keyed.module.named_parameters() if p.requires_grad}
    x, y = data.x[:2], data.y[:2]
    keyed.set_masks({n: x.new_ones((len(x), *shape)) for n, _, shape in keyed.masks})
    with own_randomness(data.device), torch.enable_grad():
        logits = as_classes(keyed.module(x), data.classes)
        loss = record_losses(logits, y, recipe.loss_function(), recipe.label_smoothing).sum()
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n for n, g in zip(named, gradients, strict=True) if g is not None}
