"""What is wrong with settings, in sentences: where, what is needed, what was found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

NEEDED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list, [ ... ],",
    "list_type": "a list, [ ... ],",
    "dict_type": "a table of keys and values",
    "model_type": "a section of keys and values",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}",
}


def sentence(error: Any, tree: type[BaseModel]) -> str:
    """One problem that pydantic found in settings of the form ``tree``, in plain words."""
    path = [str(p) for p in error["loc"]]
    where = ".".join(path) or "settings"
    if error["type"] == "extra_forbidden":
        return f"{where}: no such key; {_hint(path, tree)}"
    if error["type"] == "missing":
        return f"{where}: needed, but not given. Add it to the settings{_meaning(path, tree)}."
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    pattern = NEEDED.get(error["type"])
    if pattern is None:
        return f"{where}: {error['msg']}, found {error['input']!r}. Mend it in the settings or with --set."
    needed = pattern.format(**{k: v for k, v in error.get("ctx", {}).items() if k in pattern})
    near = _nearest_value(error) if error["type"] == "literal_error" else ""
    return f"{where}: {needed} is needed, found {error['input']!r}. {near}Mend it in the settings or with --set."


def takes_numbers(annotation: Any) -> bool:
    """Whether a field of this type holds numbers, alone or in lists and tables, and no truth values.

    >>> takes_numbers(tuple[float, ...] | None), takes_numbers(bool), takes_numbers(dict[str, Any])
    (True, False, False)
    """
    inside, kinds = [annotation], set()
    while inside:
        kinds.add(kind := inside.pop())
        inside += get_args(kind)
    return bool({int, float} & kinds) and not {bool, Any} & kinds


def truth_in(value: Any) -> bool | None:
    """The first True or False in plain values; pydantic would read them as the numbers 1 and 0."""
    if isinstance(value, bool):
        return value
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return next((found for v in values if (found := truth_in(v)) is not None), None)


def _hint(path: Sequence[str], tree: type[BaseModel]) -> str:
    """The nearest key of the same section, the section in which such a key exists, or all keys of this one."""
    known = list(_section(path[:-1], tree).model_fields)
    places = {s: list(_section([s], tree).model_fields) for s in tree.model_fields if s not in path[:1]}
    every = sorted({k for keys in places.values() for k in keys if keys != list(tree.model_fields)})
    for names, cutoff in ((known, 0.75), (every, 0.75), (known, 0.5)):
        near = difflib.get_close_matches(path[-1], names, n=1, cutoff=cutoff)
        if near and names is every:
            return (
                f"did you mean {' or '.join(repr(f'{s}.{near[0]}') for s, keys in places.items() if near[0] in keys)}?"
            )
        if near:
            return f"did you mean {near[0]!r}?"
    return f"known keys: {', '.join(known)}."


def _section(path: Sequence[str], tree: type[BaseModel]) -> type[BaseModel]:
    """The section at this place of the tree; the last one on the way for a plain field."""
    node = tree
    for step in path:
        field = node.model_fields.get(step)
        if field is None:
            continue
        options = (field.annotation, *getattr(field.annotation, "__args__", ()))
        node = next((a for a in options if isinstance(a, type) and issubclass(a, BaseModel)), node)
    return node


def _meaning(path: Sequence[str], tree: type[BaseModel]) -> str:
    field = _section(path[:-1], tree).model_fields.get(path[-1])
    return f": {field.description}" if field is not None and field.description else ""


def _nearest_value(error: Any) -> str:
    allowed = [word.strip("' ") for word in error["ctx"]["expected"].replace(" or ", ",").split(",")]
    near = difflib.get_close_matches(str(error["input"]), allowed, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""
