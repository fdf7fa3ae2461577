"""Finished models: any object with ``predict_proba``, a skops or ONNX file, or a function that returns one.

A pickle runs whatever code is in it when it is opened, so pickle and joblib files are refused unless the owner of the
settings says ``trust_pickle = true``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locard.data.frames import decode
from locard.data.functions import importable, load_function
from locard.data.records import Records
from locard.errors import DataError, LocardError, MissingExtra, SettingsError
from locard.train.answers import ROUNDING, AnswerKind, stored_answers
from locard.train.fingerprint import code_of
from locard.train.recipe import DEFAULT_FLOOR, floor_of
from locard.types import Logits

PICKLES = (".pkl", ".pickle", ".joblib")
CHECKED = 1000  # records a released model is asked about before anything is trained
# Plain containers of numbers inside scikit-learn's own models, which skops leaves to its caller
SKLEARN_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)


RELEASED = "released.model"  # the setting that names the model, unless another one does


@dataclass(frozen=True, eq=False)
class ReleasedModel:
    """A finished model: what to call it, and records -> class probabilities.

    ``classes`` are those of its columns, where it says so; ``answers`` is what a function of the user's own is said to
    give (None: it has ``predict_proba``); ``where`` is the setting that messages name; ``floor`` the smallest
    probability that it can tell from zero; ``code`` tells versions of the code behind it apart.
    """

    name: str
    predict: Callable[[Records], np.ndarray]
    classes: np.ndarray | None
    parameters: dict[str, Any] | None = None
    kind: str | None = None
    where: str = RELEASED
    answers: AnswerKind | None = None
    floor: float = DEFAULT_FLOOR
    code: tuple[str, ...] = ()

    def check(self, records: Records, *, some_classes: bool = False) -> None:
        """Refuse, before any training, a model with other classes, or one that does not answer as it must.

        Args:
            records: the data; up to ``CHECKED`` of them, spread over all, are asked about.
            some_classes: whether a model that knows only some of the classes will do.

        Raises:
            SettingsError: classes that are not those of the records (with both lists), or answers to some of the
                records that are no probabilities.
        """
        self.check_classes(records, some_classes=some_classes)
        spread = np.linspace(0, len(records) - 1, num=min(len(records), CHECKED)).astype(np.int64)
        self.log_probabilities(records.select(np.unique(spread)))

    def check_classes(self, records: Records, *, some_classes: bool = False) -> None:
        """The same of its classes alone: nothing is asked.

        Raises:
            SettingsError: classes that are not those of the records.
        """
        if len(self._columns(records)) < len(records.classes) and not some_classes:
            raise self._strange(records)

    def log_probabilities(self, records: Records) -> Logits:
        """``float32[records, 1, classes]``; -inf for probability zero and for a class that it does not know.

        Logits come back as they are.

        Raises:
            SettingsError: answers that are not what they are said to be.
        """
        answer, columns = self._ask(records), self._columns(records)
        count = len(records.classes)
        if self.answers is not None:
            return stored_answers(answer, len(records), columns, count, kind=self.answers, where=self.where)[:, None, :]
        if answer.shape != (len(records), len(columns)):
            raise SettingsError(
                f"{self.where}: probabilities of shape {(len(records), len(columns))} ([records, classes]) are needed, "
                f"found shape {answer.shape}. Give a classifier with predict_proba for these classes."
            )
        low, high = answer.min(initial=0), answer.max(initial=0)
        if not (np.isfinite(answer).all() and low >= -ROUNDING and high <= 1 + ROUNDING):
            found = f"{low:g} to {high:g}" if np.isfinite(answer).all() else "NaN or infinite ones"
            raise SettingsError(
                f"{self.where}: probabilities between 0 and 1 are needed from predict_proba, found {found}. "
                f"Check the model, and that its inputs are the columns of the data."
            )
        p = np.zeros((len(records), count))
        p[:, columns] = np.clip(answer, 0.0, 1.0)
        with np.errstate(divide="ignore"):
            logs: Logits = np.log(p).astype(np.float32)[:, None, :]
        return logs

    def _columns(self, records: Records) -> np.ndarray:
        """The class number of each of the model's columns."""
        if self.classes is None:
            return np.arange(len(records.classes))
        places = _places(self.classes, records.classes)
        if places is None:
            raise self._strange(records)
        return places

    def _strange(self, records: Records) -> SettingsError:
        theirs = np.zeros(0) if self.classes is None else self.classes
        return SettingsError(
            f"{self.where}: a model with the classes of the data ({_some(records.classes)}) is needed, found one with "
            f"({_some(theirs)}). Give the model that belongs to this data, or mend data.label."
        )

    def _ask(self, records: Records) -> np.ndarray:
        try:
            return np.asarray(self.predict(records), dtype=np.float64)
        except LocardError:
            raise
        except Exception as wrong:  # the model is the user's: whatever it may raise
            raise SettingsError(
                f"{self.where}: answers for the columns of the data are needed, but asking {self.name} raised "
                f"{type(wrong).__name__}: {_first_line(wrong)}. Give the model that "
                f"belongs to this data, or wrap it in a function that prepares its inputs."
            ) from wrong


