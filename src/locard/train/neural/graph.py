"""One training step of many models as a list of tensor operations, without the layers of Python that made it.

``vmap(grad(loss))`` costs a millisecond of bookkeeping a step, more than a small network's arithmetic. So it is looked
at once, while it runs, and what it asked of the tensor library is kept, tidied and repeated. (``make_fx`` does the same
for compilers: it needs a second to load and milliseconds for every operation.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

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


Named = dict[str, torch.Tensor]


class Recorded:
    """``function`` of dictionaries of tensors, as the operations that it does on arguments of these shapes.

    - gives the same numbers up to rounding
    - may only be called with the names, shapes and types of ``example``

    Raises:
        RuntimeError: the function looks at values (control flow that depends on data).
    """

    def __init__(self, function: Callable[..., Sequence[Named]], *example: Named) -> None:
        self._given = [list(part) for part in example]
        recorder = _Recorder([t for part in example for t in part.values()])
        with torch.no_grad(), recorder:
            results = function(*example)
        self._results = [list(part) for part in results]
        self.graph = recorder.finished([t for part in results for t in part.values()])
        self._forward = fx.GraphModule(recorder.constants, tidied(self.graph)).forward

    def __call__(self, *given: Named) -> list[Named]:
        """The function's results."""
        flat = [part[name] for part, names in zip(given, self._given, strict=True) for name in names]
        with torch.no_grad():
            results = iter(self._forward(*flat))
        return [{name: next(results) for name in names} for names in self._results]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's mode has no types
    """Writes down every operation that reaches the tensor library."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self.constants = fx.Graph(), torch.nn.Module()
        self._nodes: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by identity; keeps no tensor alive
        for place, tensor in enumerate(given):
            self._is(tensor, self._graph.placeholder(f"given{place}"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        node = self._graph.call_function(func, self._written(args), self._written(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self._is(out, node)
            return out
        if not isinstance(out, tuple | list) or not all(t is None or isinstance(t, torch.Tensor) for t in out):
            raise RuntimeError(f"control flow that depends on data: {func} looks at a tensor's values")
        node.meta["bytes"] = sum(_size(t) for t in out if t is not None)
        for place, tensor in enumerate(out):
            if tensor is not None:
                self._is(tensor, self._graph.call_function(operator.getitem, (node, place)))
        return out

    def finished(self, results: list[torch.Tensor]) -> fx.Graph:
        self._graph.output(tuple(self._node(t) for t in results))
        return self._graph

    def _is(self, tensor: torch.Tensor, node: fx.Node) -> None:
        node.meta["shape"], node.meta["bytes"] = tuple(tensor.shape), _size(tensor)
        self._nodes[tensor] = node

    def _written(self, arguments: Any) -> Any:
        return fx.node.map_aggregate(arguments, lambda a: self._node(a) if isinstance(a, torch.Tensor) else a)

    def _node(self, tensor: torch.Tensor) -> fx.Node:
        if tensor not in self._nodes:  # made outside of what is recorded: the same in every call
            name = f"constant{len(list(self.constants.buffers()))}"
            self.constants.register_buffer(name, tensor, persistent=False)
            self._is(tensor, self._graph.get_attr(name))
        node: fx.Node = self._nodes[tensor]
        return node


def tidied(graph: fx.Graph) -> fx.Graph:
    """(In place.) Without steps that change nothing, and with a product and its bias in one step."""
    for node in list(graph.nodes):
        if (node.target is ATEN.mul.Scalar and node.args[1] == 1) or (
            node.target in SAME_SHAPE and _shape(node.args[0]) == _shape(node) is not None
        ):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        if node.target is ATEN.add.Tensor and len(node.args) == 2 and not node.kwargs:
            _fuse_bias(graph, node)
    for node in graph.nodes:
        node.target = SHORTER.get(node.target, node.target)
    graph.eliminate_dead_code()
    return graph


def _fuse_bias(graph: fx.Graph, node: fx.Node) -> None:
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
            with graph.inserting_before(node):
                fused = graph.call_function(ATEN.baddbmm.default, (bias, *product.args))  # type: ignore[union-attr]
            fused.meta = node.meta
            node.replace_all_uses_with(fused)
            graph.erase_node(node)
            graph.erase_node(product)  # type: ignore[arg-type]
            return


def peak_bytes(graph: fx.Graph) -> int:
    """Most bytes that the graph's own results take at one time (its inputs are not counted).

    A result lives until its last use, or that of its last view.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    last = {node: max((order[u] for u in node.users), default=order[node]) for node in order}
    for node in reversed(order):
        if _is_view(node):
            for of in node.all_input_nodes:
                last[of] = max(last[of], last[node])
    sizes = {node: node.meta["bytes"] for node in order if node.op == "call_function" and not _is_view(node)}
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


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _shape(node: Any) -> tuple[int, ...] | None:
    return node.meta.get("shape") if isinstance(node, fx.Node) else None
