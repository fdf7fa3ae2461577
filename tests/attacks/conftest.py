"""Small worlds of models whose leak is known, and a plain AUC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from locard.assess.made_traces import made_traces
from locard.data.records import Records
from locard.observe.kept import stored_observations
from locard.observe.observations import ArrayReader, Observations
from locard.observe.references import Population, ReferencePool, References
from locard.observe.target import Target
from locard.train.store import Store
from locard.types import Access


def seen_by(attack: Any) -> Access:
    """What a target must give for this attack; logits where that is enough."""
    return Access.TRAINING if attack.access is Access.TRAINING else Access.LOGITS


@dataclass(frozen=True)
class World:
    """Model 0 is the target and model 1 its partner; the others are references."""

    records: Records
    logits: np.ndarray  # float32[models, records, queries, classes]
    member: np.ndarray  # bool[models, records]
    population_logits: np.ndarray  # float32[models, population, queries, classes]
    population_y: np.ndarray
    thin_seed: int | None = None
    stored: tuple[Store, list[str]] | None = None  # what is kept of the same models' answers, and their keys

    @property
    def y(self) -> np.ndarray:
        return self.records.y

    @property
    def truth(self) -> np.ndarray:
        return self.member[0]

    @property
    def said(self) -> Observations:
        traces = made_traces(self.logits, self.y)
        if self.stored is not None:
            return stored_observations(*self.stored, "logits", self.y, floor=None, traces=traces)
        return Observations(ArrayReader(self.logits), self.y, traces=traces)

    def traces(self, models: slice | int = slice(None)) -> dict[str, np.ndarray]:
        """The same as arrays, for ``from_arrays``."""
        made = made_traces(self.logits, self.y)
        every = {name: np.stack([t.read(m) for m in range(len(self.member))]) for name, t in made.items()}
        return {name: values[models] for name, values in every.items()}

    def target(self, **settings: Any) -> Target:
        return Target(self.said, 0, **settings)

    def references(self) -> References:
        pool = ReferencePool(self.said, self.member)
        if self.thin_seed is None:
            return References(pool, np.arange(len(self.member))).without([0, 1])
        view = References(pool, np.arange(len(self.member))).without([0])
        return view.thinned(np.random.default_rng(self.thin_seed))

    def population(self) -> Population | None:
        models, count = self.population_logits.shape[:2]
        if not count:
            return None
        observations = Observations(ArrayReader(self.population_logits), self.population_y)
        if self.stored is not None:
            observations = stored_observations(*self.stored, "population", self.population_y, floor=None)
        pool = ReferencePool(observations, np.zeros((models, count), dtype=bool))
        return Population(
            self.population_y,
            Target(observations, 0),
            References(pool, np.arange(models)).without([0, 1]),
            np.zeros((count, *self.records.features.shape[1:])),
        )

    def score(self, attack: Any, access: Access | None = None) -> np.ndarray:
        rng = np.random.default_rng(11)
        given = seen_by(attack) if access is None else access
        return attack.score(
            self.target(access=given), self.records, self.references(), population=self.population(), rng=rng
        )


def pairs_mask(models: int, records: int, rng: np.random.Generator) -> np.ndarray:
    first = rng.random((models // 2, records)) < 0.5
    return np.stack([first, ~first], axis=1).reshape(models, records)


def balanced_mask(models: int, records: int, rng: np.random.Generator) -> np.ndarray:
    """Every record in exactly half of the models, no pairs: what users bring."""
    return np.argsort(rng.random((models, records)), axis=0) < models // 2


def make_world(
    *,
    models: int = 8,
    records: int = 20,
    classes: int = 3,
    queries: int = 1,
    population: int = 9,
    leak: float = 0.0,
    null: bool = False,
    design: str = "pairs",
    seed: int = 0,
) -> World:
    """Records of unequal difficulty and noise; ``leak`` noise units are added to the true logit of members.

    ``null``: the references leak, the target does not.
    """
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=max(records - classes, 0))])[:records]
    member = (pairs_mask if design == "pairs" else balanced_mask)(models, records, rng)

    def outputs(labels: np.ndarray, held: np.ndarray) -> np.ndarray:
        n = len(labels)
        difficulty, noise = rng.normal(1.0, 2.0, size=(n, 1, 1)), np.exp(rng.normal(0.0, 0.5, size=(n, 1, 1)))
        z = rng.normal(size=(models, n, queries, classes)) * noise
        own = np.arange(classes) == labels[:, None, None]
        leaking = held & (np.arange(models) > 0)[:, None] if null else held
        z += own * (difficulty + leak * noise * leaking[:, :, None, None])
        z[:, ::2] = np.round(z[:, ::2] * 2) / 2  # half of the records answer on a coarse grid, as forests do
        return z.astype(np.float32)

    logits = outputs(y, member)
    other_y = rng.integers(classes, size=population)
    other = outputs(other_y, np.zeros((models, population), dtype=bool))
    for array in (logits, member, other, other_y):
        array.flags.writeable = False
    ids = [f"r{i}" for i in rng.permutation(records)]
    made = Records(ids=ids, features=np.zeros((records, 1)), labels=y)
    return World(made, logits, member, other, other_y, None if design == "pairs" else seed)


def auc_of(scores: np.ndarray, member: np.ndarray) -> float:
    """Mann-Whitney, ties one half."""
    ranks, n1 = rankdata(scores), int(member.sum())
    return float((ranks[member].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(member) - n1)))


@pytest.fixture(scope="session")
def sight() -> Callable[[Any], Access]:
    return seen_by


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    return make_world


@pytest.fixture(scope="session")
def auc() -> Callable[[np.ndarray, np.ndarray], float]:
    return auc_of


def shifted_world(delta: float, *, models: int, records: int, spread: float = 0.0, seed: int = 1) -> World:
    """Binary models whose scaled logit is N(difficulty, 1) without a record and N(difficulty + delta, 1) with it."""
    rng = np.random.default_rng(seed)
    member = pairs_mask(models, records, rng)
    phi = rng.normal(size=(models, records)) + delta * member + spread * rng.normal(size=records) + 1.0
    logits = np.stack([np.zeros_like(phi), phi], axis=-1)[:, :, None, :].astype(np.float32)
    y = np.ones(records, dtype=np.int64)
    y[0] = 0  # Records want two classes; the first record is left out by those who compare with theory
    made = Records(ids=np.arange(records), features=np.zeros((records, 1)), labels=y)
    nobody = np.zeros((models, 0, 1, 2), dtype=np.float32)
    return World(made, logits, member, nobody, np.zeros(0, dtype=np.int64))


@pytest.fixture(scope="session")
def shifted() -> Callable[..., World]:
    return shifted_world


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """The slow one: exponentials of float64 logits over their sum."""
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Slow:
    """One world's outputs as plain numbers, for definitions written as loops."""

    world: World

    @property
    def queries(self) -> range:
        return range(self.world.logits.shape[2])

    def p(self, model: int, record: int, query: int, temperature: float = 1.0) -> np.ndarray:
        return softmax(self.world.logits[model, record, query], temperature)

    def own(self, model: int, record: int, query: int, temperature: float = 1.0) -> float:
        return float(self.p(model, record, query, temperature)[self.world.y[record]])

    def phi(self, model: int, record: int, query: int) -> float:
        z, y = self.world.logits[model, record, query].astype(np.float64), self.world.y[record]
        return float(z[y] - np.log(np.sum(np.exp(np.delete(z, y)))))

    def sides(self, record: int) -> tuple[list[int], list[int]]:
        """Reference models that hold the record, and those that do not."""
        references = range(2, len(self.world.member))
        inside = [k for k in references if self.world.member[k, record]]
        return inside, [k for k in references if k not in inside]

    def scores(self, formula: Callable[[int, int], float]) -> np.ndarray:
        """``formula(record, query)`` averaged over queries."""
        return np.array([np.mean([formula(r, q) for q in self.queries]) for r in range(len(self.world.y))])


@pytest.fixture(
    params=[
        {"queries": 2},
        {"records": 3, "models": 6},
        {"records": 21, "classes": 2, "queries": 3, "models": 10, "seed": 1},
        {"records": 13, "classes": 5, "seed": 2},
    ],
    ids=lambda shape: ", ".join(f"{v} {k}" for k, v in shape.items()),
)
def shape(request: pytest.FixtureRequest) -> dict[str, int]:
    """Worlds for definitions as loops; half of their records answer on a grid, so ties are included."""
    return request.param


@pytest.fixture(scope="session")
def slow() -> Callable[[World], Slow]:
    return Slow


@pytest.fixture(scope="session")
def bound() -> Callable[..., float]:
    """Five standard errors of an AUC over this many records, half of them members: flake 6e-7."""
    return lambda records: 5 * float(np.sqrt(1 / (3 * records)))
