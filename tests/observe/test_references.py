"""Views of a pool against loops over their models: left out, thinned, alone; sums that leave no dust."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.errors import DataError, SettingsError
from locard.observe.observations import ArrayReader, Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import Population, References
from locard.observe.signals import Entropy, LogProbability, Posteriors, Probability, ScaledLogit
from locard.observe.target import Target


def make(models=8, records=11, queries=2, classes=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    z = (scale * rng.normal(size=(models, records, queries, classes))).astype(np.float32)
    y = np.arange(records) % classes
    member = rng.random((models, records)) < 0.5
    z.flags.writeable = member.flags.writeable = False
    return z, y, member


def pool_of(z, y, member) -> ReferencePool:
    return ReferencePool(Observations(ArrayReader(z), y), member)


def views(z, y, member, seed=1) -> dict[str, References]:
    pool = pool_of(z, y, member)
    everyone = References(pool, np.arange(len(z)))
    few = everyone.without([1, 2])
    return {
        "all": everyone,
        "without": few,
        "without most": everyone.without(np.arange(1, len(z) - 2)),
        "only": everyone.only([3, 0]),
        "thinned": few.thinned(np.random.default_rng(seed)),
        "none": everyone.only([]),
    }


def check_view(view: References, z, y, numbers, usable_in, usable_out) -> None:
    """Moments and means of one view against Python loops."""
    for signal in (ScaledLogit(), LogProbability(), Entropy()):
        everyone = np.array([signal(one, y) for one in z])
        values = everyone[numbers]
        for inside, mask in ((True, usable_in), (False, usable_out)):
            found, mean = view.moments(signal, inside=inside), view.mean(signal, inside=inside)
            for r in range(len(y)):
                assert found.count[r] == mask[:, r].sum()
                for q in range(z.shape[2]):
                    seen = values[mask[:, r], r, q]
                    if len(seen) == 0:
                        assert np.isnan(found.mean[r, q])
                        assert np.isnan(mean[r, q])
                        assert found.squares[r, q] == 0
                    else:
                        scale = max(
                            1.0, np.abs(everyone[:, r, q]).max()
                        )  # sums are exact in a unit of the pool's spread
                        assert found.mean[r, q] == pytest.approx(seen.mean(), abs=1e-12 * scale)
                        assert mean[r, q] == found.mean[r, q]
                        squares = ((seen - seen.mean()) ** 2).sum()
                        assert found.squares[r, q] == pytest.approx(squares, abs=1e-10 * scale**2)
                        if len(seen) == 1:
                            assert found.squares[r, q] == 0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(5, 9),
    st.integers(1, 6),
    st.integers(1, 2),
    st.integers(2, 4),
    st.integers(0, 10**6),
    st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_moments_and_means_equal_loops(models, records, queries, classes, seed, scale):
    z, y, member = make(models, records, queries, classes, seed, scale)
    for view in views(z, y, member).values():
        numbers = view._models.tolist()
        assert (view.member == member[numbers]).all()
        check_view(view, z, y, numbers, view.inside, view.outside)
        np.testing.assert_array_equal(view.inside_count, view.inside.sum(axis=0))
        np.testing.assert_array_equal(view.outside_count, view.outside.sum(axis=0))
        for k in view:
            np.testing.assert_array_equal(view.inside_of(k), view.inside[k])
            np.testing.assert_array_equal(view.outside_of(k), view.outside[k])


def test_means_of_vectors_equal_loops():
    z, y, member = make()
    for view in views(z, y, member).values():
        numbers = view._models.tolist()
        p = np.array([Posteriors()(z[m], y) for m in numbers]).reshape(len(numbers), *z.shape[1:])
        for inside, mask in ((True, view.inside), (False, view.outside)):
            mean = view.mean(Posteriors(), inside=inside)
            for r in range(len(y)):
                if mask[:, r].any():
                    np.testing.assert_allclose(mean[r], p[mask[:, r], r].mean(axis=0), atol=1e-12)
                elif len(view):
                    assert np.isnan(mean[r]).all()
        if len(view):
            with pytest.raises(SettingsError, match="need a scalar signal"):
                view.moments(Posteriors(), inside=True)


def test_leaving_a_model_out_leaves_no_dust():
    """Sums minus the target equal, to the last bit, the sum of the others in any order and whatever the target said.

    Planted bug: plain float sums; the mean then keeps a rounding error that depends on the target's membership.
    """
    z, y, member = make(models=16, records=200, seed=3)
    everyone = References(pool_of(z, y, member), np.arange(16))
    turned = np.arange(16)[::-1]
    backwards = References(pool_of(z[turned], y, member[turned]), np.arange(16))
    for inside in (True, False):
        less = everyone.without([4, 5])
        alone = less._pool.sums_over(ScaledLogit(), np.array([15, 3, 0, 1, 2, 6, 7, 8, 9, 14, 11, 12, 13, 10]))
        first, second = less._sums(ScaledLogit()).side(inside)
        np.testing.assert_array_equal(first, alone.side(inside)[0])
        np.testing.assert_array_equal(second, alone.side(inside)[1])
        same = backwards.without([10, 11])
        for signal in (ScaledLogit(), Probability()):
            np.testing.assert_allclose(
                same.mean(signal, inside=inside), less.mean(signal, inside=inside), rtol=0, atol=1e-14
            )
        first, _ = less._sums(Posteriors()).side(inside)
        alone = less._pool.sums_over(Posteriors(), np.setdiff1d(np.arange(16), [4, 5]))
        np.testing.assert_array_equal(first, alone.side(inside)[0])


def test_records_on_which_all_models_agree_have_no_spread():
    z, y, member = make(models=10, records=40, seed=4)
    z = np.broadcast_to(z[0], z.shape)
    view = References(pool_of(z, y, member), np.arange(10)).without([2, 3])
    for inside in (True, False):
        found = view.moments(ScaledLogit(), inside=inside)
        assert (found.squares == 0).all()
        held = found.count > 0
        np.testing.assert_allclose(found.mean[held], ScaledLogit()(z[0], y)[held], rtol=1e-15)


def test_a_view_equals_a_pool_that_never_held_the_others():
    z, y, member = make(models=9, seed=5)
    view = References(pool_of(z, y, member), np.arange(9)).without([0, 7])
    kept = [1, 2, 3, 4, 5, 6, 8]
    fresh = References(pool_of(z[kept], y, member[kept]), np.arange(7))
    for inside in (True, False):
        a, b = (v.moments(LogProbability(), inside=inside) for v in (view, fresh))
        np.testing.assert_array_equal(a.count, b.count)
        np.testing.assert_allclose(a.mean, b.mean, atol=1e-12)
        np.testing.assert_allclose(a.squares, b.squares, atol=1e-11)


def test_views_of_one_pool_do_not_disturb_each_other():
    """Planted bug: totals kept for the first view's models and used for all."""
    z, y, member = make(models=8, seed=6)
    pool = pool_of(z, y, member)
    small, large = References(pool, np.arange(5)), References(pool, np.arange(8))
    for view in (small, large, small.without([0]), large.without([0])):
        check_view(view, z, y, view._models.tolist(), view.inside, view.outside)


