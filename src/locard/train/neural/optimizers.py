"""Optimisers of ``torch.optim`` without the hooks for torch's compiler.

Making or stepping one imports that compiler: seconds in every process, more than many models take to train. Nothing
here is compiled, so that the updates themselves are all that is needed.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch


@cache
def plain(kind: type[torch.optim.Optimizer]) -> Any:
    """The optimiser with its own ``step`` (gradients off) and ``add_param_group``, as torch wrote them.

    >>> w = torch.ones(1, requires_grad=True)
    >>> w.grad = torch.ones(1)
    >>> _ = plain(torch.optim.SGD)([w], lr=0.25).step()
    >>> w.item()
    0.75
    """
    update = inspect.unwrap(kind.step)

    def step(self: Any, closure: Any = None) -> Any:
        with torch.no_grad():
            return update(self, closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch would wrap it for its profiler
    return type(kind.__name__, (kind,), {"step": step, "add_param_group": inspect.unwrap(kind.add_param_group)})
