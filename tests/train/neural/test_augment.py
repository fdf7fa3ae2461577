"""Augmented forms: what each does, and that a record's noise is its own wherever it is asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from locard.errors import SettingsError
from locard.train.neural.augment import augmented, form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity", [[1, 2, 3], [4, 5, 6]]),
        ("flip", [[3, 2, 1], [6, 5, 4]]),
        ("shift(1, 0)", [[0, 0, 0], [1, 2, 3]]),
        ("shift(-1,-1)", [[5, 6, 0], [0, 0, 0]]),
        ("shift(0, 2)", [[0, 0, 1], [0, 0, 4]]),
        ("shift(5, 0)", [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_pictures(text, expected):
    x = np.array([[[1, 2, 3], [4, 5, 6]]])
    assert form(text)(x).tolist() == [expected]
    assert x.tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flp", "found 'flp'. Nearest: flip"),
        ("shift(1)", r"found 'shift\(1\)'"),
        ("shift(0.5, 1)", "forms of the list"),
        ("noise(0)", "forms of the list"),
        ("noise(x)", "forms of the list"),
        ("flip(2)", "forms of the list"),
    ],
)
def test_what_is_no_form_is_refused(text, said):
    with pytest.raises(SettingsError, match=said):
        form(text)


def test_forms_of_pictures_need_pictures():
    with pytest.raises(SettingsError, match=r"'flip' is for images, found records of shape \[4\]"):
        augmented(np.zeros((2, 4)), ("identity", "flip"))


def test_noise_is_a_function_of_the_record():
    x = np.random.default_rng(0).normal(size=(50, 4))
    x[7] = x[3]
    x[9, 2] = np.nan
    noisy = form("noise(0.5)")(x)
    order = np.random.default_rng(1).permutation(50)[:20]
    assert np.array_equal(form("noise(0.5)")(x[order]), noisy[order], equal_nan=True)
    assert np.array_equal(noisy[7], noisy[3])
    assert np.isnan(noisy[9]).tolist() == [False, False, True, False]
    assert form("noise(0.5)")(x.astype(np.float32)).dtype == np.float32


def test_noise_named_twice_is_drawn_twice_and_is_normal():
    """Flake rate 1e-9 each. Power: a scale that is off by 2 %, or a correlation of 0.02, is found with chance 0.99."""
    x = np.random.default_rng(0).integers(4, size=(40_000, 10)).astype(float)
    x[:, 0] = np.arange(40_000)  # no two alike
    _, one, two = augmented(x, ("identity", "noise(0.5)", "noise(0.5)")).reshape(3, *x.shape) - x
    for z in (one / 0.5, two / 0.5):
        assert kstest(z.reshape(-1), "norm").pvalue > 1e-9
    bound = 6.2 / np.sqrt(one.size)
    pairs = [(one, two), (one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one, x - x.mean(axis=0))]
    for a, b in pairs:
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < bound
