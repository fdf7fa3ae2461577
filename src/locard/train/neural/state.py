"""Trained models as stacked tensors, and what they answer. One model is a stack of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.func import functional_call, vmap

from locard.errors import SettingsError
from locard.train.neural.data import Scaling
from locard.train.neural.layers import Keyed
from locard.train.neural.objective import as_classes, last_linear

ROWS = 16_384  # (model, record) pairs asked at once: their activations stay near the processor
PICTURES = 256  # the same of pictures, whose activations are many times the picture


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
        return {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in out.items()}

    def logits(self, x: torch.Tensor, *, penultimate: bool = False) -> Iterator[tuple[slice, torch.Tensor]]:
        """Blocks of rows with ``float[models, rows, classes]``, in evaluation mode.

        Args:
            x: ``float[records, ...]``, the same records for every model.
            penultimate: the last linear layer's input instead of logits.

        Raises:
            SettingsError: there is no linear layer that is called.
        """
        most = PICTURES if x.ndim > 2 else ROWS
        block = max(64, most // len(self)) if self._many else most
        for start in range(0, len(x), block):
            rows = slice(start, min(len(x), start + block))
            yield rows, self._block(x[rows], penultimate)

    @property
    def _many(self) -> bool:
        return self.together and len(self) > 1

    @torch.no_grad()
    def _block(self, x: torch.Tensor, penultimate: bool) -> torch.Tensor:
        return self.outputs(x, penultimate=penultimate)

    def outputs(self, x: torch.Tensor, *, penultimate: bool = False) -> torch.Tensor:
        """``float[models, rows, classes]`` in evaluation mode, all rows at once; ``x`` may require its gradient."""
        module = self.keyed.module
        caught: list[torch.Tensor] = []
        layer = last_linear(module) if penultimate else None
        hook = layer.register_forward_pre_hook(lambda _, given: caught.append(given[0])) if layer is not None else None

        def one(params: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
            caught.clear()
            out = functional_call(module, (params, buffers), (row,))
            if penultimate and not caught:
                raise SettingsError(
                    "traces.penultimate: it needs a torch.nn.Linear layer that the network calls, found none. "
                    "Leave it out, or end the network with one."
                )
            return caught[-1].flatten(1) if penultimate else as_classes(out, self.classes)

        training = module.training
        module.eval()
        try:
            own = x.unsqueeze(0) if self.scaling is None else self.scaling.apply(x.unsqueeze(0))
            if self._many:
                shared = len(own) == 1
                given = own[0] if shared else own
                out: torch.Tensor = vmap(one, in_dims=(0, 0, None if shared else 0))(self.params, self.buffers, given)
                return out
            return torch.stack([one(*self._one(m), own[min(m, len(own) - 1)]) for m in range(len(self))])
        finally:
            module.train(training)
            if hook is not None:
                hook.remove()

    def _one(self, model: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        return {k: v[model] for k, v in self.params.items()}, {k: v[model] for k, v in self.buffers.items()}


def joined(parts: Sequence[Stack]) -> Stack:
    """The models of several stacks of one architecture, one after the other."""
    first = parts[0]
    params = {n: torch.cat([s.params[n] for s in parts]) for n in first.params}
    buffers = {n: torch.cat([s.buffers[n] for s in parts]) for n in first.buffers}
    scaling = None if first.scaling is None else Scaling.joined([s.scaling for s in parts if s.scaling is not None])
    return Stack(first.keyed, params, buffers, scaling, first.classes, first.together)


def put(models: Stack, others: Stack, rows: Sequence[int]) -> None:
    """(In place.) These rows of ``models`` become those of ``others``: weights and buffers."""
    at = list(rows)
    for mine, theirs in ((models.params, others.params), (models.buffers, others.buffers)):
        for n, t in mine.items():
            t[at] = theirs[n][at]
