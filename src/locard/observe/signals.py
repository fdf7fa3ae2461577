"""What can be read off a model's answer to one query, computed from logits in float64.

A signal turns ``logits[records, queries, classes]`` and the true class of each record into
``float64[records, queries]`` (or ``[records, queries, classes]`` for ``Posteriors``). Each names the access it needs.
Where only probabilities are known the logits are their logarithms, floored at a recorded probability.

No signal saturates: what a sure model says of a record is kept as the small distance to certainty, never as 1 - p.

Source: Carlini et al. 2022 (arXiv:2112.03570) for the scaled logit; Song and Mittal 2021 (arXiv:2003.10595) for the
modified entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from locard.types import Access

TINY = 1e-30  # clip of Song and Mittal's logarithms
LARGEST_ODDS = 50.0  # in nats: what learned attackers are shown ends there


@runtime_checkable
class Signal(Protocol):
    """A frozen, hashable description of one number (or vector of probabilities) read off an answer."""

    access: ClassVar[Access]

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries, ...]`` from ``logits[records, queries, classes]`` and ``y: int64[records]``."""
        ...


@runtime_checkable
class Derived(Signal, Protocol):
    """A signal that is a cheap function of another one, so that the dear part is computed once for both."""

    @property
    def source(self) -> Signal:
        """The signal it is computed from."""
        ...

    def of(self, values: np.ndarray) -> np.ndarray:
        """This signal from the values of ``source``."""
        ...


def _class_major(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """``float64[classes, records * queries]``, a copy: reductions over classes then run over long rows."""
    z = logits.reshape(-1, logits.shape[-1]).T.astype(np.float64, order="C")
    if temperature != 1.0:
        z /= temperature
    return z


def _columns(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the true class of each answer stands in a class-major array."""
    records, queries = logits.shape[:2]
    return (y if queries == 1 else np.repeat(y, queries)), np.arange(records * queries)


def _answers(flat: np.ndarray, like: np.ndarray) -> np.ndarray:
    out: np.ndarray = flat.reshape(like.shape[:2])
    return out


class _Softmax:
    """Probabilities of one batch, class-major, with what is left beside each answer's top class kept to full precision.

    ``p`` and ``log_p``: ``float64[classes, answers]``; ``top``: the most likely class; ``rest``: 1 - p of that class.
    """

    def __init__(self, logits: np.ndarray) -> None:
        z = _class_major(logits)
        self.top = z.argmax(axis=0)
        self.at = np.arange(z.shape[1])
        z -= z[self.top, self.at]
        p = np.exp(z)
        p[self.top, self.at] = 0.0
        others = p.sum(axis=0)
        p[self.top, self.at] = 1.0
        total = 1.0 + others
        p /= total
        self.p = p
        z -= np.log1p(others)
        self.log_p = z
        self.rest = others / total


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities ``float64[records, queries, classes]``, never through a float32 softmax.

    >>> log_softmax(np.array([[[0.0, 0.0]]])).round(6).tolist()
    [[[-0.693147, -0.693147]]]
    """
    out: np.ndarray = np.ascontiguousarray(_Softmax(np.asarray(logits)).log_p.T).reshape(np.shape(logits))
    return out


@dataclass(frozen=True)
class Correct:
    """1 where the predicted label is the true one, else 0. Ties in the logits go to the first class."""

    access: ClassVar[Access] = Access.LABELS

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]`` of 0 and 1."""
        out: np.ndarray = (logits.argmax(axis=-1) == y[:, None]).astype(np.float64)
        return out


@dataclass(frozen=True)
class ScaledLogit:
    """log p - log(1 - p) of the true class, as the logit minus the log-sum-exp of the other logits (never 1 - p).

    ``temperature`` divides the logits first.

    >>> ScaledLogit()(np.array([[[3.0, 1.0, 0.5]]]), np.array([0])).round(10).tolist()
    [[1.5259230158]]
    """

    temperature: float = 1.0
    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]`` in nats."""
        z = _class_major(logits, self.temperature)
        own = _columns(logits, y)
        true = z[own]
        z[own] = -np.inf
        top = z.max(axis=0)
        if len(z) > 2:  # the log-sum-exp of one logit is that logit
            z -= top
            top += np.log(np.exp(z, out=z).sum(axis=0))
        return _answers(true - top, logits)


@dataclass(frozen=True)
class LogProbability:
    """Log-probability of the true class in nats: minus the cross-entropy loss.

    >>> LogProbability()(np.array([[[100.0, 0.0]]]), np.array([0])).tolist()
    [[-3.720075976020836e-44]]
    """

    temperature: float = 1.0
    access: ClassVar[Access] = Access.PROBABILITIES

    @property
    def source(self) -> ScaledLogit:
        """The scaled logit."""
        return ScaledLogit(self.temperature)

    def of(self, values: np.ndarray) -> np.ndarray:
        """log p = -log(1 + exp(-scaled logit))."""
        out: np.ndarray = np.minimum(values, 0.0) - np.log1p(np.exp(-np.abs(values)))
        return out

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]``, at most 0."""
        return self.of(self.source(logits, y))


@dataclass(frozen=True)
class LogLoss:
    """Logarithm of the cross-entropy loss: it orders losses that are too small to be told from 0.

    >>> LogLoss()(np.array([[[900.0, 0.0]]]), np.array([0])).tolist()
    [[-900.0]]
    """

    access: ClassVar[Access] = Access.PROBABILITIES

    @property
    def source(self) -> ScaledLogit:
        """The scaled logit."""
        return ScaledLogit()

    def of(self, values: np.ndarray) -> np.ndarray:
        """log log(1 + exp(-scaled logit)), which is minus the scaled logit where that is large."""
        loss = np.maximum(-values, 0.0) + np.log1p(np.exp(-np.abs(values)))
        sure = values > 40.0  # log(1 + x) = x to the last bit
        out: np.ndarray = np.where(sure, -values, np.log(np.where(sure, 1.0, loss)))
        return out

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]``."""
        return self.of(self.source(logits, y))


