"""A recorded step: the same numbers as the function, no operation for nothing, and its memory counted."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, vmap

from locard.train.neural.graph import Recorded, _Recorder, peak_bytes, tidied


def named(**shapes):
    rng = torch.Generator().manual_seed(0)
    return {n: torch.randn(s, generator=rng, dtype=torch.float64) for n, s in shapes.items()}


def loss(params, x):
    h = torch.tanh(x["x"] @ params["w"] + params["b"])
    h = torch.relu(h.view(h.shape) * 1 @ params["v"]) + h.sum(-1, keepdim=True)
    return torch.log_softmax(h + h, -1)[:, 0].mean(), {"h": h.detach().mean(0)}


def descent(params, x):
    """As a step does it: the gradients of all models' summed losses."""
    with torch.enable_grad():
        leaves = {n: p.detach().requires_grad_() for n, p in params.items()}
        losses, _ = vmap(loss)(leaves, x)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return (dict(zip(leaves, found, strict=True)),)


def needed(a):
    """Results that cannot lie over their arguments: those are looked at again, or are smaller, or given, or views."""
    b = a["x"] * 2
    v = b.view(12)
    c = torch.relu(b)
    small = a["x"].sum(0, keepdim=True) + 1
    turned = -b.t() + 3 * b.t()
    return {"c": c + v.sum(), "b": b}, {"broader": small * a["x"], "given": torch.relu(a["x"]), "t": turned}


FUNCTIONS = {
    "summed losses": (descent, (named(w=(3, 4, 5), b=(3, 5), v=(3, 5, 2)), named(x=(3, 6, 4)))),
    "needed afterwards": (needed, (named(x=(3, 4)),)),
    "over either factor": (
        lambda a: (
            {"first": torch.exp(a["x"]) * a["x"], "second": a["x"] - torch.exp(a["x"]), "sum": a["x"] + 2 * a["x"]},
        ),
        (named(x=(3, 4)),),
    ),
    "written into a new tensor": (
        lambda a: ({"out": torch.zeros(3, 4, dtype=torch.float64).add_(a["x"]).mul_(2)},),
        (named(x=(3, 4)),),
    ),
    "a turned product": (
        lambda a: ({"out": torch.bmm(a["x"].transpose(1, 2), a["y"]).transpose(1, 2).contiguous().view(2, -1)},),
        (named(x=(2, 3, 4), y=(2, 3, 5)),),
    ),
    "gradients": (
        vmap(grad(loss, has_aux=True)),
        (named(w=(3, 4, 5), b=(3, 5), v=(3, 5, 2)), named(x=(3, 6, 4))),
    ),
    "a product added to itself": (
        lambda a: (
            {"out": torch.bmm(a["x"], a["y"]) + torch.bmm(a["x"], a["y"])},
            {"twice": (b := torch.bmm(a["x"], a["y"])) + b},
        ),
        (named(x=(2, 3, 4), y=(2, 4, 5)),),
    ),
    "two products": (
        lambda a: ({"out": torch.bmm(a["x"], a["y"]) + torch.bmm(2 * a["x"], a["y"])},),
        (named(x=(2, 3, 4), y=(2, 4, 5)),),
    ),
    "results in place": (
        lambda a: ({"out": a["x"].clone().mul_(2).add_(a["x"].view(3, 4)).t(), "same": a["x"]},),
        (named(x=(3, 4)),),
    ),
    "constants and several results": (
        lambda a: (
            {"out": a["x"].max(1).values + torch.arange(3.0) + torch.tensor(2.0)},
            {"sorted": a["x"].sort(1)[0]},
        ),
        (named(x=(3, 4)),),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_recording_gives_the_functions_numbers(name):
    function, example = FUNCTIONS[name]
    recorded = Recorded(function, *example)
    for scale in (1.0, -3.0):
        given = [{n: scale * t for n, t in part.items()} for part in example]
        expected = function(*given)
        found = recorded(*given)
        assert [list(part) for part in found] == [list(part) for part in expected]
        for a, b in zip(found, expected, strict=True):
            for n in a:
                torch.testing.assert_close(a[n], b[n], rtol=1e-14, atol=1e-14)


def record(function, *given):
    recorder = _Recorder(list(given))
    with torch.no_grad(), recorder:
        out = function(*given)
    return recorder.finished([out]), recorder.constants, out


def test_tidying_changes_no_number_and_leaves_nothing_for_nothing():
    given = [torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(2, 1, 5)]

    def function(x, w, b):
        dead = x * 5
        assert dead is not None
        return torch.ops.aten.mul.Scalar(torch.bmm(x, w).view(2, 3, 5) + b.expand(2, 1, 5), 1)

    graph, constants, expected = record(function, *given)
    before = sum(n.op == "call_function" for n in graph.nodes)
    tidy = tidied(graph, constants)
    left = [n.target for n in tidy.nodes if n.op == "call_function"]
    assert before == 6
    assert left == [torch.bmm, torch.Tensor.add_]
    out = torch.fx.GraphModule(constants, tidy)(*given)[0]
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_made_where_weights_are_and_constants_once():
    given = FUNCTIONS["summed losses"][1]
    recorded = Recorded(descent, *given)
    left = {str(n.target) for n in recorded.graph.nodes if n.op == "call_function"}
    assert not any(name in target for target in left for name in ("ones", "clone", "detach"))
    assert sum(n.target is torch.bmm for n in recorded.graph.nodes) == 5  # two forward; weights' twice, inputs' once
    (gradients,) = recorded(*given)
    assert all(g.is_contiguous() for g in gradients.values())


def test_what_is_drawn_is_drawn_every_time():
    recorded = Recorded(lambda a: ({"out": torch.rand(4) + 0 * a["x"]},), {"x": torch.zeros(4)})
    first, second = (recorded({"x": torch.zeros(4)})[0]["out"] for _ in range(2))
    assert not torch.equal(first, second)


def test_peak_bytes_against_a_hand_count():
    """x[100] of 8 bytes: two results of 800 live at once; a view keeps what it looks at alive."""

    def chain(x):
        a = x + 1  # 800
        b = a * 2  # 800, over a
        c = b.exp()  # 1600
        return c.sum()  # 808, b is gone

    def view(x):
        a = x + 1  # 800
        v = a.view(10, 10)
        b = x * 2  # 1600
        c = b.exp()  # 2400: v needs a
        return v.sum() + c.sum()

    x = torch.zeros(100, dtype=torch.float64)
    graph, constants, _ = record(chain, x)
    assert peak_bytes(tidied(graph, constants)) == 1600
    graph, constants, _ = record(view, x)
    assert peak_bytes(graph) == 2400
    assert peak_bytes(tidied(graph, constants)) == 2400


@pytest.mark.parametrize("look", [lambda x: x * x.sum().item(), lambda x: x if x.sum() > 0 else -x])
def test_a_function_that_looks_at_values_is_refused(look):
    with pytest.raises(RuntimeError, match="control flow that depends on data"):
        Recorded(lambda a: ({"out": look(a["x"])},), named(x=(3,)))


def test_recording_keeps_no_tensor_of_the_step_alive():
    import gc
    import weakref

    seen = []

    def function(a):
        middle = a["x"] * 2
        seen.append(weakref.ref(middle))
        return ({"out": middle.sum()},)

    recorded = Recorded(function, named(x=(3,)))
    gc.collect()
    assert seen[0]() is None
    assert recorded(named(x=(3,)))
