"""What networks are given: the same as scikit-learn's encoder gives, learnt from each model's own records."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locard.data.records import Records
from locard.errors import SettingsError
from locard.train.neural.data import NetworkData
from locard.train.table_encoder import TableEncoder


def given_to_a_network(data, index):
    """``float[records, columns]`` of every record, as the model of this index sees it."""
    return data.scaling([index]).apply(data.x.unsqueeze(0))[0].numpy()


def encoded(records, index):
    """The encoder's columns where the network has them: its numbers, then every level, zeros for unseen ones."""
    encoder = TableEncoder(records.columns).fit(records.features[index])
    told = encoder.transform(records.features)
    numbers = len(encoder.numbers_)
    parts = [told[:, :numbers]]
    for places in encoder.places_.values():
        wide = np.zeros((len(records), len(places)))
        wide[:, places >= 0] = told[:, places[places >= 0]]
        parts.append(wide)
    return np.concatenate(parts, axis=1)


@given(
    seed=st.integers(0, 2**31),
    missing=st.sampled_from([0.0, 0.05, 0.3, 0.9]),
    size=st.integers(1, 60),
    inside=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_tables_are_scaled_as_for_scikit_learn(seed, missing, size, inside, table):
    records = table(missing=missing, seed=seed)
    if inside:  # the model's own records are complete, the others are not
        rows = np.flatnonzero(~np.isnan(records.features).any(axis=1))
        index = np.random.default_rng(seed).permutation(rows)[:size]
        if not len(index):
            return
    else:
        index = np.random.default_rng(seed).integers(60, size=size)
    data = NetworkData(records, dtype=torch.float64)
    np.testing.assert_allclose(given_to_a_network(data, index), encoded(records, index), rtol=1e-9, atol=1e-6)


def test_large_numbers_keep_their_differences_in_float32(table):
    """Seconds since 1970 with a spread of 1,000: float32 alone resolves 128 of them."""
    records = table(missing=0.1)
    index = np.arange(40)
    found = given_to_a_network(NetworkData(records), index)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, encoded(records, index), atol=2e-6)


def test_several_models_in_one_scaling(table):
    records = table()
    data = NetworkData(records, dtype=torch.float64)
    indices = [np.arange(10), np.arange(5, 50), np.array([3])]
    together = data.scaling(indices).apply(data.x.unsqueeze(0))
    for model, index in enumerate(indices):
        assert np.array_equal(together[model].numpy(), given_to_a_network(data, index))


def test_bytes_are_divided_by_255_and_arrays_stay(numbers):
    pictures = numbers(shape=(4, 4), dtype=np.uint8)
    assert np.array_equal(NetworkData(pictures).x.numpy(), pictures.features.astype(np.float32) / np.float32(255))
    assert np.array_equal(NetworkData(pictures, preprocess="none").x.numpy(), pictures.features.astype(np.float32))
    plain = numbers()
    assert np.array_equal(NetworkData(plain, dtype=torch.float64).x.numpy(), plain.features)
    assert NetworkData(plain).scaling([np.arange(3)]) is None


def test_standardised_arrays(numbers):
    records = numbers(shape=(2, 3))
    data = NetworkData(records, preprocess="standardise", dtype=torch.float64)
    index = np.arange(7, 25)
    flat = records.features.reshape(40, 6)
    expected = (flat - flat[index].mean(0)) / flat[index].std(0)
    np.testing.assert_allclose(given_to_a_network(data, index), expected, atol=1e-12)


def test_missing_values_without_scaling_are_refused():
    records = Records(ids=range(3), features=np.array([[1.0], [np.nan], [2.0]]), labels=[0, 1, 0])
    with pytest.raises(SettingsError, match=r"missing values\. Set target\.preprocess = 'standardise'"):
        NetworkData(records)


def test_read_only_arrays_are_shared_without_a_warning_and_not_changed(numbers):
    records = numbers(dtype=np.float32, weight=np.ones(40))
    before = records.features.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = NetworkData(records)
        places = np.arange(3)
        places.flags.writeable = False
        assert data.rows(places, 0).shape == (3, 5)
    assert data.x.data_ptr() == records.features.ctypes.data
    assert records.features.tobytes() == before


def test_a_part_is_data_of_its_own(numbers):
    records = numbers(shape=(3, 3), weight=np.arange(1.0, 41))
    data = NetworkData(records, augment=("identity", "flip"), dtype=torch.float64)
    part = data.part(np.array([5, 2]))
    assert part.records == 2
    assert torch.equal(part.rows(np.array([1]), 1), data.rows(np.array([2]), 1))
    assert part.y.tolist() == [records.y[5], records.y[2]] * 2
    assert part.weight.tolist() == [6, 3, 6, 3]


def test_other_records_come_out_as_if_they_were_among_them(table, numbers):
    records = table()
    data = NetworkData(records, augment=("identity", "noise(0.5)"))
    for block in (slice(0, 60), slice(13, 20)):
        forms = data.other(records.features[block])
        for variant, form in enumerate(forms):
            assert torch.equal(form.nan_to_num(-1), data.rows(np.arange(60)[block], variant).nan_to_num(-1))


def test_data_can_be_let_go(numbers):
    data = NetworkData(numbers())
    seen = weakref.ref(data)
    del data
    gc.collect()
    assert seen() is None
