"""What learned attackers share: each reference model teaches one attack model from its own members and non-members.

Scores are means over references of calibrated log-odds, so that

- what a reference teaches is learnt once for all targets, and never from the target or its partner
- every reference counts the same, and how many of them hold a record does not show
- classes are comparable: each class's attack model is calibrated on rows that it was not fitted on

Rows are put in an order of their own before they are cut or fitted: the order of records leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float64, Int64

from locard.attacks.stacked import Layers, descend, gradients_of, layers_logit
from locard.errors import SettingsError
from locard.observe.references import References
from locard.observe.signals import Signal
from locard.seeds import Seed
from locard.types import Scores

LEAST = 12  # rows of members and of non-members that a group needs for an attack model of its own
LEAST_TOGETHER = 4  # the same for an attack model for all groups: fewer teach nothing
MOST = 400  # rows of each side of a class; more cost time and found no more on six sets of real models
MOST_TOGETHER = 2000  # the same, where all classes are one group
HELD_BACK = 3  # every third row calibrates
NEWTON = 25
RATE, DECAY = 0.02, 0.05  # of AdamW
LARGEST = 30.0  # log-odds of one reference's attack model: none of them decides alone


class Decision(Protocol):
    """Log-odds of membership of rows of one group, not calibrated."""

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """``float64[rows]`` from standardised ``float64[rows, features]``."""
        ...


@dataclass(frozen=True)
class Lesson:
    """One reference's rows: ``x: float64[rows, features]``, who was a member, and the group (class) of each row."""

    x: Float64[np.ndarray, "rows features"]
    inside: Bool[np.ndarray, "rows"]
    group: Int64[np.ndarray, "rows"]

    def ordered(self) -> Lesson:
        """The same rows in an order that depends on their values alone."""
        order = np.lexsort((self.inside, self.group, *self.x.T[::-1]))
        return Lesson(self.x[order], self.inside[order], self.group[order])


@dataclass(frozen=True, eq=False)
class AttackModel:
    """A calibrated attack model a group, and one for groups that have none of their own.

    ``slope`` and ``shift`` are ``float64[groups + 1]``, the last for all groups together; a slope of 0 says nothing.
    """

    decision: Decision
    middle: np.ndarray
    spread: np.ndarray
    own: Bool[np.ndarray, "groups"]
    slope: np.ndarray
    shift: np.ndarray

    def __call__(self, x: np.ndarray, group: np.ndarray) -> Float64[np.ndarray, "rows"]:
        """Calibrated log-odds of membership under even odds."""
        out = np.zeros(len(x))
        everyone = len(self.own)
        shown = (x - self.middle) / self.spread
        used = np.where(self.own[group], group, everyone) if everyone else np.zeros(len(x), dtype=np.int64)
        for g in np.unique(used):
            rows = used == g
            if self.slope[g] > 0:
                out[rows] = self.slope[g] * self.decision(shown[rows], int(g)) + self.shift[g]
        return np.clip(out, -LARGEST, LARGEST, out=out)


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], Decision]


def mean_log_odds(
    references: References,
    key: Hashable,
    teaches: Callable[[int], AttackModel],
    answers: Float64[np.ndarray, "records features"],
    group: Int64[np.ndarray, "records"],
) -> Scores:
    """What the attack models of all references say of the target's answers, on average.

    Args:
        references: who teaches.
        key: names the attack with all its settings.
        teaches: the attack model of one reference (its position in the view).
        answers: of the target.
        group: of each record.
    """
    total = np.zeros(len(answers))
    for k in references:
        model = references.memo(key, k, lambda k=k: teaches(k), uses_membership=True)  # type: ignore[misc]
        total += model(answers, group)
    return total / max(1, len(references))


def rows_of(references: References, k: int, signal: Signal, y: Int64[np.ndarray, "records"]) -> Lesson:
    """What reference ``k`` says of the records that it may be used for, and which of them it was trained on.

    ``y`` are their classes, or zeros where nobody looks at them.
    """
    inside = references.inside_of(k)
    usable = inside | references.outside_of(k)
    x = signal(references.logits_of(k), y).mean(axis=1)
    return Lesson(x[usable], inside[usable], y[usable])


