"""Signals against slow definitions in the standard library's floats and in exact fractions, and the goldens."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from locard.observe.signals import (
    Correct,
    Derived,
    Entropy,
    LogLoss,
    LogProbability,
    Margin,
    ModifiedEntropy,
    Posteriors,
    Probability,
    ScaledLogit,
    Signal,
    log_softmax,
)
from locard.types import Access

EVERY = [
    Correct(),
    ScaledLogit(),
    ScaledLogit(2.0),
    LogProbability(),
    LogProbability(0.5),
    LogLoss(),
    Probability(),
    Probability(3.0),
    Margin(),
    Entropy(),
    ModifiedEntropy(),
    Posteriors(),
]


def p_of(z: list[float], temperature: float = 1.0) -> list[float]:
    e = [math.exp((x - max(z)) / temperature) for x in z]
    return [x / math.fsum(e) for x in e]


def scaled_logit(z: list[float], y: int, t: float = 1.0) -> float:
    others = [x / t for c, x in enumerate(z) if c != y]
    return z[y] / t - (max(others) + math.log(math.fsum(math.exp(x - max(others)) for x in others)))


def modified_entropy(z: list[float], y: int) -> float:
    p = p_of(z)
    return -(1 - p[y]) * math.log(p[y]) - math.fsum(q * math.log(1 - q) for c, q in enumerate(p) if c != y)


SLOW = {
    Correct(): lambda z, y: float(z.index(max(z)) == y),
    ScaledLogit(): scaled_logit,
    ScaledLogit(2.0): lambda z, y: scaled_logit(z, y, 2.0),
    LogProbability(): lambda z, y: math.log(p_of(z)[y]),
    LogProbability(0.5): lambda z, y: math.log(p_of(z, 0.5)[y]),
    LogLoss(): lambda z, y: math.log(-math.log(p_of(z)[y])),
    Probability(): lambda z, y: p_of(z)[y],
    Probability(3.0): lambda z, y: p_of(z, 3.0)[y],
    Margin(): lambda z, y: z[y] - max(x for c, x in enumerate(z) if c != y),
    Entropy(): lambda z, y: -math.fsum(q * math.log(q) for q in p_of(z)),
    ModifiedEntropy(): modified_entropy,
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_signals_equal_their_slow_definitions(data):
    records, queries = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 3))
    classes = data.draw(st.integers(2, 5))
    grid = st.integers(-16, 16).map(lambda x: x / 4)  # ties included
    logits = data.draw(arrays(np.float32, (records, queries, classes), elements=grid))
    y = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=records, max_size=records)), dtype=np.int64)
    for signal, slow in SLOW.items():
        found = signal(logits, y)
        assert found.shape == (records, queries)
        assert found.dtype == np.float64
        for r in range(records):
            for q in range(queries):
                wanted = slow([float(x) for x in logits[r, q]], int(y[r]))
                assert found[r, q] == pytest.approx(wanted, rel=1e-8, abs=1e-10), signal
    p = Posteriors()(logits, y)
    assert p.shape == logits.shape
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.log(p), log_softmax(logits), rtol=1e-9, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(2, 4)),
        elements=st.floats(-float(np.float32(3e38)), float(np.float32(3e38)), width=32),
    )
)
def test_no_finite_logits_give_nan(logits):
    y = np.arange(len(logits)) % logits.shape[-1]
    before = logits.copy()
    for signal in EVERY:
        assert not np.isnan(signal(logits, y)).any(), signal
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize(
    ("signal", "logits", "y", "golden"),
    [
        (ScaledLogit(), [3.0, 1.0, 0.5], 0, 1.5259230158),
        (Margin(), [3.0, 1.0, 0.5], 0, 2.0),
        (ModifiedEntropy(), np.log([0.7, 0.2, 0.1]), 0, 0.1621672450),
        (ModifiedEntropy(), np.log([0.7, 0.2, 0.1]), 2, 2.9597362570),
        (Entropy(), np.log([0.7, 0.2, 0.1]), 0, 0.8018185525),
        (ModifiedEntropy(), [0.0, -800.0, -800.0], 0, 0.0),  # p = (1, 0, 0), clipped at 1e-30
        (ModifiedEntropy(), [0.0, -800.0, -800.0], 1, 138.155106),
    ],
)
def test_goldens(signal, logits, y, golden):
    assert signal(np.array([[logits]]), np.array([y]))[0, 0] == pytest.approx(golden, abs=1e-6)


def test_binary_models_have_the_logit_itself():
    z = np.array([[[0.0, 1.7]], [[0.0, 1.7]]])
    np.testing.assert_array_equal(ScaledLogit()(z, np.array([1, 0]))[:, 0], [1.7, -1.7])


def test_sure_models_keep_their_digits():
    """A float32 softmax gives p = 1 above a scaled logit of 16.6, float64 above 36.7; here nothing ties up to 700."""
    z = np.zeros((60, 1, 3))
    z[:, 0, 0] = np.linspace(5, 690, 60)
    y = np.zeros(60, dtype=int)
    for signal, sign in ((ScaledLogit(), 1), (LogProbability(), 1), (LogLoss(), -1), (Entropy(), -1)):
        assert (sign * np.diff(signal(z, y)[:, 0]) > 0).all(), signal
    assert (np.diff(ModifiedEntropy()(z, y)[:30, 0]) < 0).all()  # its square is what float64 must hold
    e = math.exp(-40.0)
    assert LogProbability()(np.array([[[40.0, 0.0]]]), np.array([0]))[0, 0] == pytest.approx(-e, rel=1e-12)
    p = Fraction(1, 2**40)  # exactly representable: 1 - p is too
    z = np.array([[[math.log(1 - p), math.log(p)]]])
    wanted = float(-p * 2 * (1 - p).__float__() ** 0) * math.log1p(-float(p))
    assert ModifiedEntropy()(z, np.array([0]))[0, 0] == pytest.approx(wanted, rel=1e-6)


def test_a_shift_of_all_logits_changes_nothing():
    rng = np.random.default_rng(0)
    z, y = np.round(rng.normal(size=(30, 2, 4)) * 64) / 64, rng.integers(4, size=30)
    for signal in EVERY:
        np.testing.assert_allclose(signal(z + 64.0, y), signal(z, y), rtol=1e-9, atol=1e-12)


def test_every_signal_says_what_access_it_needs():
    assert Correct.access is Access.LABELS
    for signal in EVERY[1:]:
        assert isinstance(signal, Signal)
        assert signal.access is Access.PROBABILITIES
        assert hash(signal) == hash(type(signal)(**vars(signal)))


def test_derived_signals_are_functions_of_their_source():
    z, y = np.random.default_rng(1).normal(size=(9, 2, 3)), np.arange(9) % 3
    derived = [s for s in EVERY if isinstance(s, Derived)]
    assert {type(s) for s in derived} == {LogProbability, LogLoss, Probability}
    for signal in derived:
        np.testing.assert_array_equal(signal.of(signal.source(z, y)), signal(z, y))
