"""The records as tensors: one matrix for all models, and what each model learnt of it from its own records."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch

from locard.data.records import Column, Records
from locard.errors import SettingsError
from locard.train.neural.augment import augmented


@dataclass(frozen=True, eq=False)
class Scaling:
    """What models learnt of the columns: ``(x - shift) * scale``, and ``fill`` where x is missing.

    Each is ``float[models, columns]``; a category that a model's training records do not show has scale 0.
    """

    shift: torch.Tensor
    scale: torch.Tensor
    fill: torch.Tensor | None

    def of(self, models: Sequence[int]) -> Scaling:
        """Some models' part."""
        at = list(models)
        return Scaling(self.shift[at], self.scale[at], None if self.fill is None else self.fill[at])

    def tensors(self) -> dict[str, torch.Tensor]:
        """What there is, by name."""
        named = {"shift": self.shift, "scale": self.scale}
        return named if self.fill is None else named | {"fill": self.fill}

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled ``float[models, rows, columns]``, from ``[models or 1, rows, columns]``."""
        return scaled(x, **{n: t[:, None] for n, t in self.tensors().items()})

    @staticmethod
    def joined(parts: Sequence[Scaling]) -> Scaling:
        """Several models' parts below each other."""
        named = {n: torch.cat([p.tensors()[n] for p in parts]) for n in parts[0].tensors()}
        return Scaling(named["shift"], named["scale"], named.get("fill"))


def scaled(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, fill: torch.Tensor | None = None) -> torch.Tensor:
    """``(x - shift) * scale``, and ``fill`` where x is missing."""
    out = (x - shift) * scale
    return out if fill is None else torch.where(torch.isnan(x), fill, out)


