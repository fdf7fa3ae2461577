"""Mean loss, spread of the loss, loss traces and the control: their definitions as loops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from locard.errors import AccessDenied, DataError, NotEnoughReferences, SettingsError
from locard.observe.signals import Probability
from locard.observe.traces import TraceArray
from locard.screen import screen
from locard.screen.evidence import Evidence

SHAPES = [
    {"records": 12},
    {"records": 7, "pool": 9, "queries": 2},
    {"records": 9, "classes": 2, "models": 8, "seed": 3},
    {"records": 1, "pool": 1},
]


def losses(seen, record, query):
    """-log softmax of the true class, under references that do not hold the record."""
    out = []
    for k in seen.references:
        if not seen.references.member[k, record]:
            z = seen.references.logits_of(k)[record, query].astype(np.float64)
            out.append(-np.log(np.exp(z - z.max())[seen.records.y[record]] / np.exp(z - z.max()).sum()))
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mean_loss_is_the_loop(evidence, shape):
    seen = evidence(**shape).candidates
    queries = range(seen.references.queries)
    loop = [np.mean([np.mean(losses(seen, i, q)) for q in queries]) for i in range(len(seen.records))]
    np.testing.assert_allclose(screen("reference_loss").value(evidence(**shape)).value, loop, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_spread_is_the_loop(evidence, shape):
    e = evidence(**shape)
    seen, queries = e.candidates, range(e.candidates.references.queries)
    loop = [np.sqrt(np.mean([np.var(losses(seen, i, q), ddof=1) for q in queries])) for i in range(len(seen.records))]
    np.testing.assert_allclose(screen("reference_spread").value(e).value, loop, rtol=1e-7, atol=1e-12)


def test_a_record_that_every_reference_holds_is_named(evidence, observed):
    e = evidence(records=5, models=4)
    member = e.candidates.references.member
    member[:, 3] = [True, True, True, False]
    z = np.stack([e.candidates.references.logits_of(k) for k in e.candidates.references])
    few = Evidence(candidates=observed(z, e.candidates.records.y.copy(), member), training_size=3)
    assert np.isfinite(screen("reference_loss").value(few).value).all()
    with pytest.raises(NotEnoughReferences, match=r"2 .* without each record .* 1 of 5 records .*record 'c3' has 1"):
        screen("reference_spread").value(few)
    member = member.copy()
    member[:, 3] = True
    none = Evidence(candidates=observed(z, e.candidates.records.y.copy(), member), training_size=3)
    with pytest.raises(NotEnoughReferences, match=r"record 'c3' has 0"):
        screen("reference_loss").value(none)


# -- traces ------------------------------------------------------------------------------------------------------------


def traced(evidence, *, epochs=7, **shape):
    e = evidence(**shape)
    size = (len(e.candidates.references), len(e.candidates.records), epochs)
    losses = np.random.default_rng(5).gamma(2.0, size=size).astype(np.float32)
    losses.flags.writeable = False
    return replace(e, traces=losses), losses


@pytest.mark.parametrize("side", ["in", "out", "both"])
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_the_range_of_traces_is_the_loop(evidence, side, epochs):
    e, traces = traced(evidence, epochs=epochs, records=9, models=6)
    member = e.candidates.references.member
    wanted = {"in": member, "out": ~member, "both": np.ones_like(member)}[side]
    loop = []
    for i in range(9):
        widths = []
        for k in range(6):
            if wanted[k, i]:
                s = np.sort(traces[k, i].astype(float))
                at = [np.interp(q * (epochs - 1), np.arange(epochs), s) for q in (0.25, 0.75)]
                widths.append(at[1] - at[0])
        loop.append(np.mean(widths))
    np.testing.assert_allclose(screen("loss_trace", side=side).value(e).value, loop, rtol=1e-9, atol=1e-12)


def test_one_model_that_holds_everything_gives_the_papers_value(evidence, observed):
    e = evidence(records=6, models=1, pool=4)
    z = np.stack([e.candidates.references.logits_of(0)])
    seen = observed(z, e.candidates.records.y.copy(), np.ones((1, 6), dtype=bool))
    trace = np.linspace(3, 0, 101) ** 2 * np.arange(1, 7)[:, None]
    e = Evidence(candidates=seen, training_size=6, traces=trace[None].astype(np.float32))
    np.testing.assert_allclose(
        screen("loss_trace").value(e).value, [np.subtract(*np.quantile(t, [0.75, 0.25])) for t in trace], rtol=1e-6
    )


@dataclass(frozen=True)
class OnDisk:
    """A reader: traces that are read one model at a time."""

    losses: np.ndarray
    asked: list

    @property
    def shape(self):
        return self.losses.shape

    def read(self, model):
        self.asked.append(model)
        return self.losses[model]


def test_traces_may_come_from_a_reader(evidence):
    e, losses = traced(evidence, records=9)
    reader = OnDisk(losses, [])
    value = screen("loss_trace").value(replace(e, traces=reader)).value
    np.testing.assert_array_equal(value, screen("loss_trace").value(e).value)
    assert reader.asked == list(range(6))


def test_traces_that_cannot_be_used(evidence):
    e, losses = traced(evidence, records=9)
    with pytest.raises(AccessDenied, match="losses from the training loop"):
        screen("loss_trace").value(replace(e, traces=None))
    with pytest.raises(DataError, match=r"losses \[6 models, 9 records, epochs\] are needed, found shape \(6, 8, 7\)"):
        replace(e, traces=losses[:, :8])
    with pytest.raises(DataError, match=r"numbers \[models, records, epochs\] are needed, found float32 \(6, 9\)"):
        replace(e, traces=losses[:, :, 0])
    broken = losses.copy()
    broken[2, 4, 1] = np.nan
    with pytest.raises(DataError, match="found NaN \\(model 2, record 'c4'\\)"):
        screen("loss_trace").value(replace(e, traces=TraceArray(broken)))
    outside, _ = traced(evidence, records=5, pool=9)
    with pytest.raises(NotEnoughReferences, match=r"side 'in' .* 5 records have none \(record 'c0'\)"):
        screen("loss_trace").value(outside)
    assert screen("loss_trace", side="out").value(outside).value.shape == (5,)


# -- the control -------------------------------------------------------------------------------------------------------


def test_random_needs_a_generator_and_does_not_know_the_order(evidence):
    e = evidence(records=30, pool=5)
    with pytest.raises(SettingsError, match="rng= is needed"):
        screen("random").value(e)
    value = screen("random").value(e, rng=np.random.default_rng(1)).value
    assert len(np.unique(value)) == 30
    assert (value != screen("random").value(e, rng=np.random.default_rng(2)).value).any()


def test_memorisation_is_the_difference_of_two_means(evidence):
    e = evidence(records=15, models=8, seed=4, leak=2.0)
    refs = e.candidates.references
    p = refs.observe(Probability()).mean(axis=-1)
    loop = [p[refs.member[:, r], r].mean() - p[~refs.member[:, r], r].mean() for r in range(15)]
    np.testing.assert_allclose(screen("memorisation").value(e).value, loop, rtol=1e-9, atol=1e-12)


def test_memorisation_needs_references_that_hold_the_candidates(evidence):
    e = evidence(records=15, pool=30, models=8, seed=4)
    with pytest.raises(NotEnoughReferences, match=r"trained with each record is needed, but 15 of 15 .*have none"):
        screen("memorisation").value(e)
