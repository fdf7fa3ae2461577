"""What every attack of the registry promises. A new attack is held to it by its line in ``ATTACKS`` alone."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

from locard.attacks import ATTACKS, attack, attack_names, list_attacks, source_of
from locard.attacks.protocol import Attack, Needs, signals_of
from locard.data.records import Records
from locard.errors import AccessDenied, DataError, NotEnoughReferences, QueryBudgetSpent
from locard.observe.kept import Kept
from locard.observe.references import References
from locard.observe.target import Target
from locard.train.store import Store
from locard.types import Access

VARIANTS = [
    ("mentr", {"thresholds": "none"}),
    ("risk_score", {"bins": 3}),
    ("lira", {"variance": "pooled"}),
    ("lira", {"variance": "record"}),
    ("lira", {"offline": True}),
    ("lira", {"variance": "pooled", "offline": True}),
    ("lira", {"variance": "record", "offline": True}),
    ("rmia", {"offline": True}),
    ("rmia", {"pairwise": True, "gamma": 1.0}),
    ("rmia", {"pairwise": True, "offline": True, "temperature": 2.0}),
    ("base", {"offline": True, "temperature": 2.0}),
    ("attack_r", {"smoothing": "gaussian"}),
    ("calibrated", {"attack": "confidence", "references": "both"}),
    ("calibrated", {"attack": "gap"}),
    ("sablayrolles", {"attack": "entropy"}),
    ("shadow", {"classifier": "sklearn.linear_model.LogisticRegression"}),
    ("ml_leaks_3", {"statistic": "entropy"}),
    ("ml_leaks_3", {"statistic": "spread"}),
    ("truex", {"attack_model": "knn", "label": True}),
    ("truex", {"attack_model": "logistic"}),
    ("truex", {"attack_model": "naive_bayes"}),
    ("quantile", {"head": "pinball"}),
    ("ensemble", {"how": "union"}),
    ("ensemble", {"how": "majority"}),
    ("ensemble", {"how": "intersection", "attacks": ("gap", "entropy")}),
]
ATTACKERS = {repr(a): a for a in [*(attack(n) for n in attack_names()), *(attack(n, **s) for n, s in VARIANTS)]}
every_attack = pytest.mark.parametrize("made", ATTACKERS.values(), ids=ATTACKERS.keys())


def test_the_registry_builds_attacks():
    for made in ATTACKERS.values():
        assert isinstance(made, Attack)
    assert len(set(map(repr, ATTACKERS.values()))) == len(ATTACKERS)


@every_attack
def test_scores_are_finite_numbers_one_a_record(made, world):
    for shape in ({}, {"queries": 3}, {"records": 21}, {"classes": 2, "records": 7}, {"records": 4, "models": 6}):
        w = world(**shape, seed=3)
        scores = w.score(made)
        assert scores.dtype == np.float64
        assert scores.shape == (len(w.records),)
        assert np.isfinite(scores).all()


@every_attack
def test_the_order_of_records_does_not_matter(made, world):
    w = world(records=23, queries=2, seed=5)
    order = np.random.default_rng(0).permutation(23)
    shuffled = type(w)(
        w.records.select(order), w.logits[:, order], w.member[:, order], w.population_logits, w.population_y
    )
    np.testing.assert_allclose(shuffled.score(made), w.score(made)[order], rtol=1e-9, atol=1e-12)


READING = {name: made for name, made in ATTACKERS.items() if signals_of(made) is not None}


@pytest.mark.parametrize("made", READING.values(), ids=READING.keys())
@pytest.mark.parametrize("queries", [1, 2])
def test_what_an_attack_says_it_reads_is_all_it_reads(made, queries, world, tmp_path):
    """The same bytes where nothing but those signals was stored. Planted: LiRA that says it reads the margin alone."""
    w = world(records=23, queries=queries, seed=7)
    store, kept = Store(tmp_path), Kept.of(signals_of(made), None, w.logits.shape[-1])
    keys = [kept.key(str(m)) for m in range(len(w.logits))]
    labels = {"logits": w.y, "population": w.population_y}
    for key, own, others in zip(keys, w.logits, w.population_logits, strict=True):
        store.write(key, kept({"logits": own, "population": others}, labels))
    if signals_of(made):
        assert replace(w, stored=(store, keys)).score(made).tobytes() == w.score(made).tobytes()


@every_attack
def test_the_same_input_gives_the_same_bytes_and_is_left_alone(made, world):
    w = world(seed=6)  # its arrays are read-only
    before = w.logits.copy(), w.member.copy()
    assert w.score(made).tobytes() == w.score(made).tobytes()
    assert (w.logits == before[0]).all()
    assert (w.member == before[1]).all()


@every_attack
def test_references_are_interchangeable(made, world):
    """To 1e-12, for pairs in another order and for the two models of a pair swapped."""
    w = world(models=12, records=40, queries=2, seed=7)
    scores = w.score(made)
    for order in ([0, 1, 6, 7, 2, 3, 10, 11, 4, 5, 8, 9], [0, 1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]):
        other = type(w)(w.records, w.logits[order], w.member[order], w.population_logits[order], w.population_y)
        np.testing.assert_allclose(other.score(made), scores, rtol=1e-12, atol=1e-12)


@every_attack
def test_the_target_and_its_partner_are_not_among_the_references(made, world, sight):
    """A pool that holds them gives the scores of one that never did: planted bug, a sum that keeps the partner."""
    w = world(models=10, records=30, seed=8)
    alone = References.from_arrays(
        logits=w.logits[2:], member=w.member[2:], labels=w.y, traces=w.traces(slice(2, None))
    )
    scores = made.score(w.target(access=sight(made)), w.records, alone, population=w.population())
    np.testing.assert_allclose(w.score(made), scores, rtol=1e-9, atol=1e-11)


@every_attack
def test_access_is_respected(made, world):
    w = world(seed=9)
    assert np.isfinite(w.score(made, access=made.access)).all()
    if made.access is not Access.LABELS:
        with pytest.raises(AccessDenied, match=f"needs {made.access.words}, but this target gives predicted labels"):
            w.score(made, access=Access.LABELS)


@every_attack
def test_the_budget_is_respected(made, world, sight):
    """The training loop is no answer: nobody asks anything there."""
    w = world(queries=2, seed=9)
    enough = w.target(budget=40, access=sight(made))
    made.score(enough, w.records, w.references(), population=w.population())
    if made.access is Access.TRAINING:
        assert enough.queries == 0
        return
    assert enough.queries == 40  # each record's two queries, read once or often
    with pytest.raises(QueryBudgetSpent, match="only 39 of 39 are left"):
        made.score(w.target(budget=39), w.records, w.references(), population=w.population())


@every_attack
def test_repr_is_the_constructor(made):
    modules = [importlib.import_module(f"locard.attacks.{path.partition(':')[0]}") for path in ATTACKS.values()]
    names = {k: v for m in modules for k, v in vars(m).items() if isinstance(v, type)}
    names |= {type(made).__name__: type(made)}
    assert eval(repr(made), names) == made
    assert hash(made) == hash(eval(repr(made), names))


@every_attack
def test_the_docstring_says_what_comes_back_and_names_its_source(made):
    assert "arXiv:" in source_of(type(made))
    assert "score" in (type(made).__doc__ or "").lower()


@every_attack
def test_declarations_hang_together(made):
    assert made.variance_factor in (1.0, 1.5, 2.5)
    if made.needs.inside == made.needs.outside == 0:
        assert made.variance_factor == 1.0
    if made.needs.outside and not made.needs.inside:
        assert made.variance_factor == 1.5
    assert isinstance(made.discrete, bool)


@every_attack
def test_too_few_references_are_refused_with_four_facts(made, world):
    w = world(models=6, records=5, seed=10)
    member = w.member.copy()
    member[2:, 3] = [True, True, True, False]  # record 3: three IN, one OUT
    member[2:, 4] = False
    short = type(w)(w.records, w.logits, member, w.population_logits, w.population_y)
    if made.needs.inside:
        identity = w.records.ids[4]
        with pytest.raises(NotEnoughReferences, match=rf"trained with each record, but \d+ of 5 .*'{identity}' has 0"):
            short.score(made)
    member[2:, 3] = True
    short = type(w)(w.records, w.logits, member, w.population_logits, w.population_y)
    if made.needs.outside and not made.needs.inside:
        identity = w.records.ids[3]
        with pytest.raises(NotEnoughReferences, match=rf"trained without each record.*'{identity}' has 0\)\. Train"):
            short.score(made)
    if made.needs == Needs():
        assert np.isfinite(short.score(made)).all()


@every_attack
def test_a_missing_population_is_said(made, world):
    w = world(population=0, seed=10)
    if made.needs.population:
        with pytest.raises(NotEnoughReferences, match=r"population records \(in no model\), found 0"):
            w.score(made)
    else:
        assert np.isfinite(w.score(made)).all()


@every_attack
def test_four_models_are_enough_or_refused(made, world):
    w = world(models=4, records=30, seed=12)
    if made.needs.missing(inside=1, outside=1, population=9, traces=dict.fromkeys(made.needs.traces, "")) is None:
        assert np.isfinite(w.score(made)).all()
    else:
        with pytest.raises(NotEnoughReferences, match="needs 2 reference models"):
            w.score(made)


@every_attack
def test_outputs_without_labels_take_those_of_the_records(made, world, sight):
    w = world(seed=13)
    labels = np.array(["a", "b", "c"], dtype=object)[w.y]
    records = Records(ids=w.records.ids, features=w.records.features, labels=labels)
    target = Target.from_arrays(logits=w.logits[0], traces=w.traces(0), access=sight(made))
    references = References.from_arrays(logits=w.logits[2:], member=w.member[2:], traces=w.traces(slice(2, None)))
    scores = made.score(target, records, references, population=w.population())
    np.testing.assert_allclose(scores, w.score(made), rtol=1e-9, atol=1e-11)
    assert target.queries == (0 if made.access is Access.TRAINING else 20)  # counted on the target that was given
    other = Records(ids=range(19), features=np.zeros((19, 1)), labels=w.y[:19])
    with pytest.raises(DataError, match="20 are needed"):
        made.score(target, other, references, population=w.population())


@every_attack
def test_one_logit_models_are_binary_models(made, world, sight):
    w = world(classes=2, records=15, population=0, seed=14)
    if made.needs.population:
        return
    single = (w.logits[..., 1] - w.logits[..., 0])[..., None]
    traces = w.traces(slice(2, None))
    references = References.from_arrays(logits=single[2:], member=w.member[2:], labels=w.y, traces=traces)
    target = Target.from_arrays(logits=single[0], labels=w.y, traces=w.traces(0), access=sight(made))
    difference = np.abs(made.score(target, w.records, references) - w.score(made))  # single is rounded to float32
    if "knn" not in repr(made):  # there rounding decides between neighbours that tie
        assert difference.max() < 2e-5


@every_attack
def test_a_class_that_a_reference_never_saw(made, world, sight):
    """Its column is probability zero, floored; and all of the class's records are OUT of that reference."""
    w = world(models=8, records=24, seed=15)
    p = np.exp(w.logits.astype(np.float64))
    p[4, ..., 2] = 0.0
    p /= p.sum(axis=-1, keepdims=True)
    member = w.member.copy()
    member[4, w.y == 2] = False
    member[5] = ~member[4]
    traces = w.traces(slice(2, None))
    references = References.from_arrays(probabilities=p[2:], member=member[2:], labels=w.y, traces=traces)
    target = Target.from_arrays(probabilities=p[0], labels=w.y, traces=w.traces(0), access=sight(made))
    assert np.isfinite(made.score(target, w.records, references, population=w.population())).all()


