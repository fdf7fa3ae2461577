from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from locard.errors import DataError, SettingsError
from locard.observe import observations as module
from locard.observe.observations import UNSAID, ArrayReader, Observations, as_logits
from locard.observe.once import Once
from locard.observe.signals import Entropy, LogProbability, Posteriors, Probability, ScaledLogit


class CountingReader(ArrayReader):
    """Counts how often each model is read."""

    def __init__(self, logits):
        super().__init__(logits)
        self.reads: list[int] = []

    def read(self, model):
        self.reads.append(model)
        return super().read(model)


@pytest.fixture
def logits():
    z = np.random.default_rng(0).normal(size=(5, 7, 2, 3)).astype(np.float32)
    z.flags.writeable = False
    return z


Y = np.array([0, 1, 2, 0, 1, 2, 0])


def test_a_signal_of_a_model_is_computed_once_from_one_reading(logits):
    reader = CountingReader(logits)
    seen = Observations(reader, Y)
    for _ in range(2):
        for signal in (LogProbability(), Probability(), ScaledLogit()):  # the first two derive from the third
            for m in range(5):
                np.testing.assert_allclose(seen.of_model(signal, m), signal(logits[m], Y), rtol=1e-12)
    assert sorted(reader.reads) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(seen.signal(ScaledLogit())[3], ScaledLogit()(logits[3], Y))
    assert sorted(reader.reads) == [0, 1, 2, 3, 4]


def test_what_is_given_out_cannot_be_changed(logits):
    seen = Observations(ArrayReader(logits), Y)
    for array in (seen.of_model(Entropy(), 0), seen.of_model(Entropy(), 0), seen.signal(Entropy())):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_cache_is_bounded_and_what_does_not_fit_is_computed_again(logits, monkeypatch):
    one = 5 * 7 * 2 * 8
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * one)
    seen = Observations(ArrayReader(logits), Y)
    for signal in (ScaledLogit(), Entropy(), ScaledLogit(2.0), Posteriors(), ScaledLogit()):
        for m in range(5):
            np.testing.assert_array_equal(seen.of_model(signal, m), signal(logits[m], Y))
        assert sum(k.values.nbytes for k in seen._cache.values()) <= 2 * one
    assert Posteriors() not in seen._cache  # three times as large as half the cache
    assert seen.signal(Posteriors()).shape == (5, 7, 2, 3)


