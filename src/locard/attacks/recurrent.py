"""Recurrent attack networks with attention: one for each reference, all in one program, without any extra.

A gated recurrent unit reads a sequence; the last state attends to all states by their inner products; a linear layer
reads the last state and what it attends to. Arrays are ``[steps, networks, rows, width]``.

Source: Cho et al. 2014 (EMNLP, arXiv:1406.1078) for the unit; Li, Li, Wu, Hu et al. 2024 (CCS, arXiv:2407.15098) for
the attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from locard.attacks.stacked import SEED, Class, descend, error_of, sigmoid

BLOCK = 512  # sequences asked at a time: what they need then stays in the cache


@dataclass(frozen=True, eq=False)
class Recurrent:
    """The parameters of some networks: ``inputs [n, metrics, 3w]``, ``state [n, w, 3w]``, ``offset [n, 1, 3w]``,
    ``out [n, 2w, 1]``, ``bias [n, 1, 1]``; columns of the first three are reset gate, update gate, candidate."""

    inputs: np.ndarray
    state: np.ndarray
    offset: np.ndarray
    out: np.ndarray
    bias: np.ndarray

    @property
    def flat(self) -> list[np.ndarray]:
        """All of them, in order."""
        return [self.inputs, self.state, self.offset, self.out, self.bias]

    def of(self, network: int) -> Recurrent:
        """One network, as a stack of one."""
        return Recurrent(*(p[network : network + 1].copy() for p in self.flat))


@dataclass(frozen=True, eq=False)
class _Run:
    """What a pass forward leaves behind for the way back."""

    states: np.ndarray  # [steps + 1, ...], the first is 0
    gates: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]  # reset, update, candidate, its recurrent part
    share: np.ndarray  # [steps, networks, rows]
    read: np.ndarray  # [networks, rows, 2 * width]
    logits: np.ndarray  # [networks, rows]


def train_recurrent(
    lessons: Class, batches: Sequence[np.ndarray], *, hidden: int, rate: float, decay: float
) -> list[Recurrent]:
    """A network for each reference, by AdamW on its own weighted mean cross-entropy; the same first weights for all."""
    count, metrics = len(lessons.x), lessons.x.shape[-1]
    nets = _first(count, metrics, hidden)

    def gradients(rows: np.ndarray) -> list[np.ndarray]:
        x = np.ascontiguousarray(lessons.x[:, rows].transpose(2, 0, 1, 3))
        run = _forward(nets, x)
        return _backward(nets, x, run, error_of(run.logits, lessons.y[:, rows], lessons.weight[:, rows]))

    descend(nets.flat, gradients, batches, rate=rate, decay=decay)
    return [nets.of(k) for k in range(count)]


def recurrent_logit(net: Recurrent, x: Float64[np.ndarray, "records steps metrics"]) -> Float64[np.ndarray, "records"]:
    """What one network says."""
    out = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        out[start : start + BLOCK] = _asked(net, np.ascontiguousarray(x[start : start + BLOCK].transpose(1, 2, 0)))
    return out


def _asked(net: Recurrent, x: Float64[np.ndarray, "steps metrics rows"]) -> Float64[np.ndarray, "rows"]:
    """``_forward`` for one network, in place, rows last, and without what the way back needs: in a fifth of the time.

    What a step reads stands in one array, the state, the metrics and a 1, so that both gates are one product.
    """
    steps, metrics, rows = x.shape
    w = net.state.shape[1]
    every = np.concatenate([net.state[0], net.inputs[0], net.offset[0]]).T  # [3w, w + metrics + 1]
    gates, of_state, of_given = -every[: 2 * w], every[2 * w :, :w].copy(), every[2 * w :, w:].copy()
    read = np.empty((steps + 1, w + metrics + 1, rows))
    read[0, :w] = 0.0
    read[:-1, w:-1] = x
    read[:, -1] = 1.0
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that it should be
        for t in range(steps):
            before, after = read[t, :w], read[t + 1, :w]
            both = gates @ read[t]
            np.exp(both, out=both)
            both += 1.0
            np.reciprocal(both, out=both)
            new = of_state @ before
            new *= both[:w]
            new += of_given @ read[t, w:]
            np.tanh(new, out=new)
            np.subtract(before, new, out=after)
            after *= both[w:]
            after += new
    seen = read[1:, :w]
    weight = (seen * seen[-1]).sum(axis=1)
    weight = np.exp(weight - weight.max(axis=0))
    weight /= weight.sum(axis=0)
    context = (seen * weight[:, None]).sum(axis=0)
    out: np.ndarray = net.out[0, :w, 0] @ seen[-1] + net.out[0, w:, 0] @ context + net.bias[0, 0, 0]
    return out


def _first(count: int, metrics: int, hidden: int) -> Recurrent:
    rng, bound = np.random.default_rng(SEED), 1 / np.sqrt(hidden)
    shapes = ((metrics, 3 * hidden), (hidden, 3 * hidden), (1, 3 * hidden), (2 * hidden, 1))
    inputs, state, offset, out = (np.tile(rng.uniform(-bound, bound, size=s), (count, 1, 1)) for s in shapes)
    return Recurrent(inputs, state, offset, out, np.zeros((count, 1, 1)))


def _forward(nets: Recurrent, x: Float64[np.ndarray, "steps networks rows metrics"]) -> _Run:
    steps, count, rows, _ = x.shape
    w = nets.state.shape[1]
    given = x @ nets.inputs + nets.offset
    states, gates = np.zeros((steps + 1, count, rows, w)), []
    for t in range(steps):
        own = states[t] @ nets.state
        both = sigmoid(given[t, ..., : 2 * w] + own[..., : 2 * w])
        reset, update = both[..., :w], both[..., w:]
        new = np.tanh(given[t, ..., 2 * w :] + reset * own[..., 2 * w :])
        states[t + 1] = new + update * (states[t] - new)
        gates.append((reset, update, new, own[..., 2 * w :]))
    last = states[-1]
    weight = np.einsum("tknw,knw->tkn", states[1:], last)
    weight = np.exp(weight - weight.max(axis=0))
    weight /= weight.sum(axis=0)
    read = np.concatenate([last, np.einsum("tkn,tknw->knw", weight, states[1:])], axis=-1)
    return _Run(states, gates, weight, read, (read @ nets.out + nets.bias)[..., 0])


def _backward(
    nets: Recurrent, x: np.ndarray, run: _Run, error: Float64[np.ndarray, "networks rows"]
) -> list[np.ndarray]:
    """Gradients of each network's loss, in the order of ``flat``."""
    w, last = nets.state.shape[1], run.states[-1]
    of_read = error[..., None] * nets.out.swapaxes(1, 2)
    of_last, of_context = of_read[..., :w].copy(), of_read[..., w:]
    of_share = np.einsum("tknw,knw->tkn", run.states[1:], of_context)
    of_match = run.share * (of_share - (run.share * of_share).sum(axis=0))
    of_states = run.share[..., None] * of_context + of_match[..., None] * last
    of_last += np.einsum("tkn,tknw->knw", of_match, run.states[1:])
    of_states[-1] += of_last
    of_given, of_state = np.empty((*x.shape[:3], 3 * w)), np.zeros_like(nets.state)
    back = np.zeros_like(last)
    for t in reversed(range(len(x))):
        reset, update, new, own = run.gates[t]
        back += of_states[t]
        of_new = back * (1 - update) * (1 - new * new)
        of_reset = of_new * own * reset * (1 - reset)
        of_update = back * (run.states[t] - new) * update * (1 - update)
        of_given[t] = np.concatenate([of_reset, of_update, of_new], axis=-1)
        of_own = np.concatenate([of_reset, of_update, of_new * reset], axis=-1)
        of_state += run.states[t].swapaxes(1, 2) @ of_own
        back = back * update + of_own @ nets.state.swapaxes(1, 2)
    of_inputs = (x.swapaxes(2, 3) @ of_given).sum(axis=0)
    of_offset = of_given.sum(axis=(0, 2))[:, None]
    of_out = run.read.swapaxes(1, 2) @ error[..., None]
    return [of_inputs, of_state, of_offset, of_out, error.sum(axis=1)[:, None, None]]
