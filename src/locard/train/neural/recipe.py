"""``TorchRecipe``: how a network is trained, without any data in it. Frozen, hashable, named by its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from locard.check import Problems, nearest
from locard.data.records import Records
from locard.errors import MissingExtra, SettingsError
from locard.train.asked import Answers, Asked, Choice, Room, Run
from locard.train.fingerprint import code_of, described
from locard.train.recipe import Predictor, import_path

if TYPE_CHECKING:
    import torch

    from locard.train.distil import Note, Teaching

# optimisers of torch.optim whose update is element by element and proportional to the learning rate: models can share
# one instance. The others (LBFGS, Muon, Rprop, ...) train one model at a time.
STACKED = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam")
PRECISIONS, PREPROCESS = ("float32", "float64"), ("auto", "standardise", "none")


@dataclass(frozen=True, kw_only=True)
class TorchRecipe:
    """A PyTorch network trained by mini-batches. ``fit`` trains one model, ``answer`` many, with the same numbers.

    Every model has its own seed, from which its first weights, its batches and its dropout come. Logits are asked in
    evaluation mode. Frozen, and hashed with the text of the user's own modules behind it.

    Args:
        module: a built-in name (``logistic``, ``mlp``, ``cnn``, ``resnet``; ``auto`` takes ``mlp`` or ``cnn`` by the
            shape of the records), ``module:function``, or a function ``f(shape, classes, **params) -> Module``, where
            ``shape`` is that of one record. A network with one output answers two classes (the logit of the second).
        params: keyword arguments of that function.
        loss: ``cross_entropy``, or ``module:function`` or a function ``f(logits[batch, classes], labels[batch])`` that
            returns one loss a record.
        optimizer: a class of ``torch.optim``, by name in any case.
        learning_rate: its ``lr``.
        optimizer_params: its other settings, by the names that torch gives them (``momentum``, ``weight_decay``, ...).
        schedule: ``constant``, ``cosine``, ``linear``, ``step`` or ``exponential`` (``schedules.py``).
        schedule_params: the schedule's settings.
        warmup: first steps with a rising learning rate.
        batch_size: records a step; the last batch of a pass may be smaller.
        epochs: passes over the records; default 10 where ``steps`` is not given.
        steps: optimiser steps, instead of ``epochs``.
        drop_last: leave out last batches that are not full.
        label_smoothing: of ``cross_entropy``.
        clip_norm: largest norm of one model's gradient.
        augment: the fixed list of forms (``augment.py``); also the query axis of the observations.
        patience: epochs without a better loss on held-out training records after which a model stops; None: never.
        validation: share of each model's training records held out for that.
        precision: ``float32`` or ``float64``.
        preprocess: ``auto`` (tables encoded, bytes divided by 255), ``standardise``, or ``none``.
        folder: where modules of the user's own are looked for first.

    Raises:
        SettingsError: from ``check``, with all problems.

    >>> TorchRecipe(module="mlp", params={"hidden": [10, 5]}, epochs=3).name
    'mlp(hidden=[10, 5]), sgd 0.1, batch 100, 3 epochs'
    >>> TorchRecipe(module="logistic", optimizer="adam", optimizer_params={"weight_decay": 0.01}, epochs=3).name
    'logistic, adam 0.1 weight_decay=0.01, batch 100, 3 epochs'
    """

    module: str | Callable[..., Any] = "auto"
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    loss: str | Callable[..., Any] = "cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    optimizer_params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    schedule: str = "constant"
    schedule_params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    warmup: int = 0
    batch_size: int = 100
    epochs: int | None = None
    steps: int | None = None
    drop_last: bool = False
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augment: tuple[str, ...] = ("identity",)
    patience: int | None = None
    validation: float = 0.1
    precision: Literal["float32", "float64"] = "float32"
    preprocess: Literal["auto", "standardise", "native", "none"] = "auto"
    folder: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.augment, str):
            object.__setattr__(self, "augment", tuple(self.augment))

    @property
    def passes(self) -> int | None:
        """Epochs, with the default; None where steps are counted."""
        return (10 if self.epochs is None else self.epochs) if self.steps is None else None

    @property
    def name(self) -> str:
        """The network with its settings, optimiser and length."""
        params = ", ".join(f"{k}={_shown(v)}" for k, v in self.params.items())
        module = self.module if isinstance(self.module, str) else getattr(self.module, "__name__", "module")
        length = f"{self.steps} steps" if self.passes is None else f"{self.passes} epochs"
        shown = f"{module}({params})" if params else module
        more = "".join(f" {k}={_shown(v)}" for k, v in self.optimizer_params.items())
        return f"{shown}, {self.optimizer} {self.learning_rate:g}{more}, batch {self.batch_size}, {length}"

    @property
    def fingerprint(self) -> str:
        """sha256 of all settings, of the code behind module and loss, and of torch's version."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        from importlib.metadata import version

        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "folder"}
        plain |= {"epochs": self.passes}
        for part in ("module", "loss"):
            given = plain[part]
            if not isinstance(given, str) or ":" in given:
                found = self._imported(part)
                plain[part] = [given if isinstance(given, str) else found.__qualname__, code_of(found)]
        text = json.dumps([described(plain), "torch " + version("torch")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def probability_floor(self) -> float | None:
        """None: networks answer with logits."""
        return None

    @property
    def queries(self) -> int:
        """How many forms of each record are asked about."""
        return len(self.augment)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Nothing is fixed that a retraining would draw again."""
        return ()

    @property
    def built_in(self) -> bool:
        """Whether its network is one of Locard's own."""
        return isinstance(self.module, str) and ":" not in self.module

    @property
    def stackable(self) -> bool:
        """Whether its optimiser's updates are element by element, so that models can share it."""
        return self.optimizer.lower() in STACKED

    def check(self, *, weights: bool = False) -> None:
        """Refuse settings that cannot be used, before any data are touched.

        Raises:
            SettingsError: every problem.
            MissingExtra: torch is not installed.
        """
        need_torch()
        from locard.train.neural.augment import form
        from locard.train.neural.batches import Length
        from locard.train.neural.schedules import SCHEDULES, schedule

        problems = Problems()
        for name, low in (("batch_size", 1), ("epochs", 1), ("steps", 1), ("patience", 1), ("warmup", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
                problems.add(f"target.{name}: a whole number of at least {low} is needed, found {value!r}. Mend it.")
        if self.epochs is not None and self.steps is not None:
            problems.add("target.steps: either epochs or steps are needed, found both. Leave one out.")
        for name, low, high in (("learning_rate", 0, np.inf), ("validation", 0, 1), ("clip_norm", 0, np.inf)):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and low < value < high):
                problems.add(f"target.{name}: a number between {low} and {high} is needed, found {value!r}. Mend it.")
        if not (_is_number(self.label_smoothing) and 0 <= self.label_smoothing < 1):
            problems.add(f"target.label_smoothing: 0 to below 1 is needed, found {self.label_smoothing!r}. Mend it.")
        elif self.label_smoothing and self.loss != "cross_entropy":
            problems.add("target.label_smoothing: it belongs to the loss cross_entropy. Leave it out.")
        for name, known in (("precision", PRECISIONS), ("preprocess", PREPROCESS), ("schedule", tuple(SCHEDULES))):
            value = getattr(self, name)
            if value not in known:
                problems.add(
                    f"target.{name}: one of {', '.join(known)} is needed, found {value!r}. {nearest(str(value), known)}"
                )
        if self.schedule in SCHEDULES:
            with problems.gather():
                schedule(self.schedule, self.schedule_params, Length(records=1, batch=1, epochs=1))
        if not self.augment or isinstance(self.augment, str):
            problems.add(f"target.augment: a list of forms is needed, found {self.augment!r}. Write ['identity'].")
        else:
            for text in self.augment:
                with problems.gather():
                    form(text)
        for check in (self._optimizer_class, lambda: self._function("module"), lambda: self._function("loss")):
            with problems.gather():
                check()
        for name in ("params", "optimizer_params", "schedule_params"):
            with problems.gather():
                described(getattr(self, name))
        problems.settle()

    def fit(self, records: Records, index: np.ndarray, seed: int) -> Predictor:
        """Train one model, the readable way; returns features -> logits ``float32[rows, queries, classes]``."""
        from locard.train.neural.one_model import train_one
        from locard.train.neural.questions import predictor

        data = self.data(records, "cpu")
        return predictor(self, data, train_one(self, data, Run(index, seed)))

    def answer(self, records: Records, runs: Sequence[Run], asked: Asked) -> Iterator[Answers]:
        """Train these models, together unless ``asked.way`` is "one", and yield what each answers, in order.

        Raises:
            SettingsError: the network does not fit the records.
        """
        from locard.train.neural.questions import answers

        yield from answers(self, self.data(records, asked.device), runs, asked)

    def student(self, epochs: int) -> TorchRecipe:
        """The recipe of its students: a number of epochs of their own, and plain cross-entropy."""
        return replace(self, epochs=epochs, steps=None, patience=None, loss="cross_entropy", label_smoothing=0.0)

    def distil(
        self, records: Records, runs: Sequence[Run], soft: Sequence[np.ndarray], teaching: Teaching, note: Note
    ) -> None:
        """Train one student a run on what its teacher says (see ``train/distil.py``)."""
        from locard.train.neural.students import distil

        distil(self, self.data(records, teaching.device), runs, soft, teaching, note)

    def choose(self, records: Records, runs: Sequence[Run], room: Room) -> Choice:
        """One at a time, or many in one program: some steps of both are timed here.

        Raises:
            SettingsError: the network does not fit the records, or one model does not fit the memory.
        """
        from locard.train.neural.choose import choose

        return choose(self, self.data(records, room.device), runs, room)

    def data(self, records: Records, device: str) -> Any:
        """The records as tensors; kept for the last records asked for, because every chunk asks again."""
        from locard.train.neural.questions import tensors_of

        return tensors_of(self, records, device)

    def build(self, shape: tuple[int, ...], classes: int) -> torch.nn.Module:
        """A fresh network for records of this shape, with weights from torch's global generator.

        Raises:
            SettingsError: the factory does not take these params or this shape, or returns no module.
        """
        from torch import nn

        from locard.train.neural.modules import default_module

        make = self._imported("module") if self.module != "auto" else _built_in(default_module(shape))
        name = self.module if isinstance(self.module, str) else getattr(self.module, "__name__", "module")
        try:
            built = make(shape, classes, **dict(self.params))
        except SettingsError:
            raise
        except Exception as wrong:  # the user's own factory may raise anything
            raise SettingsError(
                f"target.module: {name} could not be made for records of shape {list(shape)} and {classes} classes: "
                f"{type(wrong).__name__}: {wrong}. Mend target.params or the function."
            ) from wrong
        if not isinstance(built, nn.Module):
            raise SettingsError(
                f"target.module: a function that returns a torch.nn.Module is needed, but {name} returned "
                f"{type(built).__name__}. Return the network."
            )
        return built

    def optimizer_of(self, parameters: list[torch.Tensor], **more: Any) -> torch.optim.Optimizer:
        """The optimiser over these tensors.

        Raises:
            SettingsError: it does not take them.
        """
        from locard.train.neural.optimizers import plain

        kind = plain(self._optimizer_class())
        try:
            made: torch.optim.Optimizer = kind(parameters, lr=self.learning_rate, **dict(self.optimizer_params), **more)
        except (TypeError, ValueError, RuntimeError) as wrong:
            raise SettingsError(
                f"target.optimizer: an optimiser that takes this network's parameters is needed, but {kind.__name__} "
                f"says: {wrong}. Choose another."
            ) from wrong
        return made

    def _optimizer_class(self) -> Any:
        import inspect

        import torch

        from locard.train.neural.optimizers import plain

        known = {n.lower(): n for n, k in vars(torch.optim).items() if isinstance(k, type) and n != "Optimizer"}
        if self.optimizer.lower() not in known:
            raise SettingsError(
                f"target.optimizer: a class of torch.optim is needed, found {self.optimizer!r}. "
                f"{nearest(self.optimizer, known.values())}"
            )
        kind = getattr(torch.optim, known[self.optimizer.lower()])
        taken = [n for n in inspect.signature(kind.__init__).parameters if n not in ("self", "params", "lr")]
        unknown = [n for n in self.optimizer_params if n not in taken]
        if unknown:
            raise SettingsError(
                f"target.optimizer_params: settings of torch.optim.{kind.__name__} are needed, found "
                f"{', '.join(unknown)}. {nearest(unknown[0], taken)}"
            )
        try:
            plain(kind)([torch.zeros((1, 1), requires_grad=True)], lr=self.learning_rate, **dict(self.optimizer_params))
        except (TypeError, ValueError, RuntimeError) as wrong:
            raise SettingsError(
                f"target.optimizer_params: values that torch.optim.{kind.__name__} takes are needed: {wrong}. "
                f"Mend them."
            ) from wrong
        return kind

    def _imported(self, part: str) -> Callable[..., Any]:
        """The function behind ``module`` or ``loss``."""
        given = getattr(self, part)
        if not isinstance(given, str):
            return given  # type: ignore[no-any-return]
        if part == "module" and ":" not in given:
            return _built_in(given)
        if given == "cross_entropy":
            return _no_function
        if ":" not in given:
            raise SettingsError(
                f"target.loss: 'cross_entropy' or 'module:function' is needed, found {given!r}. Mend it."
            )
        found: Callable[..., Any] = import_path(given, f"target.{part}", self.folder)
        return found

    def _function(self, part: str) -> None:
        """Refuse what is no function that makes networks, or computes losses."""
        found = self._imported(part)
        if not hasattr(found, "__qualname__") or not callable(found):
            what = "makes the network, f(shape, classes, **params)" if part == "module" else "computes the losses"
            raise SettingsError(
                f"target.{part}: a function that {what} is needed, found an object of class {type(found).__name__}. "
                f"Write a function."
            )

    def loss_function(self) -> Callable[..., Any] | None:
        """The user's own loss, one value a record; None for cross-entropy."""
        return None if self.loss == "cross_entropy" else self._imported("loss")


def need_torch() -> None:
    """Raises:
    MissingExtra: torch is not installed.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtra("torch", "torch", "target.recipe = 'torch'")


def _no_function() -> None:
    return None


def _built_in(name: str) -> Callable[..., Any]:
    from locard.train.neural.modules import BUILT_IN, default_module

    if name == "auto":
        return lambda shape, classes, **params: BUILT_IN[default_module(shape)](shape, classes, **params)
    if name not in BUILT_IN:
        raise SettingsError(
            f"target.module: one of {', '.join(BUILT_IN)}, auto, or 'module:function' is needed, found {name!r}. "
            f"{nearest(name, BUILT_IN)}"
        )
    return BUILT_IN[name]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
