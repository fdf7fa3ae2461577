"""Attacks, one file each. A new attack is one file, one line here and one test file (CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from locard.errors import SettingsError
from locard.types import Access

if TYPE_CHECKING:
    import pandas as pd

    from locard.attacks.protocol import Attack

ATTACKS: dict[str, str] = {
    "gap": "gap:Gap",
    "loss": "loss:Loss",
    "confidence": "confidence:Confidence",
    "entropy": "entropy:Entropy",
    "mentr": "mentr:Mentr",
    "risk_score": "risk_score:RiskScore",
    "lira": "lira:LiRA",
    "rmia": "rmia:RMIA",
    "base": "base_attack:BASE",
    "attack_r": "attack_r:AttackR",
    "attack_p": "attack_p:AttackP",
    "calibrated": "calibrated:Calibrated",
    "sablayrolles": "calibrated:sablayrolles",
    "instance_vector": "instance_vector:InstanceVector",
    "gmia": "gmia:GMIA",
    "loss_trace": "loss_trace:LossTrace",
    "attack_d": "attack_d:AttackD",
    "trajectory": "trajectory:Trajectory",
    "sequence": "sequence:Sequence",
    "shadow": "shadow:Shadow",
    "ml_leaks_1": "ml_leaks_1:MLLeaks1",
    "ml_leaks_2": "ml_leaks_2:MLLeaks2",
    "ml_leaks_3": "ml_leaks_3:MLLeaks3",
    "quantile": "quantile:QuantileRegression",
    "truex": "truex:Truex",
    "ensemble": "ensemble:Ensemble",
}
# attacks that make claims about single records and score nothing: they need the references themselves, to train on
CLAIMING: dict[str, str] = {"gmia_indirect": "gmia_indirect:GMIAIndirect"}


def attack(name: str, /, **settings: Any) -> Attack:
    """The attack of this name, with these settings and defaults for the others.

    Raises:
        SettingsError: an unknown name or setting (with the nearest one), or a value that is not allowed (with those
            that are); all problems at once.

    >>> attack("lira", variance="pooled")
    LiRA(variance='pooled', offline=False)
    >>> attack("lyra")
    Traceback (most recent call last):
    locard.errors.SettingsError: attack: unknown name 'lyra'. Nearest: lira.
    """
    from locard.attacks.fields import setting_problems

    made = _made_by(name)
    problems = setting_problems(made, name, settings)
    if problems:
        raise SettingsError(problems)
    built: Attack = made(**settings)
    return built


def attack_of(item: Any) -> Attack:
    """An attack as settings name it: by name, as a table of a name and settings, or the object itself.

    Raises:
        SettingsError: it is none of these, or names no attack.

    >>> attack_of({"name": "lira", "offline": True})
    LiRA(variance='student', offline=True)
    """
    from locard.attacks.protocol import Attack

    if isinstance(item, str):
        return attack(item)
    if isinstance(item, Mapping):
        settings = dict(item)
        return attack(str(settings.pop("name", "")), **settings)
    if isinstance(item, Attack):
        return item
    raise SettingsError(
        f"attack: a name, a table with one, or an attack object is needed, found {item!r}. Give, for example, "
        f"'lira' or attack('lira', variance='pooled')."
    )


def attack_names() -> list[str]:
    """The names that ``attack`` knows, in the order of the table.

    >>> attack_names()[:3]
    ['gap', 'loss', 'confidence']
    """
    return list(ATTACKS)


def paper_of(name: str) -> str:
    """The paper behind a registered attack, on one line.

    >>> paper_of("loss")
    'Yeom, Giacomelli, Fredrikson, Jha 2018 (CSF, arXiv:1709.01604), Adversary 2.'
    """
    return source_of(_made_by(name))


def list_attacks() -> pd.DataFrame:
    """One row an attack: name, access, references, queries (to the target, a record), source (paper).

    >>> list_attacks().loc[6, ["name", "access", "references"]].tolist()
    ['lira', 'class probabilities', 'IN and OUT (offline: OUT)']
    """
    import pandas as pd

    return pd.DataFrame([_row(name) for name in ATTACKS])


def _made_by(name: str) -> Any:
    known = ATTACKS | CLAIMING
    if name not in known:
        from locard.check import nearest

        raise SettingsError(f"attack: unknown name {name!r}. {nearest(str(name), known)}")
    module, attribute = known[name].split(":")
    return getattr(import_module(f"locard.attacks.{module}"), attribute)


def _row(name: str) -> dict[str, Any]:
    import inspect

    made = _made_by(name)
    references = made().needs.words
    if "offline" in inspect.signature(made).parameters:
        references += f" (offline: {made(offline=True).needs.words})"
    return {
        "name": name,
        "access": made().access.words,
        "references": references,
        "queries": 0 if made().access is Access.TRAINING else 1,
        "source": source_of(made),
    }


def source_of(made: Any) -> str:
    """The paper that an attack's docstring names, on one line."""
    import inspect

    paragraphs = (inspect.getdoc(made) or "").split("\n\n")
    named = [p.partition("Source:")[2] for p in paragraphs if "Source:" in p]
    return " ".join(named[0].split()) if named else ""