def teach(lesson: Lesson, groups: int, fit: Fit) -> AttackModel:
    """Fit and calibrate one reference's attack models.

    Args:
        lesson: its rows.
        groups: how many groups there are; 0 for one attack model for all rows.
        fit: makes the decision from ``x [groups + 1, rows, features]``, ``inside [groups + 1, rows]`` and
            ``weight [groups + 1, rows]``; members and non-members of a group weigh one half each.
    """
    known = lesson.ordered()
    middle = known.x.mean(axis=0) if len(known.x) else np.zeros(known.x.shape[1])
    spread = known.x.std(axis=0) if len(known.x) else np.ones(known.x.shape[1])
    spread = np.where(spread > 1e-9, spread, 1.0)
    x = (known.x - middle) / spread
    most = MOST if groups else MOST_TOGETHER
    chosen = [_cut(known.inside, known.group == g, most) for g in range(groups)]
    chosen.append(_cut(known.inside, np.ones(len(x), dtype=np.bool_), most))
    own = np.array([min(c.members, c.others) >= LEAST for c in chosen[:-1]], dtype=np.bool_)
    together = min(chosen[-1].members, chosen[-1].others) >= LEAST_TOGETHER and bool((x.std(axis=0) > 0).any())
    enough = [*(own & together), together]
    slope, shift = np.zeros(groups + 1), np.zeros(groups + 1)
    fitted = [c.fitted if e else c.fitted[:0] for c, e in zip(chosen, enough, strict=True)]
    decision = fit(*_stacked(x, known.inside, fitted))
    for g in np.flatnonzero(enough):
        held = chosen[g].held
        slope[g], shift[g] = _calibrated(decision(x[held], int(g)), known.inside[held])
    return AttackModel(decision, middle, spread, own, slope, shift)


@dataclass(frozen=True)
class _Cut:
    """Rows of a group that are fitted, rows that calibrate, and how many there are of each side."""

    fitted: np.ndarray
    held: np.ndarray
    members: int
    others: int


def _cut(inside: np.ndarray, group: np.ndarray, most: int) -> _Cut:
    fitted, held, counts = [], [], []
    for side in (True, False):
        rows = np.flatnonzero(group & (inside == side))
        counts.append(len(rows))
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
        back = np.arange(len(rows)) % HELD_BACK == HELD_BACK - 1
        fitted.append(rows[~back])
        held.append(rows[back])
    return _Cut(np.concatenate(fitted), np.concatenate(held), counts[0], counts[1])


