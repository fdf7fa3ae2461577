"""Models that were trained elsewhere, from settings or Python to what is audited: nothing is trained for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from locard.check import Problems
from locard.data.membership import find_files, need_whole_units, read_membership, true_or_false
from locard.data.records import Records
from locard.data.split import Split, split_given
from locard.errors import DataError, SettingsError
from locard.observe.checkpoints import Checkpoints, open_checkpoints
from locard.observe.models import Opening
from locard.plan.given import from_mask
from locard.plan.plan import Plan
from locard.seeds import Seed
from locard.settings import ReferenceSettings, Settings, TraceSettings


def named_in(references: ReferenceSettings) -> bool:
    """Whether the settings name models instead of a way to train them."""
    return references.checkpoints is not None or references.members is not None


def opening_of(settings: Settings) -> Opening:
    """How the settings say that checkpoints are opened."""
    given = settings.references
    return Opening(
        trust_pickle=given.trust_pickle,
        trust_types=given.trust_types,
        loader=given.loader,
        answers=settings.target.answers,
    )


def with_checkpoints(settings: Settings, models: int) -> Settings:
    """The settings as they are kept: with the number of models, and without a recipe that trained none of them.

    Raises:
        SettingsError: keys that say how models are trained.
    """
    target, references = settings.target, settings.references
    problems = Problems()
    for section, name, own in (
        (target, "target", ("recipe", "answers")),
        (references, "references", ("models", "checkpoints", "members", "loader", "trust_pickle", "trust_types")),
    ):
        for key, known in type(section).model_fields.items():
            standard = known.get_default(call_default_factory=True)
            if key not in own and getattr(section, key) != standard:
                problems.add(
                    f"{name}.{key}: references.checkpoints are trained already: nothing can be set. Leave it out."
                )
    if target.recipe not in ("sklearn", "checkpoints"):
        problems.add("target.recipe: references.checkpoints are trained already: no recipe is needed. Leave it out.")
    if settings.traces != TraceSettings():
        problems.add("traces: references.checkpoints are trained already: nothing else can be kept. Leave it out.")
    if references.models not in (models, ReferenceSettings.model_fields["models"].get_default()):
        problems.add(
            f"references.models: {models}, as many as there are checkpoints, is needed, found {references.models}. "
            f"Leave it out."
        )
    problems.settle()
    changed = {
        "target": target.model_copy(update={"recipe": "checkpoints"}),
        "references": references.model_copy(update={"models": models}),
    }
    return settings.model_copy(update=changed)


def one_of(recipe: Any, checkpoints: Any, member: Any) -> bool:
    """Whether a Python caller gave a recipe; False where they gave checkpoints with their mask.

    Raises:
        SettingsError: both, neither, or one of checkpoints and mask without the other.
    """
    if recipe is not None and checkpoints is None and member is None:
        return True
    if recipe is None and checkpoints is not None and member is not None:
        return False
    found = [k for k, v in {"recipe": recipe, "checkpoints": checkpoints, "member": member}.items() if v is not None]
    raise SettingsError(
        f"audit: either a recipe, or checkpoints= and member=, are needed, found {', '.join(found) or 'none of them'}."
    )


def checkpoints_given(settings: Settings, sources: Sequence[Any], records: Records) -> tuple[Settings, Checkpoints]:
    """A Python caller's checkpoints, opened and checked, and the settings as they are kept.

    Raises:
        SettingsError: every problem with them.
    """
    opened = open_checkpoints(sources, records, base=Path(), opening=opening_of(settings))
    names = tuple(str(s) if isinstance(s, str | Path) else m.name for s, m in zip(sources, opened.models, strict=True))
    references = settings.references.model_copy(update={"checkpoints": names, "members": ("member in memory",)})
    return with_checkpoints(settings.model_copy(update={"references": references}), len(opened)), opened


def read_checkpoints(settings: Settings, records: Records | None, base: Path) -> tuple[Checkpoints, np.ndarray | None]:
    """The checkpoints that the settings name, opened and checked, and who is in them.

    Raises:
        SettingsError: every problem with files, models and members; ``records`` are None where there are no data to
            hold them against.
    """
    given, problems = settings.references, Problems()
    for key, other in (("checkpoints", "members"), ("members", "checkpoints")):
        if getattr(given, key) is None:
            problems.add(f"references.{key}: needed with references.{other}, but not given. Add it.")
    files: list[Path] = []
    opened: Checkpoints | None = None
    member: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    with problems.gather():
        files = find_files(given.checkpoints or (), base, "references.checkpoints")
    with problems.gather():
        if files:
            opened = open_checkpoints(files, records, base=base, opening=opening_of(settings))
    with problems.gather():
        if files and records is not None and given.members is not None:
            member, remarks = read_membership(given.members, files, records, base=base)
    problems.settle()
    assert opened is not None  # else there were problems
    return replace(opened, remarks=remarks), member


def given_plan(
    settings: Settings, records: Records, models: Checkpoints, member: np.ndarray | None
) -> tuple[Checkpoints, Split, Plan]:
    """What can be audited of models that were trained elsewhere, and the plan that their mask amounts to.

    Args:
        settings: the tree.
        records: the data.
        models: the checkpoints.
        member: ``bool[models, records]``.

    Raises:
        DataError: a mask of another shape, torn units, or one that no audit can be made of.
    """
    mask = true_or_false(np.asarray(member), "member")
    if mask.shape != (len(models), len(records)):
        raise DataError(
            f"member: a mask of shape {(len(models), len(records))} is needed (checkpoints, records), found "
            f"{mask.shape}. Row k is who is in checkpoint k, in the order of the records."
        )
    need_whole_units(mask, records, "references.members")
    seed = Seed(settings.seed).child("pool")
    split = split_given(records, mask, settings.data.pool, settings.data.population, seed=seed)
    plan = from_mask(mask, audited=split.audited, names=[m.name for m in models.models])
    everywhere = int(mask.all(axis=0).sum())
    if everywhere:
        models = replace(models, remarks=(*models.remarks, _in_all(everywhere)))
    return models, split, plan


def _in_all(records: int) -> str:
    return (
        f"{records:,} records are in every checkpoint and were not audited: nothing shows what they look like to a "
        f"model that has not seen them."
    )


def coins_elsewhere(settings: Settings, found: str) -> list[str]:
    """What is wrong with [one_run] and [canaries] where this audit has not tossed the coins."""
    return [
        f"{section}: models that this audit trains are needed, because it must have drawn who is in them, found "
        f"{found}. Leave [{section}] out."
        for section in ("one_run", "canaries")
        if getattr(settings, section) is not None
    ]
