"""Released models: any object with ``predict_proba``, a skops or ONNX file, or a function that returns one.

A pickle runs whatever code is in it when it is opened, so pickle and joblib files are refused unless the owner of the
settings says ``trust_pickle = true``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locard.data.frames import decode
from locard.data.functions import load_function
from locard.data.records import Records
from locard.errors import DataError, LocardError, MissingExtra, SettingsError
from locard.types import Logits

PICKLES = (".pkl", ".pickle", ".joblib")
# Plain containers of numbers inside scikit-learn's own models, which skops leaves to its caller
SKLEARN_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)


@dataclass(frozen=True, eq=False)
class ReleasedModel:
    """A model that will really be released: what to call it, and records -> class probabilities."""

    name: str
    predict: Callable[[Records], np.ndarray]
    classes: np.ndarray | None
    parameters: dict[str, Any] | None = None
    kind: str | None = None

    def check(self, records: Records) -> None:
        """Refuse a model whose classes are not those of the records.

        Raises:
            SettingsError: with both lists.
        """
        if self.classes is not None and not _same(self.classes, records.classes):
            raise SettingsError(
                f"released.model: a model with the classes of the data ({_some(records.classes)}) is needed, found one "
                f"with ({_some(self.classes)}). Release the model that belongs to this data, or mend data.label."
            )
        answer = self._ask(records.select(np.arange(min(2, len(records)))))
        if answer.ndim != 2 or answer.shape[1] != len(records.classes):
            raise SettingsError(
                f"released.model: probabilities [records, {len(records.classes)} classes] are needed, found shape "
                f"{answer.shape}. Give a classifier with predict_proba for these classes."
            )

    def _ask(self, records: Records) -> np.ndarray:
        try:
            return np.asarray(self.predict(records), dtype=np.float64)
        except LocardError:
            raise
        except Exception as wrong:  # the model is the user's: whatever it may raise
            raise SettingsError(
                f"released.model: answers for the columns of the data are needed, but asking {self.name} raised "
                f"{type(wrong).__name__}: {str(wrong).splitlines()[0] if str(wrong) else ''}. Release the model that "
                f"belongs to this data, or wrap it in a function that prepares its inputs."
            ) from wrong

    def log_probabilities(self, records: Records) -> Logits:
        """``float32[records, 1, classes]``; -inf for probability zero.

        Raises:
            SettingsError: answers that are not probabilities.
        """
        p = self._ask(records)
        if not (np.isfinite(p).all() and p.min(initial=0) >= 0 and p.max(initial=0) <= 1 + 1e-6):
            raise SettingsError(
                "released.model: probabilities between 0 and 1 are needed from predict_proba, found others. "
                "Check the model, and that its inputs are the columns of the data."
            )
        with np.errstate(divide="ignore"):
            logs: Logits = np.log(np.minimum(p, 1.0)).astype(np.float32)[:, None, :]
        return logs


def load_model(
    source: Any, *, base: Path, trust_pickle: bool = False, trust_types: tuple[str, ...] = ()
) -> ReleasedModel:
    """A released model from an object, a file or ``module:function``.

    Raises:
        SettingsError: the file is missing, damaged, of an unknown kind, or a pickle without ``trust_pickle``.
        MissingExtra: skops or onnxruntime is not installed.
    """
    if not isinstance(source, str | Path):
        return _of_object(source, type(source).__name__)
    text = str(source)
    if ":" in text and not (base / text).exists():
        return _of_object(_made_by(text, base), text)
    path = base / text
    if not path.is_file():
        raise SettingsError(f"released.model: a file or 'module:function' is needed, but {path} does not exist.")
    suffix = path.suffix.lower()
    if suffix == ".skops":
        return _of_object(_read_skops(path, trust_types), path.name)
    if suffix == ".onnx":
        return _of_onnx(path)
    if suffix in PICKLES:
        return _of_object(_read_pickle(path, trust_pickle), path.name)
    raise SettingsError(
        f"released.model: a .skops or .onnx file, or 'module:function', is needed, found {path.name}. "
        f"Save the model with skops.io.dump, or write a function that returns it."
    )


def _made_by(reference: str, base: Path) -> Any:
    try:
        return load_function(reference, base)()
    except DataError as wrong:
        raise SettingsError([p.replace("data.source", "released.model") for p in wrong.problems]) from wrong
    except Exception as wrong:  # the function is the user's: whatever it may raise
        raise SettingsError(
            f"released.model: a model is needed from {reference!r}, but it raised {type(wrong).__name__}: {wrong}. "
            f"Mend the function."
        ) from wrong


def _of_object(model: Any, name: str) -> ReleasedModel:
    if not callable(getattr(model, "predict_proba", None)):
        raise SettingsError(
            f"released.model: an object with predict_proba(features) is needed, found a {type(model).__name__}. "
            f"Wrap it in a class with that method."
        )
    classes = getattr(model, "classes_", None)
    getter = getattr(model, "get_params", None)
    inner = model.steps[-1][1] if hasattr(model, "steps") else model
    return ReleasedModel(
        name=name,
        predict=lambda records: np.asarray(model.predict_proba(_inputs(model, records))),
        classes=None if classes is None else np.asarray(classes),
        parameters=inner.get_params(deep=False) if callable(getter) and hasattr(inner, "get_params") else None,
        kind=f"{type(inner).__module__}.{type(inner).__qualname__}",
    )


def _inputs(model: Any, records: Records) -> Any:
    """What the model was trained on: a DataFrame where it remembers column names, the plain array elsewhere."""
    names = getattr(model, "feature_names_in_", None)
    flat = records.features.reshape(len(records), -1)
    if records.columns is None:
        return flat
    frame = decode(records.features, records.columns)
    if names is None:
        return flat if getattr(model, "n_features_in_", None) == flat.shape[1] else frame
    absent = [n for n in names if n not in frame.columns]
    if absent:
        raise SettingsError(
            f"released.model: it was trained on columns that the data has not ({', '.join(map(str, absent[:5]))}). "
            f"Give the same table, or release the model of this one."
        )
    return frame[list(names)]


def _read_skops(path: Path, trust: tuple[str, ...]) -> Any:
    try:
        from skops import io
    except ImportError as absent:
        raise MissingExtra("skops", "skops", "Opening a .skops file") from absent
    try:
        unknown = io.get_untrusted_types(file=path)
        strange = [t for t in unknown if t not in SKLEARN_TYPES and t not in trust]
        if strange:
            raise SettingsError(
                f"released.model: {path.name} holds types that skops does not know to be safe ({', '.join(strange)}). "
                f"If you trust where the file comes from, name them in released.trust_types."
            )
        return io.load(path, trusted=unknown)
    except SettingsError:
        raise
    except Exception as damaged:  # a damaged archive fails wherever its reader notices
        raise SettingsError(
            f"released.model: a whole skops file is needed, but {path.name} cannot be read ({type(damaged).__name__}: "
            f"{damaged}). Save it again with skops.io.dump."
        ) from damaged


def _read_pickle(path: Path, trust: bool) -> Any:
    if not trust:
        raise SettingsError(
            f"released.model: {path.name} is a pickle, and opening one runs whatever code is in it. If you made it "
            f"yourself or trust who did, set released.trust_pickle = true; better, save the model with skops.io.dump."
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as damaged:  # a damaged pickle fails wherever its reader notices
        raise SettingsError(
            f"released.model: a whole pickle is needed, but {path.name} cannot be read ({type(damaged).__name__}: "
            f"{damaged}). Save it again, with the versions that are installed here."
        ) from damaged


def _of_onnx(path: Path) -> ReleasedModel:
    try:
        import onnxruntime
    except ImportError as absent:
        raise MissingExtra("onnxruntime", "onnx", "Opening a .onnx file") from absent
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as damaged:  # onnxruntime's own errors share no public base class
        raise SettingsError(f"released.model: {path.name} cannot be read as an ONNX file ({damaged}).") from damaged

    def predict(records: Records) -> np.ndarray:
        answers = session.run(None, _onnx_inputs(session, records))
        for answer in reversed(answers):
            if isinstance(answer, list):  # scikit-learn's ZipMap: one dict a record
                return np.array([[row[k] for k in sorted(row)] for row in answer])
            if answer.ndim == 2 and answer.dtype.kind == "f":
                return np.asarray(answer, dtype=np.float64)
        raise SettingsError(f"released.model: {path.name} has no output of probabilities [records, classes].")

    return ReleasedModel(name=path.name, predict=predict, classes=None)


def _onnx_inputs(session: Any, records: Records) -> dict[str, np.ndarray]:
    inputs = session.get_inputs()
    if len(inputs) == 1:
        kind = np.float64 if "double" in inputs[0].type else np.float32
        return {inputs[0].name: records.features.reshape(len(records), -1).astype(kind)}
    if records.columns is None:
        raise SettingsError(f"released.model: it has {len(inputs)} inputs, but the data is one array.")
    frame = decode(records.features, records.columns)
    absent = [i.name for i in inputs if i.name not in frame.columns]
    if absent:
        raise SettingsError(f"released.model: its inputs {', '.join(absent)} are no columns of the data.")
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    return {i.name: frame[i.name].to_numpy()[:, None].astype(kinds.get(i.type, object)) for i in inputs}


def _same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether two lists of classes are the same; 1, 1.0 and "1" are one class."""
    if len(ours) != len(theirs):
        return False
    return all(a == b or str(a) == str(b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True))


def _some(values: np.ndarray) -> str:
    text = ", ".join(map(str, values[:6]))
    return text if len(values) <= 6 else f"{text}, ... {len(values)} in all"
