"""What training minimises: each model's weighted mean of its records' losses. And how networks' outputs are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from locard.errors import SettingsError
from locard.train.neural.data import NetworkData
from locard.train.neural.layers import Keyed


def fresh(recipe: Any, data: NetworkData, seed: int) -> Keyed:
    """A new network with its first weights drawn from torch's global generator after ``manual_seed(seed)``.

    Raises:
        SettingsError: the network does not answer records of this shape with one logit a class.
    """
    torch.manual_seed(seed)
    keyed = Keyed.of(recipe.build(data.shape, data.classes).to(device=data.device, dtype=data.dtype))
    keyed.learn_shapes(data.x[:2])
    return keyed


def check_output(recipe: Any, data: NetworkData) -> None:
    """Ask one untrained network about two records.

    Raises:
        SettingsError: it raises, or its outputs are not ``[records, classes]``.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        shape, x = list(data.shape), data.x[:2]
        try:
            keyed = fresh(recipe, data, 0)
            keyed.module.eval()
            out = keyed.module(x)
        except SettingsError:
            raise
        except Exception as wrong:  # the user's own forward may raise anything
            raise SettingsError(
                f"target.module: a network that takes records of shape {shape} is needed, but asking it about two "
                f"raised {type(wrong).__name__}: {str(wrong).splitlines()[0]}. Mend target.params or the data's shape."
            ) from wrong
        width = data.classes
        allowed = {(len(x), width)} | ({(len(x), 1), (len(x),)} if width == 2 else set())
        if not isinstance(out, torch.Tensor) or tuple(out.shape) not in allowed:
            found = list(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise SettingsError(
                f"target.module: logits of shape [records, {width}] are needed, found {found} for {len(x)} records. "
                f"Let the last layer have {width} outputs."
            )


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


def last_linear(module: nn.Module) -> nn.Linear | None:
    """The last linear layer, whose input is called penultimate."""
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return linear[-1] if linear else None