@dataclass(frozen=True)
class Opening:
    """How files are opened, and which setting named them.

    ``loader`` is a function of the user's own that is called with the path, and ``answers`` what its models give.
    """

    trust_pickle: bool = False
    trust_types: tuple[str, ...] = ()
    where: str = RELEASED
    loader: str | None = None
    answers: AnswerKind = "probabilities"

    @property
    def section(self) -> str:
        """The section of the settings with ``trust_pickle`` and ``trust_types``."""
        return self.where.partition(".")[0]


def load_model(source: Any, *, base: Path, opening: Opening | None = None) -> ReleasedModel:
    """A finished model from an object, a file or ``module:function``.

    Raises:
        SettingsError: the file is missing, damaged, of an unknown kind, or a pickle without ``trust_pickle``.
        MissingExtra: skops or onnxruntime is not installed.
    """
    how = Opening() if opening is None else opening
    if not isinstance(source, str | Path):
        return _of_object(source, type(source).__name__, how)
    text = str(source)
    path = base / text
    if how.loader is None and ":" in text and not path.exists():
        return _of_object(_made_by(text, base, how), text, how)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SettingsError(f"{how.where}: a file or 'module:function' is needed, but {path} {what}.")
    if how.loader is not None:
        return _of_object(_made_by(how.loader, base, how, str(path.resolve())), path.name, how)
    suffix = path.suffix.lower()
    if suffix == ".skops":
        return _of_object(_read_skops(path, how), path.name, how)
    if suffix == ".onnx":
        return _of_onnx(path, how)
    if suffix in PICKLES:
        return _of_object(_read_pickle(path, how), path.name, how)
    raise SettingsError(
        f"{how.where}: a .skops or .onnx file, or 'module:function', is needed, found {path.name}. "
        f"Save the model with skops.io.dump, or write a function that returns it."
    )


def _made_by(reference: str, base: Path, how: Opening, *arguments: str) -> Any:
    try:
        function = load_function(reference, base)
        with importable(base), redirect_stdout(sys.stderr):
            return function(*arguments)
    except DataError as wrong:
        raise SettingsError([p.replace("data.source", how.where) for p in wrong.problems]) from wrong
    except Exception as wrong:  # the function is the user's: whatever it may raise
        raise SettingsError(
            f"{how.where}: a model is needed from {reference!r}, but it raised {type(wrong).__name__}: "
            f"{_first_line(wrong)}. Mend the function."
        ) from wrong


def _of_object(model: Any, name: str, how: Opening) -> ReleasedModel:
    if how.loader is not None and callable(model) and not hasattr(model, "predict_proba"):
        return ReleasedModel(name, lambda r: _answered(model(_table(r))), None, where=how.where, answers=how.answers)
    if not callable(getattr(model, "predict_proba", None)):
        raise SettingsError(
            f"{how.where}: an object with predict_proba(features) is needed, found a {type(model).__name__}. "
            f"Wrap it in a class with that method."
        )
    if how.answers == "logits":
        raise SettingsError(
            f'target.answers: "probabilities" is needed for models with predict_proba, found "logits". Leave it out, '
            f"or let {how.section}.loader return a function features -> logits."
        )
    classes = getattr(model, "classes_", None)
    getter = getattr(model, "get_params", None)
    inner = model.steps[-1][1] if hasattr(model, "steps") else model
    return ReleasedModel(
        name=name,
        predict=lambda records: np.asarray(model.predict_proba(_inputs(model, records, how.where))),
        classes=None if classes is None else np.asarray(classes),
        parameters=inner.get_params(deep=False) if callable(getter) and hasattr(inner, "get_params") else None,
        kind=f"{type(inner).__module__}.{type(inner).__qualname__}",
        where=how.where,
        floor=floor_of(model),
        code=tuple(code_of(type(inner))),
    )


def _table(records: Records) -> Any:
    """What a function of the user's own is asked with: the table with its own values, or the array as it is."""
    return records.features if records.columns is None else decode(records.features, records.columns)


def _answered(said: Any) -> np.ndarray:
    if hasattr(said, "detach"):  # a torch tensor may still belong to a graph, or live on another device
        said = said.detach().cpu().double()
    return np.asarray(said, dtype=np.float64)


def _inputs(model: Any, records: Records, where: str) -> Any:
    """What the model was trained on: a DataFrame where it remembers column names, the plain array elsewhere.

    Categories are handed over as the text of the table, never as the codes that stand for them here: a model with
    codes of its own must not take ours for them.
    """
    names = getattr(model, "feature_names_in_", None)
    flat = records.features.reshape(len(records), -1)
    if records.columns is None:
        return flat
    frame = decode(records.features, records.columns)
    if names is None:
        plain = getattr(model, "n_features_in_", None) == flat.shape[1]
        return (frame.to_numpy() if _categories(records) else flat) if plain else frame
    absent = [n for n in names if n not in frame.columns]
    if absent:
        raise SettingsError(
            f"{where}: it was trained on columns that the data has not ({', '.join(map(str, absent[:5]))}). "
            f"Give the same table, or the model of this one."
        )
    return frame[list(names)]


