"""What identifies a recipe: its parameters as plain values, and the code behind every class and function in them."""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from locard.errors import SettingsError
from locard.train.boosting import THREADS

KEYED = ("locard", "numpy", "scipy", "sklearn")  # their versions are in every key already (train/jobs.py)


def described(value: Any) -> Any:
    """Parameters as plain values whose text says everything about them: estimators by class, parameters and code.

    Raises:
        SettingsError: a value whose content cannot be written down.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): described(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [described(v) for v in value]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": f"{value.dtype}{value.shape}", "sha256": digest}
    if hasattr(value, "get_params") and not isinstance(value, type):
        params = described(value.get_params(deep=False))
        return {"class": _path(type(value)), "params": params, "code": code_of(type(value))}
    if isinstance(value, type | FunctionType | BuiltinFunctionType | np.ufunc):
        return {"function": _path(value), "code": code_of(value)}
    raise SettingsError(
        f"target.params: values that can be written down are needed (numbers, texts, lists, estimators, functions), "
        f"found a {type(value).__name__}. Set it inside a function of your own and name that as target.estimator."
    )


def without_cores(plain: Any) -> Any:
    """Described parameters without ``n_jobs`` and its like, which belong to the machine."""
    if isinstance(plain, dict):
        return {k: without_cores(v) for k, v in plain.items() if k.rpartition("__")[2] not in THREADS}
    return [without_cores(v) for v in plain] if isinstance(plain, list) else plain


def code_of(thing: Any) -> list[str]:
    """What tells two versions of a class's or function's code apart, sorted.

    The text of the user's own module and of their modules that it uses, the versions of the installed packages that
    these import (inside functions too), or, where no file names it (in a notebook; lambdas, closures), compiled code.
    """
    parts = [p for p in thing.__mro__ if p is not object] if isinstance(thing, type) else [thing]
    return sorted({line for part in parts for line in _code_of_one(part)})


def _code_of_one(thing: Any) -> list[str]:
    name = getattr(thing, "__module__", None) or "builtins"
    top = name.partition(".")[0]
    if top in KEYED or top in sys.stdlib_module_names - {"__main__"}:
        return []
    if not _found_by_name(thing) or _file(name) is None:
        return [f"{_path(thing)} {_digest(_compiled(thing, set()))}"]
    if not _own(name):
        return [_version(top)]
    own, packages = _reached(name)
    return [f"{module} {_digest(text)}" for module, text in own.items()] + [_version(p) for p in packages]


def _found_by_name(thing: Any) -> bool:
    """Whether the module's attribute of that name is this very thing."""
    found: Any = sys.modules.get(thing.__module__)
    for step in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, step, None)
    return found is thing


def _file(module: str) -> Path | None:
    try:
        source = inspect.getsourcefile(importlib.import_module(module))
    except (ImportError, TypeError, ValueError):
        return None
    return Path(source) if source is not None and Path(source).is_file() else None


def _own(module: str) -> bool:
    """Whether a module is the user's own: neither installed, nor Python's."""
    top = module.partition(".")[0]
    if top in KEYED or top in sys.stdlib_module_names - {"__main__"}:
        return False
    file = _file(module)
    return file is not None and not _installed(_root(file, module))


def _reached(name: str) -> tuple[dict[str, bytes], set[str]]:
    """The user's module and every module of theirs that it uses, with their texts; the installed packages they use.

    Modules that are imported only when the code runs are read, never imported here.
    """
    own: dict[str, bytes] = {}
    packages: set[str] = set()
    waiting: list[tuple[str, Path | None]] = [(name, _file(name))]
    while waiting:
        module, file = waiting.pop()
        if module in own or file is None:
            continue
        own[module] = file.read_bytes()
        root = _root(file, module)
        used = {*_imported(own[module], module, package=file.name == "__init__.py")}
        used |= {*_used_by(sys.modules[module])} if module in sys.modules else set()
        for other in used:
            top = other.partition(".")[0]
            if top in KEYED or top in sys.stdlib_module_names:
                continue
            beside = _beside(root, other)
            if beside is not None:
                waiting.append((other, beside))
            elif other in sys.modules and _own(other):
                waiting.append((other, _file(other)))
            elif top in _distributions():
                packages.add(top)
    return own, packages


def _root(file: Path, module: str) -> Path:
    """The folder that an import of the module starts from."""
    above = module.count(".") + (file.name == "__init__.py")
    return file.parents[min(above, len(file.parents) - 1)]


@cache
def _installed(root: Path) -> bool:
    """Whether an installer put its packages into this folder."""
    return bool({"site-packages", "dist-packages"} & set(root.parts)) or any(root.glob("*.dist-info"))


def _beside(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    if _installed(root):
        return None
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _imported(text: bytes, module: str, *, package: bool) -> Iterator[str]:
    """Every module that a source text may import, wherever in it; a name imported from a module may be one itself."""
    for name in _named(text, module, package=package):
        steps = name.split(".")
        yield from (".".join(steps[: k + 1]) for k in range(len(steps)))  # importing a.b runs a as well


def _named(text: bytes, module: str, *, package: bool) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    here = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            if start:
                yield start
            yield from (f"{start}.{alias.name}".lstrip(".") for alias in node.names)


def _used_by(module: ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str):
            yield name


@cache
def _distributions() -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


@cache
def _version(package: str) -> str:
    from importlib.metadata import version

    names = _distributions().get(package, [])
    return " ".join(f"{n} {version(n)}" for n in sorted(set(names))) or package


def _compiled(thing: Any, seen: set[int]) -> str:
    """Functions and classes as text: instructions, constants, defaults, closed-over and global values they use."""
    if id(thing) in seen:
        return "again"
    seen.add(id(thing))
    if isinstance(thing, staticmethod | classmethod):
        return _compiled(thing.__func__, seen)
    if isinstance(thing, property):
        return _compiled(thing.fget, seen)
    if isinstance(thing, FunctionType):
        inside = [cell.cell_contents for cell in thing.__closure__ or ()]
        used = [thing.__globals__[n] for n in sorted(_names(thing.__code__)) if n in thing.__globals__]
        imported = sorted({_version(name.partition(".")[0]) for name in _imports(thing.__code__)})
        values = [thing.__defaults__, thing.__kwdefaults__, inside, used, imported]
        return repr([_instructions(thing.__code__), *(_compiled(v, seen) for v in values)])
    if isinstance(thing, type):
        own = {k: v for k, v in vars(thing).items() if not (k.startswith("__") and k.endswith("__")) or callable(v)}
        return repr([_path(thing), *((k, _compiled(v, seen)) for k, v in sorted(own.items()))])
    if isinstance(thing, ModuleType):
        return f"{thing.__name__} {_version(thing.__name__.partition('.')[0])}"
    if isinstance(thing, list | tuple):
        return repr([_compiled(v, seen) for v in thing])
    try:
        return repr(described(thing))
    except SettingsError:
        return type(thing).__qualname__


def _names(code: CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _imports(code: CodeType) -> Iterator[str]:
    yield from (str(i.argval) for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME" and i.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _imports(inner)


def _instructions(code: CodeType) -> str:
    constants = [
        _instructions(c) if isinstance(c, CodeType) else sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c)
        for c in code.co_consts
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _digest(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def _path(thing: Any) -> str:
    name = getattr(thing, "__qualname__", getattr(thing, "__name__", ""))
    return f"{getattr(thing, '__module__', None) or ''}.{name}"
