"""From settings to an attack that can be run: everything is loaded and checked, and nobody was asked yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from locard.assess.choose import Chosen, build_attacks, label
from locard.assess.looks import plain
from locard.attacks.gmia import GMIA
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.check import Problems
from locard.data.membership import mask_of_ids, read_ids
from locard.data.records import Records
from locard.data.shared_rows import rows_in_both
from locard.data.source import load_source
from locard.data.split import Split, choose_pool
from locard.errors import DataError, NotEnoughReferences
from locard.observe.models import Opening, ReleasedModel, load_model
from locard.plan.designs import out_only
from locard.prepare import Prepared, with_screening
from locard.seeds import Seed
from locard.settings import AttackSettings, Settings
from locard.settings_attacked import AttackedSettings
from locard.settings_screen import ScreenSettings
from locard.train.choose_recipe import recipe_of
from locard.trained_elsewhere import coins_elsewhere
from locard.types import Access

USUAL = (AttackSettings(name="gmia"),)


@dataclass(frozen=True, eq=False)
class AttackCase:
    """Everything an attack needs, loaded and checked: nobody was asked yet."""

    prepared: Prepared
    attacked: AttackedSettings
    model: ReleasedModel
    attacks: dict[str, GMIA]
    indirect: dict[str, GMIAIndirect]
    dropped: int


def prepare_attack(settings: Settings, base: Path, problems: Problems | None = None) -> AttackCase:
    """Load and check what the settings name, telling all problems at once.

    Raises:
        SettingsError: everything that is wrong.
        DataError: a candidate stands in the reference pool (with its id).
    """
    problems = Problems() if problems is None else problems
    attacked = settings.attacked
    records = recipe = model = ids = None
    if attacked is None:
        problems.add(
            "attacked: a section [attacked] with model (what is attacked) and candidates (a file of ids) is needed, "
            "found none. locard audit measures your own training procedure without it."
        )
    with problems.gather():
        records = load_source(**settings.data.model_dump(exclude={"pool", "population"}), base_dir=base)
    with problems.gather():
        weights = records is not None and records.weight is not None
        recipe = recipe_of(settings.target, base, weights=weights, device=settings.compute.device)
        if len(getattr(recipe, "augment", ("identity",))) > 1:
            problems.add("target.augment: one form is needed for locard attack, which asks each record once.")
    attacks: dict[str, GMIA | GMIAIndirect] = {}
    with problems.gather():
        attacks = _claiming(settings)
    if attacked is not None:
        with problems.gather():
            opening = Opening(
                where="attacked.model", trust_pickle=attacked.trust_pickle, trust_types=attacked.trust_types
            )
            model = load_model(attacked.model, base=base, opening=opening)
        with problems.gather():
            ids = read_ids(base / attacked.candidates)
    if records is not None and model is not None:
        with problems.gather():
            model.check_classes(records)
    mask = None
    if records is not None and ids is not None:
        with problems.gather():
            mask = mask_of_ids(records, ids, "attacked.candidates")
    with problems.gather():
        _only_ours(settings)
    problems.settle()
    assert attacked is not None
    assert records is not None
    assert mask is not None
    assert model is not None
    split, pool, dropped = _divide(records, mask, settings, attacked)
    indirect = {name: a for name, a in attacks.items() if isinstance(a, GMIAIndirect)}
    direct = {name: a for name, a in attacks.items() if isinstance(a, GMIA)}
    prepared = replace(_planned(settings, records, recipe, split, pool, base), indirect=indirect)
    assert prepared.screening is not None
    testing = len(prepared.screening.testing)
    for name, attack in direct.items():
        missing = attack.needs.missing(inside=0, outside=testing, population=len(split.population))
        if missing is not None:
            raise NotEnoughReferences(
                f"The attack {name} {missing} among those that do not screen. Raise references.models."
            )
    return AttackCase(prepared, attacked, model, direct, indirect, dropped)


def _only_ours(settings: Settings) -> None:
    """Refuse what an audit would do and an attack does not, instead of passing over it.

    Raises:
        SettingsError: each such setting.
    """
    problems = Problems()
    if "plan" in settings.references.model_fields_set and settings.references.plan != "out_only":
        problems.add(
            f"references.plan: 'out_only' is needed for locard attack, whose references hold no candidate, found "
            f"{settings.references.plan!r}. Leave it out."
        )
    if settings.data.pool is not None:
        problems.add(
            "data.pool: it belongs to locard audit; attacked.candidates says who is in question. Leave it out."
        )
    if settings.compute.keep != "logits":
        problems.add(
            "compute.keep: 'logits' is needed for locard attack, whose screen compares records by whole answers, found "
            "'signals'. Leave it out."
        )
    if settings.released is not None:
        problems.add("released: it belongs to locard audit, of a model whose members are known. Leave it out.")
    problems.found += coins_elsewhere(settings, "locard attack, of a model that exists")
    problems.settle()


def _claiming(settings: Settings) -> dict[str, GMIA | GMIAIndirect]:
    wanted = settings.attack if "attack" in settings.model_fields_set else USUAL
    built: list[tuple[str, Any]] = build_attacks(wanted)
    problems = Problems()
    others = [name for name, attack in built if not isinstance(attack, GMIA | GMIAIndirect)]
    if others:
        problems.add(
            f"attack: attacks that claim (gmia, gmia_indirect) are needed for locard attack, found "
            f"{', '.join(others)}. locard audit measures scores on models whose members are known."
        )
    claiming: dict[str, GMIA | GMIAIndirect] = {
        label(name, attack): attack for name, attack in built if name not in others
    }
    if any(isinstance(a, GMIAIndirect) for a in claiming.values()) and settings.target.recipe != "torch":
        problems.add(
            f"attack: gmia_indirect needs networks, which it trains on, found target.recipe = "
            f"{settings.target.recipe!r}. Use gmia, the direct attack, or recipe = 'torch'."
        )
    if settings.attacked is not None:
        access = Access[settings.attacked.access.upper()]
        for name, attack in claiming.items():
            if not access.allows(attack.access):
                problems.add(
                    f"attacked.access: {attack.access.words} are needed by {name}, but the model shows {access.words}. "
                    f"No attack that claims works with less."
                )
    problems.settle()
    return claiming


def _divide(
    records: Records, candidate: np.ndarray, settings: Settings, attacked: AttackedSettings
) -> tuple[Split, np.ndarray, int]:
    """Candidates, held-out population, reference pool; records equal to a candidate are refused, or dropped."""
    places, others = np.flatnonzero(candidate), np.flatnonzero(~candidate)
    if len(others) < 20:
        raise DataError(
            f"data: records besides the candidates are needed to train references on, found {len(others)}. Add records "
            f"of the same population, or name fewer candidates."
        )
    twins = rows_in_both(records.select(others), records.select(places))
    if len(twins) and not attacked.drop_known:
        here, there = others[twins[0, 0]], places[twins[0, 1]]
        raise DataError(
            f"attacked.candidates: candidates that no reference is trained on are needed, but {len(twins)} other "
            f"records equal one (record {plain(records.ids[here])!r} has the features and the label of candidate "
            f"{plain(records.ids[there])!r}). Set attacked.drop_known = true to leave them out of the references."
        )
    others = np.delete(others, twins[:, 0])
    held = min(settings.data.population or 0, len(others) // 3)
    apart = records.select(others)
    parts = choose_pool(apart, len(others) - held, held, seed=Seed(settings.seed).child("pool"))
    return Split(places, others[parts.population]), others[parts.audited], len(twins)


def _planned(settings: Settings, records: Records, recipe: Any, split: Split, pool: np.ndarray, base: Path) -> Prepared:
    """References drawn from the pool, half of which screen."""
    given = settings.references
    size = given.size or len(pool) // 2
    plan = out_only(
        records,
        split.audited,
        models=given.models,
        targets=0,
        outside=pool,
        size=size,
        replace=given.replace,
        seed=Seed(settings.seed).child("plan"),
    )
    drawn = given.model_copy(update={"plan": "out_only", "size": size})
    settings = settings.model_copy(update={"screen": settings.screen or ScreenSettings(), "references": drawn})
    made = Prepared(settings, records, split, recipe, plan, Chosen({}, {}, ()), None, None, None, base)
    screened = with_screening(made, wanted=True)
    assert screened.screening is not None  # the settings name one
    return replace(screened, screening=replace(screened.screening, pool=pool), reference_pool=pool)