class NetworkData:
    """Features, labels and weights of all records, on one device.

    - tables: numbers as they are, categories one-hot (a missing value is a level of its own); scaling is learnt by each
      model from its own training records
    - arrays: as they are (bytes, as in pictures, divided by 255), or standardised by each model
    - numbers to scale are kept as differences from a middle, so that large ones (a time in seconds) fit in ``float32``
    - augmented forms stand below each other: row ``v * records + r`` is form v of record r

    Args:
        records: all records.
        preprocess: ``auto``, ``standardise`` or ``none``.
        augment: the fixed list of forms; the first one is what it is, and the list is also the query axis.
        dtype: ``float32`` or ``float64``.
        device: where the tensors live.

    Raises:
        SettingsError: missing values without preprocessing.
    """

    def __init__(
        self,
        records: Records,
        *,
        preprocess: str = "auto",
        augment: tuple[str, ...] = ("identity",),
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.records, self.classes = len(records), len(records.classes)
        self.variants, self.dtype, self.device = len(augment), dtype, device
        self._preprocess, self._augment, self._columns = preprocess, augment, records.columns
        self._wide, self._numbers = self._widened(records.features)
        self.scaled = preprocess == "standardise" or (records.columns is not None and preprocess != "none")
        self._middle = np.zeros(self._wide.shape[1:], dtype=np.float64)
        if self._numbers:
            self._middle[: self._numbers] = _middle(self._wide[:, : self._numbers])
        self.x = self.forms(self._wide)
        self.gaps = bool(torch.isnan(self.x).any())
        if self.gaps and not self.scaled:
            raise SettingsError(
                "features: numbers without NaN are needed for a network, found missing values. Set target.preprocess = "
                "'standardise', or fill them in."
            )
        self.y = _tensor(records.y).to(device).repeat(self.variants)
        self.weight: torch.Tensor | None = None
        if records.weight is not None:
            self.weight = _tensor(records.weight).to(device=device, dtype=dtype).repeat(self.variants)
        self.shape: tuple[int, ...] = tuple(self.x.shape[1:])

    def scaling(self, indices: Sequence[np.ndarray]) -> Scaling | None:
        """What each model learns of the columns from its training records; None where nothing is scaled."""
        if not self.scaled:
            return None
        parts = [_learn(self._wide, self._numbers, index, gaps=self.gaps) for index in indices]
        wanted = ([p[0] - self._middle for p in parts], [p[1] for p in parts], [p[2] for p in parts])
        shift, scale, fill = (torch.from_numpy(np.stack(w)).to(device=self.device, dtype=self.dtype) for w in wanted)
        return Scaling(shift, scale, fill if self.gaps else None)

    def rows(self, places: np.ndarray, variant: int) -> torch.Tensor:
        """``float[places, ...]``: one form of these records."""
        at = _tensor(np.asarray(places, dtype=np.int64)).to(self.device)
        return self.x.index_select(0, at + variant * self.records)

    def labels(self, places: np.ndarray) -> torch.Tensor:
        """``int64[places]``: places in the sorted classes."""
        return self.y.index_select(0, _tensor(np.asarray(places, dtype=np.int64)).to(self.device))

    def weights(self, places: np.ndarray) -> torch.Tensor | None:
        """``float[places]``: training weights, where records have them."""
        at = _tensor(np.asarray(places, dtype=np.int64)).to(self.device)
        return None if self.weight is None else self.weight.index_select(0, at)

    def other(self, features: np.ndarray) -> list[torch.Tensor]:
        """All forms of other records' features, which are laid out as those of the records here."""
        wide = self._widened(features)[0]
        return list(self.forms(wide).reshape(self.variants, len(wide), *self.shape))

    def part(self, places: np.ndarray) -> NetworkData:
        """Some of the records, as data of their own."""
        part = copy(self)
        rows = np.concatenate([places + v * self.records for v in range(self.variants)])
        part.records, part._wide = len(places), self._wide[places]
        part.x, part.y, part.weight = self.rows(rows, 0), self.labels(rows), self.weights(rows)
        return part

    def forms(self, wide: np.ndarray) -> torch.Tensor:
        """All augmented forms of these rows, below each other."""
        made = augmented(wide, self._augment)
        if self._numbers:
            made = made - self._middle
        return _tensor(made).to(device=self.device, dtype=self.dtype)

    def _widened(self, features: np.ndarray) -> tuple[np.ndarray, int]:
        """Rows as a network takes them, before scaling, and how many of the first columns are numbers to scale."""
        if self._columns is not None and self._preprocess != "none":
            return _one_hot(features, self._columns)
        if self._preprocess == "standardise":
            flat = features.reshape(len(features), -1)
            return flat, flat.shape[1]
        if self._preprocess == "auto" and features.dtype == np.uint8:
            return features.astype(np.float32) / np.float32(255), 0
        return features, 0


def _one_hot(x: np.ndarray, columns: tuple[Column, ...]) -> tuple[np.ndarray, int]:
    """Numbers first, then a column for each level of each category and one for "missing"."""
    numbers = [i for i, c in enumerate(columns) if c.kind == "number"]
    parts = [np.asarray(x[:, numbers], dtype=np.float32 if x.dtype == np.float32 else np.float64)]
    for i, column in enumerate(columns):
        if column.kind == "category":
            codes = np.where(np.isnan(x[:, i]), len(column.levels), x[:, i]).astype(np.int64)
            wide = np.zeros((len(x), len(column.levels) + 1), dtype=np.float32)
            wide[np.arange(len(x)), codes] = 1.0
            parts.append(wide)
    return np.concatenate(parts, axis=1), len(numbers)


def _learn(
    wide: np.ndarray, numbers: int, index: np.ndarray, *, gaps: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift, scale and fill of every column, as ``TableEncoder`` learns them.

    ``gaps``: whether any record has missing values; one that is asked about may, where no training record has.
    """
    own = wide[index]
    shift, scale, fill = np.zeros(wide.shape[1]), np.ones(wide.shape[1]), np.zeros(wide.shape[1])
    if numbers:
        x = own[:, :numbers].astype(np.float64)
        empty = np.isnan(x).all(axis=0)
        x[:, empty] = 0.0
        median = np.nanmedian(x, axis=0) if gaps else np.zeros(numbers)
        x = np.where(np.isnan(x), median, x)
        mean, spread = x.mean(axis=0), x.std(axis=0)
        flat = spread <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        shift[:numbers], scale[:numbers] = mean, 1.0 / np.where(flat, 1.0, spread)
        fill[:numbers] = np.where(empty, 0.0, (median - mean) * scale[:numbers])
    scale[numbers:] = own[:, numbers:].any(axis=0)
    return shift, scale, fill


def _middle(numbers: np.ndarray) -> np.ndarray:
    """A value near each column's: the first that is there. What it is does not change what models are told."""
    known = ~np.isnan(numbers)
    first = numbers[known.argmax(axis=0), np.arange(numbers.shape[1])].astype(np.float64)
    return np.where(known.any(axis=0), first, 0.0)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The array's own memory as a tensor, also where nobody may write into it; nothing here does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
