"""Locard: which training records can be traced back from a model, by whom, how surely, and what would stop it.

Names are loaded when they are first used, so that ``import locard`` is quick and pulls in no model or plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from locard.attacks import attack, attack_names, list_attacks
    from locard.data.records import Records
    from locard.observe.references import Population, References
    from locard.observe.target import Target
    from locard.pipeline import SavedTarget, audit, audit_saved
    from locard.ranking import RankResult, rank, rank_saved
    from locard.result import AuditResult
    from locard.stats import measure
    from locard.train.recipe import SklearnRecipe
    from locard.types import Access, Estimate

_PUBLIC = {
    "Access": "locard.types",
    "AuditResult": "locard.result",
    "Estimate": "locard.types",
    "Population": "locard.observe.references",
    "RankResult": "locard.ranking",
    "Records": "locard.data.records",
    "References": "locard.observe.references",
    "SavedTarget": "locard.pipeline",
    "SklearnRecipe": "locard.train.recipe",
    "Target": "locard.observe.target",
    "attack": "locard.attacks",
    "attack_names": "locard.attacks",
    "audit": "locard.pipeline",
    "audit_saved": "locard.pipeline",
    "list_attacks": "locard.attacks",
    "measure": "locard.stats",
    "rank": "locard.ranking",
    "rank_saved": "locard.ranking",
}

__all__ = [
    "Access",
    "AuditResult",
    "Estimate",
    "Population",
    "RankResult",
    "Records",
    "References",
    "SavedTarget",
    "SklearnRecipe",
    "Target",
    "__version__",
    "attack",
    "attack_names",
    "audit",
    "audit_saved",
    "list_attacks",
    "measure",
    "rank",
    "rank_saved",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'locard' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
