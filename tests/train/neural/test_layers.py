"""Keyed normalisation against torch's; keyed masks against plain integers, and their randomness against chi-square."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import nn

from locard.train.neural.layers import Keyed, KeyedBatchNorm, keyed_masks, mask_keys, why_alone

LIKE = torch.zeros((), dtype=torch.float64)


# -- batch normalisation -----------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(
        [(nn.BatchNorm1d, ()), (nn.BatchNorm1d, (3,)), (nn.BatchNorm2d, (2, 3)), (nn.BatchNorm3d, (2, 1, 2))]
    ),
    rows=st.integers(2, 6),
    channels=st.integers(1, 4),
    affine=st.booleans(),
    track=st.booleans(),
    momentum=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_batch_normalisation_equals_torchs_in_training_and_evaluation(
    kind, rows, channels, affine, track, momentum, seed
):
    rng = torch.Generator().manual_seed(seed)
    theirs = kind[0](channels, affine=affine, track_running_stats=track, momentum=momentum, eps=1e-3).double()
    if affine:
        for p in theirs.parameters():
            p.data = torch.randn(p.shape, generator=rng, dtype=torch.float64)
    ours = KeyedBatchNorm(theirs)
    ours.running_mean, ours.running_var = (None, None) if not track else (ours.running_mean + 0, ours.running_var + 0)
    for _ in range(3):
        x = torch.randn((rows, channels, *kind[1]), generator=rng, dtype=torch.float64) * 3 + 1
        padded = torch.cat([x, torch.full_like(x[:1], 1e6)])
        with_padding = KeyedBatchNorm(theirs)
        with_padding.running_mean, with_padding.running_var = ours.running_mean, ours.running_var
        with_padding.rows = torch.tensor([1.0] * rows + [0.0], dtype=torch.float64)
        a = x.clone().requires_grad_()
        b = x.clone().requires_grad_()
        expected, found = theirs(a), ours(b)
        expected.square().sum().backward()
        found.square().sum().backward()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(b.grad, a.grad, rtol=0, atol=1e-9)
        torch.testing.assert_close(with_padding(padded)[:-1], expected, rtol=0, atol=1e-9)
        if track:
            torch.testing.assert_close(with_padding.fresh, ours.fresh, rtol=0, atol=1e-9)
            ours.running_mean, ours.running_var = ours.fresh
            ours.fresh = None
            torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-12)
            torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=1e-12)
    theirs.eval()
    ours.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_a_batch_of_one_value_a_channel_keeps_the_running_variance():
    norm = KeyedBatchNorm(nn.BatchNorm1d(3))
    out = norm(torch.tensor([[1.0, 2.0, 3.0]]))
    assert torch.equal(out, torch.zeros(1, 3))
    torch.testing.assert_close(norm.fresh[0], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(norm.fresh[1], torch.ones(3))


# -- which layers are replaced -----------------------------------------------------------------------------------------


class Louder(nn.Dropout):
    def forward(self, x):
        return 2 * super().forward(x)


def test_subclasses_of_torchs_layers_are_left_as_they_are():
    class OwnNorm(nn.BatchNorm1d):
        pass

    for layer, said in ((Louder(0.5), None), (OwnNorm(4), "keeps running statistics")):
        keyed = Keyed.of(nn.Sequential(nn.Linear(4, 4), layer), torch.zeros(2, 4))
        assert not keyed.dropouts
        assert not keyed.norms
        assert keyed.module[1] is layer
        reason = why_alone(keyed.module)
        assert reason is None if said is None else said in reason


def test_a_layer_that_is_called_twice_has_two_masks_and_one_under_two_names_stays_one():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.25)
            self.again = self.drop
            self.wide = nn.Dropout2d(0.5)

        def forward(self, x):
            return self.drop(self.again(x)[:, :3]) + self.wide(x.reshape(len(x), 2, 2, 1)).sum((1, 2))

    keyed = Keyed.of(Twice(), torch.ones(2, 4))
    assert keyed.masks == [("drop.mask0", 0.25, (4,)), ("drop.mask1", 0.25, (3,)), ("wide.mask0", 0.5, (2, 1, 1))]
    assert keyed.module.drop is keyed.module.again
    assert not keyed.buffers()


def test_dropout_over_other_rows_than_records_goes_on_as_torchs():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x.reshape(-1, 2)).reshape(len(x), -1)

    keyed = Keyed.of(Tokens(), torch.ones(2, 4))
    assert keyed.masks == []
    assert "rows that are not the batch's records" in why_alone(keyed.module)
    torch.manual_seed(0)
    expected = nn.functional.dropout(torch.ones(6, 2), 0.5).reshape(3, 4)
    torch.manual_seed(0)
    assert torch.equal(keyed.module(torch.ones(3, 4)), expected)


def test_learning_the_shapes_changes_no_buffer():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.register_buffer("count", torch.zeros(()))
            self.register_buffer("sum", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            self.sum = self.sum + x.sum()
            return self.drop(x)

    module = Counting()
    Keyed.of(module, torch.ones(2, 4))
    assert module.count == 0
    assert module.sum == 0


def test_a_call_more_than_learnt_is_refused():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.times = nn.Dropout(0.5), 0

        def forward(self, x):
            self.times += 1
            for _ in range(self.times):
                x = self.drop(x)
            return x

    keyed = Keyed.of(Growing(), torch.ones(2, 4))
    with pytest.raises(RuntimeError, match="called 1 times in a pass was called once more"):
        keyed.module(torch.ones(2, 4))


# -- masks -------------------------------------------------------------------------------------------------------------


def slow_mask(seed, step, layer, places, p):
    """The definition, place by place, in unbounded integers."""

    def splitmix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    z = seed
    for word in (step + 1, layer + 1):
        z = splitmix((z + word * 0x9E3779B97F4A7C15) % 2**64)
    one, two = (z % 2**32) | 1, z >> 32
    out = []
    for place in range(places):
        h = (place * one + two) % 2**32
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        h ^= h >> 16
        signed = h - 2**32 if h >= 2**31 else h
        out.append(0.0 if signed < round(p * 2**32) - 2**31 else 1 / (1 - p))
    return out


@given(
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3),
    step=st.integers(0, 10**6),
    layer=st.integers(0, 30),
    p=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_masks_equal_the_definition_in_plain_integers(seeds, step, layer, p):
    found = keyed_masks(mask_keys(np.array(seeds), step, layer), (3, 5), p, LIKE)
    for model, seed in enumerate(seeds):
        np.testing.assert_allclose(found[model].reshape(-1).numpy(), slow_mask(seed, step, layer, 15, p), rtol=1e-15)


def test_a_smaller_batch_gets_the_first_rows_and_companions_do_not_matter():
    keys = mask_keys(np.arange(5), 3, 1)
    whole = keyed_masks(keys, (8, 6), 0.4, LIKE)
    assert torch.equal(keyed_masks(keys, (3, 6), 0.4, LIKE), whole[:, :3])
    assert torch.equal(keyed_masks(keys[2:3], (8, 6), 0.4, LIKE)[0], whole[2])


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.9])
def test_share_of_zeros_and_mean(p, binomial):
    """Flake rate 1e-9. Power: a share that is off by 0.003 (at p = 0.5; less at others) is found with chance 0.99."""
    masks = keyed_masks(mask_keys(np.arange(200), 7, 0), (100, 100), p, LIKE)
    binomial(int((masks == 0).sum()), masks.numel(), p)
    assert float(masks.max()) == pytest.approx(1 / (1 - p))
    sd = np.sqrt(p / (1 - p) / masks.numel())
    assert abs(float(masks.mean()) - 1) < 6.2 * sd
    assert keyed_masks(mask_keys(np.arange(2), 0, 0), (4,), 1.0, LIKE).sum() == 0
    assert (keyed_masks(mask_keys(np.arange(2), 0, 0), (4,), 0.0, LIKE) == 1).all()


FLAKE = 1e-9
SIZES = [(1_000, 2_048), (20, 131_072)]  # many short masks, and long ones as of 128 records x 1,024 units
LAGS = (1, 2, 3, 4, 8, 16, 64, 100, 128, 256, 512, 1024)


def correlated(make, p, models, places):
    """Pairs of masks whose places go together more (or less) than independent ones, over all models.

    n r^2 of each model is chi-square with one degree of freedom, their sum one with as many as models. Each sum is
    outside its bounds with chance 1e-9. Power: a correlation of 0.02 in every short mask, or of 0.005 in every long
    one, adds 14 standard deviations to a sum.
    """
    seeds = np.arange(models)
    first = make(mask_keys(seeds, 5, 0), p, places)
    others = {
        "the next step": make(mask_keys(seeds, 6, 0), p, places),
        "the next layer": make(mask_keys(seeds, 5, 1), p, places),
        "the next model": make(mask_keys(seeds + 1, 5, 0), p, places),
    }
    low, high = chi2.ppf([FLAKE / 2, 1 - FLAKE / 2], models)
    q, out = 1 - p, []
    for name in (*others, *(lag for lag in LAGS if lag < places // 4)):
        other = others[name] if isinstance(name, str) else np.roll(first, -name, axis=1)
        total = float((((first - q) * (other - q)).sum(axis=1) ** 2).sum() / (places * (p * q) ** 2))
        if not low <= total <= high:
            out.append(name)
    spread = float(((first.sum(axis=1) - places * q) ** 2).sum() / (places * p * q))
    return out if low <= spread <= high else [*out, "number of zeros a model"]


def ours(keys, p, places):
    return (keyed_masks(keys, (places,), p, LIKE) != 0).numpy().astype(float)


def without_the_second_round(keys, p, places):
    key = keys.view(np.uint32).astype(np.uint64)
    h = (np.arange(places, dtype=np.uint64)[None] * key[:, :1] + key[:, 1:]) & np.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return (h.astype(np.uint32).view(np.int32) >= round(p * 2**32) - 2**31).astype(float)


def the_same_for_all_steps(keys, p, places):
    return ours(np.repeat(mask_keys(np.arange(len(keys)), 0, 0), 1, axis=0), p, places)


@pytest.mark.parametrize(("p", "size"), [(0.1, SIZES[0]), (0.5, SIZES[0]), (0.5, SIZES[1])])
def test_no_correlation_between_places_steps_layers_and_models(p, size):
    assert correlated(ours, p, *size) == []


def test_weaker_masks_are_found_out():
    """Planted: one round of mixing instead of two (seen in long masks only); a key without the step."""
    assert set(LAGS) & set(correlated(without_the_second_round, 0.5, *SIZES[1]))
    assert "the next step" in correlated(the_same_for_all_steps, 0.5, *SIZES[0])


def test_torchs_own_dropout_layers_are_replaced_in_all_kinds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, shape in (
            (nn.Dropout, (4,)),
            (nn.Dropout1d, (4, 3)),
            (nn.Dropout2d, (4, 3, 2)),
            (nn.Dropout3d, (4, 1, 2, 2)),
        ):
            keyed = Keyed.of(nn.Sequential(nn.Identity(), kind(0.5)), torch.ones(2, *shape))
            mask = keyed_masks(mask_keys(np.array([3]), 0, 0), (2, *keyed.masks[0][2]), 0.5, LIKE)[0]
            keyed.set_masks({"1.mask0": mask})
            out = keyed.module(torch.ones(2, *shape, dtype=torch.float64))
            assert torch.equal(out, mask.expand(2, *shape))
            keyed.module.eval()
            assert torch.equal(keyed.module(torch.ones(2, *shape)), torch.ones(2, *shape))
