"""What training minimises: each model's weighted mean of its records' losses. And how networks' outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from locard.errors import SettingsError
from locard.train.asked import Run
from locard.train.neural.data import NetworkData
from locard.train.neural.layers import Keyed


def fresh(recipe: Any, data: NetworkData, seed: int) -> Keyed:
    """A new network with its first weights drawn from torch's global generator after ``manual_seed(seed)``.

    Raises:
        SettingsError: the network cannot be made for records of this shape.
    """
    torch.manual_seed(int(seed))
    return Keyed.of(recipe.build(data.shape, data.classes).to(device=data.device, dtype=data.dtype), data.x[:2])


@contextmanager
def own_randomness(device: str) -> Iterator[None]:
    """Whatever is drawn or seeded inside, torch's global generators come out as they went in."""
    with torch.random.fork_rng(devices=[] if torch.device(device).type == "cpu" else [torch.device(device)]):
        yield


def check_output(recipe: Any, data: NetworkData) -> None:
    """Ask one untrained network about two records.

    Raises:
        SettingsError: it raises, its outputs are not ``[records, classes]``, the loss is not one value a record, there
            is nothing to train, or its first weights are not a function of torch's seed.
    """
    shape, x, y = list(data.shape), data.x[:2], data.y[:2]
    with own_randomness(data.device), torch.enable_grad():
        try:
            keyed, again = fresh(recipe, data, 0), fresh(recipe, data, 0)
            keyed.module.eval()
            out = keyed.module(x if not data.gaps else torch.nan_to_num(x))
        except SettingsError:
            raise
        except Exception as wrong:  # the user's own forward may raise anything
            raise SettingsError(
                f"target.module: a network that takes records of shape {shape} is needed, but asking it about two "
                f"raised {_said(wrong)}. Mend target.params or the data's shape."
            ) from wrong
        width = data.classes
        allowed = {(len(x), width)} | ({(len(x), 1), (len(x),)} if width == 2 else set())
        if not isinstance(out, torch.Tensor) or tuple(out.shape) not in allowed:
            found = list(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise SettingsError(
                f"target.module: logits of shape [records, {width}] are needed, found {found} for {len(x)} records. "
                f"Let the last layer have {width} outputs."
            )
        pairs = zip(keyed.module.state_dict().values(), again.module.state_dict().values(), strict=True)
        if not all(torch.equal(a, b) for a, b in pairs):
            raise SettingsError(
                "target.module: first weights that follow from torch.manual_seed are needed, but two networks of one "
                "seed differ. Draw them with torch's global generator."
            )
        _check_loss(recipe, as_classes(out, width), y)


def _check_loss(recipe: Any, logits: torch.Tensor, labels: torch.Tensor) -> None:
    try:
        losses = record_losses(logits, labels, recipe.loss_function(), recipe.label_smoothing)
    except Exception as wrong:  # the user's own loss may raise anything
        raise SettingsError(
            f"target.loss: a function of (logits[batch, classes], labels[batch]) is needed, but it raised "
            f"{_said(wrong)}. Mend the function."
        ) from wrong
    if not isinstance(losses, torch.Tensor) or losses.shape != labels.shape:
        found = list(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
        raise SettingsError(
            f"target.loss: one loss a record is needed, found {found} for {len(labels)} records. Leave out the mean "
            f"(reduction='none')."
        )
    if not losses.requires_grad:
        raise SettingsError(
            "target.module: a loss that depends on weights to train is needed, found none. Let a parameter require "
            "its gradient, and do not detach the logits."
        )


def _said(wrong: Exception) -> str:
    return f"{type(wrong).__name__}: {(str(wrong).splitlines() or [''])[0]}"


def as_classes(out: torch.Tensor, classes: int) -> torch.Tensor:
    """``[records, classes]``; one logit (of the second class) becomes two."""
    if out.dim() == 1:
        out = out.unsqueeze(-1)
    if out.shape[-1] == 1 and classes == 2:
        out = torch.cat([torch.zeros_like(out), out], dim=-1)
    return out


def record_losses(
    logits: torch.Tensor, labels: torch.Tensor, own: Callable[..., Any] | None, smoothing: float
) -> torch.Tensor:
    """One loss a record, nats for cross-entropy: the definition."""
    if own is not None:
        losses: torch.Tensor = own(logits, labels)
        return losses
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def weighted_mean(losses: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean loss of a batch; records of weight 0 do not count, and a batch without weight has loss 0."""
    if weight is None:
        return losses.mean()
    total = weight.sum()
    return (losses * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def soft_labels(classes: int, smoothing: float, like: torch.Tensor) -> torch.Tensor:
    """``float[classes, classes]``: row c is the smoothed distribution that label c stands for."""
    eye = torch.eye(classes, dtype=like.dtype, device=like.device)
    return eye * (1 - smoothing) + smoothing / classes


@dataclass(frozen=True, eq=False)
class Taught:
    """What teachers say of the records that students are trained on, in place of labels.

    Args:
        table: ``float[students, rows, classes]``, probabilities.
        row: ``int64[records]``, the row of the record's first form.
        forms: how many rows there are for one form; form v of a record stands v times so far behind.
        temperature: divides the student's logits; the loss is multiplied by its square.
    """

    table: torch.Tensor
    row: torch.Tensor
    forms: int
    temperature: float = 1.0

    @classmethod
    def of(cls, data: NetworkData, runs: Sequence[Run], soft: Sequence[np.ndarray], temperature: float) -> Taught:
        """From each run's ``soft: float[records of its index, forms, classes]``."""
        union = np.unique(np.concatenate([r.index for r in runs]))
        table = np.zeros((len(runs), data.variants, len(union), data.classes))
        for i, (run, said) in enumerate(zip(runs, soft, strict=True)):
            table[i][:, np.searchsorted(union, run.index)] = said.swapaxes(0, 1)
        row = np.full(data.records, -1)
        row[union] = np.arange(len(union))
        flat = torch.from_numpy(table.reshape(len(runs), -1, data.classes)).to(device=data.device, dtype=data.dtype)
        return cls(flat, torch.from_numpy(row).to(data.device), len(union), temperature)

    def labels(self, students: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """``float[students, batch, classes]`` for ``rows: int64[students, batch]`` of the data."""
        records = len(self.row)
        at = self.row[rows % records] + rows // records * self.forms
        return self.table[students[:, None], at]


def soft_losses(logits: torch.Tensor, labels: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Cross-entropy of distributions, nats; up to the labels' own entropy the divergence from them."""
    if temperature == 1.0:
        return -(labels * torch.log_softmax(logits, dim=-1)).sum(-1)
    return -(labels * torch.log_softmax(logits / temperature, dim=-1)).sum(-1) * temperature**2


def last_linear(module: nn.Module) -> nn.Linear | None:
    """The last linear layer, whose input is called penultimate."""
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return linear[-1] if linear else None
