"""Layers whose randomness and running statistics belong to one model, whether it is trained alone or among many.

``torch.nn.Dropout`` draws from one global stream, and ``torch.nn.BatchNorm`` changes its buffers in place. Both are
replaced before training by layers that say the same thing with arguments and results, so that a model's numbers do not
depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OWN_RANDOMNESS = (nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class KeyedDropout(nn.Module):
    """Dropout with the mask as an input: ``x * mask``, where the mask holds 0 or 1 / (1 - p).

    The mask of a training step is a function of (model's seed, step, layer, place), by ``keyed_masks``.
    """

    def __init__(self, p: float, *, channelwise: bool) -> None:
        super().__init__()
        self.p, self.channelwise = p, channelwise
        self.shape: tuple[int, ...] | None = None  # of one record's mask, learnt by looking at one forward pass
        self.mask: torch.Tensor
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Masked in training, unchanged otherwise."""
        if self.shape is None:
            self.shape = (x.shape[1], *(1 for _ in x.shape[2:])) if self.channelwise else tuple(x.shape[1:])
        return x * self.mask if self.training else x


class KeyedBatchNorm(nn.Module):
    """Batch normalisation whose new running statistics are a result (``fresh``), not a change of its buffers.

    - equal to ``torch.nn.BatchNorm1d/2d/3d`` on batches without padding
    - rows of weight 0 (padding) do not count
    - a batch of one value a channel keeps the running variance, where PyTorch raises
    """

    def __init__(self, of: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = of.eps, float(of.momentum or 0.0)
        self.weight: torch.Tensor | None
        self.bias: torch.Tensor | None
        self.running_mean: torch.Tensor | None
        self.running_var: torch.Tensor | None
        self.register_parameter("weight", of.weight)
        self.register_parameter("bias", of.bias)
        self.register_buffer("running_mean", of.running_mean)
        self.register_buffer("running_var", of.running_var)
        self.rows: torch.Tensor | None = None  # 1 for a record, 0 for padding; None where there is no padding
        self.fresh: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised by the batch in training, by the running statistics otherwise."""
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        mean, var = self.running_mean, self.running_var
        if self.training or mean is None or var is None:
            mean, var, count = self._statistics(x)
            self._remember(mean, var, count)
        out = (x - mean.reshape(shape)) * torch.rsqrt(var.reshape(shape) + self.eps)
        if self.weight is not None and self.bias is not None:
            out = out * self.weight.reshape(shape) + self.bias.reshape(shape)
        return out

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        over = (0, *range(2, x.dim()))
        places = x[0, 0].numel()
        if self.rows is None:
            mean = x.mean(over)
            var = x.var(over, unbiased=False)
            return mean, var, torch.full((), float(x.shape[0] * places), dtype=x.dtype, device=x.device)
        rows = self.rows.reshape(-1, *(1 for _ in x.shape[1:]))
        count = self.rows.sum() * places
        mean = (x * rows).sum(over) / count
        off = (x - mean.reshape(1, -1, *(1 for _ in x.shape[2:]))) * rows
        return mean, (off * off).sum(over) / count, count

    def _remember(self, mean: torch.Tensor, var: torch.Tensor, count: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        m = self.momentum
        unbiased = torch.where(count > 1, var * (count / (count - 1).clamp(min=1)), self.running_var)
        self.fresh = (
            (1 - m) * self.running_mean + m * mean.detach(),
            (1 - m) * self.running_var + m * unbiased.detach(),
        )


@dataclass(eq=False)
class Keyed:
    """A module ready to be trained alone or among many: its own dropout and normalisation layers by name."""

    module: nn.Module
    dropouts: dict[str, KeyedDropout] = field(default_factory=dict)
    norms: dict[str, KeyedBatchNorm] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module) -> Keyed:
        """The module with its dropout and normalisation layers replaced (in place)."""
        keyed = cls(module)
        for name, parent, attribute, child in list(_children(module)):
            new: nn.Module
            if isinstance(child, (nn.Dropout, *CHANNELWISE)):
                new = keyed.dropouts[name] = KeyedDropout(child.p, channelwise=isinstance(child, CHANNELWISE))
            elif isinstance(child, NORMS) and child.momentum is not None:
                new = keyed.norms[name] = KeyedBatchNorm(child)
            else:
                continue
            new.training = child.training
            setattr(parent, attribute, new)
        return keyed

    def learn_shapes(self, x: torch.Tensor) -> None:
        """One forward pass, so that every dropout layer knows the shape of its mask."""
        if any(d.shape is None for d in self.dropouts.values()):
            training = self.module.training
            self.module.eval()
            with torch.no_grad():
                self.module(x)
            self.module.train(training)


def why_alone(module: nn.Module) -> str | None:
    """Why this module's layers cannot be trained among many, as far as their types say; None where they can."""
    for name, child in module.named_modules():
        if isinstance(child, OWN_RANDOMNESS):
            return f"layer {name!r} ({type(child).__name__}) draws random numbers of its own"
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            return f"layer {name!r} ({type(child).__name__}) keeps running statistics in a way of its own"
        if isinstance(child, nn.RNNBase):
            return f"layer {name!r} ({type(child).__name__}) has no form for many models at once"
    return None


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    for name, child in module.named_modules():
        parent_name, _, attribute = name.rpartition(".")
        if name:
            yield name, module.get_submodule(parent_name), attribute, child


# --- masks ---------------------------------------------------------------------------------------------------------

_MIX1, _MIX2 = 0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32  # the finaliser of MurmurHash3, as signed 32-bit numbers


def mask_keys(seeds: np.ndarray, step: int, layer: int) -> np.ndarray:
    """Two 32-bit numbers a model from (seed, step, layer): ``int32[models, 2]``, by splitmix64."""
    z = np.asarray(seeds, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for word in (step + 1, layer + 1):
            z = _splitmix(z + np.uint64(word) * np.uint64(0x9E3779B97F4A7C15))
    return (
        np.stack([(z & np.uint64(0xFFFFFFFF)) | np.uint64(1), z >> np.uint64(32)], axis=1)
        .astype(np.uint32)
        .view(np.int32)
    )


def _splitmix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: np.ndarray = z ^ (z >> np.uint64(31))
    return out


def keyed_masks(keys: np.ndarray, shape: tuple[int, ...], p: float, like: torch.Tensor) -> torch.Tensor:
    """``float[models, *shape]``: 0 with chance p, else 1 / (1 - p), each place by a counter under its model's key.

    Args:
        keys: ``int32[models, 2]`` from ``mask_keys``.
        shape: of one model's mask; the first axis is records, so that a smaller batch gets the first rows.
        p: share of zeros; met to within 2**-32.
        like: a tensor of the wanted type and device.
    """
    if p >= 1.0:
        return torch.zeros((len(keys), *shape), dtype=like.dtype, device=like.device)
    key = torch.from_numpy(keys).to(like.device)
    h = torch.arange(int(np.prod(shape)), dtype=torch.int32, device=like.device)[None] * key[:, :1]
    h += key[:, 1:]
    h ^= (h >> 16) & 0xFFFF
    h *= _MIX1
    h ^= (h >> 13) & 0x7FFFF
    h *= _MIX2
    h ^= (h >> 16) & 0xFFFF
    keep = h >= min(round(p * 2**32), 2**32 - 1) - 2**31
    return keep.to(like.dtype).mul_(1.0 / (1.0 - p)).reshape(len(keys), *shape)
