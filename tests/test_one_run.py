"""One-run audits end to end: the bound in every output, its truth on mechanisms of known epsilon, what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

import locard
from locard.data.records import Records
from locard.errors import NotEnoughReferences, SettingsError
from locard.pipeline import audit_saved
from locard.report.html import report_html
from locard.report.model_card import model_card
from locard.report.text import summary_text
from locard.result import AuditResult
from locard.settings import make_settings
from locard.stats import epsilon_lower_bound, epsilon_of_gdp, epsilon_on_grid, gdp_on_grid

COINS = {"plan": "coin_flips"}
TREE = DecisionTreeClassifier(max_depth=8)


def run(records, recipe=TREE, *, attacks=("loss",), seed=1, models=1, **sections) -> AuditResult:
    quick = {"compute": {"workers": 1}, "controls": {"redraws": 0, "blind": False}}
    return locard.audit(
        records, recipe, models=models, attacks=attacks, seed=seed, **({"references": COINS} | quick | sections)
    )


def tells(features, labels, *, seed, epsilon=2.0, sigma=0.0):
    """Training whose epsilon is known: of any record asked about it says whether it was in, through noise.

    Randomised response at ``epsilon``, or Gaussian noise of ``sigma`` on the membership (0 or 1): 1/sigma-GDP.
    """
    known = {row.tobytes() for row in np.asarray(features, dtype=np.float32)}
    keep = 1 / (1 + math.exp(-epsilon))

    def predict(asked):
        rng = np.random.default_rng(seed)
        inside = np.array([row.tobytes() in known for row in np.asarray(asked, dtype=np.float32)])
        if sigma:
            p = 1 / (1 + np.exp(-(inside - 0.5 + sigma * rng.normal(size=len(inside)))))
        else:
            p = np.where(rng.random(len(inside)) < keep, inside, ~inside) * 0.5 + 0.25
        right = np.asarray(asked)[:, 0] > 0.5  # the label, so that the probability is that of the right class
        return np.where(right[:, None], np.column_stack([1 - p, p]), np.column_stack([p, 1 - p]))

    return predict


def labelled(n: int) -> Records:
    """Records that carry their label as their first feature, so that the loss is the mechanism's output."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(0).normal(size=(n, 2))
    return Records(ids=range(n), features=np.column_stack([labels, noise]).astype(np.float32), labels=labels)


def loss_of(result: AuditResult) -> tuple[np.ndarray, np.ndarray]:
    return result.scores["loss"][0], result.scores["member"][0]


def test_the_bound_is_that_of_the_headlines_scores(records):
    r = run(records(200), attacks=["loss", "entropy"], measure={"confidence": 0.9})
    part = r.summary.one_run
    scores, member = loss_of(r)
    seed = locard.pipeline.Seed(1).child("one run")
    expected = epsilon_lower_bound(scores, member, rng=seed.generator(), confidence=0.9)
    assert part.epsilon.value == expected.value > 0
    assert (part.attack, part.delta, part.mechanism, part.mu) == ("loss", 0.0, "any", None)
    assert (part.coins, part.members, part.references) == (member.size, member.sum(), 0)
    assert part.epsilon.confidence == 0.9
    with_delta = run(records(200), measure={"confidence": 0.9}, one_run={"delta": 1e-5})
    grid = epsilon_on_grid(scores, member, rng=seed.generator(), delta=1e-5, confidence=0.9)
    assert with_delta.summary.one_run.epsilon.value == grid.value
    gaussian = run(records(200), one_run={"delta": 1e-5, "mechanism": "gaussian"})
    mu = gdp_on_grid(scores, member, rng=seed.generator())
    assert gaussian.summary.one_run.mu.value == mu.value
    assert gaussian.summary.one_run.epsilon.value == epsilon_of_gdp(mu, delta=1e-5).value
    assert any("Gaussian mechanism" in a for a in gaussian.summary.one_run.assumes)


def test_every_output_says_it_and_what_it_assumes(records, tmp_path):
    r = run(records(200), one_run={"claimed": 0.01}, canaries={"kind": "mislabelled", "count": 60}, out=tmp_path)
    part, shown = r.summary.one_run, f"{math.floor(100 * r.summary.one_run.epsilon.value) / 100:.2f}"
    assert part.refuted
    assert r.summary.verdict.startswith(f"From one training run: epsilon is at least {shown} (delta 0), with 95 % conf")
    assert "claimed epsilon 0.01 is refuted" in r.summary.verdict
    assert "named as exposed" not in r.summary.verdict
    page, terminal = report_html(r), " ".join(summary_text(r).split())
    for words in (*part.assumes, r.summary.canaries.words):
        assert words in terminal
        assert words in page
    assert shown in page
    assert "What one training run says" in page
    assert f"epsilon is at least {shown} at delta 0" in model_card(r)
    assert "60 canaries" in report_html(r, redact=True)
    assert json.loads((tmp_path / "result.json").read_text())["one_run"]["coins"] == 60
    assert AuditResult.load(tmp_path).summary == r.summary


def test_a_bound_of_zero_refutes_nothing_and_says_so(records):
    """A model that says the same of every record: all scores of a class are tied."""
    r = run(records(120), DecisionTreeClassifier(max_depth=1, min_samples_leaf=40), one_run={"claimed": 3.0})
    part = r.summary.one_run
    assert part.epsilon.value == 0
    assert part.refuted is False
    assert "no epsilon is refuted" in r.summary.verdict
    assert "not refuted, which does not make it true" in r.summary.verdict


