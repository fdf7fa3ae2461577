"""Settings: one frozen tree, written as TOML; any field can be set as ``--set section.field=value``."""

from __future__ import annotations

import copy
import difflib
import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from locard.errors import SettingsError
from locard.settings_messages import sentence
from locard.settings_places import cluster_address, store_place

DEFAULT_ATTACKS = ("lira", "rmia", "attack_r", "calibrated", "mentr", "loss")


class Section(BaseModel):
    """A section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(Section):
    """Where the records come from and which of them are audited."""

    source: str = Field(description="a named set, a .csv, .parquet or .npz path, or 'module:function'")
    label: str | None = None
    id: str | None = None
    unit: str | None = None
    groups: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = Field((), description="columns to keep that would be dropped (dates, free text)")
    weight: str | None = None
    pool: int | None = Field(
        None, gt=1, description="audited records, drawn at random; default all but min(20 %, 2000)"
    )
    population: int | None = Field(2000, ge=0, description="at most this many of the rest are observed as population")


class TargetSettings(Section):
    """How the audited model is trained."""

    recipe: Literal["sklearn"] = "sklearn"
    estimator: str = "sklearn.ensemble.RandomForestClassifier"
    params: dict[str, Any] = Field(default_factory=dict)
    preprocess: Literal["auto", "standardise", "none"] = "auto"
    models: int = Field(100, gt=1, description="target models of their own, for plan 'out_only'")


class ReferenceSettings(Section):
    """How many models, and the plan that says which records each is trained on."""

    models: int = Field(64, ge=1, description="total, targets included")
    plan: Literal["pairs", "subsample", "coin_flips", "out_only"] = "pairs"
    fraction: float = Field(0.5, gt=0, lt=1, description="share of the records in each model, for plan 'subsample'")
    size: int | None = Field(None, gt=1, description="training records a reference, for plan 'out_only'")
    replace: bool = Field(False, description="draw with replacement, for plan 'out_only'")


class AttackSettings(BaseModel):
    """One attack by name, with its own settings; the first one is the declared headline."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def own(self) -> dict[str, Any]:
        """The attack's own settings."""
        return dict(self.model_extra or {})


class PolicySettings(Section):
    """Limits; none given means no gate."""

    max_tpr: dict[str, float] = Field(default_factory=dict, description="FPR -> largest TPR allowed")
    max_auc: float | None = Field(None, gt=0, le=1)
    max_exposed: int | None = Field(None, ge=0)

    @field_validator("max_tpr")
    @classmethod
    def _rates(cls, value: dict[str, float]) -> dict[str, float]:
        for fpr, limit in value.items():
            try:
                inside = 0 < float(fpr) < 1
            except ValueError:
                inside = False
            if not inside or not 0 < limit <= 1:
                raise ValueError(
                    f"rates between 0 and 1 are needed, for the FPR and for its limit, found {fpr!r} = {limit:g}. "
                    f'Write, for example, max_tpr = {{ "0.001" = 0.01 }}.'
                )
        return value

    @property
    def given(self) -> bool:
        """Whether there is any limit."""
        return bool(self.max_tpr) or self.max_auc is not None or self.max_exposed is not None