def test_threads_that_ask_for_the_same_signal_get_the_same_array(logits):
    seen, found = Observations(ArrayReader(logits), Y), []
    threads = [
        threading.Thread(target=lambda: found.append(np.stack([seen.of_model(LogProbability(), m) for m in range(5)])))
        for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    for array in found:
        np.testing.assert_array_equal(array, found[0])


def test_once_makes_each_value_once_under_threads():
    kept, made = Once(), []

    def make():
        made.append(1)
        return object()

    got = []
    threads = [threading.Thread(target=lambda: got.append(kept.get("k", make))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 1
    assert len(set(map(id, got))) == 1
    assert kept.get("other", make) is not got[0]


def test_the_floor_is_applied_on_reading_and_counted():
    p = np.array([[[1.0, 0.0], [0.5, 0.5]]])
    array = as_logits(None, p, models=True)
    assert np.isneginf(array).sum() == 1
    seen = Observations(ArrayReader(array), [1, 1], probability_floor=1e-3)
    assert seen.floored() == 1
    assert seen.of_model(Probability(), 0)[0, 0] == pytest.approx(1e-3 / 1.001, rel=1e-6)
    lower = seen.at_floor(1e-5)
    assert lower.of_model(Probability(), 0)[0, 0] == pytest.approx(1e-5, rel=1e-4)
    assert lower.y is not None
    assert Observations(ArrayReader(array), [1, 1]).floored() == 0
    for floor in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="between 0 and 1 is needed"):
            Observations(ArrayReader(array), [1, 1], probability_floor=floor)


def test_minus_infinity_among_true_logits_is_far_below_the_rest():
    z = as_logits(np.array([[[2.0, -np.inf, 1.0], [-300.0, 0.0, -np.inf]]]), None, models=True)
    read = Observations(ArrayReader(z), [0, 0]).logits(0)[:, 0]
    np.testing.assert_array_equal(read, np.array([[2.0, 2.0 - UNSAID, 1.0], [-300.0, 0.0, -300.0]], dtype=np.float32))


def test_select_takes_records_and_their_labels(logits):
    seen = Observations(ArrayReader(logits), Y, probability_floor=0.01)
    part = seen.select(np.array([5, 0, 5]))
    np.testing.assert_array_equal(part.y, Y[[5, 0, 5]])
    np.testing.assert_array_equal(part.of_model(Entropy(), 2), seen.of_model(Entropy(), 2)[[5, 0, 5]])
    assert part.probability_floor == 0.01
    assert seen.select(np.array([], dtype=int)).records == 0


def test_outputs_without_labels_wait_for_them(logits):
    bare = Observations(ArrayReader(logits), None)
    with pytest.raises(DataError, match="given without labels"):
        bare.of_model(ScaledLogit(), 0)
    seen = bare.labelled(Y)
    np.testing.assert_array_equal(seen.of_model(ScaledLogit(), 0), ScaledLogit()(logits[0], Y))
    assert seen.labelled(Y.copy()) is seen
    with pytest.raises(DataError, match="1 of 7 labels differ"):
        seen.labelled([0, 1, 2, 0, 1, 2, 1])


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 1], "7 are needed .*found 2"),
        (np.zeros((7, 1), dtype=int), "7 are needed"),
        ([0, 1, 2, 3, 0, 1, 2], r"class numbers 0\.\.2 are needed .* found 0 to 3"),
        ([0, 1, 2, -1, 0, 1, 2], "found -1 to 2"),
        (["a"] * 7, "found values of type"),
        ([0.5] * 7, "found values of type float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, words, logits):
    with pytest.raises(DataError, match=words):
        Observations(ArrayReader(logits), y)


def test_axes_that_are_missing_are_added():
    assert as_logits(np.zeros((4, 5, 3)), None, models=True).shape == (4, 5, 1, 3)
    assert as_logits(np.zeros((4, 5, 2, 3)), None, models=True).shape == (4, 5, 2, 3)
    assert as_logits(np.zeros((5, 3)), None, models=False).shape == (1, 5, 1, 3)
    assert as_logits(np.zeros((5, 2, 3)), None, models=False).shape == (1, 5, 2, 3)
    one = as_logits(np.full((5, 1), 1.5), None, models=False)
    np.testing.assert_array_equal(one[0, 0, 0], [0.0, 1.5])
    p = np.exp(as_logits(None, np.full((5, 1), 0.25), models=False))
    np.testing.assert_allclose(p[0, 0, 0], [0.75, 0.25], rtol=1e-6)
    assert as_logits([[1, 2], [3, 4]], None, models=False).dtype == np.float32


def test_inputs_are_left_alone():
    z = np.random.default_rng(0).normal(size=(3, 4, 2))
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    for array in (z, p):
        array.flags.writeable = False
    before = z.copy(), p.copy()
    as_logits(z, None, models=True)
    as_logits(None, p, models=True)
    assert (z == before[0]).all()
    assert (p == before[1]).all()


@pytest.mark.parametrize(
    ("logits", "probabilities", "words"),
    [
        (None, None, "found both or none"),
        (np.zeros((2, 3, 2)), np.full((2, 3, 2), 0.5), "found both or none"),
        (np.zeros(3), None, "Add the missing axis"),
        (np.zeros((2, 3)), None, r"found shape \(2, 3\)"),
        (np.zeros((1, 2, 3, 4, 5)), None, "Add the missing axis"),
        (np.zeros((2, 3, 0)), None, "Add the missing axis"),
        (np.full((2, 3, 2), np.nan), None, "without NaN"),
        (np.full((2, 3, 2), np.inf), None, r"found \+inf"),
        (np.full((2, 3, 2), -np.inf), None, "a row of -inf"),
        (np.full((2, 3, 2), 1e300), None, r"finite float32 numbers .* found \+inf"),
        (np.full((2, 3, 2), "x"), None, "numbers are needed, found values of type"),
        ([[[0, 1], [2]]], None, "rows of one length"),
        (np.zeros((2, 3, 2), dtype=bool), None, "found values of type bool"),
        (np.full((2, 3, 4), 0.25), None, r"found probabilities .*--probabilities"),
        (np.array([[[0.999, 0.001], [1.0, 0.0]]], dtype=np.float16), None, "Give them as probabilities="),
        (None, np.full((2, 3, 2), 0.7), "sum to 1 are needed, found sums from 1.4 to 1.4"),
        (None, np.full((2, 3, 2), -0.1), r"values in \[0, 1\] are needed, found -0.1"),
        (None, np.full((2, 3, 2), 5.0), "If these are logits"),
        (None, np.zeros((2, 3, 2)), "sums from 0"),
        (None, np.full((2, 3, 1), 1.2), r"values in \[0, 1\]"),
        (None, np.full((2, 3, 2), np.nan), "without NaN"),
    ],
)
def test_nonsense_is_refused_in_plain_words(logits, probabilities, words):
    with pytest.raises(DataError, match=words):
        as_logits(logits, probabilities, models=True)


def test_rounding_outside_0_and_1_is_no_fault_and_logits_that_sum_to_1_somewhere_are_logits():
    """Float32 forests give 1 - p = -1.2e-7; only if every row is a distribution are "logits" probabilities."""
    out = as_logits(None, np.array([[[-1.2e-7, 1.0000001], [0.5, 0.5]]], dtype=np.float32), models=True)
    assert np.isneginf(out[0, 0, 0, 0])
    assert out[0, 0, 0, 1] == 0
    given = np.array([[[0.4, 0.6], [0.4, 0.7]]])
    np.testing.assert_allclose(as_logits(given, None, models=True)[:, :, 0], given, rtol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    arrays(
        np.float64, array_shapes(min_dims=1, max_dims=5, max_side=3), elements=st.floats(-1e3, 1e3) | st.just(np.nan)
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_array_is_converted_or_refused(array, probabilities, models):
    given_as = (None, array) if probabilities else (array, None)
    try:
        out = as_logits(*given_as, models=models)
    except DataError:
        return
    assert out.ndim == 4
    assert out.dtype == np.float32
    assert out.shape[-1] >= 2
    assert not np.isnan(out).any()
