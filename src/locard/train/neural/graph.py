"""One training step of many models as a list of tensor operations, without the layers of Python that made it.

``vmap`` and the gradients of its results cost a millisecond of bookkeeping a step, more than a small network's
arithmetic. So they are looked at once, while they run, and what they asked of the tensor library is kept, tidied and
repeated. (``make_fx`` does the same for compilers: it needs a second to load and milliseconds for every operation.)
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
SAME = (ATEN.detach.default, ATEN.alias.default)
OF_A_SHAPE = (ATEN.ones_like.default, ATEN.zeros_like.default, ATEN.new_ones.default, ATEN.new_zeros.default)
TURNS = (ATEN.transpose.int, ATEN.t.default)

# the same operations by a shorter way through Python: two microseconds less each
SHORTER: dict[Any, Callable[..., Any]] = {
    ATEN.bmm.default: torch.bmm,
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

# element by element, over the memory of the first argument where nobody needs it afterwards
OVER: dict[Any, Callable[..., Any]] = {
    ATEN.relu.default: torch.relu_,
    ATEN.tanh.default: torch.tanh_,
    ATEN.sigmoid.default: torch.sigmoid_,
    ATEN.neg.default: torch.neg_,
    ATEN.mul.Tensor: torch.Tensor.mul_,
    ATEN.add.Tensor: torch.Tensor.add_,
    ATEN.sub.Tensor: torch.Tensor.sub_,
    ATEN.threshold_backward.default: ATEN.threshold_backward.grad_input,
}

SHORT_VIEWS = (torch.transpose, torch.unsqueeze, torch.Tensor.view, torch.Tensor.expand, *OVER.values())


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
        self._forward = fx.GraphModule(recorder.constants, tidied(self.graph, recorder.constants)).forward

    def __call__(self, *given: Named) -> list[Named]:
        """The function's results."""
        flat = [part[name] for part, names in zip(given, self._given, strict=True) for name in names]
        with torch.no_grad():
            results = iter(self._forward(*flat))
        return [{name: next(results) for name in names} for names in self._results]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's mode has no types
    """Writes down every operation that reaches the tensor library."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here: telling torch's compiler so would load it, a second and more

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
        node.meta |= {"shape": tuple(tensor.shape), "bytes": _size(tensor), "like": _kind(tensor)}
        self._nodes[tensor] = node

    def _written(self, arguments: Any) -> Any:
        return fx.node.map_aggregate(arguments, lambda a: self._node(a) if isinstance(a, torch.Tensor) else a)

    def _node(self, tensor: torch.Tensor) -> fx.Node:
        if tensor not in self._nodes:  # made outside of what is recorded: the same in every call
            self._is(tensor, self._graph.get_attr(_kept(self.constants, tensor)))
        node: fx.Node = self._nodes[tensor]
        return node


def tidied(graph: fx.Graph, constants: torch.nn.Module) -> fx.Graph:
    """(In place.) Without steps that change nothing or say the same every time, and with little new memory.

    Args:
        graph: what was recorded.
        constants: what it looks at besides its arguments; what follows from these alone is added.
    """
    _drop_unchanged(graph)
    for node in list(graph.nodes):
        _turn_factors(graph, node)
    _drop_unchanged(graph)
    graph.eliminate_dead_code()
    if not any(_writes(node) for node in graph.nodes):
        for node in list(graph.nodes):
            _once(graph, node, constants)
        for node in graph.nodes:
            _over(node)
    for node in graph.nodes:
        node.target = SHORTER.get(node.target, node.target)
    graph.eliminate_dead_code()
    return graph


def _drop_unchanged(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if same := _unchanged(node):
            node.replace_all_uses_with(same)
            graph.erase_node(node)


def _unchanged(node: fx.Node) -> fx.Node | None:
    """The earlier result that this one is equal to."""
    of = node.args[0] if node.args else None
    if not isinstance(of, fx.Node):
        return None
    if node.target in SAME or (node.target is ATEN.mul.Scalar and node.args[1] == 1):
        return of
    if node.target in SAME_SHAPE and _shape(of) == _shape(node) is not None:
        return of
    if node.target in TURNS and of.target is node.target and of.args[1:] == node.args[1:]:
        return of.args[0]  # type: ignore[return-value]  # turned back
    return None


def _turn_factors(graph: fx.Graph, node: fx.Node) -> None:
    """The transpose of a product is the product of transposes: none is left where a factor was turned already."""
    product = node.args[0] if node.target is ATEN.transpose.int and node.args[1:] == (1, 2) else None
    if not isinstance(product, fx.Node) or product.target is not ATEN.bmm.default or len(product.users) > 1:
        return
    left, right = product.args
    if left.target is not ATEN.transpose.int:  # type: ignore[union-attr]
        return
    with graph.inserting_before(node):
        turned = [graph.call_function(ATEN.transpose.int, (factor, 1, 2)) for factor in (right, left)]
        result = graph.call_function(ATEN.bmm.default, tuple(turned))
    for new, old in zip(turned, (right, left), strict=True):
        new.meta = old.meta | {"shape": tuple(old.meta["shape"][i] for i in (0, 2, 1))}  # type: ignore[union-attr]
    result.meta = node.meta
    node.replace_all_uses_with(result)
    graph.erase_node(node)


def _once(graph: fx.Graph, node: fx.Node, constants: torch.nn.Module) -> None:
    """What follows from constants (or shapes) alone is worked out here, unless it is drawn."""
    fixed = all(n.op == "get_attr" for n in node.all_input_nodes) or node.target in OF_A_SHAPE
    if node.op != "call_function" or not fixed or torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        return

    def value_of(a: Any) -> Any:
        if not isinstance(a, fx.Node):
            return a
        return constants.get_buffer(str(a.target)) if a.op == "get_attr" else _like(a)

    args: Any = fx.node.map_aggregate(node.args, value_of)
    kwargs: Any = fx.node.map_aggregate(node.kwargs, value_of)
    with torch.no_grad():
        value = node.target(*args, **kwargs)  # type: ignore[operator]
    if not isinstance(value, torch.Tensor):
        return
    with graph.inserting_before(node):
        constant = graph.get_attr(_kept(constants, value))
    constant.meta = node.meta
    node.replace_all_uses_with(constant)
    graph.erase_node(node)


def _over(node: fx.Node) -> None:
    """Let the result take the place of the first argument, where that is new memory that nobody else needs."""
    for first in (0, 1) if node.target in (ATEN.mul.Tensor, ATEN.add.Tensor) and not node.kwargs else (0,):
        of = node.args[first] if len(node.args) > first else None
        if node.target not in OVER or not isinstance(of, fx.Node) or of in node.args[:first] + node.args[first + 1 :]:
            continue
        new = not _is_view(of) or of.target in OVER.values()
        free = of.op == "call_function" and len(of.users) == 1 and new
        if free and all(of.meta.get(k) == node.meta[k] for k in ("shape", "like")):
            if node.target is ATEN.threshold_backward.default:
                node.kwargs = {"grad_input": of}
            node.args = (of, *node.args[:first], *node.args[first + 1 :])
            node.target = OVER[node.target]
            return


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


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
    if node.target in (operator.getitem, ATEN._unsafe_view.default, *SHORT_VIEWS):
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def _kept(constants: torch.nn.Module, tensor: torch.Tensor) -> str:
    name = f"constant{len(list(constants.buffers()))}"
    constants.register_buffer(name, tensor, persistent=False)
    return name


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _kind(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.stride() if tensor.layout is torch.strided else None


def _like(node: fx.Node) -> torch.Tensor:
    """Memory like this result's, whatever is in it."""
    dtype, device, strides = node.meta["like"]
    return torch.empty_strided(node.meta["shape"], strides, dtype=dtype, device=device)


def _shape(node: Any) -> tuple[int, ...] | None:
    return node.meta.get("shape") if isinstance(node, fx.Node) else None
