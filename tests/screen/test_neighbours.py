"""GMIA's screen equals its definition written as loops; delta and beta are what their rules say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from locard.errors import DataError, NotEnoughReferences, SettingsError
from locard.screen import screen
from locard.screen.cosine import TIE, Apart, Vectors
from locard.screen.evidence import Evidence
from locard.screen.features import feature_vectors
from locard.screen.neighbour_rule import allowed, beta_by_rule, delta_by_rule, rarest
from locard.screen.screened import run_screen

# -- the definition ----------------------------------------------------------------------------------------------------


def slow_features(seen, *, centred):
    """f(r) = [o_1(r), ..., o_k(r)], answer by answer."""
    rows = []
    for i in range(len(seen.records)):
        row = []
        for k in seen.references:
            for answer in seen.references.logits_of(k)[i].astype(np.float64):
                row += list(answer - answer.mean() if centred else answer)
        rows.append(row)
    return np.array(rows, dtype=np.float32).reshape(len(rows), -1)


def slow_neighbours(evidence, delta, distance, *, centred=False):
    """Neighbours of each candidate in the reference pool, and the expected number in the target's training set."""
    seen = evidence.reference_records
    a, b = slow_features(evidence.candidates, centred=centred), slow_features(seen, centred=centred)
    own = evidence.candidates.records.units if evidence.pool is None else np.full(len(a), -1)
    units = seen.records.units
    count = [
        sum(own[i] != units[j] and distance(a[i], b[j]) < delta - TIE for j in range(len(b))) for i in range(len(a))
    ]
    return np.array(count), np.array(count) * evidence.training_size / len(b)


