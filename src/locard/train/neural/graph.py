"""One training step of many models as a list of tensor operations, without the layers of Python that made it.

``vmap(grad(loss))`` costs a millisecond of bookkeeping a step, more than a small network's arithmetic. So it is looked
at once, while it runs (``make_fx``), and what it asked of the tensor library is kept, tidied and repeated.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

ATEN = torch.ops.aten
SAME_SHAPE = (ATEN.expand.default, ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)

# the same operations by a shorter way through Python: two microseconds less each
SHORTER: dict[Any, Callable[..., Any]] = {
    ATEN.bmm.default: torch.bmm,
    ATEN.baddbmm.default: torch.baddbmm,
    ATEN.relu.default: torch.relu,
    ATEN.tanh.default: torch.tanh,
    ATEN.sigmoid.default: torch.sigmoid,
    ATEN.exp.default: torch.exp,
    ATEN.neg.default: torch.neg,
    ATEN.mul.Tensor: torch.mul,
    ATEN.add.Tensor: torch.add,
    ATEN.sub.Tensor: torch.sub,
    ATEN.div.Tensor: torch.div,
    ATEN.mul.Scalar: torch.mul,
    ATEN.div.Scalar: torch.div,
    ATEN.sum.dim_IntList: torch.sum,
    ATEN.transpose.int: torch.transpose,
    ATEN.unsqueeze.default: torch.unsqueeze,
    ATEN.view.default: torch.Tensor.view,
    ATEN._unsafe_view.default: torch.Tensor.view,
    ATEN.expand.default: torch.Tensor.expand,
}

SHORT_VIEWS = (torch.transpose, torch.unsqueeze, torch.Tensor.view, torch.Tensor.expand)


def recorded(function: Callable[..., Any], *example: Any) -> fx.GraphModule:
    """``function`` as the operations that it does on arguments of these shapes.

    - gives the same numbers up to rounding
    - may only be called with the shapes and types of ``example``
    """
    with torch.no_grad():
        graph = make_fx(lambda *given: function(*given))(*example)  # a wrapper would be taken for what it wraps
    return tidied(graph)


def tidied(graph: fx.GraphModule) -> fx.GraphModule:
    """Without steps that change nothing, and with a product and its bias in one step."""
    for node in list(graph.graph.nodes):
        if (node.target is ATEN.mul.Scalar and node.args[1] == 1) or (
            node.target in SAME_SHAPE and _shape(node.args[0]) == _shape(node) is not None
        ):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    for node in list(graph.graph.nodes):
        if node.target is ATEN.add.Tensor and len(node.args) == 2 and not node.kwargs:
            _fuse_bias(graph, node)
    for node in graph.graph.nodes:
        node.target = SHORTER.get(node.target, node.target)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _fuse_bias(graph: fx.GraphModule, node: fx.Node) -> None:
    for bias, product in (node.args, node.args[::-1]):
        fits = (
            isinstance(product, fx.Node)
            and isinstance(bias, fx.Node)
            and bias is not product
            and product.target is ATEN.bmm.default
            and len(product.users) == 1
            and _shape(product) == _shape(node)
            and len(_shape(bias) or ()) == 3
        )
        if fits:
            with graph.graph.inserting_before(node):
                fused = graph.graph.call_function(ATEN.baddbmm.default, (bias, *product.args))  # type: ignore[union-attr]
            fused.meta = node.meta
            node.replace_all_uses_with(fused)
            graph.graph.erase_node(node)
            graph.graph.erase_node(product)  # type: ignore[arg-type]
            return


def peak_bytes(graph: fx.GraphModule) -> int:
    """Most bytes that the graph's own results take at one time (its inputs are not counted).

    A result lives until its last use, or that of its last view.
    """
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    last = {node: max((order[u] for u in node.users), default=order[node]) for node in order}
    for node in reversed(order):
        if _is_view(node):
            for of in node.all_input_nodes:
                last[of] = max(last[of], last[node])
    sizes = {node: _bytes(node) for node in order if node.op == "call_function" and not _is_view(node)}
    ends: dict[int, int] = {}
    alive = most = 0
    for node, place in order.items():
        if node in sizes:
            alive += sizes[node]
            ends[last[node]] = ends.get(last[node], 0) + sizes[node]
        most = max(most, alive)
        alive -= ends.pop(place, 0)
    return most


def _is_view(node: fx.Node) -> bool:
    if node.target is operator.getitem or node.target in SHORT_VIEWS:
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def _bytes(node: fx.Node) -> int:
    values = node.meta.get("val")
    tensors = values if isinstance(values, tuple | list) else [values]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


def _shape(node: Any) -> tuple[int, ...] | None:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None
