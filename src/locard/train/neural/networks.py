"""An attacker's own reference networks: trained here or taken from where weights were kept, asked, and taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from locard.data.records import Records
from locard.errors import SettingsError, StoreMismatch
from locard.train.asked import Run
from locard.train.influence import Lesson
from locard.train.neural.continued import Taught, asked, teach
from locard.train.neural.data import NetworkData, Scaling
from locard.train.neural.many_models import CannotStack, train_many
from locard.train.neural.objective import fresh, own_randomness
from locard.train.neural.state import Stack

if TYPE_CHECKING:
    from locard.train.neural.recipe import TorchRecipe

LOOKED_AT = 1000  # training records of a reference whose labels' probabilities are looked at


@dataclass(frozen=True, eq=False)
class ReferenceNetworks:
    """``TeachableReferences`` (``influence.py``) as one stack.

    Made by ``trained`` or ``from_weights``.
    """

    recipe: TorchRecipe
    records: Records
    runs: Sequence[Run]
    data: NetworkData
    models: Stack

    @classmethod
    def trained(cls, recipe: Any, records: Records, runs: Sequence[Run], *, device: str = "cpu") -> ReferenceNetworks:
        """Train them, in one program.

        Args:
            recipe: a ``TorchRecipe``, for what the target is thought to be.
            records: reference records; no candidate stands among them.
            runs: training records (places in ``records``) and seed of each.
            device: where tensors live.

        Raises:
            SettingsError: the recipe is no network, or one whose models cannot be trained in one program.
        """
        data = _data(recipe, records, device)
        try:
            return cls(recipe, records, tuple(runs), data, train_many(recipe, data, runs))
        except CannotStack as alone:
            raise _one_program(str(alone)) from alone

    @classmethod
    def from_weights(
        cls,
        recipe: Any,
        records: Records,
        runs: Sequence[Run],
        weights: Sequence[Mapping[str, np.ndarray]],
        *,
        device: str = "cpu",
    ) -> ReferenceNetworks:
        """Networks that were trained before, from the final weights that were kept (``traces.weights``).

        Raises:
            SettingsError: as for ``trained``.
            StoreMismatch: weights of another architecture, or not as many as runs.
        """
        from locard.train.neural.many_models import cannot_stack

        data = _data(recipe, records, device)
        if reason := cannot_stack(recipe, data):
            raise _one_program(reason)
        return cls(recipe, records, tuple(runs), data, _stack_of(recipe, data, runs, weights))

    def __len__(self) -> int:
        return len(self.models)

    @cached_property
    def pool(self) -> Records:
        """Every record that some network was trained on."""
        return self.records.select(np.unique(np.concatenate([r.index for r in self.runs])))

    @property
    def classes(self) -> int:
        """How many."""
        return self.data.classes

    def of(self, models: Int64[np.ndarray, "chosen"]) -> ReferenceNetworks:
        """Some of them."""
        at = [int(m) for m in models]
        runs = tuple(self.runs[m] for m in at)
        return ReferenceNetworks(self.recipe, self.records, runs, self.data, self.models.of(at))

    def logits(self, features: np.ndarray) -> Float64[np.ndarray, "models rows classes"]:
        """What each says of these rows."""
        return asked(self.models, self.data, features)

    def taught(self, features: np.ndarray, label: int, lesson: Lesson) -> Taught:
        """Both branches of every network.

        Args:
            features: ``[1, ...]``, of the record.
            label: its class.
            lesson: how long and how fast.
        """
        enough = np.full(len(self), np.inf) if lesson.like is None else np.quantile(self._own, lesson.like, axis=1)
        record = (np.asarray(features), int(label))
        return teach(self.recipe, self.data, self.runs, self.models, record, lesson, enough)

    @cached_property
    def _own(self) -> Float64[np.ndarray, "models looked"]:
        """Probability of the label of some of each network's own training records."""
        out = np.empty((len(self), LOOKED_AT))
        for model, run in enumerate(self.runs):
            places = run.index[np.linspace(0, len(run.index) - 1, LOOKED_AT).astype(np.int64)]
            y = self.data.labels(places)
            for rows, z in self.models.of([model]).logits(self.data.rows(places, 0)):
                p = torch.softmax(z[0].double(), dim=-1)
                out[model, rows] = p.gather(1, y[rows, None])[:, 0].cpu().numpy()
        return out


def _data(recipe: Any, records: Records, device: str) -> NetworkData:
    from locard.train.neural.recipe import TorchRecipe

    if not isinstance(recipe, TorchRecipe):
        raise SettingsError(
            f"gmia_indirect: a network is needed (recipe = 'torch'), since references go on training and are "
            f"differentiated, found {type(recipe).__name__}. Use gmia, the direct attack, for this recipe."
        )
    recipe.check()
    data: NetworkData = recipe.data(records, device)
    return data


def _one_program(reason: str) -> SettingsError:
    return SettingsError(
        f"gmia_indirect: networks that can be trained in one program are needed, but these cannot: {reason}. Use "
        f"gmia, the direct attack, or mend the module."
    )


def _stack_of(
    recipe: TorchRecipe, data: NetworkData, runs: Sequence[Run], weights: Sequence[Mapping[str, np.ndarray]]
) -> Stack:
    with own_randomness(data.device):
        keyed = fresh(recipe, data, 0)
    params = {n: p.detach() for n, p in keyed.module.named_parameters()}
    buffers = keyed.buffers()
    wanted = {n: tuple(t.shape) for n, t in (params | buffers).items()}
    for place, one in enumerate(weights):
        found = {n: tuple(np.shape(v)) for n, v in one.items() if not n.startswith("scaling.")}
        if found != wanted:
            odd = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
            raise StoreMismatch(
                f"weights: those of {recipe.name} are needed, but model {place} differs in {', '.join(odd[:5])}. Give "
                f"the recipe that these were trained by."
            )
    if len(weights) != len(runs):
        raise StoreMismatch(f"weights: one model for each of {len(runs)} runs is needed, found {len(weights)}.")

    def stacked(name: str, like: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.stack([w[name] for w in weights])).to(device=data.device, dtype=like.dtype)

    scaling = None
    if data.scaled:
        parts = [
            stacked(f"scaling.{n}", data.x) if f"scaling.{n}" in weights[0] else None
            for n in ("shift", "scale", "fill")
        ]
        if parts[0] is None or parts[1] is None:
            raise StoreMismatch("weights: what models learnt of the columns (scaling) is needed, found none of it.")
        scaling = Scaling(parts[0], parts[1], parts[2])
    return Stack(
        keyed,
        {n: stacked(n, p) for n, p in params.items()},
        {n: stacked(n, b) for n, b in buffers.items()},
        scaling,
        data.classes,
    )


__all__ = ["ReferenceNetworks"]
