import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks import attack
from locard.errors import AccessDenied, SettingsError
from locard.observe.references import References
from locard.observe.target import Target
from locard.types import Access

READ = {
    "probability": lambda trace: np.mean(np.exp(-trace)),
    "loss": lambda trace: -np.mean(trace),
    "final": lambda trace: -trace[-1],
    "range": lambda trace: np.quantile(trace, 0.75) - np.quantile(trace, 0.25),
}


@pytest.mark.parametrize("statistic", READ)
def test_it_equals_the_loop(world, slow, shape, statistic):
    w = world(**shape)
    s, read, traces = slow(w), READ[statistic], w.traces()["training"]
    loop = s.scores(lambda r, q: read(traces[0, r]) - np.mean([read(traces[k, r]) for k in s.sides(r)[1]]))
    np.testing.assert_allclose(w.score(attack("loss_trace", statistic=statistic)), loop, rtol=1e-9, atol=1e-12)


def leaking(delta, *, models=32, records=10_001, seed=3):
    """Losses N(difficulty, 1) at the last of 4 epochs for non-members, lower by delta for members; noise before."""
    rng = np.random.default_rng(seed)
    first = rng.random((models // 2, records)) < 0.5
    member = np.stack([first, ~first], axis=1).reshape(models, records)
    trace = 4 * rng.normal(size=records)[None, :, None] + rng.normal(size=(models, records, 4)) + 20
    trace[:, :, -1] -= delta * member
    logits = np.zeros((models, records, 2))
    target = Target.from_arrays(logits=logits[0], traces={"training": trace[0]}, access=Access.TRAINING)
    references = References.from_arrays(logits=logits[2:], member=member[2:], traces={"training": trace[2:]})
    return target, references, member[0]


def people(count):
    from locard.data.records import Records

    return Records(ids=range(count), features=np.zeros((count, 1)), labels=np.arange(count) % 2)


def test_a_known_drop_is_found_as_much_as_theory_says(auc, bound):
    """The mean of 15 OUT references adds 1/15 to the variance. Planted and seen to fail: nothing taken away."""
    target, references, truth = leaking(1.2)
    scores = attack("loss_trace", statistic="final").score(target, people(10_001), references)
    theory = norm.cdf(1.2 / np.sqrt(2 * (1 + 1 / 15)))
    assert auc(scores, truth) == pytest.approx(theory, abs=bound(10_001))


def test_the_range_of_the_paper_alone_is_no_membership_attack(auc):
    """A loss that rises by as much as members' falls: the range names both alike, the others tell them apart."""
    rng = np.random.default_rng(5)
    member = np.stack([m := rng.random(2000) < 0.5, ~m] * 3)
    steps = np.linspace(0, 1, 9)
    trace = 5 + np.where(member, -1, 1)[:, :, None] * steps + 0.1 * rng.normal(size=(6, 2000, 9))
    target = Target.from_arrays(logits=np.zeros((2000, 2)), traces={"training": trace[0]}, access=Access.TRAINING)
    references = References.from_arrays(
        logits=np.zeros((4, 2000, 2)), member=member[2:], traces={"training": trace[2:]}
    )
    records = people(2000)
    with_out = ~member[2:].all(axis=0) & member[2:].any(axis=0)
    assert with_out.all()
    score = {
        s: attack("loss_trace", statistic=s).score(target, records, references)
        for s in ("probability", "loss", "range")
    }
    assert abs(auc(score["range"], member[0]) - 0.5) < 5 * np.sqrt(1 / 6000)
    assert auc(score["loss"], member[0]) > 0.99
    assert auc(score["probability"], member[0]) > 0.9


def test_it_is_the_owners_and_says_so(world):
    w = world()
    with pytest.raises(AccessDenied, match="LossTrace needs the training loop, but this target gives logits"):
        w.score(attack("loss_trace"), access=Access.LOGITS)
    bare = Target.from_arrays(logits=w.logits[0], labels=w.y, access=Access.TRAINING)
    with pytest.raises(AccessDenied, match="needs losses after every epoch of training, but the target came without"):
        attack("loss_trace").score(bare, w.records, w.references())
    references = References.from_arrays(logits=w.logits[2:], member=w.member[2:])
    with pytest.raises(AccessDenied, match="but the references came without"):
        attack("loss_trace").score(w.target(access=Access.TRAINING), w.records, references)


def test_quantiles_in_the_wrong_order_are_refused():
    with pytest.raises(SettingsError, match=r"loss_trace.low: a quantile below high = 0.25 is needed, found 0.75"):
        attack("loss_trace", low=0.75, high=0.25)


def test_a_plan_that_keeps_no_losses_is_told_what_to_do():
    missing = attack("loss_trace").needs.missing(inside=5, outside=5, population=0)
    assert missing == (
        "needs losses after every epoch of training, which cannot be had here: Only models that are trained here epoch "
        "by epoch (recipe 'torch') have them"
    )
    assert attack("loss_trace").needs.missing(inside=0, outside=1, population=0, traces={"training": ""}) is None
    assert attack("loss_trace").needs.words == "OUT; losses after every epoch of training"
