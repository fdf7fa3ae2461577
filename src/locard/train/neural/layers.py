"""Layers whose randomness and running statistics belong to one model, whether it is trained alone or among many.

``torch.nn.Dropout`` draws from one global stream, and ``torch.nn.BatchNorm`` changes its buffers in place. Both are
replaced before training by layers that say the same thing with arguments and results, so that a model's numbers do not
depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OWN_RANDOMNESS = (nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class KeyedDropout(nn.Module):
    """Dropout with the masks as inputs: ``x * mask``, where a mask holds 0 or 1 / (1 - p).

    - the mask of a training step is a function of (model's seed, step, layer, place), by ``keyed_masks``
    - a layer that one forward pass calls several times has a mask for each call
    - where the first axis is not the records, torch's own layer goes on (``alone``)
    """

    def __init__(self, of: nn.modules.dropout._DropoutNd) -> None:
        super().__init__()
        self.p, self.was = of.p, of
        self.channelwise = isinstance(of, CHANNELWISE)
        self.shapes: list[tuple[int, ...]] = []  # of one record's mask, by call; learnt by looking at a forward pass
        self.alone = False
        self.calls = 0
        self.seen: list[tuple[int, ...]] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Masked in training, unchanged otherwise."""
        if not self.training:
            return x
        if self.seen is not None:
            self.seen.append(tuple(x.shape))
            return x
        if self.alone:
            dropped: torch.Tensor = self.was(x)
            return dropped
        self.calls += 1
        if self.calls > len(self.shapes):
            raise RuntimeError(
                f"a dropout layer that is called {len(self.shapes)} times in a pass was called once more; "
                f"give each call a layer of its own"
            )
        mask: torch.Tensor = self.get_buffer(f"mask{self.calls - 1}")
        return x * mask

    def learn(self, records: int) -> None:
        """Take over what was seen of a forward pass of this many records."""
        seen, self.seen = self.seen or [], None
        self.alone = any(len(shape) < 2 or shape[0] != records for shape in seen)
        for place, (_, width, *rest) in enumerate([] if self.alone else seen):
            self.shapes.append((width, *(1 for _ in rest)) if self.channelwise else (width, *rest))
            self.register_buffer(f"mask{place}", torch.ones(()), persistent=False)


class KeyedBatchNorm(nn.Module):
    """Batch normalisation whose new running statistics are a result (``fresh``), not a change of its buffers.

    - equal to ``torch.nn.BatchNorm1d/2d/3d`` on batches without padding
    - rows of weight 0 (padding) do not count
    - a batch of one value a channel keeps the running variance, where PyTorch raises
    - called several times in a pass, it moves its running statistics as often
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
        if self.weight is not None:
            out = out * self.weight.reshape(shape)
        return out if self.bias is None else out + self.bias.reshape(shape)

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        over = (0, *range(2, x.dim()))
        places = x[0, 0].numel()
        if self.rows is None:
            mean = x.mean(over)
            var = x.var(over, unbiased=False)
            return mean, var, torch.full((), float(x.shape[0] * places), dtype=x.dtype, device=x.device)
        if len(self.rows) != len(x):
            raise ValueError(f"batch normalisation over {len(x)} rows, but the batch has {len(self.rows)} records")
        rows = self.rows.reshape(-1, *(1 for _ in x.shape[1:]))
        count = self.rows.sum() * places
        mean = (x * rows).sum(over) / count
        off = (x - mean.reshape(1, -1, *(1 for _ in x.shape[2:]))) * rows
        return mean, (off * off).sum(over) / count, count

    def _remember(self, mean: torch.Tensor, var: torch.Tensor, count: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        m, (old_mean, old_var) = self.momentum, self.fresh or (self.running_mean, self.running_var)
        unbiased = torch.where(count > 1, var * (count / (count - 1).clamp(min=1)), old_var)
        self.fresh = (1 - m) * old_mean + m * mean.detach(), (1 - m) * old_var + m * unbiased.detach()


@dataclass(eq=False)
class Keyed:
    """A module ready to be trained alone or among many: its own dropout and normalisation layers by name."""

    module: nn.Module
    dropouts: dict[str, KeyedDropout] = field(default_factory=dict)
    norms: dict[str, KeyedBatchNorm] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, x: torch.Tensor) -> Keyed:
        """The module with its dropout and normalisation layers replaced (in place), in training mode.

        Args:
            module: layers of torch's own dropout and normalisation classes are replaced, their subclasses are not.
            x: a few records, so that every dropout layer sees the shapes of its masks.
        """
        keyed = cls(module)
        made: dict[nn.Module, nn.Module] = {}  # a layer that stands in two places stays one layer
        for name, parent, attribute, child in list(_children(module)):
            if type(child) in (nn.Dropout, *CHANNELWISE):
                if child not in made:
                    made[child] = keyed.dropouts[name] = KeyedDropout(child)  # type: ignore[arg-type]
            elif type(child) in NORMS and child.momentum is not None:
                if child not in made:
                    made[child] = keyed.norms[name] = KeyedBatchNorm(child)  # type: ignore[arg-type]
            else:
                continue
            setattr(parent, attribute, made[child])
        module.register_forward_pre_hook(lambda *_: keyed._begin())
        module.train()
        if keyed.dropouts:
            keyed._learn(x)
        return keyed

    @property
    def masks(self) -> list[tuple[str, float, tuple[int, ...]]]:
        """Every mask of a pass: the buffer's name, the share of zeros and the shape for one record."""
        return [(f"{n}.mask{i}", d.p, s) for n, d in self.dropouts.items() for i, s in enumerate(d.shapes)]

    def buffers(self) -> dict[str, torch.Tensor]:
        """Buffers that belong to the model: all but dropout masks."""
        masks = {name for name, _, _ in self.masks}
        return {n: b for n, b in self.module.named_buffers() if n not in masks}

    def set_masks(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put a step's masks in place."""
        for name, mask in masks.items():
            layer, _, buffer = name.rpartition(".")
            setattr(self.dropouts[layer], buffer, mask)

    def _begin(self) -> None:
        """Before every forward pass."""
        for layer in self.dropouts.values():
            layer.calls = 0
        for norm in self.norms.values():
            norm.fresh = None

    def _learn(self, x: torch.Tensor) -> None:
        """One forward pass that changes no buffer."""
        for layer in self.dropouts.values():
            layer.seen = []
        with torch.no_grad():
            functional_call(self.module, {n: b.clone() for n, b in self.module.named_buffers()}, (x,))
        for layer in self.dropouts.values():
            layer.learn(len(x))
        self._begin()


def why_alone(module: nn.Module) -> str | None:
    """Why this module's layers cannot be trained among many, as far as their types say; None where they can."""
    for name, child in module.named_modules():
        if isinstance(child, OWN_RANDOMNESS):
            return f"layer {name!r} ({type(child).__name__}) draws random numbers of its own"
        if isinstance(child, KeyedDropout) and child.alone:
            return f"layer {name!r} ({type(child.was).__name__}) acts on rows that are not the batch's records"
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            return f"layer {name!r} ({type(child).__name__}) keeps running statistics in a way of its own"
        if isinstance(child, nn.RNNBase):
            return f"layer {name!r} ({type(child).__name__}) has no form for many models at once"
    return None


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """(name, parent, attribute, child), under every attribute that a child stands in."""
    for parent_name, parent in module.named_modules():
        for attribute, child in parent._modules.items():
            if child is not None:
                yield f"{parent_name}.{attribute}".lstrip("."), parent, attribute, child


# --- masks ---------------------------------------------------------------------------------------------------------

_MIX1, _MIX2 = 0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32  # the finaliser of MurmurHash3, as signed 32-bit numbers


def mask_keys(seeds: np.ndarray, step: int, layer: int) -> np.ndarray:
    """Two 32-bit numbers a model from (seed, step, layer): ``int32[models, 2]``, by splitmix64."""
    z = np.asarray(seeds, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for word in (step + 1, layer + 1):
            z = splitmix(z + np.uint64(word) * np.uint64(0x9E3779B97F4A7C15))
    return (
        np.stack([(z & np.uint64(0xFFFFFFFF)) | np.uint64(1), z >> np.uint64(32)], axis=1)
        .astype(np.uint32)
        .view(np.int32)
    )


def splitmix(z: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 on ``uint64``. Source: Steele, Lea, Flood 2014 (OOPSLA)."""
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
