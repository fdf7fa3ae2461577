"""GMIA, direct: scores and columns as loops, alignment by id, what is refused, and claims that keep their rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

from locard.attacks import attack
from locard.attacks.gmia import GMIA
from locard.data.records import Records
from locard.errors import AccessDenied, DataError, NotEnoughReferences, SettingsError
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import Population, ReferencePool, References
from locard.observe.target import Target
from locard.stats import benjamini_hochberg, benjamini_yekutieli, p_calibrated
from locard.types import Access

COLUMNS = ("p_rank", "p_tail", "p_raw", "p_cal", "p_adjusted")


def claim(w, made=None, **words):
    """GMIA's claims on model 0 of a world."""
    return (made or GMIA()).claim(
        w.target(), w.records, w.references(), population=w.population(), rng=np.random.default_rng(1), **words
    )


def answers(w, s, record):
    """Mean scaled logit and mean loss over queries: of the target, and of each OUT reference."""

    def of(model):
        phi = np.mean([s.phi(model, record, q) for q in s.queries])
        return float(phi), float(np.mean([-np.log(s.own(model, record, q)) for q in s.queries]))

    return of(0), [of(k) for k in s.sides(record)[1]]


def pooled(w, s):
    """Pooled variance of the OUT answers around each record's own mean."""
    squares, free = 0.0, 0
    for r in range(len(w.y)):
        seen = [phi for phi, _ in answers(w, s, r)[1]]
        squares += sum((x - np.mean(seen)) ** 2 for x in seen)
        free += len(seen) - 1
    return squares / free


def smooth_loop(loss, others):
    heights = {0.0: 0.0} | {x: i / len(others) for i, x in enumerate(sorted(others), 1)}
    x = sorted(heights)
    return float(np.clip(PchipInterpolator(x, [heights[v] for v in x])(np.clip(loss, 0, x[-1])), 0, 1))


def test_the_score_equals_the_loop(shape, world, slow):
    """-log of Student's tail, k - 1 degrees, scale s sqrt(1 + 1/k), s at least a thousandth of the pooled one."""
    w = world(**shape)
    s = slow(w)
    least = 1e-3 * math.sqrt(pooled(w, s))
    loop = []
    for r in range(len(w.y)):
        (phi, _), seen = answers(w, s, r)
        x, k = [a for a, _ in seen], len(seen)
        z = (phi - np.mean(x)) / (max(np.std(x, ddof=1), least) * math.sqrt(1 + 1 / k))
        loop.append(-student_t.logsf(z, k - 1))
    np.testing.assert_allclose(w.score(GMIA()), loop, rtol=1e-6, atol=1e-9)


def test_the_columns_equal_the_loop(shape, world, slow):
    """One record at a time: rank, Student's tail, scipy's interpolator with the tail model, all adjusted together."""
    w = world(**(shape | {"population": 0}))
    s, found = slow(w), claim(w)
    assert list(found.ids) == list(w.records.ids)
    for r in range(len(w.y)):
        (phi, loss), seen = answers(w, s, r)
        k = len(seen)
        x, losses = [a for a, _ in seen], [b for _, b in seen]
        assert found.p_rank[r] == (1 + sum(a >= phi - 1e-12 for a in x)) / (k + 1)
        still = np.ptp(x) < 1e-9
        z = 0.0 if still else (phi - np.mean(x)) / (np.std(x, ddof=1) * math.sqrt(1 + 1 / k))
        tail = found.p_rank[r] if still else student_t.sf(z, k - 1)
        assert found.p_tail[r] == pytest.approx(tail, rel=1e-6)
        smooth = smooth_loop(loss, losses)
        expected = smooth if smooth >= 1 / (k + 1) else min(tail, 1 / (k + 1))
        assert found.p_raw[r] == pytest.approx(expected, rel=1e-4, abs=1e-9)
        assert found.references[r] == k
    np.testing.assert_allclose(found.p_adjusted, benjamini_yekutieli(found.p_rank))
    assert np.isnan(found.p_cal).all()
    assert found.calibration == 0