def _stacked(x: np.ndarray, inside: np.ndarray, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups side by side, filled up with rows that weigh nothing."""
    longest = max((len(r) for r in rows), default=0)
    shown = np.zeros((len(rows), longest, x.shape[1]))
    member, weight = np.zeros((len(rows), longest)), np.zeros((len(rows), longest))
    for g, chosen in enumerate(rows):
        size = len(chosen)
        if not size:
            continue
        shown[g, :size], member[g, :size] = x[chosen], inside[chosen]
        share = np.where(inside[chosen], inside[chosen].sum(), (~inside[chosen]).sum())
        weight[g, :size] = 0.5 / share
    return shown, member, weight


def _calibrated(value: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Slope and shift that make ``value`` log-odds under even odds (Platt 1999, with his targets short of 0 and 1).

    (0, 0) where higher values do not go with membership: then nothing was learnt.
    """
    members, others = int(inside.sum()), int((~inside).sum())
    if not members or not others or value.std() < 1e-12:
        return 0.0, 0.0
    scale = value.std()
    v = value / scale
    wanted = np.where(inside, (members + 1) / (members + 2), 1 / (others + 2))
    weight = np.where(inside, 0.5 / members, 0.5 / others)
    slope, shift = 1.0, -float(weight @ v)
    for _ in range(NEWTON):
        p = 1 / (1 + np.exp(-np.clip(slope * v + shift, -500, 500)))
        error, curve = weight * (p - wanted), weight * np.maximum(p * (1 - p), 1e-6)
        a, b, c = curve @ (v * v) + 1e-6, curve @ v, curve.sum()
        first, second = error @ v, error.sum()
        change = np.array([c * first - b * second, a * second - b * first]) / (a * c - b * b)
        slope, shift = slope - float(np.clip(change[0], -1, 1)), shift - float(np.clip(change[1], -1, 1))
        if np.abs(change).max() < 1e-10:
            break
    return (slope / scale, shift) if slope > 0 else (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Networks:
    """One hidden layer a group, side by side."""

    layers: Layers

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """Log-odds of membership from ``float64[rows, features]``."""
        return layers_logit([(w[group], b[group]) for w, b in self.layers], x)


def network(hidden: int, steps: int, seed: Seed) -> Fit:
    """The attack model of Shokri et al.: one hidden layer of ReLU units, the same first weights for every group.

    All rows are one batch, so that their order leaves no trace but rounding.
    """

    def fit(x: np.ndarray, inside: np.ndarray, weight: np.ndarray) -> Networks:
        rng, (groups, rows, features) = seed.generator(), x.shape
        inward = rng.normal(size=(features + 1, hidden))[:-1] * np.sqrt(2.0 / (features + 1))
        outward = rng.normal(size=(hidden, 1)) / np.sqrt(hidden)
        layers = [(np.tile(w, (groups, 1, 1)), np.zeros((groups, 1, w.shape[1]))) for w in (inward, outward)]
        descend(
            [part for layer in layers for part in layer],
            lambda _: gradients_of(layers, x, inside, weight),
            [np.arange(rows)] * steps,
            rate=RATE,
            decay=DECAY,
            steady=True,
        )
        return Networks(layers)

    return fit


def classifier(made: Any) -> Fit:
    """Clones of a scikit-learn classifier, one fitted for each group; its log-odds are cut at plus and minus 10.

    Members and non-members weigh the same where it takes ``sample_weight``, else each group keeps as many of one as
    of the other.
    """
    from sklearn.base import clone
    from sklearn.utils.validation import has_fit_parameter

    def fit(x: np.ndarray, inside: np.ndarray, weight: np.ndarray) -> Decision:
        fitted: list[Any] = []
        for rows, member, w in zip(x, inside, weight, strict=True):
            used = np.flatnonzero(w > 0)
            if not len(used) or len(np.unique(member[used])) < 2:
                fitted.append(None)
                continue
            if has_fit_parameter(made, "sample_weight"):
                fitted.append(clone(made).fit(rows[used], member[used] > 0, sample_weight=w[used] * len(used)))
                continue
            even = _even(member[used] > 0)
            fitted.append(clone(made).fit(rows[used][even], member[used][even] > 0))
        return _Fitted(tuple(fitted))

    return fit


@dataclass(frozen=True, eq=False)
class _Fitted:
    models: tuple[Any, ...]

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        model = self.models[group]
        if model is None or not len(x):
            return np.zeros(len(x))
        p = model.predict_proba(x)[:, 1].astype(np.float64)
        small = np.exp(-10.0)
        out: np.ndarray = np.log(np.clip(p, small, 1)) - np.log(np.clip(1 - p, small, 1))
        return out


def _even(inside: np.ndarray) -> np.ndarray:
    """Places of as many members as non-members, spread evenly."""
    sides = [np.flatnonzero(inside == s) for s in (True, False)]
    size = min(map(len, sides))
    return np.concatenate([s[np.linspace(0, len(s) - 1, size).round().astype(np.int64)] for s in sides])


def build_classifier(path: str, seed: Seed) -> Any:
    """The scikit-learn classifier that an import path names, on its defaults, seeded.

    Raises:
        SettingsError: there is none, or it gives no probabilities.
    """
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        made = getattr(import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as wrong:
        raise SettingsError(
            f"classifier: 'network' or the import path of a scikit-learn classifier is needed, found {path!r} "
            f"({wrong}). Write, for example, 'sklearn.ensemble.RandomForestClassifier'."
        ) from wrong
    if not (hasattr(made, "fit") and hasattr(made, "predict_proba")):
        raise SettingsError(
            f"classifier: predict_proba is needed, but {path} has none. Choose another, for example "
            f"'sklearn.linear_model.LogisticRegression'."
        )
    if "random_state" in made.get_params():
        made.set_params(random_state=seed.integer())
    return made