KNOWN = [({}, 0.0), ({"delta": 1e-5, "mechanism": "gaussian"}, 1.0)]


def _known(section, sigma, runs: int, allowed: int) -> None:
    truth = 2.0 if not sigma else epsilon_of_gdp(1.0, delta=1e-5).value
    data = labelled(200)
    found = []
    for seed in range(runs):
        target = {"params": {"epsilon": 2.0, "sigma": sigma}}
        r = run(data, tells, seed=seed, one_run=section, target=target, data={"population": 0, "pool": 200})
        found.append(r.summary.one_run.epsilon.value)
    assert sum(f > truth for f in found) <= allowed
    assert np.mean(found) > (0.8 if not sigma else epsilon_of_gdp(0.2, delta=1e-5).value)


@pytest.mark.parametrize(("section", "sigma"), KNOWN)
def test_mechanisms_of_known_epsilon_through_the_whole_pipeline(section, sigma):
    """10 one-run audits each of randomised response at epsilon 2 and of a 1-GDP mechanism, 200 coins.

    At most 4 false: flakes 1e-4 if false in exactly 5 %. The mean bound must show power. Planted bug: the bound from
    the stored membership inverted for half of the records (a wrong mask) finds nothing and fails on the mean.
    """
    _known(section, sigma, 10, 4)


@pytest.mark.statistics
@pytest.mark.parametrize(("section", "sigma"), KNOWN)
def test_mechanisms_of_known_epsilon_long(section, sigma):
    """The same over 300 audits: at most 28 false flakes 1e-3 at exactly 5 %; power .91 against .12."""
    _known(section, sigma, 300, 28)


def test_units_are_the_coins(records):
    r = run(records(120, rows=3), data={"population": 0, "pool": 120})
    assert r.summary.one_run.coins == r.summary.data.units == 40
    assert any("unit" in a and "move together" in a for a in r.summary.one_run.assumes)


def test_more_models_of_coin_flips_are_references_of_the_first(records):
    """The bound is still of the first model: the others never saw its coins."""
    r = run(records(100), attacks=["lira"], models=24, measure={"fprs": [0.1]})
    assert r.summary.one_run.references == 23
    assert r.summary.one_run.attack == "lira"
    pairs = run(records(100), models=4, references={"plan": "pairs"}, measure={"fprs": [0.1]})
    assert pairs.summary.one_run is None


def test_without_named_attacks_one_model_gets_those_that_need_no_references(records):
    assert make_settings({"data": {"source": "digits"}}).attack[0].name == "lira"
    r = run(records(100), attacks=None)
    assert [a.label for a in r.summary.attacks] == ["loss", "mentr(thresholds=none)", "confidence", "entropy"]
    assert not r.summary.not_run


def test_what_makes_no_sense_is_refused_before_training(records):
    with pytest.raises(NotEnoughReferences, match="headline attack lira needs 1 reference model"):
        run(records(100), attacks=["lira"])
    with pytest.raises(SettingsError, match=r"one_run: memberships of one model.*found references.plan = 'pairs'"):
        run(records(100), models=4, references={"plan": "pairs"}, one_run={"delta": 1e-5})
    with pytest.raises(SettingsError, match="one_run: a delta above 0 is needed"):
        run(records(100), one_run={"mechanism": "gaussian"})
    with pytest.raises(SettingsError, match="canaries: models that hold all other records"):
        run(records(100), models=4, references={"plan": "out_only"}, canaries={"count": 30})
    with pytest.raises(SettingsError, match=r"canaries.count: at most"):
        run(records(100), canaries={"count": 90})
    with pytest.raises(SettingsError, match=r"canaries.count: a number of at least 20"):
        run(records(100), canaries={"count": 3})
    given = DecisionTreeClassifier().fit(records(100).features, records(100).y), records(100).ids[:50]
    with pytest.raises(SettingsError, match="released: records as the released model saw them"):
        run(records(100), canaries={"kind": "mislabelled", "count": 20}, released=given)
    saved = {"member": np.eye(2, 40, dtype=bool) | (np.arange(40) % 2 == 0), "labels": np.arange(40) % 2}
    with pytest.raises(SettingsError, match="one_run: models that this audit trains are needed"):
        audit_saved(**saved, logits=np.zeros((2, 40, 2)), settings={"one_run": {}})


@pytest.mark.parametrize("kind", ["natural", "mislabelled", "out_of_distribution", "blank", "duplicated"])
def test_canaries_in_an_ordinary_audit_of_pairs(records, kind):
    data = records(160, features=30, classes=3)
    r = run(data, models=8, references={"plan": "pairs"}, canaries={"kind": kind, "count": 30}, measure={"fprs": [0.1]})
    part = r.summary.canaries
    assert (part.kind, part.count, part.fixed, part.copies) == (kind, 30, 98, 2 if kind == "duplicated" else 1)
    assert r.summary.data.n == 30 == len(r.records)
    assert r.summary.target.train_records.value == 98 + 15 * part.copies
    assert part.words in r.summary.data.notes
    assert r.summary.one_run is None
    assert "Canaries" in summary_text(r)
