"""How far the target's answer lies above what it says of non-members that look like the record; no reference model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from locard.attacks.fields import Limits, check_fields
from locard.attacks.protocol import Needs, checked, over_queries
from locard.data.records import Records
from locard.errors import NotEnoughReferences, SettingsError
from locard.observe.references import Population, References
from locard.observe.signals import Margin, Signal
from locard.observe.target import Target
from locard.seeds import Seed
from locard.train.on_demand import neural_part
from locard.types import Access, Scores

LEVELS = 1 - np.logspace(0, -3, 13)[1:]  # quantiles of the pinball head: .44 to .999
ROUNDS = 60  # of boosting
WIDEST = 200  # features that boosting is shown: of more, those that go most with the margin of the records learnt from
LEAST_SPREAD = 0.1  # of the mean one: a regressor that promises less is not believed


@dataclass(frozen=True, kw_only=True)
class QuantileRegression:
    """Quantile regression: what margin does this model give a non-member that looks like this record?

    A regressor learns, on the population (records in no model), the distribution of the target's margin given a
    record's features and class. No reference model is trained.

    - ``"gaussian"``: mean and spread are learnt; the score is the target's margin in spreads above the mean
    - ``"pinball"``: twelve quantiles from .44 to .999 are learnt, each shifted so that on held-back population records
      it is exceeded as often as it should; the score is minus the logarithm of the smallest false positive rate at
      which the record is claimed
    - ``"network"``: the gaussian head on a small convolutional network, for pictures (needs torch)

    ``p_values`` has what the score alone does not promise: a stated false positive rate.

    Args:
        head: one of these; ``"auto"`` takes ``"network"`` for pictures and ``"gaussian"`` for others.
        seed: of regressor and split.

    Source: Bertran, Tang, Kearns, Morgenstern, Roth, Wu 2023 (NeurIPS, arXiv:2307.03694).

    Departs: gradient boosting of scikit-learn instead of CatBoost, on its defaults with 60 rounds instead of searched
    settings; a small network instead of a pretrained ConvNeXt; the class is a feature; of more than 200 features
    boosting is shown those most correlated with the margin of the records that it learns from. The spread is learnt
    from absolute residuals of records that the mean was not learnt from. Queries are averaged.
    """

    head: Literal["auto", "gaussian", "pinball", "network"] = "auto"
    seed: Annotated[int, Limits(least=0)] = 0

    access: ClassVar[Access] = Access.PROBABILITIES
    discrete: ClassVar[bool] = False
    variance_factor: ClassVar[float] = 1.0
    needs: ClassVar[Needs] = Needs(population=8)
    reads: ClassVar[tuple[Signal, ...]] = (Margin(),)

    def __post_init__(self) -> None:
        check_fields(self)

    @checked
    def score(
        self,
        target: Target,
        records: Records,
        references: References,
        *,
        population: Population | None = None,
        rng: np.random.Generator | None = None,
    ) -> Scores:
        """``float64[records]``: spreads above the mean, or nats of the smallest false positive rate."""
        known = _Known.of(population)
        judge = self._judge(known, records, np.arange(len(known.margin)))
        return judge(records.features, records.y, over_queries(target.observe(Margin())))

    def p_values(self, target: Target, records: Records, population: Population) -> Scores:
        """``float64[records]``: for a record drawn like the population, P(p <= u) is at most u for every u.

        The regressor learns on one half of the population, the other half calibrates it: p is the share of held-back
        records that lie as far up, never below 1 / (held back + 1). The promise is an average over records like the
        population's, not one for each record.

        Raises:
            NotEnoughReferences: the population is too small, or came without features.
        """
        known = _Known.of(population.labelled())
        order = Seed(self.seed).child("quantile", "split").generator().permutation(len(known.margin))
        learn, held = order[: len(order) // 2], order[len(order) // 2 :]
        judge = self._judge(known, records, learn)
        null = np.sort(judge(known.features[held], known.y[held], known.margin[held]))
        own = judge(records.features, records.y, over_queries(target.labelled(records.y).observe(Margin())))
        as_far = len(held) - np.searchsorted(null, own, side="left")
        out: Scores = (1.0 + as_far) / (len(held) + 1.0)
        return out

    def _judge(self, known: _Known, records: Records, learn: np.ndarray) -> _Judge:
        pictures = records.columns is None and records.features.ndim >= 3
        head = ("network" if pictures else "gaussian") if self.head == "auto" else self.head
        seed = Seed(self.seed).child("quantile", head)
        if head == "network" and not pictures:
            raise SettingsError(
                f"quantile: the network is for pictures [records, rows, columns], found records of shape "
                f"{records.features.shape[1:]}. Choose head = 'gaussian'."
            )
        features, y, margin = known.features[learn], known.y[learn], known.margin[learn]
        classes = len(records.classes)
        columns = _columns(features, margin)
        if head == "network":
            networks = neural_part("picture_regressor", "quantile with head = 'network'")
            return _Gaussian(*networks.picture_regressor(features, y, margin, classes, seed))
        if head == "pinball":
            return _Pinball.fitted(_table(features, y, classes, columns), margin, classes, columns, seed)
        shown = _table(features, y, classes, columns)
        mean, spread, usual = _mean_and_spread(shown, margin, seed)

        def both(features: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            own = _table(features, y, classes, columns)
            return mean.predict(own), spread.predict(own)

        return _Gaussian(both, usual)


@dataclass(frozen=True)
class _Known:
    """What the target says of the population."""

    features: np.ndarray
    y: np.ndarray
    margin: Scores

    @classmethod
    def of(cls, population: Population | None) -> _Known:
        if population is None or population.features is None:
            raise NotEnoughReferences(
                "QuantileRegression learns from the features of the population (records in no model), but it came "
                "without them. Give Population(..., features=...)."
            )
        return cls(population.features, population.y, over_queries(population.target.observe(Margin())))


_Judge = Callable[[np.ndarray, np.ndarray, np.ndarray], Scores]  # from features, classes and margins


@dataclass(frozen=True)
class _Gaussian:
    """``both(features, y)`` gives mean and spread of the margin; ``usual`` is the spread over all."""

    both: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    usual: float

    def __call__(self, features: np.ndarray, y: np.ndarray, margin: np.ndarray) -> Scores:
        mean, spread = self.both(features, y)
        out: Scores = (margin - mean) / np.maximum(spread, max(LEAST_SPREAD * self.usual, 1e-12))
        return out


@dataclass(frozen=True)
class _Pinball:
    """Quantile regressors and how far each is shifted."""

    models: tuple[Any, ...]
    shift: np.ndarray
    classes: int
    columns: np.ndarray

    @classmethod
    def fitted(cls, shown: np.ndarray, margin: np.ndarray, classes: int, columns: np.ndarray, seed: Seed) -> _Pinball:
        order = seed.child("held back").generator().permutation(len(margin))
        learn, held = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
        models = tuple(
            _boosted("quantile", seed.child("level", j), quantile=float(level)).fit(shown[learn], margin[learn])
            for j, level in enumerate(LEVELS)
        )
        above = np.sort(margin[held] - np.stack([m.predict(shown[held]) for m in models]), axis=1)
        rank = np.minimum(np.ceil(LEVELS * (len(held) + 1)).astype(np.int64), len(held))
        return cls(models, above[np.arange(len(LEVELS)), rank - 1], classes, columns)

    def __call__(self, features: np.ndarray, y: np.ndarray, margin: np.ndarray) -> Scores:
        shown = _table(features, y, self.classes, self.columns)
        levels = np.stack([m.predict(shown) for m in self.models]) + self.shift[:, None]
        levels = np.maximum.accumulate(levels, axis=0)  # quantiles that cross are put in order
        place = (margin >= levels).sum(axis=0)  # how many levels the record exceeds
        nats = np.concatenate([[0.0], -np.log(1 - LEVELS)])
        low = np.concatenate([np.full((1, len(margin)), -np.inf), levels])[place, np.arange(len(margin))]
        # within a level, by how far: squeezed between this level's nats and the next one's, so that few records tie
        over = (margin - np.where(place > 0, low, levels[0])) / np.maximum(levels[-1] - levels[0], 1e-12)
        step = np.append(np.diff(nats), 1.0)[place]
        out: Scores = nats[place] + step * over / (1 + np.abs(over))
        return out


def _columns(features: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Places of the features that boosting is shown: all, or the ``WIDEST`` most correlated with the margin."""
    flat = features.reshape(len(features), -1)
    if flat.shape[1] <= WIDEST:
        return np.arange(flat.shape[1])
    x = np.nan_to_num(flat.astype(np.float64))
    x -= x.mean(axis=0)
    size = np.sqrt((x**2).sum(axis=0))
    together = np.abs((margin - margin.mean()) @ x) / np.where(size > 0, size, np.inf)
    out: np.ndarray = np.sort(np.argsort(-together, kind="stable")[:WIDEST])
    return out


def _table(features: np.ndarray, y: np.ndarray, classes: int, columns: np.ndarray) -> np.ndarray:
    """``float64[records, columns + classes]``: the class is a feature too."""
    flat = features.reshape(len(features), -1)[:, columns].astype(np.float64)
    return np.concatenate([flat, np.eye(classes)[y]], axis=1)


def _mean_and_spread(shown: np.ndarray, margin: np.ndarray, seed: Seed) -> tuple[Any, Any, float]:
    order = seed.child("halves").generator().permutation(len(margin))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    residual = np.empty(len(margin))
    for learn, held in ((first, second), (second, first)):
        half = _boosted("squared_error", seed.child("half")).fit(shown[learn], margin[learn])
        residual[held] = np.abs(margin[held] - half.predict(shown[held]))
    mean = _boosted("squared_error", seed.child("mean")).fit(shown, margin)
    spread = _boosted("squared_error", seed.child("spread")).fit(shown, residual)
    return mean, spread, float(residual.mean())


def _boosted(loss: str, seed: Seed, **settings: float) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss=loss, max_iter=ROUNDS, early_stopping=False, random_state=seed.integer(), **settings
    )