def _read_skops(path: Path, how: Opening) -> Any:
    try:
        from skops import io
    except ImportError as absent:
        raise MissingExtra("skops", "skops", "Opening a .skops file") from absent
    try:
        unknown = io.get_untrusted_types(file=path)
        strange = [t for t in unknown if t not in SKLEARN_TYPES and t not in how.trust_types]
        if strange:
            raise SettingsError(
                f"{how.where}: {path.name} holds types that skops does not know to be safe ({', '.join(strange)}). "
                f"If you trust where the file comes from, name them in {how.section}.trust_types."
            )
        return io.load(path, trusted=unknown)
    except SettingsError:
        raise
    except Exception as damaged:  # a damaged archive fails wherever its reader notices
        raise SettingsError(
            f"{how.where}: a whole skops file is needed, but {path.name} cannot be read ({type(damaged).__name__}: "
            f"{damaged}). Save it again with skops.io.dump."
        ) from damaged


def _read_pickle(path: Path, how: Opening) -> Any:
    if not how.trust_pickle:
        raise SettingsError(
            f"{how.where}: {path.name} is a pickle, and opening one runs whatever code is in it. If you made it "
            f"yourself or trust who did, set {how.section}.trust_pickle = true; better, save the model with "
            f"skops.io.dump."
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as damaged:  # a damaged pickle fails wherever its reader notices
        raise SettingsError(
            f"{how.where}: a whole pickle is needed, but {path.name} cannot be read ({type(damaged).__name__}: "
            f"{damaged}). Save it again, with the versions that are installed here."
        ) from damaged


def _of_onnx(path: Path, how: Opening) -> ReleasedModel:
    try:
        import onnxruntime
    except ImportError as absent:
        raise MissingExtra("onnxruntime", "onnx", "Opening a .onnx file") from absent
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # models share the cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as damaged:  # onnxruntime's own errors share no public base class
        raise SettingsError(
            f"{how.where}: a whole ONNX file is needed, but {path.name} cannot be read ({_first_line(damaged)}). "
            f"Export the model again."
        ) from damaged

    def predict(records: Records) -> np.ndarray:
        answers = session.run(None, _onnx_inputs(session, records, how.where))
        for answer in reversed(answers):
            if isinstance(answer, list):  # scikit-learn's ZipMap: one dict a record
                return np.array([[row[k] for k in sorted(row)] for row in answer])
            if answer.ndim == 2 and answer.dtype.kind == "f":
                return np.asarray(answer, dtype=np.float64)
        raise SettingsError(f"{how.where}: {path.name} has no output of probabilities [records, classes].")

    code = (f"onnxruntime {onnxruntime.__version__}",)
    return ReleasedModel(name=path.name, predict=predict, classes=None, where=how.where, code=code)


def _onnx_inputs(session: Any, records: Records, where: str) -> dict[str, np.ndarray]:
    inputs = session.get_inputs()
    if len(inputs) == 1 and (named := _categories(records)):
        raise SettingsError(
            f"{where}: its one input takes numbers, but the data has categories ({', '.join(named[:5])}). "
            f"Convert the whole pipeline with one input a column, or wrap it in a function that encodes the table."
        )
    if len(inputs) == 1:
        kind = np.float64 if "double" in inputs[0].type else np.float32
        return {inputs[0].name: records.features.reshape(len(records), -1).astype(kind)}
    if records.columns is None:
        raise SettingsError(f"{where}: it has {len(inputs)} inputs, but the data is one array.")
    frame = decode(records.features, records.columns)
    absent = [i.name for i in inputs if i.name not in frame.columns]
    if absent:
        raise SettingsError(f"{where}: its inputs {', '.join(absent)} are no columns of the data.")
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    return {i.name: frame[i.name].to_numpy()[:, None].astype(kinds.get(i.type, object)) for i in inputs}


def _places(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray | None:
    """Where each of a model's classes stands among those of the data; 1, 1.0 and "1" are one class."""
    known = ours.tolist()
    by_text = {str(c): k for k, c in enumerate(known)}
    found = [known.index(c) if c in known else by_text.get(str(c)) for c in theirs.tolist()]
    return None if None in found or len(set(found)) < len(found) else np.array(found, dtype=np.int64)


def _first_line(wrong: BaseException) -> str:
    return str(wrong).strip().partition("\n")[0].rstrip(".")


def _categories(records: Records) -> list[str]:
    return [c.name for c in records.columns or () if c.kind == "category"]


def _some(values: np.ndarray) -> str:
    text = ", ".join(map(str, values[:6]))
    return text if len(values) <= 6 else f"{text}, ... {len(values)} in all"
