"""From trained networks to answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from locard.data.records import Records
from locard.train.asked import Answers, Asked, Run
from locard.train.neural.data import NetworkData
from locard.train.neural.early import held_out
from locard.train.neural.many_models import train_many
from locard.train.neural.objective import check_output, record_losses
from locard.train.neural.one_model import length_of, train_one
from locard.train.neural.state import Stack
from locard.train.recipe import Predictor

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

_KEPT: list[tuple[tuple[Any, ...], Records, NetworkData]] = []


def tensors_of(recipe: TorchRecipe, records: Records, device: str) -> NetworkData:
    """The records as this recipe's tensors; the last ones are kept.

    Raises:
        SettingsError: the network does not fit the records.
    """
    key = (recipe.fingerprint, device)
    if _KEPT and _KEPT[0][0] == key and _KEPT[0][1] is records:
        return _KEPT[0][2]
    data = NetworkData(
        records,
        preprocess=recipe.preprocess,
        augment=recipe.augment,
        dtype=getattr(torch, recipe.precision),
        device=device,
    )
    check_output(recipe, data)
    _KEPT[:] = [(key, records, data)]
    return data


def predictor(recipe: TorchRecipe, data: NetworkData, model: Stack) -> Predictor:
    """Features (as in the records) -> logits ``float32[rows, queries, classes]``."""

    def predict(features: np.ndarray) -> np.ndarray:
        said: np.ndarray = _logits(model, data.other(features))[0]
        return said

    return predict


def answers(recipe: TorchRecipe, data: NetworkData, runs: Sequence[Run], asked: Asked) -> Iterator[Answers]:
    """Train the runs and ask each model about the audited and population records."""
    if asked.way == "one" or len(runs) == 1:
        for run in runs:
            yield from _trained_and_asked(recipe, data, [run], asked, together=False)
    else:
        yield from _trained_and_asked(recipe, data, list(runs), asked, together=True)


def _trained_and_asked(
    recipe: TorchRecipe, data: NetworkData, runs: list[Run], asked: Asked, *, together: bool
) -> list[Answers]:
    start = time.perf_counter()
    notes = _Notes(recipe, data, runs, asked)
    at_epoch = notes if asked.keep.losses or asked.keep.snapshots else None
    models = train_many(recipe, data, runs, at_epoch) if together else train_one(recipe, data, runs[0], at_epoch)
    fitted = time.perf_counter()
    places = {"logits": asked.audited, "population": asked.population}
    said = {name: _logits(models, (data.rows(p, q) for q in range(data.variants))) for name, p in places.items()}
    if asked.keep.penultimate:
        said["penultimate"] = _penultimate(models, data, asked.audited)
    seconds = (time.perf_counter() - fitted) / len(runs)
    out = []
    for i in range(len(runs)):
        weights = notes.snapshots[i] | ({"final": _as_numpy(models.tensors(i))} if asked.keep.weights else {})
        tensors = {name: np.ascontiguousarray(values[i]) for name, values in said.items()}
        if asked.keep.losses:
            tensors["losses"] = np.ascontiguousarray(notes.losses[i, :, : notes.epochs[i]])
        out.append(Answers(tensors, weights, (fitted - start) / len(runs), seconds))
    return out


class _Notes:
    """What is written down at the end of epochs: losses of the audited records, and snapshots."""

    def __init__(self, recipe: TorchRecipe, data: NetworkData, runs: list[Run], asked: Asked) -> None:
        self._data, self._asked, self._own = data, asked, recipe.loss_function()
        self.epochs = [length_of(recipe, len(held_out(recipe, r)[0])).epochs_begun for r in runs]
        count = len(asked.audited) if asked.keep.losses else 0
        self.losses = np.full((len(runs), count, max(self.epochs, default=0)), np.nan, dtype=np.float32)
        self.snapshots: list[dict[str, dict[str, np.ndarray]]] = [{} for _ in runs]

    def __call__(self, models: list[int], epoch: int, states: Stack) -> None:
        if self._asked.keep.losses:
            places = self._asked.audited
            y = self._data.labels(places)
            for rows, z in states.logits(self._data.rows(places, 0)):
                for k, model in enumerate(models):
                    self.losses[model, rows, epoch - 1] = record_losses(z[k], y[rows], self._own, 0.0).cpu().numpy()
        if epoch in self._asked.keep.snapshots:
            for k, model in enumerate(models):
                self.snapshots[model][f"epoch-{epoch}"] = _as_numpy(states.tensors(k))


def _logits(models: Stack, forms: Iterable[torch.Tensor]) -> np.ndarray:
    """``float32[models, records, queries, classes]``, from each query's form of the records."""
    parts = []
    for x in forms:
        part = np.empty((len(models), len(x), models.classes), dtype=np.float32)
        for rows, z in models.logits(x):
            part[:, rows] = z.cpu().numpy()
        parts.append(part)
    return parts[0][:, :, None] if len(parts) == 1 else np.stack(parts, axis=2)


def _penultimate(models: Stack, data: NetworkData, places: np.ndarray) -> np.ndarray:
    """``float32[models, records, width]``."""
    blocks = [z.cpu().numpy().astype(np.float32) for _, z in models.logits(data.rows(places, 0), penultimate=True)]
    return np.concatenate(blocks, axis=1)


def _as_numpy(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {n: t.cpu().numpy() for n, t in tensors.items()}
