"""The nearest records of a few, and the m-th most isolated of many: those of a full sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.screen import nearest
from locard.screen.cosine import Apart, Vectors
from locard.screen.nearest import find_nearest, kth_largest_isolation

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def sorted_distances(a, b, distance, apart=None):
    """Each query's distances to the records looked at, sorted."""
    return [
        sorted(distance(a[i], b[j]) for j in range(len(b)) if apart is None or apart[i] != apart[j])
        for i in range(len(a))
    ]


@st.composite
def whole_rows(draw, least=0):
    n, features = draw(st.integers(least, 9)), draw(st.integers(1, 3))
    flat = draw(st.lists(st.integers(-2, 2), min_size=n * features, max_size=n * features))
    return np.array(flat, dtype=float).reshape(n, features)


@QUICK
@given(whole_rows(), st.integers(1, 4))
def test_the_nearest_are_those_of_a_full_sort(distance, x, k):
    v, own = Vectors.of(x), np.arange(len(x))
    found = find_nearest(v, v, k, apart=Apart(own, own))
    for i, wanted in enumerate(sorted_distances(x, x, distance, own)):
        filled = [*wanted, *[2.0] * k][:k]
        np.testing.assert_allclose(found.distance[i], filled, atol=2e-9)
        places = found.places[i]
        assert i not in places
        assert (places >= 0).sum() == min(k, len(wanted))
        for j, d in zip(places, found.distance[i], strict=True):
            assert j < 0 or abs(distance(x[i], x[j]) - d) < 2e-9


def test_records_equally_far_come_in_the_order_of_their_ties():
    x = Vectors.of(np.array([[1.0, 0.0]] * 5))
    found = find_nearest(x.at(np.array([0])), x, 3, tie=np.array([0.5, 0.1, 0.9, 0.2, 0.3]))
    assert found.places.tolist() == [[1, 3, 4]]


@QUICK
@given(whole_rows(least=1), st.integers(1, 4), st.data())
def test_the_most_isolated_are_those_of_a_full_sort(distance, x, k, data):
    m = data.draw(st.integers(1, len(x)))
    units = np.array(data.draw(st.lists(st.integers(0, 6), min_size=len(x), max_size=len(x))))
    wanted = [[*d, *[2.0] * k][k - 1] for d in sorted_distances(x, x, distance, units)]
    found = kth_largest_isolation(Vectors.of(x), k, m, apart=Apart(units, units))
    assert found == pytest.approx(sorted(wanted, reverse=True)[m - 1], abs=2e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_looking_at_a_part_first_changes_nothing(monkeypatch, k):
    """Many more records than the first look compares with, and than a second look takes at a time."""
    monkeypatch.setattr(nearest, "SUBSET", 40)
    monkeypatch.setattr(nearest, "CHUNK", 16)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 12))[rng.integers(8, size=400)] + 0.3 * rng.normal(size=(400, 12))
    v, own = Vectors.of(x), np.arange(400)
    exact = np.sort(find_nearest(v, v, k, apart=Apart(own, own)).distance[:, k - 1])[::-1]
    for m in (1, 2, 7, 399):
        assert kth_largest_isolation(v, k, m, apart=Apart(own, own), workers=2) == exact[m - 1]
        bound = find_nearest(v, v, k, apart=Apart(own, own)).distance[:, k - 1] + rng.exponential(0.01, size=400)
        assert kth_largest_isolation(v, k, m, apart=Apart(own, own), upper=bound) == exact[m - 1]