class ComputeSettings(Section):
    """Where it runs; nothing here may change a result."""

    backend: Literal["local", "ray"] = "local"
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    address: str | None = Field(None, description="host:port of a Ray cluster; none: a Ray of its own on this machine")
    store: str | None = Field(
        None, description="where models' answers are kept: a shared folder, or s3://bucket/folder"
    )

    @field_validator("address")
    @classmethod
    def _cluster(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else cluster_address(value, info.data.get("backend", "ray"))

    @field_validator("store")
    @classmethod
    def _place(cls, value: str | None, info: ValidationInfo) -> str | None:
        alone = info.data.get("backend") == "local" and info.data.get("workers") == 1
        return None if value is None else store_place(value, one_process=alone)


class ReleasedSettings(Section):
    """The model that will really be released."""

    model: str = Field(description="a skops or ONNX file, or 'module:function'; pickle only with trust_pickle = true")
    members: str = Field(description="a text file with the ids of its training records, one a line")
    trust_pickle: bool = Field(False, description="loading a pickle runs whatever code is in it")
    trust_types: tuple[str, ...] = Field((), description="types in a skops file that you know to be safe")


class MeasureSettings(Section):
    """What is measured."""

    fprs: tuple[float, ...] = (0.01, 0.001)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    priors: tuple[float, ...] = (0.5, 0.1, 0.01)

    @field_validator("fprs")
    @classmethod
    def _inside(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(not 0 < f < 1 for f in value) or len(set(value)) < len(value):
            raise ValueError(
                f"distinct rates between 0 and 1 are needed, found {list(value)}. Write, for example, [0.01, 0.001]."
            )
        return value

    @field_validator("priors")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < p < 1 for p in value) or len(set(value)) < len(value):
            raise ValueError(
                f"distinct shares of members between 0 and 1 are needed, found {list(value)}. Write, for example, "
                f"[0.5, 0.01]."
            )
        return value


class ExposureSettings(Section):
    """How records are named."""

    fpr: float = Field(0.01, gt=0, lt=0.1, description="nominal FPR of one hit")
    fdr: float = Field(0.05, gt=0, lt=0.5, description="false discovery rate of the names")
    dependence: Literal["prds", "any"] = "prds"


class ControlSettings(Section):
    """Checks that must come out a known way."""

    redraws: int = Field(39, ge=0, description="redrawn plans for the permutation control; 0 leaves it out")
    records: int = Field(1000, ge=50, description="random records that the controls use")
    models: int = Field(8, ge=2, description="models that play the target in the redrawn-plan control")
    blind: bool = True


class Settings(Section):
    """The whole of one audit."""

    name: str = "audit"
    seed: int = 0
    data: DataSettings
    target: TargetSettings = Field(default_factory=TargetSettings)
    references: ReferenceSettings = Field(default_factory=ReferenceSettings)
    attack: tuple[AttackSettings, ...] = tuple(AttackSettings(name=n) for n in DEFAULT_ATTACKS)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    released: ReleasedSettings | None = None
    measure: MeasureSettings = Field(default_factory=MeasureSettings)
    exposure: ExposureSettings = Field(default_factory=ExposureSettings)
    controls: ControlSettings = Field(default_factory=ControlSettings)

    @field_validator("attack", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str | Mapping) else value
        if not isinstance(items, Sequence):
            raise ValueError(f'attacks are needed, found {items!r}. Write [[attack]] and below it name = "lira".')
        if not items:
            raise ValueError("at least one attack is needed, found none. The first one is the headline.")
        return [{"name": v} if isinstance(v, str) else v for v in items]

    def without_compute(self) -> dict[str, Any]:
        """Everything that may change the result, as plain values."""
        return self.model_dump(mode="json", exclude={"compute"}, exclude_none=True)


def read_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a TOML file, with ``section.field=value`` overrides.

    Raises:
        SettingsError: all problems at once: unreadable file, unknown keys (with the nearest known one), wrong values.
    """
    return make_settings(read_tree(path, overrides))


def read_tree(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of a TOML file with ``--set`` values put in, before anything is checked.

    Raises:
        SettingsError: the file cannot be read, or an override has no place.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise SettingsError(f"A settings file is needed, but {path} does not exist.{hint}") from missing
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as broken:
        raise SettingsError(f"A TOML file is needed, but {path} cannot be read: {broken}. Mend that line.") from broken
    return apply_overrides(tree, overrides)


def make_settings(tree: Mapping[str, Any]) -> Settings:
    """Settings from plain values, with every problem found in one ``SettingsError``.

    >>> make_settings({"data": {"source": "digits"}}).references.models
    64
    """
    try:
        return Settings.model_validate(dict(tree))
    except ValidationError as wrong:
        raise SettingsError([sentence(e, Settings) for e in wrong.errors()]) from wrong


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
