"""Which traces can be had in a run, known before anything is trained."""

from __future__ import annotations

from typing import Any

from locard.observe.distilling import FEWEST
from locard.observe.traces import KINDS
from locard.settings_distil import DistilSettings
from locard.train.asked import AnswersMany
from locard.train.distil import why_no_students


def offered(recipe: Any, population: int, settings: DistilSettings) -> dict[str, str]:
    """Each kind of trace with no text where it can be had, else with the reason.

    Args:
        recipe: how models are trained, or where they are; None where that is not known (yet).
        population: records that are in no model.
        settings: how students learn.
    """
    training = "" if isinstance(recipe, AnswersMany) else KINDS["training"].hint
    return {
        "training": training,
        "distilled": _students(recipe, population, settings, 1),
        "students": _students(recipe, population, settings, settings.students),
    }


def _students(recipe: Any, population: int, settings: DistilSettings, parts: int) -> str:
    if why := why_no_students(recipe, label_only=settings.label_only):
        return why
    had = population if settings.records is None else min(population, settings.records)
    if had < FEWEST * parts:
        return (
            f"students need {FEWEST * parts} auxiliary records (in no model), found {had}. Leave more records out of "
            f"data.pool, or raise data.population or distil.records"
        )
    return ""
