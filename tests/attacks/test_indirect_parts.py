"""The steps of the indirect attack: valid queries, medoids, influence and descent, each against its loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cosine

from locard.attacks.indirect.cluster import medoids
from locard.attacks.indirect.domain import Domain, distinct
from locard.attacks.indirect.generate import generate
from locard.attacks.indirect.influence import influence, signal
from locard.attacks.indirect.optimise import optimise
from locard.data.records import Column, Records
from locard.errors import SettingsError
from locard.train.influence import Influenced

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
COLUMNS = (
    Column("age", "number"),
    Column("sex", "category", ("f", "m", "x")),
    Column("share", "number"),
    Column("job", "category", ("a", "b", "c", "d")),
)


def people(n=60, seed=0):
    """Ages are whole, shares have gaps; of jobs some are missing and "d" never occurs; nobody has sex "x"."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(18, 80, n), rng.integers(2, size=n), rng.random(n), rng.integers(3, size=n)], axis=1)
    x[::7, 2], x[::5, 3] = np.nan, np.nan
    x.flags.writeable = False
    return Records(ids=np.arange(n), features=x, labels=np.arange(n) % 2, columns=COLUMNS)


def pictures(n=12, seed=0):
    x = np.random.default_rng(seed).integers(10, 200, size=(n, 3, 3)).astype(np.uint8)
    return Records(ids=np.arange(n), features=x, labels=np.arange(n) % 2)


def wide(features):
    """Numbers first, then a column for each level of each category and one for "missing"."""
    parts = [features[:, [0, 2]]]
    for j, known in ((1, 3), (3, 4)):
        codes = np.where(np.isnan(features[:, j]), known, features[:, j]).astype(int)
        parts.append(np.eye(known + 1)[codes])
    return np.concatenate(parts, axis=1)


class Logistic:
    """Two classes, logit ``wide @ weights``; ``Influenced`` with everything known in closed form."""

    label = 1

    def __init__(self, positive, control, original, show=wide):
        self._said, self._show = (positive, control, original), show
        self.steps = np.zeros(len(positive), dtype=np.int64)

    def _logits(self, weights, x):
        z = np.nan_to_num(self._show(x)).reshape(len(x), -1) @ weights.T
        return np.stack([np.zeros_like(z), z], axis=-1).swapaxes(0, 1)

    def positive(self, x):
        return self._logits(self._said[0], x)

    def control(self, x):
        return self._logits(self._said[1], x)

    def original(self, x):
        return self._logits(self._said[2], x)

    def hinge(self, x, *, gamma, against):
        other = self._said[1 if against == "control" else 2]
        shown = np.nan_to_num(self._show(x)).reshape(len(x), -1)
        p, q = (1 / (1 + np.exp(-shown @ w.T)) for w in (self._said[0], other))
        short = gamma - (p - q)
        slope = (
            -1.0
            * (short > 0)[:, :, None]
            * ((p * (1 - p))[:, :, None] * self._said[0] - (q * (1 - q))[:, :, None] * other)
        )
        return np.maximum(short, 0).sum(axis=1), slope.sum(axis=1).reshape(len(x), *self._show(x).shape[1:])


def taught(models=5, seed=1):
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(models, 11)) * np.array([0.02, 1] + [1] * 9)
    return Logistic(original + 0.3 * rng.normal(size=11), original + 0.05 * rng.normal(size=(models, 11)), original)


@pytest.mark.parametrize("kind", ["uniform", "mixed", "noise", "auto"])
@pytest.mark.parametrize("records", [people(), pictures()], ids=["table", "pictures"])
def test_every_query_is_valid(kind, records):
    domain = Domain.of(records)
    given_record = records.features[:1]
    made = generate(kind, given_record, records, domain, count=400, keep=0.5, noise=0.5, rng=np.random.default_rng(0))
    assert made.shape == (400, *records.features.shape[1:])
    assert made.dtype == records.features.dtype
    assert domain.holds(made).all()
    assert len(distinct(made)) > 150
    if kind == "uniform" and records.columns:
        assert sorted(set(made[:, 1])) == [0.0, 1.0]  # no level that no reference record has
        assert np.isnan(made[:, 3]).any()
        assert made[:, 0].min() == records.features[:, 0].min()
        assert made[:, 0].max() == records.features[:, 0].max()


def test_what_is_not_valid_is_told():
    domain = Domain.of(people())
    row = people().features[1:2]
    assert domain.holds(row).all()
    for column, value in ((0, 30.5), (0, 200.0), (0, np.nan), (1, 2.0), (1, np.nan), (2, -0.1), (3, 3.0), (3, 0.5)):
        odd = row.copy()
        odd[0, column] = value
        assert not domain.holds(odd).any(), (column, value)


def test_mixed_keeps_the_share_of_the_record_and_a_strange_record_does_not_leave_the_domain():
    records = people()
    strange = np.array([[150.0, 2.0, np.nan, 3.0]])  # beyond the range, and levels that nobody has
    domain = Domain.of(records)
    made = generate("mixed", strange, records, domain, count=4000, keep=0.7, noise=1, rng=np.random.default_rng(1))
    assert domain.holds(made).all()
    highest = records.features[:, 0].max()
    others = (records.features[:, 0] == highest).mean()
    assert (made[:, 0] == highest).mean() == pytest.approx(0.7 + 0.3 * others, abs=0.05)