@dataclass(frozen=True)
class Probability:
    """Probability of the true class."""

    temperature: float = 1.0
    access: ClassVar[Access] = Access.PROBABILITIES

    @property
    def source(self) -> ScaledLogit:
        """The scaled logit."""
        return ScaledLogit(self.temperature)

    def of(self, values: np.ndarray) -> np.ndarray:
        """p = 1 / (1 + exp(-scaled logit))."""
        small = np.exp(-np.abs(values))
        out: np.ndarray = np.where(values >= 0, 1.0, small) / (1.0 + small)
        return out

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]`` in [0, 1]."""
        return self.of(self.source(logits, y))


@dataclass(frozen=True)
class Margin:
    """The true class's logit minus the largest other one.

    >>> Margin()(np.array([[[3.0, 1.0, 0.5]]]), np.array([0])).tolist()
    [[2.0]]
    """

    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]`` in nats."""
        z = _class_major(logits)
        own = _columns(logits, y)
        true = z[own]
        z[own] = -np.inf
        return _answers(true - z.max(axis=0), logits)


@dataclass(frozen=True)
class Entropy:
    """Shannon entropy of the answer, in nats; it does not look at the label.

    >>> Entropy()(np.log([[[0.7, 0.2, 0.1]]]), np.array([0])).round(10).tolist()
    [[0.8018185525]]
    """

    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]``, at least 0."""
        s = _Softmax(logits)
        terms = np.multiply(s.p, np.maximum(s.log_p, np.log(TINY), out=s.log_p), out=s.p)
        return _answers(np.maximum(-terms.sum(axis=0), 0.0), logits)


@dataclass(frozen=True)
class ModifiedEntropy:
    """Song and Mittal's entropy that knows the label: low where the answer is sure *and* right.

    -(1 - p_y) log p_y - sum over the other classes of p_c log(1 - p_c), logarithms clipped at log 1e-30.

    >>> ModifiedEntropy()(np.log([[[0.7, 0.2, 0.1]], [[0.7, 0.2, 0.1]]]), np.array([0, 2])).round(8).tolist()
    [[0.16216725], [2.95973626]]
    """

    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries]``, at least 0."""
        s = _Softmax(logits)
        own, top = _columns(logits, y), (s.top, s.at)
        p_true, log_true = s.p[own], np.maximum(s.log_p[own], np.log(TINY))
        right = own[0] == s.top
        terms = np.negative(s.p)
        terms[top] = 0.0
        np.log1p(terms, out=terms)
        terms[top] = np.log(np.maximum(s.rest, TINY))
        terms *= s.p
        terms[own] = 0.0
        rest_true = np.where(right, s.rest, 1.0 - p_true)
        return _answers(-rest_true * log_true - terms.sum(axis=0), logits)


