"""Settings: one frozen tree, written as TOML; any field can be set as ``--set section.field=value``."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from locard.check import Problems
from locard.errors import SettingsError
from locard.settings_attacked import AttackedSettings
from locard.settings_distil import DistilSettings
from locard.settings_messages import sentence
from locard.settings_one_run import CanarySettings, OneRunSettings, usual_attacks
from locard.settings_places import cluster_address, store_place
from locard.settings_rank import RankSettings
from locard.settings_screen import ScreenSettings
from locard.settings_section import Section
from locard.settings_text import DEFAULT_ATTACKS, apply_overrides, rest_of, seconds_of


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


NETWORK_KEYS = (
    *("module", "loss", "optimizer", "learning_rate", "momentum", "weight_decay", "nesterov", "betas", "eps"),
    *("optimizer_params", "schedule", "schedule_params", "warmup", "batch_size", "epochs", "steps", "drop_last"),
    *("label_smoothing", "clip_norm", "augment", "patience", "validation", "precision"),
)
# keys of [target] that belong to one kind of recipe; the others are for every recipe
RECIPE_KEYS = {"sklearn": ("estimator",), "torch": NETWORK_KEYS, "module:function": ("answers",)}


class TargetSettings(Section):
    """How the audited model is trained."""

    recipe: str = Field("sklearn", description="'sklearn', 'torch', or a training function 'module:function'")
    estimator: str = "sklearn.ensemble.RandomForestClassifier"
    params: dict[str, Any] = Field(default_factory=dict)
    preprocess: Literal["auto", "standardise", "native", "none"] = "auto"
    answers: Literal["probabilities", "logits"] = Field(
        "probabilities", description="what a training function's predict(), or a checkpoint's loader, gives"
    )
    models: int = Field(100, gt=1, description="target models of their own, for plan 'out_only'")
    module: str = Field(
        "auto", description="a built-in network (auto, logistic, mlp, cnn, resnet) or 'module:function'"
    )
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float | None = None
    weight_decay: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    optimizer_params: dict[str, Any] = Field(default_factory=dict, description="the optimiser's other settings")
    schedule: str = "constant"
    schedule_params: dict[str, Any] = Field(default_factory=dict)
    warmup: int = 0
    batch_size: int = 100
    epochs: int | None = Field(None, description="passes over the records; 10 where steps is not given either")
    steps: int | None = None
    drop_last: bool = False
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augment: tuple[str, ...] = ("identity",)
    patience: int | None = None
    validation: float = 0.1
    precision: Literal["float32", "float64"] = "float32"

    @property
    def kind(self) -> str:
        """``module:function`` for the user's own functions, else the recipe's name."""
        return "module:function" if ":" in self.recipe else self.recipe

    @property
    def foreign(self) -> dict[str, str]:
        """Keys that were given and belong to another kind of recipe: key -> that kind."""
        others = {key: kind for kind, keys in RECIPE_KEYS.items() if kind != self.kind for key in keys}
        fields = type(self).model_fields
        return {k: v for k, v in others.items() if getattr(self, k) != fields[k].get_default(call_default_factory=True)}

    @model_serializer(mode="wrap")
    def _without_keys_of_other_recipes(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = plain(self)
        left_out = {k for kind in ("sklearn", "torch") if kind != self.kind for k in RECIPE_KEYS[kind]}
        return {k: v for k, v in tree.items() if k not in left_out or k in self.foreign}


class ReferenceSettings(Section):
    """How many models, and the plan that says which records each is trained on."""

    models: int = Field(64, ge=1, description="total, targets included")
    plan: Literal["pairs", "subsample", "coin_flips", "out_only"] = "pairs"
    fraction: float = Field(0.5, gt=0, lt=1, description="share of the records in each model, for plan 'subsample'")
    size: int | None = Field(None, gt=1, description="training records a reference, for plan 'out_only'")
    replace: bool = Field(False, description="draw with replacement, for plan 'out_only'")
    until: Literal["all", "settled"] = Field(
        "all", description="'settled': train pairs until the policy is settled, at most ``models``"
    )
    burn_in: int = Field(8, ge=2, description="pairs that are references for good, for until = 'settled'")
    checkpoints: tuple[str, ...] | None = Field(
        None, description="files of models trained elsewhere: a pattern such as 'models/*.skops', or a list"
    )
    members: tuple[str, ...] | None = Field(
        None,
        description="who is in which: an array [models, records] (.npz, .npy), or one file of ids a checkpoint",
    )
    loader: str | None = Field(None, description="'module:function' that opens a checkpoint, given its path")
    trust_pickle: bool = Field(False, description="loading a pickle runs whatever code is in it")
    trust_types: tuple[str, ...] = Field((), description="types in skops files that you know to be safe")

    @field_validator("checkpoints", "members", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


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


class TraceSettings(Section):
    """What is stored of every model besides its answers, for attacks that look inside (recipe 'torch')."""

    losses: bool = Field(False, description="each audited record's loss after every epoch")
    penultimate: bool = Field(False, description="the last linear layer's input on the audited records")
    weights: bool = Field(False, description="the final weights")
    snapshots: tuple[int, ...] = Field((), description="epochs, counted from 1, after which the weights are stored")

    @field_validator("snapshots")
    @classmethod
    def _epochs(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(epoch < 1 for epoch in value) or len(set(value)) < len(value):
            raise ValueError(
                f"distinct epochs counted from 1 are needed, found {list(value)}. Write, for example, [1, 5, 10]."
            )
        return tuple(sorted(value))


class ComputeSettings(Section):
    """Where it runs. Nothing here changes a result, but for rounding where models are trained together (``chunk``)."""

    backend: Literal["local", "ray"] = "local"
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    chunk: int | None = Field(None, ge=1, description="models trained together; default: measured before training")
    exact: bool = Field(False, description="train one model at a time, so that no result depends on the grouping")
    device: str = Field("cpu", description="where networks are trained: 'cpu', 'cuda' or 'cuda:0'")
    stop_after: str | None = Field(None, description="a time such as '2h' or '45min' after which training stops")
    address: str | None = Field(None, description="host:port of a Ray cluster; none: a Ray of its own on this machine")
    keep: Literal["logits", "signals"] = Field("logits", description="of answers: all, or what the attacks read")
    store: str | None = Field(None, description="where answers are kept: a shared folder, or s3://bucket/folder")

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if value != "cpu" and not re.fullmatch(r"cuda(:\d+)?", value):
            raise ValueError(f"'cpu', 'cuda' or 'cuda:N' is needed, found {value!r}. Mend it.")
        return value

    @field_validator("stop_after")
    @classmethod
    def _a_time(cls, value: str | None) -> str | None:
        if value is not None:
            seconds_of(value)
        return value

    @property
    def seconds(self) -> float | None:
        """``stop_after`` in seconds."""
        return None if self.stop_after is None else seconds_of(self.stop_after)

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
    seed: int = Field(0, ge=0, description="the same seed gives the same bytes")
    data: DataSettings
    target: TargetSettings = Field(default_factory=TargetSettings)
    references: ReferenceSettings = Field(default_factory=ReferenceSettings)
    one_run: OneRunSettings | None = None
    canaries: CanarySettings | None = None
    attack: tuple[AttackSettings, ...] = tuple(AttackSettings(name=n) for n in DEFAULT_ATTACKS)
    screen: ScreenSettings | None = None
    policy: PolicySettings = Field(default_factory=PolicySettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)
    distil: DistilSettings = Field(default_factory=DistilSettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    released: ReleasedSettings | None = None
    attacked: AttackedSettings | None = None
    rank: RankSettings | None = None
    measure: MeasureSettings = Field(default_factory=MeasureSettings)
    exposure: ExposureSettings = Field(default_factory=ExposureSettings)
    controls: ControlSettings = Field(default_factory=ControlSettings)

    @model_validator(mode="before")
    @classmethod
    def _one_run(cls, tree: Any) -> Any:
        return usual_attacks(tree)

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


def read_settings(path: str | Path, overrides: Sequence[str] = (), problems: Problems | None = None) -> Settings:
    """Settings from a TOML file, with ``section.field=value`` overrides; ``problems`` as in ``make_settings``.

    Raises:
        SettingsError: all problems at once: unreadable file, unknown keys (with the nearest known one), wrong values.
    """
    return make_settings(read_tree(path, overrides), problems)


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise SettingsError(f"A TOML file is needed, but {path} cannot be read: {broken}. Mend that line.") from broken
    except OSError as closed:
        raise SettingsError(
            f"A TOML file is needed, but {path} cannot be read: {closed.strerror or closed}. Name a file that can."
        ) from closed
    return apply_overrides(tree, overrides)


def make_settings(tree: Mapping[str, Any], problems: Problems | None = None) -> Settings:
    """Settings from plain values, with every problem found in one ``SettingsError``.

    Args:
        tree: the plain values.
        problems: a caller that goes on to find more: it hears of what ``rest_of`` leaves out, and gets the rest.

    Raises:
        SettingsError: wrong values; unknown keys as well, where nobody gathers.

    >>> make_settings({"data": {"source": "digits"}}).references.models
    64
    """
    try:
        return Settings.model_validate(dict(tree))
    except ValidationError as wrong:
        said, rest = [sentence(e, Settings) for e in wrong.errors()], rest_of(tree, wrong.errors())
        if problems is None or rest is None:
            raise SettingsError(said) from wrong
        for one in said:
            problems.add(one)
        return Settings.model_validate(rest)