def test_the_tail_column_is_the_score(world):
    w = world(records=60, models=20, seed=2)
    z = np.where(np.arange(60) % 2 == 1)[0]  # answers that are not on a grid
    np.testing.assert_allclose(claim(w).p_tail[z], np.exp(-w.score(GMIA()))[z], rtol=1e-9)


def test_a_golden():
    """OUT answers 0, 1, 2, 3, target 5: p_rank .2, p_tail .0468796, and the score is its logarithm."""
    phi = np.add.outer([0.0, 1.0, 2.0, 3.0], [0.0, 10.0])
    logits = np.stack([np.zeros_like(phi), phi], axis=-1)
    logits[:, 0] = logits[:, 0, ::-1]
    records = Records(ids=["a", "b"], features=np.zeros((2, 1)), labels=[0, 1])
    target = Target.from_arrays(logits=[[5.0, 0.0], [0.0, 15.0]])
    references = References.from_arrays(logits=logits, member=np.zeros((4, 2), dtype=bool), labels=[0, 1])
    found = GMIA().claim(target, records, references)
    np.testing.assert_allclose(found.p_tail, 0.0468796, atol=5e-8)
    assert found.p_rank.tolist() == [0.2, 0.2]
    np.testing.assert_allclose(GMIA().score(target, records, references), -np.log(found.p_tail))


def test_calibration_is_on_the_population_or_on_known_non_members(world):
    """Score against score: population records that the screen selected, the target's own OUT records, or both."""
    w = world(records=50, models=14, population=30, seed=3)
    outside = np.zeros_like(w.member)
    w = type(w)(w.records, w.logits, outside, w.population_logits, w.population_y)
    selected, alike = np.arange(50) % 3 > 0, np.arange(30) % 2 > 0
    score = w.score(GMIA())
    people = w.population()
    least = (np.arange(30) < 30) & alike
    held = GMIA().score(
        people.target, Records(ids=range(30), features=np.zeros((30, 1)), labels=people.y), (people.references)
    )[least]
    found = claim(w, selected=selected, population_selected=alike)
    moving = ~np.isclose(w.logits.std(axis=0).sum(axis=(-1, -2)), 0)
    close = moving[selected]
    np.testing.assert_allclose(found.p_cal[selected][close], p_calibrated(score[selected], held)[close], atol=1 / 14)
    assert found.calibration == alike.sum()
    np.testing.assert_allclose(found.p_adjusted[selected], benjamini_hochberg(found.p_cal[selected]))
    assert np.isnan(found.p_cal[~selected]).all()
    owner = claim(w, selected=selected, non_member=~w.truth)
    among = selected & ~w.truth
    assert owner.calibration == among.sum()
    np.testing.assert_array_equal(owner.p_cal[selected], p_calibrated(score[selected], [], among[selected]))
    both = claim(w, selected=selected, population_selected=alike, non_member=~w.truth)
    assert both.calibration == among.sum() + alike.sum()


def test_dropped_records_move_no_p_value_to_another_record(world):
    """Records taken out before the attack, and records with too few references in it: each id keeps its own numbers.

    Planted and seen to fail: columns of the tested records written back in order without their places.
    """
    w = world(records=40, models=16, population=0, seed=4)
    whole = claim(w)
    kept = np.flatnonzero(np.arange(40) % 7 != 2)
    part = type(w)(w.records.select(kept), w.logits[:, kept], w.member[:, kept], w.population_logits, w.population_y)
    fewer = claim(part)
    for name in ("p_rank", "p_raw", "p_tail"):
        by_id = dict(zip(whole.ids, getattr(whole, name), strict=True))
        assert getattr(fewer, name).tolist() == [by_id[i] for i in fewer.ids]
    member = w.member.copy()
    failed = np.isin(np.arange(40), [0, 11, 39])
    member[2:, failed] = True
    member[2, 11] = False  # one OUT reference: still too few
    short = claim(type(w)(w.records, w.logits, member, w.population_logits, w.population_y))
    assert (~short.tested == failed).all()
    assert short.references[[0, 11]].tolist() == [0, 1]
    for name in ("p_rank", "p_raw", "p_tail"):
        np.testing.assert_array_equal(getattr(short, name)[~failed], getattr(whole, name)[~failed])
        assert np.isnan(getattr(short, name)[failed]).all()
    assert not short.claimed[failed].any()