SHAPES = [
    {"records": 15, "pool": 20},
    {"records": 15},
    {"records": 9, "queries": 2, "classes": 2},
    {"records": 8, "pool": 1},
    {"records": 1, "pool": 30, "models": 1},
    {"records": 14, "pool": 25, "classes": 1 + 1, "seed": 4},
    {"records": 11, "models": 2, "classes": 4, "seed": 5},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("centre", ["none", "classes"])
@pytest.mark.parametrize("delta", [0.05, 0.3, 1.0])
def test_it_equals_the_loop(evidence, distance, shape, centre, delta):
    e = evidence(**shape)
    found = screen("neighbours", delta=delta, beta=0.4, centre=centre).value(e)
    count, expected = slow_neighbours(e, delta, distance, centred=centre == "classes")
    assert found.columns["count"].tolist() == count.tolist()
    np.testing.assert_allclose(found.columns["expected"], expected)
    assert (found.value > found.own.bar).tolist() == (expected < 0.4).tolist()


def test_no_candidates_and_no_others(evidence):
    """Zero candidates; one record alone is its own pool and has no neighbours at any distance."""
    e = evidence(records=4, pool=10)
    none = replace(e, candidates=type(e.candidates)(e.candidates.records.select([]), _no_records(e)))
    assert screen("neighbours", delta=0.3).value(none).value.shape == (0,)
    alone = screen("neighbours", delta=1.9).value(evidence(records=1))
    assert alone.columns["count"].tolist() == [0]
    assert alone.columns["beyond"].tolist() == [2.0]


def _no_records(e):
    from locard.observe.references import References

    models = len(e.candidates.references)
    return References.from_arrays(logits=np.zeros((models, 0, 1, 3)), member=np.zeros((models, 0), dtype=bool))


def test_one_class_says_nothing_when_centred():
    """With one column an answer has no shape: centred it is 0, so all records are alike."""
    from locard.screen.features import _side_by_side

    class OneClass:
        records, queries, classes, probability_floor = 4, 1, 1, None

        def __iter__(self):
            return iter(range(3))

        def __len__(self):
            return 3

        def logits_of(self, k):
            return np.full((4, 1, 1), 5.0 + k, dtype=np.float32)

    assert not _side_by_side(OneClass(), centred=True).any()
    assert (Vectors.of(_side_by_side(OneClass(), centred=False)).unit.std(axis=0) == 0).all()


def test_copies_of_a_candidate_in_the_pool_are_its_neighbours(evidence, observed):
    """Two people with the same answers hide each other; that is no mistake in the data."""
    e = evidence(records=6, pool=12, grid=False)
    logits = np.stack([e.candidates.references.logits_of(k) for k in e.candidates.references])
    other = np.stack([e.pool.references.logits_of(k) for k in e.pool.references])
    twice = np.concatenate([other, logits[:, :1], logits[:, :1]], axis=1)
    y = np.concatenate([e.pool.records.y, e.candidates.records.y[:1], e.candidates.records.y[:1]])
    held = np.concatenate([e.pool.references.member, np.zeros((6, 2), dtype=bool)], axis=1)
    more = replace(e, pool=observed(twice, y, held, name="p"), training_size=e.training_size)
    before, after = (screen("neighbours", delta=0.01).value(x).columns["count"] for x in (e, more))
    assert (after - before).tolist() == [2, 0, 0, 0, 0, 0]


def test_rows_of_one_unit_do_not_hide_each_other(evidence, observed):
    """They are in or out of a training set together."""
    e = evidence(records=6, grid=False)
    logits = np.stack([e.candidates.references.logits_of(k) for k in e.candidates.references])
    logits, y = np.repeat(logits, 2, axis=1), np.repeat(e.candidates.records.y, 2)
    member = np.repeat(e.candidates.references.member, 2, axis=1)
    whole = Evidence(candidates=observed(logits, y, member, unit=np.repeat(np.arange(6), 2)), training_size=6)
    single = Evidence(candidates=observed(logits, y, member), training_size=6)
    near = [screen("neighbours", delta=0.01).value(x).columns["count"] for x in (whole, single)]
    assert near[0].tolist() == [0] * 12
    assert near[1].tolist() == [1] * 12


# -- what must not change it -------------------------------------------------------------------------------------------


def shifted(e, observed, shift=0.0, scale=1.0, dtype=np.float32):
    """The same evidence with other logits: ``scale`` x logits + a constant for each model and record."""

    def of(seen, name):
        rng = np.random.default_rng(3)
        z = np.stack([seen.references.logits_of(k) for k in seen.references]).astype(np.float64)
        z = z * scale + shift * rng.normal(size=(*z.shape[:-1], 1))
        return observed(z.astype(dtype), seen.records.y.copy(), seen.references.member, name=name)

    return replace(e, candidates=of(e.candidates, "c"), pool=of(e.pool, "p"))


def test_the_scale_of_all_logits_does_not_matter(evidence, observed):
    """A power of two changes no digit. Cosines know no scale; the paper's form and the centred one agree on that."""
    e = evidence(records=20, pool=40, grid=False)
    for centre in ("none", "classes"):
        s = screen("neighbours", centre=centre, share=0.1)
        np.testing.assert_array_equal(s.value(e).value, s.value(shifted(e, observed, scale=4.0)).value)
        other = s.value(shifted(e, observed, scale=3.0))
        np.testing.assert_array_equal(s.value(e).columns["count"], other.columns["count"])


def test_centred_features_do_not_know_the_constant_of_an_answer_and_plain_ones_do(evidence, observed):
    e = evidence(records=20, pool=40, grid=False)
    moved = shifted(e, observed, shift=2.0)
    centred, plain = screen("neighbours", centre="classes", delta=0.2), screen("neighbours", centre="none", delta=0.2)
    np.testing.assert_allclose(centred.value(e).value, centred.value(moved).value, atol=1e-5)
    assert (plain.value(e).columns["count"] != plain.value(moved).columns["count"]).any()


def test_probabilities_are_centred_and_logits_are_not(evidence, observed):
    """``auto``: the logarithm of a softmax is a network's logits but for a constant, which centring takes away."""
    from locard.observe.references import References
    from locard.screen.evidence import Observed

    e = evidence(records=20, pool=40, grid=False)
    centred, plain = (screen("neighbours", centre=c, share=0.1).value(e).value for c in ("classes", "none"))
    np.testing.assert_array_equal(screen("neighbours", share=0.1).value(e).value, plain)

    def as_probabilities(seen):
        z = np.stack([seen.references.logits_of(k) for k in seen.references]).astype(np.float64)
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        refs = References.from_arrays(probabilities=p, member=seen.references.member, probability_floor=1e-30)
        return Observed(seen.records, refs)

    said = replace(e, candidates=as_probabilities(e.candidates), pool=as_probabilities(e.pool))
    np.testing.assert_allclose(screen("neighbours", share=0.1).value(said).value, centred, atol=1e-4)


def test_two_centred_classes_are_one_number(evidence):
    """The second class of a centred pair is minus the first: leaving one out changes no cosine, and halves the work."""
    e = evidence(records=20, pool=40, classes=2)
    assert feature_vectors(e.candidates, centre="classes").rows.shape == (20, 6)
    assert feature_vectors(e.candidates, centre="none").rows.shape == (20, 12)


def test_raw_features_take_the_place_of_answers(evidence, distance):
    e = evidence(records=10, pool=15)
    found = screen("neighbours", features="raw", delta=0.5).value(e)
    a, b = np.float32(e.candidates.raw), np.float32(e.pool.raw)
    assert found.columns["count"].tolist() == [sum(distance(x, y) < 0.5 for y in b) for x in a]
    with pytest.raises(DataError, match="raw features are needed for features = 'raw', found none"):
        screen("neighbours", features="raw").value(replace(e, candidates=type(e.candidates)(
            e.candidates.records, e.candidates.references)))  # fmt: skip


# -- delta and beta ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beta", "training", "pool", "most"),
    [
        (0.1, 10_000, 28_842, 0),  # Adult
        (0.5, 10_000, 28_842, 1),
        (0.1, 100, 499, 0),  # Cancer
        (1, 100, 499, 4),
        (0.1, 10_000, 40_000, 0),  # MNIST
        (1, 10_000, 40_000, 3),
        (2, 10_000, 40_000, 7),
        (0.5, 1, 2, 0),  # a tie is not below
        (0.3, 1, 10, 2),
    ],
)
def test_neighbours_allowed_are_those_of_the_papers_tables(beta, training, pool, most):
    """With N' / N as printed every one of these is 0: their counts of selected records could then not differ."""
    ratio = training / pool
    assert allowed(beta, ratio) == most
    assert most * ratio < beta <= (most + 1) * ratio + 1e-12


