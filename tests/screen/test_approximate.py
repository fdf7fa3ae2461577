"""The approximate search: what it finds is measured exactly, and what it selects is what the exact search selects."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from scipy.stats import norm

from locard.errors import MissingExtra, SettingsError
from locard.screen import approximate, screen
from locard.screen.approximate import approximate_nearest
from locard.screen.cosine import Apart, Vectors
from locard.screen.nearest import find_nearest
from locard.screen.screened import run_screen


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss")


def clouds(n, features=80, seed=0):
    """About eight records around each centre."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 8 + 1, features))
    return centres[rng.integers(len(centres), size=n)] + 0.3 * rng.normal(size=(n, features))


def test_distances_are_those_of_the_exact_search_and_never_nearer(faiss):
    v, own = Vectors.of(clouds(2000)), Apart(np.arange(2000), np.arange(2000))
    found = approximate_nearest(v, v, 8, apart=own, seed=1)
    exact = find_nearest(v, v, 8, apart=own)
    assert (found.distance >= exact.distance - 1e-9).all()
    assert (found.places != np.arange(2000)[:, None]).all()
    for i in range(0, 2000, 97):
        again = find_nearest(v.at(np.array([i])), v.at(found.places[i]), 8).distance[0]
        np.testing.assert_allclose(found.distance[i], again, atol=2e-9)
    assert np.mean(found.distance[:, 0] == exact.distance[:, 0]) > 0.9  # the nearest, in 16 of 51 cells


def test_it_is_the_same_on_any_number_of_threads(faiss):
    v, own = Vectors.of(clouds(1500)), Apart(np.arange(1500), np.arange(1500))
    one, two, other = (approximate_nearest(v, v, 5, apart=own, seed=s, workers=w) for s, w in ((1, 1), (1, 2), (2, 1)))
    np.testing.assert_array_equal(one.places, two.places)
    assert (one.places != other.places).any()


@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_records_are_one_cell(faiss, n):
    v = Vectors.of(clouds(n, 5))
    found = approximate_nearest(v, v, 4, apart=Apart(np.arange(n), np.arange(n)), seed=0)
    exact = find_nearest(v, v, 4, apart=Apart(np.arange(n), np.arange(n)))
    np.testing.assert_allclose(found.distance, exact.distance, atol=2e-9)  # no projection, one cell: all are looked at


def test_the_error_of_the_projection_is_what_is_said():
    """Inner products of 4,000 pairs of unit vectors, cosine .6, in 64 dimensions: mean error 0 and standard deviation
    sqrt((1 + .36) / 64) = .146, each within 5 standard errors of 4,000 (flake 6e-7). Power: a projection that is not
    divided by sqrt(64) is off by a factor of 64."""
    features, dimensions, pairs = 200, 64, 4000
    rng = np.random.default_rng(0)
    a = rng.normal(size=(pairs, features))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = rng.normal(size=(pairs, features))
    b -= (a * b).sum(axis=1, keepdims=True) * a
    b = 0.6 * a + 0.8 * b / np.linalg.norm(b, axis=1, keepdims=True)
    errors = []
    for seed in range(pairs // 40):  # a projection serves 40 pairs: their errors are independent of each other
        p = approximate._projection(features, dimensions, seed).astype(np.float64)
        part = slice(40 * seed, 40 * seed + 40)
        errors.append(((a[part] @ p) * (b[part] @ p)).sum(axis=1) - 0.6)
    e, sd = np.concatenate(errors), np.sqrt(1.36 / dimensions)
    assert abs(e.mean()) < 5 * sd / np.sqrt(pairs)
    assert abs(e.std() / sd - 1) < 5 / np.sqrt(2 * pairs) * 1.2
    assert norm.sf(5) < 1e-6


@pytest.mark.parametrize("shape", [{"records": 300}, {"records": 150, "pool": 400}], ids=["own pool", "another pool"])
@pytest.mark.parametrize("settings", [{"share": 0.02}, {"delta": 0.2, "beta": 0.7}, {"beta": 2.0, "share": 0.05}])
def test_the_selection_is_that_of_the_exact_search(faiss, evidence, shape, settings):
    """Also with a single cell looked into, where most neighbours are missed."""
    e = evidence(**shape, grid=False)
    exact = run_screen(screen("neighbours", **settings), e)
    for probes in (1, 16):
        rough = screen("neighbours", search="approximate", probes=probes, dimensions=8, **settings)
        found = run_screen(rough, e, rng=np.random.default_rng(1))
        assert found.settled["delta"] == exact.settled["delta"]
        np.testing.assert_array_equal(found.selected, exact.selected)
        np.testing.assert_array_equal(found.value[found.selected], exact.value[exact.selected])
        assert (found.columns["count"] <= exact.columns["count"]).all()
    assert 0 < exact.selected.sum() < len(exact.selected)


def test_it_needs_a_generator(evidence):
    with pytest.raises(SettingsError, match="rng= is needed for search = 'approximate'"):
        screen("neighbours", search="approximate").value(evidence(records=5))


def test_a_missing_library_says_what_to_install(evidence, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **more):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr(approximate, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'locard\[screen\]'"):
        screen("neighbours", search="approximate").value(evidence(records=5), rng=np.random.default_rng(0))