def test_three_references_ties_and_one_class(world):
    w = world(records=30, models=8, classes=2, seed=5, population=0)
    assert set(claim(w).p_rank) <= {0.25, 0.5, 0.75, 1.0}
    assert (claim(w).p_raw > 0).all()
    flat = type(w)(w.records, np.full_like(w.logits, 3.0), w.member, w.population_logits, w.population_y)
    told = claim(flat)  # everybody says the same: nothing can be said
    for name in ("p_rank", "p_tail", "p_raw"):
        assert (getattr(told, name) == 1.0).all()
    assert not told.claimed.any()
    alone = np.flatnonzero(w.y == 1)
    one = type(w)(w.records.select(alone), w.logits[:, alone], w.member[:, alone], w.population_logits, w.population_y)
    np.testing.assert_array_equal(claim(one).p_rank, claim(w).p_rank[alone])


def with_features(w, features):
    return type(w)(
        Records(ids=w.records.ids, features=features, labels=w.y),
        w.logits,
        w.member,
        w.population_logits,
        w.population_y,
    )


def test_a_tested_record_in_the_reference_pool_is_refused_with_its_id(world):
    """Found by its row, whatever its id there; a record that is not tested, or has another label, may be there."""
    rng = np.random.default_rng(6)
    features = rng.normal(size=(20, 3))
    w = with_features(world(records=20, seed=6), features)
    pool = np.concatenate([rng.normal(size=(30, 3)), features[[4]], features[[9]]])
    labels = np.concatenate([rng.integers(3, size=30), w.y[[4]], (w.y[[9]] + 1) % 3])
    people = Records(ids=[f"pool-{i}" for i in range(32)], features=pool.astype(np.float32), labels=labels)
    identity = w.records.ids[4]
    with pytest.raises(DataError, match=rf"1 of 20 are \(record '{identity}' is row 30, id 'pool-30', of the pool"):
        claim(w, pool=people)
    selected = np.arange(20) != 4
    assert claim(w, pool=people, selected=selected, population_selected=np.ones(9, dtype=bool)).tested.sum() == 19
    with pytest.raises(DataError, match="rows of one shape"):
        claim(w, pool=Records(ids=[1, 2], features=np.zeros((2, 2)), labels=[0, 1]))


def test_what_is_refused(world):
    w = world(seed=7)
    with pytest.raises(SettingsError, match="population_selected: calibration records must pass the same screen"):
        claim(w, selected=np.ones(20, dtype=bool))
    assert claim(w, selected=np.ones(20, dtype=bool), non_member=~w.truth).calibration == (~w.truth).sum()
    with pytest.raises(SettingsError, match="rng: calibration on a population draws"):
        GMIA().claim(w.target(), w.records, w.references(), population=w.population())
    for name, count in (("selected", 20), ("non_member", 20), ("population_selected", 9)):
        with pytest.raises(DataError, match=rf"{name}: True or False for each of {count} records is needed"):
            claim(w, **{name: np.zeros(3, dtype=bool)})
        with pytest.raises(DataError, match=f"{name}: True or False"):
            claim(w, **{name: np.zeros(count)})
    with pytest.raises(AccessDenied, match="GMIA needs class probabilities"):
        GMIA().claim(w.target(access=Access.LABELS), w.records, w.references())
    alone = w.references().only([2, 3])
    with pytest.raises(NotEnoughReferences, match="none of 20 selected records has them"):
        GMIA().claim(w.target(), w.records, alone)
    two = References.from_arrays(logits=w.logits[2:4], member=w.member[2:4] & False, labels=w.y)
    with pytest.raises(DataError, match="the answers of the same 2 reference models are needed, found those of 6"):
        GMIA().claim(w.target(), w.records, two, population=w.population())
    with pytest.raises(SettingsError, match=r"gmia\.fdr: a number above 0 and of at most 0\.5 is needed, found 0\.9"):
        attack("gmia", fdr=0.9)


