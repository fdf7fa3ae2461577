"""Settings as text: TOML that reads back the same, and ``section.field=value`` put into a tree."""

from __future__ import annotations

import copy
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from locard.errors import SettingsError

DEFAULT_ATTACKS = ("lira", "rmia", "attack_r", "calibrated", "mentr", "loss")
AFTERWARDS = ("measure", "exposure", "controls", "policy", "compute")  # sections that no check of the rest reads


def apply_overrides(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree with ``--set`` values put in; list items by name, or by index. Keys with dots stand in quotes.

    Raises:
        SettingsError: overrides that are no ``section.field=value``, or that have no place; all of them.

    >>> apply_overrides({"attack": [{"name": "lira"}]}, ["attack.lira.offline=true", "seed=3"])
    {'attack': [{'name': 'lira', 'offline': True}], 'seed': 3}
    """
    out: dict[str, Any] = copy.deepcopy(dict(tree))
    if isinstance(out.get("attack"), list):
        out["attack"] = [{"name": a} if isinstance(a, str) else a for a in out["attack"]]
    problems: list[str] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        try:
            path = _path(key.strip())
            if not equals or not path:
                raise SettingsError(f"--set: section.field=value is needed, found {text!r}. Example: --set seed=3")
            if path[0] == "attack" and len(path) > 1 and "attack" not in out:
                out["attack"] = [{"name": name} for name in DEFAULT_ATTACKS]
            _put(out, path, _value(value.strip()))
        except SettingsError as wrong:
            problems += wrong.problems
    if problems:
        raise SettingsError(problems)
    return out


def to_toml(tree: Mapping[str, Any]) -> str:
    """Plain values as TOML text that reads back the same.

    >>> print(to_toml({"seed": 7, "data": {"source": "digits"}, "attack": [{"name": "loss"}]}), end="")
    seed = 7
    <BLANKLINE>
    [data]
    source = "digits"
    <BLANKLINE>
    [[attack]]
    name = "loss"
    """
    plain = {k: v for k, v in tree.items() if not isinstance(v, dict) and not _is_tables(v)}
    lines = [f"{_key(k)} = {_toml(v)}" for k, v in plain.items() if v is not None]
    for k, v in tree.items():
        tables = [v] if isinstance(v, dict) else v if _is_tables(v) else []
        head = f"[{_key(k)}]" if isinstance(v, dict) else f"[[{_key(k)}]]"
        for table in tables:
            lines += ["", head, *(f"{_key(a)} = {_toml(b)}" for a, b in table.items() if b is not None)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(v, dict) for v in value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _quoted(name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return _quoted("null" if value is None else value)


def _quoted(value: Any) -> str:
    """Texts, numbers and booleans are written as in JSON, but for the one control character that JSON lets stand."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a text


def _path(key: str) -> list[str]:
    """The steps of ``section.field``; a step in quotes may hold dots, and so may an FPR of ``policy.max_tpr``."""
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return []
    steps: list[str] = []
    while isinstance(node, dict):
        (step, node), *_ = node.items()
        steps.append(step)
    if steps[:2] == ["policy", "max_tpr"] and len(steps) > 3:
        return [*steps[:2], ".".join(steps[2:])]
    return steps


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    node: Any = tree
    for place, step in enumerate(path[:-1]):
        inside_list = isinstance(node, list)
        node = _item(node, step, ".".join(path[: place + 1])) if inside_list else node.setdefault(step, {})
        if not isinstance(node, dict | list):
            raise SettingsError(f"--set {'.'.join(path)}: a section is needed at {step!r}, found a value.")
    if isinstance(node, list):
        raise SettingsError(f"--set {'.'.join(path)}: a field of one list item is needed, found the item itself.")
    node[path[-1]] = value


def _item(items: list[Any], step: str, where: str) -> Any:
    if step.isdigit() and int(step) < len(items):
        return items[int(step)]
    named = [i for i in items if isinstance(i, dict) and i.get("name") == step]
    if len(named) == 1:
        return named[0]
    names = [str(i.get("name")) for i in items if isinstance(i, dict)]
    what = f"{len(named)} are called {step!r}: use its index" if named else f"none is called {step!r}"
    raise SettingsError(f"--set {where}: one list item is needed, but {what} (there are: {', '.join(names)}).")


def without_keys(paths: Sequence[tuple[int | str, ...]], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree without the keys at these paths.

    >>> without_keys([("colour",), ("data", "lable")], {"colour": 3, "seed": 1, "data": {"source": "x", "lable": "y"}})
    {'seed': 1, 'data': {'source': 'x'}}
    """
    gone = {path[0] for path in paths if len(path) == 1}
    below = {key: [path[1:] for path in paths if len(path) > 1 and path[0] == key] for key in tree}
    return {
        key: without_keys(below[key], value) if below[key] else value for key, value in tree.items() if key not in gone
    }


def rest_of(tree: Mapping[str, Any], found: Sequence[Any]) -> Mapping[str, Any] | None:
    """Settings without what pydantic ``found`` wrong, where everything else can be checked all the same.

    That is: without unknown keys, and with defaults for wrong values of the sections in ``AFTERWARDS``. None where
    something else is wrong.
    """
    references = tree.get("references")
    settling = isinstance(references, Mapping) and "until" in references  # it asks what the policy is
    places = [tuple(e["loc"]) if e["type"] == "extra_forbidden" else tuple(e["loc"])[:2] for e in found]
    wrong = [place[0] for place, e in zip(places, found, strict=True) if e["type"] != "extra_forbidden"]
    if any(section not in AFTERWARDS or (section == "policy" and settling) for section in wrong):
        return None
    return without_keys(places, tree)


def seconds_of(text: str) -> float:
    """A length of time in seconds.

    Raises:
        ValueError: it is not written as a number and a unit.

    >>> seconds_of("2h"), seconds_of("45min"), seconds_of("1.5 h")
    (7200.0, 2700.0, 5400.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"a time in s, min, h or d is needed, found {text!r}. Write, for example, '2h'.")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]]