def test_thinning_keeps_equal_numbers_and_every_choice_alike():
    """Each of a side's models is kept with the same chance: 4,000 draws, 5 binomial standard errors (flake 6e-7 each).

    Planted bug: keeping the first of each side.
    """
    member = np.array([[True] * 4000, [True] * 4000, [True] * 4000, [False] * 4000, [True] * 4000, [False] * 4000])
    view = References(
        pool_of(np.zeros((6, 4000, 1, 2), dtype=np.float32), np.zeros(4000, dtype=int), member), np.arange(6)
    )
    thin = view.thinned(np.random.default_rng(0))
    assert (thin.inside_count == 2).all()
    assert (thin.outside_count == 2).all()
    assert not (thin.inside & thin.outside).any()
    assert not (thin.inside & ~member).any()
    kept = thin.inside[[0, 1, 2, 4]].mean(axis=1)
    assert np.abs(kept - 0.5).max() < 5 * 0.5 / np.sqrt(4000)
    pair = (thin.inside[0] & thin.inside[4]).mean()
    assert abs(pair - 1 / 6) < 5 * np.sqrt(1 / 6 * 5 / 6 / 4000)
    same = view.thinned(np.random.default_rng(0))
    np.testing.assert_array_equal(same.inside, thin.inside)
    assert thin.inside_count.sum() == 8000


def test_thinning_a_balanced_table_hides_the_target():
    """Exactly half of 8 models hold each record: after thinning both sides are 3 whatever the target's membership."""
    member = np.argsort(np.random.default_rng(1).random((8, 500)), axis=0) < 4
    z = np.zeros((8, 500, 1, 2), dtype=np.float32)
    view = References(pool_of(z, np.zeros(500, dtype=int), member), np.arange(8)).without([0])
    assert set(view.inside_count.tolist()) == {3, 4}
    thin = view.thinned(np.random.default_rng(2))
    assert set(thin.inside_count.tolist()) == set(thin.outside_count.tolist()) == {3}


def test_leaving_out_after_thinning_is_refused():
    z, y, member = make()
    thin = References(pool_of(z, y, member), np.arange(8)).thinned(np.random.default_rng(0))
    with pytest.raises(SettingsError, match="leave models out first, then thin"):
        thin.without([0])