def test_the_promises_name_what_stands_behind_them(world):
    w = world(records=40, models=12, population=30, seed=8)
    told = claim(w).promises
    assert set(told) == {*COLUMNS, "claimed", "abstained"}
    assert "Never below 1/6." in told["p_rank"]
    assert "30 calibration records" in told["p_cal"]
    assert "never below 1/31" in told["p_cal"]
    assert "screen" not in told["p_cal"]
    assert "Benjamini and Hochberg" in told["p_adjusted"]
    assert "At least 13 must be claimed together" in told["p_adjusted"]
    assert 'never means "non-member"' in told["abstained"]
    without = GMIA(fdr=0.05).claim(w.target(), w.records, w.references()).promises
    assert without["p_cal"].startswith("Not available")
    assert "Benjamini and Yekutieli on p_rank" in without["p_adjusted"]
    assert "at most 5%" in without["claimed"]
    owner = claim(w, non_member=~w.truth).promises
    assert "count the false claims" in owner["p_adjusted"]


# -- statistics --------------------------------------------------------------------------------------------------------


def test_ranks_of_non_members_are_uniform_whoever_else_leaks(shifted):
    """Section 10, number 7: leave-one-pair-out, 10,000 OUT records, k = 15: chi-square flake 1e-3.

    Planted and seen to fail: references that hold the record counted as well.
    """
    w = shifted(2.0, models=32, records=20_001, spread=3.0)
    p = claim(w).p_rank[1:][~w.truth[1:]]
    counts = np.bincount(np.rint(p * 16).astype(int) - 1, minlength=16)
    expected = len(p) / 16
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 15) > 1e-3


def test_tail_p_values_of_non_members_have_their_rates_and_members_the_power_of_theory(shifted):
    """Normal answers, k = 30: P(p_tail <= u) = u on OUT records; members, 3 sd up, are found as a t test does."""
    w = shifted(3.0, models=62, records=20_001, spread=3.0)
    p, truth = claim(w).p_tail[1:], w.truth[1:]
    for level in (0.1, 0.01, 0.001):
        sd = math.sqrt(level * (1 - level) / (~truth).sum())
        assert (p[~truth] <= level).mean() == pytest.approx(level, abs=4 * sd)
    from scipy.stats import nct

    power = nct.sf(student_t.isf(0.01, 29), 29, 3.0 / math.sqrt(1 + 1 / 30))
    assert (p[truth] <= 0.01).mean() == pytest.approx(power, abs=5 * math.sqrt(power * (1 - power) / truth.sum()))


def test_a_known_shift_is_found_as_much_as_theory_says(shifted, auc, bound):
    """AUC of z with k = 40: Phi(delta / sqrt(2 (1 + 1/k))) less what estimating the spread costs (under .02)."""
    w = shifted(1.5, models=82, records=6_001, spread=5.0)
    found = auc(w.score(GMIA())[1:], w.truth[1:])
    theory = norm.cdf(1.5 / math.sqrt(2 * (1 + 1 / 40)))
    assert theory - 0.02 - bound(6_000) < found < theory + bound(6_000)


