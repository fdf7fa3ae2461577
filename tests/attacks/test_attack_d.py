import numpy as np
import pytest
from scipy.stats import norm

from locard.attacks import attack
from locard.data.records import Records
from locard.errors import AccessDenied
from locard.observe.target import Target


def people(count):
    return Records(ids=range(count), features=np.zeros((count, 1)), labels=np.arange(count) % 2, known_classes=[0, 1])


def made(phi, students):
    """A binary target with these scaled logits of the true class, and its students' logits."""
    y = np.arange(len(phi)) % 2
    z = np.stack([np.zeros_like(phi), np.where(y == 1, phi, -phi)], axis=-1)
    return Target.from_arrays(logits=z, labels=y, traces={"students": students})


def score(target, **settings):
    return attack("attack_d", **settings).score(target, people(target.records), None)


def test_gaussian_equals_the_loop():
    rng = np.random.default_rng(0)
    phi, students = rng.normal(size=9), rng.normal(size=(9, 8))
    got = score(made(phi, students))
    for r in range(9):
        z = (np.float32(phi[r]) - students[r].mean()) / students[r].std(ddof=1)
        assert got[r] == pytest.approx(norm.logcdf(z) - norm.logsf(z), rel=1e-6)


def test_linear_is_the_place_among_the_students_losses():
    """Two of three students lose less: F = 2 / 4 and a part of the way to the third."""
    students = np.array([[2.0, 1.0, -1.0]] * 2)
    loss = np.log1p(np.exp(-np.array([0.0, 2.0, 1.0, -1.0])))
    place = 2 + (loss[0] - loss[2]) / (loss[3] - loss[2])
    got = score(made(np.zeros(2), students), smoothing="linear")
    np.testing.assert_allclose(1 / (1 + np.exp(got)), place / 4, rtol=1e-6)


@pytest.mark.parametrize("smoothing", ["gaussian", "linear"])
def test_a_known_shift_is_found_as_much_as_theory_says(auc, bound, smoothing):
    """Students know the difficulty, and 200 of them leave no noise of their own: AUC Phi(1.5 / sqrt 2).

    Against the difficulty alone (``loss``) it would be Phi(1.5 / sqrt(2 (1 + 16))) = .60, 20 bounds away.
    """
    rng = np.random.default_rng(1)
    difficulty, member = 4 * rng.normal(size=10_000), rng.random(10_000) < 0.5
    phi = difficulty + rng.normal(size=10_000) + 1.5 * member
    students = difficulty[:, None] + rng.normal(size=(10_000, 200))
    found = auc(score(made(phi, students), smoothing=smoothing), member)
    assert found == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=bound(10_000) + 0.003)


def test_eight_students_find_no_member_where_the_target_has_not_seen_one(auc):
    """The null by students: they never saw the records, so neither did their spread. 4 standard errors: flake 6e-5."""
    rng = np.random.default_rng(2)
    difficulty, member = rng.normal(size=40_000), rng.random(40_000) < 0.5
    target = made(difficulty + rng.normal(size=40_000), difficulty[:, None] + rng.normal(size=(40_000, 8)))
    assert abs(auc(score(target), member) - 0.5) < 4 * np.sqrt(1 / (3 * 40_000))


def test_without_students_it_says_where_they_come_from():
    bare = Target.from_arrays(logits=np.zeros((4, 2)))
    with pytest.raises(AccessDenied, match="needs several students distilled from every target, but the target came"):
        score(bare)
