"""What models of users' own answer: stored whole, told apart, refused where it is something else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import SettingsError
from locard.train.answers import stored_answers


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    out: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return out


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(0, 12), st.integers(2, 5), st.data())
def test_each_column_stands_under_its_class_as_in_the_loop(n, classes, data):
    """Definition as a loop, with as many columns as there are classes, or as were seen in training."""
    seen = np.array(sorted(data.draw(st.sets(st.integers(0, classes - 1), min_size=2))))
    width = data.draw(st.sampled_from([len(seen), classes]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    logits = rng.normal(size=(n, width)) * 3
    kind = data.draw(st.sampled_from(["probabilities", "logits"]))
    given_ = softmax(logits) if kind == "probabilities" else logits
    given_.flags.writeable = False
    out = stored_answers(given_, n, seen, classes, kind=kind)
    assert (out.shape, out.dtype) == ((n, classes), np.float32)
    for r in range(n):
        for c in range(classes):
            if width == classes:
                value = given_[r, c]
            elif c in seen:
                value = given_[r, seen.tolist().index(c)]
            else:
                assert np.isneginf(out[r, c])
                continue
            expected = np.log(value) if kind == "probabilities" else value
            assert out[r, c] == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("make", [lambda z: z, lambda z: np.log(softmax(z)), lambda z: z / 50, lambda z: 5 - z])
def test_logits_called_probabilities_are_told(make):
    z = make(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(SettingsError, match=r'target\.answers: probabilities .* set target\.answers = "logits"'):
        stored_answers(z, 20, np.arange(3), 3, kind="probabilities")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_probabilities_called_logits_are_told(dtype):
    p = softmax(np.random.default_rng(0).normal(size=(20, 3))).astype(dtype)
    stored_answers(p, 20, np.arange(3), 3, kind="probabilities")
    if dtype is np.float16:  # their sums miss 1 by more than logits may by accident
        return
    with pytest.raises(SettingsError, match=r"target\.answers: logits are needed .*these are probabilities"):
        stored_answers(p, 20, np.arange(3), 3, kind="logits")


@pytest.mark.parametrize("z", [np.zeros((20, 3)), np.full((20, 3), 0.3), np.eye(3)[[0, 1, 2] * 4] * 2])
def test_logits_that_only_look_a_little_like_probabilities_are_logits(z):
    assert np.array_equal(stored_answers(z, len(z), np.arange(3), 3, kind="logits"), z.astype(np.float32))


def test_sigmoids_of_several_classes_are_no_probabilities():
    z = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(SettingsError, match=r"sum to 1 over the classes .*Apply a softmax"):
        stored_answers(1 / (1 + np.exp(-z)), 20, np.arange(3), 3, kind="probabilities")


P = np.full((5, 2), 0.5)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (P[:4], r"target\.recipe: shape \(5, 2\) is needed from predict\(\), found \(4, 2\)\. Return one row"),
        (P[:, 0], r"found \(5,\)\. For two classes return both columns: numpy\.column_stack\(\[1 - p, p\]\)"),
        (P[:, :1], r"found \(5, 1\)\. For two classes return both columns"),
        (np.full((5, 3), 1 / 3), r"found \(5, 3\)\. Return one row"),
        (P[None], r"found \(1, 5, 2\)"),
        ("yes", r"an array of numbers is needed from predict\(\), found a str"),
        (None, r"target\.recipe: an array of numbers is needed from predict\(\), found None\."),
        ([[0.5, 0.5], [1.0]], "found a list"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.nan, 0.5), "found NaN or infinite ones for 1 of 5 records"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.inf, 0.5), "found NaN or infinite ones for 1 of 5 records"),
        (np.zeros((5, 2)), "sum to 1"),
    ],
)
def test_what_is_no_answer_is_one_message(said, message):
    with pytest.raises(SettingsError, match=message):
        stored_answers(said, 5, np.arange(2), 2, kind="probabilities")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_probability_below_0_by_rounding_is_0(dtype):
    """1 - p of a float32 p that came out a little above 1. Planted: refusing whatever is below 0."""
    above = np.nextafter(np.float32(1), np.float32(2))
    p = np.array([[1 - above, above], [0.25, 0.75]], dtype=dtype)
    assert stored_answers(p, 2, np.arange(2), 2, kind="probabilities").tolist() == [
        [-np.inf, 0.0],
        pytest.approx([np.log(0.25), np.log(0.75)], rel=1e-6),
    ]
    with pytest.raises(SettingsError, match=r"found values from -0\.001 to"):
        stored_answers([[-0.001, 1.001]], 1, np.arange(2), 2, kind="probabilities")


def test_a_missing_class_is_told_how_to_come_back():
    with pytest.raises(SettingsError, match=r"show 3 of 5 classes: take an argument `classes`"):
        stored_answers(np.full((5, 4), 0.25), 5, np.array([0, 1, 3]), 5, kind="probabilities")


def test_no_class_at_all_is_refused():
    with pytest.raises(SettingsError, match="every record needs a class that is possible"):
        stored_answers(np.full((5, 2), -np.inf), 5, np.arange(2), 2, kind="logits")


def test_tensors_that_belong_to_a_graph_are_read():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for dtype in (torch.float32, torch.bfloat16):
        out = stored_answers(z.to(dtype), 9, np.arange(2), 2, kind="logits")
        assert np.allclose(out, z.detach().numpy(), atol=0.02)