@dataclass(frozen=True)
class OverQueries:
    """The mean of a scalar signal over a record's queries: ``float64[records, 1]``, one number a record.

    >>> OverQueries(Correct()).of(np.array([[1.0, 0.0, 1.0, 1.0]])).tolist()
    [[0.75]]
    """

    source: Signal
    access: ClassVar[Access] = Access.PROBABILITIES

    def of(self, values: np.ndarray) -> np.ndarray:
        """The mean over queries, with its axis kept."""
        out: np.ndarray = values.mean(axis=-1, keepdims=True)
        return out

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, 1]``."""
        return self.of(self.source(logits, y))


@dataclass(frozen=True)
class Posteriors:
    """All class probabilities: the one signal that is a vector."""

    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries, classes]``, rows sum to 1."""
        out: np.ndarray = np.ascontiguousarray(_Softmax(logits).p.T).reshape(logits.shape)
        return out


METRICS = ("loss", "largest", "spread", "entropy", "modified_entropy")


@dataclass(frozen=True)
class Metrics:
    """Five numbers of an answer: loss, largest probability, spread of the probabilities, entropy, modified entropy.

    The spread is the standard deviation over classes (divided by their number).

    >>> Metrics()(np.log([[[0.7, 0.2, 0.1]]]), np.array([0])).round(4).tolist()
    [[[0.3567, 0.7, 0.2625, 0.8018, 0.1622]]]
    """

    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries, metrics]``, in the order of ``METRICS``."""
        p = Posteriors()(logits, y)
        loss, entropy, modified = (s(logits, y) for s in (LogProbability(), Entropy(), ModifiedEntropy()))
        return np.stack([-loss, p.max(axis=-1), p.std(axis=-1), entropy, modified], axis=-1)


@dataclass(frozen=True)
class LogOdds:
    """log p - log(1 - p) of every class, or of the ``top`` most likely ones in falling order (no label is read).

    What a learned attacker is shown: probabilities near 0 and 1, where the difference lies, are spread out. Cut at
    plus and minus 50.

    >>> LogOdds(top=2)(np.log([[[0.2, 0.7, 0.1]]]), np.array([0])).round(6).tolist()
    [[[0.847298, -1.386294]]]
    """

    top: int | None = None
    access: ClassVar[Access] = Access.PROBABILITIES

    def __call__(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``float64[records, queries, classes]``, or as many as ``top``; fewer classes are filled up with -50."""
        s = _Softmax(logits)
        rest = np.log1p(np.negative(s.p, where=s.p < 1, out=np.full_like(s.p, -0.5)))
        rest[s.top, s.at] = np.log(np.maximum(s.rest, np.exp(-LARGEST_ODDS)))
        odds = np.clip(s.log_p - rest, -LARGEST_ODDS, LARGEST_ODDS)
        if self.top is not None:
            odds = -np.sort(-odds, axis=0)[: self.top]
            if len(odds) < self.top:
                short = np.full((self.top - len(odds), odds.shape[1]), -LARGEST_ODDS)
                odds = np.concatenate([odds, short])
        out: np.ndarray = np.ascontiguousarray(odds.T).reshape(*logits.shape[:2], len(odds))
        return out
