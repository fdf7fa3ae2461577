"""``SklearnRecipe``: how a model is trained, without any data in it. Frozen, hashable, and named by its fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from locard.check import nearest
from locard.data.functions import load_function
from locard.data.records import Column, Records
from locard.errors import DataError, SettingsError
from locard.train.answers import ROUNDING
from locard.train.boosting import (
    fixed_seeds,
    held_out,
    library_of,
    needs_dense_classes,
    settle,
    stops_early,
    stops_early_inside,
    told_once,
)
from locard.train.fingerprint import code_of, described, without_cores
from locard.train.forests import probabilities

Predictor = Callable[[np.ndarray], np.ndarray]
Preprocess = Literal["auto", "standardise", "native", "none"]
DEFAULT_FLOOR = 1e-6


@runtime_checkable
class Recipe(Protocol):
    """How one model is trained. ``fit`` is the definition; the same arguments give the same model."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 of everything in it that may change the model."""
        ...

    @property
    def probability_floor(self) -> float | None:
        """Smallest probability that its answers can tell from zero; None where it answers with logits."""
        ...

    def fit(self, records: Records, index: np.ndarray, seed: int) -> Predictor:
        """Train on these places of the records; returns features -> log-probabilities ``float32[rows, classes]``."""
        ...


@dataclass(frozen=True, kw_only=True)
class SklearnRecipe:
    """A scikit-learn estimator (or one that follows its interface), cloned and fitted for every model.

    Tables are one-hot encoded (categories) and imputed and standardised (numbers) *inside* the fit, so that what a
    model knows of the data comes from its own training records. Random states that are not set get the model's own
    seed. ``n_jobs`` belongs to the machine, not to the recipe: every fit uses one core, and the models share the cores.
    Boosters that stop early (XGBoost, LightGBM, CatBoost) decide on a tenth of the model's own training records.

    Args:
        estimator: the dotted path of a class, or of a function that returns an estimator.
        params: its keyword arguments.
        preprocess: ``auto`` (tables encoded and standardised, arrays as they are), ``standardise`` (arrays too),
            ``native`` (tables as DataFrames with pandas categories and missing values), or ``none`` (codes, NaN).
        folder: where modules of the user's own are looked for first (the settings file's folder).

    >>> SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 3}).name
    'DecisionTreeClassifier(max_depth=3)'
    """

    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    preprocess: Preprocess = "auto"
    prototype: Any = field(default=None, compare=False, repr=False)
    folder: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, estimator: Any, *, preprocess: Preprocess = "auto") -> SklearnRecipe:
        """From an unfitted estimator object.

        Raises:
            SettingsError: it is no estimator, has no ``predict_proba``, or a parameter whose content cannot be named.
        """
        from sklearn.base import clone

        if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
            found = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
            raise SettingsError(
                f"recipe: an unfitted scikit-learn classifier object is needed, found {found}. Give, for example, "
                f"RandomForestClassifier(n_estimators=200), a training function, or a Recipe."
            )
        kind = type(estimator)
        recipe = cls(
            estimator=f"{kind.__module__}.{kind.__qualname__}",
            params=described(estimator.get_params(deep=False)),
            preprocess=preprocess,
            prototype=clone(estimator),
        )
        recipe.check()
        return recipe

    def build(self) -> Any:
        """A fresh, unfitted estimator.

        Raises:
            SettingsError: the path cannot be imported, the parameters do not fit, or there is no ``predict_proba``.
        """
        from sklearn.base import clone

        if self.prototype is not None:
            return clone(self.prototype)
        maker = import_path(self.estimator, "target.estimator", self.folder)
        if unknown := _unknown(maker, self.params):
            raise SettingsError([f"target.params: {self.estimator} has no parameter {one}" for one in unknown])
        try:
            built = maker(**dict(self.params))
        except Exception as wrong:  # whatever a user's own function may raise
            raise SettingsError(
                f"target.params: keyword arguments that {self.estimator} takes are needed, but it says: "
                f"{type(wrong).__name__}: {wrong}. Mend target.params."
            ) from wrong
        return built

    def check(self, *, weights: bool = False) -> None:
        """Refuse, before any training, an estimator that cannot be audited.

        Raises:
            SettingsError: no ``fit`` or no ``predict_proba`` (classes and probabilities are what attacks read),
                parameters that cannot be written down or whose values scikit-learn refuses, or weights that its
                ``fit`` does not take.
        """
        built = self.build()
        described(self.params)
        if not (hasattr(built, "fit") and hasattr(built, "get_params")):
            raise SettingsError(
                f"target.estimator: a scikit-learn estimator with fit() is needed, found {self.estimator}. "
                f"Name a classifier class, for example sklearn.ensemble.RandomForestClassifier."
            )
        if not hasattr(built, "predict_proba"):
            raise SettingsError(
                f"target.estimator: a classifier with predict_proba() is needed, found {self.estimator} without one. "
                f"Choose another, or switch it on (SVC: probability = true), or wrap it in "
                f"sklearn.calibration.CalibratedClassifierCV."
            )
        if refused := _refused_values(built):
            raise SettingsError(f"target.params: {one} Mend target.params." for one in refused)
        if weights and not takes_weight(built):
            raise SettingsError(
                f"data.weight: an estimator whose fit() takes sample_weight is needed, but {self.estimator} does not. "
                f"Leave data.weight out or choose another estimator."
            )
        if stops_early_inside(built):
            raise SettingsError(
                f"target.params: early stopping needs validation records, which are set aside where the booster itself "
                f"is target.estimator, but it stands inside {type(built).__name__}. Leave early stopping out, or write "
                f'a training function of your own (target.recipe = "module:function").'
            )

    def check_missing(self, records: Records) -> None:
        """Refuse, before any training, missing values that nothing fills in and the estimator does not take.

        Raises:
            SettingsError: scikit-learn says of this estimator of its own that it takes none.
        """
        encoded = records.columns is not None and self.preprocess != "none"  # the table encoder fills them in
        if encoded or records.features.dtype.kind != "f" or not (gone := np.isnan(records.features)).any():
            return
        built = self.build()
        if type(built).__module__.startswith("sklearn.") and not _inner(built) and not _takes_missing(built):
            raise SettingsError(
                f"target.estimator: an estimator that takes missing values is needed, because {int(gone.sum()):,} "
                f"values of the features are NaN, but {self.estimator} takes none. Fill them in, choose another "
                f"estimator, or put an imputer before it in a pipeline of your own."
            )

    @property
    def name(self) -> str:
        """The estimator with its parameters."""
        inside = ", ".join(f"{k}={_short(v)}" for k, v in self.params.items() if v is not None)
        return f"{self.estimator.rsplit('.', 1)[-1].rsplit(':', 1)[-1]}({inside if len(inside) < 80 else '...'})"

    @property
    def fingerprint(self) -> str:
        """sha256 of path, parameters (threads aside), preprocessing and the code behind them (see ``code_of``)."""
        if self.prototype is not None:
            code = code_of(type(self.prototype))
        else:
            code = code_of(import_path(self.estimator, "target.estimator", self.folder))
        params = without_cores(described(self.params))
        text = json.dumps([self.estimator, params, self.preprocess, code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the settings fix that a retraining would draw again."""
        fixed = fixed_seeds(self.build())
        if not fixed:
            return ()
        return (
            f"The training's own randomness: {', '.join(fixed)} is fixed in the recipe, so all models share it. An "
            f"attacker is taken to know it; leave it out to measure retraining.",
        )

    @property
    def probability_floor(self) -> float:
        """1 / (2 x trees) for forests, whose probabilities are averages of trees; else 1e-6."""
        return floor_of(self.build())

    def fit(self, records: Records, index: np.ndarray, seed: int) -> Predictor:
        """Train on ``records[index]``; returns features -> log-probabilities ``float32[rows, classes]``."""
        model = self._pipeline(records.columns)
        settle(model, seed)
        x, y = records.features[index], records.y[index]
        x = x.reshape(len(x), -1)
        weight = None if records.weight is None else records.weight[index]
        seen = np.unique(y)
        dense = needs_dense_classes(model)
        if dense:
            y = np.searchsorted(seen, y)
        with told_once(model):
            if stops_early(model.steps[-1][1]):
                _fit_stopping_early(model, x, y, weight, held_out(y, seed))
            else:
                weights = {} if weight is None else {f"{model.steps[-1][0]}__sample_weight": weight}
                model.fit(x, y, **weights)
        said = np.asarray(model.classes_, dtype=np.int64)
        return _log_probabilities(model, seen[said] if dense else said, len(records.classes))

    def _pipeline(self, columns: tuple[Column, ...] | None) -> Any:
        from sklearn.pipeline import Pipeline

        steps = preprocessing(self.preprocess, columns)
        return Pipeline([*steps, ("model", self.build())])


def preprocessing(how: Preprocess, columns: tuple[Column, ...] | None) -> list[tuple[str, Any]]:
    """Unfitted steps that are learnt inside every fit, from its training records alone."""
    if columns is not None and how == "native":
        from locard.train.native_table import NativeTable

        return [("table", NativeTable(columns))]
    if columns is not None and how != "none":
        return [("table", table_encoder(columns))]
    if how == "standardise":
        from sklearn.preprocessing import StandardScaler

        return [("scale", StandardScaler())]
    return []


def _fit_stopping_early(model: Any, x: Any, y: np.ndarray, weight: np.ndarray | None, held: np.ndarray) -> None:
    """Fit on the records that are not held out; the others only say when to stop."""
    train, validate = x[~held], x[held]
    for _, step in model.steps[:-1]:
        train = step.fit_transform(train, y[~held])
        validate = step.transform(validate)
    booster = model.steps[-1][1]
    library = library_of(booster)
    assert library is not None  # that is what stops early
    weights = {} if weight is None else {"sample_weight": weight[~held]}
    watching = library.validation(booster, validate, y[held], None if weight is None else weight[held])
    booster.fit(train, y[~held], **weights, **watching)


def table_encoder(columns: tuple[Column, ...]) -> Any:
    """Categories one-hot (a missing value is a level of its own), numbers imputed by the median and standardised."""
    from locard.train.table_encoder import TableEncoder

    return TableEncoder(columns)


def _log_probabilities(model: Any, seen: np.ndarray, classes: int) -> Predictor:
    library = library_of(last_step(model))
    asking = {} if library is None else dict(library.asking)

    def predict(features: np.ndarray) -> np.ndarray:
        said = np.asarray(probabilities(model, features.reshape(len(features), -1), **asking), dtype=np.float64)
        fits = said.shape == (len(features), len(seen))
        if not fits or not (said >= -ROUNDING).all() or said.max(initial=0) > 1 + ROUNDING:
            raise SettingsError(
                f"target.estimator: predict_proba() must give numbers between 0 and 1 of shape "
                f"{(len(features), len(seen))}, found shape {said.shape} with values from {said.min(initial=0):g} to "
                f"{said.max(initial=0):g}. Mend the estimator, or choose another."
            )
        p = np.zeros((len(features), classes), dtype=np.float64)
        p[:, seen] = np.clip(said, 0.0, 1.0)
        with np.errstate(divide="ignore"):
            return np.log(p).astype(np.float32)

    return predict


def last_step(estimator: Any) -> Any:
    """The classifier itself, where it stands at the end of pipelines."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    return estimator


def import_path(path: str, where: str, folder: str | Path | None = None) -> Any:
    """The object at ``package.module.Name`` or ``module:Name``, looked for in ``folder`` first, where one is given.

    Raises:
        SettingsError: it cannot be imported.
    """
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ImportError("not of the form package.module.Name or module:Name")
        if folder is not None:
            return load_function(f"{module}:{name}", folder)
        return getattr(importlib.import_module(module), name)
    except DataError as wrong:
        raise SettingsError([p.replace("data.source", where) for p in wrong.problems]) from wrong
    except Exception as missing:  # importing runs whatever is in the module
        raise SettingsError(
            f"{where}: a path that can be imported is needed, such as sklearn.ensemble.RandomForestClassifier, found "
            f"{path!r} ({type(missing).__name__}: {missing}). Check the spelling, or install the package."
        ) from missing


def _unknown(maker: Callable[..., Any], params: Mapping[str, Any]) -> list[str]:
    """Arguments that it does not take, each with the nearest that it takes; none where that cannot be known."""
    try:
        taken = inspect.signature(maker).parameters
    except (TypeError, ValueError):  # written in C, or no callable: calling it will tell
        return []
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return []
    return [f"{word!r}. {nearest(word, taken)}" for word in params if word not in taken]


def floor_of(estimator: Any) -> float:
    """The smallest probability that an estimator's answers can tell from zero.

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> floor_of(RandomForestClassifier(n_estimators=50))
    0.01
    """
    model = last_step(estimator)
    trees = getattr(model, "n_estimators", None)
    return 1.0 / (2 * int(trees)) if _averages_trees(model) and trees else DEFAULT_FLOOR


def _averages_trees(model: Any) -> bool:
    kind = type(model).__name__
    if kind == "BaggingClassifier":
        return model.estimator is None or "Tree" in type(model.estimator).__name__
    return "Forest" in kind or "ExtraTrees" in kind


def _inner(estimator: Any) -> list[Any]:
    """The estimators inside an estimator."""
    inside = estimator.get_params(deep=True).values()
    return [v for v in inside if hasattr(v, "get_params") and not isinstance(v, type)]


def _refused_values(estimator: Any) -> list[str]:
    """What scikit-learn says of parameter values that its own estimators would refuse in ``fit``; each once."""
    refused = []
    for one in (estimator, *_inner(estimator)):
        validate = getattr(one, "_validate_params", None)  # what fit() itself calls first
        if validate is None or not type(one).__module__.startswith("sklearn."):
            continue
        try:
            validate()
        except ValueError as wrong:
            refused.append(str(wrong).strip())
    return list(dict.fromkeys(refused))


def _takes_missing(estimator: Any) -> bool:
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def takes_weight(estimator: Any) -> bool:
    """Whether rows may have weights."""
    return "sample_weight" in inspect.signature(estimator.fit).parameters


def _short(value: Any) -> str:
    return value.get("class", "...").rsplit(".", 1)[-1] if isinstance(value, dict) and "class" in value else repr(value)