def test_what_a_reference_teaches_is_made_once_for_all_views():
    z, y, member = make()
    made = []
    everyone = References(pool_of(z, y, member), np.arange(8))

    def learn(view, k, uses):
        return view.memo("lesson", k, lambda: made.append(1) or view.inside_of(k).sum(), uses_membership=uses)

    a, b = everyone.without([0]), everyone.without([1])
    assert learn(a, 1, True) == member[2].sum()
    assert learn(b, 1, True) == member[2].sum()  # position 1 is model 2 in both
    assert len(made) == 1
    thin = a.thinned(np.random.default_rng(0))
    assert learn(thin, 1, True) == thin.inside[1].sum()
    assert len(made) == 2
    assert learn(thin, 1, True) == thin.inside[1].sum()
    assert len(made) == 3  # a thinned view's masks are its own
    learn(thin, 1, False)
    assert len(made) == 3


def test_a_reference_can_play_the_target():
    z, y, member = make()
    view = References(pool_of(z, y, member), np.arange(8)).without([0])
    np.testing.assert_array_equal(view.as_target(2).observe(Entropy()), Entropy()(z[3], y))
    np.testing.assert_array_equal(view.signal_of(Entropy(), 2), Entropy()(z[3], y))
    np.testing.assert_array_equal(view.observe(Entropy())[2], Entropy()(z[3], y))


def test_labels_that_come_later_keep_the_view():
    """Planted bug: a labelled copy that forgot the thinning, or the models left out."""
    z, y, member = make()
    bare = References(pool_of(z, None, member), np.arange(8)).without([0, 1])
    for view in (bare, bare.thinned(np.random.default_rng(0))):
        labelled = view.labelled(y)
        assert len(labelled) == 6
        np.testing.assert_array_equal(labelled.inside, view.inside)
        np.testing.assert_array_equal(labelled.outside, view.outside)
        assert labelled.labelled(y) is labelled
        assert view.labelled(y)._pool is labelled._pool  # signals are computed once for all attacks
    with pytest.raises(DataError, match="without labels"):
        bare.mean(Entropy(), inside=True)


def test_from_arrays_takes_masks_of_numbers_and_pairs():
    z, y, member = make(models=4, queries=1)
    view = References.from_arrays(logits=z[:, :, 0], member=member.astype(int), labels=y, pairs=[1, 0, 3, 2])
    np.testing.assert_array_equal(view.inside, member)
    assert view.pairs.tolist() == [1, 0, 3, 2]
    assert view.queries == 1
    assert repr(view) == "References(models=4, records=11)"
    single = References.from_arrays(logits=z[:, :, :, 0], member=member, labels=np.zeros(11, dtype=int))
    assert single.signal_of(ScaledLogit(), 0).shape == (11, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"member": np.zeros((4, 3), dtype=bool)}, r"a mask \[8 models, 11 records\] is needed, found \(4, 3\)"),
        ({"member": np.full((8, 11), 2)}, "True and False"),
        ({"member": np.full((8, 11), "yes")}, "True and False"),
        ({"labels": [0]}, "11 are needed"),
        ({"pairs": [0, 1]}, "the partner of each of 8 models"),
        ({"pairs": [1, 2, 0, 4, 3, 6, 5, 7]}, "partners name each other"),
        ({"pairs": [1, 0, 3, 2, 5, 4, 7, 8]}, "partners name each other"),
        ({"logits": np.zeros(3)}, "missing axis"),
    ],
)
def test_from_arrays_refuses_what_does_not_fit(change, words):
    z, y, member = make()
    with pytest.raises(DataError, match=words):
        References.from_arrays(**({"logits": z, "member": member, "labels": y} | change))


def test_models_are_numbers_of_the_pool():
    z, y, member = make()
    everyone = References(pool_of(z, y, member), np.arange(8))
    for wrong in ([8], [-1]):
        with pytest.raises(SettingsError, match=r"model numbers 0\.\.7 are needed"):
            everyone.without(wrong)
    assert len(everyone.without([])) == 8


def test_population_records_are_in_no_reference():
    z, y, member = make()
    nobody = References(pool_of(z, y, np.zeros_like(member)), np.arange(8)).without([0, 1])
    population = Population(y, Target(Observations(ArrayReader(z), y), 0), nobody)
    assert len(population) == 11
    assert (population.references.outside_count == 6).all()
    assert np.isnan(population.references.mean(Entropy(), inside=True)).all()
    bare = Population(
        y, Target.from_arrays(logits=z[0]), References.from_arrays(logits=z[1:], member=member[1:] & False)
    )
    np.testing.assert_array_equal(bare.labelled().target.observe(Entropy()), Entropy()(z[0], y))
    assert bare.labelled().references.mean(ScaledLogit(), inside=False).shape == (11, 2)