def leave_one_out(x, distance, own=None):
    own = np.arange(len(x)) if own is None else own
    return [sorted(distance(x[i], x[j]) for j in range(len(x)) if own[i] != own[j]) for i in range(len(x))]


@pytest.mark.parametrize("most", [0, 2])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_delta_by_rule_leaves_the_stated_share_of_the_pool_with_few_neighbours(distance, most, share):
    """At delta at least m records of the pool are selected, leave-one-out; at any larger delta fewer are."""
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(6, 8))[rng.integers(6, size=60)] + 0.4 * rng.normal(size=(60, 8))).astype(np.float32)
    delta = delta_by_rule(Vectors.of(x), most, share, apart=Apart(np.arange(60), np.arange(60)))
    sorted_ = leave_one_out(x, distance)

    def chosen(at):
        return sum(sum(d < at - TIE for d in row) <= most for row in sorted_)

    m = max(1, round(share * 60))
    assert chosen(delta) >= m > chosen(delta + 1e-7)


def test_beta_by_rule_is_the_least_that_leaves_the_share(distance):
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(6, 8))[rng.integers(6, size=60)] + 0.4 * rng.normal(size=(60, 8))).astype(np.float32)
    own = Apart(np.arange(60), np.arange(60))
    count = np.sort([sum(d < 0.3 - TIE for d in row) for row in leave_one_out(x, distance)])
    for share in (0.02, 0.1, 0.5):
        beta = beta_by_rule(Vectors.of(x), 0.3, share, 0.25, apart=own)
        m = rarest(share, 60)
        most = allowed(beta, 0.25)
        assert most == count[m - 1]
        assert (count <= most).sum() >= m > (count <= most - 1).sum()


def test_what_is_not_given_is_chosen_from_the_reference_pool_alone(evidence):
    """delta does not depend on the candidates, so that calibration records are selected by the same rule."""
    e, other = evidence(records=20, pool=60), evidence(records=20, pool=60)
    both = [screen("neighbours", share=0.05).value(x).settled for x in (e, replace(other, candidates=e.candidates))]
    assert both[0]["delta"] == both[1]["delta"]
    assert both[0]["beta"] == 0.1
    settled = [screen("neighbours", **s).value(e).settled for s in ({}, {"delta": 0.2}, {"delta": 0.2, "beta": 0.7})]
    assert [s["chosen"] for s in settled] == ["delta by rule", "beta by rule", "by hand"]
    assert (settled[2]["delta"], settled[2]["beta"]) == (0.2, 0.7)


def test_a_pool_of_copies_has_no_delta(evidence, observed):
    e = evidence(records=4)
    logits = np.repeat(np.stack([e.candidates.references.logits_of(k) for k in e.candidates.references]), 2, axis=1)
    y, member = np.repeat(e.candidates.records.y, 2), np.repeat(e.candidates.references.member, 2, axis=1)
    with pytest.raises(DataError, match=r"fewer than 8 of 8 records .* have no copy in it. Set screen.delta"):
        screen("neighbours", share=1.0).value(Evidence(candidates=observed(logits, y, member), training_size=4))


def test_the_next_record_orders_those_with_equally_many_neighbours(evidence):
    e = evidence(records=40, pool=60)
    found = screen("neighbours", delta=0.25).value(e)
    order = np.lexsort((-found.columns["beyond"], found.columns["count"]))
    few = found.columns["count"] <= 32
    assert few.all()
    assert (np.diff(found.value[order]) <= 0).all()
    assert len(np.unique(found.value)) > len(np.unique(found.columns["count"]))


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(SettingsError) as told:
        screen("neighbours", delta=3, beta=0, share=2, features="pixels", dimensions=0)
    assert told.value.problems == (
        "screen neighbours.delta: a number above 0 and of at most 2 is needed, found 3.",
        "screen neighbours.beta: a number above 0 is needed, found 0.",
        "screen neighbours.share: a number above 0 and of at most 1 is needed, found 2.",
        "screen neighbours.features: 'logits' or 'raw' is needed, found 'pixels'.",
        "screen neighbours.dimensions: a whole number of at least 1 is needed, found 0.",
    )


def test_no_references_are_said(evidence, observed):
    e = evidence(records=5, pool=9, models=2)
    none = np.zeros((0, 5, 1, 3), dtype=np.float32), np.zeros((0, 5), dtype=bool)
    seen = observed(none[0], e.candidates.records.y.copy(), none[1])
    with pytest.raises(NotEnoughReferences, match="at least 1 screening reference"):
        run_screen(screen("neighbours"), Evidence(candidates=seen, training_size=3))
