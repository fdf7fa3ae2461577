"""Trained models as stacked tensors, and what they answer. One model is a stack of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, vmap

from locard.train.neural.data import Scaling
from locard.train.neural.layers import Keyed
from locard.train.neural.objective import as_classes, last_linear

ROWS = 16_384  # (model, record) pairs asked at once: their activations stay near the processor


@dataclass(eq=False)
class Stack:
    """``models`` networks of one architecture.

    Args:
        keyed: the architecture.
        params: name -> ``float[models, ...]``.
        buffers: name -> ``[models, ...]``.
        scaling: what each learnt of the columns.
        classes: how many.
        together: whether the module may be called for many models at once.
    """

    keyed: Keyed
    params: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    scaling: Scaling | None
    classes: int
    together: bool = True

    def __len__(self) -> int:
        return len(next(iter(self.params.values())))

    def of(self, models: list[int]) -> Stack:
        """Some of the models."""
        params = {k: v[models] for k, v in self.params.items()}
        buffers = {k: v[models] for k, v in self.buffers.items()}
        scaling = None if self.scaling is None else self.scaling.of(models)
        return Stack(self.keyed, params, buffers, scaling, self.classes, self.together)

    def tensors(self, model: int) -> dict[str, torch.Tensor]:
        """One model's parameters and buffers by name."""
        out = {k: v[model] for k, v in self.params.items()} | {k: v[model] for k, v in self.buffers.items()}
        if self.scaling is not None:
            out |= {"scaling.shift": self.scaling.shift[model], "scaling.scale": self.scaling.scale[model]}
            if self.scaling.fill is not None:
                out["scaling.fill"] = self.scaling.fill[model]
        return {k: v.detach().clone() for k, v in out.items()}

    def logits(self, x: torch.Tensor, *, penultimate: bool = False) -> Iterator[tuple[slice, torch.Tensor]]:
        """Blocks of rows with ``float[models, rows, classes]``, in evaluation mode.

        Args:
            x: ``float[records, ...]``, the same records for every model.
            penultimate: the last linear layer's input instead of logits.
        """
        module = self.keyed.module
        training = module.training
        module.eval()
        many = self.together and len(self) > 1
        block = max(64, ROWS // len(self)) if many else ROWS
        caught: list[torch.Tensor] = []
        layer = last_linear(module) if penultimate else None
        hook = layer.register_forward_pre_hook(lambda _, given: caught.append(given[0])) if layer is not None else None

        def one(params: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
            caught.clear()
            out = functional_call(module, (params, buffers), (row,))
            return caught[-1].flatten(1) if penultimate else as_classes(out, self.classes)

        try:
            with torch.no_grad():
                for start in range(0, len(x), block):
                    rows = slice(start, min(len(x), start + block))
                    given = x[rows].unsqueeze(0)
                    own = given if self.scaling is None else self.scaling.apply(given)
                    if many:
                        shared = self.scaling is None
                        yield (
                            rows,
                            vmap(one, in_dims=(0, 0, None if shared else 0))(
                                self.params, self.buffers, own[0] if shared else own
                            ),
                        )
                    else:
                        yield (
                            rows,
                            torch.stack([one(*self._one(m), own[min(m, len(own) - 1)]) for m in range(len(self))]),
                        )
        finally:
            module.train(training)
            if hook is not None:
                hook.remove()

    def _one(self, model: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        return {k: v[model] for k, v in self.params.items()}, {k: v[model] for k, v in self.buffers.items()}


def buffers_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that belong to the model: all but dropout masks."""
    return {n: b for n, b in module.named_buffers() if not n.endswith(".mask")}
