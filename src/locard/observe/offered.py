"""Which traces can be had in a run, known before anything is trained."""

from __future__ import annotations

from typing import Any

from locard.observe.traces import KINDS
from locard.train.asked import AnswersMany


def offered(recipe: Any) -> dict[str, str]:
    """Each kind of trace with no text where it can be had, else with the reason.

    Args:
        recipe: how models are trained, or where they are; None where that is not known (yet).
    """
    training = "" if isinstance(recipe, AnswersMany) else KINDS["training"].hint
    return dict.fromkeys(KINDS, "") | {"training": training}
