"""Records from a function of the user's own: ``"module:function"``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from locard.check import nearest
from locard.data.records import Records
from locard.data.tables import from_frame
from locard.errors import DataError, LocardError

_loaded: dict[str, tuple[Path, str]] = {}  # user modules imported here: name -> (file, sha256 of its text)
_TABLE = ("label", "id", "unit", "groups", "drop", "weight", "keep")
_RECORDS = ("features", "labels", "ids", "groups", "unit", "weight")


def from_function(reference: str, base_dir: str | Path, *, table: Mapping[str, Any] | None = None) -> Records:
    """The records that a user's function returns, called without arguments.

    The module is looked for in ``base_dir`` (the folder of the settings file) first, then among the installed ones. The
    function returns one of

    - ``Records``
    - ``(features, labels)``; ids are then row numbers from 0
    - a mapping with ``features`` and ``labels``, optional ``ids``, ``unit``, ``groups``, ``weight``
    - a pandas DataFrame, or a mapping with ``frame`` and ``label`` (optional ``id``, ``unit``, ``groups``, ...)

    Args:
        reference: ``"module:function"``.
        base_dir: the folder where the module may be.
        table: the settings ``label``, ``id``, ...: needed for a plain DataFrame, refused elsewhere.

    Raises:
        DataError: the module or function is not there, raised an error, or returned something else.
    """
    given = {k: v for k, v in dict(table or {}).items() if v not in (None, (), [])}
    with importable(Path(base_dir)):
        function = _function(reference, Path(base_dir))
        try:
            returned = function()
        except LocardError:
            raise
        except Exception as wrong:
            raise DataError(f"{_raised(reference, wrong)} Mend the function.") from wrong
    return _records(reference, returned, given)


def load_function(reference: str, base_dir: str | Path) -> Any:
    """The user's function ``"module:function"``, looked for beside the settings file first.

    Raises:
        DataError: there is no such module or function.
    """
    with importable(Path(base_dir)):
        return _function(reference, Path(base_dir))


def module_source_hash(reference: str, base_dir: str | Path = ".") -> str:
    """sha256 of the whole file of the module in ``"module:function"``; nothing in it is run.

    Any change in the file changes the hash, in functions beside the named one too. Files that it imports are not in it.

    Raises:
        DataError: there is no such module, or it has no source file.
    """
    module, _ = _parts(reference)
    path = _file_in(module, Path(base_dir)) or _installed_file(module)
    if path is None:
        raise DataError(_no_module(reference, module, Path(base_dir)))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parts(reference: str) -> tuple[str, str]:
    module, colon, function = reference.partition(":")
    if not colon or not function.isidentifier() or not all(p.isidentifier() for p in module.split(".")):
        raise DataError(
            f"data.source: 'module:function' is needed, found {reference!r}. Write for example 'my_data:load'."
        )
    return module, function


def _file_in(module: str, base_dir: Path) -> Path | None:
    place = base_dir.resolve().joinpath(*module.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _installed_file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    found = spec is not None and spec.origin is not None and spec.has_location
    return Path(str(spec.origin)) if spec is not None and found else None


def _no_module(reference: str, module: str, base_dir: Path) -> str:
    beside = [p.stem for p in sorted(base_dir.glob("*.py"))] if base_dir.is_dir() else []
    return (
        f"data.source: a module {module!r} is needed for {reference!r}, found none in {base_dir.resolve()} nor among "
        f"the installed ones. {nearest(module, beside)}"
    )


@contextmanager
def importable(base_dir: Path) -> Iterator[None]:
    """The folder is searched first while the user's code is imported and runs, and no longer."""
    entry = str(base_dir.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _function(reference: str, base_dir: Path) -> Any:
    name, function = _parts(reference)
    module = _import(reference, name, base_dir)
    if not hasattr(module, function):
        names = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
        raise DataError(f"data.source: {name} has no {function!r}. {nearest(function, names)}")
    if not callable(found := getattr(module, function)):
        raise DataError(
            f"data.source: {reference} must be a function or class, found a {type(found).__name__}. Name one."
        )
    return found


def _import(reference: str, name: str, base_dir: Path) -> ModuleType:
    """The module, read again where its file has changed or another folder's module of that name was read before."""
    wanted = _file_in(name, base_dir)
    if wanted is None and name not in sys.modules and _installed_file(name) is None:
        raise DataError(_no_module(reference, name, base_dir))
    state = (wanted, hashlib.sha256(wanted.read_bytes()).hexdigest()) if wanted else None
    if name in _loaded and _loaded[name] != state:
        sys.modules.pop(name, None)
        del _loaded[name]
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except Exception as wrong:
        raise DataError(f"{_raised(reference, wrong)} Mend the module {name}.") from wrong
    if wanted is not None and state is not None:
        if Path(str(getattr(module, "__file__", ""))).resolve() != wanted:
            raise DataError(
                f"data.source: {wanted} cannot be imported, because the name {name!r} belongs to another module. "
                f"Rename the file."
            )
        _loaded[name] = (wanted, state[1])
    return module


def _raised(reference: str, wrong: Exception) -> str:
    trace, line = wrong.__traceback__, None
    while trace is not None:  # the last frame is where it went wrong
        line = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(wrong, SyntaxError):
        line = f"{wrong.filename}, line {wrong.lineno}"
    return (
        f"data.source: records are needed from {reference!r}, but it raised {type(wrong).__name__}: {wrong} ({line})."
    )


def _records(reference: str, returned: Any, given: dict[str, Any]) -> Records:
    if hasattr(returned, "columns") and hasattr(returned, "dtypes"):  # a DataFrame
        if "label" not in given:
            raise DataError(f"data.label: the label column of the table from {reference!r} is needed. Name it.")
        return from_frame(returned, **given)
    if given:
        raise DataError(
            f"data.{name}: it applies to tables only, and {reference!r} returned {_kind(returned)}. Leave it out, or "
            f"return a DataFrame."
            for name in given
        )
    if isinstance(returned, Records):
        return returned
    if isinstance(returned, tuple) and len(returned) == 2:
        return _plain_arrays({"features": returned[0], "labels": returned[1]})
    if isinstance(returned, Mapping) and "frame" in returned:
        _check_keys(reference, returned, ("frame", *_TABLE), ("frame", "label"))
        return from_frame(returned["frame"], **{k: v for k, v in returned.items() if k != "frame"})
    if isinstance(returned, Mapping):
        _check_keys(reference, returned, _RECORDS, ("features", "labels"))
        return _plain_arrays(dict(returned))
    raise DataError(
        f"data.source: Records, (features, labels), a DataFrame or a mapping is needed from {reference!r}, found "
        f"{_kind(returned)}. Return one of these."
    )


def _kind(returned: Any) -> str:
    of = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
    return f"{type(returned).__name__}{of}"


def _plain_arrays(values: dict[str, Any]) -> Records:
    if values.get("ids") is not None:
        return Records(**values)
    values["ids"] = np.arange(len(values["labels"]))
    return Records(**values, notes=("no ids were given, so the ids are row numbers, from 0 on",))


def _check_keys(reference: str, returned: Mapping[str, Any], known: tuple[str, ...], needed: tuple[str, ...]) -> None:
    problems = [
        f"data.source: {reference!r} returned a mapping with the unknown key {str(k)!r}. {nearest(str(k), known)}"
        for k in returned
        if k not in known
    ]
    problems += [
        f"data.source: {reference!r} returned a mapping without {k!r}, which is needed."
        for k in needed
        if k not in returned
    ]
    if problems:
        raise DataError(problems)