@every_attack
def test_saturated_and_silent_models_give_finite_scores(made, world):
    w = world(seed=16)
    for logits in (
        w.logits * np.float32(1e30),
        w.logits * np.float32(1e4),
        w.logits * np.float32(0),
        np.full_like(w.logits, -7.5),
    ):
        other = type(w)(w.records, logits, w.member, logits[:, :9], w.y[:9])
        assert np.isfinite(other.score(made)).all()


@every_attack
def test_an_overfitted_toy_is_found_and_swapped_labels_give_the_rest(made, world, auc):
    """Sign and power: members' true logit is three noise units up; PEERS line 3."""
    w = world(records=600, models=16, leak=5.0, population=300, seed=17)
    scores = w.score(made)
    found = auc(scores, w.truth)
    coarse = made.discrete or "gap" in repr(made) or "entropy" in repr(made).lower()
    assert found > (0.6 if coarse else 0.7)
    assert auc(scores, ~w.truth) == pytest.approx(1 - found, abs=1e-12)
    assert auc(-scores, w.truth) == pytest.approx(1 - found, abs=1e-12)


@every_attack
def test_nothing_is_found_on_noise(made, world, auc):
    """One null target, 4 standard errors: flake 6e-5 an attack. ``test_null.py`` is the sharp version."""
    w = world(records=2000, models=8, population=200, seed=18)
    assert abs(auc(w.score(made), w.truth) - 0.5) < 4 * np.sqrt(1 / (12 * 500))


def test_list_attacks_is_the_table():
    table = list_attacks()
    assert table["name"].tolist() == attack_names() == list(ATTACKS)
    assert table.columns.tolist() == ["name", "access", "references", "queries", "source"]
    assert (table["source"].str.len() > 20).all()
    assert table.set_index("name").loc["rmia", "references"] == "IN and OUT (offline: OUT)"
    assert table.set_index("name").loc["attack_p", "references"] == "none; population"
    assert table.set_index("name").loc["gap", "access"] == "predicted labels only"
