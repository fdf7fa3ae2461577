"""What XGBoost, LightGBM and CatBoost must be told so that a fit is repeatable, uses one thread and keeps quiet.

They follow scikit-learn's interface, with names and habits of their own: threads, seeds, what is printed, and early
stopping that wants validation records. Nothing here changes what a recipe means, so none of it is in a key.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from locard.seeds import Seed

THREADS = (
    "n_jobs",
    "num_threads",
    "num_thread",
    "nthread",
    "nthreads",
    "thread_count",
)  # of the machine, not the recipe
VALIDATION = 0.1  # share of a model's own training records that decides when early stopping stops


@dataclass(frozen=True)
class Library:
    """One library's names.

    Args:
        threads: its parameter for threads (others are its aliases).
        seeds: its names for the seed, the one to set first.
        habits: names of which the user may have set one -> the value that the first is given where none is set.
        stopping: any of these set means early stopping.
        validation: held-out features, labels and weights -> keyword arguments of ``fit``.
        asking: keyword arguments of ``predict_proba``.
    """

    threads: str
    seeds: tuple[str, ...]
    stopping: tuple[str, ...]
    validation: Callable[[Any, Any, np.ndarray, np.ndarray | None], dict[str, Any]]
    habits: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    asking: Mapping[str, Any] = field(default_factory=dict)


def _of_xgboost(model: Any, x: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, Any]:
    weights = {} if weight is None else {"sample_weight_eval_set": [weight]}
    return {"eval_set": [(x, y)], "verbose": False, **weights}


def _of_lightgbm(model: Any, x: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, Any]:
    weights = {} if weight is None else {"eval_sample_weight": [weight]}
    if "eval_X" in inspect.signature(model.fit).parameters:  # from version 4.7 on
        return {"eval_X": (x,), "eval_y": (y,), **weights}
    return {"eval_set": [(x, y)], **weights}


def _of_catboost(model: Any, x: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, Any]:
    pool = import_module("catboost").Pool
    return {"eval_set": pool(x, y, weight=weight, cat_features=model.get_params().get("cat_features"))}


LIBRARIES = {
    "xgboost": Library(
        threads="n_jobs",
        seeds=("random_state", "seed"),
        stopping=("early_stopping_rounds",),
        validation=_of_xgboost,
    ),
    "lightgbm": Library(
        threads="n_jobs",
        seeds=("random_state", "seed", "random_seed"),
        stopping=("early_stopping_rounds", "early_stopping_round", "early_stopping", "n_iter_no_change"),
        validation=_of_lightgbm,
        # else it times two ways of counting and takes the faster one: their sums round differently
        habits={("force_col_wise", "force_row_wise"): True, ("deterministic",): True, ("verbosity", "verbose"): 0},
    ),
    "catboost": Library(
        threads="thread_count",
        seeds=("random_seed", "random_state"),
        stopping=("early_stopping_rounds", "od_wait"),
        validation=_of_catboost,
        habits={
            ("verbose", "silent", "logging_level", "verbose_eval", "metric_period"): False,
            ("allow_writing_files",): False,  # else every fit writes into the folder that it was called from
        },
        asking={"thread_count": 1},
    ),
}


def library_of(estimator: Any) -> Library | None:
    """The boosting library that an estimator's class comes from."""
    tops = {part.__module__.partition(".")[0] for part in type(estimator).__mro__}
    return next((library for name, library in LIBRARIES.items() if name in tops), None)


def parts(model: Any) -> dict[str, Any]:
    """An estimator and all estimators in it, by the prefix of their parameters."""
    inner = model.get_params(deep=True).items()
    return {"": model} | {f"{k}__": v for k, v in inner if hasattr(v, "get_params") and not isinstance(v, type)}


def settle(model: Any, seed: int) -> None:
    """One thread, the model's own seed where none is set, and each library's habits, however deep they stand.

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> forest = RandomForestClassifier(n_jobs=-1)
    >>> settle(forest, 7)
    >>> forest.n_jobs, forest.random_state
    (1, 7)
    """
    model.set_params(**dict.fromkeys(_open_seeds(model), seed))
    for part in parts(model).values():
        own, library = part.get_params(deep=False), library_of(part)
        wanted: dict[str, Any] = {name: 1 for name in THREADS if own.get(name) is not None}
        if library is not None:
            wanted[library.threads] = 1
            wanted |= {n[0]: v for n, v in library.habits.items() if all(own.get(name) is None for name in n)}
        if wanted:
            part.set_params(**wanted)


def _open_seeds(model: Any) -> list[str]:
    found = []
    for prefix, part in parts(model).items():
        own, library = part.get_params(deep=False), library_of(part)
        if library is None:
            found += [prefix + k for k, v in own.items() if k.endswith("random_state") and v is None]
        elif all(own.get(name) is None for name in library.seeds):
            found.append(prefix + library.seeds[0])
    return sorted(found)


def fixed_seeds(model: Any) -> list[str]:
    """Parameters that fix the randomness of every model of an audit, sorted."""
    found = set()
    for prefix, part in parts(model).items():
        library = library_of(part)
        seeds = () if library is None else library.seeds
        own = part.get_params(deep=False).items()
        found |= {prefix + k for k, v in own if v is not None and (k.endswith("random_state") or k in seeds)}
    return sorted(found)


def stops_early(estimator: Any) -> bool:
    """Whether this very estimator is a booster that wants validation records."""
    library = library_of(estimator)
    if library is None:
        return False
    own = estimator.get_params(deep=False)
    return not own.get("eval_fraction") and any(own.get(name) for name in library.stopping)


def stops_early_inside(estimator: Any) -> bool:
    """Whether a booster inside another estimator wants validation records, which nobody there would give it."""
    return any(stops_early(part) for prefix, part in parts(estimator).items() if prefix)


def needs_dense_classes(model: Any) -> bool:
    """Whether class numbers must be 0, 1, ... without a gap, as XGBoost wants them, here or further inside."""
    return any(library_of(part) is LIBRARIES["xgboost"] for part in parts(model).values())


def held_out(y: np.ndarray, seed: int) -> np.ndarray:
    """``bool[records]``: a tenth, at least one, of each class with two records or more, drawn by the model's seed."""
    rng = Seed(seed).child("validation").generator()
    out = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        places = np.flatnonzero(y == label)
        if len(places) > 1:
            out[rng.permutation(places)[: max(1, int(VALIDATION * len(places)))]] = True
    return out


_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\] WARNING: [^\n]*?:\d+:\s*")  # XGBoost's: no two of them are alike
_WARNED = re.compile(r"^\[LightGBM\] \[Warning\] ")


@contextmanager
def told_once(model: Any) -> Iterator[None]:
    """What the libraries print or warn of becomes warnings that read the same for every model; the rest is stderr's.

    Standard output belongs to the command (``--json``), and a model's own training log is no part of an audit.
    """
    if not any(library_of(part) for part in parts(model).values()):
        yield
        return
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(record=True) as caught, redirect_stdout(printed):
            warnings.simplefilter("always")
            yield
    finally:
        lines = printed.getvalue().splitlines()
        said = [(_one_line(str(w.message)), w.category) for w in caught]
        said += [(_WARNED.sub("LightGBM: ", line), UserWarning) for line in lines if _WARNED.match(line)]
        for line in lines:
            if not _WARNED.match(line):
                print(line, file=sys.stderr)
        for message, kind in dict.fromkeys(said):
            warnings.warn(message, kind, stacklevel=3)


def _one_line(message: str) -> str:
    stamped = _STAMP.match(message)
    return " ".join(message[stamped.end() :].split()) if stamped else message
