"""Traces travel with the answers: one model's at a time, behind the access that gives them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from locard.errors import AccessDenied, DataError
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import References
from locard.observe.signals import METRICS, Entropy, LogProbability, Metrics, ModifiedEntropy
from locard.observe.target import Target
from locard.observe.traces import StoredStudents, StoredTraces, TraceArray
from locard.train.store import Store
from locard.types import Access

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 6, 1, 2)).astype(np.float32)
Y = np.array([0, 1, 0, 1, 0, 1])
LOSSES = RNG.gamma(2.0, size=(3, 6, 4))


def test_a_target_and_references_from_arrays_give_their_traces():
    target = Target.from_arrays(logits=LOGITS[0], labels=Y, traces={"training": LOSSES[0]}, access=Access.TRAINING)
    np.testing.assert_array_equal(target.trace("training"), LOSSES[0][:, :, None])
    assert target.queries == 0
    member = np.array([[True] * 3 + [False] * 3] * 3)
    references = References.from_arrays(logits=LOGITS, member=member, labels=Y, traces={"training": LOSSES})
    np.testing.assert_array_equal(references.without([0]).trace_of("training", 1)[:, :, 0], LOSSES[2])
    assert references.traces == ("training",)


def test_access_is_asked_for():
    outsider = Target.from_arrays(logits=LOGITS[0], traces={"training": LOSSES[0]})
    with pytest.raises(AccessDenied, match="needs the training loop, but this target gives logits"):
        outsider.trace("training")
    owner = Target.from_arrays(logits=LOGITS[0], access=Access.TRAINING)
    with pytest.raises(AccessDenied, match=r"found none\. Only models that are trained here epoch by epoch"):
        owner.trace("training")


@pytest.mark.parametrize(
    ("traces", "said"),
    [
        ({"losses": LOSSES[0]}, "one of training, distilled, students is needed, found 'losses'"),
        ({"training": LOSSES[0, :5]}, r"for 6 records are needed for 'training', found float64 of shape \(5, 4\)"),
        ({"training": np.full((6, 4), "a")}, "numbers"),
        ({"training": np.zeros((6, 0))}, r"found float64 of shape \(6, 0\)"),
    ],
)
def test_arrays_that_cannot_be_traces_are_refused(traces, said):
    with pytest.raises(DataError, match=said):
        Target.from_arrays(logits=LOGITS[0], traces=traces)


def test_a_loss_that_is_no_number_is_named():
    broken = LOSSES[0].copy()
    broken[2, 3] = np.nan
    target = Target.from_arrays(logits=LOGITS[0], traces={"training": broken}, access=Access.TRAINING)
    with pytest.raises(DataError, match=r"found \[nan\] in the trace 'training' \(model 0, record 2, epoch 4\)"):
        target.trace("training")


def test_parts_labels_floors_and_other_processes_keep_them():
    said = Observations(ArrayReader(LOGITS), None, traces={"training": TraceArray(LOSSES)})
    part = said.labelled(Y).select(np.array([4, 1]))
    np.testing.assert_array_equal(part.trace("training", 2)[:, :, 0], LOSSES[2, [4, 1]])
    for other in (said.at_floor(0.01), pickle.loads(pickle.dumps(said))):
        np.testing.assert_array_equal(other.trace("training", 1)[:, :, 0], LOSSES[1])


def test_stored_traces_are_those_written(tmp_path):
    store = Store(tmp_path)
    for m in range(3):
        store.write(f"k{m}", {"losses": LOSSES[m].astype(np.float32)})
        store.write(f"s{m}", {"student": LOSSES[m, :, :1].astype(np.float32)})
    traces = StoredTraces(store, ["k0", "k1", "k2"], "losses")
    assert traces.shape == (3, 6, 4)
    np.testing.assert_array_equal(traces.read(1), LOSSES[1].astype(np.float32))
    students = StoredStudents(store, [[], ["s0", "s2"]], "student")
    assert students.shape == (2, 6, 2)
    np.testing.assert_array_equal(students.read(1), LOSSES[[0, 2], :, 0].T.astype(np.float32))
    with pytest.raises(DataError, match="students of model 0 are needed"):
        students.read(0)


def test_metrics_are_the_five_of_their_papers():
    """Golden values for (.7, .2, .1): the spread is that of numpy, which divides by the number of classes."""
    z = np.log([[[0.7, 0.2, 0.1]], [[0.7, 0.2, 0.1]]])
    got = Metrics()(z, np.array([0, 2]))[:, 0]
    assert METRICS == ("loss", "largest", "spread", "entropy", "modified_entropy")
    golden = [
        [0.3566749439, 0.7, 0.2624669291, 0.8018185525, 0.1621672450],
        [2.3025850930, 0.7, 0.2624669291, 0.8018185525, 2.9597362570],
    ]
    np.testing.assert_allclose(got, golden, atol=1e-9)
    y = Y[:3]
    for column, signal in ((3, Entropy()), (4, ModifiedEntropy())):
        np.testing.assert_array_equal(Metrics()(LOGITS[0, :3], y)[..., column], signal(LOGITS[0, :3], y))
    np.testing.assert_array_equal(Metrics()(LOGITS[0, :3], y)[..., 0], -LogProbability()(LOGITS[0, :3], y))
