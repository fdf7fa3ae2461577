"""Counts within a distance are those of a loop over all pairs, whatever the blocks, threads, order and precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.screen import cosine
from locard.screen.cosine import FEW, TIE, Apart, Vectors, count_within, nearest_distance

QUICK = settings(derandomize=True, deadline=None, max_examples=80)
WHOLE = st.integers(-2, 2)  # zeros, copies, opposite and orthogonal rows all happen, and ties at any delta


def loop(a, b, delta, distance, apart=None):
    """Neighbours one by one, and the nearest record that is none."""
    count, beyond = [], []
    for i in range(len(a)):
        d = [distance(a[i], b[j]) for j in range(len(b)) if apart is None or apart[0][i] != apart[1][j]]
        near = [x for x in d if x < delta - TIE]
        count.append(len(near))
        beyond.append(min((x for x in d if not x < delta - TIE), default=2.0) if len(near) <= FEW else np.nan)
    return count, np.array(beyond)


@st.composite
def two_sets(draw):
    features = draw(st.integers(1, 4))
    sizes = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    return [np.array(draw(st.lists(WHOLE, min_size=n * features, max_size=n * features))).reshape(n, -1) if n
            else np.zeros((0, features)) for n in sizes]  # fmt: skip


@QUICK
@given(two_sets(), st.sampled_from([0.0, 1e-6, 0.2, 1.0 - 1 / np.sqrt(2), 1.0, 1.5, 2.0]))
def test_counts_are_those_of_the_loop(distance, sets, delta):
    a, b = sets
    found = count_within(Vectors.of(a), Vectors.of(b), delta)
    count, beyond = loop(a, b, delta, distance)
    assert found.count.tolist() == count
    np.testing.assert_allclose(found.beyond, beyond, atol=2e-9)


@QUICK
@given(two_sets(), st.data())
def test_pairs_of_one_unit_are_not_looked_at(distance, sets, data):
    a, b = sets
    units = st.integers(0, 2)
    apart = [np.array(data.draw(st.lists(units, min_size=len(x), max_size=len(x))), dtype=np.int64) for x in sets]
    found = count_within(Vectors.of(a), Vectors.of(b), 0.7, apart=Apart(*apart))
    count, beyond = loop(a, b, 0.7, distance, apart)
    assert found.count.tolist() == count
    np.testing.assert_allclose(found.beyond, beyond, atol=2e-9)


def test_a_tie_at_delta_is_no_neighbour():
    """Copies, orthogonal and opposite rows have distances 0, 1 and 2 exactly."""
    a, b = Vectors.of(np.array([[1.0, 0.0]])), Vectors.of(np.array([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
    assert [count_within(a, b, delta).count.item() for delta in (0.0, 1e-6, 1.0, 1.0 + 1e-6, 2.0)] == [0, 1, 1, 2, 2]


def test_rows_of_zeros_are_like_each_other_and_like_nothing_else():
    a = Vectors.of(np.array([[0.0, 0.0], [1.0, 1.0]]))
    b = Vectors.of(np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]]))
    found = count_within(a, b, 0.5)
    assert found.count.tolist() == [2, 1]
    assert found.beyond.tolist() == [1.0, 1.0]
    assert count_within(a, b, 1.5).count.tolist() == [4, 3]


def clouds(n, features, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(4, features))
    return ((centres[rng.integers(4, size=n)] + 0.4 * rng.normal(size=(n, features))) * scale).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    """So that some hundreds of records make many blocks."""
    monkeypatch.setattr(cosine, "ROWS", 32)
    monkeypatch.setattr(cosine, "COLUMNS", 24)


def same(one, other):
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_array_equal(one.beyond, other.beyond)


def test_neither_blocks_nor_workers_nor_order_change_anything(small_blocks, monkeypatch):
    a, b = Vectors.of(clouds(150, 20, 1)), Vectors.of(clouds(200, 20, 2))
    found = count_within(a, b, 0.12, workers=2)
    monkeypatch.undo()
    same(found, count_within(a, b, 0.12))
    rng = np.random.default_rng(0)
    p, q = rng.permutation(150), rng.permutation(200)
    shuffled = count_within(a.at(p), b.at(q), 0.12)
    np.testing.assert_array_equal(shuffled.count, found.count[p])
    np.testing.assert_array_equal(shuffled.beyond, found.beyond[p])
    assert 0 < (found.count == 0).sum() < 150  # some are isolated, some are not


def test_the_length_of_a_row_does_not_matter():
    """A power of two changes no digit; another factor changes some, and no count."""
    x, y = clouds(100, 20, 1), clouds(150, 20, 2)
    found = count_within(Vectors.of(x), Vectors.of(y), 0.12)
    same(found, count_within(Vectors.of(x * 4), Vectors.of(y * 0.5), 0.12))
    lengths = np.random.default_rng(0).uniform(0.1, 9, size=(100, 1))
    other = count_within(Vectors.of(x * lengths), Vectors.of(y * 3), 0.12)
    np.testing.assert_array_equal(found.count, other.count)
    np.testing.assert_allclose(found.beyond, other.beyond, atol=1e-6)


def test_float64_input_gives_the_same_as_its_float32():
    x = clouds(60, 20, 1).astype(np.float64)
    same(count_within(Vectors.of(x), Vectors.of(x), 0.1), count_within(Vectors.of(np.float32(x)), Vectors.of(x), 0.1))


@pytest.mark.parametrize("features", [3, 64, 700])
def test_float32_cosines_err_less_than_is_said(features):
    """The bound holds for every pair; the largest error seen is at least a thousandth of it (it is no fantasy)."""
    a, b = Vectors.of(clouds(200, features, 3)), Vectors.of(clouds(300, features, 4))
    rough = cosine.block_cosines(a, b, slice(0, 200), slice(0, 300), None).astype(np.float64)
    exact = cosine.exact_block(a, b, slice(0, 200), slice(0, 300))
    error = np.abs(rough - exact).max()
    assert a.error / 1000 < error < a.error


def test_pairs_closer_to_delta_than_float32_can_tell_are_counted_right(monkeypatch):
    """Pairs at delta -+ 1e-8, far inside the error of float32; planted: deciding them by float32 alone fails."""
    rng = np.random.default_rng(0)
    features, delta = 300, 0.25
    base = rng.normal(size=features)
    base /= np.linalg.norm(base)
    other = rng.normal(size=(400, features))
    other -= (other @ base)[:, None] * base
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    shift = np.where(np.arange(400) % 2, 1e-8, -1e-8)
    c = 1 - delta - shift
    rows = c[:, None] * base + np.sqrt(1 - c**2)[:, None] * other
    # the features are what float32 keeps of these: what counts is their distance, computed in float64 pair by pair
    q, p = Vectors.of(base[None]), Vectors.of(rows)
    exact = 1 - cosine.pair_cosines(q, p, np.zeros(400, dtype=np.int64), np.arange(400))
    found = count_within(q, p, delta)
    assert found.count.item() == int((exact < delta - TIE).sum())
    assert 100 < found.count.item() < 300
    monkeypatch.setattr(cosine, "DENSE", 0.0)  # the other way to decide them, block by block
    assert count_within(q, p, delta).count.item() == found.count.item()


def test_thousands_of_copies_are_counted():
    x = np.repeat(clouds(3, 6, 5), 40, axis=0)
    found = count_within(Vectors.of(x), Vectors.of(x), 0.01)
    assert (found.count >= 40).all()
    near = nearest_distance(Vectors.of(x), Vectors.of(x), apart=Apart(np.arange(120), np.arange(120)))
    assert (near == 0).all()


def test_beyond_is_not_looked_for_where_many_are_near():
    x = np.tile([[1.0, 0.0]], (FEW + 2, 1))
    found = count_within(Vectors.of(x), Vectors.of(np.vstack([x, [[0.0, 1.0]]])), 0.5)
    assert np.isnan(found.beyond).all()
    fewer = count_within(Vectors.of(x), Vectors.of(np.vstack([x[:FEW], [[0.0, 1.0]]])), 0.5)
    assert (fewer.beyond == 1.0).all()


def test_inputs_are_not_changed(freeze):
    x = freeze(clouds(10, 4, 1))
    v = Vectors.of(x)
    for array in (v.rows, v.unit, v.norms):
        array.flags.writeable = False
    count_within(v, v, 0.3, apart=Apart(np.arange(10), np.arange(10)))


def test_an_error_in_a_thread_is_not_lost():
    def fail(part: slice) -> None:
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        cosine.in_threads(fail, [slice(0, 1), slice(1, 2)], 2)
