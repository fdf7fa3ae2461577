"""``FunctionRecipe``: training that somebody else wrote, in one process a model: ``"module:function"``."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from locard.data.functions import importable, load_function
from locard.data.records import Column, Records
from locard.errors import DataError, SettingsError
from locard.train.answers import AnswerKind, stored_answers
from locard.train.fingerprint import code_of, described
from locard.train.recipe import DEFAULT_FLOOR, Predictor, Preprocess, preprocessing

ALWAYS = ("seed", "device")  # passed wherever the function takes them, by name or by **keywords
ON_REQUEST = ("sample_weight", "classes")  # passed where the function names them
FORM = "function(features, labels, *, seed, device) -> predict"


@dataclass(frozen=True, kw_only=True)
class FunctionRecipe:
    """A training function of the user's own, called once a model as ``function(features, labels, *, seed, device)``.

    It trains on what it is given and returns ``predict(features) -> float[records, classes]``.

    - features: arrays as they are stored; tables encoded by what these training records show (see ``preprocess``)
    - labels: ``int64[records]``, class numbers 0, 1, ... in the order of the sorted classes
    - seed: an integer of the model's own; the same seed must give the same model
    - device: where to train, such as ``"cpu"``
    - sample_weight (``float64[records]``; None where the data has none) and classes (how many the data has) are passed
      where it names them
    - what it prints goes to standard error: standard output belongs to the command

    Args:
        path: ``"module:function"``.
        params: more keyword arguments of the function.
        preprocess: as for ``SklearnRecipe``; ``native`` hands over tables as DataFrames.
        answers: what ``predict`` returns: ``probabilities``, or ``logits`` (log-probabilities are logits too).
        folder: where the module is looked for first.
        device: where to train; no part of what the recipe is.

    >>> def shares(features, labels, *, seed):
    ...     share = np.bincount(labels) / len(labels)
    ...     return lambda asked: np.tile(share, (len(asked), 1))
    >>> recipe = FunctionRecipe.of(shares)
    >>> people = Records(ids=range(4), features=np.zeros((4, 1)), labels=["no", "yes", "no", "no"])
    >>> np.exp(recipe.fit(people, np.arange(4), 7)(people.features))[0].tolist()
    [0.75, 0.25]
    """

    path: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    preprocess: Preprocess = "auto"
    answers: AnswerKind = "probabilities"
    folder: str | None = field(default=None, compare=False, repr=False)
    device: str = field(default="cpu", compare=False, repr=False)
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        params: Mapping[str, Any] | None = None,
        preprocess: Preprocess = "auto",
        answers: AnswerKind = "probabilities",
    ) -> FunctionRecipe:
        """From a plain function.

        Raises:
            SettingsError: it is no function, or does not take what it would be called with.
        """
        if not inspect.isfunction(function):
            raise SettingsError(
                f"recipe: a plain function {FORM} is needed, found a {type(function).__name__}. Wrap it in one."
            )
        path = f"{function.__module__}:{function.__qualname__}"
        recipe = cls(path=path, params=dict(params or {}), preprocess=preprocess, answers=answers, function=function)
        recipe.check()
        return recipe

    def check(self, *, weights: bool = False) -> None:
        """Refuse, before any training, a function that cannot be called.

        Raises:
            SettingsError: it is not there, takes no seed, other parameters, or no weights where the data has some.
        """
        described(self.params)
        function = self._load()
        try:
            form = inspect.signature(function)
        except (TypeError, ValueError) as wrong:
            raise SettingsError(f"target.recipe: a plain function {FORM} is needed, found {self.path}.") from wrong
        taken = sorted(set(self.params) & {*ALWAYS, *ON_REQUEST})
        if taken:
            raise SettingsError(
                f"target.params: {', '.join(taken)} is given to the function by Locard itself. Leave it out."
            )
        if "seed" not in _passed(form):
            raise SettingsError(
                f"target.recipe: a function that takes seed is needed, or no run could be repeated, but {self.path} "
                f"has the arguments {form}. Write {FORM}, and draw all that is random from the seed."
            )
        try:
            form.bind(None, None, **dict.fromkeys([*_passed(form), *self.params]))
        except TypeError as wrong:
            raise SettingsError(
                f"target.params: arguments that {self.path}{form} takes are needed, but it says: {wrong}. The form is "
                f"{FORM}, with target.params as more keywords."
            ) from wrong
        if weights and "sample_weight" not in _passed(form):
            raise SettingsError(
                f"data.weight: a function that takes sample_weight is needed, but {self.path} has the arguments "
                f"{form}. Leave data.weight out, or take it."
            )

    @property
    def name(self) -> str:
        """The function with its parameters."""
        inside = ", ".join(f"{k}={v!r}" for k, v in self.params.items())
        return f"{self.path}({inside if len(inside) < 80 else '...'})"

    @property
    def fingerprint(self) -> str:
        """sha256 of path, parameters, preprocessing, kind of answers, and the code behind them (see ``code_of``)."""
        identity = [self.path, described(self.params), self.preprocess, self.answers, code_of(self._load())]
        return hashlib.sha256(json.dumps(["function", *identity], sort_keys=True).encode()).hexdigest()

    @property
    def probability_floor(self) -> float | None:
        """None for logits, else 1e-6."""
        return None if self.answers == "logits" else DEFAULT_FLOOR

    def fit(self, records: Records, index: np.ndarray, seed: int) -> Predictor:
        """Train on ``records[index]``; returns features -> log-probabilities or logits ``float32[rows, classes]``."""
        function, y = self._load(), records.y[index]
        x, same = _learnt(self.preprocess, records.columns, records.features[index])
        weight = None if records.weight is None else records.weight[index]
        offered = {"seed": seed, "device": self.device, "sample_weight": weight, "classes": len(records.classes)}
        passed = {k: offered[k] for k in _passed(inspect.signature(function))}
        with self._running():
            predict = function(x, y.copy(), **passed, **dict(self.params))
        if not callable(predict):
            raise SettingsError(
                f"target.recipe: a function predict(features) is needed from {self.path}, found a "
                f"{type(predict).__name__}. Return the method that answers, such as model.predict_proba."
            )
        seen, classes = np.unique(y), len(records.classes)

        def answer(features: np.ndarray) -> np.ndarray:
            with self._running():
                said = predict(same(features))
            return stored_answers(said, len(features), seen, classes, kind=self.answers)

        return answer

    def _load(self) -> Callable[..., Any]:
        if self.function is not None:
            return self.function
        try:
            found: Callable[..., Any] = load_function(self.path, self.folder or ".")
        except DataError as wrong:
            raise SettingsError([p.replace("data.source", "target.recipe") for p in wrong.problems]) from wrong
        return found

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The user's modules are found, and what they print does not mix with what the command prints."""
        with importable(Path(self.folder or ".")), redirect_stdout(sys.stderr):
            yield


def _passed(form: inspect.Signature) -> list[str]:
    """Which of the arguments that Locard offers a function takes."""
    kinds = {name: p.kind for name, p in form.parameters.items()}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name for name, kind in kinds.items() if kind in by_name}
    anything = inspect.Parameter.VAR_KEYWORD in kinds.values()
    return [k for k in ALWAYS if anything or k in named] + [k for k in ON_REQUEST if k in named]


def _learnt(
    how: Preprocess, columns: tuple[Column, ...] | None, x: np.ndarray
) -> tuple[Any, Callable[[np.ndarray], Any]]:
    """Training features preprocessed by what they show themselves, and the same for others."""
    steps = preprocessing(how, columns)
    if not steps:
        return x, lambda features: features
    ((_, step),) = steps
    step.fit(x.reshape(len(x), -1))

    def transform(features: np.ndarray) -> Any:
        out = step.transform(features.reshape(len(features), -1))
        return out.reshape(features.shape) if features.ndim > 2 else out

    return transform(x), transform
