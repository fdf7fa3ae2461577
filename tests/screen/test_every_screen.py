"""What every screen promises, over the registry."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from locard.errors import SettingsError
from locard.observe.references import References
from locard.screen import SCREENS, _made_by, list_screens, screen, screen_names
from locard.screen.evidence import Evidence, Observed
from locard.screen.protocol import Screen, Top
from locard.screen.screened import run_screen

WORLDS = {"own pool": {"records": 80, "models": 8}, "another pool": {"records": 60, "pool": 120, "models": 8}}


def with_traces(e):
    size = (len(e.candidates.references), len(e.candidates.records), 5)
    return replace(e, traces=np.random.default_rng(1).gamma(2.0, size=size).astype(np.float32))


@pytest.fixture(params=list(WORLDS))
def seen(request, evidence):
    if request.param == "another pool" and request.node.callspec.params.get("name") == "memorisation":
        pytest.skip("no reference holds a candidate: refused, see test_losses.py")
    return with_traces(evidence(**WORLDS[request.param]))


def made(name, e):
    side = {"side": "out"} if name == "loss_trace" and e.pool is not None else {}
    return screen(name, **side)


def run(name, e, **more):
    return run_screen(made(name, e), e, rng=np.random.default_rng(7), select=Top(5), **more)


def reordered(e, places, pool_places):
    """The same evidence, its records in another order."""

    def of(o, i):
        if o is None:
            return None
        z = np.stack([o.references.logits_of(k) for k in o.references])[:, i]
        refs = References.from_arrays(logits=z, member=o.references.member[:, i], pairs=o.references.pairs)
        return Observed(o.records.select(i), refs, o.raw[i])

    traces = np.stack([e.traces.read(k) for k in range(e.traces.shape[0])])[:, places]
    return Evidence(
        candidates=of(e.candidates, places), pool=of(e.pool, pool_places), training_size=e.training_size, traces=traces
    )


@pytest.mark.parametrize("name", SCREENS)
def test_it_is_a_screen_with_a_source(name):
    cls = _made_by(name)
    assert isinstance(cls(), Screen)
    assert cls.__dataclass_params__.frozen
    assert "Source:" in inspect.getdoc(cls)
    space = {cls.__name__: cls}
    assert eval(repr(screen(name)), space) == screen(name)


@pytest.mark.parametrize("name", SCREENS)
def test_it_gives_one_number_a_candidate_and_a_reason_for_each_selected(name, seen):
    found = run(name, seen)
    n = len(seen.candidates.records)
    assert found.value.shape == found.rank.shape == found.selected.shape == (n,)
    assert found.value.dtype == np.float64
    assert np.isfinite(found.value).all()
    assert found.selected.sum() == len(found.reasons) == len(found.nearest_ids) == 5
    assert all(found.reasons)
    assert "{" not in "".join(found.reasons)
    assert set(found.selected_ids) == set(found.ids[found.selected])
    assert found.value[found.selected].min() >= found.value[~found.selected].max()
    assert len(found.to_frame().columns) == 7 + len(found.columns)  # no column hides another


@pytest.mark.parametrize("name", SCREENS)
def test_the_order_of_the_records_changes_nothing(name, seen):
    rng = np.random.default_rng(3)
    n, pool = len(seen.candidates.records), 0 if seen.pool is None else len(seen.pool.records)
    places = rng.permutation(n)
    one, two = run(name, seen), run(name, reordered(seen, places, rng.permutation(pool)))
    np.testing.assert_allclose(two.value, one.value[places], rtol=1e-7, atol=1e-9)
    assert two.selected_ids.tolist() == one.selected_ids.tolist()
    reasons = dict(zip(one.ids[one.selected], zip(one.nearest_ids, one.reasons, strict=True), strict=True))
    for name_, near, why in zip(two.ids[two.selected], two.nearest_ids, two.reasons, strict=True):
        assert reasons[name_] == (near, why)


@pytest.mark.parametrize("name", SCREENS)
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(name, seen):
    one, two = run(name, seen), run(name, replace(seen, workers=2))
    assert one.value.tobytes() == two.value.tobytes()
    assert one.nearest.distance.tobytes() == two.nearest.distance.tobytes()


@pytest.mark.parametrize("name", SCREENS)
def test_inputs_are_not_changed(name, seen):
    """The worlds are made of arrays that raise when somebody writes into them."""
    raw = seen.candidates.raw.copy()
    run(name, seen)
    np.testing.assert_array_equal(raw, seen.candidates.raw)


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_has_no_target_to_ask(name):
    """Its one method takes evidence, which holds screening references and nothing else."""
    assert list(inspect.signature(_made_by(name).value).parameters) == ["self", "evidence", "rng"]
    fields = set(inspect.signature(Evidence).parameters) | set(inspect.signature(Observed).parameters)
    assert fields == {"candidates", "pool", "training_size", "traces", "workers", "records", "references", "raw"}


def test_unknown_names_and_settings_name_the_nearest():
    with pytest.raises(SettingsError, match=r"screen: unknown name 'neighbors'\. Nearest: neighbours"):
        screen("neighbors")
    with pytest.raises(SettingsError, match=r"screen neighbours: unknown setting 'deta'\. Nearest: delta, beta|delta"):
        screen("neighbours", deta=0.1)
    with pytest.raises(SettingsError, match=r"screen random: unknown setting 'delta'\. It takes none"):
        screen("random", delta=0.1)


def test_the_table_of_screens():
    table = list_screens()
    assert table["name"].tolist() == screen_names()
    assert table["source"].str.len().min() > 10
    assert table.set_index("name").loc["reference_spread", "references"] == 2