def test_the_distance_is_the_loop():
    records = people()
    domain = Domain.of(records)
    spread = np.nanstd(records.features, axis=0)
    for r in (0, 1, 5):
        found = domain.distance(records.features, records.features[r : r + 1])
        for row, d in zip(records.features, found, strict=True):
            square = 0.0
            for j in range(4):
                a, b = row[j], records.features[r, j]
                if np.isnan(a) or np.isnan(b):
                    square += 0.0 if np.isnan(a) and np.isnan(b) else 1.0
                elif j in (1, 3):
                    square += float(a != b)
                else:
                    square += ((a - b) / spread[j]) ** 2
            assert d == pytest.approx(square**0.5)
        assert found[r] == 0


def test_points_stand_for_the_queries_that_they_were_made_of():
    for records in (people(), pictures()):
        domain = Domain.of(records)
        np.testing.assert_array_equal(domain.points(records.features).features(), records.features)


def test_a_moved_point_is_a_valid_query_and_a_gradient_on_a_level_changes_it():
    records = people()
    domain, rows = Domain.of(records), records.features[:20]
    points = domain.points(rows)
    rng = np.random.default_rng(0)
    for _ in range(30):
        points = points.moved(rng.normal(size=(20, 11)), 0.3)
        assert domain.holds(points.features()).all()
    towards = np.zeros((20, 11))
    towards[:, 2 + 1] = -1.0  # sex "m" lowers the loss
    towards[:, 2 + 2] = -9.0  # "x" would even more, but nobody has it
    moved = domain.points(rows).moved(towards, 0.4).features()
    np.testing.assert_array_equal(moved[:, 1], 1.0)
    np.testing.assert_array_equal(moved[:, [0, 2, 3]], rows[:, [0, 2, 3]])
    with pytest.raises(SettingsError, match="shown 11 columns"):
        domain.points(rows).moved(np.zeros((20, 4)), 0.1)


@QUICK
@given(st.integers(1, 25), st.integers(1, 8), st.integers(0, 10_000))
def test_medoids_are_the_loop(queries, count, seed):
    rng = np.random.default_rng(seed)
    answers = rng.dirichlet(np.ones(3), size=(queries, 4)).reshape(queries, -1)
    found = medoids(answers, count)
    if queries <= count:
        assert found.tolist() == list(range(queries))
        return
    distance = [[cosine(a, b) for b in answers] for a in answers]
    condensed = [distance[i][j] for i in range(queries) for j in range(i + 1, queries)]
    cluster = fcluster(linkage(condensed, "average"), count, "maxclust")
    wanted = []
    for name in set(cluster):
        rows = [i for i in range(queries) if cluster[i] == name]
        means = [round(sum(distance[i][j] for j in rows), 9) for i in rows]
        wanted.append(rows[means.index(min(means))])
    ties = len(set(cluster)) < count
    assert found.tolist() == sorted(wanted) or ties or _pairs_only(cluster, found, wanted)


def _pairs_only(cluster, found, wanted):
    """Both of a cluster of two are its medoids; rounding may choose either."""
    odd = set(found.tolist()) ^ set(wanted)
    return all((cluster == cluster[i]).sum() == 2 for i in odd)


def test_influence_is_the_loop():
    world, queries = taught(models=7), people().features
    assert isinstance(world, Influenced)
    for against in ("control", "original"):
        found = influence(world, queries, against=against)
        for q in range(0, 60, 9):
            rises, gains, drift = [], [], []
            for i in range(7):
                z = [
                    float(said(queries[q : q + 1])[i, 0, 1]) for said in (world.positive, world.control, world.original)
                ]
                p = [1 / (1 + np.exp(-v)) for v in z]
                rises.append(p[0] > p[1 if against == "control" else 2])
                gains.append(z[0] - z[1 if against == "control" else 2])
                drift.append(p[1] > p[2])
            assert found.positive[q] == pytest.approx(np.mean(rises))
            assert found.control[q] == pytest.approx(np.mean(drift))
            assert found.gain[q] == pytest.approx(np.mean(gains))


def test_influence_does_not_stop_where_probabilities_round_to_one():
    high = np.full((3, 11), 30.0)
    found = influence(Logistic(high + 1, high, high), people().features[:4], against="control")
    assert (found.positive == 1).all()


def test_a_floor_raises_probabilities_of_all_models_alike():
    logits = np.array([[[0.0, 50.0]], [[0.0, -50.0]]])
    np.testing.assert_allclose(signal(logits, 1, 1e-3), [[-np.log(1e-3)], [np.log(1e-3)]], atol=1e-9)


@pytest.mark.parametrize("records", [people(), pictures()], ids=["table", "pictures"])
def test_descent_lowers_the_hinge_and_stays_valid(records):
    domain = Domain.of(records)
    size = 11 if records.columns else 9
    rng = np.random.default_rng(3)
    weights = 0.5 * rng.normal(size=(6, size)) * (np.array([0.02, 1] + [1] * 9) if records.columns else 1.0)
    show = wide if records.columns else (lambda x: x / 255.0)
    world = Logistic(weights + 0.2 * rng.normal(size=size), weights, weights, show)
    before = records.features[:10]
    gamma = 0.5
    after = optimise(before, domain, world, against="control", steps=40, size=0.2)
    assert domain.holds(after).all()
    assert after.dtype == before.dtype
    rise = [
        (np.exp(s[..., 1]) / np.exp(s).sum(-1) - np.exp(c[..., 1]) / np.exp(c).sum(-1)).mean(axis=0)
        for s, c in ((world.positive(x), world.control(x)) for x in (before, after))
    ]
    assert (rise[1] > rise[0] - 1e-12).mean() > 0.8
    assert rise[1].mean() > rise[0].mean() + 0.01, gamma