def null_world(shifted, rng, *, records, population, models, members=0, shift=0.0):
    """References that hold nobody (out_only), a target that holds the first ``members`` records, and a population."""
    w = shifted(0.0, models=models + 2, records=records + population, spread=2.0, seed=int(rng.integers(2**31)))
    logits = w.logits[: models + 1].copy()
    logits[0, 1 : members + 1, 0, 1] += shift
    here, there = slice(0, records), slice(records, None)
    people = Observations(ArrayReader(logits[:, there]), w.y[there])
    nobody = np.zeros((models + 1, population), dtype=bool)
    other = Population(
        w.y[there], Target(people, 0), References(ReferencePool(people, nobody), np.arange(1, models + 1))
    )
    own = Observations(ArrayReader(logits[:, here]), w.y[here])
    pool = ReferencePool(own, np.zeros((models + 1, records), dtype=bool))
    return Target(own, 0), w.records.select(np.arange(records)), References(pool, np.arange(1, models + 1)), other


def false_and_true_claims(shifted, runs, *, members, seed, calibration=800):
    """Any false claim, false share and power of each run: 61 candidates, 20 references."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(runs):
        target, records, references, other = null_world(
            shifted, rng, records=61, population=calibration, models=20, members=members, shift=6.0
        )
        claimed = GMIA().claim(target, records, references, population=other).claimed
        false = claimed[1 + members :].sum() + claimed[0]
        out.append((false > 0, false / max(1, claimed.sum()), claimed[1 : members + 1].mean() if members else 0.0))
    return np.array(out, dtype=float)


def test_a_null_target_is_claimed_at_no_more_than_the_stated_rate(shifted):
    """200 independent null targets at FDR .1: P(any claim) <= .1 + 4 se; with 15 members the FDR too, and power.

    Planted and seen to fail: calibrated p-values without the "+1" (.38 with 100 calibration records).
    """
    allowed = 0.1 + 4 * math.sqrt(0.1 * 0.9 / 200)
    for calibration in (100, 800):
        null = false_and_true_claims(shifted, 200, members=0, seed=1, calibration=calibration)
        assert null[:, 0].mean() <= allowed
    mixed = false_and_true_claims(shifted, 100, members=15, seed=2)
    assert mixed[:, 1].mean() <= 0.1 + 4 * math.sqrt(0.1 * 0.9 / 100)
    assert mixed[:, 2].mean() > 0.9


def test_the_population_is_scored_like_the_records_of_a_pairs_plan(shifted):
    """References hold half of the records: 3 of 6 stand behind each. 10,000 OUT records, 8,000 calibrating, and answers
    with an exponential tail, whose tail scores depend on the number of references: hits within their 99.99 % range.

    Planted and seen to fail: the population scored against all 6, whose scores follow another law.
    """
    from locard.stats import hits_range

    w = shifted(0.0, models=8, records=20_001, spread=0.0, seed=9)
    rng = np.random.default_rng(9)
    phi = rng.exponential(size=(8, 28_001))
    logits = np.stack([np.zeros_like(phi), phi], axis=-1)[:, :, None, :].astype(np.float32)
    w = type(w)(w.records, logits[:, :20_001], w.member, logits[:, 20_001:], np.ones(8_000, dtype=np.int64))
    found = claim(w)
    p = found.p_cal[1:][~w.truth[1:]]
    for level in (0.1, 0.01, 0.002):
        low, high = hits_range(p.size, 8_000, level, coverage=0.9999)
        assert low <= (p <= level).sum() <= high


@pytest.mark.statistics
def test_a_null_target_is_claimed_at_no_more_than_the_stated_rate_in_2000_audits(shifted):
    allowed = 0.1 + 4 * math.sqrt(0.1 * 0.9 / 2_000)
    assert false_and_true_claims(shifted, 2_000, members=0, seed=3)[:, 0].mean() <= allowed
    assert false_and_true_claims(shifted, 1_000, members=10, seed=4)[:, 1].mean() <= 0.1 + 4 * math.sqrt(0.09 / 1_000)
