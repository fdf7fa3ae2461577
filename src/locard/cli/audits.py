"""What the verbs ``audit``, ``demo`` and ``plan`` do, besides reading their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locard.budget.attack_cost import AttackCost, predict_attack
from locard.budget.cost import Cost, predict_cost
from locard.check import Problems
from locard.cli.progress import TerminalProgress
from locard.data.membership import read_ids
from locard.errors import DataError, SettingsError, StoreMismatch
from locard.pilot import Forecast, forecast, from_pilot, from_run
from locard.pipeline import SavedTarget, audit_saved, audit_settings
from locard.prepare import Prepared, prepare
from locard.prepare_attack import prepare_attack
from locard.result import AuditResult
from locard.run.folder import RunFolder, read_environment, refuse_foreign
from locard.settings import Settings, make_settings, read_settings, read_tree
from locard.settings_text import apply_overrides

DEMO: dict[str, Any] = {
    "name": "demo",
    "seed": 7,
    "data": {"source": "digits"},
    "target": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 50}},
    "references": {"models": 64},
    "attack": [{"name": n} for n in ("lira", "rmia", "base", "attack_r", "calibrated", "mentr", "loss", "gap")],
    "measure": {"fprs": [0.1, 0.01]},
}


@dataclass(frozen=True)
class SavedOutputs:
    """The files of an audit of saved outputs."""

    observations: Path | None
    probabilities: bool
    member: Path | None
    labels: Path | None
    ids: Path | None
    target: Path | None
    target_member: Path | None

    def only_with_observations(self) -> None:
        """Refuse the other options where ``--observations`` is not among them.

        Raises:
            SettingsError: they would be passed over in silence.
        """
        given = [f"--{k.replace('_', '-')}" for k, v in vars(self).items() if v]
        if given:
            raise SettingsError(
                f"audit: {', '.join(given)} belong to an audit of saved outputs: --observations L.npy is needed as "
                f"well, not given."
            )


def from_config(
    config: Path | None, like: Path | None, out: Path | None, sets: Sequence[str]
) -> tuple[AuditResult, Path]:
    """``locard audit CONFIG --out DIR``, or ``--like DIR``."""
    if (config is None) == (like is None):
        raise SettingsError("audit: either CONFIG or --like DIR is needed. Example: locard audit my.toml --out run")
    if out is None:
        raise SettingsError("audit: --out DIR is needed: the run folder. Example: locard audit my.toml --out run")
    if like is not None:
        path, base = like / "settings.toml", Path(read_environment(like).get("base", like))
    else:
        path, base = Path(str(config)), Path(str(config)).parent
    problems = Problems()
    settings = read_settings(path, sets, problems)
    with TerminalProgress() as watch:
        return audit_settings(settings, base=base, out=out, watch=watch, problems=problems), out


def demo(out: Path) -> tuple[AuditResult, Path]:
    """``locard demo``."""
    with TerminalProgress() as watch:
        return audit_settings(make_settings(DEMO), base=Path(), out=out, watch=watch), out


@dataclass(frozen=True)
class Asked:
    """What ``locard plan`` is asked besides the cost: see its options."""

    pilot: int | None = None
    run: Path | None = None
    width: float | None = None
    names: int | None = None


def predict(config: Path, sets: Sequence[str], asked: Asked | None = None) -> tuple[Cost | AttackCost, Forecast | None]:
    """``locard plan CONFIG``: the cost, and what a pilot or a finished run says of what will be seen."""
    asked = asked or Asked()
    if asked.pilot is not None and asked.run is not None:
        raise SettingsError("plan: either --pilot or --from is needed for a forecast, found both. Leave one out.")
    if asked.pilot is None and asked.run is None and (asked.width is not None or asked.names is not None):
        raise SettingsError(
            "plan: --width and --names are answered by a forecast, for which --pilot 4 (pairs to train now) or --from "
            "DIR (a finished run) is needed, found neither. Add one."
        )
    problems = Problems()
    settings: Settings = read_settings(config, sets, problems)
    if settings.attacked is not None:
        return _attack_cost(settings, config, asked, problems), None
    p = prepare(settings, config.parent, problems)
    made: Forecast | None = None
    if asked.pilot is not None or asked.run is not None:
        made = _forecast(p, asked)
    return _cost(p), made


def _forecast(p: Prepared, asked: Asked) -> Forecast:
    units = p.records.select(p.split.audited).n_units
    if asked.run is not None:
        values, factors, units = from_run(asked.run, p.settings)
        source = f"of the finished run {asked.run}"
    else:
        with TerminalProgress() as watch:
            values = from_pilot(p, asked.pilot or 0, watch)
        factors = {label: attack.variance_factor for label, attack in p.chosen.attacks.items()}
        source = "trained for this"
    return forecast(values, factors, p.settings, units=units, source=source, half_width=asked.width, names=asked.names)


def _attack_cost(settings: Settings, config: Path, asked: Asked, problems: Problems) -> AttackCost:
    if asked != Asked():
        raise SettingsError(
            "plan: a forecast is made of audits, whose targets' members are known; found settings of locard attack (a "
            "section [attacked]). Leave the options of plan out."
        )
    case = prepare_attack(settings, config.parent, problems)
    p = case.prepared
    return predict_attack(p.settings, p.records, p.split, p.plan, p.probe(), direct=bool(case.attacks), chains=p.chains)


def _cost(p: Prepared) -> Cost:
    return predict_cost(
        p.settings,
        p.records,
        p.split,
        p.plan,
        p.probe(),
        attacks=tuple(p.chosen.attacks),
        students=p.students,
        chains=p.chains,
        kept=p.kept,
        not_run=tuple(f"{n.name}: {n.reason}" for n in p.chosen.not_run),
    )


def saved_outputs(
    files: SavedOutputs, config: Path | None, out: Path | None, sets: Sequence[str]
) -> tuple[AuditResult, Path]:
    """``locard audit --observations L.npy --member M.npy --labels y.npy --out DIR``."""
    assert files.observations is not None  # that is what brought us here
    absent = [f"--{n}" for n, p in (("member", files.member), ("labels", files.labels), ("out", out)) if p is None]
    if absent:
        raise SettingsError(f"audit --observations: {', '.join(absent)} needed as well, not given.")
    if (files.target is None) != (files.target_member is None):
        raise SettingsError("audit --observations: --target and --target-member go together, found one of them.")
    assert out is not None  # said above
    problems, arrays = Problems(), dict[str, np.ndarray]()
    for name in ("observations", "member", "labels", "target", "target_member"):
        path = getattr(files, name)
        if path is not None:
            with problems.gather():
                arrays[name] = read_array(path)
    with problems.gather():
        ids = None if files.ids is None else read_ids(files.ids)
    with problems.gather():
        tree = apply_overrides({}, sets) if config is None else read_tree(config, sets)
    with problems.gather():
        refuse_foreign(out)
        if (out / "plan.safetensors").exists():
            raise StoreMismatch(
                f"--out: a folder of its own is needed, but {out} holds an audit with models. Choose another."
            )
    problems.settle()
    with TerminalProgress() as watch:
        result = audit_saved(
            logits=None if files.probabilities else arrays["observations"],
            probabilities=arrays["observations"] if files.probabilities else None,
            member=arrays["member"],
            labels=arrays["labels"],
            ids=ids,
            target=None if files.target is None else SavedTarget(arrays["target"], arrays["target_member"]),
            settings=tree,
            watch=watch,
        )
    with RunFolder(out) as folder:
        result.save(folder.path)
        result.report(folder.path / "report.html")
    return result, out


def read_array(path: Path) -> np.ndarray:
    """A .npy file, memory-mapped; never a pickle.

    Raises:
        DataError: it cannot be read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as wrong:
        raise DataError(
            f"A .npy file of numbers is needed, but {path} cannot be read ({wrong}). Save it with numpy.save."
        ) from wrong
    if not isinstance(array, np.ndarray):
        raise DataError(f"A .npy file of one array is needed, but {path} holds several. Save each with numpy.save.")
    return array
