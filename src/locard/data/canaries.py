"""Canaries: records of the pool that alone are audited, as they are or planted, while all others are always trained on.

A canary stands in the place of a record and keeps its id, so that every model is trained on as many records as without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from locard.data.records import Records
from locard.data.split import Split
from locard.errors import DataError
from locard.seeds import Seed
from locard.settings_one_run import CanaryKind, CanarySettings

WORDS = {
    "natural": "records as they are",
    "mislabelled": "records under the label of another class, drawn at random",
    "out_of_distribution": "records whose features were each drawn anew from the pool, under their label",
    "blank": "blank records that differ in a few marked features, under labels drawn at random",
    "duplicated": "records as they are, trained on several times",
}
MARKED = 50  # one feature in so many marks a blank canary, and one more
ROOM = 10  # there are so many times more marks than canaries


@dataclass(frozen=True, eq=False)
class Planted:
    """The data with canaries in it.

    Attributes:
        records: all records, the canaries among them.
        split: the canaries are what is audited; the population is as before.
        fixed: ``int64[others]``, places of the pool's other records, which every model is trained on.
        copies: how often a canary is in a training set that holds it.
        kind: which canaries.
        words: what was planted, in a sentence.
    """

    records: Records
    split: Split
    fixed: Int64[np.ndarray, "others"]
    copies: int
    kind: CanaryKind
    words: str


def plant(records: Records, split: Split, settings: CanarySettings, *, seed: Seed) -> Planted:
    """Draw ``settings.count`` units of the pool as canaries and make of them what ``settings.kind`` says.

    - who is a canary, and what becomes of it, is drawn before and apart from the coins of any model
    - nothing else changes: labels and features of the other records, ids, units, weights

    Raises:
        DataError: the pool has not enough units, or blank canaries cannot be told apart by their marks.

    >>> r = Records(ids=range(60), features=np.zeros((60, 4)), labels=[0, 1] * 30)
    >>> half = Split(np.arange(50), np.arange(50, 60))
    >>> planted = plant(r, half, CanarySettings(kind="mislabelled", count=20), seed=Seed(7))
    >>> changed = planted.records.y != r.y
    >>> len(planted.split.audited), len(planted.fixed), changed.sum(), changed[planted.split.audited].all()
    (20, 30, np.int64(20), np.True_)
    """
    units = np.unique(records.units[split.audited])
    if settings.count > len(units):
        raise DataError(
            f"canaries.count: at most {len(units):,} canaries are possible, the units of the pool, found "
            f"{settings.count:,}. Lower it, or raise data.pool."
        )
    chosen = seed.child("who").generator().permutation(units)[: settings.count]
    canary = np.isin(records.units[split.audited], chosen)
    places, fixed = split.audited[canary], split.audited[~canary]
    rng = seed.child("what", settings.kind).generator()
    features, labels = records.features, records.labels
    if settings.kind == "mislabelled":
        labels = _relabelled(records, places, rng)
    elif settings.kind == "out_of_distribution":
        features = _shuffled(records, places, split.audited, rng)
    elif settings.kind == "blank":
        features = _blank(records, places, split.audited, rng)
        labels = labels.copy()
        labels[places] = records.classes[rng.integers(len(records.classes), size=len(places))]
    copies = settings.copies if settings.kind == "duplicated" else 1
    words = (
        f"{settings.count:,} canaries ({settings.kind.replace('_', ' ')}: {WORDS[settings.kind]}) are audited; the "
        f"other {len(fixed):,} records of the pool are in every training set."
    )
    if copies > 1:
        words = words.replace("several times", f"{copies} times")
    made = replace(
        records, features=features, labels=labels, known_classes=records.classes, notes=(*records.notes, words)
    )
    return Planted(made, Split(places, split.population), fixed, copies, settings.kind, words)


def _relabelled(records: Records, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of these records under one of the other classes, all equally likely."""
    labels: np.ndarray = records.labels.copy()
    classes = len(records.classes)
    labels[places] = records.classes[(records.y[places] + rng.integers(1, classes, size=len(places))) % classes]
    return labels


def _shuffled(records: Records, places: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every feature of these records from a record of the pool of its own: each is usual, together they are not."""
    features: np.ndarray = records.features.copy()
    flat = features.reshape(len(features), -1)
    source = pool[rng.integers(len(pool), size=(len(places), flat.shape[1]))]
    flat[places] = records.features.reshape(len(features), -1)[source, np.arange(flat.shape[1])]
    return flat.reshape(features.shape)


def _blank(records: Records, places: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Records of a background with a few features at the other end of their range, no two canaries the same ones:
    copies of each other could not be told apart by any model.

    Background and mark: a table column's median and largest value (a category's first level and its last), an array's
    smallest number and its largest.
    """
    features: np.ndarray = records.features.copy()
    flat = features.reshape(len(features), -1)
    known = np.nan_to_num(flat[pool].astype(np.float64), nan=0.0)
    if records.columns is None:
        ground, mark = np.full(flat.shape[1], known.min()), np.full(flat.shape[1], known.max())
    else:
        ground, mark = np.quantile(known, 0.5, axis=0, method="lower"), known.max(axis=0)
        ends = np.array([column.kind == "category" for column in records.columns])
        ground = np.where(ends | (ground == mark), known.min(axis=0), ground)
    able = np.flatnonzero(ground != mark)
    least = 1 + len(able) // MARKED
    roomy = [k for k in range(least, len(able) // 2 + 1) if math.comb(len(able), k) >= ROOM * len(places)]
    if not roomy:
        raise DataError(
            f"canaries: blank ones must differ in marks of their own, but {len(able)} features that vary are too few "
            f"for {len(places):,} of them. Lower canaries.count, or plant another kind."
        )
    taken: set[bytes] = set()
    for place in places:
        marked = np.sort(rng.permutation(able)[: roomy[0]])
        while marked.tobytes() in taken:  # one draw in ROOM, at most
            marked = np.sort(rng.permutation(able)[: roomy[0]])
        taken.add(marked.tobytes())
        flat[place] = ground
        flat[place, marked] = mark[marked]
    return flat.reshape(features.shape)
